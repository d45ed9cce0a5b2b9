"""The words of commands: their options, parsed alike in notebook and shell. Knows no jobs."""

from __future__ import annotations

import argparse
import difflib
import io
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from persist_magic.errors import UsageError
from persist_magic.managers import RESOURCES


@dataclass(frozen=True)
class Argument:
    """One argument of a command, as argparse is told of it."""

    flags: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


def argument(*flags: str, **options: Any) -> Argument:
    """An argument: as `argparse.ArgumentParser.add_argument` takes it."""
    return Argument(flags, options)


class Parser(argparse.ArgumentParser):
    """argparse that raises `UsageError` instead of ending the process."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        # From Python 3.14 on it would colour the help, which is read in notebooks too.
        self.color = False

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The options in *words*; names may stand before, between and after them.

        Raises
        ------
        UsageError
            Words that cannot be obeyed.
        """
        return self.parse_intermixed_args(list(words))

    def takes_value(self, word: str) -> bool:
        """Whether *word* is an option that takes the next word as its value."""
        option = self._option_string_actions.get(word)
        return option is not None and option.nargs != 0

    @property
    def flags(self) -> list[str]:
        """The long options, in the usual spelling."""
        return sorted(f for f in self._option_string_actions if f.startswith("--") and "_" not in f)

    def error(self, message: str) -> NoReturn:
        """Refuse the words."""
        help = f"{self.prog}?" if self.prog.startswith("%") else f"{self.prog} --help"
        hint = f"{help} shows its options"
        found = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        if found and (near := difflib.get_close_matches(found[1], self.flags, n=1)):
            hint = f"did you mean {near[0]}? {hint}"
        raise UsageError(f"{self.prog}: {message}", hint)


def parser_of(prog: str, summary: str, arguments: Sequence[Argument]) -> Parser:
    """A parser of *arguments*."""
    parser = Parser(prog=prog, description=summary)
    for one in arguments:
        parser.add_argument(*one.flags, **one.options)
    return parser


