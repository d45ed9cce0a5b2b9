"""Values to a directory and back: equal, and shared among each other just as they were."""

from __future__ import annotations

import collections
import gc
import itertools
import math
import shutil
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cells import fetch, index_in, send
from persist_magic.payload import load_all


class Plain:
    """An object with attributes."""


class Slotted:
    """An object with a fixed attribute."""

    __slots__ = ("held",)

    held: object


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.uuids()
)
ANY_LEAF = LEAVES | st.just(math.nan)
OF_OTHERS: dict[str, Callable[[], Any]] = {
    "list": list,
    "dict": dict,
    "deque": collections.deque,
    "ordered": collections.OrderedDict,
    "default": lambda: collections.defaultdict(list),
    "namespace": types.SimpleNamespace,
    "plain": Plain,
    "slotted": Slotted,
}


@st.composite
def variables(draw: st.DrawFn) -> dict[str, Any]:
    """Some variables whose values hold each other, in circles too, and leaves."""
    kinds = st.sampled_from([*OF_OTHERS, "set", "bytearray", "tuple", "frozenset"])
    chosen = draw(st.lists(kinds, min_size=1, max_size=9))
    made: list[Any] = []
    for kind in chosen:
        match kind:
            case "set":
                made.append(draw(st.sets(LEAVES, max_size=4)))
            case "frozenset":
                made.append(draw(st.frozensets(LEAVES, max_size=4)))
            case "bytearray":
                made.append(bytearray(draw(st.binary(max_size=8))))
            case "tuple":
                made.append(tuple(draw(st.lists(part(made), max_size=4))))
            case _:
                made.append(OF_OTHERS[kind]())
    for value in made:
        fill(value, draw(st.lists(part(made), max_size=4)))
    names = [f"v{number}" for number in range(draw(st.integers(1, 5)))]
    return {name: draw(st.sampled_from(made)) for name in names}


def part(made: list[Any]) -> st.SearchStrategy[Any]:
    """One of *made*, or a leaf."""
    return ANY_LEAF | st.sampled_from(made) if made else ANY_LEAF


def fill(value: Any, parts: list[Any]) -> None:
    """Put *parts* into *value*, where it takes any."""
    match value:
        case list() | collections.deque():
            value.extend(parts)
        case dict():
            value.update((f"key {number}", each) for number, each in enumerate(parts))
        case types.SimpleNamespace() | Plain():
            vars(value).update((f"at{number}", each) for number, each in enumerate(parts))
        case Slotted():
            value.held = parts


def parts_of(value: Any) -> list[Any]:
    """What *value* holds, keys and names included, in order; nothing for a leaf."""
    match value:
        case dict():
            return [*value.keys(), *value.values()]
        case list() | tuple() | collections.deque():
            return list(value)
        case types.SimpleNamespace() | Plain():
            return [*vars(value).keys(), *vars(value).values()]
        case Slotted():
            return [value.held]
    return []


CHANGEABLE = (list, dict, set, bytearray, collections.deque, types.SimpleNamespace, Plain, Slotted)


def assert_same(before: Any, after: Any) -> None:
    """The parts of *before* and *after* are equal, and share each other in the same places."""
    images: dict[int, tuple[Any, Any]] = {}
    origins: dict[int, Any] = {}
    waiting = [(before, after)]
    while waiting:
        old, new = waiting.pop()
        assert type(old) is type(new)
        if isinstance(old, CHANGEABLE):
            if id(old) in images:
                assert images[id(old)][1] is new, "no longer shared"
                continue
            assert id(new) not in origins, "shared only now"
            assert new is not old
            images[id(old)], origins[id(new)] = (old, new), new
        olds, news = parts_of(old), parts_of(new)
        assert len(olds) == len(news)
        if not olds and not (isinstance(old, float) and math.isnan(old)):
            assert old == new or isinstance(old, Plain | Slotted)
        waiting.extend(zip(olds, news, strict=True))


def reached(value: Any) -> set[int]:
    """The ids of all objects in *value* that can change."""
    found: dict[int, Any] = {}
    seen = {id(value): value}
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, CHANGEABLE):
            found[id(each)] = each
        for inner in parts_of(each):
            if id(inner) not in seen:
                seen[id(inner)] = inner
                waiting.append(inner)
    return set(found)


def connected(values: dict[str, Any]) -> set[frozenset[str]]:
    """The names, those together that share an object, directly or through others."""
    groups = [({name}, reached(value)) for name, value in values.items()]
    for one, other in itertools.combinations(range(len(groups)), 2):
        if groups[one][1] & groups[other][1]:
            groups[other][0].update(groups[one][0])
            groups[other][1].update(groups[one][1])
            groups[one] = (set(), set())
    return {frozenset(names) for names, _ in groups if names}


@settings(max_examples=1000, derandomize=True)
@given(values=variables())
def test_values_come_back_equal_and_share_what_they_shared(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    directory = tmp_path_factory.getbasetemp() / "values" / "payload"
    shutil.rmtree(directory, ignore_errors=True)
    dumped = send(values, directory, {})
    loaded = fetch(directory, {})
    assert not dumped.failures
    assert {frozenset(group.names) for group in dumped.groups} == connected(values)
    assert not loaded.failures
    assert not loaded.notices
    names = sorted(values)
    assert_same([values[name] for name in names], [loaded.values[name] for name in names])


def test_the_comparison_finds_lost_and_new_sharing() -> None:
    one: list[int] = []
    with pytest.raises(AssertionError, match="no longer shared"):
        assert_same([one, one], [[], []])
    with pytest.raises(AssertionError, match="shared only now"):
        assert_same([[], []], [one, one])
    assert connected({"a": one, "b": [one], "c": []}) == {frozenset("ab"), frozenset("c")}


def test_only_the_wanted_variables_are_loaded(tmp_path: Path) -> None:
    shared: list[int] = [1]
    send({"a": shared, "b": {"of a": shared}, "c": "other"}, tmp_path / "p", {})
    loaded = load_all(tmp_path / "p", {}, index_in(tmp_path), frozenset({"b"}))
    assert loaded.values == {"b": {"of a": [1]}}


class Heavy:
    """An object that can be watched."""


@pytest.mark.parametrize("bad", [False, True])
def test_a_saved_value_is_not_kept_alive(tmp_path: Path, bad: bool) -> None:
    """Nothing waits for the garbage collector: the value may be most of the memory."""
    value = Heavy()
    watched = weakref.ref(value)
    values = {"a": [value], "b": value, "bad": threading.Lock() if bad else None}
    gc.disable()
    try:
        send(values, tmp_path / "p", {})
        del values, value
        assert watched() is None
        back = fetch(tmp_path / "p", {}).values
        watched = weakref.ref(back["b"])
        del back
        assert watched() is None
    finally:
        gc.enable()
