"""Ctrl-C, put off for a while. Knows signals and the main thread."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def uninterrupted() -> Iterator[Callable[[], bool]]:
    """Put Ctrl-C off until the block has ended; gives what tells whether it came meanwhile."""
    before = signal.getsignal(signal.SIGINT)
    # Other threads never see it. One that is ignored, or ends the process, stays so.
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: False
        return
    came: list[FrameType | None] = []

    def later(number: int, frame: FrameType | None) -> None:
        came.append(frame)

    signal.signal(signal.SIGINT, later)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        before(signal.SIGINT, came[-1])
