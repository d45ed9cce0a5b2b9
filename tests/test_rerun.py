"""The same job once more, from the inputs it had; the old one is kept until the new one is done."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crashing import DATA, Buffer
from jobcells import start, wait_for
from persist_magic import Job, JobStatus, persist, read_job
from persist_magic.errors import Damaged, JobNotFound, StillRunning, UsageError
from persist_magic.managers.process import ProcessManager
from persist_magic.rerun import rerun
from persist_magic.store import Store


def again(job: Job, *, force: bool = False, **changes: Any) -> Job:
    directory = rerun(job.store, job.facts(), ProcessManager(), changes, force=force)
    return Job(job.store, directory)


def content(directory: Path) -> dict[str, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_inputs_are_the_same_files_and_the_result_the_same(root: Path) -> None:
    old = persist(zlib.crc32, "job", args=(Buffer(),))
    old.wait(60)
    new = again(old)
    inputs = [job.directory / "inputs" for job in (old, new)]
    assert content(inputs[0]) == content(inputs[1])
    for path in (inputs[0] / "blobs").iterdir():
        assert path.samefile(inputs[1] / "blobs" / path.name)
    assert new.id != old.id
    assert new.fetch(60) == zlib.crc32(DATA)


def test_cell_is_the_same_and_other_surroundings_are_taken(root: Path) -> None:
    source = "import os\nvalue = (number, os.environ.get('EXTRA'), os.getcwd())\n!true"
    old = start(source, inputs={"number": 7})
    assert old.variables("value", timeout=60) == {"value": (7, None, str(root))}
    (root / "elsewhere").mkdir()
    new = again(old, env={"EXTRA": "more"}, cwd=str(root / "elsewhere"))
    for name in ("cell.py", "code.py"):
        assert (new.directory / name).read_bytes() == (old.directory / name).read_bytes()
    expected = (7, "more", str(root / "elsewhere"))
    assert new.variables("value", timeout=60) == {"value": expected}
    # A later one keeps what this one was given.
    assert again(new).variables("value", timeout=60) == {"value": expected}


def test_what_is_made_is_for_its_owner_alone(root: Path) -> None:
    before = os.umask(0)
    try:
        old = start("value = number\n!true", inputs={"number": 7})
        old.wait(60)
        new = again(old)
        new.wait(60)
    finally:
        os.umask(before)
    for path in new.directory.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_old_job_is_kept_until_the_new_one_is_done(root: Path) -> None:
    old = start("1", "job")
    old.wait(60)
    new = again(old)
    new.wait(60)
    assert read_job("job").id == new.id
    assert read_job(old.id).fetch() == 1
    assert new.fetch() == 1
    with pytest.raises(JobNotFound):
        read_job(old.id)


def test_failed_rerun_keeps_the_old_job(root: Path) -> None:
    flag = root / "flag"
    old = start(f"import os\nassert not os.path.exists({str(flag)!r})\n'well'", "job")
    old.wait(60)
    flag.touch()
    new = again(old)
    assert new.wait(60) is JobStatus.FAILED
    with pytest.raises(AssertionError):
        new.fetch()
    assert read_job("job").id == new.id
    assert read_job(old.id).fetch() == "well"
    # The next one that is done lets both go.
    flag.unlink()
    last = again(new)
    assert last.fetch(60) == "well"
    assert Store(root / ".persist").ids() == [last.id]


def test_running_job_is_not_run_again_unless_forced(root: Path) -> None:
    source = "from pathlib import Path\nimport time\nPath('started').touch()\ntime.sleep(600)"
    old = start(source, "job")
    wait_for(root / "started")
    with pytest.raises(StillRunning, match="is running"):
        again(old)
    assert old.status() is JobStatus.RUNNING
    new = again(old, force=True)
    assert old.status() is JobStatus.CANCELLED
    assert new.cancel(force=True) is JobStatus.CANCELLED


@pytest.mark.parametrize("lost", ["inputs/manifest.json", "inputs/data", "cell.py", ""])
def test_lost_input_is_said_and_nothing_is_made(root: Path, lost: str) -> None:
    old = start("value = number", "job", inputs={"number": 7})
    old.wait(60)
    if lost:
        (old.directory / lost).unlink()
    else:
        os.truncate(old.directory / "cell.py", 0)
    with pytest.raises(Damaged, match=f"{lost} is missing" if lost else "is empty") as caught:
        again(old)
    assert caught.value.hint == "run the cell again from the notebook"
    store = Store(root / ".persist")
    assert store.by_name() == {"job": old.id}
    assert store.ids() == [old.id]
    assert list(store.making.iterdir()) == []


def test_surroundings_that_are_gone_are_said(root: Path) -> None:
    work = root / "work"
    work.mkdir()
    old = start("1", "job", cwd=str(work))
    old.wait(60)
    work.rmdir()
    with pytest.raises(UsageError, match="no such directory"):
        again(old)
    assert again(old, cwd=str(root)).fetch(60) == 1


def test_inputs_for_another_machine_are_synced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = start("value = data\n!true", inputs={"data": Buffer()})
    old.wait(60)
    synced: set[int] = set()
    fsync: Callable[[int], None] = os.fsync

    def noted(fd: int) -> None:
        synced.add(os.fstat(fd).st_ino)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    manager = ProcessManager()
    monkeypatch.setattr(manager, "name", "elsewhere")
    new = Job(old.store, rerun(old.store, old.facts(), manager, {}))
    made = [new.directory, *new.directory.glob("*.*"), *new.directory.glob("inputs/**/*")]
    names = {path.name for path in made}
    assert names >= {"cell.py", "code.py", "job.sh", "request.json", "data", "manifest.json"}
    assert {path.stat().st_ino for path in made} <= synced
    new.wait(60)
