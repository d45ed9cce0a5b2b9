"""The standard streams of a job. Knows file descriptors 1 and 2, which are the log files.

Nothing stands between the job and its logs: children and C code write to the same files. Python's
own text is kept in whole lines, so that threads do not tear each other's lines apart.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from persist_magic.runner.imports import after_import


class LogStream(io.TextIOWrapper):
    """Text to a log file, line by line; tells when it takes over from the other stream."""

    def __init__(self, fd: int, name: str, took_over: Callable[[LogStream], None]) -> None:
        raw = io.FileIO(fd, "w", closefd=False)
        # What cannot be encoded is printed escaped, never an error in the middle of a job.
        super().__init__(
            io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        self._label = name
        self._took_over = took_over

    @property
    def name(self) -> str:
        return self._label

    def write(self, text: str, /) -> int:
        if _last[0] is not self:
            self._took_over(self)
            _last[0] = self
        return super().write(text)


_last: list[LogStream | None] = [None]


def flush() -> None:
    """Bring everything that Python holds back to the log files."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            # Closed or replaced by the user's code: nothing of ours is held back there.
            continue


def open_streams(took_over: Callable[[], None]) -> None:
    """Put log streams in the places of sys.stdout and sys.stderr, flushed before each fork."""

    def changed(stream: LogStream) -> None:
        if _last[0] is not None:
            try:
                _last[0].flush()
            except (OSError, ValueError):
                pass
            took_over()

    out, err = LogStream(1, "<stdout>", changed), LogStream(2, "<stderr>", changed)
    for names, stream in ((("stdout", "__stdout__"), out), (("stderr", "__stderr__"), err)):
        for name in names:
            setattr(sys, name, stream)
    # A child would write what its parent holds back a second time.
    os.register_at_fork(before=flush)
    builtins.input = _no_input
    after_import("getpass", lambda module: setattr(module, "getpass", _no_input))


def _no_input(prompt: object = "", stream: object = None) -> NoReturn:
    raise EOFError("a background job cannot ask for input: pass the answer in a variable")


def out_of_the_way(fd: int) -> int:
    """*fd* under a high number: code that closes all that it did not open stops short of it."""
    import fcntl

    try:
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 512)
    except OSError:
        return fd
    os.close(fd)
    return high
