"""What a job left behind: its variables, value, failure and words. Knows its directories."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from persist_magic import facts, payload
from persist_magic.blobs import BlobIndex
from persist_magic.errors import (
    CannotLoad,
    Damaged,
    JobCancelled,
    JobFailed,
    JobLost,
    NotReady,
    UsageError,
)
from persist_magic.jobdir import Attempt, JobFacts
from persist_magic.replay import tail
from persist_magic.root import check_private
from persist_magic.runner.outputs import ERROR, VALUE
from persist_magic.runner.partial import numbers
from persist_magic.status import Done, Empty, Failed, Lost, Queued, Running, Status, Stopped

_SPECIAL = frozenset({VALUE, ERROR})
# A kernel asks for colours in the environment, and Python obeys in its last words too.
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


@dataclass
class Results:
    """What came back, in memory and bound nowhere yet."""

    values: dict[str, Any] = field(default_factory=dict)
    value: Any = None
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, CannotLoad] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    @property
    def needed(self) -> frozenset[str]:
        """Names that came only because a function among the others uses them."""
        return frozenset(name for name, about in self.about.items() if _is_needed(about))


def outputs_directory(attempt: Attempt) -> Path:
    """Where the runner put what it saved at the end."""
    return attempt.directory / "outputs"


def describe_outputs(job: JobFacts) -> dict[str, dict[str, Any]]:
    """What is there to be fetched, by name: type, extent, bytes, role; reads no values."""
    return _unless_superseded(job, _described)


def _described(directories: Sequence[Path]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for directory in directories:
        manifest = payload.read_manifest(directory)
        if manifest is None:
            raise Damaged(f"{directory} has no {payload.MANIFEST}")
        for name, about in manifest.get("about", {}).items():
            if name != ERROR:
                found.setdefault(name, about)
    return found


def brought_by(about: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The names in *about* that the job itself bound, changed or saved."""
    return sorted(name for name in about if name not in _SPECIAL and not _is_needed(about[name]))


def _is_needed(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("role", "")).startswith("needed")


def _payloads(attempt: Attempt) -> list[Path]:
    """Where results are, the later ones, which outrank the earlier, first."""
    saved = attempt.directory / "saved"
    found = [saved / str(number) for number in reversed(numbers(saved))]
    if "outputs" in facts.listing(attempt.directory):
        found.insert(0, outputs_directory(attempt))
    return found


_R = TypeVar("_R")
_TRIES = 100


def _unless_superseded(job: JobFacts, read: Callable[[Sequence[Path]], _R]) -> _R:
    """What *read* makes of the directories with results of *job*.

    Anew where one of them goes while it is read: a running job deletes what it saved when it has
    saved all of that again.
    """
    if job.attempt is None:
        return read(())
    for _ in range(_TRIES):
        directories = _payloads(job.attempt)
        try:
            return read(directories)
        except Damaged:
            if set(directories) <= set(_payloads(job.attempt)):
                raise
    return read(_payloads(job.attempt))


def load_results(
    job: JobFacts,
    namespace: dict[str, Any],
    index: BlobIndex,
    names: Sequence[str] | None = None,
) -> Results:
    """Load the value of *job* and its variables.

    Parameters
    ----------
    namespace
        The globals that functions among them will have; nothing is bound in it here.
    names
        Only these variables; none of them for an empty one.

    Raises
    ------
    UsageError
        One of *names* is not there.
    """
    results = Results(about=describe_outputs(job))
    there = results.about.keys() - _SPECIAL
    if missing := [name for name in names or () if name not in there]:
        raise UsageError(
            f"job {job.request.name!r} has no variable {' or '.join(map(repr, missing))}",
            f"it brings back {', '.join(brought_by(results.about)) or 'no variables'}",
        )
    check_private(job.directory)
    if job.attempt is None:
        return results
    wanted = frozenset(results.about) if names is None else frozenset(names) | {VALUE}
    loaded = _unless_superseded(
        job, lambda directories: _loaded(directories, namespace, index, wanted)
    )
    results.values, results.failures, results.notices = (
        loaded.values,
        loaded.failures,
        loaded.notices,
    )
    results.value = results.values.pop(VALUE, None)
    results.values.pop(ERROR, None)
    results.failures.pop(ERROR, None)
    return results


