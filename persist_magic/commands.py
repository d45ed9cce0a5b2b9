"""The one table of commands: each one's name, arguments, and the function that it runs.

Knows jobs and views, not where they are shown: magics and the `persist` program obey it alike.
"""

from __future__ import annotations

import argparse
import fnmatch
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from persist_magic.arguments import (
    RUN_ARGUMENTS,
    Argument,
    argument,
    pairs_in,
    parse_age,
)
from persist_magic.errors import JobNotFound, NotReady, PersistError, UsageError
from persist_magic.jobs import Job, JobInfo, infos
from persist_magic.managers import RESOURCES, Manager, make_manager
from persist_magic.payload import size_words
from persist_magic.replay import as_text, follow
from persist_magic.rerun import rerun
from persist_magic.results import Results
from persist_magic.runner.outputs import ERROR, VALUE
from persist_magic.status import JobStatus, duration
from persist_magic.store import Store, check_name, display_path
from persist_magic.views import Block, Code, Line, Table, View

TONES = {
    JobStatus.EMPTY: "quiet",
    JobStatus.QUEUED: "quiet",
    JobStatus.RUNNING: "calm",
    JobStatus.DONE: "good",
    JobStatus.FAILED: "bad",
    JobStatus.CANCELLED: "quiet",
    JobStatus.LOST: "bad",
}


@dataclass
class Context:
    """Where a command runs.

    Parameters
    ----------
    store
        The jobs.
    namespace
        Where fetched functions live.
    sign
        How a line magic is written there: `%persist_` in IPython, `persist ` in a shell.
    write
        Prints text at once, for what comes while the command runs.
    waiting
        Shows what is waited for, again and again; an empty text ends it.
    defaults
        The options of each manager, from the configuration.
    """

    store: Store
    namespace: dict[str, Any]
    sign: str
    write: Callable[[str], object]
    waiting: Callable[[str], object]
    defaults: dict[str, dict[str, Any]] = field(default_factory=dict)

    def job(self, name: str) -> Job:
        """The job called *name*."""
        if self.store.exists():
            self.store.check_trust()
        return Job(self.store, self.store.resolve(name))

    def jobs(self) -> list[Job]:
        """The newest job of each name, newest first."""
        ids = sorted(self.store.by_name().values(), reverse=True)
        return [Job(self.store, self.store.jobs / id) for id in ids]


@dataclass(frozen=True)
class Command:
    """One command."""

    name: str
    summary: str
    arguments: Sequence[Argument]
    run: Callable[[Context, argparse.Namespace], View | None]
    # Of a command whose last word is the name of a job, to be completed with Tab.
    takes_job: bool = True


def manager_of(options: argparse.Namespace, defaults: dict[str, dict[str, Any]]) -> Manager:
    """The manager that *options* ask for, with its configured options and theirs.

    Raises
    ------
    UsageError
        Two managers, one that is unknown, or an option that it does not honour.
    """
    if options.local and options.manager not in (None, "local"):
        raise UsageError(f"--local and --manager {options.manager} contradict", "give one of them")
    name = "local" if options.local else options.manager or defaults.get("", {}).get("manager")
    name = name or "local"
    given = {key: getattr(options, key) for key in RESOURCES if getattr(options, key) is not None}
    if options.scheduler:
        if name == "local":
            words = " ".join(options.scheduler)
            raise UsageError(
                f"'-- {words}' is for a scheduler; this job runs on this machine", "leave it out"
            )
        given["scheduler"] = options.scheduler
    return make_manager(name, {**defaults.get(name, {}), **given})


# ---- views of jobs


def took_words(info: JobInfo) -> str:
    """How long it ran, or has run."""
    return "" if info.took is None else duration(info.took)


def ago(then: float) -> str:
    """How long ago *then* was, coarsely."""
    seconds = max(0.0, time.time() - then)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now" if seconds < 5 else f"{int(seconds)} s ago"


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


def _job_table(found: Sequence[JobInfo]) -> Table:
    rows = [
        (
            info.name,
            Line(info.status.value, TONES[info.status]),
            info.reason,
            info.manager,
            ago(info.created),
            took_words(info),
            size_words(info.bytes) if info.bytes else "",
        )
        for info in found
    ]
    return Table(("name", "status", "why", "manager", "since", "took", "size"), rows)


def _list(context: Context, options: argparse.Namespace) -> View | None:
    while True:
        jobs = [
            job
            for job in context.jobs()
            if options.pattern is None or fnmatch.fnmatchcase(job.name, options.pattern)
        ]
        found = sorted(infos(context.store, jobs), key=lambda info: -info.created)
        view = _list_view(context, found, options.pattern)
        if not options.watch:
            return view
        context.waiting(str(view))
        time.sleep(1.0)


