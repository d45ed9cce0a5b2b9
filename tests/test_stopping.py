"""A job that is asked to stop, or whose time is over: all of it ends, what it had is kept."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobcells import attempt_of, job_sh_of, run, runner_of, start, wait_for
from persist_magic import JobStatus, planning, read_job
from persist_magic.errors import JobCancelled, JobFailed
from persist_magic.jobs import Job
from persist_magic.managers import process
from persist_magic.processes import tree_of
from waiting import wait_until

SLEEP = "import time\nkept = 1\nopen('running', 'w').close()\ntime.sleep(300)"


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "CANCEL_GRACE", 5.0)


def running(source: str, root: Path, **options: Any) -> Job:
    """The job of *source*, once it has made the file `running`."""
    job = start(source, **options)
    wait_for(root / "running")
    return job


def is_alive(pid: int) -> bool:
    """Whether *pid* runs and is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pid_in(path: Path) -> int:
    """The pid that the job wrote to *path*."""
    wait_until(lambda: path.exists() and path.read_text().strip().isdigit())
    return int(path.read_text())


# ---- cancel


def test_cancelled_job_keeps_what_it_had_bound(root: Path) -> None:
    job = running(SLEEP, root)
    assert job.cancel() is JobStatus.CANCELLED
    assert job.info().reason.startswith("cancelled by ")
    assert job.variables("kept", partial=True) == {"kept": 1}
    assert not tree_of(job.id)
    with pytest.raises(JobCancelled):
        job.fetch()


# What a cell may be at when the request to stop comes.
AT_WORK = {
    "awaiting": "import asyncio\nawait asyncio.sleep(300)",
    "awaiting tasks": (
        "import asyncio\nawait asyncio.gather(asyncio.sleep(300), asyncio.sleep(300))"
    ),
    "in a program": "!sleep 300",
    "in a thread pool": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "import time\nThreadPoolExecutor().submit(time.sleep, 300).result()"
    ),
    "at a lock": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    "at a queue": "import queue\nqueue.Queue().get()",
    "at a number": "while True: pass",
}


@pytest.mark.parametrize("work", AT_WORK)
def test_request_to_stop_is_heard_at_once(root: Path, work: str) -> None:
    job = running(f"kept = 1\nopen('running', 'w').close()\n{AT_WORK[work]}", root)
    assert job.cancel() is JobStatus.CANCELLED
    assert job.variables("kept", partial=True) == {"kept": 1}
    finished = attempt_of(job).finished
    assert finished is not None
    assert finished.notes == []
    assert job.stderr() == ""


def test_forced_cancel_kills_at_once(root: Path) -> None:
    inside = SLEEP.replace("\n", "\n    ")
    job = running(f"try:\n    {inside}\nfinally:\n    open('late', 'w')", root)
    assert job.cancel(force=True) is JobStatus.CANCELLED
    assert not (root / "late").exists()
    assert not tree_of(job.id)


def test_cancelling_twice_is_once(root: Path) -> None:
    job = running(SLEEP, root)
    job.cancel()
    first = job.info()
    assert job.cancel() is JobStatus.CANCELLED
    assert job.info() == first


def test_two_may_cancel_at_the_same_time(root: Path) -> None:
    job = running(SLEEP, root)
    other = threading.Thread(target=job.cancel)
    other.start()
    assert job.cancel() is JobStatus.CANCELLED
    other.join()


def test_suspended_job_can_be_cancelled_and_keeps_what_it_had(root: Path) -> None:
    job = running(SLEEP, root)
    os.kill(runner_of(job), signal.SIGSTOP)
    assert job.cancel() is JobStatus.CANCELLED
    assert job.variables("kept", partial=True) == {"kept": 1}


GRANDCHILDREN = {
    "in a session of its own": "setsid sh -c 'echo $$ >pid; exec sleep 300'",
    "with a cleared environment": "env -i sh -c 'echo $$ >pid; exec sleep 300'",
    "with both": "env -i setsid sh -c 'echo $$ >pid; exec sleep 300'",
    "that ignores TERM": "trap '' TERM; sh -c 'echo $$ >pid; while :; do sleep 1; done'",
    "that ignores TERM, with both": (
        "trap '' TERM; env -i setsid sh -c 'echo $$ >pid; while :; do sleep 1; done'"
    ),
}


