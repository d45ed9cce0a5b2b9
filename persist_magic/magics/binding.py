"""`%persist_fetch`: what a job brings, shown and bound in the notebook. Submits nothing."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any

from persist_magic.commands.context import Context
from persist_magic.commands.fetching import fetched, note_lines, state_lines
from persist_magic.commands.tables import output_table
from persist_magic.jobs import Job
from persist_magic.magics.showing import replay, show
from persist_magic.results import Results
from persist_magic.runner.outputs import VALUE
from persist_magic.views import Block, Line, View

# Of these an old value is not missed: nothing can be changed in it.
_PLAIN = (int, float, complex, str, bytes, bool, type(None), type)
# A container with more members is not searched for old values.
_SEARCHED = 1000


def fetch_into(shell: Any, context: Context, options: argparse.Namespace) -> Any:
    """Wait for a job, show what its cell showed, bind its variables; its value.

    Raises
    ------
    Exception
        What ended the job, or why nothing was bound.
    """

    def show_all(job: Job) -> None:
        replay(shell, job.replay(), with_result=False)

    job, results = fetched(context, options, options.variables or None, show_all)
    if not options.quiet:
        replay(shell, job.replay(), with_result=VALUE in results.failures)
    binding, kept = _binding(results, shell.user_ns, options.prefix)
    old = {name: shell.user_ns[name] for name in binding if name in shell.user_ns}
    # All at once: an interrupt leaves the notebook as it was.
    shell.push(binding, interactive=True)
    if not options.quiet:
        show(_report(shell, job, results, options.prefix, old, kept))
    return results.value


def _binding(
    results: Results, namespace: Mapping[str, Any], prefix: str
) -> tuple[dict[str, Any], list[str]]:
    """What to bind, and the names that came with a function and are here already."""
    binding = {}
    kept = []
    for name, value in results.values.items():
        if name not in results.needed:
            binding[prefix + name] = value
        elif name in namespace:
            kept.append(name)
        else:
            # A function looks for it under its own name.
            binding[name] = value
    return binding, kept


def _report(
    shell: Any,
    job: Job,
    results: Results,
    prefix: str,
    old: Mapping[str, Any],
    kept: list[str],
) -> View:
    """What was bound, how large, and what that did to the notebook."""
    blocks: list[Block] = [*state_lines(job)]
    shown = [VALUE, *(name for name in results.values if name not in kept)]
    about = {name: results.about[name] for name in shown if name in results.about}
    called = {name: prefix + name for name in results.values if name not in results.needed}
    if table := output_table(about, "variable", called):
        blocks.append(table)
    blocks.extend(note_lines(job, results))
    replaced = [name for name, value in old.items() if value is not shell.user_ns[name]]
    if replaced:
        blocks.append(Line(f"replaced here: {', '.join(replaced)}", "quiet"))
    for name in replaced:
        holders = [] if isinstance(old[name], _PLAIN) else _holders(old[name], shell)
        if holders:
            blocks.append(Line(f"still the old {name!r}: {', '.join(holders)}", "quiet"))
    if kept:
        words = ", ".join(sorted(kept))
        blocks.append(Line(f"already here, so not bound: {words}", "quiet"))
    if not blocks:
        blocks.append(Line(f"job {job.name!r} brings no variables", "quiet"))
    return View(blocks)


def _holders(old: object, shell: Any) -> list[str]:
    """The names of the notebook that are *old*, or hold it."""
    return [
        name
        for name, value in shell.user_ns.items()
        if not name.startswith("_")
        and name not in shell.user_ns_hidden
        and (value is old or _holds(value, old))
    ]


def _holds(container: object, wanted: object) -> bool:
    match container:
        case list() | tuple():
            members: Collection[object] = container
        case dict():
            members = container.values()
        case type() | ModuleType():
            return False
        case _:
            members = getattr(container, "__dict__", {}).values()
    return len(members) <= _SEARCHED and any(member is wanted for member in members)
