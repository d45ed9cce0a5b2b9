"""The journal: rich output as it happens, and where in the logs it came. Knows one attempt.

A line of `events.jsonl` is one event. Positions are the sizes of both logs after everything that
was held back has been flushed, so that a replay can put text and figures in their order.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from persist_magic.facts import owned
from persist_magic.runner.streams import flush, out_of_the_way

# Beyond these, displays are no longer kept but for those that are seen at the end.
MOST_EVENTS = 20_000
MOST_BYTES = 64 << 20
_MOST_AT_THE_END = 1000
# Marks only order text; a program that alternates for ever between its streams needs no more.
MOST_MARKS = 10_000
_WIDGET = "application/vnd.jupyter.widget-view+json"


class Journal:
    """Appends events to the journal of the attempt in *directory*."""

    def __init__(self, directory: Path) -> None:
        self._logs = (str(directory / "stdout.log"), str(directory / "stderr.log"))
        self._path = str(directory / "events.jsonl")
        self._fd = -1
        self._events = self._bytes = self._marks = self._dropped = 0
        # Past the limit: what came since the last clearing, and the last update of each display.
        self._since_clear: list[dict[str, Any]] = []
        self._updates: dict[str, dict[str, Any]] = {}

    def display(
        self,
        kind: str,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        id: str | None = None,
    ) -> None:
        """Note a display, an update of one, or the cell's result."""
        # A widget has no front end here; its other representations stand for it.
        data = {mime: value for mime, value in data.items() if mime != _WIDGET}
        if not data:
            return
        event = {"kind": kind, "data": data, "metadata": metadata or {}, "id": id}
        if kind == "result":
            self._settle()
        elif self._is_full():
            self._note_beyond(event)
            return
        self._events += 1
        self._write(self._placed(event))

    def _is_full(self) -> bool:
        return self._events >= MOST_EVENTS or self._bytes >= MOST_BYTES

    def _note_beyond(self, event: dict[str, Any]) -> None:
        id, is_update = event["id"], event["kind"] == "update"
        if is_update and id and (id in self._updates or len(self._updates) < _MOST_AT_THE_END):
            self._updates[id] = self._placed(event)
        elif self._since_clear and not is_update and len(self._since_clear) < _MOST_AT_THE_END:
            self._since_clear.append(self._placed(event))
        else:
            self._dropped += 1

    def clear(self, wait: bool) -> None:
        """Note that the output so far goes: now, or when the next output comes."""
        event = self._placed({"kind": "clear", "wait": wait})
        if not self._is_full():
            self._write(event)
            return
        # Nobody would see now what was dropped before.
        self._dropped = 0
        self._since_clear[:] = [event]
        self._updates.clear()

    def _settle(self) -> None:
        """Write what was held back."""
        for event in (*self._since_clear, *self._updates.values()):
            self._write(event)
        self._since_clear.clear()
        self._updates.clear()

    def mark(self) -> None:
        """Note that text goes on in the other log from here."""
        if self._marks < MOST_MARKS:
            self._marks += 1
            out, err = self._sizes()
            self._write({"t": round(time.time(), 3), "out": out, "err": err, "kind": "mark"})

    def close(self) -> None:
        """Write what was held back, and make the journal durable."""
        self._settle()
        if self._dropped:
            self._write(self._placed({"kind": "dropped", "count": self._dropped}))
            self._dropped = 0
        if self._fd >= 0:
            try:
                os.fsync(self._fd)
            except OSError:
                pass

    def _placed(self, event: dict[str, Any]) -> dict[str, Any]:
        flush()
        out, err = self._sizes()
        return {"t": round(time.time(), 3), "out": out, "err": err, **event}

    def _sizes(self) -> tuple[int, int]:
        sizes = []
        for log in self._logs:
            try:
                sizes.append(os.stat(log).st_size)
            except OSError:
                sizes.append(0)
        return sizes[0], sizes[1]

    def _write(self, event: dict[str, Any]) -> None:
        try:
            line = json.dumps(event, default=_plain).encode() + b"\n"
        except (TypeError, ValueError):
            self._dropped += 1
            return
        try:
            if self._fd < 0:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                self._fd = out_of_the_way(owned(os.open(self._path, flags, 0o600)))
            os.write(self._fd, line)
            self._bytes += len(line)
        except OSError:
            # The user's code may have closed every descriptor, or the disk is full: the cell
            # must not fail for its journal.
            self._dropped += 1
            self._fd = -1


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode("ascii")
    return str(value)
