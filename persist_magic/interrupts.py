"""Ctrl-C, put off for a while. Knows signals and the main thread."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off until the block has ended; an error of the block outranks it."""
    before = signal.getsignal(signal.SIGINT)
    # Other threads never see it. One that is ignored, or ends the process, stays so.
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[FrameType | None] = []

    def later(number: int, frame: FrameType | None) -> None:
        came.append(frame)

    signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        before(signal.SIGINT, came[-1])
