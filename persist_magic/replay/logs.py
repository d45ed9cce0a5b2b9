"""The logs: text between two positions, as much of it as is to be shown. Knows no journal."""

from __future__ import annotations

import io
import re
from array import array
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from persist_magic.facts import listing
from persist_magic.replay.journal import Notice, Piece, Rich, Stream, Text
from persist_magic.replay.terminal import collapse, whole_length

STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")
BLOCK = 65_536
_LINE = 4_096  # bytes; a longer line may be shown in part
_IN_ALL = 10  # times the limit of one stretch of text: the limit of all of them

_CONTINUATION = re.compile(rb"\A[\x80-\xbf]{1,3}")
_LINE_END = re.compile(rb"\r?\n|\r")


def open_file(attempt: Path, name: str) -> BinaryIO | None:
    """The file, or None when it is not there (yet). A name is never probed: see `listing`."""
    try:
        return open(attempt / name, "rb") if name in listing(attempt) else None
    except FileNotFoundError:
        return None


class Log:
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
        whole = whole_length(data) if end < self.size else len(data)
        self._read_to, self._told_to = end, end - len(data) + whole
        return collapse(data[:whole])

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
        floor = max(0, self.size - BLOCK - lines * _LINE) if lines > 0 else self.size
        start = self.size
        while start > floor:
            begin = max(floor, start - BLOCK)
            block = self.read(begin, start)
            at = len(block) - (start == self.size)  # the last line feed begins no line
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                lines -= 1
                if not lines:
                    return begin + at + 1
            start = begin
        return self.line_start(floor, min(floor + _LINE, self.size))


def with_text(
    parts: list[array[int] | Rich | Notice], logs: list[Log], limit: int, see_all: str
) -> Iterator[Piece]:
    share = _share([_length(part, logs) for part in parts if isinstance(part, array)], limit)
    for part in parts:
        if isinstance(part, array):
            yield from _stretch(part, logs, share, see_all)
        else:
            yield part


def _share(lengths: list[int], limit: int) -> int:
    """How many bytes each stretch may have, so that all of them keep to their common limit."""
    left = _IN_ALL * limit
    for done, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - done)
        if length > share:
            return min(limit, share)
        left -= length
    return limit


def _length(gap: array[int], logs: list[Log]) -> int:
    return sum(min(gap[i - 2], log.size) - min(gap[i], log.size) for i, log in enumerate(logs))


def _runs(
    gap: array[int], logs: list[Log], wanted: int, *, from_end: bool = False
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


def _stretch(gap: array[int], logs: list[Log], limit: int, see_all: str) -> Iterator[Piece]:
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


def _texts(runs: list[tuple[int, int, int]], logs: list[Log]) -> Iterator[Text]:
    for log, start, end in runs:
        if text := logs[log].text(start, end):
            yield Text(STREAMS[log], text)


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
