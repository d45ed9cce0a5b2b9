"""What a cell really looks up when it runs is among the names that it was said to read."""

from __future__ import annotations

import ast
import builtins
import random
import types
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from IPython.utils.text import DollarFormatter

from capture_zoo import PYTHON
from persist_magic.capture import names_of_cell

NAMES = "abcdef"

# {n} is a name, {e} an expression, {b} a block, {l} one in a loop, {c} that of a case.
EXPRESSIONS = [
    *("maybe()", "maybe()", "maybe()", "{n}", "({n} := {e})", "({e} + {e})", "({e} < {e} < {e})"),
    *("({e} if {e} else {e})", "({e} and {e})", "({e} or {e})", "coin()"),
    *("[{e} for {n} in {e} if {e}]", "list({e} for {n} in {e} for {n} in {e})"),
    *("(lambda {n}=1: {e})", "(lambda: {e})()", "{{1: {e}, 2: {e}}}", "[*{e}, {e}]"),
]
SIMPLE = ["{n} = 1", "{n} = 1", "{n} = {e}", "{e}", "{n}", "del {n}"]
JUMPS = ["break", "break", "continue"]
STATEMENTS = [
    *SIMPLE,
    *("{n} += {e}", "{n}, *{n} = {e}", "{n} = lambda: {n}", "import sys as {n}"),
    *("if {e}:\n{b}", "if {e}:\n{b}\nelse:\n{b}", "assert {e}, {e}", "raise Oops"),
    *("for {n} in {e}:\n{l}", "for {n} in {e}:\n{l}\nelse:\n{b}"),
    *("while coin():\n{l}\nelse:\n{b}", "while True:\n coin()\n{l}"),
    *("with {e} as {n}:\n{b}", "with {e} as {n}, {e} as {n}:\n{b}"),
    *("try:\n{b}\nexcept Oops as {n}:\n{b}", "try:\n{b}\nfinally:\n{b}"),
    "try:\n{b}\nexcept Oops:\n{b}\nelse:\n{b}\nfinally:\n{b}",
    "match {e}:\n case [{n}, *{n}]:\n{c}\n case {n} if {e}:\n{c}\n case _:\n{c}",
    *("def {n}():\n coin()\n{b}", "def {n}({n}={e}):\n coin()\n{b}\n return {e}"),
    *("def {n}():\n global {n}\n coin()\n{b}", "def {n}():\n coin()\n return {n}"),
    # Not under a name that its own body may use: only what calls it too early could tell.
    *("class K({e}.__class__):\n{b}", "class K:\n{b}", "@{n}\ndef F():\n coin()\n{b}"),
]


class Failure(Exception):
    """What a cell may know as E."""


class Oops(Failure):
    """What any operation of the cell may raise."""


class Enough(BaseException):
    """The cell has run for long enough."""


class Namespace(dict[str, object]):
    """A notebook's namespace that notes which of its first values are looked up."""

    def __init__(self, first: dict[str, object]) -> None:
        super().__init__(first)
        self.first = first
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> object:
        value = super().__getitem__(key)
        if key in self.first and value is self.first[key]:
            self.read.add(key)
        return value


class Chance:
    """A value of the notebook: whatever is done with it may fail, or call functions of the cell."""

    def __init__(self, world: World) -> None:
        self.world = world

    def act(self, *_: object, **__: object) -> Chance:
        if self.world.coin() and self.world.coin():
            raise Oops
        if self.world.coin():
            for each in list(self.world.namespace.values()):
                if isinstance(each, types.FunctionType | type) and self.world.coin():
                    each()
        return Chance(self.world)

    __call__ = __add__ = __radd__ = __lt__ = __gt__ = __enter__ = act

    def __exit__(self, *_: object) -> bool:
        return self.world.coin()

    def __bool__(self) -> bool:
        return self.world.coin()

    def __iter__(self) -> Iterator[object]:
        while self.act().world.coin():
            yield Chance(self.world)