@pytest.mark.parametrize("kind", GRANDCHILDREN)
def test_cancel_reaches_a_grandchild(
    root: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(process, "CANCEL_GRACE", 1.0)
    command = f"{GRANDCHILDREN[kind]} & sleep 300"
    job = start(f"import subprocess\nsubprocess.run({command!r}, shell=True)")
    pid = pid_in(root / "pid")
    assert job.cancel() is JobStatus.CANCELLED
    assert not is_alive(pid)


def test_what_a_done_job_leaves_running_goes_with_the_job(root: Path) -> None:
    command = "setsid sh -c 'echo $$ >pid; exec sleep 300' &"
    job = run(f"import subprocess\nsubprocess.run({command!r}, shell=True)\n1")
    pid = pid_in(root / "pid")
    assert job.status() is JobStatus.DONE
    assert is_alive(pid)
    job.cleanup()
    assert not is_alive(pid)


def test_cancel_ends_what_is_left_of_the_session_of_a_dead_job_sh(root: Path) -> None:
    """The parent of the child is dead, its environment is empty: only its session tells."""
    job = running(
        "import subprocess\n"
        "subprocess.run(\"(env -i sh -c 'echo $$ >pid; exec sleep 300' &)\", shell=True)\n" + SLEEP,
        root,
    )
    pid = pid_in(root / "pid")
    os.kill(job_sh_of(job), signal.SIGKILL)
    assert job.cancel() is JobStatus.CANCELLED
    assert not is_alive(pid)


def test_job_that_a_job_started_outlives_it(root: Path) -> None:
    inner = f"import os, time\nwhile not os.path.exists({str(root / 'go')!r}): time.sleep(0.01)"
    outer = (
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from jobcells import start\nstart({inner!r}, 'inner')\n" + SLEEP
    )
    job = running(outer, root)
    assert job.cancel() is JobStatus.CANCELLED
    nested = read_job("inner")
    assert nested.status() is JobStatus.RUNNING
    (root / "go").touch()
    assert nested.wait(30) is JobStatus.DONE


def test_job_cancelled_during_setup_is_cancelled(root: Path) -> None:
    job = start("1", setup=["touch running; sleep 300"])
    wait_for(root / "running")
    assert job.cancel() is JobStatus.CANCELLED


def test_job_that_is_done_when_the_cancel_comes_stays_done(root: Path) -> None:
    job = run("1 + 1")
    assert job.cancel() is JobStatus.DONE
    assert job.fetch() == 2


SLOW_TO_SAVE = """
import os, time
class Slow:
    def __reduce__(self):
        open("running", "w").close()
        while not os.path.exists("go"): time.sleep(0.01)
        return (int, (42,))
{bound}
"""


def test_job_that_ends_while_it_is_cancelled_keeps_its_end(root: Path) -> None:
    job = running(SLOW_TO_SAVE.format(bound="Slow()"), root)

    def go() -> None:
        wait_for(job.directory / "cancelled.json")
        (root / "go").touch()

    other = threading.Thread(target=go)
    other.start()
    assert job.cancel() is JobStatus.DONE
    other.join()
    assert job.fetch() == 42


def test_cancel_waits_for_a_runner_that_is_saving(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "CANCEL_GRACE", 0.3)
    source = SLOW_TO_SAVE.format(bound="slow = Slow()\nopen('ready', 'w').close()\n")
    job = start(source + "time.sleep(300)")
    wait_for(root / "ready")
    beats = attempt_of(job).directory / "heartbeat"
    came: list[str] = []

    def go() -> None:
        wait_for(root / "running")

        def two_more() -> bool:
            beat = beats.read_text()
            if beat.endswith(" saving") and beat not in came:
                came.append(beat)
            return len(came) > 2

        wait_until(two_more)
        (root / "go").touch()

    other = threading.Thread(target=go)
    other.start()
    assert job.cancel() is JobStatus.CANCELLED
    other.join()
    assert job.variables("slow", partial=True) == {"slow": 42}


@pytest.mark.parametrize("first", ["", "import sys\nsys.stderr.close()\n"])
def test_error_that_comes_of_the_cancel_is_no_failure(root: Path, first: str) -> None:
    job = running(
        f"{first}import subprocess\nkept = 1\n"
        "try:\n    subprocess.run('touch running; sleep 300', shell=True, check=True)\n"
        "except BaseException as error:\n    raise RuntimeError('wrapped') from error",
        root,
    )
    assert job.cancel() is JobStatus.CANCELLED
    assert ("RuntimeError: wrapped" in job.stderr()) is (not first)
    assert job.variables("kept", partial=True) == {"kept": 1}


POOLS = {
    "Pool": "with mp.get_context('fork').Pool(2) as pool:\n    pool.map(work, range(8))",
    "ProcessPoolExecutor": (
        "with ProcessPoolExecutor(2, mp.get_context('fork')) as pool:\n"
        "    list(pool.map(work, range(8)))"
    ),
}


@pytest.mark.parametrize("pool", POOLS)
def test_cancelled_pool_workers_print_no_tracebacks(root: Path, pool: str) -> None:
    job = running(
        "import multiprocessing as mp, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "def work(n):\n    open('running', 'w').close()\n    time.sleep(300)\n"
        f"kept = 1\n{POOLS[pool]}",
        root,
    )
    assert job.cancel() is JobStatus.CANCELLED
    assert "Process-" not in job.stderr()
    assert "Worker" not in job.stderr()
    assert "SIGTERM" not in job.stderr()
    assert job.variables("kept", partial=True) == {"kept": 1}


# ---- time limit


def test_time_limit_is_enforced_and_keeps_what_was_bound(root: Path) -> None:
    child = "import subprocess\nsubprocess.Popen(['setsid', 'sleep', '300'])\n"
    job = start(child + SLEEP, time=1.0)
    assert job.wait(30) is JobStatus.FAILED
    assert job.info().reason == "timed out after 1.0 s"
    assert job.variables("kept", partial=True) == {"kept": 1}
    with pytest.raises(JobFailed, match="timed out after"):
        job.fetch()
    wait_until(lambda: not tree_of(job.id), message="processes are left")


def test_job_within_its_time_leaves_no_process(root: Path) -> None:
    job = run("1 + 1", time=300.0)
    assert job.fetch() == 2
    wait_until(lambda: not tree_of(job.id), message="processes are left")


# What the main thread does so that it cannot be interrupted by an exception.
STUBBORN = {
    "swallows": "while True:\n    try:\n        time.sleep(1)\n    except BaseException: pass",
    "in C": "import hashlib\nhashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)",
    "handles": "import signal\nsignal.signal(signal.SIGTERM, print)\nwhile True: time.sleep(1)",
    "ignores": "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(300)",
}


def test_stubborn_cells_lose_nothing_at_their_time_limit(root: Path) -> None:
    jobs = {
        name: start(f"import time\nkept = [1]\n{code}", name.replace(" ", "-"), time=1.0)
        for name, code in STUBBORN.items()
    }
    for name, job in jobs.items():
        assert job.wait(30) is JobStatus.FAILED, name
        assert job.info().reason == "timed out after 1.0 s", name
        assert job.variables("kept", partial=True) == {"kept": [1]}, name
        finished = attempt_of(job).finished
        assert finished is not None, name
        assert finished.notes == ["taken in mid-run: the main thread did not stop in time"], name
    wait_until(
        lambda: not any(tree_of(job.id) for job in jobs.values()), message="processes are left"
    )


def test_what_another_thread_changes_all_the_time_is_kept_too(root: Path) -> None:
    job = start(
        "import threading, time\n"
        "class Item: pass\n"
        "found = {}\n"
        "def work():\n    while True:\n        for i in range(500): found[i] = Item()\n"
        "        found.clear()\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "while True:\n    try: time.sleep(1)\n    except BaseException: pass",
        time=0.5,
    )
    assert job.wait(30) is JobStatus.FAILED
    assert isinstance(job.variables("found", partial=True)["found"], dict)


# No other thread runs meanwhile, and no signal is looked at.
HOLDS_ALL = "kept = 1\nopen('running', 'w').close()\nsum(range(10**14))"


def test_cell_that_holds_the_interpreter_is_killed_when_cancelled(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "CANCEL_GRACE", 0.5)
    job = running(HOLDS_ALL, root)
    assert job.cancel() is JobStatus.CANCELLED
    assert not tree_of(job.id)


def test_cell_that_holds_the_interpreter_is_killed_after_its_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "OVERTIME", 0.5)
    job = start(HOLDS_ALL, time=1.0)
    assert job.wait(30) is JobStatus.FAILED
    words = "timed out after 1.0 s; it did not stop when asked and was killed"
    assert job.info().reason == words
    wait_until(lambda: not tree_of(job.id), message="processes are left")


def test_overtime_waits_for_a_runner_that_is_saving(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "OVERTIME", 0.1)
    source = SLOW_TO_SAVE.format(bound="slow = Slow()") + "time.sleep(300)"
    job = start(source, time=0.5)
    wait_for(root / "running")
    wait_for(attempt_of(job).directory / "overtime")
    (root / "go").touch()
    assert job.wait(30) is JobStatus.FAILED
    assert job.info().reason == "timed out after 0.5 s"
    assert job.variables("slow", partial=True) == {"slow": 42}
