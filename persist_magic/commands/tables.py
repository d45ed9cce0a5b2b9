"""Jobs and their results as views. Reads what there is to say; asks and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from persist_magic.info import JobInfo
from persist_magic.jobdir import JobFacts
from persist_magic.payload import size_words
from persist_magic.root import display_path
from persist_magic.runner.outputs import VALUE
from persist_magic.status import JobStatus, ago, duration
from persist_magic.views import Line, Table

TONES = {
    JobStatus.EMPTY: "quiet",
    JobStatus.QUEUED: "quiet",
    JobStatus.RUNNING: "calm",
    JobStatus.DONE: "good",
    JobStatus.FAILED: "bad",
    JobStatus.CANCELLED: "quiet",
    JobStatus.LOST: "bad",
}


def info_line(info: JobInfo) -> Line:
    """A job in one line."""
    return Line(str(info), TONES[info.status])


def clock(then: float) -> str:
    """The local time of *then*."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))


def as_data(info: JobInfo) -> dict[str, Any]:
    """*info* for programs."""
    return {
        "name": info.name,
        "id": info.id,
        "status": info.status.value,
        "reason": info.reason,
        "manager": info.manager,
        "created": info.created,
        "started": info.started,
        "ended": info.ended,
        "took": info.took,
        "attempt": info.attempt,
        "bytes": info.bytes,
        "time_limit": info.time_limit,
        "directory": str(info.directory),
    }


def job_table(found: Sequence[JobInfo]) -> Table:
    """One row a job."""
    rows = [
        (
            info.name,
            Line(info.status.value, TONES[info.status]),
            info.reason,
            info.manager,
            ago(info.created),
            "" if info.took is None else duration(info.took),
            size_words(info.bytes) if info.bytes else "",
        )
        for info in found
    ]
    return Table(("name", "status", "why", "manager", "since", "took", "size"), rows, (0, 2))


def output_table(
    about: Mapping[str, Mapping[str, Any]], head: str, called: Mapping[str, str] | None = None
) -> Table | None:
    """Variables with type, size and role, the large ones first; None where there are none.

    Parameters
    ----------
    about
        What the manifest says of each.
    head
        Of the first column.
    called
        The names to show in place of others.
    """
    names = {VALUE: "(value)", **(called or {})}
    rows = [
        (
            names.get(name, name),
            str(entry.get("is", entry.get("type", ""))),
            size_words(int(entry["bytes"])) if "bytes" in entry else "not saved",
            str(entry.get("role", "saved")),
        )
        for name, entry in sorted(about.items(), key=lambda item: -int(item[1].get("bytes", 0)))
        if not (name == VALUE and entry.get("type") == "NoneType")
    ]
    return Table((head, "what", "size", "how"), rows, (0, 1, 3)) if rows else None


def fact_table(job: JobFacts, info: JobInfo) -> Table:
    """What is known of one job, a row each."""
    request = job.request
    rows: list[tuple[str, str]] = [
        ("id", info.id),
        ("made", f"{clock(info.created)}, {ago(info.created)}, by {request.user}@{request.host}"),
        ("made with", f"Python {request.python_version}"),
    ]
    if info.started is not None:
        rows.append(("started", clock(info.started)))
    if info.ended is not None:
        rows.append(("ended", clock(info.ended)))
    rows.append(("manager", manager_words(request.manager, request.options)))
    started = job.attempt and job.attempt.started
    if started:
        rows.append(("process", f"{started.process.get('pid')} on {started.process.get('host')}"))
    finished = job.attempt and job.attempt.finished
    if finished:
        peak = size_words(finished.peak_memory)
        rows.append(("used", f"{finished.cpu:.1f} s of processor, at most {peak} of memory"))
        rows.extend(("note", note) for note in finished.notes)
    rows.append(("interpreter", request.python))
    rows.append(("ran in" if info.status.ended else "runs in", display_path(Path(request.cwd))))
    rows.append(("directory", display_path(info.directory)))
    return Table(("", ""), rows, (1,))


def manager_words(name: str, options: Mapping[str, Any]) -> str:
    """A manager and its options, as they would be given."""
    words = [f"--{key.replace('_', '-')} {options[key]}" for key in options if key != "scheduler"]
    scheduler = options.get("scheduler") or []
    return " ".join([name, *words, *(["--"] if scheduler else []), *scheduler])
