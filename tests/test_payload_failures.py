"""What cannot be saved or loaded is named, and costs nothing else."""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cells import fetch, index_in, run_cell, send
from persist_magic.payload import describe, dump_all, load_all, short_repr, type_name

LOCK_ADVICE = "make the lock inside the cell, or leave it out with --skip"


class Holder:
    """An object with whatever attributes it is given."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)


class Slotted:
    """An object with one attribute and no `__dict__`."""

    __slots__ = ("held",)

    def __init__(self, held: object) -> None:
        self.held = held


class Raising:
    """An object that raises *error* when it is pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> str:
        raise self.error


class Fickle:
    """An object that cannot be pickled for the times in *fails*."""

    def __init__(self, *fails: int) -> None:
        self.fails = fails
        self.times = 0

    def __getstate__(self) -> dict[str, tuple[int, ...]]:
        self.times += 1
        if self.times in self.fails:
            raise ValueError("not now")
        return {"fails": self.fails}


def saved(values: dict[str, Any], directory: Path) -> dict[str, Any]:
    """What comes back of *values*."""
    send(values, directory / "p", {})
    return fetch(directory / "p", {}).values


# ---- saving


def test_a_variable_with_a_lock_costs_no_other(tmp_path: Path) -> None:
    cfg = {"a": [1, Holder(lock=threading.Lock())]}
    values = {"one": 1, "two": [2], "cfg": cfg, "three": {3}, "four": "four"}
    dumped = send(values, tmp_path / "p", {})
    loaded = fetch(tmp_path / "p", {})
    assert loaded.values == {"one": 1, "two": [2], "three": {3}, "four": "four"}
    failure = dumped.failures["cfg"]
    assert failure.path == "cfg['a'][1].lock"
    assert failure.type == "_thread.lock"
    assert failure.reason == "TypeError: cannot pickle '_thread.lock' object"
    assert failure.advice == LOCK_ADVICE
    assert failure.repr.startswith("{'a': [1, <test_payload_failures.Holder object at ")
    assert loaded.failures["cfg"].message == (
        "'cfg' could not be saved by the job (_thread.lock at cfg['a'][1].lock): "
        "TypeError: cannot pickle '_thread.lock' object"
    )
    assert loaded.failures["cfg"].hint.startswith(LOCK_ADVICE)


def closing_over(value: object) -> Callable[[], object]:
    return lambda: value


def with_default(value: object) -> Callable[..., object]:
    def function(x: int, *, y: object = value) -> object:
        return y

    return function


WAYS: dict[str, Callable[[Any], Any]] = {
    "v": lambda lock: lock,
    "v[2]": lambda lock: [1, 2, lock],
    "v['key']": lambda lock: {"key": lock},
    "v[(1, 2)]": lambda lock: {(1, 2): lock},
    "v.lock": lambda lock: Holder(lock=lock),
    "v.held[0].lock": lambda lock: Slotted((Holder(lock=lock),)),
    "v.<closure value>": closing_over,
    "v.__kwdefaults__['y']": with_default,
    "v.default_factory.<closure value>": lambda lock: collections.defaultdict(closing_over(lock)),
    "v[1][0]": lambda lock: collections.deque([1, [lock]]),
}


@pytest.mark.parametrize("path", WAYS)
def test_the_path_leads_to_the_culprit(path: str) -> None:
    failure = dump_all({"v": WAYS[path](threading.Lock())}, {}).failures["v"]
    assert (failure.path, failure.type) == (path, "_thread.lock")


def test_the_culprit_in_a_frame_or_an_array_is_found() -> None:
    np = pytest.importorskip("numpy")
    pd = pytest.importorskip("pandas")
    lock = threading.Lock()
    frame = pd.DataFrame({"a": [1, 2], "b": [None, lock]}, dtype=object)
    array = np.array([1, [2, lock]], dtype=object)
    failures = dump_all({"frame": frame, "array": array}, {}).failures
    assert failures["frame"].path == "frame['b'].iloc[1]"
    assert failures["array"].path == "array.flat[1][1]"


def test_a_culprit_in_a_notebook_class_is_found() -> None:
    said = run_cell(
        "import threading\nclass A:\n    lock = threading.Lock()\n    def m(self): pass\n"
        "from persist_magic.payload import dump_all\n"
        "failures = dump_all({'a': A(), 'A': A, 'm': A().m}, globals()).failures\n"
        "print(*sorted(failure.path for failure in failures.values()))"
    )
    assert said.split() == ["A.lock", "a.__class__.lock", "m.__self__.__class__.lock"]


def test_an_exception_without_usable_words_is_a_failure_too() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    failures = dump_all({"a": Raising(Mute()), "b": Raising(ValueError("one\ntwo"))}, {}).failures
    assert failures["a"].reason == "Mute"
    assert failures["b"].reason == "ValueError: one"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_what_ends_the_program_is_not_taken_for_a_failure(error: BaseException) -> None:
    with pytest.raises(type(error)):
        dump_all({"a": Raising(error), "b": 1}, {})


def test_a_panic_of_rust_code_is_a_failure() -> None:
    panic = type("PanicException", (BaseException,), {})("index out of bounds")
    dumped = dump_all({"a": [Raising(panic)], "b": 1}, {})
    assert dumped.failures["a"].path == "a[0]"
    assert [group.names for group in dumped.groups] == [("b",)]


