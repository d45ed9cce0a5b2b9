"""The command fetch. Knows what a job brings, and what a shell shows of it; binds nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from persist_magic.arguments import argument
from persist_magic.commands.context import Command, Context
from persist_magic.commands.looking import NAME, TIMEOUT, wait_for
from persist_magic.commands.tables import info_line, output_table
from persist_magic.jobs import Job
from persist_magic.replay import as_text
from persist_magic.results import Results, not_ready
from persist_magic.runner.outputs import VALUE
from persist_magic.status import JobStatus
from persist_magic.views import Block, Line, View


def waited_for(context: Context, options: argparse.Namespace) -> Job:
    """The job that `fetch` with *options* names, ended if that is wanted.

    Raises
    ------
    NotReady
        It has not ended, and is not to be waited for (any longer).
    """
    job = context.job(options.name)
    if options.partial:
        return job
    if options.no_wait and not job.is_ready():
        raise not_ready(*job.look())
    wait_for(context, job, options.timeout)
    return job


def fetched(
    context: Context,
    options: argparse.Namespace,
    names: list[str] | None,
    replay: Callable[[Job], object],
) -> tuple[Job, Results]:
    """The job that *options* name and its results: its value, and the variables *names* or all.

    Parameters
    ----------
    replay
        Shows what the cell showed, which belongs to the error of a job that did not end well.

    Raises
    ------
    Exception
        What ended the job; why a variable that was asked for by name did not come back.
    """
    job = waited_for(context, options)
    if not options.partial:
        try:
            job.require_done(context.namespace)
        except Exception:
            if not options.quiet:
                replay(job)
            raise
    results = job.results(names, partial=True, namespace=context.namespace)
    for name in names or ():
        if name in results.failures:
            raise results.failures[name]
    return job, results


def state_lines(job: Job) -> list[Line]:
    """What to know before trusting partial results: that, and why, the job is not done."""
    info = job.info()
    return [] if info.status is JobStatus.DONE else [info_line(info)]


def note_lines(job: Job, results: Results) -> list[Line]:
    """What did not come back, and what the job and the loading have to say."""
    lines = [Line(failure.message, "bad") for failure in results.failures.values()]
    attempt = job.facts().attempt
    notes = attempt.finished.notes if attempt is not None and attempt.finished is not None else []
    return [*lines, *(Line(note, "quiet") for note in (*results.notices, *notes))]


def _fetch(context: Context, options: argparse.Namespace) -> View | None:
    """In a shell: what the job showed and what there is to fetch; the variables that are named."""

    def replay(job: Job) -> None:
        context.write(as_text(job.replay(context.sign)))

    job, results = fetched(context, options, options.variables, replay)
    about = job.outputs()
    blocks: list[Block] = [
        Line(f"{options.prefix}{name} = {value!r}") for name, value in results.values.items()
    ]
    if not options.quiet:
        replay(job)
        table = None if options.variables else output_table(about, "variable")
        blocks += [*state_lines(job), *([table] if table else []), *note_lines(job, results)]
    return View(
        blocks,
        {
            "name": job.name,
            "id": job.id,
            "status": job.status().value,
            "output": as_text(job.replay(context.sign)),
            "value": repr(results.value),
            "variables": {
                name: entry
                | ({"repr": repr(results.values[name])} if name in results.values else {})
                for name, entry in about.items()
                if name != VALUE
            },
            "failures": {name: error.message for name, error in results.failures.items()},
        },
    )


FETCH = Command(
    "fetch",
    "Wait for a job, show what its cell showed, bind its variables here, return its value.",
    (
        NAME,
        argument("variables", nargs="*", default=[], metavar="VAR", help="only these variables"),
        argument(
            "--prefix",
            default="",
            metavar="P",
            help="bind each variable under its name with P before it",
        ),
        TIMEOUT,
        argument("--no-wait", action="store_true", help="an error if it is not ready"),
        argument(
            "--partial",
            action="store_true",
            help="take what there is: what was saved, or bound before a failure",
        ),
        argument("-q", "--quiet", action="store_true", help="bind only; show nothing"),
    ),
    _fetch,
)
