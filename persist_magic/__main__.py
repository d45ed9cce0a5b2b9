"""`persist` on the command line: the commands of the one table, made for a shell.

Its exit status: 0; 1 for a job that did not end well; 2 for what could not be obeyed; 130 after
Ctrl-C.
"""

from __future__ import annotations

import argparse
import builtins
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from persist_magic.arguments import Parser, argument, parser_of, split_at_dashes
from persist_magic.commands import COMMANDS, FETCH, Command, Context
from persist_magic.errors import JobCancelled, JobFailed, JobLost, PersistError, UsageError
from persist_magic.jobs import current_store
from persist_magic.results import JobTraceback
from persist_magic.terminal import Terminal
from persist_magic.views import View, printable

_PROGRAM = (
    argument("--json", action="store_true", help="machine-readable output"),
    argument("--root", metavar="DIR", help="the .persist directory (default: found)"),
)
# What may be in a log: colours, and the movements of progress bars.
_SEQUENCE = re.compile(r"\x1b\[[0-9;:]*[ABKm]")


def _program() -> Parser:
    from persist_magic import __version__

    parser = Parser(
        prog="persist",
        description="Jobs that notebook cells left running.",
        epilog="exit status: 0; 1: a job did not end well; 2: not obeyed; 130: Ctrl-C",
    )
    parser.add_argument("--version", action="version", version=f"persist_magic {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for one in COMMANDS:
        commands.add_parser(one.name, help=one.summary)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Obey *words*, by default those of the command line; the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is no reason to fail.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # text files
    try:
        code = _obey(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        _complain("")
        return 130
    except BrokenPipeError:
        # `persist log train | head`: nobody listens any more, not to Python's last flush either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if isinstance(error.__cause__, JobTraceback):
            # The job's own failure, as it looked there.
            _complain(error.__cause__.text)
            _complain(_as_here(error.__cause__.hint))
            return 1
        if not isinstance(error, PersistError):
            raise
        _complain(_as_here(f"persist: {error.message.removeprefix('persist: ')}"))
        if error.hint:
            _complain(_as_here(error.hint))
        if isinstance(error.__cause__, KeyboardInterrupt):
            return 130
        return 1 if isinstance(error, JobFailed | JobCancelled | JobLost) else 2


def _obey(words: Sequence[str]) -> int:
    command = next((one for one in COMMANDS if one.name == next(iter(words), None)), None)
    if command is None:
        if words:
            _program().parse_args(words)
        _program().print_help(sys.stderr)
        return 2
    given, scheduler = split_at_dashes(words[1:])
    parser = _parser(command)
    options = parser.parse(given)
    options.scheduler = scheduler
    if scheduler and command.name != "rerun":
        raise UsageError(f"'-- {' '.join(scheduler)}' means nothing here", "leave it out")
    if options.json and (getattr(options, "watch", False) or getattr(options, "follow", False)):
        raise UsageError("--json shows one look", "leave out --json, --watch or --follow")
    context = _context(options)
    view = command.run(context, options)
    if getattr(options, "wait", False) and not options.dry_run:
        if view is not None and not (options.json or options.quiet):
            _print(view, as_json=False)
        flags = ["--quiet"] if options.quiet else []
        view = FETCH.run(context, _parser(FETCH).parse([options.name, *flags]))
    if view is not None and (options.json or not _is_quiet(command, options)):
        _print(view, as_json=options.json)
    return 1 if view is not None and view.failed else 0


def _parser(command: Command) -> Parser:
    return parser_of(f"persist {command.name}", command.summary, (*command.arguments, *_PROGRAM))


def _is_quiet(command: Command, options: argparse.Namespace) -> bool:
    # What was asked for by name is no report.
    return command is not FETCH and getattr(options, "quiet", False)


def _context(options: argparse.Namespace) -> Context:
    terminal = Terminal()
    root = None if options.root is None else Path(options.root).expanduser().absolute()
    return Context(
        store=current_store(root),
        # A job's functions must not see this program's own names.
        namespace={"__name__": "__main__", "__builtins__": builtins},
        sign="persist ",
        write=(lambda text: None) if options.json else _write,
        waiting=terminal.line,
        redraw=terminal.screen,
    )


def _write(text: str) -> None:
    sys.stdout.write(text if sys.stdout.isatty() else _SEQUENCE.sub("", text))
    sys.stdout.flush()


def _print(view: View, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(view.data, indent=1, default=str))
        return
    if not view.blocks:
        return
    from rich.console import Console

    console = Console(highlight=False)
    # A pipe has no width: whoever reads it wants whole lines.
    view.print_to(console if console.is_terminal else Console(highlight=False, width=10_000))


def _as_here(words: str) -> str:
    """*words* of ours, with commands as they are written in a shell."""
    return words.replace("%persist_", "persist ")


def _complain(text: str) -> None:
    print(printable(_SEQUENCE.sub("", text)), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
