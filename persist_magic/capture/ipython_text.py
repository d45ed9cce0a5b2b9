"""What in the text of IPython's magics and shell lines is Python. Knows no scopes and no shell."""

from __future__ import annotations

import ast
import keyword
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass

# A cell may await: IPython compiles it so.
PARSE = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

# Methods of IPython's shell that the lines `%x`, `%%x`, `!x` and `y = !x` stand for.
SHELL_METHODS = frozenset({"run_line_magic", "run_cell_magic", "system", "getoutput"})

# Callables that find names in a string: of Python itself, pandas (`query`), duckdb (`sql`).
TEXT_READERS = frozenset({"eval", "exec", "evaluate", "execute", "query", "sql"})


@dataclass(frozen=True)
class Text:
    """What one line or cell of IPython's own syntax does with names.

    Attributes
    ----------
    words
        Names that it may read.
    expressions
        Python that it evaluates before anything else.
    code
        Python that it runs.
    in_function
        Whether *code* runs in a function of its own, so that it binds nothing.
    binds
        Names that it binds at the end.
    dynamic
        How it is called if it uses names that its text does not hold.
    """

    words: frozenset[str] = frozenset()
    expressions: tuple[ast.expr, ...] = ()
    code: tuple[ast.stmt, ...] = ()
    in_function: bool = False
    binds: frozenset[str] = frozenset()
    dynamic: str = ""


@dataclass(frozen=True)
class _Runner:
    """A magic that runs Python: its one-letter options as in getopt, and what their values are."""

    options: str = ""
    read: str = ""
    bound: str = ""
    in_function: bool = False


_RUNNERS = {
    "time": _Runner(),
    "timeit": _Runner("n:r:tcp:qov:", bound="v", in_function=True),
    "prun": _Runner("D:l:rs:T:q"),
    "memit": _Runner("r:t:i:co"),
    "mprun": _Runner("rf:T:c", read="f"),
    "lprun": _Runner("rsf:m:D:T:u:z", read="fm"),
}
_SHELLS = frozenset({"!", "!!", "sx", "system"})
# Cell magics whose body is not the notebook's Python.
_FOREIGN = frozenset(
    {
        *("bash", "sh", "script", "perl", "ruby", "pypy", "python", "python2", "python3", "cmd"),
        *("html", "HTML", "svg", "SVG", "js", "javascript", "latex", "markdown"),
        *("writefile", "file"),
    }
)
# Line magics whose words are paths, packages and settings.
_WORDY = frozenset(
    {
        *("cd", "pushd", "popd", "ls", "ll", "mkdir", "rmdir", "rm", "cp", "mv"),
        *("cat", "less", "more", "man"),
        *("pip", "conda", "mamba", "micromamba", "uv"),
        *("env", "set_env", "load_ext", "reload_ext", "unload_ext", "autoreload", "aimport"),
        *("matplotlib", "gui", "run"),
    }
)

_IDENTIFIER = re.compile(r"(?<!\w)(?<!\w\.)[^\W\d]\w*")
_AFTER_AT = re.compile(r"@\s*([^\W\d]\w*)")
_DOLLAR = re.compile(r"\$(\$?)([^\W\d]\w*)")
_STREAM = re.compile(r"--(?:out|err|proc)[=\s]\s*([^\W\d]\w*)")
_ESCAPED = re.compile(r"^(\s*)((?:[\w.,\s\[\]*]+=)?\s*)(%|!!?)(.*)$")
_HELP = re.compile(r"^(\s*)(?:\?\??\s*([\w.]+)|([\w.]+)\s*\?\??)\s*$")


def identifiers(text: str) -> frozenset[str]:
    """Everything in *text* that could be a name, except what follows the dot of another."""
    return frozenset(_IDENTIFIER.findall(text)).difference(keyword.kwlist)


def names_in_string(text: str) -> frozenset[str]:
    """Names that one of `TEXT_READERS` may look up; pandas marks them by @."""
    return frozenset(_AFTER_AT.findall(text)) or identifiers(text)


def shell_line(text: str) -> Text:
    """What ``!text`` reads."""
    return Text(expressions=tuple(_expansions(text)))


