"""How a job is asked to stop. Knows signals, the clock and one helper thread; saves nothing itself.

On TERM, and at the time limit, `JobTerminated` is raised once in the main thread. Where the main
thread does not get out of the user's code in time, the helper thread does what is to be done
instead. The same thread brings partial lines to the log and shows that the job lives.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from persist_magic.runner.streams import out_of_the_way

TICK = 0.2
HEARTBEAT = 15.0
# While it saves, whoever wants it ended waits for the next sign.
SAVING_HEARTBEAT = 1.0
# How long the main thread may take to leave the user's code.
PATIENCE = 3.0
# How long a job that was asked to stop may take to end once all is saved.
LINGER = 2.0


class JobTerminated(BaseException):
    """Raised in the cell when the job is asked to stop: what it bound is then kept."""


class Stopping:
    """Watches over the main thread of one job.

    Parameters
    ----------
    tick
        Called in the helper thread every `TICK` seconds.
    beat
        Called there at once and every `HEARTBEAT` seconds, with False; while the job is saving,
        every `SAVING_HEARTBEAT` seconds, with True.
    take_over
        Called there when the main thread does not stop; must not return.
    limit
        Seconds after which the job is to stop by itself.
    """

    def __init__(
        self,
        tick: Callable[[], None],
        beat: Callable[[bool], None],
        take_over: Callable[[], None],
        limit: float | None,
    ) -> None:
        self._tick, self._beat, self._take_over = tick, beat, take_over
        self._limit = limit
        self._deadline: float | None = None
        self._owner = os.getpid()
        self.why = ""  # "signal" or "time limit" once the job was asked to stop
        self._asked = False
        self._out = False  # whether the main thread has left the user's code
        self._lock = _thread.allocate_lock()  # held by the one that saves
        self._holds_lock = False  # whether that is the main thread
        self._over = 0.0  # when all was saved
        self._reader = self._writer = -1

    def start(self) -> None:
        """Listen from now on; called in the main thread."""
        self._reader, self._writer = map(out_of_the_way, os.pipe())
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        if self._limit is not None:
            self._deadline = time.monotonic() + self._limit
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_term)
        # job.sh runs the interpreter in its background, for which a shell ignores these.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        os.register_at_fork(
            before=self._fork_lock.acquire,
            after_in_parent=self._fork_lock.release,
            after_in_child=self._in_child,
        )
        _thread.start_new_thread(self._watch, ())

    # A fork must not happen while the helper holds a stream's lock.
    _fork_lock = _thread.allocate_lock()

    def _in_child(self) -> None:
        self._fork_lock.release()
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        except ValueError:
            pass  # forked from another thread than the main one

    def _on_term(self, number: int, frame: Any) -> None:
        if self._asked:
            return
        self._asked = True
        self.why = self.why or "signal"
        if not self._out:
            raise JobTerminated(self.why)

    def left(self) -> None:
        """The main thread has left the user's code and sees to the end from now on.

        Never returns where the helper thread was first. In a forked child it does nothing. May be
        called again, for `JobTerminated` can be raised in the middle of the first call.
        """
        if os.getpid() != self._owner or self._holds_lock:
            return
        self._out = True
        if not self._lock.acquire(blocking=False):
            while True:
                time.sleep(1.0)
        self._holds_lock = True
        # An interrupt must not cut off the saving.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._quietly(lambda: self._beat(True))

    def over(self) -> None:
        """All is saved: what is left of the process may be ended by any signal."""
        self._over = time.monotonic()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def _watch(self) -> None:
        # Taken by this thread, a signal would not wake the main one.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        last_beat = 0.0
        asked = 0.0
        while True:
            heard = self._listen()
            now = time.monotonic()
            pause = SAVING_HEARTBEAT if self._out else HEARTBEAT
            if now - last_beat >= pause and not self._over:
                last_beat = now
                self._quietly(lambda: self._beat(self._out))
            self._quietly(self._tick)
            if self._over and self.why and now - self._over > LINGER:
                # Its other threads were not asked, and the interpreter would wait for them.
                os._exit(1)
            if not asked and (signal.SIGTERM in heard or self._asked):
                asked = now
            if not asked and self._deadline is not None and now >= self._deadline:
                asked = now
                self.why = "time limit"
                os.kill(os.getpid(), signal.SIGTERM)
            late = asked and not self._out and now - asked > PATIENCE
            if late and self._lock.acquire(blocking=False):
                self.why = self.why or "signal"
                _thread.start_new_thread(self._beat_on, ())
                self._take_over()
                return

    def _listen(self) -> bytes:
        """The numbers of the signals that came within `TICK` seconds, as far as they are heard."""
        try:
            ready, _, _ = select.select([self._reader], [], [], TICK)
            return os.read(self._reader, 64) if ready else b""
        except (OSError, ValueError):
            # The user's code closed it: the clock and the handler remain.
            self._reader = -1
            time.sleep(TICK)
            return b""

    def _beat_on(self) -> None:
        while True:
            self._quietly(lambda: self._beat(True))
            time.sleep(SAVING_HEARTBEAT)

    def _quietly(self, action: Callable[[], None]) -> None:
        with self._fork_lock:
            try:
                action()
            except Exception:
                # A sign of life that cannot be given is no reason to end the job.
                pass
