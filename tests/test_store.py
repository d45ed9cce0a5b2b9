"""The store: names, what they lead to, what is being made, and what is deleted."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
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
from persist_magic.errors import (
    JobNotFound,
    NameTaken,
    NoSpace,
    RootRefused,
    StillRunning,
    UsageError,
)
from persist_magic.interrupts import uninterrupted
from persist_magic.names import check_name
from persist_magic.store import Store
from waiting import wait_until


@pytest.fixture
def store(root: Path) -> Store:
    made = Store(root / ".persist")
    made.prepare()
    return made


def publish(store: Store, name: str, replacing: str | None = None) -> str:
    """A job of no content called *name*; its id."""
    with store.new_job(name) as new:
        (new.directory / "request.json").write_text("{}")
        new.publish(replacing)
    return new.id


def grow_old(path: Path) -> None:
    os.utime(path, (0, 0), follow_symlinks=False)


# ---- names


@pytest.mark.parametrize(
    "name",
    ["a", "A", "0", "train", "train.v2", "Train_3-b", "x" * 64, "20261122", "a" + "-" * 63],
)
def test_name_of_letters_digits_dots_and_dashes_is_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".hidden", "-rf", "_a", "a b", "a/b", "../a", "a\n", "a\0", "a'b", "$x"),
        *("é", "a*", "x" * 65, "20261122-142233-train-7f3a0000"),
    ],
)
def test_odd_name_is_refused_and_not_mended(root: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a job"):
        persist(abs, name, args=(-1,))
    assert not (root / ".persist").exists()


def test_names_that_differ_in_case_are_different_jobs(store: Store) -> None:
    ids = {name: publish(store, name) for name in ("train", "Train", "TRAIN")}
    assert store.by_name() == ids


def test_job_is_found_by_name_and_by_id(store: Store) -> None:
    first = publish(store, "train")
    second = publish(store, "train", replacing=first)
    assert store.resolve("train").name == second
    assert store.resolve(first).name == first
    assert store.newest("train") == second
    assert set(store.ids()) == {first, second}


def test_unknown_name_offers_near_ones(store: Store) -> None:
    with pytest.raises(JobNotFound, match="there are no jobs in ") as caught:
        store.resolve("trian")
    assert "PERSIST_ROOT" in caught.value.hint
    publish(store, "train")
    with pytest.raises(JobNotFound, match="no job named 'trian'") as caught:
        store.resolve("trian")
    assert caught.value.hint == "did you mean 'train'? the only job is 'train'."
    for name in ("brain", "other", "fit"):
        publish(store, name)
    with pytest.raises(JobNotFound) as caught:
        store.resolve("trian")
    assert caught.value.hint == "did you mean 'train' or 'brain'? %persist_list shows all 4."
    with pytest.raises(JobNotFound) as caught:
        store.resolve("zzz")
    assert caught.value.hint == "%persist_list shows all 4"


@pytest.mark.parametrize(
    "name", ["../../elsewhere", "names", ".lock", "20261122-142233-x-00000000"]
)
def test_what_is_no_job_is_not_found(store: Store, name: str) -> None:
    publish(store, "train")
    with pytest.raises(JobNotFound):
        store.resolve(name)


def test_link_that_leads_out_of_the_root_finds_nothing(store: Store, tmp_path: Path) -> None:
    (store.names.directory / "evil").symlink_to(tmp_path)
    (store.names.directory / "dangling").symlink_to("../jobs/20261122-142233-dangling-00000000")
    for name in ("evil", "dangling"):
        with pytest.raises(JobNotFound):
            store.resolve(name)
    assert store.by_name() == {}


def test_taken_name_is_taken_for_everyone_who_did_not_know(store: Store) -> None:
    first = publish(store, "train")
    second = publish(store, "train", replacing=first)
    for known in (None, first):
        with store.new_job("train") as new:
            with pytest.raises(NameTaken):
                new.publish(known)
            new.withdraw()
    assert store.by_name() == {"train": second}
    assert set(store.ids()) == {first, second}


def test_name_whose_job_was_deleted_by_hand_is_free(store: Store) -> None:
    shutil.rmtree(store.jobs / publish(store, "train"))
    assert store.newest("train") is None
    second = publish(store, "train")
    assert store.by_name() == {"train": second}


def test_name_that_is_taken_in_the_last_moment_is_not_taken_away_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(store, "train")
    with store.new_job("train") as new, monkeypatch.context() as patch:
        # As if the link had been made between the look at it and the claim.
        patch.setattr(store.names, "leads_to", lambda name: None)
        with pytest.raises(NameTaken):
            new.publish()
        patch.undo()
        new.withdraw()
    assert store.by_name() == {"train": first}


def test_withdrawn_job_gives_its_name_back(store: Store) -> None:
    first = publish(store, "train")
    for replacing in (first, None):
        name = "train" if replacing else "other"
        with store.new_job(name) as new:
            new.publish(replacing)
            assert store.newest(name) == new.id
            new.withdraw()
    assert store.by_name() == {"train": first}
    assert store.ids() == [first]
    assert files.listing(store.names.directory) == {"train", ".lock"}


def test_lock_that_a_stopped_process_holds_is_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(store, "train")
    monkeypatch.setattr("persist_magic.names._LOCK_PATIENCE", 0.05)
    with (
        store.names.locked(),
        pytest.raises(RootRefused, match="another process has held") as caught,
    ):
        publish(store, "train", replacing=first)
    assert "stopped kernel" in caught.value.hint


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
                for name in files.listing(store.making):
                    with contextlib.suppress(FileNotFoundError):
                        grow_old(store.making / name)
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
        with uninterrupted() as interrupted:
            reached.append(interrupted())
            signal.raise_signal(signal.SIGINT)
            reached.append(interrupted())

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == [False, True]


def test_ctrl_c_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with uninterrupted() as interrupted:
            signal.raise_signal(signal.SIGINT)
            assert not interrupted()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
