"""Death, Ctrl-C and a full disk, at each file-system operation of a submission and of a job."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from crashing import DATA, KILL_AT, Buffer, Outcome, checksum, doubled, outcomes, train
from persist_magic import Job, JobStatus, persist
from persist_magic import facts as files
from persist_magic.jobdir import Attempt, attempt_directory
from persist_magic.store import Store
from waiting import wait_until

T = TypeVar("T")
# How many jobs run at once.
AT_ONCE = 4


@dataclass(frozen=True)
class Case:
    """A submission of the job `train`, and the root in which it is made."""

    array: bool  # its input is a blob
    template: Path | None = None  # the root as it is before, if it is; it has the job `other`
    old: str | None = None  # the finished job `train`

    def ends(self, work: str, mode: str, base: Path) -> list[Outcome]:
        """What becomes of *work*, "submit" or "delete", where *mode* happens at an operation."""
        options = {"array": self.array, "replace": self.old is not None}
        found = list(outcomes(work, mode, base, template=self.template, **options))
        # Fewer would mean that the operations are not seen.
        assert len(found) > (30 if work == "submit" else 10)
        return found

    def old_is_intact(self, job: Job | None) -> bool:
        """Whether *job* is what there was before, with its result."""
        if job is None or self.old is None:
            return job is None and self.old is None
        return job.id == self.old and job.fetch() == checksum(len, array=self.array)


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path, root: Path) -> Case:
    """The case that a test is for.

    "no inputs" or "array" in a new root, "replace" with an array that is known, or "own array"
    that no other job has.
    """
    if request.param in ("no inputs", "array"):
        return Case(array=request.param == "array")
    template = tmp_path / "template" / ".persist"
    persist(zlib.crc32, "other", args=(Buffer(),), root=template).fetch(60)
    data = DATA if request.param == "replace" else DATA[::-1]
    old = persist(len, "train", args=(Buffer(data),), root=template)
    old.fetch(60)
    return Case(array=True, template=template, old=old.id)


def in_bunches(items: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while bunch := list(islice(rest, AT_ONCE)):
        yield bunch


def newest(root: Path, name: str = "train") -> Job | None:
    store = Store(root)
    id = store.newest(name)
    return Job(store, store.jobs / id) if id is not None else None


def seen_by_others(root: Path) -> set[str]:
    """All files of *root* but those in the making, which nobody looks at while they are new."""
    found = {str(path.relative_to(root)) for path in root.rglob("*")}
    # Each submission has an id of its own, and each temporary file a name of its own.
    found = {re.sub(r"\d{8}-\d{6}|-[0-9a-f]{8}|\.[0-9a-f]+-.*", "*", path) for path in found}
    return {path for path in found if not path.startswith("making/")}


def check_others(root: Path) -> None:
    """The job `other` is as it was, and all else in *root* is, or is kept for, a named job."""
    store = Store(root)
    other = newest(root, "other")
    assert other is None or other.fetch() == zlib.crc32(DATA)
    store.prepare()
    for path in store.making.iterdir():
        os.utime(path, (0, 0), follow_symlinks=False)
    with store.new_job("sweeper"):
        pass
    assert files.listing(store.making) == frozenset()
    named = store.by_name()
    jobs = [Job(store, store.jobs / id).facts() for id in named.values()]
    kept = {job.request.replaces for job in jobs if job.request.replaces in store.ids()}
    assert files.listing(store.jobs) == {*named.values(), *kept}
    assert files.listing(store.names.directory) == {*named, ".lock"}
    assert files.listing(root) == {".gitignore", "jobs", "names", "making", "blobs"}
    assert (root / ".gitignore").read_text() == "*\n"
    held = {path.name for path in store.jobs.rglob("blobs/*")}
    assert {entry.partition(".")[0] for entry in files.listing(store.blobs.directory)} <= held


@pytest.mark.parametrize("case", ["no inputs", "array", "replace"], indirect=True)
def test_killed_submission_leaves_no_job_or_a_true_one(case: Case, tmp_path: Path) -> None:
    ends = case.ends("submit", "kill", tmp_path / "roots")
    assert {end.end for end in ends} == {"killed"}
    seen: set[str] = set()
    for bunch in in_bunches(ends):
        again = []
        for end in bunch:
            root = Path(end.root)
            job = newest(root)
            if end.started:
                assert job is not None, end.what
                wait_until(job.is_ready)
                assert job.fetch() == checksum(zlib.crc32, array=case.array), end.what
            elif not case.old_is_intact(job):
                assert job is not None, end.what
                info = job.info()
                assert info.status is JobStatus.EMPTY, end.what
                assert info.reason == "the submission was interrupted", end.what
            last, seen = seen, seen_by_others(root)
            if seen == last:
                # A second try would meet what the one before has met.
                check_others(root)
                continue
            replace = job is not None and job.status() is JobStatus.DONE
            again.append((end, train(zlib.adler32, root, array=case.array, replace=replace)))
        for end, job in again:
            assert job.fetch(60) == checksum(zlib.adler32, array=case.array), end.what
            check_others(Path(end.root))


@pytest.mark.parametrize("case", ["own array"], indirect=True)
def test_killed_deletion_leaves_the_whole_job_or_none(case: Case, tmp_path: Path) -> None:
    for end in case.ends("delete", "kill", tmp_path / "roots"):
        assert end.end == "killed"
        root = Path(end.root)
        job = newest(root)
        assert job is None or case.old_is_intact(job), end.what
        check_others(root)
        assert (newest(root) is None) == (job is None), end.what


@pytest.mark.parametrize("case", ["array", "replace"], indirect=True)
def test_submission_on_a_full_disk_leaves_nothing(case: Case, tmp_path: Path) -> None:
    for end in case.ends("submit", "full", tmp_path / "roots"):
        root = Path(end.root)
        job = newest(root)
        if case.old_is_intact(job):
            assert end.end == "full", end.what
            assert files.listing(root / "making") == frozenset(), end.what
        else:
            # It became full when all had been written.
            assert (end.end, end.started) == ("done", True), end.what
            assert job is not None, end.what
            assert job.fetch(60) == checksum(zlib.crc32, array=case.array), end.what
        check_others(root)


@pytest.mark.parametrize("case", ["array", "replace"], indirect=True)
def test_interrupted_submission_leaves_nothing(case: Case, tmp_path: Path) -> None:
    for end in case.ends("submit", "interrupt", tmp_path / "roots"):
        root = Path(end.root)
        assert end.end == "interrupted", end.what
        job = newest(root)
        if not case.old_is_intact(job):
            # It was too late: the job had been submitted.
            assert end.started, end.what
            assert job is not None, end.what
            assert job.facts().submitted is not None, end.what
            job.cleanup(force=True)
        assert files.listing(root / "making") == frozenset(), end.what
        if end.started:
            assert running_in(root) == [], end.what
        check_others(root)


def running_in(root: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        # It may end at any moment, or be another user's.
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if str(root) in command:
                found.append(command)
    return found


def exit_code(job: Job) -> int:
    """What job.sh wrote down, once it has."""
    directory = attempt_directory(job.directory, 1)
    wait_until(lambda: "exited.json" in files.listing(directory))
    exited = Attempt.read(directory, 1).exited
    assert exited is not None
    return exited.code


def test_killed_runner_is_a_failed_job_and_a_finished_one_is_whole(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import crashing\n\ncrashing.arm_runner()\n")
    path = [str(site), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    data = bytes(2) + DATA
    moments = count(1)
    jobs: list[Job] = []
    survived = False
    while not survived:
        bunch = []
        for moment in islice(moments, AT_ONCE):
            monkeypatch.setenv(KILL_AT, str(moment))
            bunch.append(persist(doubled, f"job{moment}", args=(Buffer(data),)))
        for job in bunch:
            status = job.wait(60)
            code = exit_code(job)
            if status is JobStatus.DONE:
                assert job.fetch() == data * 2
            else:
                assert status is JobStatus.FAILED
                assert "SIGKILL" in job.info().reason
                assert code == 128 + signal.SIGKILL
            survived = code == 0
        jobs += bunch
    assert len(jobs) > 30
    monkeypatch.delenv(KILL_AT)
    for job in jobs[::10]:
        again = persist(doubled, job.name, args=(Buffer(data),), replace=True)
        assert again.fetch(60) == data * 2
    check_others(root / ".persist")
