"""`persist` on the command line: the commands of the one table, made for a shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from persist_magic.arguments import Parser
from persist_magic.commands import COMMANDS, Context
from persist_magic.errors import PersistError
from persist_magic.jobs import current_store
from persist_magic.payload.rebuild import main_namespace
from persist_magic.views import printable


def _parser() -> Parser:
    from persist_magic import __version__

    parser = Parser(
        prog="persist", description="Jobs that notebook cells left running.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"persist_magic {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for one in COMMANDS:
        sub = commands.add_parser(
            one.name, help=one.summary, description=one.summary, allow_abbrev=False
        )
        for argument in one.arguments:
            sub.add_argument(*argument.flags, **argument.options)
        sub.add_argument("--json", action="store_true", help="machine-readable output")
        sub.add_argument("--root", metavar="DIR", help="the .persist directory (default: found)")
        sub.set_defaults(run=one.run, scheduler=[])
    return parser


def _waiting(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{printable(text)}")
        sys.stderr.flush()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main(words: Sequence[str] | None = None) -> int:
    """Obey *words*, by default those of the command line; the exit status."""
    given = list(sys.argv[1:] if words is None else words)
    scheduler: list[str] = []
    if "--" in given:
        at = given.index("--")
        given, scheduler = given[:at], given[at + 1 :]
    try:
        options = _parser().parse_args(given)
        options.scheduler = scheduler
        root = None if options.root is None else Path(options.root).expanduser().absolute()
        write = (lambda text: None) if options.json else _write
        context = Context(current_store(root), main_namespace(), "persist ", write, _waiting)
        view = options.run(context, options)
    except PersistError as error:
        _print_error(error)
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130
    except BrokenPipeError:
        # `persist log train | head`: nobody listens any more.
        sys.stderr.close()
        return 0
    except Exception as error:
        render: Any = getattr(error, "_render_traceback_", None)
        if render is None:
            raise
        # The job's own failure, as it looked there.
        print("\n".join(render()), file=sys.stderr)
        return 1
    if view is not None:
        _print(view, as_json=options.json)
    return 0


def _print(view: Any, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(view.data, indent=1, default=str))
        return
    from rich.console import Console

    console = Console(highlight=False)
    # A pipe has no width: whoever reads it wants whole lines.
    view.print_to(console if console.is_terminal else Console(highlight=False, width=200))


def _print_error(error: PersistError) -> None:
    print(f"persist: {printable(error.message)}", file=sys.stderr)
    if error.hint:
        print(printable(error.hint).replace("%persist_", "persist "), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
