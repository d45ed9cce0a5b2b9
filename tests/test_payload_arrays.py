"""Arrays and frames: as they were, the large beside the stream, sharing memory where they did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cells import fetch, send
from persist_magic.payload import dump_all, read_manifest

COUNT = 100_000
Array = np.ndarray[Any, Any]


def sent(value: Any, directory: Path) -> tuple[Any, int, list[int]]:
    """*value* as it comes back, the size of its stream, and those of the buffers beside it."""
    send({"v": value}, directory / "p", {})
    manifest = read_manifest(directory / "p")
    assert manifest is not None
    group = manifest["groups"][0]
    loaded = fetch(directory / "p", {})
    assert not loaded.failures
    return loaded.values["v"], group["size"], [buffer["size"] for buffer in group["buffers"]]


def assert_alike(array: Array, other: Array) -> None:
    """Two arrays are equal in content, element type, order and what may be done with them."""
    assert type(array) is type(other)
    assert array.dtype == other.dtype
    np.testing.assert_array_equal(array, other)
    assert array.flags.writeable == other.flags.writeable
    assert array.flags.f_contiguous == other.flags.f_contiguous or not array.flags.c_contiguous


def read_only(array: Array) -> Array:
    array.flags.writeable = False
    return array


records = np.zeros(COUNT, dtype=[("a", "i4"), ("b", "f8", 2)])
dates = np.arange(COUNT).astype("M8[s]")

LARGE: dict[str, Array] = {
    "numbers": np.arange(COUNT, dtype=float),
    "in Fortran's order": np.asfortranarray(np.arange(COUNT, dtype=float).reshape(100, -1)),
    "of three axes in another order": np.zeros((50, 40, 50)).transpose(1, 2, 0),
    "read-only": read_only(np.arange(COUNT, dtype=float)),
    "complex": np.ones(COUNT, dtype=complex),
    "truth values": np.ones(COUNT * 8, dtype=bool),
    "text": np.full(COUNT, "abc", dtype="U4"),
    "bytes": np.full(COUNT, b"abc", dtype="S8"),
    "records": records,
    "big-endian": np.arange(COUNT, dtype=">f8"),
    "dates": dates,
    "dates, read-only": read_only(dates.copy()),
    "dates in Fortran's order": np.asfortranarray(dates.reshape(100, -1)),
    "durations": np.arange(COUNT).astype("m8[ms]"),
    "with gaps": np.arange(2 * COUNT, dtype=float)[::2],
    "with gaps, read-only": read_only(np.arange(2 * COUNT, dtype=float)[::2]),
    "backwards": np.arange(COUNT, dtype=float)[::-1],
    "a part of the columns": np.zeros((1000, 200))[:, 10:110],
    "dates with gaps": np.arange(2 * COUNT).astype("M8[s]")[::2],
    "one field of records": records["a"],
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_array_is_kept_beside_the_stream(tmp_path: Path, kind: str) -> None:
    array = LARGE[kind]
    back, stream, buffers = sent(array, tmp_path)
    assert_alike(array, back)
    assert stream < 1000
    assert buffers == [array.nbytes]
    if array.flags.writeable:
        back[...] = back[::-1].copy()
        assert_alike(array, LARGE[kind])


SMALL: dict[str, Array] = {
    "of no axes": np.array(3.5),
    "empty": np.zeros((0, 3)),
    "empty dates": np.zeros(0, dtype="M8[s]"),
    "objects": np.array([1, "a", None, [2]], dtype=object),
    "many objects": np.array([{"a": 1}] * COUNT, dtype=object),
    "masked": np.ma.masked_less(np.arange(5), 3),
    "a view of records": np.zeros(3, dtype=[("a", "i4")]).view(np.recarray),
    "records without fields": np.zeros(3, dtype=[]),
}


@pytest.mark.parametrize("kind", SMALL)
def test_any_other_array_comes_back_as_it_was(tmp_path: Path, kind: str) -> None:
    back, _, _ = sent(SMALL[kind], tmp_path)
    assert_alike(SMALL[kind], back)


FRAMES: dict[str, Callable[[], Any]] = {
    "numbers": lambda: pd.DataFrame({"a": np.arange(COUNT, dtype=float), "b": 1.5}),
    "dates": lambda: pd.DataFrame({"a": pd.date_range("2020", periods=COUNT, freq="s")}),
    "dates with a zone": lambda: pd.Series(
        pd.date_range("2020", periods=COUNT, freq="s", tz="Europe/Berlin")
    ),
    "categories": lambda: pd.Series(
        pd.Categorical.from_codes(np.tile(np.array([0, 1], "i1"), 2 * COUNT), ["a", "b"])
    ),
    "nullable numbers": lambda: pd.Series(
        pd.arrays.IntegerArray(np.arange(4 * COUNT), np.arange(4 * COUNT) % 2 == 0)
    ),
    "an index of dates": lambda: pd.Series(
        1.0, index=pd.date_range("2020", periods=COUNT, freq="s")
    ),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_large_frame_is_kept_beside_the_stream(tmp_path: Path, kind: str) -> None:
    frame = FRAMES[kind]()
    back, stream, buffers = sent(frame, tmp_path)
    assert frame.equals(back)
    assert frame.index.equals(back.index)
    assert stream < 5000
    assert sum(buffers) >= 4 * COUNT
    back.iloc[0] = back.iloc[1]


def test_a_large_frame_of_text_is_kept_beside_the_stream(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"text": pd.array([f"text {n}" for n in range(COUNT)], dtype="string")})
    if not hasattr(frame["text"].array, "_pa_array"):
        pytest.skip("this pandas keeps text as objects")
    back, stream, _ = sent(frame, tmp_path)
    pd.testing.assert_frame_equal(frame, back)
    assert stream < 5000


# ---- memory that is shared


def test_equal_arrays_are_one_file_and_two_memories(tmp_path: Path) -> None:
    values = {"a": np.ones(COUNT), "b": [np.ones(COUNT), np.ones(COUNT)]}
    send(values, tmp_path / "p", {})
    assert len(list((tmp_path / "p" / "blobs").iterdir())) == 1
    back = fetch(tmp_path / "p", {}).values
    back["a"][0], back["b"][0][0] = 2, 3
    assert (back["a"][0], back["b"][0][0], back["b"][1][0]) == (2, 3, 1)


VIEWS: dict[str, Callable[[Array], Array]] = {
    "rows": lambda base: base[2:5],
    "columns": lambda base: base[:, 1::2],
    "backwards": lambda base: base[::-1, ::-1],
    "turned": lambda base: base.T,
    "as bytes": lambda base: base.view("u1"),
    "one number": lambda base: base[1, 1, ...],
    "broadcast": lambda base: np.broadcast_to(base[0], (100, base.shape[1])),
}


@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.parametrize("size", [10, 1000])
def test_a_view_still_shows_its_base(tmp_path: Path, kind: str, size: int) -> None:
    base = np.arange(size * 100, dtype=float).reshape(size, 100).copy()
    view = VIEWS[kind](base)
    dumped = send({"view": view, "held": {"base": [base]}, "other": 1}, tmp_path / "p", {})
    assert dumped.size < base.nbytes + 3000
    back = fetch(tmp_path / "p", {}).values
    assert_alike(view, back["view"])
    assert_alike(base, back["held"]["base"][0])
    back["held"]["base"][0][...] = -1
    np.testing.assert_array_equal(back["view"], VIEWS[kind](np.full_like(base, -1)))


def test_a_view_and_its_base_still_share_memory_after_another_trip(tmp_path: Path) -> None:
    base = np.arange(20).reshape(4, 5)
    send({"base": base, "view": base[1]}, tmp_path / "p", {})
    there = fetch(tmp_path / "p", {}).values
    send(there, tmp_path / "q", {})
    back = fetch(tmp_path / "q", {}).values
    back["base"][1] = 7
    assert back["view"].tolist() == [7] * 5


def test_views_that_overlap_share_memory_without_their_base(tmp_path: Path) -> None:
    base = np.arange(10)
    send({"a": base[:8], "b": base[4:]}, tmp_path / "p", {})
    back = fetch(tmp_path / "p", {}).values
    back["a"][4] = 99
    assert back["b"][0] == 99


def test_a_small_view_does_not_bring_a_large_base() -> None:
    base = np.arange(10 * COUNT)
    dumped = dump_all({"a": base[:10], "b": base[5:15]}, {})
    assert dumped.size < 3000


def test_parts_of_an_array_that_do_not_overlap_are_saved_apart() -> None:
    base = np.arange(10)
    assert len(dump_all({"a": base[:5], "b": base[5:]}, {}).groups) == 2


def test_a_frame_and_the_array_it_copied_are_saved_apart() -> None:
    array = np.arange(6.0).reshape(3, 2)
    frame = pd.DataFrame(array.copy())
    assert len(dump_all({"array": array, "frame": frame}, {}).groups) == 2