class World:
    """A notebook in which chance decides which way a cell goes."""

    def __init__(self, names: Iterable[str], coins: list[bool]) -> None:
        self.coins = cycle(coins)
        self.left = 300
        first: dict[str, object] = {
            name: Failure if name == "E" else Chance(self) for name in names
        }
        self.namespace = Namespace(first)
        self.namespace.update(maybe=Chance(self), coin=self.coin, Oops=Oops, __name__="__main__")

    def coin(self) -> bool:
        self.left -= 1
        if self.left < 0:
            raise Enough
        return next(self.coins)

    def run(self, code: types.CodeType) -> None:
        try:
            exec(code, self.namespace)
        except (Exception, Enough):
            return

    def changed(self) -> set[str]:
        first = self.namespace.first
        return {name for name in first if self.namespace.get(name) is not first[name]}


def check(cell: str, names: Iterable[str], ways: list[list[bool]]) -> None:
    """Run *cell* in many *ways*, and compare what it did with what was foretold."""
    code = compile(cell, "<cell>", "exec", dont_inherit=True)
    found = names_of_cell(cell)
    for coins in ways:
        world = World(names, coins)
        world.run(code)
        assert world.namespace.read <= found.reads
        assert world.changed() <= found.binds | found.deletes


def written(draw: Callable[[st.SearchStrategy[str]], str], template: str, depth: int) -> str:
    """*template* with its parts chosen."""

    def part(kind: str) -> str:
        if kind == "n":
            return draw(st.sampled_from(NAMES))
        if kind == "e":
            shapes = EXPRESSIONS if depth else ["maybe()", "maybe()", "{n}"]
            return written(draw, draw(st.sampled_from(shapes)), max(depth - 1, 0))
        shapes = SIMPLE + STATEMENTS * (depth > 0) + JUMPS * (kind == "l")
        lines = [
            written(draw, draw(st.sampled_from(shapes)), max(depth - 1, 0))
            for _ in draw(st.sampled_from(["1", "12", "123"]))
        ]
        indent = "  " if kind == "c" else " "
        return "\n".join(f"{indent}{line}" for line in "\n".join(lines).split("\n"))

    pieces = template.replace("{{", "\0").replace("}}", "\1").split("{")
    text = pieces[0]
    for piece in pieces[1:]:
        kind, _, rest = piece.partition("}")
        text += part(kind) + rest
    return text.replace("\0", "{").replace("\1", "}")


@st.composite
def cells(draw: st.DrawFn) -> str:
    shapes = draw(st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=3))
    # Whatever a way through the cell left unbound is looked up in the end.
    return "\n".join([*(written(draw, shape, 2) for shape in shapes), *NAMES])


@settings(max_examples=300)
@given(cells(), st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=24, max_size=24))
def test_what_a_cell_looks_up_and_changes_was_foretold(cell: str, ways: list[list[bool]]) -> None:
    try:
        compile(cell, "<cell>", "exec", dont_inherit=True)
    except SyntaxError:
        assume(False)
    check(cell, NAMES, ways)


def is_synchronous(cell: str) -> bool:
    try:
        compile(cell, "<cell>", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


@pytest.mark.parametrize("cell", [source for source, *_ in PYTHON if is_synchronous(source)])
def test_known_cell_looks_up_and_changes_what_was_foretold(cell: str) -> None:
    names = {node.id for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Name)}
    chance = random.Random(cell)
    ways = [[chance.random() < 0.5 for _ in range(9)] for _ in range(50)]
    check(cell, names.difference(dir(builtins)), ways)


@given(st.text("ab${}[]':.!= 1"))
def test_shell_line_expands_no_name_that_was_not_foretold(line: str) -> None:
    namespace = Namespace({name: name for name in NAMES})
    try:
        DollarFormatter().vformat(line, [], namespace)
    except Exception:
        # Then IPython passes the line on as it is.
        assume(False)
    assert namespace.read <= names_of_cell(f"get_ipython().system({line!r})").reads


@given(
    st.sampled_from(["time", "timeit", "lprun", "capture", "bash", "cd", "sx", "unheard"]),
    st.text("abn-:%!?${}[]'= \n"),
    st.none() | st.text("abn-:%!?${}[]'= \n"),
)
def test_no_text_of_a_magic_is_an_error(magic: str, line: str, body: str | None) -> None:
    method = "run_line_magic" if body is None else "run_cell_magic"
    texts = [magic, line] if body is None else [magic, line, body]
    names_of_cell(f"get_ipython().{method}({', '.join(map(repr, texts))})")
