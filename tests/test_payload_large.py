"""Large arrays: no copy in memory on either side, and the disk that they need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cells import fetch, index_in, run_cell, send
from persist_magic.blobs import digest_of
from persist_magic.errors import NoSpace
from persist_magic.payload import Dump, dump_all, load_all, write

MiB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def blob_of(directory: Path) -> Path:
    """The only blob of the payload in *directory*."""
    (blob,) = (directory / "blobs").iterdir()
    return blob


def test_writing_to_a_loaded_array_does_not_change_the_file(tmp_path: Path) -> None:
    array = np.arange(8 * MiB, dtype=float)
    send({"array": array}, tmp_path / "p", {})
    blob = blob_of(tmp_path / "p")
    back = fetch(tmp_path / "p", {}).values["array"]
    assert (back == array).all()
    back[:] = -1
    assert (np.fromfile(blob) == array).all()
    assert (fetch(tmp_path / "p", {}).values["array"] == array).all()


@linux
def test_a_loaded_array_is_the_file_itself(tmp_path: Path) -> None:
    send({"array": np.ones(8 * MiB)}, tmp_path / "p", {})
    back = fetch(tmp_path / "p", {}).values["array"]
    address = back.__array_interface__["data"][0]
    assert file_at(address) == str(blob_of(tmp_path / "p"))
    back[0] = 2
    assert file_at(address) == str(blob_of(tmp_path / "p"))


def file_at(address: int) -> str:
    """The file that is mapped at *address*."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        bounds, *_, name = line.split()
        start, end = (int(bound, 16) for bound in bounds.split("-"))
        if start <= address < end:
            return name
    return ""


def test_an_array_stays_readable_when_its_job_is_deleted(tmp_path: Path) -> None:
    send({"array": np.ones(8 * MiB)}, tmp_path / "p", {})
    back = fetch(tmp_path / "p", {}).values["array"]
    blob_of(tmp_path / "p").unlink()
    assert back.sum() == 8 * MiB


# ---- peak memory

_MEASURE = """
import sys, pathlib, numpy, blake3, cloudpickle, cells
from persist_magic.payload import dump_all, load_all, write

place, size = pathlib.Path(sys.argv[2]), int(sys.argv[3])


def memory(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) << 10


def start():
    # What every process needs once, threads for digests among it, is not counted.
    warm = numpy.ones(8 << 20, dtype="u1")
    cells.send({"warm": warm}, place / sys.argv[4], globals())
    cells.fetch(place / sys.argv[4], globals())
    del warm
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return memory("VmRSS")
"""
_DUMP = """
base = start()
array = numpy.ones(size, dtype="u1").view(sys.argv[5])
array = eval(sys.argv[6])
cells.send({"array": array, "other": 1}, place / "p", globals())
print(memory("VmHWM") - base)
"""
_LOAD = """
base = start()
array = cells.fetch(place / "p", globals()).values["array"]
array.max()
array[:] = array[0]
print(memory("VmHWM") - base)
"""


def peaks(place: Path, size: int, dtype: str = "f8", view: str = "array") -> tuple[float, float]:
    """The peak memory of saving and of loading an array, as multiples of *size*, its bytes."""
    saving = run_cell(_MEASURE + _DUMP, place, size, "warm1", dtype, view)
    loading = run_cell(_MEASURE + _LOAD, place, size, "warm2")
    return int(saving) / size, int(loading) / size


@linux
@pytest.mark.parametrize("dtype", ["f8", "M8[ns]"])
def test_saving_and_loading_an_array_takes_no_memory_beside_it(tmp_path: Path, dtype: str) -> None:
    saving, loading = peaks(tmp_path, 128 * MiB, dtype)
    assert saving <= 1.1
    assert loading <= 1.1


@linux
def test_an_array_with_gaps_is_copied_once(tmp_path: Path) -> None:
    saving, loading = peaks(tmp_path, 128 * MiB, view="array[::2]")
    assert saving <= 1.6
    assert loading <= 0.6


