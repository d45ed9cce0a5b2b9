"""Trees of plain lists, tuples and dicts, in C. Knows pickle streams, not what the leaves mean.

A pickler without memo writes the same bytes for equal trees, whatever is shared or interned. What
it must not write itself (a set, an instance, an array) is found beforehand, and stands in the
stream as a token. Which parts of a tree are treated how depends on its content alone, so two
processes always agree.
"""

from __future__ import annotations

from _pickle import Pickler
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

from persist_magic.fingerprint.parts import Parts

SCALARS = frozenset({type(None), bool, int, float, str})
CONTAINERS = frozenset({list, tuple, dict})

# A list of this length is a part of its own: shared by many, it is read once.
BIG = 1 << 10
# Bytes of this size have a digest of their own.
LARGE = 256 << 10
# Deeper nesting than this is walked by hand: the C stack is not endless, nor is a cycle.
_DEEPEST = 48
# So is a tree of more items or containers, each counted as often as it is reached: where parts are
# shared a small tree has an endless stream.
_MOST_ITEMS = 1 << 26
_MOST_CONTAINERS = 1 << 20
# And so is one with more other things in it: their tokens take memory.
_MOST_OTHERS = 1 << 16
# A longer container that is too large in all is cut into pieces of this length.
_CUT = 1 << 13


class Census(NamedTuple):
    """What is in a tree."""

    items: int
    others: dict[int, object]
    """What the pickler must not write, by id, in an order that depends on the content alone."""


def is_part(value: object) -> bool:
    """Whether *value*, in a tree, belongs to that tree."""
    kind = type(value)
    if kind in CONTAINERS:
        return len(value) < BIG  # type: ignore[arg-type]  # mypy does not narrow by a set of types
    return kind in SCALARS or (kind is bytes and len(value) < LARGE)  # type: ignore[arg-type]  # as above


def census(root: list[Any] | tuple[Any, ...] | dict[Any, Any]) -> Census | None:
    """What is in the tree under *root*; None if it is too deep or too large for the pickler."""
    level: list[Any] = [root]
    others: dict[int, object] = {}
    items = containers = foreign = 0
    for _ in range(_DEEPEST):
        items += sum(map(len, level))
        containers += len(level)
        if items > _MOST_ITEMS or containers > _MOST_CONTAINERS:
            return None
        inner = _items_of(level)
        # These passes run in C, which is what makes a million small tuples cheap.
        if SCALARS.issuperset(map(type, inner())):
            return Census(items, others)
        below = [item for item in inner() if type(item) not in SCALARS]
        level = [item for item in below if type(item) in CONTAINERS and len(item) < BIG]
        if len(level) != len(below):
            found = [item for item in below if not is_part(item)]
            # Counted as often as they are met: whether they are one object is chance.
            foreign += len(found)
            if foreign > _MOST_OTHERS:
                return None
            others.update(zip(map(id, found), found, strict=True))
        if not level:
            return Census(items, others)
    return None


def _items_of(level: list[Any]) -> Callable[[], Iterator[Any]]:
    """What iterates over all that the containers of *level* hold."""
    if dict not in set(map(type, level)):
        return lambda: chain.from_iterable(level)
    sequences = [each for each in level if type(each) is not dict]
    dicts = [each for each in level if type(each) is dict]
    return lambda: chain(
        chain.from_iterable(sequences),
        chain.from_iterable(dicts),
        chain.from_iterable(map(dict.values, dicts)),
    )


def pieces(root: Any) -> Parts | None:
    """*root* in pieces which a pickler may write after all; None if it has too few items."""
    if len(root) <= _CUT:
        return None
    starts = range(0, len(root), _CUT)
    if type(root) is dict:
        items = iter(root.items())
        return Parts("dict in pieces", (dict(islice(items, _CUT)) for _ in starts))
    cuts = (root[start : start + _CUT] for start in starts)
    steps = [f"[{start}:{start + _CUT}]" for start in starts]
    return Parts(f"{type(root).__name__} in pieces", cuts, steps)


class _Sink:
    """A hash that a pickler writes to."""

    def __init__(self) -> None:
        from blake3 import blake3

        self.hash = blake3(b"\0tree\0")
        self.write = self.hash.update


class _TokenPickler(Pickler):
    """Writes tokens in place of those values that have one."""

    def __init__(self, sink: _Sink, root: object, tokens: Mapping[int, bytes]) -> None:
        super().__init__(sink, 5)
        self._root = root
        self._token = tokens.get

    def persistent_id(self, obj: object) -> bytes | None:
        token = self._token(id(obj))
        if token is not None and obj is self._root:
            # A tree that holds itself is not its own token at the top.
            self._root = None
            return None
        return token


def tree_digest(root: object, tokens: Mapping[int, bytes] | None = None) -> bytes:
    """16 bytes for the tree under *root*; *tokens*, by id, stand for what they are tokens of."""
    sink = _Sink()
    pickler = _TokenPickler(sink, root, tokens) if tokens else Pickler(sink, 5)
    pickler.fast = True
    pickler.dump(root)
    return sink.hash.digest(16)


def way_to(target: object, root: object) -> str:
    """How to reach *target* in the tree under *root*, as one writes it in Python."""
    queue: list[tuple[str, Any]] = [("", root)]
    for way, holder in queue:
        for step, value in _steps(holder):
            if value is target:
                return way + step
            if type(value) in CONTAINERS and is_part(value):
                queue.append((way + step, value))
    return ""


def step_to(target: object, holder: object) -> str:
    """The same, where *holder* itself holds it."""
    return next((step for step, value in _steps(holder) if value is target), "")


def _steps(holder: Any) -> Iterator[tuple[str, Any]]:
    if type(holder) is dict:
        items = list(holder.items())
        yield from ((f"[{_short(key)}]", value) for key, value in items)
        yield from ((f".keys()[{index}]", key) for index, (key, _) in enumerate(items))
    else:
        yield from ((f"[{index}]", value) for index, value in enumerate(holder))


def _short(key: object) -> str:
    text = repr(key) if type(key) in SCALARS else f"<{type(key).__name__}>"
    return text if len(text) <= 40 else f"{text[:37]}..."
