"""What a cell really looks up when it runs is among the names that it was said to read."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from itertools import cycle

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from persist_magic.capture import names_of_cell

NAMES = "abcdef"
name = st.sampled_from(NAMES)


class Oops(Exception):
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
        if key in NAMES and (key not in self or super().__getitem__(key) is self.first[key]):
            self.read.add(key)
        return super().__getitem__(key)


class Chance:
    """A value of the notebook: whatever is done with it may fail or call functions of the cell."""

    def __init__(self, world: World) -> None:
        self.world = world

    def act(self, *_: object) -> Chance:
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

    def __init__(self, coins: list[bool]) -> None:
        self.coins = cycle(coins)
        self.left = 300
        self.namespace = Namespace({key: Chance(self) for key in NAMES})
        self.namespace.update(maybe=Chance(self), coin=self.coin, Oops=Oops)

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
        return {key for key in NAMES if self.namespace.get(key) is not first[key]}


EXPRESSIONS = [
    *("maybe()", "maybe()", "maybe()", "{n}", "({n} := {e})", "({e} + {e})", "({e} < {e} < {e})"),
    *("({e} if {e} else {e})", "({e} and {e})", "({e} or {e})", "coin()"),
    *("[{e} for {n} in {e} if {e}]", "list({e} for {n} in {e} for {n} in {e})"),
    *("(lambda {n}=1: {e})", "(lambda: {e})()", "{{1: {e}, 2: {e}}}", "[*{e}, {e}]"),
]
STATEMENTS = [
    *(
        "{n} = {e}",
        "{n} = 1",
        "{n} += {e}",
        "{n}, *{n} = {e}",
        "del {n}",
        "{e}",
        "{n} = lambda: {n}",
    ),
    *("if {e}:\n{b}", "if {e}:\n{b}\nelse:\n{b}", "assert {e}, {e}", "raise Oops"),
    *("for {n} in {e}:\n{l}", "for {n} in {e}:\n{l}\nelse:\n{b}"),
    *("while coin():\n{l}\nelse:\n{b}", "while True:\n coin()\n{l}"),
    *("with {e} as {n}:\n{b}", "with {e} as {n}, {e} as {n}:\n{b}"),
    *("try:\n{b}\nexcept Oops as {n}:\n{b}", "try:\n{b}\nfinally:\n{b}"),
    *("try:\n{b}\nexcept Oops:\n{b}\nelse:\n{b}\nfinally:\n{b}", "import sys as {n}"),
    "match {e}:\n case [{n}, *{n}]:\n{b2}\n case {n} if {e}:\n{b2}\n case _:\n{b2}",
    *("def {n}():\n coin()\n{b}", "def {n}({n}={e}):\n coin()\n{b}\n return {e}"),
    *("def {n}():\n global {n}\n coin()\n{b}", "def {n}():\n coin()\n return {n}"),
    # Not under a name that its own body may use: only what calls it too early could tell.
    *("class K({e}.__class__):\n{b}", "class K:\n{b}", "@{n}\ndef F():\n coin()\n{b}"),
]
JUMPS = ["break", "continue"]


def written(draw: Callable[[st.SearchStrategy[str]], str], template: str, depth: int) -> str:
    """*template* with its parts chosen."""

    def part(kind: str) -> str:
        if kind == "n":
            return draw(name)
        if kind == "e":
            shapes = EXPRESSIONS if depth else ["maybe()", "maybe()", "{n}"]
            return written(draw, draw(st.sampled_from(shapes)), max(depth - 1, 0))
        shapes = STATEMENTS if depth else ["{n} = {e}", "{e}", "{n} = 1", "del {n}"]
        shapes = shapes + JUMPS * (kind == "l")
        lines = [
            written(draw, draw(st.sampled_from(shapes)), max(depth - 1, 0))
            for _ in draw(st.sampled_from(["1", "12", "123"]))
        ]
        indent = "  " if kind == "b2" else " "
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
        code = compile(cell, "<cell>", "exec")
    except SyntaxError:
        assume(False)
    found = names_of_cell(cell)
    for coins in ways:
        world = World(coins)
        world.run(code)
        assert world.namespace.read <= found.reads
        assert world.changed() <= found.binds | found.deletes
