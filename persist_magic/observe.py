"""The status of jobs now: their facts, and one question to each manager for those still open."""

from __future__ import annotations

import time
from collections.abc import Sequence

from persist_magic.errors import ManagerUnreachable, UsageError
from persist_magic.jobdir import JobFacts
from persist_magic.managers import make_manager
from persist_magic.status import Active, Gone, Report, Status, derive
from persist_magic.store import Store


def observe(store: Store, jobs: Sequence[JobFacts]) -> list[tuple[JobFacts, Status]]:
    """Each of *jobs* with its status; the facts may be newer than those given."""
    reports: dict[str, Report] = {}
    grace: dict[str, float] = {}
    by_manager: dict[str, list[JobFacts]] = {}
    for job in jobs:
        # A submission that died may have got as far as starting its job.
        if not job.final and not (_is_untouched(job) and store.being_made(job.directory)):
            by_manager.setdefault(job.request.manager, []).append(job)
    for name, asked in by_manager.items():
        try:
            manager = make_manager(name)
            answers = manager.poll(asked)
        except (ManagerUnreachable, UsageError) as error:
            # No answer is no news: the jobs keep the state that their facts give. So it is with a
            # manager that is not installed here.
            clock = time.strftime("%H:%M")
            answers = [Active(f"as of {clock}: {error.message}")] * len(asked)
        else:
            grace.update((job.request.id, manager.grace) for job in asked)
        reports.update((job.request.id, answer) for job, answer in zip(asked, answers, strict=True))
    return [_derive(store, job, reports, grace) for job in jobs]


def _derive(
    store: Store, job: JobFacts, reports: dict[str, Report], grace: dict[str, float]
) -> tuple[JobFacts, Status]:
    report = reports.get(job.request.id)
    if isinstance(report, Gone):
        # It may have written its last word between the look at its facts and the question.
        job = JobFacts.read(job.directory) or job
    submitting = _is_untouched(job) and store.being_made(job.directory)
    if _is_untouched(job) and not submitting:
        # It may have been submitted between the look at its facts and the question.
        job = JobFacts.read(job.directory) or job
    status = derive(
        job,
        report,
        now=time.time(),
        grace=grace.get(job.request.id, 0.0),
        submitting=submitting,
        last_sign=job.attempt.last_sign() if isinstance(report, Gone) and job.attempt else None,
    )
    return job, status


def _is_untouched(job: JobFacts) -> bool:
    return job.submitted is None and job.attempt is None


def status_of(store: Store, job: JobFacts) -> tuple[JobFacts, Status]:
    """*job* with its status; the facts may be newer than those given."""
    return observe(store, [job])[0]
