"""Blobs: each buffer is stored once, and never a torn one is taken for whole."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from persist_magic import blobs
from persist_magic.blobs import BlobIndex, digest_of
from persist_magic.errors import Damaged
from persist_magic.machine import boot_id

DATA = bytes(range(256)) * 1024
DIGEST = digest_of(DATA)
VIEW = memoryview(DATA)


@pytest.fixture
def index(tmp_path: Path) -> BlobIndex:
    directory = tmp_path / "index"
    directory.mkdir()
    return BlobIndex(directory)


@pytest.fixture
def user(tmp_path: Path) -> Callable[[], Path]:
    """Where one user after the other keeps the blob."""
    directories = iter(range(100))

    def next_one() -> Path:
        directory = tmp_path / f"user{next(directories)}"
        directory.mkdir()
        return directory / DIGEST

    return next_one


def another_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "boot_id", lambda: "f" * 32)


def test_equal_buffers_are_stored_once(index: BlobIndex, user: Callable[[], Path]) -> None:
    first, second = user(), user()
    assert index.put(VIEW, DIGEST, first, durable=False)
    assert not index.put(memoryview(bytearray(DATA)), DIGEST, second, durable=False)
    assert first.samefile(second)
    assert second.read_bytes() == DATA
    assert index.holds(DIGEST)
    assert not index.holds(digest_of(b"other"))


def test_blob_is_for_its_owner_alone(index: BlobIndex, user: Callable[[], Path]) -> None:
    path = user()
    index.put(VIEW, DIGEST, path, durable=True)
    assert path.stat().st_mode & 0o777 == 0o600


def test_digest_is_that_of_the_content_however_large() -> None:
    large = bytes(9 << 20)
    assert digest_of(large) == digest_of(memoryview(bytearray(large)))
    assert digest_of(b"") != digest_of(b"\0")
    assert len(digest_of(b"")) == 64


def test_unsynced_blob_is_not_used_after_the_machine_was_restarted(
    index: BlobIndex, user: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = user(), user()
    index.put(VIEW, DIGEST, first, durable=False)
    # A crash of the machine may leave any part of it, at its full size.
    first.write_bytes(bytes(len(DATA)))
    another_boot(monkeypatch)
    assert not index.holds(DIGEST)
    assert index.put(VIEW, DIGEST, second, durable=False)
    assert second.read_bytes() == DATA


def test_synced_blob_is_used_after_the_machine_was_restarted(
    index: BlobIndex, user: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = user(), user()
    index.put(VIEW, DIGEST, first, durable=True)
    another_boot(monkeypatch)
    assert not index.put(VIEW, DIGEST, second, durable=False)
    assert first.samefile(second)


def test_blob_that_must_last_is_synced_before_it_is_used_for_good(
    index: BlobIndex, user: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = user(), user(), user()
    synced = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    index.put(VIEW, DIGEST, first, durable=False)
    assert synced == []
    assert not index.put(VIEW, DIGEST, second, durable=True)
    assert synced == [first.stat().st_ino]
    another_boot(monkeypatch)
    assert not index.put(VIEW, DIGEST, third, durable=True)
    assert first.samefile(third)


def test_truncated_blob_is_not_linked_again(index: BlobIndex, user: Callable[[], Path]) -> None:
    first, second, third = user(), user(), user()
    index.put(VIEW, DIGEST, first, durable=True)
    os.truncate(first, 1000)
    assert index.put(VIEW, DIGEST, second, durable=False)
    assert second.read_bytes() == DATA
    assert not index.put(VIEW, DIGEST, third, durable=False)
    assert second.samefile(third)


def test_blob_that_was_set_aside_is_written_anew(
    index: BlobIndex, user: Callable[[], Path]
) -> None:
    first, second = user(), user()
    index.put(VIEW, DIGEST, first, durable=False)
    index.put(VIEW, DIGEST, user(), durable=True)
    index.set_aside(DIGEST)
    index.set_aside(DIGEST)
    assert index.put(VIEW, DIGEST, second, durable=False)
    assert not first.samefile(second)


def test_sweep_frees_what_nobody_holds_and_nothing_else(
    index: BlobIndex, user: Callable[[], Path]
) -> None:
    held, gone = user(), user()
    other = memoryview(b"other" * 1000)
    index.put(VIEW, DIGEST, held, durable=False)
    index.put(other, digest_of(other), gone, durable=True)
    (index.directory / ".nfs0001").write_bytes(b"not ours")
    assert index.sweep() == 0
    gone.unlink()
    assert index.sweep([DIGEST]) == 0
    assert index.sweep() == other.nbytes
    assert not index.put(VIEW, DIGEST, user(), durable=False)
    assert (index.directory / ".nfs0001").exists()
    assert len(list(index.directory.iterdir())) == 2


def test_sweep_frees_a_blob_that_was_synced_after_it_was_written(
    index: BlobIndex, user: Callable[[], Path]
) -> None:
    first, second = user(), user()
    index.put(VIEW, DIGEST, first, durable=False)
    index.put(VIEW, DIGEST, second, durable=True)
    # As if the process had died between the two.
    os.link(first, index.directory / f"{DIGEST}.{boot_id()[:12]}")
    first.unlink()
    second.unlink()
    assert index.sweep([DIGEST]) == len(DATA)
    assert list(index.directory.iterdir()) == []


def test_sweep_frees_what_was_written_before_the_machine_was_restarted(
    index: BlobIndex, user: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = user()
    index.put(VIEW, DIGEST, path, durable=False)
    another_boot(monkeypatch)
    path.unlink()
    assert index.sweep([DIGEST]) == len(DATA)
    assert list(index.directory.iterdir()) == []


def test_adopted_blob_is_linked_and_known(
    index: BlobIndex, user: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = user(), user()
    index.put(VIEW, DIGEST, first, durable=False)
    index.set_aside(DIGEST)
    index.adopt(first, DIGEST, second, durable=True)
    assert first.samefile(second)
    another_boot(monkeypatch)
    assert not index.put(VIEW, DIGEST, user(), durable=False)


def test_without_hard_links_everything_is_copied(
    index: BlobIndex, user: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(source: object, target: object) -> NoReturn:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    first, second, third = user(), user(), user()
    assert index.put(VIEW, DIGEST, first, durable=True)
    assert index.put(VIEW, DIGEST, second, durable=True)
    index.adopt(first, DIGEST, third, durable=False)
    assert {path.read_bytes() for path in (first, second, third)} == {DATA}
    assert index.sweep() == 0


def test_blob_with_all_the_links_a_file_can_have_gives_way_to_a_new_one(
    index: BlobIndex, user: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = user(), user(), user()
    index.put(VIEW, DIGEST, first, durable=True)
    full = first.stat().st_ino
    link = os.link

    def limited(source: Path, target: Path) -> None:
        if os.stat(source).st_ino == full:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        link(source, target)

    monkeypatch.setattr(os, "link", limited)
    assert index.put(VIEW, DIGEST, second, durable=True)
    assert not index.put(VIEW, DIGEST, third, durable=True)
    assert second.samefile(third)


def test_failed_write_leaves_nothing(
    index: BlobIndex, user: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = user()
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        index.put(VIEW, DIGEST, path, durable=False)
    assert list(path.parent.iterdir()) == []
    assert list(index.directory.iterdir()) == []


# ---- loading


@pytest.fixture(params=["local", "network"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kind of file system that the blobs seem to be on."""
    name: str = request.param
    monkeypatch.setattr(blobs, "is_local", lambda path: name == "local")
    return name