@linux
@pytest.mark.timeout(300)
def test_a_gibibyte_is_saved_and_loaded_without_a_copy(tmp_path: Path) -> None:
    saving, loading = peaks(tmp_path, 1024 * MiB)
    assert saving <= 1.1
    assert loading <= 1.1


# ---- the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, timeout=30).returncode == 0
    except FileNotFoundError:
        done = False
    if not done:
        pytest.skip("this user cannot mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=30)


def write_to(
    disk: Path, values: dict[str, Any], *, keep_what_fits: bool
) -> tuple[Path, dict[str, Any], Dump]:
    dumped = dump_all(values, {})
    directory = disk / "a" / "b" / "p"
    directory.mkdir(parents=True)
    index = index_in(disk)
    written = write(dumped, directory, index, durable=True, keep_what_fits=keep_what_fits)
    return directory, written, dumped


def test_a_payload_too_large_for_the_disk_writes_nothing(small_disk: Path) -> None:
    with pytest.raises(NoSpace) as caught:
        write_to(small_disk, {"a": 1, "b": np.ones(2 * MiB)}, keep_what_fits=False)
    assert caught.value.message == (
        f"no space in {small_disk / 'a'}: 17.8 MB are needed, 8.4 MB are free"
    )
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


def test_what_the_index_holds_already_needs_no_space(small_disk: Path) -> None:
    array = np.ones(MiB * 5 // 8)
    index = index_in(small_disk)
    for name in "pq":
        (small_disk / name).mkdir()
        write(dump_all({"a": array}, {}), small_disk / name, index, durable=False)
    back = load_all(small_disk / "q", {}, index).values["a"]
    np.testing.assert_array_equal(back, array)


def test_equal_buffers_need_the_space_of_one(small_disk: Path) -> None:
    array = np.ones(MiB * 5 // 8)
    values = {"a": array, "b": array.copy()}
    directory, _, _ = write_to(small_disk, values, keep_what_fits=False)
    assert sorted(load_all(directory, {}, index_in(small_disk)).values) == ["a", "b"]


@pytest.mark.parametrize("kind", ["beside the stream", "inside the stream"])
def test_on_a_small_disk_the_small_variables_are_kept(small_disk: Path, kind: str) -> None:
    large = np.arange(2 * MiB) if kind == "beside the stream" else "x" * (16 * MiB)
    values = {"large": large, "list": [1], "array": np.ones(MiB // 8), "n": 3}
    directory, written, _ = write_to(small_disk, values, keep_what_fits=True)
    loaded = load_all(directory, {}, index_in(small_disk))
    assert sorted(loaded.values) == ["array", "list", "n"]
    assert list(written["failures"]) == ["large"]
    assert loaded.failures["large"].message.endswith(": no space left on the disk for 16.8 MB")
    assert loaded.failures["large"].hint == "free space and run it again"
    # What was written of the large one does not take the room of the rest.
    assert sum(path.stat().st_size for path in small_disk.rglob("*") if path.is_file()) < 4 * MiB


def test_a_disk_that_is_fuller_than_it_seemed_keeps_what_fits(small_disk: Path) -> None:
    large, small = np.arange(2 * MiB), np.arange(MiB // 8)
    dumped = dump_all({"large": large, "small": small, "list": [1]}, {})
    index = index_in(small_disk)
    # The index seems to hold the large one, but its file was cut.
    digests = [digest_of(buffer) for group in dumped.groups for buffer in group.pickled.buffers]
    for digest in digests:
        (index.directory / digest).write_bytes(b"")
    directory = small_disk / "p"
    directory.mkdir()
    written = write(dumped, directory, index, durable=True, keep_what_fits=True)
    assert list(written["failures"]) == ["large"]
    assert sorted(load_all(directory, {}, index).values) == ["list", "small"]
    assert not list(directory.rglob(".*"))


def test_a_manifest_of_many_variables_is_counted(small_disk: Path) -> None:
    values = {f"v{number}": number for number in range(10_000)}
    with pytest.raises(NoSpace):
        write_to(small_disk, values, keep_what_fits=False)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
