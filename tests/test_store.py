"""The store: what is being made, and what is deleted."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from crashing import Buffer
from persist_magic import Job, JobStatus, persist, read_job
from persist_magic import facts as files
from persist_magic.errors import NameTaken, NoSpace, StillRunning
from persist_magic.interrupts import uninterrupted
from persist_magic.store import Store
from stores import grow_old, new_store, publish
from waiting import wait_until


@pytest.fixture
def store(root: Path) -> Store:
    """The store of a root without jobs."""
    return new_store(root)


# ---- being made


@pytest.fixture
def maker(store: Store) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that is making the job `train`, published and not submitted yet; its id."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom persist_magic.store import Store\n"
        "with Store(Path(sys.argv[1])).new_job('train') as new:\n"
        "    (new.directory / 'request.json').write_bytes(Path(sys.argv[2]).read_bytes())\n"
        "    new.publish()\n    print(new.id, flush=True)\n    time.sleep(600)\n"
    )
    model = persist(abs, "model", args=(-1,))
    model.fetch(60)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(store.root), str(model.directory / "request.json")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


def test_job_whose_maker_lives_is_being_submitted(
    store: Store, maker: tuple[subprocess.Popen[str], str]
) -> None:
    process, id = maker
    job = Job(store, store.jobs / id)
    # However long it takes.
    grow_old(store.making / id)
    with store.new_job("sweeper"):
        pass
    assert (job.info().status, job.info().reason) == (JobStatus.EMPTY, "being submitted")
    for replace in (False, True):
        with pytest.raises(StillRunning, match="exists already and is being submitted"):
            persist(abs, "train", args=(-1,), replace=replace)
    process.kill()
    wait_until(lambda: job.info().reason == "the submission was interrupted")
    assert persist(abs, "train", args=(-7,)).fetch(60) == 7


def test_without_locks_it_counts_when_the_maker_last_wrote(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(fd: int, operation: int) -> NoReturn:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    with store.new_job("train") as new:
        workspace = new.directory.parent
        grow_old(workspace)
        assert store.being_made(store.jobs / new.id)
        with store.new_job("sweeper"):
            pass
        assert workspace.exists()
        for path in (*workspace.rglob("*"), workspace):
            grow_old(path)
        assert not store.being_made(store.jobs / new.id)
        with store.new_job("sweeper"):
            pass
        assert not workspace.exists()


def test_two_jobs_of_one_name_can_be_in_the_making(store: Store) -> None:
    with store.new_job("train") as one, store.new_job("train") as two:
        assert one.id != two.id
        one.publish()
        with pytest.raises(NameTaken):
            two.publish()
        two.withdraw()
    assert store.by_name() == {"train": one.id}


def test_job_that_is_not_published_leaves_no_trace(store: Store) -> None:
    def fail() -> None:
        with store.new_job("train") as new:
            (new.directory / "inputs" / "blobs").mkdir(parents=True)
            store.blobs.put(
                memoryview(b"data"),
                "0" * 64,
                new.directory / "inputs/blobs" / ("0" * 64),
                durable=False,
            )
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    for directory in (store.making, store.jobs, store.blobs.directory):
        assert files.listing(directory) == frozenset()


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EIO, OSError)]
)
def test_full_disk_is_said_as_such(store: Store, number: int, error: type[Exception]) -> None:
    with pytest.raises(error) as caught, store.new_job("train"):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is error


def test_what_dead_processes_left_is_swept_once_it_is_old(store: Store) -> None:
    (store.making / ".tmp").write_text("")
    (store.making / ".link").symlink_to("../jobs")
    (store.making / "20261122-142233-train-00000000" / "job").mkdir(parents=True)
    (store.making / "not-an-id").mkdir()
    kept = publish(store, "kept")
    assert len(files.listing(store.making)) == 4
    for path in store.making.iterdir():
        grow_old(path)
    publish(store, "next")
    assert files.listing(store.making) == frozenset()
    assert kept in store.ids()


def test_sweep_keeps_what_a_named_job_was_put_in_the_place_of(store: Store) -> None:
    """Two submissions died one after the other, each in the place of the one before."""
    chain = [publish(store, "train")]
    for _ in range(3):
        chain.append(publish(store, "train", replacing=chain[-1]))
    astray = publish(store, "train", replacing=chain[-1])
    store.names.release("train", astray, store.names.directory / "none")
    (store.names.directory / "train").symlink_to(f"../jobs/{chain[-1]}")
    for id in (*chain, astray):
        (store.making / id).mkdir()
        grow_old(store.making / id)
    publish(store, "other")
    assert files.listing(store.making) == frozenset()
    assert set(chain) <= set(store.ids())
    assert astray not in store.ids()


# ---- deletion


def test_deleted_job_takes_its_name_and_its_own_blobs_with_it(root: Path) -> None:
    shared, own = Buffer(), Buffer(bytes(1 << 20))
    job = persist(zlib.crc32, "both", args=(Buffer(),))
    one = persist(max, "one", args=(shared, own))
    for each in (job, one):
        each.wait(60)
    blobs = root / ".persist" / "blobs"
    assert len(list(blobs.iterdir())) >= 2
    one.cleanup()
    assert read_job("both").fetch() == zlib.crc32(shared.data)
    assert len(list(blobs.iterdir())) == 1
    job.cleanup()
    assert list(blobs.iterdir()) == []
    assert Store(root / ".persist").by_name() == {}
    assert Store(root / ".persist").ids() == []
    job.store.delete(job.directory)


def test_deleting_an_older_job_leaves_the_name_to_the_newer(store: Store) -> None:
    first = publish(store, "train")
    second = publish(store, "train", replacing=first)
    store.delete(store.jobs / first)
    assert store.by_name() == {"train": second}
    assert store.ids() == [second]


def test_deleted_job_can_give_its_name_back(store: Store) -> None:
    first = publish(store, "train")
    second = publish(store, "train", replacing=first)
    store.delete(store.jobs / second, back_to=first)
    assert store.by_name() == {"train": first}
    assert store.ids() == [first]


def test_deletion_that_died_half_way_gives_the_name_back(store: Store) -> None:
    first = publish(store, "train")
    second = publish(store, "train", replacing=first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.names, "release", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.delete(store.jobs / second, back_to=first)
    assert store.by_name() == {}
    for path in store.making.iterdir():
        grow_old(path)
    publish(store, "other")
    assert store.newest("train") == first


def test_directory_that_lost_its_rights_can_be_deleted(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    id = publish(store, "train")
    inner = store.jobs / id / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "link").symlink_to(outside)
    for directory in (inner, inner.parent):
        directory.chmod(0)
    store.delete(store.jobs / id)
    assert files.listing(store.making) == frozenset()
    assert outside.stat().st_mode & 0o777 == 0o755


def test_many_can_delete_and_sweep_at_once(store: Store) -> None:
    ids = [publish(store, f"job{number}") for number in range(20)]
    for id in ids:
        for number in range(20):
            (store.jobs / id / f"{number}").mkdir()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for id in ids:
                store.delete(store.jobs / id)
                for grave in store.making.glob("*~*"):
                    with contextlib.suppress(FileNotFoundError):
                        grow_old(grave)
                with store.new_job("sweeper"):
                    pass
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.ids() == []
    assert files.listing(store.making) == frozenset()


# ---- Ctrl-C


def test_ctrl_c_is_put_off_to_the_end_of_the_block() -> None:
    reached = []

    def work() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            reached.append("end")
        reached.append("after")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["end"]


def test_ctrl_c_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
