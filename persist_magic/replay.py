"""What an attempt printed and displayed, as its cell would have shown it.

Knows the formats of the journal and the logs, and how a terminal takes text. Nothing of status,
managers, or IPython.
"""

from __future__ import annotations

import io
import json
import re
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, BinaryIO, Literal
from unicodedata import category, east_asian_width

from persist_magic.facts import listing

Stream = Literal["stdout", "stderr"]
_STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")

_KINDS = ("display", "update", "result", "clear", "mark", "dropped")
_WIDGET = "application/vnd.jupyter.widget-view+json"  # its model ended with the job
_OUTPUTS = 1_000  # outputs kept from the beginning, and as many from the end
_IN_ALL = 10  # times the limit of one stretch of text: the limit of all of them
_BLOCK = 65_536
_LINE = 4_096  # bytes; a longer line may be shown in part
_REACH = 200  # lines that a program can go back up
_COLUMNS = 512  # no terminal is wider: no line is filled up with more blanks


@dataclass(frozen=True)
class Text:
    """What was written to one stream, with no other output in between."""

    stream: Stream
    text: str


@dataclass(frozen=True)
class Rich:
    """A display, or the value of the cell (`result`): its representations by MIME type."""

    data: dict[str, Any]
    metadata: dict[str, Any]
    display_id: str | None
    result: bool


@dataclass(frozen=True)
class Notice:
    """What is missing at this place, in words that are not the job's own."""

    text: str


Piece = Text | Rich | Notice


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
    journal = _Journal()
    damaged = 0
    with _open(attempt, "events.jsonl") or io.BytesIO() as events:
        for line in events:
            try:
                damaged += not journal.take(json.loads(line))
            except (ValueError, RecursionError):
                damaged += bool(line.strip())
    with ExitStack() as stack:
        # Opened after the journal was read, so that they hold what it speaks of.
        logs = [
            _Log(stack.enter_context(_open(attempt, f"{stream}.log") or io.BytesIO()))
            for stream in _STREAMS
        ]
        journal.reach(*(log.size for log in logs))
        pieces = list(_joined(_pieces(list(journal.contents()), logs, limit, see_all)))
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
    with _open(attempt, f"{stream}.log") or io.BytesIO() as file:
        log = _Log(file)
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
            if file is None and (file := _open(attempt, f"{stream}.log")):
                stack.enter_context(file)
                file.seek(0 if lines is None else _Log(file).start_of_last(lines))
            if new := file.read(_BLOCK) if file else b"":
                data = rest + new
                whole = _whole(data)
                rest = data[whole:]
                if text := _clean(data[:whole], movements=True):
                    yield text
                pause = 0.05
            elif over:
                break
            else:
                time.sleep(pause)
                pause = min(2 * pause, 0.5)
    if rest:
        yield _clean(rest, movements=True)


def plain(data: bytes) -> str:
    """Bytes of a log as text that is safe to show.

    Of the control characters, tab, newline, carriage return, backspace and colour sequences are
    kept. Other sequences are dropped, other control characters shown as U+FFFD.
    """
    return _clean(data, movements=False)


def _open(attempt: Path, name: str) -> BinaryIO | None:
    """The file, or None when it is not there (yet). A name is never probed: see `listing`."""
    try:
        return open(attempt / name, "rb") if name in listing(attempt) else None
    except FileNotFoundError:
        return None


# The journal: outputs, and between them the positions that both logs went through, stored flat.


@dataclass
class _Shown:
    before: array[int]
    number: int
    output: Rich | None
    lost: int = 0  # displays that were not kept, in place of an output


