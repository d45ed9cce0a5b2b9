"""The processes of one job: found and ended. Knows their marker, no job directory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

import psutil

MARKER = "PERSIST_JOB_ID"


def tree_of(job: str, roots: Iterable[int] = (), spare: Iterable[int] = ()) -> list[psutil.Process]:
    """The living processes of *job*, without zombies and the caller itself.

    Parameters
    ----------
    job
        The id that its processes carry in their environment.
    roots
        Pids known to belong to it: they and their sessions count too.
    spare
        Pids that do not count.

    Notes
    -----
    Descendants count as well, so that a child with a cleared environment is found as long as its
    parent lives. A process that carries another job's id never counts: a job may start a job.
    """
    wanted = set(roots)
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
            if mark == job or pid in wanted or _session(pid) in wanted:
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


def end_tree(job: str, grace: float, roots: Iterable[int] = (), spare: Iterable[int] = ()) -> bool:
    """End every process of *job*: TERM, then KILL for what is left after *grace* seconds.

    Parameters
    ----------
    job, roots, spare
        As for `tree_of`.
    grace
        Seconds between TERM and KILL; 0 kills at once.

    Returns
    -------
    bool
        Whether all have ended.
    """
    roots, spare = list(roots), list(spare)
    deadline = time.monotonic() + grace
    asked: set[int] = set()
    while time.monotonic() < deadline:
        alive = tree_of(job, roots, spare)
        if not alive:
            return True
        for process in alive:
            if process.pid not in asked:
                asked.add(process.pid)
                _send(process, signal.SIGTERM)
        psutil.wait_procs(alive, timeout=0.1)
    # A process may fork between the look and the signal: look again until nothing is left.
    for _ in range(100):
        alive = tree_of(job, roots, spare)
        if not alive:
            return True
        for process in alive:
            _send(process, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=0.1)
    return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        pass
