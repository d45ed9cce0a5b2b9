"""The root: where it is found, whom it is kept from, and what happens where it cannot be."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from crashing import Buffer
from persist_magic import Job, persist, read_job
from persist_magic import facts as files
from persist_magic.errors import JobNotFound, NoSpace, PersistError, RootRefused
from persist_magic.jobs import current_store
from persist_magic.root import display_path, find_root
from persist_magic.store import Store

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts file systems in memory; options as for `mount -o`."""
    mounts: list[Path] = []

    def mount(name: str, options: str) -> Path:
        point = tmp_path / name
        point.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("file systems cannot be mounted here")
        mounts.append(point)
        return point

    yield mount
    for point in mounts:
        subprocess.run(["umount", "-l", str(point)], check=True)


# ---- finding


def test_nearest_root_at_or_above_is_found(root: Path) -> None:
    inner = root / "a" / "b"
    inner.mkdir(parents=True)
    assert find_root(inner) == (inner / ".persist", "")
    (root / ".persist").mkdir()
    assert find_root(inner) == (root / ".persist", "")
    (root / "a" / ".persist").mkdir()
    assert find_root(inner) == (root / "a" / ".persist", "")
    assert find_root(root / "a") == (root / "a" / ".persist", "")


def test_file_called_persist_is_no_root(root: Path) -> None:
    (root / "a").mkdir()
    (root / ".persist").mkdir()
    (root / "a" / ".persist").touch()
    assert find_root(root / "a") == (root / ".persist", "")


def test_given_root_is_taken_as_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".persist").mkdir()
    monkeypatch.setenv("HOME", str(root / "home"))
    assert find_root(root, "elsewhere") == (root / "elsewhere", "")
    assert find_root(root, "~/jobs") == (root / "home" / "jobs", "")
    monkeypatch.setenv("PERSIST_ROOT", str(root / "named"))
    assert current_store().root == root / "named"


def test_search_ends_at_the_home_directory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = root / "users" / "me"
    work = home / "work"
    work.mkdir(parents=True)
    (root / ".persist").mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert find_root(work) == (work / ".persist", "")
    (home / ".persist").mkdir()
    assert find_root(work) == (home / ".persist", "")
    assert find_root(home) == (home / ".persist", "")


def test_search_ends_at_a_home_directory_that_is_a_link(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "disk" / "me").mkdir(parents=True)
    (root / "home").symlink_to(root / "disk" / "me")
    (root / "disk" / ".persist").mkdir()
    monkeypatch.setenv("HOME", str(root / "home"))
    monkeypatch.chdir(root / "home")
    assert find_root(Path.cwd()) == (root / "disk" / "me" / ".persist", "")


