"""The commands that end jobs, run them again and delete them: cancel, rerun, cleanup."""

from __future__ import annotations

import argparse
import fnmatch
import time

from persist_magic.arguments import RUN_ARGUMENTS, argument, parse_age
from persist_magic.commands.asked import manager_in, surroundings_in
from persist_magic.commands.context import Command, Context
from persist_magic.commands.looking import NAME, NAMES
from persist_magic.commands.tables import as_data, info_line, manager_words, output_table
from persist_magic.errors import PersistError, UsageError
from persist_magic.info import infos
from persist_magic.jobs import Job
from persist_magic.managers import new_warnings
from persist_magic.payload import size_words
from persist_magic.rerun import rerun
from persist_magic.results import brought_by
from persist_magic.status import JobStatus
from persist_magic.views import Block, Line, View


def _cancel(context: Context, options: argparse.Namespace) -> View | None:
    blocks: list[Block] = []
    data = []
    jobs = [context.job(name) for name in options.names]
    for job in jobs:
        before = job.status()
        if not before.ended:
            job.cancel(force=options.force)
        (info,) = infos(context.store, [job.directory])
        kept = len(brought_by(job.outputs()))
        words = f"; {kept} variable{'s' * (kept != 1)} kept" if kept and not before.ended else ""
        nothing = "nothing to cancel: " if before.ended else ""
        blocks.append(Line(f"{nothing}{info}{words}", info_line(info).tone))
        data.append(as_data(info))
    return View(blocks, data)


def _rerun(context: Context, options: argparse.Namespace) -> View | None:
    job = context.job(options.name)
    old = job.facts()
    manager = manager_in(options, context, (old.request.manager, old.request.options))
    changes = surroundings_in(options)
    if "env" in changes:
        changes["env"] = {**old.request.surroundings.get("env", {}), **changes["env"]}
    if options.dry_run:
        words = manager_words(manager.name, manager.options)
        inputs = {
            name: {**about, "role": about["why"]} for name, about in old.request.inputs.items()
        }
        blocks: list[Block] = [Line(f"job {job.name!r} would run again: {words}")]
        blocks.extend(Line(f"{key}: {value}") for key, value in changes.items())
        if table := output_table(inputs, "sent again"):
            blocks.append(table)
        return View(blocks, {"manager": words, "surroundings": changes, "inputs": inputs})
    directory = rerun(context.store, old, manager, changes, force=options.force)
    (info,) = infos(context.store, [directory])
    # In a shell there is no notebook server that the job could end with.
    told = new_warnings(manager) if context.sign.startswith("%") else []
    warnings = [Line(words, "quiet") for words in told]
    return View([Line(f"running anew: {info}", info_line(info).tone), *warnings], as_data(info))


# ---- cleanup


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
            back = context.store.by_name().get(job.name, job.id)
            words = f"; its name leads to {back} again, which it had replaced"
            words = f"deleted {job.name!r} ({size_words(size)}){words if back != job.id else ''}"
            blocks.append(Line(words, "quiet"))
        data.append({"name": job.name, "id": job.id, "bytes": size})
    if failures:
        # The others are gone all the same.
        context.write(View(blocks).text(80) + "\n" if blocks else "")
        raise failures[0]
    return View(blocks, data)


_WILD = frozenset("*?[")


def _to_clean(context: Context, options: argparse.Namespace) -> list[Job]:
    if not options.names and options.older_than is None:
        raise UsageError(
            "cleanup of what?", "give names, patterns like 'try*', or --older-than 30d"
        )
    every = context.jobs()
    chosen = [] if options.names else every
    for pattern in options.names:
        if _WILD.isdisjoint(pattern):
            chosen.append(context.job(pattern))
        else:
            chosen.extend(job for job in every if fnmatch.fnmatchcase(job.name, pattern))
    jobs = list(dict.fromkeys(chosen))
    if options.older_than is not None:
        limit = time.time() - parse_age(options.older_than)
        going_on = (JobStatus.QUEUED, JobStatus.RUNNING)
        old = {
            info.id
            for info in infos(context.store, [job.directory for job in jobs])
            if (info.ended or info.created) < limit and info.status not in going_on
        }
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


ACTING = (
    Command(
        "cancel",
        "End jobs with all their processes; what they computed is kept.",
        (NAMES, argument("--force", action="store_true", help="kill at once, without asking")),
        _cancel,
    ),
    Command(
        "rerun",
        "Run a job again: same source, same inputs, other options if wanted.",
        (
            NAME,
            argument("--force", action="store_true", help="also if it runs: it is cancelled"),
            *RUN_ARGUMENTS,
        ),
        _rerun,
    ),
    Command(
        "cleanup",
        "Delete all trace of jobs.",
        (
            argument(
                "names", nargs="*", default=[], metavar="NAME", help="jobs, or patterns like 'try*'"
            ),
            argument("--older-than", metavar="AGE", help="only what ended so long ago: 30d, 12h"),
            argument("--dry-run", action="store_true", help="say what would be deleted"),
            argument("--force", action="store_true", help="also jobs that run: they are cancelled"),
        ),
        _cleanup,
    ),
)
