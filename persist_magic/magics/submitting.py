"""`%%persist`: from a cell and its options to a job. Knows the shell's namespace; binds nothing."""

from __future__ import annotations

import argparse
import os
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from typing import Any

from IPython.core.error import StdinNotImplementedError

from persist_magic.arguments import names_in, parse_size
from persist_magic.capture import CellNames, names_of_cell
from persist_magic.commands.asked import manager_in, surroundings_in
from persist_magic.commands.context import Context
from persist_magic.commands.tables import manager_words, output_table
from persist_magic.errors import UsageError
from persist_magic.jobs import Job
from persist_magic.localcode import (
    CodeFile,
    check_size,
    code_digest,
    files_of,
    imports_of,
    local_modules,
)
from persist_magic.managers import new_warnings
from persist_magic.payload import size_words
from persist_magic.planning import Digests, Plan, Surroundings, follow_names, plan_inputs
from persist_magic.runner.cell import file_name
from persist_magic.runner.outputs import STATE
from persist_magic.state import describe_state, take_state
from persist_magic.state.seeding import seeded
from persist_magic.views import Block, Code, Line, Table, View

# Names that every IPython namespace has; a cell that reads them means its own.
_OF_IPYTHON = frozenset({"In", "Out", "get_ipython", "exit", "quit", "_ih", "_oh", "_dh"})


def plan_of(
    shell: Any, context: Context, options: argparse.Namespace, cell: str, max_code: str
) -> Plan:
    """The job that *options* ask for, its inputs pickled in memory; nothing is made.

    Raises
    ------
    UsageError
        An option that cannot be obeyed.
    CellSyntaxError
        The cell is no Python.
    """
    manager = manager_in(options, context)
    surroundings = Surroundings(**{"cwd": os.getcwd(), **surroundings_in(options)})
    surroundings.check()
    code = shell.transform_cell(cell)
    names = _analyse(shell, code, options.name)
    notices = new_warnings(manager)
    skip = frozenset(names_in(options.skip, "--skip"))
    wanted = _wanted(shell, options, names, skip, notices)
    digest = Digests()
    # With an explicit --in nothing else goes, whatever the functions among them use.
    barred = skip if options.inputs is None else skip | shell.user_ns.keys()
    state = take_state(shell, seeded(shell.user_ns.get("In", ())))
    extra = {STATE: state} if state else None
    dump, inputs = plan_inputs(wanted, shell.user_ns, frozenset(barred), digest, extra=extra)
    files = _code_files(options, code, max_code)
    return Plan(
        name=options.name,
        kind="cell",
        source=cell,
        code=code,
        dump=dump,
        inputs=inputs,
        manager=manager,
        surroundings=surroundings,
        binds=sorted(names.binds),
        out=None if options.out is None else names_in(options.out, "--out"),
        shell=True,
        state=state,
        code_files=files,
        local_code=code_digest(files),
        digest=digest,
        notices=notices,
    )


def _code_files(options: argparse.Namespace, code: str, max_code: str) -> list[CodeFile]:
    """The files of the notebook's own modules, which the job uses as they are now."""
    left_out = names_in(options.skip_code, "--skip-code")
    modules = local_modules(imports_of(code))
    files = files_of(module for name, module in modules.items() if name not in left_out)
    check_size(files, parse_size(max_code))
    return files