def test_loaded_memory_is_private_and_writable(tmp_path: Path, kind: str) -> None:
    path = tmp_path / DIGEST
    path.write_bytes(DATA)
    loaded = blobs.load(path, len(DATA), DIGEST)
    assert loaded == DATA
    assert isinstance(loaded.obj, mmap.mmap if kind == "local" else bytearray)
    loaded[:4] = b"mine"
    again = blobs.load(path, len(DATA), DIGEST)
    assert path.read_bytes() == again == DATA
    path.unlink()
    assert bytes(loaded[:4]) == b"mine"
    assert loaded[4:] == DATA[4:]


def test_empty_blob_can_be_loaded(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert blobs.load(path, 0, digest_of(b"")).nbytes == 0


def test_damage_is_an_error_that_names_the_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / DIGEST
    for content, words in (
        (b"x" + DATA[1:], "digest differs"),
        (DATA[:-1], f"has {len(DATA) - 1} bytes, {len(DATA)} were written"),
        (DATA + b"x", f"has {len(DATA) + 1} bytes"),
        (None, "No such file"),
    ):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(Damaged, match=words) as caught:
            blobs.load(path, len(DATA), DIGEST)
        assert str(path) in caught.value.message
        assert caught.value.hint


def test_link_to_elsewhere_is_damage(tmp_path: Path, kind: str) -> None:
    (tmp_path / "elsewhere").write_bytes(DATA)
    (tmp_path / DIGEST).symlink_to("elsewhere")
    with pytest.raises(Damaged, match="cannot be read"):
        blobs.load(tmp_path / DIGEST, len(DATA), DIGEST)


def test_lack_of_descriptors_is_not_taken_for_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(path: object, flags: int) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", none_left)
    with pytest.raises(OSError, match="Too many open files"):
        blobs.load(tmp_path / DIGEST, len(DATA), DIGEST)


@pytest.mark.parametrize("content", [b"", DATA])
def test_copy_is_a_file_of_its_own(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "source").write_bytes(content)
    blobs.copy_file(tmp_path / "source", tmp_path / "copy", sync=True)
    (tmp_path / "source").write_bytes(b"changed")
    assert (tmp_path / "copy").read_bytes() == content
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
