"""Ending a job from outside without cutting off its last words. Knows heartbeats and processes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil

from persist_magic.jobdir import SAVING, latest_attempt, read_heartbeat
from persist_magic.machine import ProcessId
from persist_magic.processes import LONGEST_GRACE, MARKER, end_tree

# A runner that has given no sign for so long is not at work any more.
_SILENCE = 5.0


class Saving:
    """Whether the runner of the job in *directory* is at work on keeping what it has."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._last: object = None
        self._since = 0.0

    def __call__(self) -> bool:
        attempt = latest_attempt(self._directory)
        if attempt is None or attempt.finished or attempt.started is None:
            return False
        beat = read_heartbeat(attempt.directory)
        if not beat.endswith(SAVING):
            return False
        # While a large object is pickled no thread of the runner can write a heartbeat.
        sign = (beat, _cpu_time(attempt.started.who))
        now = time.monotonic()
        if sign != self._last:
            self._last, self._since = sign, now
        return now - self._since < _SILENCE


def _cpu_time(who: ProcessId | None) -> float:
    try:
        times = psutil.Process(who.pid).cpu_times() if who is not None else None
    except psutil.Error:
        return 0.0
    return times.user + times.system if times is not None else 0.0


def end_overtime() -> None:
    """End the job whose attempt directory and job.sh's pid are this process's arguments.

    job.sh is left to write down how it ended; so is the shell that runs this.
    """
    attempt, job_sh = Path(sys.argv[1]), int(sys.argv[2])
    saving = Saving(attempt.parent.parent)
    begin = time.monotonic()
    while saving() and time.monotonic() - begin < LONGEST_GRACE:
        time.sleep(0.2)
    end_tree(os.environ[MARKER], grace=0, spare=[job_sh, os.getppid()])
