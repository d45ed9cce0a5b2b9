"""Jobs that are replaced, cancelled or found half submitted: what happens to the one before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobcells import plan_of, run, runner_of, start, wait_for
from persist_magic import JobStatus, read_job
from persist_magic.errors import ManagerUnreachable, NoSpace, StillRunning
from persist_magic.jobdir import Submitted
from persist_magic.jobs import Job, current_store
from persist_magic.names import Names
from persist_magic.submission import submit
from waiting import wait_until

_UNTIL_TOLD = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\n'done'"


def test_replacing_that_fails_leaves_the_running_job_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(_UNTIL_TOLD)
    runner_of(job)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(Names, "claim", full)
        with pytest.raises(NoSpace):
            submit(job.store, plan_of("1"), replace=True, force=True)
    assert read_job("job").id == job.id
    assert job.status() is JobStatus.RUNNING
    Path("go").touch()
    assert job.fetch(60) == "done"
    assert job.store.ids() == [job.id]


def test_forced_replacement_cancels_the_running_job_and_runs(root: Path) -> None:
    job = start(_UNTIL_TOLD)
    runner_of(job)
    new = Job(job.store, submit(job.store, plan_of("2"), replace=True, force=True))
    assert job.status() is JobStatus.CANCELLED
    assert new.fetch(60) == 2
    assert read_job("job").id == new.id


def test_lost_job_stays_lost_when_it_is_replaced(root: Path) -> None:
    job = run("1")
    for name in ("finished.json", "exited.json"):
        wait_for(job.directory / "attempts/1" / name)
        (job.directory / "attempts/1" / name).unlink()
    wait_until(lambda: job.status() is JobStatus.LOST)
    failing = plan_of("raise ValueError")
    new = Job(job.store, submit(job.store, failing, replace=True))
    new.wait(60)
    assert job.status() is JobStatus.LOST


def test_job_whose_submission_died_after_starting_it_is_not_called_unstarted(root: Path) -> None:
    # Only the handle is missing, as after a kill between the start and submitted.json.
    job = start("40 + 2", setup=["while [ ! -e go ]; do sleep 0.05; done"])
    (job.directory / Submitted.FILE).unlink()
    info = job.info()
    assert (info.status, info.reason) == (JobStatus.QUEUED, "starting")
    with pytest.raises(StillRunning):
        submit(current_store(), plan_of("1"))
    Path("go").touch()
    assert job.fetch(60) == 42


def test_cancel_that_cannot_reach_the_job_leaves_no_word(root: Path) -> None:
    job = start(_UNTIL_TOLD)
    runner_of(job)
    started = job.directory / "attempts/1/started.json"
    facts = {path: path.read_text() for path in (started, job.directory / Submitted.FILE)}
    for path, text in facts.items():
        who = job.facts().submitted
        assert who is not None
        other = text.replace(who.handle["boot"], "b" * 32).replace(who.handle["host"], "n2")
        path.write_text(other)
    with pytest.raises(ManagerUnreachable, match="n2"):
        job.cancel()
    for path, text in facts.items():
        path.write_text(text)
    assert job.info().reason == ""
    Path("go").touch()
    assert job.fetch(60) == "done"


def test_value_that_speaks_of_space_is_no_full_disk(root: Path) -> None:
    job = run(
        "class Index:\n    def __reduce__(self):\n"
        "        raise RuntimeError('no space in this index')\nindex = Index()\n1 + 1"
    )
    assert job.info().status is JobStatus.DONE
    assert job.fetch() == 2


def test_partial_results_can_be_fetched_while_they_are_superseded(root: Path) -> None:
    job = start(
        "import os, time\nfrom persist_magic import save\nn = 0\n"
        "while not os.path.exists('go'):\n    n += 1\n    save(n=n)\n    time.sleep(0.002)"
    )
    wait_until(lambda: "n" in job.outputs())
    seen = [job.variables(partial=True)["n"] for _ in range(200)]
    Path("go").touch()
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
    assert job.variables()["n"] >= seen[-1]
