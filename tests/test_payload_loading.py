"""A saved payload that is damaged, or needs what is not here: named, and at no other's cost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cells import fetch, index_in, run_cell, send
from persist_magic.errors import Damaged
from persist_magic.payload import load_all, read_manifest

# Larger than what is kept inside the stream.
LARGE = 100_000


class Fussy:
    """An object that raises what its state says when it is loaded."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise state["error"]("no way")


def test_a_class_that_refuses_its_state_costs_no_other(tmp_path: Path) -> None:
    send({"a": 1, "fussy": [Fussy(ValueError)], "b": [2]}, tmp_path / "p", {})
    loaded = fetch(tmp_path / "p", {})
    assert loaded.values == {"a": 1, "b": [2]}
    assert loaded.failures["fussy"].message == "'fussy' cannot be loaded here: ValueError: no way"


def test_an_interrupt_while_loading_is_not_swallowed(tmp_path: Path) -> None:
    send({"fussy": Fussy(KeyboardInterrupt)}, tmp_path / "p", {})
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path / "p", {})


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory with a module that only a process with this path can import."""
    directory = tmp_path / "elsewhere"
    (directory / "only_there").mkdir(parents=True)
    (directory / "only_there" / "__init__.py").write_text("")
    (directory / "only_there" / "inner.py").write_text("class Thing: pass\n")
    return directory


SAVE = """
import sys, pathlib, cells
from only_there.inner import Thing
class Mine:
    held = Thing()
    def get(self): return 42
first, second = Mine(), Mine()
values = {name: globals()[name] for name in ("first", "second")}
values.update(a=1, thing=Thing(), b=[Thing], c=[3])
cells.send(values, pathlib.Path(sys.argv[2]), globals())
"""


def test_a_module_that_is_missing_here_is_named(tmp_path: Path, elsewhere: Path) -> None:
    run_cell(SAVE, tmp_path / "p", path=elsewhere)
    loaded = fetch(tmp_path / "p", {})
    assert loaded.values == {"a": 1, "c": [3]}
    assert sorted(loaded.failures) == ["b", "first", "second", "thing"]
    error = loaded.failures["thing"]
    assert error.message == ("'thing' needs the module 'only_there', which cannot be imported here")
    assert error.hint == "install 'only_there' here, then fetch again"


def test_a_class_that_could_not_be_completed_is_not_used_later(
    tmp_path: Path, elsewhere: Path
) -> None:
    run_cell(SAVE, tmp_path / "p", path=elsewhere)
    said = run_cell(
        "import sys, pathlib, cells\np = pathlib.Path(sys.argv[2])\n"
        "before = cells.fetch(p, globals())\nsys.path.append(sys.argv[3])\n"
        "after = cells.fetch(p, globals())\n"
        "print(len(before.failures), len(after.failures))\n"
        "print(after.values['first'].get(), type(after.values['second'].held).__name__)\n"
        "print(type(after.values['first']) is type(after.values['second']))",
        tmp_path / "p",
        elsewhere,
    )
    assert said.split() == ["4", "0", "42", "Thing", "True"]


# ---- files


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_link(path: Path) -> None:
    copy = path.with_name("elsewhere")
    path.rename(copy)
    path.symlink_to(copy)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


HARM: list[Callable[[Path], None]] = [
    flip_a_bit,
    cut,
    Path.unlink,
    replace_by_directory,
    replace_by_link,
    replace_by_pipe,
]


@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_blob_is_named_and_set_aside(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    good, bad = np.zeros(LARGE), np.ones(LARGE)
    dumped = send({"good": good, "bad": bad, "small": 3}, tmp_path / "p", {})
    digests = {entry["names"][0]: entry["buffers"] for entry in manifest_of(tmp_path)["groups"]}
    assert {group.names for group in dumped.groups} == {("good",), ("bad",), ("small",)}
    digest = digests["bad"][0]["digest"]
    index = index_in(tmp_path)
    assert index.holds(digest)
    harm(tmp_path / "p" / "blobs" / digest)
    loaded = fetch(tmp_path / "p", {})
    assert loaded.values["small"] == 3
    assert (loaded.values["good"] == good).all()
    assert str(tmp_path / "p" / "blobs" / digest) in loaded.failures["bad"].message
    assert not index.holds(digest)
    assert index.holds(digests["good"][0]["digest"])


@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_stream_is_named(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    send({"a": list(range(100))}, tmp_path / "p", {})
    harm(tmp_path / "p" / "data")
    loaded = fetch(tmp_path / "p", {})
    assert not loaded.values
    assert str(tmp_path / "p" / "data") in loaded.failures["a"].message


def test_damage_in_one_stream_costs_no_other(tmp_path: Path) -> None:
    send({"a": [1], "b": "x" * 1000, "c": [3]}, tmp_path / "p", {})
    path = tmp_path / "p" / "data"
    path.write_bytes(path.read_bytes().replace(b"xx", b"yy", 1))
    loaded = fetch(tmp_path / "p", {})
    assert loaded.values == {"a": [1], "c": [3]}
    assert (
        loaded.failures["b"].message == f"'b': {path} is not what was written: its digest differs"
    )


def manifest_of(directory: Path) -> dict[str, Any]:
    found = read_manifest(directory / "p")
    assert found is not None
    return found


def test_a_payload_without_a_manifest_is_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path / "p") is None
    assert load_all(tmp_path / "p", {}, index_in(tmp_path)).values == {}


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no groups": lambda manifest: manifest.pop("groups"),
    "a group without names": lambda manifest: manifest["groups"][0].pop("names"),
    "a negative place": lambda manifest: manifest["groups"][0].update(at=-1),
    "a size in words": lambda manifest: manifest["groups"][0].update(size="much"),
    "a digest that is a path": lambda manifest: manifest["groups"][0]["buffers"].append(
        {"size": 1, "digest": "../../data"}
    ),
    "failures in a list": lambda manifest: manifest.update(failures=[]),
    "notices of nobody": lambda manifest: manifest.update(notices=[{}]),
}


@pytest.mark.parametrize("way", BREAKS)
def test_a_manifest_that_is_not_whole_is_named(tmp_path: Path, way: str) -> None:
    send({"a": 1}, tmp_path / "p", {})
    path = tmp_path / "p" / "manifest.json"
    manifest = json.loads(path.read_text())
    BREAKS[way](manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(Damaged) as caught:
        fetch(tmp_path / "p", {})
    assert str(path) in caught.value.message


def test_a_place_beyond_the_stream_is_damage(tmp_path: Path) -> None:
    send({"a": 1, "b": 2}, tmp_path / "p", {})
    path = tmp_path / "p" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["groups"][0]["size"] = 1 << 60
    path.write_text(json.dumps(manifest))
    loaded = fetch(tmp_path / "p", {})
    assert len(loaded.failures) == 1
    assert len(loaded.values) == 1
