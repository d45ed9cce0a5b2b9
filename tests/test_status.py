"""Facts and a report in, status out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persist_magic.jobdir import (
    Attempt,
    Cancelled,
    Ended,
    Exited,
    Finished,
    JobFacts,
    Request,
    Started,
    Submitted,
)
from persist_magic.records import replace
from persist_magic.status import (
    Active,
    Done,
    Failed,
    Gone,
    JobStatus,
    Lost,
    Queued,
    Report,
    Running,
    Stopped,
    Unseen,
    Waiting,
    derive,
    duration,
)

CREATED, STARTED, ENDED = 1000.0, 1010.0, 1020.0
NOW = 2000.0
WHERE = Path("jobs/x")

REQUEST = Request(
    layout=0,
    id="x",
    name="x",
    kind="cell",
    manager="local",
    created=CREATED,
    python="/opt/python",
    python_version="3.11.7",
    cwd="/data",
)
SUBMITTED = Submitted({"pid": 1}, CREATED)
CANCELLED = Cancelled("ada@host", 1015.0)
BEGUN = Started({}, STARTED)


def job(
    *,
    submitted: Submitted | None = SUBMITTED,
    cancelled: Cancelled | None = None,
    ended: Ended | None = None,
    started: Started | None = None,
    finished: Finished | None = None,
    exited: Exited | None = None,
    attempt_ended: Ended | None = None,
    **request: Any,
) -> JobFacts:
    """A job with these facts."""
    attempt = Attempt(1, WHERE / "attempts" / "1", started, finished, exited, attempt_ended)
    return JobFacts(
        WHERE,
        replace(REQUEST, **request),
        submitted,
        cancelled,
        ended,
        None if attempt.silent else attempt,
    )


def finished(outcome: str = "done", **more: Any) -> Finished:
    return Finished(outcome, STARTED, ENDED, **more)


def failed(type: str, message: str) -> Finished:
    return finished("failed", error={"type": type, "message": message, "traceback": ""})


def exited(code: int, stage: str = "run") -> Exited:
    return Exited(code, ENDED, stage)


def ended(reason: str) -> Ended:
    return Ended("NODE_FAIL", reason, ENDED)


EMPTY, QUEUED, RUNNING = JobStatus.EMPTY, JobStatus.QUEUED, JobStatus.RUNNING
DONE, FAILED, STOPPED, LOST = (
    JobStatus.DONE,
    JobStatus.FAILED,
    JobStatus.CANCELLED,
    JobStatus.LOST,
)
GONE = Gone("its processes are gone")
AWAY = Unseen("on host n2, which cannot be seen from here")
TIMED_OUT = finished("terminated", why="time limit")
TERMINATED = finished("terminated", why="signal")

TABLE: list[tuple[JobFacts, Report | None, JobStatus, str]] = [
    # The runner's last word outranks everything.
    (job(started=BEGUN, finished=finished()), None, DONE, ""),
    (job(started=BEGUN, finished=finished(), exited=exited(120)), GONE, DONE, ""),
    (job(started=BEGUN, finished=finished(), cancelled=CANCELLED), Active(), DONE, ""),
    (job(started=BEGUN, finished=finished(), attempt_ended=ended("n2 failed")), None, DONE, ""),
    (job(finished=finished()), None, DONE, ""),
    (job(started=BEGUN, finished=failed("KeyError", "'a'")), None, FAILED, "KeyError: 'a'"),
    (job(started=BEGUN, finished=failed("E", "")), None, FAILED, "E"),
    (job(started=BEGUN, finished=failed("E", "\n two\nlines")), None, FAILED, "E: two"),
    (job(started=BEGUN, finished=failed("E", "x" * 999)), None, FAILED, f"E: {'x' * 200}…"),
    (job(started=BEGUN, finished=finished("failed")), None, FAILED, "failed"),
    (
        job(started=BEGUN, finished=failed("E", "m"), cancelled=CANCELLED),
        None,
        FAILED,
        "E: m",
    ),
    (
        job(started=BEGUN, finished=TIMED_OUT, time_limit=7200.0, cancelled=CANCELLED),
        None,
        FAILED,
        "timed out after 2:00:00",
    ),
    (job(started=BEGUN, finished=TIMED_OUT), None, FAILED, "timed out"),
    (
        job(started=BEGUN, finished=TERMINATED, cancelled=CANCELLED),
        None,
        STOPPED,
        "cancelled by ada@host",
    ),
    (
        job(started=BEGUN, finished=TERMINATED),
        None,
        FAILED,
        "ended by signal SIGTERM from outside",
    ),
    # Then what job.sh saw.
    (
        job(started=BEGUN, exited=exited(137)),
        Active(),
        FAILED,
        "killed by signal SIGKILL: by hand, or for lack of memory",
    ),
    (job(started=BEGUN, exited=exited(139)), None, FAILED, "killed by signal SIGSEGV"),
    (job(exited=exited(137)), GONE, FAILED, "killed by signal SIGKILL: by hand, or for lack of "),
    (
        job(started=BEGUN, exited=exited(0)),
        None,
        FAILED,
        "the interpreter ended before the cell did, with exit status 0",
    ),
    (
        job(started=BEGUN, exited=exited(3), kind="function"),
        None,
        FAILED,
        "the interpreter ended before the function did, with exit status 3",
    ),
    (
        job(started=BEGUN, exited=exited(240)),
        None,
        FAILED,
        "the interpreter ended before the cell did, with exit status 240",
    ),
    (
        job(exited=exited(127)),
        None,
        FAILED,
        "/opt/python could not run the job (exit status 127)",
    ),
    (
        job(exited=exited(1, "directory")),
        None,
        FAILED,
        "its working directory /data cannot be entered",
    ),
    (job(exited=exited(4, "setup")), None, FAILED, "a --setup command failed with status 4"),
    (
        job(exited=exited(0, "setup")),
        None,
        FAILED,
        "a --setup command ended the job, with status 0",
    ),
    (job(exited=exited(2, "environment")), None, FAILED, "--env could not be set"),
    (
        job(started=BEGUN, exited=exited(137, "overtime"), time_limit=60.0),
        None,
        FAILED,
        "timed out after 1:00 min; it did not stop when asked and was killed",
    ),
    (
        job(started=BEGUN, exited=exited(137), cancelled=CANCELLED),
        None,
        STOPPED,
        "cancelled by ada@host",
    ),
    (job(exited=exited(143, "setup"), cancelled=CANCELLED), None, STOPPED, "cancelled by ada@host"),
    (
        job(started=BEGUN, exited=exited(137), attempt_ended=ended("node n2 failed")),
        None,
        FAILED,
        "killed by signal SIGKILL: by hand, or for lack of memory",
    ),
    # Then what a scheduler said.
    (job(ended=ended("node n2 failed")), None, FAILED, "node n2 failed"),
    (
        job(started=BEGUN, attempt_ended=ended("out of memory")),
        Active(),
        FAILED,
        "out of memory",
    ),
    (job(started=BEGUN, ended=ended("cancelled"), cancelled=CANCELLED), GONE, STOPPED, "cancelled"),
    # Then a cancellation.
    (job(submitted=None, cancelled=CANCELLED), None, STOPPED, "cancelled by ada@host"),
    (job(cancelled=CANCELLED), GONE, STOPPED, "cancelled by ada@host"),
    (job(started=BEGUN, cancelled=CANCELLED), GONE, STOPPED, "cancelled by ada@host"),
    (job(started=BEGUN, cancelled=CANCELLED), Active(), RUNNING, "cancel asked for by ada@host"),
    (
        job(cancelled=CANCELLED),
        Waiting("resources"),
        QUEUED,
        "cancel asked for by ada@host; resources",
    ),
    (
        job(started=BEGUN, cancelled=CANCELLED),
        AWAY,
        RUNNING,
        "cancel asked for by ada@host; on host n2, which cannot be seen from here",
    ),
    # Then absence.
    (job(submitted=None), None, EMPTY, "the submission was interrupted"),
    (job(), None, QUEUED, "starting"),
    (job(), Active("as of 14:22: squeue does not answer"), QUEUED, "as of 14:22"),
    (job(), Waiting("waiting for resources"), QUEUED, "waiting for resources"),
    (job(), AWAY, QUEUED, "on host n2, which cannot be seen from here"),
    (job(), GONE, LOST, "its processes are gone"),
    (job(started=BEGUN), GONE, LOST, "its processes are gone"),
    (job(started=BEGUN, submitted=None), GONE, LOST, "its processes are gone"),
    (job(started=BEGUN), AWAY, RUNNING, "on host n2, which cannot be seen from here"),
    (job(started=BEGUN), None, RUNNING, ""),
    (job(started=BEGUN), Active(), RUNNING, ""),
    (job(started=BEGUN, submitted=None), None, RUNNING, ""),
]


@pytest.mark.parametrize(("facts", "report", "kind", "reason"), TABLE)
def test_facts_and_report_give_the_status(
    facts: JobFacts, report: Report | None, kind: JobStatus, reason: str
) -> None:
    status = derive(facts, report, now=NOW)
    assert status.kind is kind
    assert status.reason.startswith(reason)
    if not reason:
        assert status.reason == ""


def test_job_being_submitted_says_so() -> None:
    status = derive(job(submitted=None), None, now=NOW, submitting=True)
    assert (status.kind, status.reason) == (EMPTY, "being submitted")


def test_gone_job_is_not_lost_before_the_grace_time_of_the_file_system_is_over() -> None:
    early = derive(job(started=BEGUN), GONE, now=1070.0, grace=60.0, last_sign=1030.0)
    late = derive(job(started=BEGUN), GONE, now=1091.0, grace=60.0, last_sign=1030.0)
    assert early.kind is RUNNING
    assert early.reason == "its processes are gone; waiting for its last word"
    assert late.kind is LOST


def test_ended_job_tells_when_it_ran() -> None:
    status = derive(job(started=BEGUN, finished=finished()), None, now=NOW)
    assert isinstance(status, Done)
    assert (status.started, status.ended, status.attempt) == (STARTED, ENDED, 1)


def test_lost_job_ended_when_it_was_last_heard_of() -> None:
    status = derive(job(started=BEGUN), GONE, now=NOW, last_sign=1030.0)
    assert isinstance(status, Lost)
    assert status.ended == 1030.0


def test_job_that_was_cancelled_in_the_queue_never_ran() -> None:
    status = derive(job(cancelled=CANCELLED), GONE, now=NOW)
    assert isinstance(status, Stopped)
    assert (status.started, status.ended, status.attempt) == (None, CANCELLED.time, 0)


# ---- any combination of facts

TIMES = st.sampled_from([0.0, 1.0, CREATED, STARTED, ENDED, NOW, 1e12])
WORDS = st.text(max_size=8)
ERRORS = st.none() | st.dictionaries(
    st.sampled_from(["type", "message", "traceback"]), WORDS | st.none() | st.integers()
)
FINISHED = st.builds(
    Finished,
    outcome=st.sampled_from(["done", "failed", "terminated"]) | WORDS,
    started=TIMES,
    ended=TIMES,
    error=ERRORS,
    why=st.sampled_from(["", "time limit", "signal"]) | WORDS,
)
EXITED = st.builds(
    Exited,
    code=st.integers(),
    time=TIMES,
    stage=st.sampled_from(["directory", "setup", "environment", "run", "overtime"]) | WORDS,
)
ENDS = st.none() | st.builds(Ended, state=WORDS, reason=WORDS, time=TIMES)
REPORTS = (
    st.none()
    | st.builds(Waiting, WORDS)
    | st.builds(Active, WORDS)
    | st.builds(Gone, WORDS)
    | st.builds(Unseen, WORDS)
)
JOBS = st.builds(
    job,
    submitted=st.sampled_from([None, SUBMITTED]),
    cancelled=st.sampled_from([None, CANCELLED]),
    ended=ENDS,
    started=st.sampled_from([None, BEGUN]),
    finished=st.none() | FINISHED,
    exited=st.none() | EXITED,
    attempt_ended=ENDS,
    created=TIMES,
    time_limit=st.none() | st.floats(0, 1e9),
    kind=st.sampled_from(["cell", "function"]),
)


@given(
    facts=JOBS,
    report=REPORTS,
    now=TIMES,
    grace=TIMES,
    submitting=st.booleans(),
    last_sign=st.none() | TIMES,
)
def test_any_facts_have_a_status_in_words(
    facts: JobFacts,
    report: Report | None,
    now: float,
    grace: float,
    submitting: bool,
    last_sign: float | None,
) -> None:
    status = derive(facts, report, now=now, grace=grace, submitting=submitting, last_sign=last_sign)
    assert "\n" not in status.reason or isinstance(report, (Waiting, Active, Gone, Unseen))
    told_by_scheduler = facts.ended or (facts.attempt and facts.attempt.ended)
    if isinstance(status, Failed) and not told_by_scheduler:
        assert status.reason


@given(facts=JOBS, report=REPORTS)
def test_fact_of_an_end_never_gives_a_living_job(facts: JobFacts, report: Report | None) -> None:
    attempt = facts.attempt
    if facts.ended or (attempt and (attempt.finished or attempt.exited or attempt.ended)):
        assert derive(facts, report, now=NOW).kind.ended


@given(facts=JOBS, report=st.none() | st.builds(Unseen, WORDS))
def test_silence_never_makes_a_job_lost(facts: JobFacts, report: Report | None) -> None:
    assert derive(facts, report, now=NOW).kind is not LOST


@given(facts=JOBS, last_word=FINISHED, reports=st.tuples(REPORTS, REPORTS))
def test_no_report_changes_the_status_of_a_finished_job(
    facts: JobFacts, last_word: Finished, reports: tuple[Report | None, Report | None]
) -> None:
    attempt = facts.attempt or Attempt(1, WHERE, None, None, None, None)
    facts = replace(facts, attempt=replace(attempt, finished=last_word))
    first, second = (derive(facts, report, now=NOW) for report in reports)
    assert first == second
    assert first.kind.ended


@given(facts=JOBS, report=REPORTS)
def test_only_a_started_job_is_running(facts: JobFacts, report: Report | None) -> None:
    status = derive(facts, report, now=NOW)
    if isinstance(status, Running):
        assert facts.attempt is not None
        assert facts.attempt.started is not None
    if isinstance(status, Queued):
        assert not status.kind.ended


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (-1.0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (42.4, "42 s"),
        (59.7, "1:00 min"),
        (187.0, "3:07 min"),
        (3599.8, "1:00:00"),
        (7200.0, "2:00:00"),
        (360000.0, "100:00:00"),
    ],
)
def test_duration_is_written_as_people_do(seconds: float, words: str) -> None:
    assert duration(seconds) == words