class _Journal:
    """What is on show after each entry of the journal."""

    def __init__(self) -> None:
        self._number = 0
        self._at = (0, 0)
        self._clear()

    def _clear(self) -> None:
        self._clear_next = False
        self._first: list[_Shown] = []
        self._middle = array("q")
        self._left_out = 0
        self._last: deque[_Shown] = deque()
        self._gap = array("q", self._at)
        self._updates: dict[str | None, tuple[int, Rich]] = {}

    def take(self, entry: Any) -> bool:
        """Go on by one entry; False for a damaged one."""
        match entry:
            case {"kind": str(kind)} if kind not in _KINDS:
                return True
            case {"out": int(out), "err": int(err)} if max(out, err) < 1 << 63:
                self._number += 1
            case _:
                return False
        match entry:
            case {"kind": "mark"}:
                self.reach(out, err)
            case {"kind": "clear"}:
                self.reach(out, err)
                self._clear_next = True
                if not entry.get("wait"):
                    self._clear()
            case {"kind": "dropped", "count": int(count)} if count > 0:
                self.reach(out, err)
                latest = self._last or self._first
                if latest and latest[-1].lost and not self._clear_next:
                    latest[-1].lost += count
                else:
                    self._show(None, count)
            case {"kind": "display" | "result", "data": dict()}:
                self.reach(out, err)
                self._show(_rich(entry))
            case {"kind": "update", "id": str(name), "data": dict()}:
                self.reach(out, err)
                self._updates[name] = self._number, _rich(entry)
            case _:
                return False
        return True

    def reach(self, out: int, err: int) -> None:
        """Both logs have grown to this many bytes."""
        at = max(out, self._at[0]), max(err, self._at[1])
        if at != self._at:
            if self._clear_next:
                self._clear()
            self._at = at
            self._gap.extend(at)

    def _show(self, output: Rich | None, lost: int = 0) -> None:
        if self._clear_next:
            self._clear()
        shown = _Shown(self._gap, self._number, output, lost)
        self._gap = array("q", self._at)
        if len(self._first) < _OUTPUTS:
            self._first.append(shown)
            return
        self._last.append(shown)
        if len(self._last) > _OUTPUTS:
            oldest = self._last.popleft()
            self._middle.extend(oldest.before)
            self._left_out += oldest.lost or 1

    def contents(self) -> Iterator[array[int] | Rich | Notice]:
        """What is on show: outputs, and between any two the positions in the logs."""
        gap = array("q")
        for shown in chain(self._first, [None], self._last):
            if shown is not None:
                gap.extend(shown.before)
                output = self._output(shown)
            elif self._left_out:
                output = Notice(f"... {self._left_out} displays not shown")
            else:
                continue
            if output is not None:
                if gap:
                    yield gap
                yield output
                gap = array("q", () if shown else self._middle)
        gap.extend(self._gap)
        yield gap

    def _output(self, shown: _Shown) -> Rich | Notice | None:
        if shown.output is None:
            displays = "display was" if shown.lost == 1 else "displays were"
            return Notice(f"{shown.lost} further {displays} not kept")
        mine = shown.output
        number, update = self._updates.get(mine.display_id, (0, mine))
        latest = update if number > shown.number else mine
        data = {mime: value for mime, value in latest.data.items() if mime != _WIDGET}
        return Rich(data, latest.metadata, mine.display_id, mine.result) if data else None


def _rich(entry: dict[str, Any]) -> Rich:
    metadata, name = entry.get("metadata"), entry.get("id")
    return Rich(
        data=entry["data"],
        metadata=metadata if isinstance(metadata, dict) else {},
        display_id=name if isinstance(name, str) else None,
        result=entry["kind"] == "result",
    )


# The logs: bytes from here to there as text.