def _list_view(context: Context, found: Sequence[JobInfo], pattern: str | None) -> View:
    if not found:
        which = f"no job matches {pattern!r}" if pattern else "no jobs"
        text = f"{which} in {display_path(context.store.root)}"
        return View([Line(text, "quiet")], [])
    return View([_job_table(found)], [as_data(info) for info in found])


def output_rows(about: dict[str, dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Variables with type, size and role, the large ones first."""
    rows = sorted(about.items(), key=lambda item: -int(item[1].get("bytes", 0)))
    return [
        (
            "value" if name == VALUE else name,
            str(entry.get("is", entry.get("type", ""))),
            size_words(int(entry["bytes"])) if "bytes" in entry else "not saved",
            str(entry.get("role", "saved")),
        )
        for name, entry in rows
        if name != ERROR and not (name == VALUE and entry.get("type") == "NoneType")
    ]


def _status(context: Context, options: argparse.Namespace) -> View | None:
    job = context.job(options.name)
    (info,) = infos(context.store, [job])
    blocks: list[Block] = [Line(str(info), TONES[info.status])]
    data = as_data(info)
    if not info.manager:
        return View(blocks, data)
    found = job.facts()
    request = found.request
    rows: list[tuple[str, str]] = [
        ("id", info.id),
        ("made", f"{_clock(info.created)} by {request.user}@{request.host}, {ago(info.created)}"),
    ]
    if info.started is not None:
        rows.append(("started", _clock(info.started)))
    if info.ended is not None:
        rows.append(("ended", _clock(info.ended)))
    words = [request.manager, *(f"--{k} {v}" for k, v in request.options.items())]
    rows.append(("manager", " ".join(map(str, words))))
    process = found.attempt and found.attempt.started and found.attempt.started.process
    if process:
        rows.append(("process", f"{process.get('pid')} on {process.get('host')}"))
    finished = found.attempt and found.attempt.finished
    if finished:
        peak = size_words(finished.peak_memory)
        rows.append(("used", f"{finished.cpu:.1f} s of processor, at most {peak} of memory"))
        rows.extend(("note", note) for note in finished.notes)
    rows.append(("interpreter", f"{request.python} ({request.python_version})"))
    rows.append(("directory", display_path(info.directory)))
    if request.replaces in context.store.ids():
        rows.append(("replaced", f"{request.replaces}, kept until this one is done"))
    blocks.append(Table(("", ""), rows))
    outputs = output_rows(job.outputs())
    if outputs:
        blocks.append(Table(("brings back", "what", "size", "why"), outputs))
    data |= {"outputs": job.outputs(), "inputs": request.inputs, "python": request.python}
    return View(blocks, data)


def _clock(then: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))


def wait_for(context: Context, job: Job, timeout: float | None) -> JobStatus:
    """Wait for *job*, showing after a second what is waited for.

    Raises
    ------
    NotReady
        The time ran out, or Ctrl-C ended the waiting; the job goes on.
    """
    begin = time.monotonic()

    def tick(info: JobInfo) -> None:
        if time.monotonic() - begin > 1.0:
            context.waiting(f"waiting for {info}")

    try:
        return job.wait(timeout, tick=tick)
    except KeyboardInterrupt:
        raise NotReady(
            f"stopped waiting for {job.name!r}; it goes on",
            f"{context.sign}fetch {job.name} waits again; {context.sign}cancel {job.name} ends it",
        ) from None
    finally:
        context.waiting("")


def _wait(context: Context, options: argparse.Namespace) -> View | None:
    jobs = [context.job(name) for name in options.names]
    deadline = None if options.timeout is None else time.monotonic() + options.timeout
    for job in jobs:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        wait_for(context, job, left)
    found = infos(context.store, jobs)
    return View(
        [Line(str(info), TONES[info.status]) for info in found], [as_data(i) for i in found]
    )


def _log(context: Context, options: argparse.Namespace) -> View | None:
    job = context.job(options.name)
    stream = "stderr" if options.stderr else "stdout"
    if not options.follow:
        text = job.stderr(options.lines) if options.stderr else job.stdout(options.lines)
        if not text:
            return View([Line(f"job {job.name!r} has written nothing to {stream}", "quiet")], "")
        return View([Code(text)], text)
    while (attempt := job.facts().attempt) is None:
        wait_for_start(context, job)
    for text in follow(attempt.directory, stream, job.is_ready):
        context.write(text)
    return None


def wait_for_start(context: Context, job: Job) -> None:
    """Wait a moment for *job* to start.

    Raises
    ------
    NotReady
        It ended without starting.
    """
    info = job.info()
    if info.status.ended or info.status is JobStatus.EMPTY:
        raise NotReady(f"job {job.name!r} has no log: {info.status} ({info.reason})")
    context.waiting(f"waiting for {info}")
    time.sleep(0.2)


def _cancel(context: Context, options: argparse.Namespace) -> View | None:
    blocks: list[Block] = []
    data = []
    for name in options.names:
        job = context.job(name)
        if job.is_ready():
            (info,) = infos(context.store, [job])
            blocks.append(Line(f"nothing to cancel: {info}", "quiet"))
        else:
            job.cancel(force=options.force)
            (info,) = infos(context.store, [job])
            kept = len(output_rows(job.outputs()))
            words = f"; {kept} variable{'s' * (kept != 1)} kept" if kept else ""
            blocks.append(Line(f"{info}{words}", TONES[info.status]))
        data.append(as_data(info))
    return View(blocks, data)


def _rerun(context: Context, options: argparse.Namespace) -> View | None:
    job = context.job(options.name)
    found = job.facts()
    old = {} if options.manager or options.local else dict(found.request.options)
    options.manager = options.manager or (None if options.local else found.request.manager)
    defaults = {**context.defaults}
    name = options.manager or "local"
    defaults[name] = {**defaults.get(name, {}), **old}
    manager = manager_of(options, defaults)
    changes = surroundings_in(options)
    directory = rerun(context.store, found, manager, changes, force=options.force)
    (info,) = infos(context.store, [Job(context.store, directory)])
    return View([Line(f"running anew: {info}", TONES[info.status])], as_data(info))


def surroundings_in(options: argparse.Namespace) -> dict[str, Any]:
    """The surroundings that *options* ask for, as fields of `Surroundings`."""
    given: dict[str, Any] = {}
    if options.chdir is not None:
        import os

        given["cwd"] = os.path.abspath(os.path.expanduser(options.chdir))
    if options.env:
        given["env"] = pairs_in(options.env)
    if options.setup:
        given["setup"] = list(options.setup)
    if options.python is not None:
        import shutil

        given["python"] = shutil.which(options.python) or options.python
    if options.notify is not None:
        given["notify"] = options.notify
    return given


def _cleanup(context: Context, options: argparse.Namespace) -> View | None:
    jobs = _to_clean(context, options)
    if not jobs:
        return View([Line("nothing to clean up", "quiet")], [])
    blocks: list[Block] = []
    data = []
    failures: list[PersistError] = []
    for job in jobs:
        size = disk_use(job)
        if options.dry_run:
            blocks.append(Line(f"would delete {job.name!r} ({size_words(size)})"))
        else:
            try:
                job.cleanup(force=options.force)
            except PersistError as error:
                failures.append(error)
                continue
            blocks.append(Line(f"deleted {job.name!r} ({size_words(size)})", "quiet"))
        data.append({"name": job.name, "id": job.id, "bytes": size})
    if failures:
        for block in blocks:
            if isinstance(block, Line):
                context.write(block.text + "\n")
        raise failures[0]
    return View(blocks, data)


def _to_clean(context: Context, options: argparse.Namespace) -> list[Job]:
    if not options.names and options.older_than is None:
        raise UsageError(
            "cleanup of what?", "give names, patterns like 'try*', or --older-than 30d"
        )
    every = context.jobs()
    if options.names:
        chosen = []
        for pattern in options.names:
            matching = [job for job in every if fnmatch.fnmatchcase(job.name, pattern)]
            chosen.extend(matching or [context.job(pattern)])
    else:
        chosen = every
    jobs = list({job.id: job for job in chosen}.values())
    if options.older_than is not None:
        limit = time.time() - parse_age(options.older_than)
        ended = infos(context.store, jobs)
        old = {i.id for i in ended if (i.ended or i.created) < limit and i.status.ended}
        jobs = [job for job in jobs if job.id in old]
    return jobs


def disk_use(job: Job) -> int:
    """The bytes that the files of *job* take, shared blobs included."""
    total = 0
    for path in job.directory.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
        except OSError:
            continue
    return total


# ---- fetch


def fetch_results(context: Context, options: argparse.Namespace) -> tuple[Job, Results]:
    """What `fetch` with *options* brings, waited for; bound nowhere yet."""
    job = context.job(options.name)
    if not options.partial:
        if options.no_wait and not job.is_ready():
            raise NotReady(
                f"job {job.name!r} is not ready: {job.info()}", "without --no-wait it is waited for"
            )
        wait_for(context, job, options.timeout)
    return job, load(context, job, tuple(options.variables), options.partial)


def load(context: Context, job: Job, names: tuple[str, ...], partial: bool) -> Results:
    """The results of *job*, with the failure of each variable that was asked for raised."""
    results = job.results(*names, partial=partial, timeout=0, namespace=context.namespace)
    for name in names:
        if name in results.failures:
            raise results.failures[name]
    return results


def fetch_blocks(job: Job, results: Results) -> list[Block]:
    """What came back, for people."""
    blocks: list[Block] = []
    about = {
        name: results.about[name] for name in (VALUE, *results.values) if name in results.about
    }
    rows = output_rows(about)
    if rows:
        blocks.append(Table(("variable", "what", "size", "why"), rows))
    blocks.extend(Line(failure.message, "bad") for failure in results.failures.values())
    blocks.extend(Line(notice, "quiet") for notice in results.notices)
    return blocks


def _fetch(context: Context, options: argparse.Namespace) -> View | None:
    """In a shell: what the job printed, and what it brings back."""
    job, results = fetch_results(context, options)
    if not options.quiet:
        context.write(as_text(job.replay()))
    blocks = fetch_blocks(job, results)
    return View(
        blocks,
        {
            "name": job.name,
            "value": repr(results.value),
            "variables": {name: repr(value) for name, value in results.values.items()},
            "failures": {name: error.message for name, error in results.failures.items()},
        },
    )


FETCH_ARGUMENTS = (
    argument("name", metavar="NAME", help="the job"),
    argument("variables", nargs="*", metavar="VAR", help="only these variables"),
    argument(
        "--prefix",
        default="",
        metavar="P",
        help="bind each variable under its name with P before it",
    ),
    argument("--timeout", type=float, metavar="S", help="wait at most S seconds"),
    argument("--no-wait", action="store_true", help="an error if it is not ready"),
    argument(
        "--partial",
        action="store_true",
        help="take what there is: what was saved, or bound before a failure",
    ),
    argument("-q", "--quiet", action="store_true", help="bind only; show nothing"),
)

_NAMES = argument("names", nargs="+", metavar="NAME", help="jobs")
_NAME = argument("name", metavar="NAME", help="the job")
_TIMEOUT = argument("--timeout", type=float, metavar="S", help="wait at most S seconds")

COMMANDS: tuple[Command, ...] = (
    Command(
        "fetch",
        "Wait for a job, show what its cell showed, bind its variables here, return its value.",
        FETCH_ARGUMENTS,
        _fetch,
    ),
    Command(
        "list",
        "List the jobs here.",
        (
            argument("pattern", nargs="?", metavar="GLOB", help="only names like this: 'train*'"),
            argument("--watch", action="store_true", help="again and again, until Ctrl-C"),
        ),
        _list,
    ),
    Command("status", "Tell everything about a job.", (_NAME,), _status),
    Command("wait", "Wait for jobs.", (_NAMES, _TIMEOUT), _wait),
    Command(
        "log",
        "Show what a job printed.",
        (
            _NAME,
            argument("--stderr", action="store_true", help="its error stream"),
            argument("-n", "--lines", type=int, metavar="LINES", help="only the last LINES lines"),
            argument("-f", "--follow", action="store_true", help="go on while it runs"),
        ),
        _log,
    ),
    Command(
        "cancel",
        "End jobs with all their processes; what they computed is kept.",
        (_NAMES, argument("--force", action="store_true", help="kill at once, without asking")),
        _cancel,
    ),
    Command(
        "rerun",
        "Run a job again: same source, same inputs, other options if wanted.",
        (_NAME, *RUN_ARGUMENTS),
        _rerun,
    ),
    Command(
        "cleanup",
        "Delete all trace of jobs.",
        (
            argument("names", nargs="*", metavar="NAME", help="jobs, or patterns like 'try*'"),
            argument("--older-than", metavar="AGE", help="only what ended so long ago: 30d, 12h"),
            argument("--dry-run", action="store_true", help="say what would be deleted"),
            argument("--force", action="store_true", help="also jobs that run: they are cancelled"),
        ),
        _cleanup,
    ),
)


def command(name: str) -> Command:
    """The command called *name*."""
    return next(one for one in COMMANDS if one.name == name)


def job_names(store: Store) -> Iterable[str]:
    """The names that can be completed."""
    return sorted(store.by_name())


__all__ = ["COMMANDS", "Command", "Context", "JobNotFound", "check_name", "command"]