def test_user_without_a_home_directory_has_a_root(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert find_root(root) == (root / ".persist", "")
    assert display_path(root) == str(root)


@as_root
def test_root_of_another_user_is_passed_over_and_said_so(root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / ".persist").mkdir()
    (root / "a" / ".persist").mkdir()
    os.chown(root / "a" / ".persist", NOBODY, NOBODY)
    found, notice = find_root(root / "a" / "b")
    assert found == root / ".persist"
    assert notice == f"{root / 'a' / '.persist'} belongs to another user and is passed over"


def test_search_ends_at_a_mount(root: Path, mounted: Callable[..., Path]) -> None:
    disk = mounted("project/disk", "size=1m")
    (disk / "work").mkdir()
    (root / ".persist").mkdir()
    assert find_root(disk / "work") == (disk / "work" / ".persist", "")
    (disk / ".persist").mkdir()
    assert find_root(disk / "work") == (disk / ".persist", "")


# ---- trust


@pytest.mark.parametrize("mask", [0, 0o777])
def test_root_is_for_its_owner_alone_whatever_the_umask(root: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        persist(abs, "job", args=(-1,)).fetch(60)
    finally:
        os.umask(before)
    made = root / ".persist"
    for path in (made, *made.rglob("*")):
        if not path.is_symlink():
            kind = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == kind, path


def test_root_is_hidden_from_git_as_long_as_the_user_likes(root: Path) -> None:
    persist(abs, "job", args=(-1,)).fetch(60)
    assert (root / ".persist" / ".gitignore").read_text() == "*\n"
    (root / ".persist" / ".gitignore").write_text("blobs\n")
    Store(root / ".persist").prepare()
    assert (root / ".persist" / ".gitignore").read_text() == "blobs\n"


@pytest.mark.parametrize(("name", "mode"), [(".", 0o770), (".", 0o702), ("jobs", 0o720)])
def test_root_that_others_can_write_to_is_refused_with_what_mends_it(
    root: Path, name: str, mode: int
) -> None:
    persist(abs, "job", args=(-1,)).fetch(60)
    directory = root / ".persist" / name
    directory.chmod(mode)
    with pytest.raises(RootRefused, match=f"can be written by other users .mode {mode:04o}"):
        persist(abs, "other", args=(-1,))
    with pytest.raises(RootRefused) as caught:
        read_job("job")
    assert caught.value.hint == f"make it yours alone: chmod go-w {directory}"
    subprocess.run(caught.value.hint.partition(": ")[2], shell=True, check=True)
    assert read_job("job").fetch() == 1


@as_root
def test_root_of_another_user_is_refused(root: Path) -> None:
    persist(abs, "job", args=(-1,)).fetch(60)
    os.chown(root / ".persist" / "jobs", NOBODY, NOBODY)
    with pytest.raises(RootRefused, match=f"belongs to another user \\(uid {NOBODY}\\)") as caught:
        read_job("job")
    assert "PERSIST_ROOT" in caught.value.hint


# ---- where it cannot be


def refused_in_two_lines(error: PersistError) -> None:
    lines = error._render_traceback_()
    assert len(lines) == 2
    assert "PERSIST_ROOT" in lines[1]


def test_file_in_the_way_of_the_root_is_said_in_two_lines(root: Path) -> None:
    (root / ".persist").touch()
    with pytest.raises(RootRefused, match="File exists") as caught:
        persist(abs, "job", args=(-1,))
    refused_in_two_lines(caught.value)


def test_disk_that_cannot_be_written_is_said_in_two_lines(
    mounted: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = mounted("disk", "size=1m,ro")
    with pytest.raises(RootRefused, match="Read-only file system") as caught:
        persist(abs, "job", args=(-1,), root=disk / "below" / ".persist")
    refused_in_two_lines(caught.value)


@as_root
def test_directory_of_another_user_is_said_in_two_lines(root: Path) -> None:
    root.chmod(0o755)
    script = (
        "import os, sys\nsys.path[:] = sys.argv[1].split(':')\n"
        "from persist_magic.store import Store\nfrom pathlib import Path\n"
        f"os.setuid({NOBODY})\n"
        "try:\n    Store(Path('.persist')).prepare()\n"
        "except Exception as error:\n    print(*error._render_traceback_(), sep='\\n')\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script, ":".join(sys.path)], capture_output=True, text=True
    ).stdout.splitlines()
    assert len(shown) == 2, shown
    assert shown[0] == "RootRefused: jobs cannot be kept in .persist: Permission denied"


def nothing_is_left(root: Path) -> None:
    store = Store(root)
    assert store.by_name() == {}
    for directory in (store.jobs, store.making, store.blobs.directory):
        assert files.listing(directory) == frozenset()


def test_submission_that_does_not_fit_is_refused_and_leaves_nothing(
    root: Path, mounted: Callable[..., Path]
) -> None:
    disk = mounted("disk", "size=2m,mode=0755")
    with pytest.raises(NoSpace, match=r"3\.1 MB|4\.2 MB|are needed") as caught:
        persist(zlib.crc32, "job", args=(Buffer(bytes(3 << 20)),), root=disk / ".persist")
    refused_in_two_lines(caught.value)
    nothing_is_left(disk / ".persist")


def test_disk_that_fills_up_during_the_submission_leaves_nothing(
    root: Path, mounted: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = mounted("disk", "size=2m,mode=0755")
    # As if another process had taken the space between the look and the writing.
    free = SimpleNamespace(f_bavail=1 << 30, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: free)
    with pytest.raises(NoSpace) as caught:
        persist(zlib.crc32, "job", args=(Buffer(bytes(3 << 20)),), root=disk / ".persist")
    refused_in_two_lines(caught.value)
    nothing_is_left(disk / ".persist")


def test_jobs_can_be_deleted_from_a_full_disk(root: Path, mounted: Callable[..., Path]) -> None:
    disk = mounted("disk", "size=4m,mode=0755")
    job: Job = persist(zlib.crc32, "job", args=(Buffer(),), root=disk / ".persist")
    job.fetch(60)
    filler = disk / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert os.statvfs(disk).f_bavail == 0
    job.cleanup()
    nothing_is_left(disk / ".persist")
    with pytest.raises(JobNotFound):
        read_job("job", disk / ".persist")
    filler.unlink()
    assert persist(abs, "job", args=(-1,), root=disk / ".persist").fetch(60) == 1