class _Log:
    """One log, as long as it was when it was opened."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)
        self._read_to = self._told_to = 0

    def read(self, start: int, end: int) -> bytes:
        self._file.seek(start)
        return self._file.read(end - start)

    def text(self, start: int, end: int) -> str:
        """These bytes as a terminal shows them.

        What begins before *end* and goes on after it, a character of several bytes or an escape
        sequence, is told with the bytes after it if they are asked for next.
        """
        if start == self._read_to:
            data = self.read(self._told_to, end)
        else:
            data = _CONTINUATION.sub(b"", self.read(start, end), count=1)
        whole = _whole(data) if end < self.size else len(data)
        self._read_to, self._told_to = end, end - len(data) + whole
        return _collapse(data[:whole])

    def line_start(self, start: int, end: int) -> int:
        """Where the first line from *start* on begins; *start* if that is after *end*."""
        found = _LINE_END.search(self.read(start - 1, end)) if start else None
        return start - 1 + found.end() if found else start

    def line_end(self, start: int, end: int) -> int:
        """Where the last line up to *end* ends; *end* if that is before *start*."""
        data = self.read(start, end)
        return start + (max(data.rfind(b"\n"), data.rfind(b"\r")) + 1 or len(data))

    def start_of_last(self, lines: int) -> int:
        """Where the last *lines* lines begin, were they of ordinary length."""
        floor = max(0, self.size - _BLOCK - lines * _LINE) if lines > 0 else self.size
        start = self.size
        while start > floor:
            begin = max(floor, start - _BLOCK)
            block = self.read(begin, start)
            at = len(block) - (start == self.size)  # the last line feed begins no line
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                lines -= 1
                if not lines:
                    return begin + at + 1
            start = begin
        return self.line_start(floor, min(floor + _LINE, self.size))


def _pieces(
    parts: list[array[int] | Rich | Notice], logs: list[_Log], limit: int, see_all: str
) -> Iterator[Piece]:
    share = _share([_length(part, logs) for part in parts if isinstance(part, array)], limit)
    for part in parts:
        if isinstance(part, array):
            yield from _stretch(part, logs, share, see_all)
        else:
            yield part


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """*pieces* with neighbouring text of one stream as one."""
    for stream, run in groupby(pieces, lambda piece: getattr(piece, "stream", None)):
        if stream is None:
            yield from run
        else:
            yield Text(stream, "".join(piece.text for piece in run if isinstance(piece, Text)))


def _share(lengths: list[int], limit: int) -> int:
    """How many bytes each stretch may have, so that all of them keep to their common limit."""
    left = _IN_ALL * limit
    for done, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - done)
        if length > share:
            return min(limit, share)
        left -= length
    return limit


def _length(gap: array[int], logs: list[_Log]) -> int:
    return sum(min(gap[i - 2], log.size) - min(gap[i], log.size) for i, log in enumerate(logs))


def _runs(
    gap: array[int], logs: list[_Log], wanted: int, *, from_end: bool = False
) -> list[tuple[int, int, int]]:
    """The first (or last) *wanted* bytes of a gap, as (log, start, end) in the order shown."""
    found: list[tuple[int, int, int]] = []
    # In each step stdout comes before stderr: position by position, the gap itself is in order.
    indices = range(2, len(gap))
    for i in reversed(indices) if from_end else indices:
        log = i % 2
        start, end = (min(position, logs[log].size) for position in (gap[i - 2], gap[i]))
        length = min(end - start, wanted)
        if length > 0:
            found.append((log, end - length, end) if from_end else (log, start, start + length))
            wanted -= length
    if from_end:
        found.reverse()
    runs = (list(run) for _, run in groupby(found, lambda run: run[0]))
    return [(run[0][0], run[0][1], run[-1][2]) for run in runs]


def _stretch(gap: array[int], logs: list[_Log], limit: int, see_all: str) -> Iterator[Piece]:
    """The text of a gap, without its middle if it is longer than *limit* bytes."""
    length, half = _length(gap, logs), limit // 2
    if length <= limit:
        yield from _texts(_runs(gap, logs, length), logs)
        return
    head, rest = _runs(gap, logs, half), _runs(gap, logs, half, from_end=True)
    if head and rest:
        # Whole lines, unless that costs too much of a long one.
        log, start, end = head[-1]
        head[-1] = log, start, logs[log].line_end(max(start, end - half // 4), end)
        log, start, end = rest[0]
        rest[0] = log, logs[log].line_start(start, min(end, start + half // 4)), end
    left_out = length - sum(end - start for _, start, end in head + rest)
    yield from _texts(head, logs)
    yield Notice(f"... {_size(left_out)} not shown" + (see_all and f": {see_all}"))
    yield from _texts(rest, logs)


def _texts(runs: list[tuple[int, int, int]], logs: list[_Log]) -> Iterator[Text]:
    for log, start, end in runs:
        if text := logs[log].text(start, end):
            yield Text(_STREAMS[log], text)


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


# The terminal: what is left to see of text that moves the cursor.

_CONTINUATION = re.compile(rb"\A[\x80-\xbf]{1,3}")
_LINE_END = re.compile(rb"\r?\n|\r")
_UNFINISHED = re.compile(
    rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2}"  # a character
    rb"|\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[]PX^_][^\x07\x1b\r\n]*\x1b?))\Z"  # a sequence
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SEQUENCE = re.compile(
    r"(?P<kept>[\r\b])"
    r"|(?P<colour>\x1b\[[0-9;:]{0,64}m)"
    r"|(?P<movement>\x1b\[[0-9]{0,4}[ABK])"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[]PX^_][^\x07\x1b\r\n]*(?:\x07|\x1b\\)"  # with text that is not for the screen
    r"|\x1b[ -/]*[0-~]"
    r"|(?P<other>[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f])"
)
_ENDED_LINE = re.compile(r"(?<!\r)\r+\n")  # each run of returns is tried once: linear
_MOVEMENT = re.compile(r"[\r\b]|\x1b\[[0-9]*[ABK]")
_TOKEN = re.compile(r"([\n\r\b\t]|\x1b\[[0-9;:]*[ABKm])")


def _whole(data: bytes) -> int:
    """How many of these bytes come before a character or sequence that is not yet complete."""
    found = _UNFINISHED.search(data, max(0, len(data) - 256))
    return found.start() if found else len(data)


def _clean(data: bytes, *, movements: bool) -> str:
    def kept(found: re.Match[str]) -> str:
        match found.lastgroup:
            case "other":
                return "\ufffd"
            case "kept" | "colour":
                return found[0]
            case "movement" if movements:
                return found[0]
        return ""

    text = data.decode(errors="replace")
    return _SEQUENCE.sub(kept, text) if _CONTROL.search(text) else text


def _collapse(data: bytes) -> str:
    text = _ENDED_LINE.sub("\n", _clean(data, movements=True))
    if not _MOVEMENT.search(text):
        return text
    screen = _Screen()
    for i, token in enumerate(_TOKEN.split(text)):
        if i % 2:
            screen.obey(token)
        elif token:
            screen.write(_cells(token))
    return screen.text()


def _cells(text: str) -> list[str]:
    """One string a column: a wide character has an empty one after it."""
    if text.isascii():
        return list(text)
    cells: list[str] = []
    for character in text:
        # Marks go with what they mark; the bound keeps a run of nothing else linear.
        if cells and len(cells[-1]) < 16 and category(character) in ("Mn", "Me", "Cf"):
            cells[-1] += character
        else:
            wide = east_asian_width(character) in ("W", "F")
            cells += (character, "") if wide else (character,)
    return cells


class _Row:
    """A line of the screen: the character and the style of each column."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.styles: list[str] = []

    def put(self, start: int, cells: list[str], style: str) -> None:
        """Replace what stands in the columns from *start* on, which is not after the end."""
        end = start + len(cells)
        self._part(start)
        self._part(end)
        self.cells[start:end] = cells
        self.styles[start:end] = [style] * len(cells)

    def cut(self, start: int) -> None:
        self._part(start)
        del self.cells[start:], self.styles[start:]

    def _part(self, column: int) -> None:
        """A wide character of which only the half before *column* would stay becomes blank."""
        start = end = column
        while end < len(self.cells) and not self.cells[end]:
            end += 1
        if end > column:
            while not self.cells[start]:
                start -= 1
            self.cells[start:end] = " " * (end - start)

    def text(self) -> str:
        if not any(self.styles):
            return "".join(self.cells)
        parts = []
        for style, run in groupby(zip(self.styles, self.cells, strict=True), lambda pair: pair[0]):
            part = "".join(cell for _, cell in run)
            parts.append(f"\x1b[{style}m{part}\x1b[0m" if style else part)
        return "".join(parts)