def test_a_value_nested_too_deeply_is_a_failure(tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    dumped = send({"deep": deep, "flat": [1]}, tmp_path / "p", {})
    assert dumped.failures["deep"].path == "deep"
    assert dumped.failures["deep"].reason == "it is nested too deeply"
    assert fetch(tmp_path / "p", {}).values == {"flat": [1]}


def test_a_failed_dump_leaves_no_trace_in_later_ones(tmp_path: Path) -> None:
    shared: list[Any] = [1]
    bad = [shared, threading.Lock()]
    assert saved({"bad": bad, "a": [shared], "b": [shared]}, tmp_path) == {"a": [[1]], "b": [[1]]}


# ---- groups that cannot be saved together


def test_variables_that_fail_only_together_are_saved_apart(tmp_path: Path) -> None:
    shared = [1]
    # Each is pickled once alone, then all together, then each alone again.
    send({"a": [shared, Fickle(2)], "b": [shared], "c": 3}, tmp_path / "p", {})
    loaded = fetch(tmp_path / "p", {})
    assert not loaded.failures
    assert loaded.values["a"][0] == loaded.values["b"][0] == [1]
    assert loaded.values["a"][0] is not loaded.values["b"][0]
    assert loaded.notices == [
        "a, b shared objects and no longer do: saved apart after ValueError: not now"
    ]


def test_one_that_fails_later_costs_no_other_of_its_group(tmp_path: Path) -> None:
    shared = [1]
    values = {"a": [shared, Fickle(2, 3, 4, 5)], "b": [shared], "c": [shared]}
    dumped = send(values, tmp_path / "p", {})
    assert dumped.failures["a"].path == "a[1]"
    loaded = fetch(tmp_path / "p", {})
    assert loaded.values == {"b": [[1]], "c": [[1]]}
    assert loaded.notices[0].startswith("b, c shared objects and no longer do")


def test_lost_sharing_is_reported_only_to_those_whom_it_concerns(tmp_path: Path) -> None:
    shared = [1]
    send({"a": [shared, Fickle(2)], "b": [shared], "d": 4}, tmp_path / "p", {})
    index = index_in(tmp_path)
    assert load_all(tmp_path / "p", {}, index, frozenset({"d"})).notices == []
    assert len(load_all(tmp_path / "p", {}, index, frozenset({"b"})).notices) == 1


# ---- words for people


class Trap:
    """An object whose attributes and methods must not be asked for."""

    def __repr__(self) -> str:
        return "a trap"

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"asked for {name}")

    @property
    def shape(self) -> tuple[int, ...]:
        raise AssertionError

    @property
    def __class__(self) -> Any:
        raise AssertionError

    @__class__.setter
    def __class__(self, value: object) -> None: ...

    def __len__(self) -> int:
        raise AssertionError


class TrapList(list[int]):
    """A list that must not be asked for its length."""

    def __len__(self) -> int:
        raise AssertionError


class BadRepr:
    """An object without a usable repr."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


class Meta(type):
    """A metaclass that answers nothing."""

    def __getattribute__(cls, name: str) -> Any:
        raise AssertionError(f"asked for {name}")


class OfMeta(metaclass=Meta):
    """A class that must not be asked for anything."""


def test_values_are_described_without_running_their_code() -> None:
    assert describe(Trap()) == "Trap"
    assert short_repr(Trap()) == "a trap"
    assert describe(TrapList([1, 2])) == "TrapList of 2"
    assert describe(OfMeta()) == "OfMeta"
    assert describe(OfMeta) == "class OfMeta"
    assert type_name(OfMeta()) == "test_payload_failures.OfMeta"
    assert short_repr(BadRepr(ValueError())) == (
        "<test_payload_failures.BadRepr whose repr fails: ValueError>"
    )


@settings(max_examples=100, derandomize=True)
@given(
    value=st.recursive(
        st.builds(BadRepr, st.sampled_from([ValueError(), RecursionError(), MemoryError()]))
        | st.builds(Trap)
        | st.text()
        | st.integers()
        | st.binary(),
        lambda parts: st.lists(parts) | st.tuples(parts) | st.dictionaries(st.text(), parts),
    ),
    width=st.integers(20, 200),
)
def test_words_for_a_value_never_fail(value: object, width: int) -> None:
    assert describe(value)
    assert type_name(value)
    words = short_repr(value, width)
    assert 0 < len(words) <= width
    assert "\n" not in words


def test_the_repr_of_a_large_value_is_not_written_out() -> None:
    class Counting:
        count = 0

        def __repr__(self) -> str:
            Counting.count += 1
            return "counted"

    assert short_repr([Counting()] * 1_000_000).startswith("[counted, counted")
    assert Counting.count < 1000
    assert short_repr("x" * 1_000_000, 10) == "'xxxxxxxx…"
    assert short_repr(10**10_000).startswith(("<int whose repr fails", "1000"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "NoneType None"),
        (True, "bool True"),
        (3, "int 3"),
        ([1, 2], "list of 2"),
        ({"a": 1}, "dict of 1"),
        ("abc", "str of 3 characters"),
        (bytearray(3), "bytearray of 3 bytes"),
        (os, "module os"),
        (Holder, "class Holder"),
        (Holder(), "Holder"),
    ],
)
def test_a_value_is_described_in_few_words(value: object, words: str) -> None:
    assert describe(value) == words


def test_arrays_and_frames_are_described_by_type_and_extent() -> None:
    np = pytest.importorskip("numpy")
    pd = pytest.importorskip("pandas")
    assert describe(np.zeros((3, 4))) == "ndarray float64 3 x 4"
    assert describe(np.array(1)) == "ndarray int64 scalar"
    assert describe(pd.DataFrame({"a": [1, 2]})) == "DataFrame 2 x 1"
    assert describe(pd.Series([1.5])) == "Series float64 1"
