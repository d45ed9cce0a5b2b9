"""The processes of one job: found and ended. Knows their marker, no job directory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterable

import psutil

MARKER = "PERSIST_JOB_ID"
# How long a job that is at work on its last words can put off its end.
LONGEST_GRACE = 600.0


def tree_of(
    job: str,
    roots: Collection[int] = (),
    sessions: Collection[int] = (),
    spare: Collection[int] = (),
) -> list[psutil.Process]:
    """The living processes of *job*, without zombies and the caller itself.

    Parameters
    ----------
    job
        The id that its processes carry in their environment.
    roots
        Pids known to belong to it.
    sessions
        Sessions all of whose processes belong to it.
    spare
        Pids that do not count.

    Notes
    -----
    Descendants count as well, so that a child with a cleared environment is found as long as its
    parent lives. A process that carries another job's id never counts: a job may start a job.
    """
    living: dict[int, psutil.Process] = {}
    found: dict[int, psutil.Process] = {}
    above: dict[int, int] = {}
    for process in psutil.process_iter():
        pid = process.pid
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            above[pid] = process.ppid()
        except psutil.Error:
            continue
        mark = _mark(process)
        if mark in (job, None):
            living[pid] = process
            if mark == job or pid in roots or _session(pid) in sessions:
                found[pid] = process
    grown = True
    while grown:
        new = {pid: p for pid, p in living.items() if pid not in found and above[pid] in found}
        found.update(new)
        grown = bool(new)
    left_out = {os.getpid(), *spare}
    return [process for pid, process in found.items() if pid not in left_out]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARKER)
    except (psutil.Error, OSError):
        return None


def end_tree(
    job: str,
    grace: float,
    roots: Iterable[int] = (),
    sessions: Iterable[int] = (),
    spare: Iterable[int] = (),
    busy: Callable[[], bool] = lambda: False,
) -> bool:
    """End every process of *job*: TERM, then KILL for what is left after *grace* seconds.

    Parameters
    ----------
    job, roots, sessions, spare
        As for `tree_of`.
    grace
        Seconds between TERM and KILL; 0 kills at once.
    busy
        Asked once the grace is over: as long as it says so, at most `LONGEST_GRACE` seconds, the
        job is still at work on its last words and is not killed.

    Returns
    -------
    bool
        Whether all have ended.
    """
    look = _Look(job, roots, sessions, spare)
    begin = time.monotonic()
    asked: set[psutil.Process] = set()
    while (waited := time.monotonic() - begin) < grace or (
        grace and waited < LONGEST_GRACE and busy()
    ):
        alive = look()
        if not alive:
            return True
        for process in alive:
            if process not in asked:
                asked.add(process)
                _send(process, signal.SIGTERM)
                # A suspended one could not obey.
                _send(process, signal.SIGCONT)
        psutil.wait_procs(alive, timeout=0.1)
    # A process may fork between the look and the signal: look again until nothing is left.
    for _ in range(100):
        alive = look()
        if not alive:
            return True
        for process in alive:
            _send(process, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=0.1)
    return False


class _Look:
    """Looks again and again: who was found once stays found, even when its parent has ended."""

    def __init__(
        self, job: str, roots: Iterable[int], sessions: Iterable[int], spare: Iterable[int]
    ) -> None:
        self._job, self._spare = job, frozenset(spare)
        self._sessions = frozenset(sessions)
        wanted = frozenset(roots)
        self._known = [process for process in psutil.process_iter() if process.pid in wanted]

    def __call__(self) -> list[psutil.Process]:
        # The pid of one that has ended may be another's by now; so may its session's number.
        roots = [process.pid for process in self._known if process.is_running()]
        self._known = tree_of(self._job, roots, self._sessions, self._spare)
        self._sessions &= {_session(process.pid) for process in self._known}
        return self._known


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        pass
