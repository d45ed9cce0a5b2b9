"""What state a job is in: facts and the manager's report in, status out. Reads nothing."""

from __future__ import annotations

import enum
import signal
import time
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from persist_magic.jobdir import Attempt, Cancelled, Exited, Finished, JobFacts


class JobStatus(str, enum.Enum):
    """The states of a job."""

    EMPTY = "EMPTY"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    LOST = "LOST"

    def __str__(self) -> str:
        return self.value

    @property
    def ended(self) -> bool:
        """Whether a job in this state will never leave it."""
        return self in _ENDED


_ENDED = frozenset({JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.LOST})


# ---- what a manager reports of a handle


@dataclass(frozen=True)
class Waiting:
    """The scheduler holds the job back."""

    reason: str


@dataclass(frozen=True)
class Active:
    """The job is being run, or about to be."""

    note: str = ""


@dataclass(frozen=True)
class Gone:
    """The manager, on the host that can know, says that the job is no more."""

    reason: str


@dataclass(frozen=True)
class Unseen:
    """The job is where this manager cannot look."""

    reason: str


Report = Waiting | Active | Gone | Unseen


# ---- statuses: each owns the data that exists in it


@dataclass(frozen=True)
class Empty:
    """Made, but not (yet) given to its manager."""

    kind: ClassVar[JobStatus] = JobStatus.EMPTY
    reason: str


@dataclass(frozen=True)
class Queued:
    """Waits for its turn."""

    kind: ClassVar[JobStatus] = JobStatus.QUEUED
    reason: str


@dataclass(frozen=True)
class Running:
    """At work since `started`."""

    kind: ClassVar[JobStatus] = JobStatus.RUNNING
    reason: str
    started: float
    attempt: int


@dataclass(frozen=True)
class Over:
    """What every end has in common; `started` is None for a job that never ran."""

    kind: ClassVar[JobStatus]
    reason: str
    started: float | None
    ended: float | None
    attempt: int


class Done(Over):
    """Ran to its end; all results are there."""

    kind = JobStatus.DONE


class Failed(Over):
    """Ended by an error, a signal or a limit."""

    kind = JobStatus.FAILED


class Stopped(Over):
    """Ended because somebody asked for it."""

    kind = JobStatus.CANCELLED


class Lost(Over):
    """Gone, and no fact says how."""

    kind = JobStatus.LOST


Status = Empty | Queued | Running | Done | Failed | Stopped | Lost
_O = TypeVar("_O", Done, Failed, Stopped, Lost)


def derive(
    facts: JobFacts,
    report: Report | None,
    *,
    now: float,
    grace: float = 0.0,
    submitting: bool = False,
    last_sign: float | None = None,
) -> Status:
    """The status that *facts* and *report* amount to.

    Parameters
    ----------
    facts
        What the job directory says.
    report
        What the manager says; None where nobody asked or nobody answered.
    now
        Seconds since 1970.
    grace
        Seconds for which a slow file system may hold back a fact that was written.
    submitting
        Whether a living process is still making the job.
    last_sign
        When the job last wrote anything.

    Notes
    -----
    Facts outrank reports, in this order: finished, exited, ended, cancelled, then absence.
    """
    attempt = facts.attempt
    if attempt is not None:
        if attempt.finished is not None:
            return _finished(facts, attempt, attempt.finished)
        if attempt.exited is not None:
            return _exited(facts, attempt, attempt.exited)
    ended = (attempt.ended if attempt is not None else None) or facts.ended
    if ended is not None:
        if facts.cancelled:
            return _over(Stopped, ended.reason, attempt, ended.time)
        return _over(Failed, ended.reason, attempt, ended.time)
    if facts.submitted is None and attempt is None:
        if facts.cancelled:
            return _cancelled(facts.cancelled, None)
        if isinstance(report, Active | Unseen):
            words = report.note if isinstance(report, Active) else report.reason
            return _running(facts, None, words)
        return Empty("being submitted" if submitting else "the submission was interrupted")
    match report:
        case Gone(reason):
            if facts.cancelled:
                return _cancelled(facts.cancelled, attempt)
            if now - max(last_sign or 0.0, facts.request.created) < grace:
                return _running(facts, attempt, f"{reason}; waiting for its last word")
            return _over(Lost, reason, attempt, last_sign)
        case Waiting(reason):
            return Queued(_asked(facts, reason))
        case Active(note):
            return _running(facts, attempt, note)
        case Unseen(reason):
            return _running(facts, attempt, reason)
        case None:
            return _running(facts, attempt, "")


