"""The commands that look at jobs and change nothing: list, status, wait, log."""

from __future__ import annotations

import argparse
import fnmatch
import time

from persist_magic.arguments import argument, seconds
from persist_magic.commands.context import Command, Context
from persist_magic.commands.tables import as_data, fact_table, info_line, job_table, output_table
from persist_magic.errors import ManagerUnreachable, NotReady, UsageError
from persist_magic.info import JobInfo, infos
from persist_magic.jobs import Job
from persist_magic.managers import make_manager
from persist_magic.replay import follow, tail
from persist_magic.root import display_path
from persist_magic.status import JobStatus
from persist_magic.views import Block, Code, Line, View

NAME = argument("name", metavar="NAME", help="the job")
NAMES = argument("names", nargs="+", metavar="NAME", help="jobs")
TIMEOUT = argument("--timeout", type=seconds, metavar="S", help="wait at most S seconds")
# A wait that is over sooner than this needs no words.
_PATIENCE = 1.0


# ---- list


def _list(context: Context, options: argparse.Namespace) -> View | None:
    while options.watch:
        context.redraw(_list_view(context, options.pattern))
        time.sleep(context.refresh)
    return _list_view(context, options.pattern)


def _list_view(context: Context, pattern: str | None) -> View:
    jobs = [
        job.directory
        for job in context.jobs()
        if pattern is None or fnmatch.fnmatchcase(job.name, pattern)
    ]
    found = sorted(infos(context.store, jobs), key=lambda info: info.created, reverse=True)
    if not found:
        which = f"no job matches {pattern!r}" if pattern else "no jobs"
        text = f"{which} in {display_path(context.store.root)}"
        return View([Line(text, "quiet")], [])
    return View([job_table(found)], [as_data(info) for info in found])


# ---- status


def _status(context: Context, options: argparse.Namespace) -> View | None:
    job = context.job(options.name)
    (info,) = infos(context.store, [job.directory])
    blocks: list[Block] = [info_line(info)]
    data = as_data(info)
    if not info.manager:
        blocks.append(Line(f"{context.sign}cleanup {info.id} removes what is left of it", "quiet"))
        return View(blocks, data)
    found = job.facts()
    request = found.request
    blocks.append(fact_table(found, info))
    if request.replaces in context.store.ids():
        blocks.append(Line(f"replaces {request.replaces}, kept until this one is done", "quiet"))
    outputs = job.outputs()
    if table := output_table(outputs, "brings back"):
        blocks.append(table)
    if not info.status.ended and (line := _own_line(job)):
        blocks.append(Code(line))
    data |= {"outputs": outputs, "inputs": request.inputs, "python": request.python}
    return View(blocks, data)


def _own_line(job: Job) -> str:
    """What the job's manager itself says of it."""
    found = job.facts()
    try:
        ask = getattr(make_manager(found.request.manager), "own_line", None)
        return str(ask(found)) if ask is not None else ""
    except (ManagerUnreachable, UsageError) as error:
        return error.message


# ---- wait


def wait_for(context: Context, job: Job, timeout: float | None) -> JobStatus:
    """Wait for *job*, showing after a second what is waited for.

    Raises
    ------
    NotReady
        The time ran out, or Ctrl-C ended the waiting; the job goes on.
    """
    begin = time.monotonic()

    def tick(info: JobInfo) -> None:
        if time.monotonic() - begin > _PATIENCE:
            context.waiting(f"waiting for {info}")

    try:
        return job.wait(timeout, tick=tick)
    except KeyboardInterrupt as stop:
        raise NotReady(
            f"stopped waiting for {job.name!r}; it goes on",
            f"{context.sign}fetch {job.name} waits again; {context.sign}cancel {job.name} ends it",
        ) from stop
    finally:
        context.waiting("")


def _wait(context: Context, options: argparse.Namespace) -> View | None:
    jobs = [context.job(name) for name in options.names]
    deadline = None if options.timeout is None else time.monotonic() + options.timeout
    for job in jobs:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        wait_for(context, job, left)
    found = infos(context.store, [job.directory for job in jobs])
    return View(
        [info_line(info) for info in found],
        [as_data(info) for info in found],
        failed=any(info.status is not JobStatus.DONE for info in found),
    )


# ---- log


def _log(context: Context, options: argparse.Namespace) -> View | None:
    job = context.job(options.name)
    stream = "stderr" if options.stderr else "stdout"
    if options.follow:
        _follow(context, job, stream, options.lines)
        return None
    attempt = job.facts().attempt
    lines = _ALL if options.lines is None else options.lines
    text = "" if attempt is None else tail(attempt.directory, stream, lines)
    if not text:
        return View([Line(f"job {job.name!r} has written nothing to {stream}", "quiet")], "")
    context.write(text if text.endswith("\n") else f"{text}\n")
    return View([], text)


_ALL = 1 << 62  # lines


def _follow(context: Context, job: Job, stream: str, lines: int | None) -> None:
    begin = time.monotonic()
    while (attempt := job.facts().attempt) is None:
        info = job.info()
        if info.status.ended or info.status is JobStatus.EMPTY:
            raise NotReady(f"job {job.name!r} has no log: {info.status} ({info.reason})")
        if time.monotonic() - begin > _PATIENCE:
            context.waiting(f"waiting for {info}")
        time.sleep(0.1)
    context.waiting("")
    last = ""
    for last in follow(attempt.directory, stream, job.is_ready, lines=lines):
        context.write(last)
    if last and not last.endswith("\n"):
        context.write("\n")


LOOKING = (
    Command(
        "list",
        "List the jobs here.",
        (
            argument("pattern", nargs="?", metavar="GLOB", help="only names like this: 'train*'"),
            argument("--watch", action="store_true", help="again and again, until Ctrl-C"),
        ),
        _list,
    ),
    Command("status", "Tell everything about a job.", (NAME,), _status),
    Command("wait", "Wait for jobs.", (NAMES, TIMEOUT), _wait),
    Command(
        "log",
        "Show what a job printed.",
        (
            NAME,
            argument("--stderr", action="store_true", help="its error stream"),
            argument("-n", "--lines", type=int, metavar="LINES", help="only the last LINES lines"),
            argument("-f", "--follow", action="store_true", help="go on while it runs"),
        ),
        _log,
    ),
)