class _Screen:
    """Lines without end, of which the last can still be changed."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._rows = [_Row()]
        self._y = self._x = 0
        self._style = ""

    def text(self) -> str:
        return "\n".join([*self._done, *(row.text() for row in self._rows)])

    def write(self, cells: list[str]) -> None:
        row = self._rows[self._y]
        missing = self._x - len(row.cells)
        if missing > 0:
            self._x = len(row.cells)
            row.put(self._x, [" "] * min(missing, _COLUMNS), "")
            self._x = len(row.cells)
        row.put(self._x, cells, self._style)
        self._x += len(cells)

    def obey(self, control: str) -> None:
        row, number = self._rows[self._y], control[2:-1]
        match control[-1]:
            case "\n":
                self._line_feed()
            case "\r":
                self._x = 0
            case "\b":
                self._x = max(0, self._x - 1)
            case "\t":
                width = 8 - self._x % 8
                if self._x < len(row.cells):
                    self._x += width
                else:
                    self.write(["\t"] + [""] * (width - 1))
            case "A":
                self._y = max(0, self._y - (int(number or 0) or 1))
            case "B":  # stops at the last line, as at the bottom of a screen
                self._y = min(len(self._rows) - 1, self._y + (int(number or 0) or 1))
            case "K" if int(number or 0) == 0:
                row.cut(self._x)
            case "K" if int(number) == 1:
                width = min(self._x + 1, len(row.cells), _COLUMNS)
                row.put(0, [" "] * width, "")
            case "K" if int(number) == 2:
                row.cut(0)
            case "m":
                self._style = _style(f"{self._style};{number or 0}")

    def _line_feed(self) -> None:
        self._x = 0
        self._y += 1
        if self._y == len(self._rows):
            self._rows.append(_Row())
            if len(self._rows) > 2 * _REACH:
                self._done += (row.text() for row in self._rows[:_REACH])
                del self._rows[:_REACH]
                self._y -= _REACH


# SGR codes: what each sets, and what each puts back.
_SETS = {
    **{code: code for code in (*range(1, 10), 58)},
    21: 4,
    **dict.fromkeys((*range(30, 39), *range(90, 98)), 30),
    **dict.fromkeys((*range(40, 49), *range(100, 108)), 40),
}
_RESETS = {22: (1, 2), 23: (3,), 24: (4,), 25: (5, 6), 27: (7,), 28: (8,), 29: (9,)}
_RESETS |= {39: (30,), 49: (40,), 59: (58,), 0: tuple(_SETS.values())}


@lru_cache(maxsize=1024)
def _style(codes: str) -> str:
    """The SGR codes that are left in force after *codes*, one for each thing that they set."""
    left: dict[int, str] = {}
    words = iter(codes.split(";"))
    for word in words:
        code = int(word.partition(":")[0] or 0)
        if word in ("38", "48", "58"):  # a colour: 5;number or 2;red;green;blue
            kind = next(words, "")
            wanted = {"5": 1, "2": 3}.get(kind, 0)
            values = list(islice(words, wanted))
            if not values or len(values) < wanted:
                continue
            word = ";".join((word, kind, *values))
        if code in _SETS:
            left[_SETS[code]] = word
        for reset in _RESETS.get(code, ()):
            left.pop(reset, None)
    return ";".join(left.values())
