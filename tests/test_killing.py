"""A job whose processes are killed, at each stage of its life: its status is true afterwards."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from jobcells import attempt_of, job_sh_of, run, start, wait_for
from persist_magic import JobStatus
from persist_magic.errors import JobFailed, JobLost
from persist_magic.jobdir import latest_attempt
from persist_magic.jobs import Job
from persist_magic.machine import ProcessId
from waiting import wait_until

# Each stage ends when the test makes the file `go`.
BLOCK = """
def block():
    import os, time
    open("reached", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)
"""
IN_THE_CELL = BLOCK + "kept = 1\nblock()\n6 * 7"
WHILE_SAVING = (
    BLOCK
    + """
class Slow:
    def __reduce__(self):
        block()
        return (int, (42,))
Slow()
"""
)
# An interpreter that waits before it begins.
SLOW_PYTHON = """#!/bin/sh
: >reached
while [ ! -e go ]; do sleep 0.01; done
exec {python} "$@"
"""

STAGES = ["before it says that it started", "in the cell", "while it saves"]


def job_at(stage: str, root: Path) -> Job:
    """A job that has come to *stage* and stays there."""
    if stage == STAGES[0]:
        python = root / "slow python"
        python.write_text(SLOW_PYTHON.format(python=sys.executable), encoding="utf-8")
        python.chmod(0o700)
        job = start("6 * 7", python=str(python))
    else:
        job = start(IN_THE_CELL if stage == STAGES[1] else WHILE_SAVING)
    wait_for(root / "reached")
    return job


def runner(job: Job) -> int:
    """The pid of the runner, which may not have said it yet."""
    attempt = latest_attempt(job.directory)
    if attempt is not None and attempt.started is not None:
        assert attempt.started.who is not None
        return attempt.started.who.pid
    (child,) = psutil.Process(job_sh_of(job)).children()
    assert isinstance(child.pid, int)
    return child.pid


def kill(*pids: int) -> None:
    """SIGKILL, and wait until they are dead."""
    dying = [who for pid in pids if (who := ProcessId.of(pid)) is not None]
    for who in dying:
        os.kill(who.pid, signal.SIGKILL)
    for who in dying:
        wait_until(lambda who=who: not who.is_alive())  # type: ignore[misc]  # a bound default


@pytest.mark.parametrize("stage", STAGES)
def test_killed_runner_is_a_failure_that_names_the_signal(root: Path, stage: str) -> None:
    job = job_at(stage, root)
    kill(runner(job))
    assert job.wait(30) is JobStatus.FAILED
    assert job.info().reason == "killed by signal SIGKILL: by hand, or for lack of memory"
    with pytest.raises(JobFailed, match="SIGKILL"):
        job.fetch()


@pytest.mark.parametrize("stage", STAGES)
def test_job_runs_on_without_its_job_sh(root: Path, stage: str) -> None:
    job = job_at(stage, root)
    kill(job_sh_of(job))
    assert job.status() is (JobStatus.QUEUED if stage == STAGES[0] else JobStatus.RUNNING)
    (root / "go").touch()
    assert job.fetch(30) == 42
    assert job.status() is JobStatus.DONE


@pytest.mark.parametrize("stage", STAGES)
def test_job_killed_with_its_job_sh_is_lost(root: Path, stage: str) -> None:
    job = job_at(stage, root)
    kill(job_sh_of(job), runner(job))
    info = job.info()
    assert (info.status, info.reason) == (
        JobStatus.LOST,
        "its processes are gone and left no word: killed, job.sh too",
    )
    with pytest.raises(JobLost, match="left no word"):
        job.fetch()


def test_lost_job_can_be_cleaned_up(root: Path) -> None:
    job = job_at(STAGES[1], root)
    kill(job_sh_of(job), runner(job))
    job.cleanup()
    assert not job.directory.exists()


def test_job_whose_word_came_after_the_look_is_not_lost(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finished between the look at its facts and the question to the process table."""
    from persist_magic.managers import process

    job = job_at(STAGES[1], root)
    ask = process._look

    def late(*given: object) -> object:
        (root / "go").touch()
        wait_until(lambda: ProcessId.of(sh) is None)
        return ask(*given)  # type: ignore[arg-type]  # what it was called with

    sh = job_sh_of(job)
    monkeypatch.setattr(process, "_look", late)
    assert job.status() is JobStatus.DONE


# ---- ends that come from within


def test_segfault_is_told_with_the_line_that_crashed(root: Path) -> None:
    job = run("import ctypes\nbefore = 1\nctypes.string_at(0)")
    info = job.info()
    assert (info.status, info.reason) == (JobStatus.FAILED, "killed by signal SIGSEGV")
    assert "Fatal Python error: Segmentation fault" in job.stderr()
    assert 'File "<persist job>", line 3 in <module>' in job.stderr()


@pytest.mark.parametrize("status", [0, 3])
def test_interpreter_that_ends_itself_has_not_done_the_cell(root: Path, status: int) -> None:
    info = run(f"import os\nos._exit({status})").info()
    assert info.status is JobStatus.FAILED
    assert info.reason.endswith(f"ended before the cell did, with exit status {status}")


def test_lack_of_memory_is_an_ordinary_failure(root: Path) -> None:
    job = run(
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "kept = 1\n"
        "too_much = bytearray(4 << 30)"
    )
    assert (job.info().status, job.info().reason) == (JobStatus.FAILED, "MemoryError")
    assert job.variables("kept", partial=True) == {"kept": 1}


def test_term_from_outside_is_told_and_keeps_what_was_bound(root: Path) -> None:
    job = job_at(STAGES[1], root)
    os.kill(runner(job), signal.SIGTERM)
    assert job.wait(30) is JobStatus.FAILED
    assert job.info().reason == "ended by signal SIGTERM from outside"
    assert job.variables("kept", partial=True) == {"kept": 1}


def test_hangup_and_interrupt_of_job_sh_do_not_end_the_job(root: Path) -> None:
    job = job_at(STAGES[1], root)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        os.kill(job_sh_of(job), number)
    (root / "go").touch()
    assert job.fetch(30) == 42
    wait_until(lambda: attempt_of(job).exited is not None)


def test_term_to_job_sh_alone_stops_the_runner(root: Path) -> None:
    job = job_at(STAGES[1], root)
    os.kill(job_sh_of(job), signal.SIGTERM)
    assert job.wait(30) is JobStatus.FAILED
    assert job.variables("kept", partial=True) == {"kept": 1}
    wait_until(lambda: attempt_of(job).exited is not None)


def test_status_says_nothing_of_an_end_before_there_is_one(root: Path) -> None:
    job = job_at(STAGES[2], root)
    before = time.time()
    info = job.info()
    assert info.status is JobStatus.RUNNING
    assert info.ended is None
    (root / "go").touch()
    job.wait(30)
    ended = job.info().ended
    assert ended is not None
    # The cell ended before its value was saved.
    assert ended <= before
