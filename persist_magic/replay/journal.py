"""The journal: what is on show after its last entry. Knows its format; reads no text."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

Stream = Literal["stdout", "stderr"]

_KINDS = ("display", "update", "result", "clear", "mark", "dropped")
_WIDGET = "application/vnd.jupyter.widget-view+json"  # its model ended with the job
_OUTPUTS = 1_000  # outputs kept from the beginning, and as many from the end


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


@dataclass
class _Shown:
    before: array[int]
    number: int
    output: Rich | None
    lost: int = 0  # displays that were not kept, in place of an output


class Journal:
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
