"""What a value is made of, as the handlers of types tell it to the walk. Knows no type itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias


class Parts(NamedTuple):
    """The content of a value as other values, each of which is walked in its turn."""

    tag: str
    """What the children mean: two handlers never use the same one."""
    children: Iterable[object] = ()
    steps: Sequence[str] = ()
    """The way to each child, as one writes it after the value; only errors show it."""
    unordered: bool = False
    """Whether the order of the children means nothing."""


class Context(NamedTuple):
    """What the caller of `fingerprint` asked for."""

    namespace: Mapping[str, object] | None
    follow_globals: bool
    digest: Callable[[memoryview], str]


class Unstable(Exception):
    """A value that has no content which another process could find again; says why, if it can."""


# A handler that returns bytes has told the whole content.
Handler: TypeAlias = Callable[[Any, Context], "Parts | bytes"]


def leaf(tag: str, *content: str | bytes) -> bytes:
    """The whole content of a value that is made of nothing but *content*."""
    pieces = [tag.encode()]
    for each in content:
        raw = each.encode("utf-8", "surrogatepass") if isinstance(each, str) else each
        pieces += (b"\0%d:" % len(raw), raw)
    return b"".join(pieces)


def attributes(state: Mapping[str, object]) -> tuple[list[object], list[str]]:
    """Children and steps of the attributes in *state*, by name: their order means nothing."""
    children: list[object] = []
    steps: list[str] = []
    for name in sorted(state):
        children += (name, state[name])
        steps += ("", f".{name}")
    return children, steps
