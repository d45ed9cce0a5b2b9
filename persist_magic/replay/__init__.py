"""What an attempt printed and displayed, as its cell would have shown it.

Knows the formats of the journal and the logs. Nothing of status, managers, or IPython.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from persist_magic.replay.journal import Journal, Notice, Piece, Rich, Text
from persist_magic.replay.logs import BLOCK, STREAMS, Log, open_file, with_text
from persist_magic.replay.terminal import clean, plain, whole_length

__all__ = ["Notice", "Piece", "Rich", "Text", "as_text", "follow", "plain", "replay", "tail"]


def replay(attempt: Path, *, limit: int = 200_000, see_all: str = "") -> list[Piece]:
    """Everything that the cell shows by now, in the order in which it came.

    Parameters
    ----------
    attempt
        The directory of `stdout.log`, `stderr.log` and `events.jsonl`; each may be absent.
    limit
        Bytes of text between two outputs. Of a longer stretch the first and the last half of the
        limit are read. All stretches together have ten times as much; the longest give way.
    see_all
        What shows all of the text, in words for the user.
    """
    journal = Journal()
    damaged = 0
    with open_file(attempt, "events.jsonl") or io.BytesIO() as events:
        for line in events:
            try:
                damaged += not journal.take(json.loads(line))
            except (ValueError, RecursionError):
                damaged += bool(line.strip())
    with ExitStack() as stack:
        # Opened after the journal was read, so that they hold what it speaks of.
        logs = [
            Log(stack.enter_context(open_file(attempt, f"{stream}.log") or io.BytesIO()))
            for stream in STREAMS
        ]
        journal.reach(*(log.size for log in logs))
        pieces = list(_joined(with_text(list(journal.contents()), logs, limit, see_all)))
    if damaged:
        entries = "entry" if damaged == 1 else "entries"
        pieces.append(Notice(f"{damaged} damaged {entries} of the journal passed over"))
    return pieces


def as_text(pieces: Iterable[Piece]) -> str:
    """*pieces* for a terminal: text as it is, and the plain text of outputs on lines of its own."""
    text = io.StringIO()
    fresh = True  # at the start of a line
    for piece in pieces:
        match piece:
            case Text(text=words):
                text.write(words)
                fresh = words.endswith("\n") if words else fresh
                continue
            case Rich(data=data):
                words = str(data.get("text/plain", f"<{', '.join(data)}>"))
                words = plain(words.encode(errors="replace"))
            case Notice(text=words):
                words = f"[{words}]"
        text.write(f"{words}\n" if fresh else f"\n{words}\n")
        fresh = True
    return text.getvalue()


def tail(attempt: Path, stream: str, lines: int) -> str:
    """The last *lines* lines of a log as a terminal shows them, read from its end only."""
    with open_file(attempt, f"{stream}.log") or io.BytesIO() as file:
        log = Log(file)
        text = log.text(log.start_of_last(lines), log.size)
    end = "\n" if text.endswith("\n") else ""
    return "\n".join(text.removesuffix("\n").split("\n")[-max(lines, 1) :]) + end


def follow(
    attempt: Path, stream: str, ended: Callable[[], bool], *, lines: int | None = None
) -> Iterator[str]:
    """The text of a log as it comes, until *ended* says so and all of it was read.

    Control characters are treated as by `plain`, but the movements of the cursor that `replay`
    obeys are left for the terminal to obey.

    Parameters
    ----------
    attempt
        The directory of the log; either may not exist yet.
    stream
        `stdout` or `stderr`.
    ended
        Whether nothing more will be written.
    lines
        Begin with the last *lines* lines; None for the start of the log.
    """
    file: BinaryIO | None = None
    pause, rest = 0.05, b""
    with ExitStack() as stack:
        while True:
            over = ended()  # asked before reading, so that the last words are read too
            if file is None and (file := open_file(attempt, f"{stream}.log")):
                stack.enter_context(file)
                file.seek(0 if lines is None else Log(file).start_of_last(lines))
            if new := file.read(BLOCK) if file else b"":
                data = rest + new
                whole = whole_length(data)
                rest = data[whole:]
                if text := clean(data[:whole], movements=True):
                    yield text
                pause = 0.05
            elif over:
                break
            else:
                time.sleep(pause)
                pause = min(2 * pause, 0.5)
    if rest:
        yield clean(rest, movements=True)


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """*pieces* with neighbouring text of one stream as one."""
    for stream, run in groupby(pieces, lambda piece: getattr(piece, "stream", None)):
        if stream is None:
            yield from run
        else:
            yield Text(stream, "".join(piece.text for piece in run if isinstance(piece, Text)))
