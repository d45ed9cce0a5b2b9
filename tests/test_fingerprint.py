"""Fingerprints: equal for equal values in any process, and different after any change."""

from __future__ import annotations

import copy
import functools
import gc
import io
import itertools
import json
import math
import os
import pickle
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerprint_zoo import Case, question, read_cases
from persist_magic.fingerprint import Fingerprint, blake3_hex, fingerprint

CASES = list(read_cases())
HERE = Path(__file__).parent


def stable(value: object, **options: Any) -> str:
    """The digest of *value*, which must be a stable one."""
    result = fingerprint(value, **options)
    assert not result.unstable
    assert len(bytes.fromhex(result.digest)) == 16
    return result.digest


def same(one: object, other: object) -> bool:
    return stable(one) == stable(other)


# The zoo, in two processes.


def interpreter(seed: str) -> subprocess.Popen[str]:
    """A new process with the hash seed *seed*, to be asked about the zoo."""
    paths = [str(HERE), str(HERE.parent)]
    return subprocess.Popen(
        [sys.executable, "-c", "from fingerprint_zoo import main; main()"],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


Answers = tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What two processes say of the zoo; the second also loads what the first pickled."""
    here = [case for case in CASES if case.is_here()]
    directory = tmp_path_factory.mktemp("zoo")
    first = question(here, directory, offset=0, file_name="/tmp/ipykernel_11/{}.py", first=True)
    second = question(here, directory, offset=300, file_name="<ipython-input-{}>", first=False)
    with interpreter("1") as one, interpreter("2") as other:
        assert other.stdin is not None
        other.stdin.write(second)
        other.stdin.flush()
        said, _ = one.communicate(first, timeout=100)
        said_too, _ = other.communicate("go on\n", timeout=100)
    return json.loads(said), json.loads(said_too)


def test_zoo_is_as_large_as_it_seems() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 90
    assert sum(len(case.changes) for case in CASES) >= 60
    assert all(old in case.source for case in CASES for old, _ in case.changes)


each_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def need(case: Case) -> None:
    if not case.is_here():
        pytest.skip(f"needs {' '.join(case.needs)}")


@each_case
def test_value_has_the_same_fingerprint_in_each_process(case: Case, answers: Answers) -> None:
    need(case)
    first, second = (each[case.name] for each in answers)
    assert not first["made"].startswith("unstable")
    assert first["made"] == second["made"]
    if case.pickles:
        assert first["made"] == second["loaded"]


@each_case
def test_only_a_change_gives_another_fingerprint(case: Case, answers: Answers) -> None:
    need(case)
    first = answers[0][case.name]
    assert first["made"] == first["used"]
    assert len({first["made"], *first["changed"]}) == 1 + len(case.changes)


# Plain values.

Pair = namedtuple("Pair", "x y")

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.complex_numbers()
    | st.decimals(allow_nan=False)
    | st.datetimes()
)
keys = st.integers() | st.text() | st.tuples(st.text(), st.booleans())
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(keys, inner)
        | st.sets(keys)
        | st.frozensets(keys)
        | st.binary().map(bytearray)
    ),
)


@given(trees)
def test_copy_has_the_same_fingerprint(tree: object) -> None:
    assert same(tree, copy.deepcopy(tree))


@given(trees)
def test_pickled_copy_has_the_same_fingerprint(tree: object) -> None:
    assert same(tree, pickle.loads(pickle.dumps(tree)))


# `repr` tells these apart, but for the bits of a NaN.
told_by_repr = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=1) | st.integers(0, 2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(told_by_repr, told_by_repr)
def test_trees_agree_exactly_if_they_are_equal(one: object, other: object) -> None:
    assert same(one, other) == (repr(one) == repr(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, 1),
        (1, 1.0),
        (0.0, -0.0),
        ("a", b"a"),
        ([1], (1,)),
        ({1}, frozenset({1})),
        ([], ()),
        ([[], []], [[[]]]),
        (["ab", "c"], ["a", "bc"]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (math.nan, struct.unpack("d", struct.pack("q", 0x7FF8000000000001))[0]),
        (b"x" * 300_000, bytearray(b"x" * 300_000)),
        ("x" * 5000, b"x" * 5000),
        (dict, OrderedDict),
        ({}, OrderedDict()),
        (defaultdict(int), defaultdict(float)),
        (deque([1]), deque([1], 5)),
        (Fraction(1, 2), Decimal("0.5")),
        (date(2026, 1, 1), datetime(2026, 1, 1)),
        ({frozenset({1}), frozenset({2})}, {frozenset({1, 2})}),
        ({(1, "a"), (2, "b")}, {(1, "b"), (2, "a")}),
        (Path("a"), "a"),
        (Pair(1, 2), (1, 2)),
    ],
)
def test_values_that_only_look_alike_differ(one: object, other: object) -> None:
    assert not same(one, other)


def test_sharing_of_equal_parts_does_not_count() -> None:
    text = "".join(["not ", "interned"])
    again = "".join(["not ", "interned"])
    assert same([text, text], [text, again])
    number = 10**30
    assert same((number, number), (number, int("1" + "0" * 30)))
    inner = [1, {"a"}]
    assert same([inner, inner], [inner, copy.deepcopy(inner)])
    thing, twin = SimpleNamespace(x=[1]), SimpleNamespace(x=[1])
    assert same([thing, thing], [thing, twin])
    assert same({"a": thing, "b": [thing]}, {"a": thing, "b": [twin]})


@pytest.mark.parametrize("length", [1023, 1024, 1025])
@pytest.mark.parametrize("end", [0, {0}])
def test_sharing_of_long_lists_does_not_count(length: int, end: object) -> None:
    part: list[object] = [*range(length - 1), end]
    assert same([part, part], [part, copy.deepcopy(part)])
    assert not same([part, part], [part, [*part[:-1], 1]])


@pytest.mark.parametrize("kind", [list, dict])
def test_very_many_small_tuples_are_told_apart(kind: Callable[[Any], Any]) -> None:
    rows = list(enumerate([[(row, str(row))] for row in range(1 << 11)] * (1 << 8)))
    digest = stable(kind(rows))
    assert digest == stable(kind([(number, [*row]) for number, row in rows]))
    assert digest != stable(kind([*rows[:-1], (len(rows) - 1, [(0, "1")])]))


@pytest.mark.parametrize("depth", [10, 46, 47, 48, 49, 50, 100, 2000])
def test_depth_counts_and_the_way_it_is_walked_does_not(depth: int) -> None:
    def nested(depth: int, leaf: object) -> object:
        for level in range(depth):
            leaf = [leaf] if level % 3 else {"a": leaf}
        return leaf

    # Equal, but with other objects and other sharing.
    twins = nested(depth, ("x", "x")), nested(depth, ("x", "".join(["", "x"])))
    assert same(*twins)
    assert not same(twins[0], nested(depth, ("x", "y")))
    assert not same(twins[0], nested(depth + 1, ("x", "x")))
    both = [twins[0], twins[0]]
    assert same(both, [*twins])


def test_list_nested_100000_deep_does_no_harm() -> None:
    def nested() -> object:
        leaf: object = 1
        for _ in range(100_000):
            leaf = [leaf]
        return leaf

    assert same(nested(), nested())


def test_value_that_is_nested_without_end_is_unstable() -> None:
    class Endless:
        def __reduce__(self) -> tuple[Any, ...]:
            return Endless, (Endless(),)

    result = fingerprint([Endless()])
    assert "deep" in result.unstable


def test_small_value_with_endless_repetition_is_read_once() -> None:
    def doubled(times: int, leaf: object) -> object:
        for time in range(times):
            leaf = [leaf, leaf] if time % 2 else (leaf, leaf)
        return leaf

    digest = stable(doubled(40, "a"))
    assert digest == stable(doubled(40, "a"))
    assert digest != stable(doubled(40, "b"))


def test_frozensets_that_share_their_members_are_read_once() -> None:
    value: frozenset[Any] = frozenset()
    for _ in range(40):
        value = frozenset({value, (value, 1)})
    assert same(value, pickle.loads(pickle.dumps(value)))


def test_endless_repetition_of_objects_is_read_once() -> None:
    value: Any = SimpleNamespace()
    for _ in range(60):
        value = SimpleNamespace(left=value, right=[value, {"again": value}])
    assert stable(value)


def test_set_does_not_depend_on_the_order_in_which_it_was_made() -> None:
    members = [str(number) for number in range(100)] + [None, 1.5, (1, "a"), frozenset("ab")]
    turned = members[::-1]
    assert same(set(members), set(turned))

    def shrunk(*left: object) -> set[object]:
        """A set that keeps the large table it once needed."""
        made: set[object] = {*left, *range(2000)}
        made &= made
        for number in set(range(2000)).difference(left):
            made.discard(number)
        return made

    assert list(shrunk(1, 1000)) != list({1, 1000})
    assert same(shrunk(1, 1000), {1, 1000})
    assert same([{1: shrunk(1, 1000, None)}], [{1: {1, 1000, None}}])


# Circles.


class Node:
    def __init__(self, name: str) -> None:
        self.name = name
        self.others: list[Node] = []
        self.near: set[Node] = set()


def ring(names: str) -> list[Node]:
    nodes = [Node(name) for name in names]
    for node, following in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        node.others = [following, nodes[0], node]
    return nodes


def test_circles_are_told_apart_by_their_content() -> None:
    assert same(ring("abcd"), ring("abcd"))
    assert not same(ring("abcd"), ring("abce"))
    assert not same(ring("abcd"), ring("abcda"))
    assert not same(ring("abcd")[0], ring("abcd")[1])
    one, other = ring("abcd"), ring("abcd")
    other[3].others[1] = other[1]
    assert not same(one, other)


def test_circle_of_plain_containers_is_told_apart_by_its_content() -> None:
    def circle(leaf: object) -> list[Any]:
        made: list[Any] = [leaf, {}]
        made[1]["me"] = (made, [made[1]])
        return made

    assert same(circle(1), circle(1))
    assert not same(circle(1), circle(2))
    assert same([circle("a")] * 2, [circle("a"), circle("a")])


def test_circle_is_the_same_wherever_it_is_met() -> None:
    assert same([ring("ab"), ring("ab")], [ring("ab")] * 2)
    nodes = ring("abc")
    assert same([1, nodes[0]], [1, ring("abc")[0]])


def test_large_graph_is_walked_once() -> None:
    nodes = [Node(str(number)) for number in range(3000)]
    for node in nodes:
        node.others = nodes
    assert stable(nodes)


def test_objects_that_refer_to_their_owner_from_a_set() -> None:
    def tree(names: str) -> Node:
        root = Node("root")
        for name in names:
            child = Node(name)
            child.others.append(root)
            root.near.add(child)
        return root

    # Sets of objects without an order of their own iterate by address.
    assert same(tree("abcdefgh"), tree("hgfedcba"))
    assert not same(tree("abcd"), tree("abce"))


def test_web_of_objects_that_know_each_other_by_sets() -> None:
    def web(size: int, missing: int) -> list[Node]:
        nodes = [Node(str(number)) for number in range(size)]
        for node in nodes:
            node.near = set(nodes) - {node}
        nodes[0].near.discard(nodes[missing])
        return nodes

    assert same(web(60, 1), web(60, 1))
    assert not same(web(60, 1), web(60, 2))
    assert same({*web(60, 1)}, {*reversed(web(60, 1))})


def chain(length: int, marked: int) -> list[Node]:
    """Nodes that know both neighbours; all are called alike but that at *marked*."""
    nodes = [Node("marked" if number == marked else "") for number in range(length)]
    for node, following in itertools.pairwise(nodes):
        node.others.append(following)
        following.others.append(node)
    return nodes


def test_place_in_a_chain_of_equal_nodes_counts() -> None:
    assert same(chain(99, 30)[0], chain(99, 30)[0])
    digests = {stable(chain(length, at)[0]) for length, at in ((99, 30), (99, 31), (98, 30))}
    assert len(digests) == 3
    assert not same(chain(99, 30)[7], chain(99, 30)[8])


def test_chain_of_equal_nodes_that_takes_too_long_is_unstable() -> None:
    assert "too many of them alike" in fingerprint(chain(1500, 0)).unstable


links = st.lists(st.integers(0, 7), max_size=3)


@given(st.lists(st.tuples(st.sampled_from("ab"), links, links), min_size=8, max_size=8))
def test_copy_of_a_graph_has_the_same_fingerprint(about: list[tuple[str, list[int], Any]]) -> None:
    nodes = [Node(name) for name, _, _ in about]
    for node, (_, others, near) in zip(nodes, about, strict=True):
        node.others = [nodes[number] for number in others]
        node.near = {nodes[number] for number in near}
    # In a copy, sets of nodes have another order.
    copied = pickle.loads(pickle.dumps(nodes))
    assert same(nodes, copied)
    # Nor does it count which was met first.
    assert {stable(node) for node in nodes} == {stable(node) for node in copied[::-1]}
    assert same([nodes[3], nodes[4]], [copied[3], copied[4]])


def test_namespace_itself_is_not_walked() -> None:
    namespace: dict[str, Any] = {"lock": threading.Lock()}
    namespace["me"] = SimpleNamespace(globals=namespace)
    assert stable(namespace["me"], namespace=namespace)


# What has no content.


def generator() -> Any:
    yield 1


class ByAddress:
    def __reduce__(self) -> tuple[Any, ...]:
        return ByAddress.at, (id(self),)

    @classmethod
    def at(cls, address: int) -> ByAddress:
        return cls()


class Broken:
    def __reduce__(self) -> tuple[Any, ...]:
        raise ValueError("not today")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (threading.Lock, "_thread.lock"),
        (threading.RLock, "_thread.RLock"),
        (generator, "generator"),
        (lambda: io.TextIOWrapper(io.BytesIO()), "_io.TextIOWrapper"),
        (lambda: socket.socket(), "socket.socket"),
        (lambda: sqlite3.connect(":memory:"), "sqlite3.Connection"),
        (lambda: threading.Thread(target=print), "threading.Thread"),
        (lambda: sys._getframe(), "frame"),
        (lambda: weakref.ref(Node("a")), "weakref.ReferenceType"),
        (lambda: weakref.WeakSet(), "_weakrefset.WeakSet"),
        (
            lambda: np.frompyfunc(abs, 1, 1),
            "numpy.ufunc (a function that was made from Python has no name)",
        ),
        (lambda: memoryview(b"a").release, ""),
        (ByAddress, f"{__name__}.ByAddress (its pickled form holds its own address)"),
        (Broken, f"{__name__}.Broken (not today)"),
    ],
)
def test_value_without_content_says_where_and_what(make: Callable[[], Any], kind: str) -> None:
    value = make()
    if not kind:
        assert stable(value)
        return
    result = fingerprint({"a": [1, (value, threading.Lock())], "b": 2})
    assert result.unstable == f"value['a'][1][0] is a {kind}"
    assert len(result.digest) == 32
    if hasattr(value, "close"):
        value.close()


def test_way_to_what_has_no_content_goes_through_objects() -> None:
    value = SimpleNamespace(model=OrderedDict(a=[deque([SimpleNamespace(lock=threading.Lock())])]))
    assert fingerprint(value).unstable == "value.model['a'][0][0].lock is a _thread.lock"

    def function(x: int = 1) -> object:
        return value

    unstable = fingerprint(function).unstable
    assert unstable.startswith("value.<closure>['value'].model['a']")


def test_container_that_changes_under_the_walk_is_unstable() -> None:
    class Growing:
        def __init__(self, owner: dict[Any, Any]) -> None:
            self.owner = owner

        def __reduce__(self) -> tuple[Any, ...]:
            self.owner[len(self.owner)] = 1
            return Growing, ()

    # So deep that it is walked by hand.
    deep: object = ()
    for _ in range(100):
        deep = [deep]
    owner: dict[Any, Any] = {0: deep}
    owner[1] = Growing(owner)
    unstable = fingerprint([owner]).unstable
    assert unstable == "value[0] is a dict (dictionary changed size during iteration)"


def test_rest_of_an_unstable_value_still_counts() -> None:
    lock = threading.Lock()
    assert fingerprint([lock, 1]) != fingerprint([lock, 2])
    assert fingerprint([lock, 1]) == fingerprint([threading.Lock(), 1])


# Arrays.


def test_large_buffers_are_given_to_the_caller() -> None:
    seen: list[int] = []

    def digest(view: memoryview) -> str:
        assert view.contiguous
        assert view.format == "B"
        seen.append(view.nbytes)
        return blake3_hex(view)

    large = np.zeros((1 << 9, 1 << 7), "M8[s]")
    value = [large, {"b": bytes(1 << 19), "s": bytes(1000)}, large[:5], bytearray(1 << 18)]
    assert stable(value, digest=digest) == stable(value)
    assert sorted(seen) == [1 << 18, 1 << 19, 1 << 19]


KINDS = [
    "f8",
    ">i4",
    "M8[ns]",
    "?",
    "U3",
    "O",
    "i4,f8",
    "i4,g",
    "c16",
    "g",
    np.dtypes.StringDType(),
]


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        *itertools.product([(70, 90), (2, 3, 5), (0, 4), ()], KINDS),
        # Larger than what is read at once, in a row and in all.
        ((2, 600_000), "f8"),
        ((1500, 2, 200), "f8"),
    ],
)
def test_layout_of_an_array_does_not_count(shape: tuple[int, ...], kind: Any) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(kind)
    wide = np.empty([2 * size for size in shape], kind)
    strided: Any = wide[(slice(None, None, 2),) * len(shape) + (...,)]
    strided[...] = array
    assert same(array, strided)
    assert same(array, array.T.copy().T)
    frozen = array.copy()
    frozen.flags.writeable = False
    assert same(array, frozen)
    if array.size > 1 and kind != "?":
        strided[(-1,) * len(shape)] = strided[(0,) * len(shape)]
        assert not same(array, strided)


def test_bytes_between_fields_do_not_count() -> None:
    kind = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    one, other = (np.frombuffer(bytes([fill]) * 48, kind).copy() for fill in (0, 255))
    for array in (one, other):
        array["a"], array["b"] = 1, 2
    assert same(one, other)
    assert same(one[0], other[0])


def test_blocks_of_a_frame_do_not_count() -> None:
    pandas = pytest.importorskip("pandas")
    whole = pandas.DataFrame(np.arange(12.0).reshape(4, 3), columns=list("abc"))
    pieces = pandas.DataFrame({"a": whole["a"].copy()})
    pieces["b"] = whole["b"].to_numpy().copy()
    pieces["c"] = whole["c"].copy()
    assert same(whole, pieces)
    pieces.loc[3, "c"] = -1
    assert not same(whole, pieces)


def test_what_is_under_a_mask_does_not_count() -> None:
    pandas = pytest.importorskip("pandas")
    one = pandas.array([1, 2, None], "Int64")
    other = pandas.array([1, 2, 3], "Int64")
    other[2] = pandas.NA
    assert same(one, other)


def test_chunks_and_slices_of_arrow_data_do_not_count() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    rows = [None if number % 7 == 0 else f"row {number}" for number in range(100_000)]
    parts = pyarrow.chunked_array([rows[:10], rows[10:70_000], rows[70_000:]])
    whole = pyarrow.chunked_array([rows])
    assert same(whole, parts)
    assert same(whole.slice(50, 20), parts.slice(50, 20))
    assert same(pyarrow.array(rows[3:9]), pyarrow.array(rows).slice(3, 6))
    assert not same(pyarrow.array(rows[3:9]), pyarrow.array(rows).slice(3, 7))
    nested = pyarrow.array([[1], None, [2, 3], []] * 50)
    assert same(nested.slice(101, 7), pyarrow.array(nested.to_pylist()[101:108]))


def test_chunks_of_a_polars_frame_do_not_count() -> None:
    polars = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    frame = polars.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})
    assert same(frame, polars.concat([frame[:1], frame[1:]], rechunk=False))
    assert not same(frame, polars.concat([frame[1:], frame[:1]], rechunk=False))


# Functions of the notebook.


def notebook(source: str, *, line: int = 0, file: str = "cell") -> dict[str, Any]:
    """The globals of a notebook in which *source* was run."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile("\n" * line + source, file, "exec"), namespace)
    return namespace


def of_f(source: str, **options: Any) -> str:
    namespace = notebook(source)
    return stable(namespace["f"], namespace=namespace, **options)


USES_A_GLOBAL = "k = 1\ndef g(): return k\ndef f(): return [g() for _ in 'ab']"


def test_function_counts_with_the_globals_that_it_reads() -> None:
    assert of_f(USES_A_GLOBAL) == of_f(f"unused = 3\n{USES_A_GLOBAL}")
    assert of_f(USES_A_GLOBAL) != of_f(USES_A_GLOBAL.replace("k = 1", "k = 2"))
    assert of_f(USES_A_GLOBAL) != of_f(USES_A_GLOBAL.replace("return k", "return -k"))


def test_without_following_globals_only_their_names_count() -> None:
    def without(source: str) -> str:
        return of_f(source, follow_globals=False)

    assert without(USES_A_GLOBAL) == without(USES_A_GLOBAL.replace("return k", "return -k"))
    assert without(USES_A_GLOBAL) != without(USES_A_GLOBAL.replace("in 'ab'", "in 'abc'"))
    assert without(USES_A_GLOBAL) != without(USES_A_GLOBAL.replace("g()", "h()"))
    assert without("def f(x=[1]): pass") != without("def f(x=[2]): pass")


def test_attribute_that_is_called_like_a_global_is_none() -> None:
    source = "def f(x): return x.data\ndata = "
    assert of_f(source + "1") == of_f(source + "2")


def test_name_that_becomes_a_global_counts() -> None:
    assert of_f("def f(x): return len(x)") != of_f("def len(x): return 3\ndef f(x): return len(x)")


def test_method_sees_a_changed_global() -> None:
    source = "k = 1\nclass A:\n  def m(self): return k\n  def n(self): return super().n()\nf = A()"
    assert of_f(source) == of_f(source)
    assert of_f(source) != of_f(source.replace("k = 1", "k = 2"))
    assert of_f(source, follow_globals=False) == of_f(
        source.replace("k = 1", "k = 2"), follow_globals=False
    )


def test_function_of_another_namespace_keeps_its_own_globals() -> None:
    function = notebook("k = 1\ndef f(): return k")["f"]
    assert stable(function, namespace={"k": 2}) == stable(function)
    del function.__globals__["k"]
    assert stable(function, namespace={"k": 2}) != stable(function, namespace={"k": 3})


def test_library_function_counts_by_its_name() -> None:
    assert same(json.dumps, copy.deepcopy(json.dumps))
    assert not same(json.dumps, json.dump)
    module = ModuleType("library")
    exec("def f(): return 1", vars(module))
    # What no import can find counts by its content.
    other = ModuleType("library")
    exec("def f(): return 2", vars(other))
    assert not same(module.f, other.f)


def test_position_in_the_file_does_not_count() -> None:
    source = "def f():\n  class A:\n    x = 7\n    def g(self): self.b = self.a = 1\n  return A"
    digests = {
        stable(notebook(source, line=line, file=f"/tmp/{line}")["f"])
        for line in (0, 1, 6, 300, 70_000)
    }
    assert len(digests) == 1


def test_code_that_ran_often_has_the_same_fingerprint() -> None:
    function = notebook("def f(x):\n  for i in range(9): x = x + i * len('abc')\n  return x")["f"]
    before = stable(function)
    for number in range(3000):
        function(number)
    gc.collect()
    assert stable(function) == before


def test_cache_of_a_function_does_not_count() -> None:
    namespace = notebook("import functools\n@functools.cache\ndef f(x): return x")
    before = stable(namespace["f"])
    namespace["f"](3)
    assert stable(namespace["f"]) == before


def test_empty_cell_differs_from_one_that_holds_none() -> None:
    source = (
        "def make(bind):\n  if bind: x = None\n  return lambda: x\nfull, void = make(1), make(0)"
    )
    namespace = notebook(source)
    assert not same(namespace["full"], namespace["void"])


def test_instance_sees_a_changed_method() -> None:
    source = "class A:\n  def m(self): return 1\nf = A()"
    assert of_f(source) != of_f(source.replace("return 1", "return 2"))


def test_order_of_attributes_does_not_count() -> None:
    one, other = SimpleNamespace(a=1, b=2), SimpleNamespace(b=2, a=1)
    assert same(one, other)
    assert not same(one, SimpleNamespace(a=2, b=1))


def test_attribute_that_repeats_the_base_class_counts_as_inherited() -> None:
    # cloudpickle drops such attributes where both happen to be one object.
    source = "class Base:\n  size = 1000\nclass f(Base):\n  size = 10 ** 3\n  other = 2"
    assert of_f(source) == of_f(source.replace("  size = 10 ** 3\n", ""))
    assert of_f(source) != of_f(source.replace("10 ** 3", "10 ** 4"))


def test_state_that_is_a_pair_is_not_mistaken_for_slots() -> None:
    source = (
        "class A:\n  def __getstate__(self): return {'a': 1}, {'a': 2}\n"
        "  def __setstate__(self, state): pass\nf = A()"
    )
    assert of_f(source) != of_f(source.replace("{'a': 1}, ", "{'a': 3}, "))


def test_digest_reads_as_a_value() -> None:
    assert fingerprint(1) == Fingerprint(stable(1))
    assert hash(fingerprint(1)) == hash(fingerprint(1))


def test_fingerprint_leaves_the_value_as_it_was() -> None:
    iterator = iter([1, 2, 3])
    counter = itertools.count(5)
    stream = io.BytesIO(b"abc")
    stream.read(1)
    stable([iterator, counter, stream, functools.partial(print, timedelta(1))])
    assert (next(iterator), next(counter), stream.read(1)) == (1, 5, b"b")


def test_import_is_cheap() -> None:
    code = "import sys; before = set(sys.modules); import persist_magic.fingerprint as f; "
    result = subprocess.run(
        [sys.executable, "-c", f"{code}f.fingerprint; print(*set(sys.modules) - before)"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    heavy = {"blake3", "numpy", "pandas", "pickle", "cloudpickle", "asyncio", "IPython"}
    assert not heavy.intersection(result.stdout.split())
