"""All about a job at one look, in one record. Knows facts and statuses, changes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from persist_magic import facts
from persist_magic.errors import Damaged
from persist_magic.jobdir import JobFacts
from persist_magic.names import ID
from persist_magic.observe import observe
from persist_magic.results import describe_outputs
from persist_magic.status import (
    Done,
    Empty,
    Failed,
    JobStatus,
    Lost,
    Queued,
    Running,
    Status,
    Stopped,
    duration,
)
from persist_magic.store import Store


@dataclass(frozen=True)
class JobInfo:
    """All about one job at one look. Times are seconds since 1970."""

    name: str
    id: str
    status: JobStatus
    reason: str
    manager: str
    created: float
    started: float | None
    ended: float | None
    attempt: int
    directory: Path
    bytes: int
    time_limit: float | None

    @property
    def took(self) -> float | None:
        """Seconds from the start of the run to its end, or to now."""
        if self.started is None:
            return None
        return (self.ended if self.ended is not None else time.time()) - self.started

    def __str__(self) -> str:
        words = f"job {self.name!r}: {self.status}"
        if self.reason:
            words += f" ({self.reason})"
        if self.took is not None:
            words += f", {'took' if self.status.ended else 'for'} {duration(self.took)}"
        return words


def info_of(found: JobFacts, status: Status) -> JobInfo:
    """What *found* and *status* say, in one record."""
    started = ended = None
    attempt = 0
    match status:
        case Running():
            started, attempt = status.started, status.attempt
        case Done() | Failed() | Stopped() | Lost():
            started, ended, attempt = status.started, status.ended, status.attempt
        case Empty() | Queued():
            pass
    request = found.request
    return JobInfo(
        name=request.name,
        id=request.id,
        status=status.kind,
        reason=status.reason,
        manager=request.manager,
        created=request.created,
        started=started,
        ended=ended,
        attempt=attempt,
        directory=found.directory,
        bytes=_size(found),
        time_limit=request.time_limit,
    )


def _size(found: JobFacts) -> int:
    try:
        outputs = describe_outputs(found)
    except Damaged:
        # Who fetches it is told; what is asked here is the state of the job.
        return 0
    return sum(int(about.get("bytes", 0)) for about in outputs.values())


def infos(store: Store, directories: Sequence[Path]) -> list[JobInfo]:
    """All about the job in each of *directories*, with one question to each manager.

    A damaged one is LOST; one that was deleted is left out.
    """
    read = {directory: JobFacts.read(directory) for directory in directories}
    readable = [job for job in read.values() if job is not None]
    known = {job.directory: info_of(job, status) for job, status in observe(store, readable)}
    there = facts.listing(store.jobs)
    return [
        known.get(directory) or _damaged(directory)
        for directory in directories
        if directory.name in there
    ]


def _damaged(directory: Path) -> JobInfo:
    match = ID.fullmatch(directory.name)
    try:
        made = time.mktime(time.strptime(directory.name[:15], "%Y%m%d-%H%M%S"))
    except ValueError:
        made = 0.0
    return JobInfo(
        name=match[2] if match else directory.name,
        id=directory.name,
        status=JobStatus.LOST,
        reason="damaged: request.json cannot be read",
        manager="",
        created=made,
        started=None,
        ended=None,
        attempt=0,
        directory=directory,
        bytes=0,
        time_limit=None,
    )
