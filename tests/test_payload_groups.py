"""Which variables are saved together: those that share something, and no others."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import ipaddress
import logging
import math
import operator
import pathlib
import random
import re
import subprocess
import sys
import textwrap
import typing
import uuid
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cells import fetch, send
from persist_magic.payload import dump_all


class Colour(enum.Enum):
    """Some members."""

    RED = 1


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A value that does not change."""

    held: Any = 1


def groups_of(*values: object) -> list[tuple[str, ...]]:
    """The groups that variables `a`, `b` and so on with *values* are saved in."""
    dumped = dump_all(dict(zip("abcdef", values, strict=False)), {})
    assert not dumped.failures
    return sorted(tuple(sorted(group.names)) for group in dumped.groups)


CONSTANT: dict[str, Any] = {
    "None and its like": (None, True, ..., NotImplemented),
    "a long string": "x" * 1000,
    "bytes": b"x" * 1000,
    "a large number": 10**100,
    "a tuple": (1, ("a", 2.5)),
    "a frozen set": frozenset({1, "a"}),
    "a range": range(10),
    "a slice": slice(1, 2),
    "an enum member": Colour.RED,
    "a frozen dataclass": Frozen(),
    "a class": Path,
    "types for annotations": (typing.Optional[int], list[int], int | str),  # noqa: UP045
    "a logger": logging.getLogger("somewhere"),
    "a pattern": re.compile("x+"),
    "a moment": datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),
    "a time zone": zoneinfo.ZoneInfo("UTC"),
    "a decimal": decimal.Decimal("1.5"),
    "a fraction": fractions.Fraction(1, 3),
    "a uuid": uuid.UUID(int=1),
    "a path": pathlib.Path("a", "b"),
    "an address": ipaddress.ip_address("127.0.0.1"),
    "an operator": operator.itemgetter(1),
    "functions in C": (len, math.sin, "abc".upper),
    "functions of libraries": (functools.wraps, textwrap.dedent, subprocess.run),
    "functions of the random generator": (random.random, random.choice),
    "functions of numpy's random generator": (np.random.normal, np.random.seed),
    "a module": math,
    "a numpy function": np.sin,
    "a numpy number": np.float64(1.5),
    "an element type": np.dtype("f4"),
    "a structured element type": np.dtype([("a", "i4"), ("b", "f8")]),
    "a pandas type": pd.CategoricalDtype(["a", "b"]),
    "a timestamp": pd.Timestamp("2020-01-01", tz="UTC"),
    "missing values": (pd.NA, pd.NaT),
    "a frequency": pd.offsets.Day(2),
    "a period": pd.Period("2020-01"),
    "an index": pd.Index(["a", "b"], name="n"),
    "an index of dates": pd.date_range("2020", periods=3, tz="UTC"),
    "an index of levels": pd.MultiIndex.from_product([["a", "b"], [1, 2]]),
}


@pytest.mark.parametrize("kind", CONSTANT)
def test_what_cannot_change_does_not_join_variables(kind: str) -> None:
    constant = CONSTANT[kind]
    assert groups_of([constant, 1], {"b": constant}) == [("a",), ("b",)]


frame = pd.DataFrame(
    {
        "number": [1.5, 2.5, 3.5],
        "text": ["x", "y", "z"],
        "day": pd.date_range("2020", periods=3, tz="UTC"),
        "kind": pd.Categorical(["u", "v", "u"]),
        "maybe": pd.array([1, None, 3], dtype="Int64"),
    },
    index=["p", "q", "r"],
)
structured = np.dtype([("a", "i4"), ("b", "f8")])

UNRELATED: dict[str, tuple[object, ...]] = {
    "arrays": (np.zeros(3), np.ones(3)),
    "arrays of records": (np.zeros(3, structured), np.ones(3, structured)),
    "frames": (pd.DataFrame({"a": ["x"]}), pd.DataFrame({"a": ["y"]})),
    "parts of a frame": (frame[frame["number"] > 2], frame[frame["number"] <= 2]),
    "a frame and its copy": (frame, frame.copy()),
    "a frame and one made of it": (frame, frame["number"] * 2, frame.drop(columns="text")),
    "generators of random numbers": (np.random.default_rng(1), np.random.default_rng(1)),
    "collections": (collections.defaultdict(list), collections.defaultdict(list)),
    "exceptions": (ValueError("a"), ValueError("a")),
}


