"""Waiting for a condition with a deadline, in place of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], timeout: float = 30, message: str = "") -> None:
    """Return once *condition* holds; AssertionError with *message* after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while True:
        # Asked before the condition is: a process that was held up still gets one last look.
        late = time.monotonic() > deadline
        if condition():
            return
        if late:
            raise AssertionError(message or f"still not so after {timeout:g} s")
        time.sleep(0.01)