def _loaded(
    directories: Sequence[Path],
    namespace: dict[str, Any],
    index: BlobIndex,
    wanted: frozenset[str],
) -> payload.Loaded:
    """The newest of each name in *wanted*; an older one where that cannot be loaded."""
    all_of_it = payload.Loaded({}, {}, [])
    for directory in directories:
        left = wanted - all_of_it.values.keys()
        if not left:
            break
        loaded = payload.load_all(directory, namespace, index, left)
        if (loaded.failures or not loaded.values) and not directory.exists():
            raise Damaged(f"{directory} was superseded while it was read")
        all_of_it.values.update(loaded.values)
        all_of_it.notices.extend(loaded.notices)
        all_of_it.failures = {**loaded.failures, **all_of_it.failures}
    for name in all_of_it.values:
        all_of_it.failures.pop(name, None)
    return all_of_it


class JobTraceback(Exception):
    """The job's own traceback, as the cause of an exception that is raised here.

    Parameters
    ----------
    text
        As it looked in the job.
    hint
        What can still be had of the job.
    """

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text, hint)
        self.text = text.rstrip("\n")
        self.hint = hint

    def __str__(self) -> str:
        return f'\n"""\n{self.text}\n"""'

    def lines(self) -> list[str]:
        """The traceback and the hint, for IPython."""
        return [*self.text.split("\n"), *([f"({self.hint})"] if self.hint else [])]


def failure_of(
    job: JobFacts, status: Status, namespace: dict[str, Any], index: BlobIndex
) -> BaseException | None:
    """Why *job*, which is in *status*, has no results, ready to be raised; None: it is done."""
    name = job.request.name
    match status:
        case Done():
            return None
        case Failed(reason=reason):
            return _own_failure(job, reason, namespace, index)
        case Stopped(reason=reason):
            return JobCancelled(f"job {name!r} was {reason}", hint_after_failure(job))
        case Lost(reason=reason):
            return JobLost(f"job {name!r} is lost: {reason}", hint_after_failure(job))
        case Empty(reason=reason):
            return JobLost(f"job {name!r} never started: {reason}", "run its cell again")
        case Queued() | Running():
            return not_ready(job, status)


def not_ready(job: JobFacts, status: Status, after: str = "") -> NotReady:
    """The error that *job* has not ended yet."""
    name = job.request.name
    words = " ".join(filter(None, (f"job {name!r} is not ready", after)))
    state = f"{status.kind} ({status.reason})" if status.reason else str(status.kind)
    return NotReady(f"{words}: {state}", f"it goes on; %persist_fetch {name} waits for it")


def _own_failure(
    job: JobFacts, reason: str, namespace: dict[str, Any], index: BlobIndex
) -> BaseException:
    """The exception that ended *job*, of its own type where it can be loaded.

    It shows the job's traceback: as its cause in plain Python, in place of its own in IPython.
    """
    name, hint = job.request.name, hint_after_failure(job)
    report = (job.attempt and job.attempt.finished and job.attempt.finished.error) or None
    if job.attempt is None or report is None or not report.get("traceback"):
        return JobFailed(f"job {name!r} failed: {reason}{_last_words(job)}", hint)
    error: BaseException | None = None
    if "outputs" in facts.listing(job.attempt.directory):
        check_private(job.directory)
        loaded = payload.load_all(
            outputs_directory(job.attempt), namespace, index, frozenset({ERROR})
        )
        error = loaded.values.get(ERROR)
    if not isinstance(error, Exception):
        # SystemExit and KeyboardInterrupt would end the process that only asks for a result.
        error = JobFailed(f"job {name!r} failed: {reason}", hint)
    cause = JobTraceback(str(report.get("traceback", "")), hint)
    error.__cause__ = cause
    try:
        error._render_traceback_ = cause.lines  # type: ignore[attr-defined]  # IPython's hook
    except AttributeError:
        pass  # it refuses new attributes, and shows its cause alone
    return error


def _last_words(job: JobFacts) -> str:
    """The last line that *job* wrote to its error stream, which most often tells why it died."""
    # Of a kill by signal it is only the shell's word for that.
    if job.attempt is None or (job.attempt.exited is not None and job.attempt.exited.code > 128):
        return ""
    words = _COLOUR.sub("", tail(job.attempt.directory, "stderr", 1)).strip()
    return f"; its last words: {words}" if words else ""


def hint_after_failure(job: JobFacts) -> str:
    """What can still be had of a job that did not end well."""
    name = job.request.name
    kept = len(brought_by(describe_outputs(job)))
    if kept:
        return f"{kept} variable{'s' * (kept > 1)} kept: %persist_fetch {name} --partial"
    words = _last_words(job)
    if "ModuleNotFoundError" in words and job.attempt and not job.attempt.started:
        return f"install persist-magic for it: {job.request.python} -m pip install persist-magic"
    stderr = " --stderr" if words else ""
    return f"%persist_log {name}{stderr} shows what it printed; %persist_rerun {name} runs it again"