def magic(name: str, line: str, body: str | None = None) -> Text:
    """What ``%name line``, or with a *body* ``%%name line``, does with names."""
    if name in _SHELLS:
        return Text(expressions=(*_expansions(line), *_expansions(body or "")))
    if name in _RUNNERS:
        return _running(_RUNNERS[name], line, body or "")
    expressions = tuple(_expansions(line))
    if body is None:
        if name in _WORDY:
            return Text(expressions=expressions, dynamic="%run" if name == "run" else "")
        return Text(words=identifiers(line), expressions=expressions)
    if name in _FOREIGN:
        return Text(expressions=expressions, binds=frozenset(_STREAM.findall(line)))
    if name == "capture":
        kept = frozenset(word for word in line.split() if word.isidentifier())
        code = _parsed(body)
        return Text(
            binds=kept, words=identifiers(body) if code is None else frozenset(), code=code or ()
        )
    return Text(words=identifiers(f"{line}\n{body}"), expressions=expressions)


def _running(runner: _Runner, line: str, body: str) -> Text:
    options, line = _split_options(runner.options, line)
    words = frozenset().union(*(identifiers(value) for key, value in options if key in runner.read))
    first, rest = _parsed(line), _parsed(body)
    if first is None or rest is None:
        return Text(words=words | identifiers(f"{line}\n{body}"))
    return Text(
        words=words,
        code=(*first, *rest),
        in_function=runner.in_function,
        binds=frozenset(
            value for key, value in options if key in runner.bound and value.isidentifier()
        ),
    )


def _split_options(known: str, line: str) -> tuple[list[tuple[str, str]], str]:
    """The options at the start of *line*, and the rest: ``-x`` may as well begin an expression."""
    found: list[tuple[str, str]] = []
    while True:
        option, _, rest = line.strip().partition(" ")
        if option.startswith("--no-"):
            line = rest
            continue
        letters = option.removeprefix("-")
        if letters == option or not letters:
            return found, line.strip()
        for place, letter in enumerate(letters):
            if letter not in known or letter == ":":
                return found, line.strip()
            if f"{letter}:" in known:
                value = letters[place + 1 :]
                if not value:
                    value, _, rest = rest.strip().partition(" ")
                found.append((letter, value))
                break
        line = rest


def _parsed(source: str) -> tuple[ast.stmt, ...] | None:
    """The statements of *source*, its lines of IPython's syntax made Python; None if that fails."""
    if source.lstrip().startswith("%%"):
        first, _, body = source.lstrip()[2:].partition("\n")
        name, _, line = first.partition(" ")
        source = f"get_ipython().run_cell_magic({name!r}, {line.strip()!r}, {body!r})"
    for text in (source, "\n".join(map(_as_python, source.split("\n")))):
        try:
            return tuple(compile(text, "<magic>", "exec", PARSE, dont_inherit=True).body)
        except (SyntaxError, ValueError):
            continue
    return None


def _as_python(line: str) -> str:
    """*line* as IPython's input transformer would write it."""
    if match := _HELP.match(line):
        indent, *names = match.groups(default="")
        return f"{indent}get_ipython().run_line_magic('pinfo', {''.join(names)!r})"
    if match := _ESCAPED.match(line):
        indent, target, mark, text = match.groups()
        if mark == "%":
            name, _, rest = text.partition(" ")
            return f"{indent}{target}get_ipython().run_line_magic({name!r}, {rest.strip()!r})"
        method = "getoutput" if target.strip() or mark == "!!" else "system"
        return f"{indent}{target}get_ipython().{method}({text!r})"
    return line


def _expansions(text: str) -> Iterator[ast.expr]:
    """What IPython evaluates for the ``$name`` and ``{expression}`` parts of *text*."""
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError:
        # IPython passes on as it is what it cannot take apart, such as awk's '{print'.
        return
    for literal, value, spec, _ in pieces:
        for escaped, name in _DOLLAR.findall(literal):
            if not escaped:
                yield ast.Name(name, ast.Load())
        if value:
            # A colon is no format to IPython, but part of the expression, as in {x[1:]}.
            yield from _expression(f"{value}:{spec}" if spec else value)


def _expression(text: str) -> Iterator[ast.expr]:
    try:
        yield ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return