def split(line: str) -> list[str]:
    """The words of *line*, quotes obeyed, a comment at its end left out.

    Raises
    ------
    UsageError
        A quotation does not end.
    """
    stream = io.StringIO(line)
    lexer = shlex.shlex(stream, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""  # shlex sees a comment within a word as well: --env A=#1
    words: list[str] = []
    try:
        while not line[stream.tell() :].lstrip().startswith("#"):
            word = lexer.get_token()
            if word is None:
                break
            words.append(word)
    except ValueError as error:
        raise UsageError(
            f"{line.strip()!r} cannot be read: {error}", "close the quotation"
        ) from None
    return words


def split_at_dashes(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """*words* before ` -- `, and those after it, which are the scheduler's own."""
    if "--" not in words:
        return list(words), []
    at = list(words).index("--")
    return list(words[:at]), list(words[at + 1 :])


# What Slurm would take for something else, with the way that works here.
_REFUSED = {
    "--output": "what the job prints is kept anyway: %persist_log NAME",
    "--error": "what the job prints is kept anyway: %persist_log NAME --stderr",
    "--input": "a job has no standard input; pass the data in a variable",
}

_RESOURCE_HELP = {
    "time": "limit: minutes, H:MM:SS or days-hours",
    "mem": "memory, e.g. 64G",
    "cpus_per_task": "processors",
    "gpus": "GPUs",
    "gres": "generic resources",
    "nodes": "nodes",
    "ntasks": "processes",
    "partition": "partition",
    "account": "account",
    "qos": "quality of service",
    "constraint": "features of the node",
}


def _resource(name: str) -> Argument:
    flags = {f"--{name.replace('_', '-')}", f"--{name}"}
    return argument(
        *sorted(flags), dest=name, metavar=name.upper(), help=f"{_RESOURCE_HELP[name]} (as Slurm's)"
    )


RUN_ARGUMENTS: tuple[Argument, ...] = (
    argument("--local", action="store_true", help="run it on this machine (default)"),
    argument("--manager", metavar="NAME", help="run it by this manager"),
    *(_resource(name) for name in RESOURCES),
    argument("--chdir", metavar="DIR", help="where it runs (default: here)"),
    argument(
        "--env",
        action="append",
        metavar="K=V",
        default=[],
        help="set a variable of its environment; repeatable",
    ),
    argument(
        "--setup",
        action="append",
        metavar="CMD",
        default=[],
        help="a shell line to run first; repeatable",
    ),
    argument("--python", metavar="PATH", help="its interpreter (default: this one)"),
    argument("--notify", metavar="CMD", help="a shell command to run at its end, whatever the end"),
    argument(
        "--wait",
        action="store_true",
        help="wait for it and fetch at once; Ctrl-C stops only the waiting",
    ),
    argument("--dry-run", action="store_true", help="show what would be sent and run; run nothing"),
    argument("-q", "--quiet", action="store_true", help="no report"),
)

PERSIST_ARGUMENTS: tuple[Argument, ...] = (
    argument("name", metavar="NAME", help="the name of the job"),
    argument(
        "-i",
        "--in",
        action="append",
        dest="inputs",
        metavar="NAMES",
        help="send exactly these variables, comma separated, or 'none' (default: what it reads)",
    ),
    argument("--also", action="append", metavar="NAMES", default=[], help="send these too"),
    argument("--skip", action="append", metavar="NAMES", default=[], help="do not send these"),
    argument(
        "--skip-code",
        action="append",
        metavar="MODULES",
        default=[],
        help="do not copy these modules of yours: the job imports them as they are then",
    ),
    argument(
        "-o",
        "--out",
        action="append",
        metavar="NAMES",
        help="bring back exactly these, or 'none' (default: what it binds or changes)",
    ),
    argument(
        "--replace", action="store_true", help="run it in the place of an existing job of this name"
    ),
    argument("--force", action="store_true", help="with --replace: also of a job that runs"),
    *RUN_ARGUMENTS,
)


def parse_persist(line: str, parser: Parser) -> argparse.Namespace:
    """The words after `%%persist`, those after ` -- ` verbatim in `scheduler`.

    Raises
    ------
    UsageError
        Words that cannot be obeyed.
    """
    words, scheduler = split_at_dashes(split(line))
    for word in words:
        flag = word.partition("=")[0]
        if flag in _REFUSED:
            raise UsageError(
                f"{flag} means something else to Slurm and is not taken", _REFUSED[flag]
            )
    parsed = parser.parse(words)
    parsed.scheduler = scheduler
    return parsed


def names_in(given: Sequence[str], option: str) -> list[str]:
    """The variable names in *given*, the values of a repeatable, comma separated *option*.

    Raises
    ------
    UsageError
        One is no name of a variable.
    """
    names = [name for value in given for name in re.split(r"[,\s]+", value) if name]
    if names == ["none"]:
        return []
    for name in names:
        if not name.isidentifier():
            raise UsageError(f"{option} {name}: no name of a variable", "separate names by commas")
    return list(dict.fromkeys(names))


def pairs_in(given: Sequence[str]) -> dict[str, str]:
    """The variables that `--env K=V` sets.

    Raises
    ------
    UsageError
        A value without `=`.
    """
    pairs = {}
    for value in given:
        key, equals, rest = value.partition("=")
        if not equals:
            raise UsageError(f"--env {value}: no value", "write --env NAME=VALUE")
        pairs[key] = rest
    return pairs


_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_size(given: str) -> int:
    """The bytes that *given* means: `500M`, `2G`.

    Raises
    ------
    UsageError
        It is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)B?", given.strip())
    if match is None:
        raise UsageError(f"{given!r} is no size", "write 500M or 2G")
    return int(float(match[1]) * _UNITS[match[2].replace("K", "k")])


def seconds(given: str) -> float:
    """The seconds to wait that *given* means, for argparse."""
    value = float(given)
    if not value >= 0:
        raise ValueError(given)
    return value


_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_age(given: str) -> float:
    """The seconds that *given* means: `30d`, `12h`.

    Raises
    ------
    UsageError
        It is no age.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", given.strip())
    if match is None:
        raise UsageError(f"{given!r} is no age", "write 30d, 12h or 90m")
    return float(match[1]) * _AGES[match[2]]
