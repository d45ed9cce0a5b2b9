"""The commands as IPython magics: `%%persist`, `%persist_fetch` and the rest. Knows the shell.

What the notebook shows, how names are bound in it, and what Tab completes.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython.core.error import StdinNotImplementedError
from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand
from traitlets import Float, Unicode

from persist_magic import commands
from persist_magic.arguments import (
    PERSIST_ARGUMENTS,
    names_in,
    parse_persist,
    parse_size,
    parser_of,
    split,
)
from persist_magic.capture import CellNames, names_of_cell
from persist_magic.commands import COMMANDS, Command, Context
from persist_magic.errors import NotReady, UsageError
from persist_magic.jobs import Job
from persist_magic.payload import size_words
from persist_magic.replay import Notice, Rich, Text
from persist_magic.results import Results
from persist_magic.runner.cell import file_name
from persist_magic.runner.outputs import VALUE
from persist_magic.store import Store, check_name, find_root
from persist_magic.submission import (
    Digests,
    Plan,
    Surroundings,
    follow_names,
    plan_inputs,
    submit,
)
from persist_magic.views import Block, Code, Line, Table, View

# Names that every IPython namespace has; a cell that reads them means its own.
_OF_IPYTHON = frozenset({"In", "Out", "get_ipython", "exit", "quit", "_ih", "_oh", "_dh"})


@magics_class
class PersistMagics(Magics):
    """The magics, their configuration, and the root that was found when they were loaded."""

    root = Unicode(
        os.environ.get("PERSIST_ROOT", ""), help="Where jobs live; default: .persist here or above."
    ).tag(config=True)
    manager = Unicode(
        os.environ.get("PERSIST_MANAGER", "local"), help="Who runs jobs when nothing is said."
    ).tag(config=True)
    refresh = Float(
        float(os.environ.get("PERSIST_REFRESH", "1.0")), help="Seconds between looks at jobs."
    ).tag(config=True)
    max_input = Unicode(
        os.environ.get("PERSIST_MAX_INPUT", "4G"), help="Larger inputs ask for confirmation."
    ).tag(config=True)

    def __init__(self, shell: Any) -> None:
        super().__init__(shell=shell, parent=shell)
        self._shell: Any = shell
        found, self.notice = find_root(Path.cwd(), self.root or None)
        # Fixed now, so that %cd does not lose jobs.
        self.store = Store(found)

    def context(self) -> Context:
        """Where commands run."""
        configured = {
            name.removesuffix("Manager").lower(): dict(section.get("options", {}))
            for name, section in self._shell.config.items()
            if name.endswith("Manager") and "options" in section
        }
        configured["local"] = configured.pop("process", {})
        configured[""] = {"manager": self.manager}
        return Context(
            self.store,
            self._shell.user_ns,
            "%persist_",
            sys.stdout.write,
            _Waiting(self._shell),
            configured,
        )

    # ---- %%persist

    @no_var_expand
    @cell_magic
    def persist(self, line: str, cell: str) -> Any:
        """Run the cell in a background interpreter."""
        options = parse_persist(line, PERSIST_ARGUMENTS, "%%persist")
        check_name(options.name)
        context = self.context()
        manager = commands.manager_of(options, context.defaults)
        code = self._shell.transform_cell(cell)
        names = self._analyse(code, options.name)
        plan = self._plan(options, cell, code, names, manager)
        if options.dry_run:
            return self._dry_run(plan)
        self._confirm(plan)
        directory = submit(self.store, plan, replace=options.replace, force=options.force)
        job = Job(self.store, directory)
        if not options.quiet:
            _show(self._submitted(job, plan))
        if options.wait:
            return self._fetch_into(
                context, commands.command("fetch"), [options.name, *(["-q"] * options.quiet)]
            )
        return None

    def _analyse(self, code: str, name: str) -> CellNames:
        try:
            compile(code, file_name(name), "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        except SyntaxError as error:
            lines = self._shell.SyntaxTB.structured_traceback(type(error), error, [])
            raise _CellSyntaxError(str(error), lines) from None
        return names_of_cell(code)

    def _plan(
        self, options: argparse.Namespace, cell: str, code: str, names: CellNames, manager: Any
    ) -> Plan:
        namespace = self._shell.user_ns
        notices = list(manager.warnings(None))
        skip = frozenset(names_in(options.skip, "--skip"))
        reads = {name for name in names.reads if self._is_of_user(name)}
        if options.inputs is not None:
            wanted = dict.fromkeys(self._present(options.inputs, "--in"), "named by --in")
            for name in sorted(reads - wanted.keys() - skip):
                notices.append(f"the cell reads {name!r}, which --in does not name: it is not sent")
        else:
            wanted = follow_names(
                dict.fromkeys(sorted(reads - skip), "read by the cell"), namespace
            )
            if names.dynamic:
                words = ", ".join(names.dynamic)
                notices.append(f"the cell uses {words}: name what it needs that way with --also")
        wanted |= dict.fromkeys(self._present(options.also, "--also"), "named by --also")
        wanted = {name: why for name, why in wanted.items() if name not in skip}
        changes = commands.surroundings_in(options)
        surroundings = Surroundings(**{"cwd": os.getcwd(), **changes})
        digest = Digests()
        # With an explicit --in nothing else goes, whatever the functions among them use.
        barred = skip if options.inputs is None else skip | namespace.keys()
        dump, inputs = plan_inputs(wanted, namespace, frozenset(barred), digest)
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
            digest=digest,
            notices=notices,
        )

    def _is_of_user(self, name: str) -> bool:
        namespace = self._shell.user_ns
        if name not in namespace or name in _OF_IPYTHON:
            return False
        # IPython's own `open`, and what else it put there, unless the user bound it anew.
        hidden = self._shell.user_ns_hidden
        return name not in hidden or hidden[name] is not namespace[name]

    def _present(self, given: list[str], option: str) -> list[str]:
        names = names_in(given, option)
        for name in names:
            if name not in self._shell.user_ns:
                raise UsageError(
                    f"{option} {name}: there is no such variable",
                    "define it first, or leave it out",
                )
        return names

    def _confirm(self, plan: Plan) -> None:
        limit = parse_size(self.max_input)
        if plan.dump.size <= limit:
            return
        largest = max(plan.inputs, key=lambda name: int(plan.inputs[name].get("bytes", 0)))
        words = (
            f"{size_words(plan.dump.size)} would be sent, more than {self.max_input}; the largest "
            f"is {largest!r} ({size_words(plan.inputs[largest]['bytes'])})"
        )
        try:
            if input(f"{words}. Send it? [y/N] ").strip().lower() in ("y", "yes"):
                return
        except (StdinNotImplementedError, EOFError):
            pass
        raise UsageError(
            words, f"--skip {largest}, or raise the limit: %config PersistMagics.max_input = '64G'"
        )

    def _dry_run(self, plan: Plan) -> View:
        rows = [
            (
                name,
                str(about["is"]),
                size_words(int(about["bytes"])) if "bytes" in about else "cannot be saved",
                str(about["why"]),
            )
            for name, about in sorted(
                plan.inputs.items(), key=lambda item: -int(item[1].get("bytes", 0))
            )
        ]
        blocks: list[Block] = [Line(f"job {plan.name!r} would run on {plan.manager!r}")]
        blocks.append(
            Table(("variable", "what", "size", "why"), rows)
            if rows
            else Line("no variables would be sent", "quiet")
        )
        for name, failure in plan.dump.failures.items():
            blocks.append(Line(f"{name!r} cannot be sent: {failure.reason}", "bad"))
        blocks.extend(Line(notice, "quiet") for notice in plan.notices)
        script = plan.script("ID", self.store.jobs / "ID")
        blocks.append(Code(script))
        return View(blocks, {"inputs": plan.inputs, "script": script})

    def _submitted(self, job: Job, plan: Plan) -> View:
        count = len(plan.inputs)
        sent = (
            f"{count} variable{'s' * (count != 1)} ({size_words(plan.dump.size)})"
            if (count)
            else "no variables"
        )
        blocks: list[Block] = [
            Line(
                f"job {job.name!r} started: {sent} sent; "
                f"%persist_fetch {job.name} brings its results"
            )
        ]
        blocks.extend(Line(notice, "quiet") for notice in plan.notices)
        return View(blocks, {"name": job.name, "id": job.id})

    # ---- %persist_fetch

    def _fetch_into(self, context: Context, command: Command, words: list[str]) -> Any:
        parser = parser_of("%persist_fetch", command.summary, command.arguments)
        options = parser.parse_args(words)
        job = context.job(options.name)
        try:
            job, results = commands.fetch_results(context, options)
        except NotReady:
            raise
        except Exception:
            # What it showed before it failed belongs to the failure.
            if not options.quiet and job.is_ready():
                self._replay(job, show_result=False)
            raise
        shown = VALUE in results.failures
        if not options.quiet:
            self._replay(job, show_result=shown)
        report = self._bind(job, results, options.prefix)
        if not options.quiet:
            _show(report)
        return results.value

    def _replay(self, job: Job, *, show_result: bool) -> None:
        for piece in job.replay():
            match piece:
                case Text(stream, text):
                    (sys.stdout if stream == "stdout" else sys.stderr).write(text)
                case Rich(data, metadata, display_id, result):
                    if result and not show_result:
                        continue
                    transient = {"display_id": display_id} if display_id else {}
                    _flush()
                    self._shell.display_pub.publish(data, metadata, transient=transient)
                case Notice(text):
                    _show(View([Line(text, "quiet")]))
        _flush()

    def _bind(self, job: Job, results: Results, prefix: str) -> View:
        namespace = self._shell.user_ns
        binding = {}
        for name, value in results.values.items():
            if name in results.needed and name in namespace:
                continue  # came only for a function's sake; the one here stays
            binding[prefix + name] = value
        old = {name: namespace[name] for name in binding if name in namespace}
        replaced = [name for name, value in old.items() if value is not binding[name]]
        # All at once: an interrupt leaves the notebook as it was.
        self._shell.push(binding, interactive=True)
        blocks = commands.fetch_blocks(job, results)
        if replaced:
            blocks.append(Line(f"replaced here: {', '.join(replaced)}", "quiet"))
        simple = (int, float, complex, str, bytes, bool, type(None), type)
        for name in replaced:
            if isinstance(old[name], simple):
                continue
            holders = [
                other
                for other, value in namespace.items()
                if value is old[name] and not other.startswith("_")
            ]
            if holders:
                blocks.append(Line(f"still the old {name!r}: {', '.join(holders)}", "quiet"))
        notes = job.facts().attempt
        if notes is not None and notes.finished is not None:
            blocks.extend(
                Line(f"{note} (it stays here)" if "was deleted" in note else note, "quiet")
                for note in notes.finished.notes
            )
        if not blocks:
            blocks.append(Line(f"job {job.name!r} bound nothing", "quiet"))
        return View(blocks)


class _CellSyntaxError(Exception):
    """A syntax error of the cell, shown as for any cell: IPython would add our own frames."""

    def __init__(self, message: str, lines: list[str]) -> None:
        super().__init__(message)
        self._lines = lines

    def _render_traceback_(self) -> list[str]:
        return self._lines


_CellSyntaxError.__name__ = "SyntaxError"


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _show(view: View) -> None:
    from IPython.display import display

    display(view)


class _Waiting:
    """One line that tells what is waited for, replaced in place."""

    def __init__(self, shell: Any) -> None:
        self._notebook = getattr(shell, "kernel", None) is not None
        self._handle: Any = None

    def __call__(self, text: str) -> None:
        if self._notebook:
            from IPython.display import DisplayHandle

            if self._handle is None:
                if not text:
                    return
                self._handle = DisplayHandle()
                self._handle.display(View([Line(text, "quiet")]))
            else:
                self._handle.update(View([Line(text, "quiet")] if text else []))
        elif sys.stderr.isatty() and (text or self._handle):
            self._handle = bool(text)
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()


def _line_magic(magics: PersistMagics, command: Command) -> Callable[[str], Any]:
    parser = parser_of(f"%persist_{command.name}", command.summary, command.arguments)

    def magic(line: str) -> Any:
        context = magics.context()
        if command.name == "fetch":
            return magics._fetch_into(context, command, split(line))
        words = split(line)
        scheduler: list[str] = []
        if command.name == "rerun" and "--" in words:
            at = words.index("--")
            words, scheduler = words[:at], words[at + 1 :]
        options = parser.parse_args(words)
        options.scheduler = scheduler
        return command.run(context, options)

    magic.__name__ = f"persist_{command.name}"
    magic.__doc__ = parser.format_help()
    return magic


def _complete(magics: PersistMagics, command: Command | None) -> Callable[..., list[str]]:
    arguments = PERSIST_ARGUMENTS if command is None else command.arguments
    flags = sorted(flag for one in arguments for flag in one.flags if flag.startswith("--"))

    def complete(shell: Any, event: Any) -> list[str]:
        symbol = event.symbol
        if symbol.startswith("-"):
            return [flag for flag in flags if flag.startswith(symbol)]
        words = event.line[: event.line.rfind(symbol)] if symbol else event.line
        try:
            given = [word for word in shlex.split(words)[1:] if not word.startswith("-")]
        except ValueError:
            return []
        if command is not None and command.name == "fetch" and given:
            try:
                outputs = magics.context().job(given[0]).outputs()
            except Exception:
                return []
            return [name for name in outputs if name.isidentifier() and name.startswith(symbol)]
        return [name for name in commands.job_names(magics.store) if name.startswith(symbol)]

    return complete


def load(shell: Any) -> None:
    """Bring the magics into *shell*.

    Raises
    ------
    UsageError
        On Windows, where nothing of this works.
    """
    if sys.platform == "win32":
        raise UsageError(
            "persist_magic does not run on Windows",
            "use it in WSL, the Windows Subsystem for Linux",
        )
    magics = PersistMagics(shell)
    parser = parser_of("%%persist", PersistMagics.persist.__doc__ or "", PERSIST_ARGUMENTS)
    PersistMagics.persist.__doc__ = parser.format_help()
    shell.register_magics(magics)
    shell.set_hook("complete_command", _complete(magics, None), str_key="%%persist")
    for command in COMMANDS:
        magic = _line_magic(magics, command)
        shell.register_magic_function(magic, "line", magic.__name__)
        key = f"%{magic.__name__}"
        shell.set_hook("complete_command", _complete(magics, command), str_key=key)
    if magics.notice:
        print(magics.notice, file=sys.stderr)


def unload(shell: Any) -> None:
    """Take the magics out of *shell* again."""
    kinds = shell.magics_manager.magics
    kinds["cell"].pop("persist", None)
    for command in COMMANDS:
        kinds["line"].pop(f"persist_{command.name}", None)
