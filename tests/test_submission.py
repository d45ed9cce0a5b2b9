"""Submitting: what is refused before anything is made, and what an interruption leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobcells import importing, job_sh_of, runner_of, start
from persist_magic import Job, JobStatus, persist, read_job, records
from persist_magic import facts as files
from persist_magic.blobs import digest_of
from persist_magic.errors import (
    CannotSave,
    Damaged,
    ManagerUnreachable,
    NameTaken,
    PersistError,
    StillRunning,
    UsageError,
)
from persist_magic.info import infos
from persist_magic.jobdir import JobFacts, Request, Submitted
from persist_magic.machine import ProcessId
from persist_magic.managers.process import ProcessManager
from persist_magic.observe import observe, status_of
from persist_magic.planning import Digests
from persist_magic.rerun import rerun
from persist_magic.status import Active, Report
from persist_magic.store import Store
from waiting import wait_until


class Stub(ProcessManager):
    """A manager that does as it is told in place of running a job."""

    def __init__(self, does: Any = None) -> None:
        super().__init__()
        self.does = does

    def submit(self, job: Path, request: Request) -> dict[str, Any]:
        if self.does is not None:
            self.does(job)
        return {"pid": 0}


def interrupted_submission(root: Path) -> Job:
    """The job `train`, whose submission died before its manager had it."""
    script = (
        "import os\nfrom persist_magic import persist\n"
        "from persist_magic.managers.process import ProcessManager\n"
        "ProcessManager.submit = lambda *_: os._exit(9)\n"
        "persist(abs, 'train', args=(-1,))\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    return read_job("train")


def is_clean(root: Path, names: Sequence[str] = ()) -> None:
    store = Store(root / ".persist")
    assert sorted(store.by_name()) == sorted(names)
    assert len(store.ids()) == len(names)
    assert files.listing(store.making) == frozenset()


# ---- refused before anything is made


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (lambda: persist(abs, "a/b", args=(-1,)), UsageError),
        (lambda: persist(max, "train", args=(threading.Lock(),)), CannotSave),
        (lambda: start("1", "train", cwd="/nowhere"), UsageError),
        (lambda: start("1", "train", python="/nowhere/python"), UsageError),
        (lambda: start("1", "train", env={"A B": "1"}), UsageError),
        (lambda: persist(abs, "train", Refusing(), args=(-1,)), UsageError),
    ],
    ids=["name", "value", "directory", "interpreter", "variable", "manager"],
)
def test_what_cannot_be_run_makes_no_root(
    root: Path, refused: Any, error: type[PersistError]
) -> None:
    with pytest.raises(error) as caught:
        refused()
    assert caught.value.hint
    assert list(root.iterdir()) == []


class Refusing(ProcessManager):
    """A manager that cannot be used here."""

    def problem(self) -> str | None:
        return "there is no sbatch here"


def test_second_job_of_a_name_is_told_what_the_first_is(root: Path) -> None:
    job = start("import time\ntime.sleep(600)", "train")
    wait_until(lambda: job.status() is JobStatus.RUNNING)
    for replace, way_out in ((False, "choose another name"), (True, "--force")):
        with pytest.raises(StillRunning, match="exists already and is running") as caught:
            persist(abs, "train", args=(-1,), replace=replace)
        assert way_out in caught.value.hint
    assert job.status() is JobStatus.RUNNING
    new = persist(abs, "train", args=(-1,), replace=True, force=True)
    assert job.info().status is JobStatus.CANCELLED
    new.wait(60)
    with pytest.raises(NameTaken, match="a job named 'train' exists already") as named:
        persist(abs, "train", args=(-1,))
    assert "--replace" in named.value.hint


# ---- when it goes wrong


def test_job_that_its_manager_refuses_leaves_nothing(root: Path) -> None:
    def refuse(job: Path) -> None:
        assert (job / "request.json").exists()
        raise ManagerUnreachable("sbatch does not answer", "try again")

    with pytest.raises(ManagerUnreachable):
        persist(abs, "train", Stub(refuse), args=(-1,))
    is_clean(root)
    old = persist(abs, "train", args=(-1,))
    old.wait(60)
    with pytest.raises(ManagerUnreachable):
        persist(abs, "train", Stub(refuse), args=(-2,), replace=True)
    is_clean(root, ["train"])
    assert read_job("train").fetch() == 1


def test_handle_that_cannot_be_written_down_costs_the_job_not_the_truth(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that nobody could cancel is ended by the one who knows of it."""
    manager = ProcessManager()
    monkeypatch.setattr("persist_magic.submission.Submitted.write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        persist(time.sleep, "train", manager, args=(600,))
    is_clean(root)
    running = [process.cmdline() for process in psutil.Process().children(recursive=True)]
    assert not [command for command in running if str(root) in "".join(command)]


def test_interrupted_submission_is_replaced_without_a_word(root: Path) -> None:
    first = interrupted_submission(root)
    info = first.info()
    assert (info.status, info.reason) == (JobStatus.EMPTY, "the submission was interrupted")
    assert first.wait(1) is JobStatus.EMPTY

    def die(job: Path) -> None:
        raise OSError("the disk was pulled out")

    # Not even a second try that went wrong takes the name for good.
    with pytest.raises(OSError, match="pulled out"):
        persist(abs, "train", Stub(die), args=(-2,))
    assert read_job("train").id == first.id
    job = persist(abs, "train", args=(-3,))
    assert job.fetch(60) == 3
    assert job.store.ids() == [job.id]


def test_interrupted_submission_can_be_run_again(root: Path) -> None:
    job = interrupted_submission(root)
    new = Job(job.store, rerun(job.store, job.facts(), ProcessManager(), {}))
    assert new.fetch(60) == 1
    assert job.store.ids() == [new.id]


def test_job_whose_pid_nobody_wrote_down_is_not_lost_while_its_shell_lives(root: Path) -> None:
    job = start("import time\ntime.sleep(600)", "train")
    runner, shell = runner_of(job), job_sh_of(job)
    # As if the submission had died as soon as the shell had started.
    (job.directory / "submitted.json").unlink()
    assert job.status() is JobStatus.RUNNING
    os.kill(shell, signal.SIGSTOP)
    try:
        os.kill(runner, signal.SIGKILL)
        wait_until(lambda: psutil.Process(runner).status() == psutil.STATUS_ZOMBIE)
        assert job.status() is JobStatus.RUNNING
    finally:
        os.kill(shell, signal.SIGCONT)
    assert job.wait(60) is JobStatus.FAILED
    assert "SIGKILL" in job.info().reason


def test_job_submitted_between_two_looks_is_not_called_interrupted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = persist(abs, "train", args=(-1,))
    job.wait(60)
    stale = job.facts()
    stale = JobFacts(stale.directory, stale.request, None, None, None, None)
    assert status_of(job.store, stale)[1].kind is JobStatus.DONE


def test_name_is_not_taken_from_a_job_that_was_submitted_a_moment_ago(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = persist(abs, "model", args=(-1,))
    model.wait(60)
    store = model.store
    with store.new_job("train") as new:
        request = records.replace(model.facts().request, id=new.id, name="train")
        (new.directory / Request.FILE).write_bytes(request.encode())
        new.publish()
    me = ProcessId.of(os.getpid())
    assert me is not None

    def submitted_just_then(store: Store, directory: Path) -> bool:
        Submitted(me.to_json(), time.time()).write(new.final)
        return False

    monkeypatch.setattr(Store, "being_made", submitted_just_then)
    with pytest.raises(StillRunning):
        persist(abs, "train", args=(-2,))
    assert read_job("train").id == new.id


def test_submitted_job_is_on_the_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[int] = set()
    fsync: Callable[[int], None] = os.fsync

    def noted(fd: int) -> None:
        synced.add(os.fstat(fd).st_ino)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    job = persist(abs, "train", args=(-1,))
    files_of_it = (job.directory / "request.json", job.directory / "submitted.json")
    directories = (job.directory, job.store.jobs, job.store.names.directory)
    assert {path.stat().st_ino for path in (*files_of_it, *directories)} <= synced
    job.wait(60)


# ---- Ctrl-C


def test_ctrl_c_while_the_manager_takes_the_job_ends_it_again(root: Path) -> None:
    handles: list[dict[str, Any]] = []

    class Interrupted(ProcessManager):
        """Ctrl-C comes when the job has been started, and nobody knows its pid yet."""

        def submit(self, job: Path, request: Request) -> dict[str, Any]:
            handle = super().submit(job, request)
            signal.raise_signal(signal.SIGINT)
            handles.append(handle)
            return handle

    with pytest.raises(KeyboardInterrupt):
        persist(time.sleep, "train", Interrupted(), args=(600,))
    is_clean(root)
    who = ProcessId.from_json(handles[0])
    assert who is not None
    assert not who.is_alive()


# Submits 64 MB again and again, and is interrupted a little later each time, until it is too late.
_INTERRUPTED = """
import os, signal, sys, threading, time, zlib
from pathlib import Path
from crashing import Buffer
from persist_magic import persist, read_job

buffer = Buffer(bytes(64 << 20))
persist(zlib.crc32, "warm", args=(buffer,), root=sys.argv[1]).fetch(60)
root = Path(".persist")
delay, interrupted = 0.0, 0
while True:
    timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        persist(zlib.crc32, "train", args=(buffer,))
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        timer.join()
    if any((root / "names").glob("[!.]*")):
        read_job("train").cleanup(force=True)
        break
    left = [path for path in root.glob("*/*") if path.name != ".lock"]
    assert left == [], left
    interrupted += 1
    delay += 0.01
print(interrupted)
"""


def test_ctrl_c_at_any_moment_of_a_large_submission_leaves_nothing(root: Path) -> None:
    (root / "warm").mkdir()
    command = [sys.executable, "-c", _INTERRUPTED, str(root / "warm" / ".persist")]
    shown = subprocess.run(command, env=importing(), capture_output=True, text=True)
    assert shown.stderr == ""
    assert int(shown.stdout) >= 3


# ---- digests


def test_buffer_is_hashed_once_and_parts_of_it_apart() -> None:
    data = bytes(1000) + bytes([1]) * 1000
    view = memoryview(data)
    digests = Digests()
    assert digests(view) == digests(memoryview(data)) == digest_of(data)
    assert digests(view[:1000]) == digest_of(data[:1000])
    assert digests(view[1000:]) == digest_of(data[1000:])


# ---- observing


def test_job_of_a_manager_that_is_not_installed_here_hides_no_other(root: Path) -> None:
    mine = persist(abs, "mine", args=(-1,))
    mine.wait(60)
    manager = Stub()
    manager.name = "cloud9"
    other = persist(abs, "other", manager, args=(-1,))
    (_, done), (_, unknown) = observe(mine.store, [mine.facts(), other.facts()])
    assert done.kind is JobStatus.DONE
    assert unknown.kind is JobStatus.QUEUED
    assert "no manager named 'cloud9'" in unknown.reason


def test_jobs_keep_their_state_while_their_manager_does_not_answer(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start("import time\ntime.sleep(600)", "train")
    wait_until(lambda: job.status() is JobStatus.RUNNING)

    def silent(self: ProcessManager, jobs: Sequence[JobFacts]) -> list[Report]:
        raise ManagerUnreachable("ps does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(ProcessManager, "poll", silent)
        info = job.info()
    assert info.status is JobStatus.RUNNING
    assert info.reason.startswith("as of ")
    assert info.reason.endswith(": ps does not answer")
    with monkeypatch.context() as patch:
        patch.setattr(ProcessManager, "poll", lambda self, jobs: [Active("here")] * len(jobs))
        assert job.info().reason == "here"
    job.cancel(force=True)


def test_damage_to_one_job_hides_no_other(root: Path) -> None:
    jobs = [persist(abs, name, args=(-1,)) for name in ("whole", "damaged")]
    for job in jobs:
        job.wait(60)
    (jobs[1].directory / "attempts" / "1" / "outputs" / "manifest.json").write_text("{")
    found = infos(jobs[0].store, [job.directory for job in jobs])
    assert [info.status for info in found] == [JobStatus.DONE] * 2
    assert jobs[0].fetch() == 1
    with pytest.raises(Damaged, match="is not what was written"):
        jobs[1].fetch()


def test_job_that_is_deleted_while_it_is_looked_at_is_no_error(root: Path) -> None:
    job = start("import time\ntime.sleep(600)", "train")
    wait_until(lambda: job.status() is JobStatus.RUNNING)
    seen = job.facts()
    job.cleanup(force=True)
    assert status_of(job.store, seen)[1].kind is JobStatus.LOST
    assert infos(job.store, [job.directory]) == []