@pytest.mark.parametrize("kind", UNRELATED)
def test_unrelated_values_are_saved_apart(kind: str) -> None:
    values = UNRELATED[kind]
    assert groups_of(*values) == [(name,) for name, _ in zip("abcdef", values, strict=False)]


def test_models_fitted_to_the_same_data_are_saved_apart() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    make = ensemble.RandomForestClassifier
    data, target = frame[["number"]], [0, 1, 0]
    boosted = ensemble.GradientBoostingRegressor(n_estimators=2)
    models = [make(2).fit(data, target), make(2).fit(data, target), boosted.fit(data, target)]
    assert groups_of(*models) == [("a",), ("b",), ("c",)]


class Node:
    """An object with an attribute."""

    def __init__(self, held: object) -> None:
        self.held = held


SHARED: dict[str, Callable[[], object]] = {
    "a list": lambda: [1],
    "a dict": lambda: {"a": 1},
    "a set": lambda: {1},
    "a bytearray": lambda: bytearray(b"a"),
    "an instance": lambda: Node(1),
    "an array": lambda: np.zeros(3),
    "a frame": lambda: pd.DataFrame({"a": [1]}),
    "a generator of random numbers": lambda: np.random.default_rng(1),
    "a random generator": lambda: random.Random(1),
    "an iterator": lambda: iter([1, 2, 3]),
}


@pytest.mark.parametrize("kind", SHARED)
def test_what_can_change_joins_variables_and_stays_shared(tmp_path: Path, kind: str) -> None:
    shared = SHARED[kind]()
    values = {"a": Node([shared]), "b": {"x": (shared,)}, "c": shared, "d": [1]}
    dumped = send(values, tmp_path / "p", {})
    assert sorted(len(group.names) for group in dumped.groups) == [1, 3]
    back = fetch(tmp_path / "p", {}).values
    assert back["a"].held[0] is back["b"]["x"][0] is back["c"]


def test_what_is_reached_through_a_frozen_instance_stays_shared(tmp_path: Path) -> None:
    frozen = Frozen(held={"a": 1})
    send({"a": [frozen], "b": {"x": frozen}, "c": [Frozen(held={})]}, tmp_path / "p", {})
    back = fetch(tmp_path / "p", {}).values
    assert back["a"][0].held is back["b"]["x"].held


def test_types_of_columns_that_were_used_do_not_join_frames() -> None:
    column = pd.array([1, None], dtype="Int64")
    assert column.dtype.kind == "i"
    assert groups_of(pd.Series(column), pd.Series(column) * 2) == [("a",), ("b",)]


def test_names_for_one_object_stay_names_for_one_object(tmp_path: Path) -> None:
    value = [1]
    send({"a": value, "b": value}, tmp_path / "p", {})
    back = fetch(tmp_path / "p", {}).values
    assert back["a"] is back["b"]


def test_variables_are_joined_through_others() -> None:
    one, other = [1], [2]
    assert groups_of([one], [one, other], [other], [3]) == [("a", "b", "c"), ("d",)]


def test_frames_that_shared_data_do_not_change_each_other_afterwards(tmp_path: Path) -> None:
    both = [frame, frame.drop(columns="number"), frame["text"]]
    send({"both": both}, tmp_path / "p", {})
    back = fetch(tmp_path / "p", {}).values["both"]
    back[1].loc["p", "text"] = "changed"
    back[1].loc["p", "kind"] = "v"
    pd.testing.assert_frame_equal(back[0], frame)
    pd.testing.assert_series_equal(back[2], frame["text"])


def test_a_group_is_counted_once_and_its_members_alone() -> None:
    shared = list(range(10_000))
    dumped = dump_all({"a": [shared], "b": [shared], "c": 1}, {})
    assert dumped.about["a"]["bytes"] > 10_000
    assert dumped.size < 2 * dumped.about["a"]["bytes"]
    assert [group.names for group in dumped.groups] == [("c",), ("a", "b")]


def test_sharing_is_found_without_importing_what_plain_values_do_not_need() -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\nfrom persist_magic.payload import dump_all\nx = [1]\n"
            "print(len(dump_all({'a': x, 'b': {1: x}, 'c': 'text'}, {}).groups),"
            " 'cloudpickle' in sys.modules)",
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert said == "2 False\n"
