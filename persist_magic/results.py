"""What a job left behind: its variables, value, failure and words. Knows its directories."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persist_magic import facts, payload
from persist_magic.blobs import BlobIndex
from persist_magic.errors import CannotLoad, JobFailed, UsageError
from persist_magic.jobdir import Attempt, JobFacts
from persist_magic.runner.outputs import ERROR, VALUE
from persist_magic.runner.partial import numbers
from persist_magic.store import check_private

_SPECIAL = frozenset({VALUE, ERROR})


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
        return frozenset(
            name
            for name, about in self.about.items()
            if str(about.get("role", "")).startswith("needed")
        )


def outputs_directory(attempt: Attempt) -> Path:
    """Where the runner put what it saved at the end."""
    return attempt.directory / "outputs"


def describe_outputs(job: JobFacts) -> dict[str, dict[str, Any]]:
    """What is there to be fetched, by name: type, extent, bytes, role; reads no values."""
    found: dict[str, dict[str, Any]] = {}
    if job.attempt is None:
        return found
    for directory in _payloads(job.attempt):
        manifest = payload.read_manifest(directory) or {}
        found.update(
            (name, about) for name, about in manifest.get("about", {}).items() if name != ERROR
        )
    return found


def _payloads(attempt: Attempt) -> list[Path]:
    """Where results are, the later ones outranking the earlier."""
    saved = attempt.directory / "saved"
    found = [saved / str(number) for number in numbers(saved)]
    if "outputs" in facts.listing(attempt.directory):
        found.append(outputs_directory(attempt))
    return found


def load_results(
    job: JobFacts,
    namespace: dict[str, Any],
    index: BlobIndex,
    names: tuple[str, ...] = (),
) -> Results:
    """Load the variables *names* of *job*, all where none is given, and its value.

    Parameters
    ----------
    namespace
        The globals that functions among them will have; nothing is bound in it here.

    Raises
    ------
    UsageError
        One of *names* is not there.
    """
    results = Results(about=describe_outputs(job))
    missing = [name for name in names if name not in results.about]
    if missing:
        there = ", ".join(sorted(results.about.keys() - _SPECIAL)) or "nothing"
        raise UsageError(
            f"job {job.request.name!r} has no variable {missing[0]!r}", f"it brings back: {there}"
        )
    check_private(job.directory)
    if job.attempt is None:
        return results
    wanted = frozenset(names) | {VALUE} if names else frozenset(results.about)
    for directory in _payloads(job.attempt):
        loaded = payload.load_all(directory, namespace, index, wanted)
        results.values.update(loaded.values)
        results.notices.extend(loaded.notices)
        for name in loaded.values:
            results.failures.pop(name, None)
        results.failures.update(loaded.failures)
    results.value = results.values.pop(VALUE, None)
    results.values.pop(ERROR, None)
    results.failures.pop(ERROR, None)
    return results


class _JobTraceback(Exception):
    """Shows the job's own traceback above an exception that is raised here."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def failure_of(
    job: JobFacts, reason: str, namespace: dict[str, Any], index: BlobIndex
) -> BaseException:
    """The exception that ended *job*, of its own type where it can be loaded, ready to be raised.

    It shows the job's traceback: as its cause in plain Python, in place of its own in IPython.
    """
    name = job.request.name
    report = (job.attempt and job.attempt.finished and job.attempt.finished.error) or None
    if report is None or job.attempt is None:
        return JobFailed(f"job {name!r} failed: {reason}", hint_after_failure(job))
    text = str(report.get("traceback", ""))
    error: BaseException | None = None
    if "outputs" in facts.listing(job.attempt.directory):
        check_private(job.directory)
        loaded = payload.load_all(
            outputs_directory(job.attempt), namespace, index, frozenset({ERROR})
        )
        error = loaded.values.get(ERROR)
    if not isinstance(error, Exception):
        # SystemExit and KeyboardInterrupt would end the process that only asks for a result.
        error = JobFailed(
            f"job {name!r} failed with {report.get('type')}: {report.get('message')}",
            hint_after_failure(job),
        )
    kept = hint_after_failure(job)
    lines = [*text.rstrip("\n").split("\n"), *([f"({kept})"] if kept else [])]
    try:
        error.__cause__ = _JobTraceback(text)
        error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]  # IPython's hook
    except AttributeError:
        pass  # an exception without a __dict__ shows its traceback as its cause alone
    return error


def hint_after_failure(job: JobFacts) -> str:
    """What can still be had of a job that did not end well."""
    name = job.request.name
    kept = sorted(describe_outputs(job).keys() - _SPECIAL)
    if kept:
        words = f"{len(kept)} variable{'s' if len(kept) > 1 else ''} kept"
        return f"{words}: %persist_fetch {name} --partial"
    return f"%persist_log {name} shows what it printed; %persist_rerun {name} runs it again"