def _analyse(shell: Any, code: str, name: str) -> CellNames:
    try:
        compile(code, file_name(name), "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        lines = shell.SyntaxTB.structured_traceback(type(error), error, [])
        raise CellSyntaxError(str(error), lines) from None
    return names_of_cell(code)


def _wanted(
    shell: Any,
    options: argparse.Namespace,
    names: CellNames,
    skip: frozenset[str],
    notices: list[str],
) -> dict[str, str]:
    """The names to send, each with the reason."""
    reads = {name for name in names.reads if _is_of_user(shell, name)}
    if options.inputs is not None:
        wanted = dict.fromkeys(_present(shell, options.inputs, "--in"), "named by --in")
        for name in sorted(reads - wanted.keys() - skip):
            notices.append(f"the cell reads {name!r}, which --in does not name: it is not sent")
    else:
        wanted = follow_names(
            dict.fromkeys(sorted(reads - skip), "read by the cell"), shell.user_ns
        )
        if names.dynamic:
            words = ", ".join(names.dynamic)
            notices.append(f"the cell uses {words}: name what it needs that way with --also")
    wanted |= dict.fromkeys(_present(shell, options.also, "--also"), "named by --also")
    return {name: why for name, why in wanted.items() if name not in skip}


def _is_of_user(shell: Any, name: str) -> bool:
    namespace = shell.user_ns
    if name not in namespace or name in _OF_IPYTHON:
        return False
    # IPython's own `open`, and what else it put there, unless the user bound it anew.
    hidden = shell.user_ns_hidden
    return name not in hidden or hidden[name] is not namespace[name]


def _present(shell: Any, given: list[str], option: str) -> list[str]:
    names = names_in(given, option)
    for name in names:
        if name not in shell.user_ns:
            raise UsageError(
                f"{option} {name}: there is no such variable", "define it first, or leave it out"
            )
    return names


def confirm(plan: Plan, max_input: str) -> None:
    """Ask whether to send inputs that are larger than *max_input*.

    Raises
    ------
    UsageError
        The answer is no, or nobody can be asked.
    """
    try:
        limit = parse_size(max_input)
    except UsageError as error:
        raise UsageError(f"PersistMagics.max_input: {error.message}", error.hint) from None
    if plan.dump.size <= limit or not plan.inputs:
        return
    largest = max(plan.inputs, key=lambda name: int(plan.inputs[name].get("bytes", 0)))
    words = (
        f"{size_words(plan.dump.size)} would be sent, more than {max_input}; the largest is "
        f"{largest!r} ({size_words(plan.inputs[largest]['bytes'])})"
    )
    try:
        if input(f"{words}. Send it? [y/N] ").strip().lower() in ("y", "yes"):
            return
    except (StdinNotImplementedError, EOFError):
        pass
    raise UsageError(
        words, f"--skip {largest}, or raise the limit: %config PersistMagics.max_input = '64G'"
    )


def dry_run(plan: Plan, context: Context) -> View:
    """What would be sent and run."""
    words = manager_words(plan.manager.name, plan.manager.options)
    blocks: list[Block] = [Line(f"job {plan.name!r} would run: {words}")]
    if plan.name in context.store.by_name():
        blocks.append(Line(f"a job named {plan.name!r} exists already", "quiet"))
    about = {name: {**entry, "role": entry["why"]} for name, entry in plan.inputs.items()}
    blocks.append(output_table(about, "variable") or Line("no variables would be sent", "quiet"))
    if plan.code_files:
        own = sorted({f.path.partition("/")[0] for f in plan.code_files})
        size = size_words(sum(f.size for f in plan.code_files))
        blocks.append(Line(f"copied with it ({size}): {', '.join(own)}"))
    if plan.state:
        blocks.append(Table(("setting sent along", "what"), describe_state(plan.state)))
    for name, failure in plan.dump.failures.items():
        blocks.append(Line(f"{name!r} cannot be sent: {failure.reason}; {failure.advice}", "bad"))
    blocks.extend(Line(notice, "quiet") for notice in plan.notices)
    script = plan.script("ID", context.store.jobs / "ID")
    blocks.append(Code(script))
    return View(blocks, {"inputs": plan.inputs, "script": script})


def report(job: Job, plan: Plan) -> View:
    """That the job was started, with what, and how it is fetched."""
    count = len(plan.inputs)
    sent = f"{count} variable{'s' * (count != 1)} ({size_words(plan.dump.size)})"
    words = f"job {job.name!r} started: {sent if count else 'no variables'} sent"
    blocks: list[Block] = [Line(f"{words}; %persist_fetch {job.name}")]
    blocks.extend(Line(notice, "quiet") for notice in plan.notices)
    return View(blocks, {"name": job.name, "id": job.id})


def attached(name: str, state: str) -> View:
    """That the same job is there already, so that none was made."""
    words = f"job {name!r} is the same and {state}: attached; %persist_fetch {name}"
    return View([Line(words)], {"name": name})


class CellSyntaxError(Exception):
    """A syntax error of the cell, shown as for any cell: IPython would add our own frames."""

    def __init__(self, message: str, lines: list[str]) -> None:
        super().__init__(message)
        self._lines = lines

    def _render_traceback_(self) -> list[str]:
        return self._lines


CellSyntaxError.__name__ = "SyntaxError"
