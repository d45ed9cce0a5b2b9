"""`%persist_fetch`: what a job brings, shown and bound in the notebook. Submits nothing."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any

from persist_magic.commands.context import Context
from persist_magic.commands.fetching import fetched, note_lines, state_lines
from persist_magic.commands.tables import output_table
from persist_magic.errors import UsageError
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

    prefix = options.prefix
    if prefix and not (prefix + "x").isidentifier():
        raise UsageError(
            f"--prefix {prefix}: no name of a variable begins so", "write letters, digits and _"
        )

    def show_all(job: Job) -> None:
        replay(shell, job.replay(), with_result=False)

    job, results = fetched(context, options, options.variables or None, show_all)
    if not options.quiet:
        replay(shell, job.replay(), with_result=VALUE in results.failures)
    names, kept = _names_here(results, shell.user_ns, options.prefix)
    old = {here: shell.user_ns[here] for here in names.values() if here in shell.user_ns}
    # All at once: an interrupt leaves the notebook as it was.
    shell.push({here: results.values[name] for name, here in names.items()}, interactive=True)
    if not options.quiet:
        show(_report(shell, job, results, names, kept, old))
    return results.value


def _names_here(
    results: Results, namespace: Mapping[str, Any], prefix: str
) -> tuple[dict[str, str], list[str]]:
    """The names to bind, each with its name here; those that came in vain: theirs is taken."""
    names = {}
    kept = []
    for name, value in results.values.items():
        if name not in results.needed:
            names[name] = prefix + name
        elif name not in namespace:
            # A function looks for it under its own name.
            names[name] = name
        elif namespace[name] is not value:
            kept.append(name)
    return names, sorted(kept)


def _report(
    shell: Any,
    job: Job,
    results: Results,
    names: Mapping[str, str],
    kept: list[str],
    old: Mapping[str, Any],
) -> View:
    """What was bound, how large, and what that did to the notebook."""
    about = {name: results.about[name] for name in (VALUE, *names) if name in results.about}
    table = output_table(about, "variable", names)
    blocks: list[Block] = [*state_lines(job), *([table] if table else [])]
    blocks.extend(note_lines(job, results))
    replaced = [here for here, value in old.items() if value is not shell.user_ns[here]]
    if replaced:
        blocks.append(Line(f"replaced here: {', '.join(replaced)}", "quiet"))
    for here in replaced:
        holders = [] if isinstance(old[here], _PLAIN) else _holders(old[here], shell)
        if holders:
            blocks.append(Line(f"still the old {here!r}: {', '.join(holders)}", "quiet"))
    if kept:
        blocks.append(Line(f"already here, so not bound: {', '.join(kept)}", "quiet"))
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
