"""The commands as IPython magics: `%%persist`, `%persist_fetch` and the rest.

Knows the shell that they are registered with, and their configuration.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand
from traitlets import Float, Unicode, default, observe

from persist_magic.arguments import (
    PERSIST_ARGUMENTS,
    Parser,
    parse_persist,
    parser_of,
    split,
    split_at_dashes,
)
from persist_magic.attaching import same_job
from persist_magic.commands import COMMANDS, FETCH, Command, Context
from persist_magic.errors import UsageError
from persist_magic.jobs import Job
from persist_magic.magics.binding import fetch_into
from persist_magic.magics.completing import matcher
from persist_magic.magics.showing import progress_of, show
from persist_magic.magics.submitting import attached, confirm, dry_run, plan_of, report
from persist_magic.names import check_name
from persist_magic.root import find_root
from persist_magic.store import Store
from persist_magic.submission import submit

_HELP = ("-h", "--help")


def _parser(command: Command) -> Parser:
    return parser_of(f"%persist_{command.name}", command.summary, command.arguments)


_PERSIST = parser_of("%%persist", "Run the cell in a background interpreter.", PERSIST_ARGUMENTS)
_FETCH = _parser(FETCH)


@magics_class
class PersistMagics(Magics):
    """`%%persist`, the configuration of all commands, and the root that was found at loading."""

    root = Unicode(help="Where jobs live; default: .persist here or above.").tag(config=True)
    manager = Unicode(help="Who runs jobs when nothing is said.").tag(config=True)
    refresh = Float(help="Seconds between looks at jobs.").tag(config=True)
    max_code = Unicode("100M", help="Larger modules of one's own are not copied.").tag(config=True)
    max_input = Unicode(help="Larger inputs ask for confirmation: 500M, 4G.").tag(config=True)

    def __init__(self, shell: Any) -> None:
        super().__init__(shell=shell, parent=shell)
        self._shell: Any = shell
        # Found now, so that %cd does not lose jobs.
        self.store = self._find_store()
        self.matcher: Any = None

    @default("root")
    def _root_default(self) -> str:
        return os.environ.get("PERSIST_ROOT", "")

    @default("manager")
    def _manager_default(self) -> str:
        return os.environ.get("PERSIST_MANAGER", "local")

    @default("refresh")
    def _refresh_default(self) -> float:
        given = os.environ.get("PERSIST_REFRESH", "1")
        try:
            return float(given)
        except ValueError:
            raise UsageError(f"PERSIST_REFRESH={given}: no number", "give seconds: 0.5") from None

    @default("max_input")
    def _max_input_default(self) -> str:
        return os.environ.get("PERSIST_MAX_INPUT", "4G")

    @observe("root")
    def _move(self, change: object) -> None:
        self.store = self._find_store()

    def _find_store(self) -> Store:
        found, notice = find_root(Path.cwd(), self.root or None)
        if notice:
            print(notice, file=sys.stderr)
        return Store(found)

    def context(self) -> Context:
        """Where commands run."""
        progress = progress_of(self._shell)
        # In the configuration managers go by the names of their classes.
        configured = {
            name.removesuffix("Manager").lower(): dict(section["options"])
            for name, section in self._shell.config.items()
            if name.endswith("Manager") and "options" in section
        }
        return Context(
            store=self.store,
            namespace=self._shell.user_ns,
            sign="%persist_",
            write=lambda text: sys.stdout.write(text),
            waiting=progress.line,
            redraw=progress.screen,
            manager=self.manager,
            defaults={"local": configured.pop("process", {}), **configured},
            refresh=self.refresh,
        )

    @no_var_expand
    @cell_magic
    def persist(self, line: str, cell: str) -> Any:
        """Run the cell in a background interpreter."""
        if any(word in _HELP for word in split_at_dashes(split(line))[0]):
            print(_PERSIST.format_help())
            return None
        options = parse_persist(line, _PERSIST)
        check_name(options.name)
        context = self.context()
        plan = plan_of(self._shell, context, options, cell, self.max_code)
        if options.dry_run:
            return dry_run(plan, context)
        if same := same_job(self.store, plan, replace=options.replace):
            view = attached(options.name, same[1])
        else:
            confirm(plan, self.max_input)
            directory = submit(self.store, plan, replace=options.replace, force=options.force)
            view = report(Job(self.store, directory), plan)
        if not options.quiet:
            show(view)
        return self.fetch(options) if options.wait else None

    # What `%%persist?` shows.
    persist.__doc__ = _PERSIST.format_help()

    def fetch(self, options: Any) -> Any:
        """Fetch the job that was just submitted with *options*."""
        words = [options.name, *(["--quiet"] if options.quiet else [])]
        return fetch_into(self._shell, self.context(), _FETCH.parse(words))

    def run(self, command: Command, parser: Parser, line: str) -> Any:
        """Obey *line*, the words after a line magic."""
        words = split(line)
        # As after any expression, a semicolon keeps the value from being shown.
        if silent := bool(words) and words[-1].endswith(";"):
            words[-1:] = [words[-1][:-1]] if words[-1] != ";" else []
        words, scheduler = split_at_dashes(words)
        if any(word in _HELP for word in words):
            print(parser.format_help())
            return None
        options = parser.parse(words)
        options.scheduler = scheduler
        if scheduler and command.name != "rerun":
            raise UsageError(f"'-- {' '.join(scheduler)}' means nothing here", "leave it out")
        if command is FETCH:
            value = fetch_into(self._shell, self.context(), options)
            return None if silent else value
        try:
            view = command.run(self.context(), options)
        except KeyboardInterrupt:
            if command.name in ("list", "log"):
                return None  # it was only looking
            raise
        if getattr(options, "wait", False) and not options.dry_run:
            if view is not None and not options.quiet:
                show(view)
            return self.fetch(options)
        if view is None or not view.blocks or silent or getattr(options, "quiet", False):
            return None
        return view


def _line_magic(magics: PersistMagics, command: Command, parser: Parser) -> Callable[[str], Any]:
    def magic(line: str) -> Any:
        return magics.run(command, parser, line)

    magic.__name__ = f"persist_{command.name}"
    magic.__doc__ = parser.format_help()
    return magic


def load(shell: Any) -> None:
    """Bring the magics into *shell*."""
    magics = PersistMagics(shell)
    shell.register_magics(magics)
    parsers = {"%%persist": _PERSIST}
    for command in COMMANDS:
        parser = parsers[f"%persist_{command.name}"] = _parser(command)
        magic = _line_magic(magics, command, parser)
        shell.register_magic_function(magic, "line", magic.__name__)
    magics.matcher = matcher(parsers, lambda: magics.store)
    shell.Completer.custom_matchers.append(magics.matcher)


def unload(shell: Any) -> None:
    """Take the magics out of *shell* again."""
    manager = shell.magics_manager
    magics = manager.registry.pop(PersistMagics.__name__)
    # %config would go on setting the options of magics that are gone.
    shell.configurables[:] = [one for one in shell.configurables if one is not magics]
    shell.Completer.custom_matchers.remove(magics.matcher)
    manager.magics["cell"].pop("persist", None)
    for command in COMMANDS:
        manager.magics["line"].pop(f"persist_{command.name}", None)