def _asked(facts: JobFacts, note: str) -> str:
    if not facts.cancelled:
        return note
    return f"cancel asked for by {facts.cancelled.by}" + (f"; {note}" if note else "")


def _running(facts: JobFacts, attempt: Attempt | None, note: str) -> Status:
    note = _asked(facts, note)
    if attempt is None or attempt.started is None:
        return Queued(note or "starting")
    return Running(note, attempt.started.time, attempt.number)


def _over(kind: type[_O], reason: str, attempt: Attempt | None, ended: float | None) -> _O:
    started = attempt.started.time if attempt is not None and attempt.started is not None else None
    return kind(reason, started, ended, attempt.number if attempt is not None else 0)


def _cancelled(cancelled: Cancelled, attempt: Attempt | None) -> Status:
    return _over(Stopped, f"cancelled by {cancelled.by}", attempt, cancelled.time)


def _finished(facts: JobFacts, attempt: Attempt, finished: Finished) -> Status:
    if finished.outcome == "done":
        return _over(Done, "", attempt, finished.ended)
    if finished.outcome == "terminated":
        if finished.why == "time limit":
            return _over(Failed, _timed_out(facts), attempt, finished.ended)
        if facts.cancelled:
            return _over(Stopped, f"cancelled by {facts.cancelled.by}", attempt, finished.ended)
        return _over(Failed, "ended by signal SIGTERM from outside", attempt, finished.ended)
    error = finished.error or {}
    words = [_one_line(str(error.get(key) or "")) for key in ("type", "message")]
    return _over(Failed, ": ".join(filter(None, words)) or "failed", attempt, finished.ended)


# What a reason takes of an error's message; all of it is in the traceback.
_LONGEST = 200


def _one_line(words: str) -> str:
    line = words.strip().partition("\n")[0].rstrip()
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _timed_out(facts: JobFacts) -> str:
    limit = facts.request.time_limit
    return "timed out" if limit is None else f"timed out after {duration(limit)}"


# The stages of job.sh before the interpreter, in words.
_STAGES = {
    "directory": "its working directory {cwd} cannot be entered",
    "setup": "a --setup command failed with status {code}",
    "environment": "--env could not be set",
}


def _exited(facts: JobFacts, attempt: Attempt, exited: Exited) -> Status:
    if exited.stage == "overtime":
        reason = f"{_timed_out(facts)}; it did not stop when asked and was killed"
        return _over(Failed, reason, attempt, exited.time)
    if facts.cancelled:
        return _over(Stopped, f"cancelled by {facts.cancelled.by}", attempt, exited.time)
    if exited.code == 0 and exited.stage == "setup":
        return _over(Failed, "a --setup command ended the job, with status 0", attempt, exited.time)
    if exited.stage in _STAGES:
        words = _STAGES[exited.stage].format(cwd=facts.request.cwd, code=exited.code)
        return _over(Failed, words, attempt, exited.time)
    killed_by = _signal_of(exited.code)
    if killed_by is not None:
        return _over(Failed, _signal_words(killed_by), attempt, exited.time)
    if attempt.started is None:
        reason = f"{facts.request.python} could not run the job (exit status {exited.code})"
    else:
        what = facts.request.kind
        reason = f"the interpreter ended before the {what} did, with exit status {exited.code}"
    return _over(Failed, reason, attempt, exited.time)


def _signal_of(code: int) -> signal.Signals | None:
    """The signal that the exit status *code* of a shell stands for."""
    try:
        return signal.Signals(code - 128)
    except ValueError:
        return None


def _signal_words(number: signal.Signals) -> str:
    if number == signal.SIGKILL:
        return "killed by signal SIGKILL: by hand, or for lack of memory"
    return f"killed by signal {number.name}"


def duration(seconds: float) -> str:
    """*seconds* as people write them: `0.4 s`, `42 s`, `3:07 min`, `2:00:00`."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def ago(then: float) -> str:
    """How long ago *then* was, coarsely."""
    seconds = max(0.0, time.time() - then)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now" if seconds < 5 else f"{int(seconds)} s ago"
