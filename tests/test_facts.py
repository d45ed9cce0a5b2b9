"""Fact files: one writer wins, no reader sees a part, and what is no fact says nothing."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from persist_magic import facts

FILES = 60

# Each of several processes tries to be the first to write each of many files.
_WRITER = """
import os, sys, time
from pathlib import Path
from persist_magic import facts

def refused(*names, **options):
    raise PermissionError(1, "Operation not permitted")

directory, number, links, start = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
if links == "no links":
    os.link = refused
while time.time() < start:
    pass
for file in range(int(sys.argv[5])):
    if facts.write_json_once(directory / f"{file}.json", {"by": number, "pad": "x" * 5000}):
        print(file)
"""


@pytest.fixture
def umask() -> Iterator[None]:
    """Puts the umask back."""
    before = os.umask(0)
    os.umask(before)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("links", ["links", "no links"])
def test_one_process_wins_each_file(tmp_path: Path, links: str) -> None:
    start = time.time() + 0.5
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), str(n), links, str(start), str(FILES)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    won = [(n, int(file)) for n, w in enumerate(writers) for file in w.communicate()[0].split()]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert sorted(file for _, file in won) == list(range(FILES))
    for number, file in won:
        fact = facts.read_json(tmp_path / f"{file}.json")
        assert fact is not None
        assert fact["by"] == str(number)
    assert facts.listing(tmp_path) == {f"{file}.json" for file in range(FILES)}


def test_fact_is_on_the_disk_when_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    facts.write_once(tmp_path / "fact", b"data")
    (tmp_path / "by").mkdir()
    facts.point(tmp_path / "name", "target", by=tmp_path / "by")
    fact = (tmp_path / "fact").stat().st_ino
    assert synced == [fact, tmp_path.stat().st_ino, tmp_path.stat().st_ino]


def test_second_writer_changes_nothing_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "fact.json"
    assert facts.write_json_once(path, {"a": 1})
    assert not facts.write_json_once(path, {"a": 2})
    assert facts.read_json(path) == {"a": 1}
    assert facts.listing(tmp_path) == {"fact.json"}


def test_link_whose_answer_was_lost_is_a_link_that_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def answer_lost(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    monkeypatch.setattr(os, "link", answer_lost)
    assert facts.write_once(tmp_path / "fact", b"mine")
    assert (tmp_path / "fact").read_bytes() == b"mine"


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    for write in (facts.write_once, facts.replace):
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path / "fact", b"data")
    assert facts.listing(tmp_path) == frozenset()


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    facts.write_new(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_new_file_is_not_written_over_another(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"first")
    (tmp_path / "link").symlink_to("target")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            facts.write_new(tmp_path / name, b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("mask", [0, 0o777])
def test_umask_neither_opens_nor_closes_what_is_made(
    tmp_path: Path, mask: int, umask: None
) -> None:
    os.umask(mask)
    directory = tmp_path / "directory"
    facts.make_directory(directory)
    facts.write_new(directory / "new", b"data")
    facts.write_once(directory / "fact", b"data")
    facts.replace(directory / "replaced", b"data")
    assert mode_of(directory) == 0o700
    assert {mode_of(path) for path in directory.iterdir()} == {0o600}


def test_directory_keeps_the_group_it_inherits(tmp_path: Path, umask: None) -> None:
    tmp_path.chmod(0o2777)
    os.umask(0o777)
    facts.make_directory(tmp_path / "inner")
    assert (tmp_path / "inner").stat().st_mode & stat.S_ISGID
    assert mode_of(tmp_path / "inner") & 0o777 == 0o700


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"7", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a": 1} x'],
    ids=["empty", "torn", "list", "number", "null", "bytes", "deep", "trailing"],
)
def test_file_that_is_no_fact_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fact.json").write_bytes(content)
    assert facts.read_json(tmp_path / "fact.json") is None


def test_reading_neither_follows_links_nor_waits_for_pipes(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text('{"a": 1}')
    (tmp_path / "link.json").symlink_to("real.json")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "directory.json").mkdir()
    for name in ("link.json", "pipe.json", "directory.json", "absent.json"):
        assert facts.read_json(tmp_path / name) is None


def test_reading_a_directory_does_not_use_up_descriptors(tmp_path: Path) -> None:
    before = os.open(os.devnull, os.O_RDONLY)
    os.close(before)
    for _ in range(20):
        assert facts.read_json(tmp_path) is None
    after = os.open(os.devnull, os.O_RDONLY)
    os.close(after)
    assert after == before


def test_listing_of_nothing_is_empty(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert facts.listing(tmp_path) == {"file"}
    assert facts.listing(tmp_path / "file") == frozenset()
    assert facts.listing(tmp_path / "absent") == frozenset()


def test_reader_sees_the_old_content_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    facts.replace(path, json.dumps({"n": 0}).encode())
    done = threading.Event()
    seen = []

    def read() -> None:
        while not done.is_set():
            seen.append(facts.read_json(path))

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(300):
        facts.replace(path, json.dumps({"n": n, "pad": "x" * (n * 50)}).encode())
    done.set()
    reader.join()
    assert None not in seen
    assert facts.listing(tmp_path) == {"progress.json"}


def test_pointing_replaces_the_link_and_leaves_no_other(tmp_path: Path) -> None:
    (tmp_path / "by").mkdir()
    for target in ("../one", "../two"):
        facts.point(tmp_path / "name", target, by=tmp_path / "by")
        assert os.readlink(tmp_path / "name") == target
    assert facts.listing(tmp_path) == {"by", "name"}
    assert facts.listing(tmp_path / "by") == frozenset()
    (tmp_path / "directory" / "inner").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        facts.point(tmp_path / "directory", "../three", by=tmp_path / "by")
    assert facts.listing(tmp_path / "by") == frozenset()


def test_file_system_that_cannot_sync_directories_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(number: int) -> None:
        def fsync(fd: int) -> NoReturn:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    failing(errno.EINVAL)
    facts.sync_directory(tmp_path)
    failing(errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        facts.sync_directory(tmp_path)
