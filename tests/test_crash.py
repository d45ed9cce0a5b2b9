"""Death, Ctrl-C and a full disk at each file-system operation of a submission, and of a job's end."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pytest

from crashing import DATA, Buffer, Outcome, checksum, submissions, train
from persist_magic import Job, JobStatus, persist
from persist_magic import facts as files
from persist_magic.store import Store
from waiting import wait_until

T = TypeVar("T")
# How many jobs run at once.
AT_ONCE = 4

# name of the case: are its inputs a blob, is that known by another job, is a finished job replaced
CASES = {
    "in a new root": (False, False, False),
    "with an array": (True, False, False),
    "with a known array in place of a finished job": (True, True, True),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> tuple[bool, bool, bool]:
    """One of CASES."""
    found: tuple[bool, bool, bool] = request.param
    return found


@pytest.fixture
def template(case: tuple[bool, bool, bool], tmp_path: Path, root: Path) -> Path | None:
    """The root in which the submissions of *case* are made; None: there is none yet."""
    array, known, replaces = case
    if not known:
        return None
    made = tmp_path / "template" / ".persist"
    persist(zlib.crc32, "other", args=(Buffer(),), root=made).fetch(60)
    if replaces:
        train(len, made, array=array).fetch(60)
    return made


def outcomes(
    mode: str, case: tuple[bool, bool, bool], template: Path | None, tmp_path: Path
) -> list[Outcome]:
    array, _, replaces = case
    base = tmp_path / "submissions"
    base.mkdir()
    found = list(submissions(mode, base, template=template, array=array, replace=replaces))
    # Fewer would mean that the operations are not seen.
    assert len(found) > 30
    return found


def in_bunches(items: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while bunch := list(islice(rest, AT_ONCE)):
        yield bunch


def newest(root: Path) -> Job | None:
    store = Store(root)
    id = store.newest("train")
    return Job(store, store.jobs / id) if id is not None else None


def nothing_is_left_over(root: Path) -> None:
    """All that is in *root* belongs to a job that a name leads to, once the making is swept."""
    store = Store(root)
    for path in store.making.iterdir():
        os.utime(path, (0, 0), follow_symlinks=False)
    with store.new_job("sweeper"):
        pass
    assert list(store.making.iterdir()) == []
    named = store.by_name()
    assert set(store.ids()) == set(named.values())
    assert files.listing(store.jobs) == set(named.values())
    assert files.listing(store.names.directory) == {*named, ".lock"}
    assert files.listing(root) == {".gitignore", "jobs", "names", "making", "blobs"}
    assert (root / ".gitignore").read_text() == "*\n"
    held = {path.name for path in store.jobs.rglob("blobs/*")}
    assert {entry.partition(".")[0] for entry in files.listing(store.blobs.directory)} <= held
    strays = [path for path in store.jobs.rglob(".*") if path.name.startswith(".")]
    assert all(path.parent.parent.parent.parent == store.jobs for path in strays), strays


def other_is_intact(root: Path, case: tuple[bool, bool, bool]) -> None:
    if case[1]:
        store = Store(root)
        assert Job(store, store.resolve("other")).fetch(60) == zlib.crc32(DATA)


def test_killed_submission_leaves_no_job_or_a_true_one(
    case: tuple[bool, bool, bool], template: Path | None, tmp_path: Path
) -> None:
    array, _, replaces = case
    found = outcomes("kill", case, template, tmp_path)
    assert {outcome.end for outcome in found} == {"killed"}
    for bunch in in_bunches(found):
        again = []
        for outcome in bunch:
            root = Path(outcome.root)
            job = newest(root)
            if outcome.started:
                assert job is not None, outcome.what
                wait_until(job.is_ready)
                assert job.fetch() == checksum(zlib.crc32, array=array), outcome.what
            elif job is None:
                assert not replaces, outcome.what
            elif replaces and job.status() is JobStatus.DONE:
                assert job.fetch() == checksum(len, array=array), outcome.what
            else:
                info = job.info()
                assert (info.status, info.reason) == (
                    JobStatus.EMPTY,
                    "the submission was interrupted",
                ), outcome.what
            done = job is not None and job.status() is JobStatus.DONE
            again.append(train(zlib.adler32, root, array=array, replace=done))
        for job, outcome in zip(again, bunch, strict=True):
            assert job.fetch(60) == checksum(zlib.adler32, array=array), outcome.what
            other_is_intact(Path(outcome.root), case)
            nothing_is_left_over(Path(outcome.root))


@pytest.mark.parametrize("mode", ["interrupt", "full"])
def test_submission_that_is_stopped_leaves_nothing(
    mode: str, case: tuple[bool, bool, bool], template: Path | None, tmp_path: Path
) -> None:
    array, _, replaces = case
    for outcome in outcomes(mode, case, template, tmp_path):
        root = Path(outcome.root)
        job = newest(root)
        whole = outcome.started and job is not None and job.facts().submitted is not None
        assert outcome.end in ("interrupted", "full", "done"), outcome.end
        if whole and outcome.end != "full":
            assert job is not None
            assert job.fetch(60) == checksum(zlib.crc32, array=array), outcome.what
        else:
            assert outcome.end != "done", outcome.what
            if replaces:
                assert job is not None, outcome.what
                assert job.fetch() == checksum(len, array=array), outcome.what
            else:
                assert job is None, outcome.what
            assert files.listing(root / "making") == frozenset(), outcome.what
        other_is_intact(root, case)
        if files.listing(root) >= {"making"}:
            Store(root).prepare()
            nothing_is_left_over(root)
