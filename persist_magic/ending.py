"""Ending a job that nobody wants any more. Knows the order in which a cancel writes and looks."""

from __future__ import annotations

import time

from persist_magic.errors import ManagerUnreachable
from persist_magic.jobdir import Cancelled, JobFacts
from persist_magic.machine import host_name, user_name
from persist_magic.managers import make_manager
from persist_magic.status import Unseen


def end(job: JobFacts, *, why: str = "", force: bool = False) -> None:
    """End *job*, which has not ended, with all its processes.

    Raises
    ------
    ManagerUnreachable
        It is where its manager cannot reach it; nothing was done.
    """
    manager = make_manager(job.request.manager)
    (report,) = manager.poll([job])
    if isinstance(report, Unseen):
        raise ManagerUnreachable(
            f"job {job.request.name!r} runs {report.reason}",
            f"cancel it there: persist cancel {job.request.name}",
        )
    # Written before looking: a runner that starts at this moment looks after it has written.
    Cancelled(who_am_i(), time.time(), why).write(job.directory)
    found = JobFacts.read(job.directory) or job
    manager.cancel(found, force=force)


def who_am_i() -> str:
    """This user on this host, for a person to read."""
    return f"{user_name()}@{host_name()}"
