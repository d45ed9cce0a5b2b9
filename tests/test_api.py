"""The Python API: every verb of Persist.jl, from plain Python."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import persist_magic
from persist_magic import (
    Job,
    JobInfo,
    JobStatus,
    PersistError,
    ProcessManager,
    list_jobs,
    persist,
    read_job,
    save,
)
from persist_magic.errors import CannotSave, JobCancelled, JobNotFound, NameTaken, NotReady
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("root")


def until(path: Path) -> Callable[[], str]:
    """A function that ends when the file *path* is there."""
    where = os.fspath(path)

    def wait() -> str:
        import os
        import time

        print("waiting", flush=True)
        while not os.path.exists(where):
            time.sleep(0.01)
        return "went"

    return wait


def test_public_names() -> None:
    assert persist_magic.__all__ == [
        "Job",
        "JobInfo",
        "JobStatus",
        "JobTerminated",
        "PersistError",
        "ProcessManager",
        "list_jobs",
        "persist",
        "read_job",
        "save",
    ]
    for name in persist_magic.__all__:
        assert getattr(persist_magic, name).__name__ == name
    assert set(persist_magic.__all__) <= set(dir(persist_magic))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(persist_magic, "nonsense")  # noqa: B009  # mypy knows that it is not there


# ---- persist


def test_function_runs_in_another_process_with_its_arguments() -> None:
    def function(a: int, b: int = 0) -> tuple[int, int, int]:
        import os

        return a, b, os.getpid()

    job = persist(function, "hello", ProcessManager(), args=(1,), kwargs={"b": 2})
    assert isinstance(job, Job)
    a, b, pid = job.fetch(60)
    assert (a, b) == (1, 2)
    assert pid != os.getpid()


def test_decorator_puts_the_job_in_the_functions_place() -> None:
    @persist("decorated", ProcessManager(time="1:00:00"))
    def job() -> int:
        return 42

    assert isinstance(job, Job)
    assert job.fetch(60) == 42
    assert job.info().time_limit == 3600

    @persist("undecorated")
    def other() -> int:
        return 43

    assert other.fetch(60) == 43


def test_job_without_a_name_is_refused() -> None:
    def nameless() -> None: ...

    with pytest.raises(PersistError, match="the job of 'nameless' has no name") as caught:
        persist(nameless)  # type: ignore[call-overload]  # the mistake that is tested
    assert "@persist('name')" in caught.value.hint
    assert not Path(".persist").exists()


def test_name_of_an_existing_job_is_replaced_only_when_told() -> None:
    first = persist(lambda: 1, "same")
    first.wait(60)
    with pytest.raises(NameTaken):
        persist(lambda: 2, "same")
    assert read_job("same") == first
    second = persist(lambda: 2, "same", replace=True)
    assert second != first
    assert second.fetch(60) == 2


def test_replaced_job_is_kept_until_the_new_one_is_done() -> None:
    good = persist(lambda: "good", "kept")
    good.wait(60)
    for _ in range(2):
        bad = persist(lambda: [][0], "kept", replace=True)
        with pytest.raises(IndexError):
            bad.fetch(60)
    assert read_job("kept") == bad
    assert read_job(good.id).fetch() == "good"
    bad.cleanup()
    assert read_job("kept") == good
    assert [job.id for job in list_jobs()] == good.store.ids() == [good.id]
    better = persist(lambda: "better", "kept", replace=True)
    assert better.fetch(60) == "better"
    assert better.store.ids() == [better.id]


def test_running_job_is_replaced_only_by_force() -> None:
    running = persist(until(Path("never").absolute()), "busy")
    with pytest.raises(PersistError, match="exists already"):
        persist(lambda: 2, "busy", replace=True)
    assert persist(lambda: 2, "busy", replace=True, force=True).fetch(60) == 2
    wait_until(lambda: not running.directory.exists() or running.status().ended)


def test_arguments_are_a_snapshot() -> None:
    data = [1]
    job = persist(len, "snapshot", args=(data,))
    data.append(2)
    assert job.fetch(60) == 1


def test_argument_that_cannot_be_saved_is_named_before_anything_is_made() -> None:
    import threading

    with pytest.raises(CannotSave, match="lock"):
        persist(len, "impossible", args=([threading.Lock()],))
    assert list_jobs() == []


# ---- finding jobs


def test_job_is_found_again_by_name_and_by_id() -> None:
    job = persist(lambda: 5, "found")
    assert read_job("found") == job
    assert read_job(job.id) == job
    assert hash(read_job("found")) == hash(job)
    assert read_job("found", root=".persist").fetch(60) == 5


def test_unknown_job_is_told_with_near_names() -> None:
    persist(lambda: 1, "train").wait(60)
    with pytest.raises(JobNotFound, match="no job named 'trian'") as caught:
        read_job("trian")
    assert "did you mean 'train'?" in caught.value.hint


def test_jobs_are_listed_newest_first() -> None:
    assert list_jobs() == []
    made = [persist(lambda: None, name) for name in ("b", "a", "c")]
    assert list_jobs() == made[::-1]


# ---- asking


def test_status_compares_with_itself_and_with_its_name() -> None:
    job = persist(lambda: 1, "state")
    job.wait(60)
    assert job.status() is JobStatus.DONE
    assert job.status() == "DONE"
    assert job.status() != JobStatus.FAILED
    assert str(job.status()) == "DONE"
    assert job.is_ready()
    assert [status.value for status in JobStatus] == [
        "EMPTY",
        "QUEUED",
        "RUNNING",
        "DONE",
        "FAILED",
        "CANCELLED",
        "LOST",
    ]
    assert [status for status in JobStatus if status.ended] == [
        JobStatus.DONE,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
        JobStatus.LOST,
    ]


def test_info_tells_all_about_a_job() -> None:
    job = persist(lambda: "x" * 100, "informed")
    job.fetch(60)
    info = job.info()
    assert (info.name, info.id, info.status) == ("informed", job.id, JobStatus.DONE)
    assert (info.manager, info.attempt, info.directory) == ("local", 1, job.directory)
    assert info.started is not None
    assert info.ended is not None
    assert info.created <= info.ended
    assert info.took is not None
    assert 0 <= info.took < 60
    assert info.bytes > 100
    assert str(info).startswith("job 'informed': DONE, took ")


def test_repr_shows_the_status_and_survives_deletion() -> None:
    job = persist(lambda: 1, "shown")
    job.wait(60)
    assert repr(job).startswith("<job 'shown': DONE, took ")
    job.cleanup()
    assert repr(job) == "<job 'shown': job 'shown' was deleted>"


def test_waiting_ends_with_the_time_but_not_the_job() -> None:
    go = Path("go").absolute()
    job = persist(until(go), "waited")
    seen: list[JobInfo] = []
    with pytest.raises(NotReady, match=r"not ready after 0\.1 s") as caught:
        job.wait(0.1, tick=seen.append)
    assert isinstance(caught.value, TimeoutError)
    assert [info.name for info in seen] == ["waited"]
    assert not job.is_ready()
    with pytest.raises(NotReady):
        job.fetch(timeout=0)
    go.touch()
    assert job.wait(60) is JobStatus.DONE
    assert job.fetch() == "went"


def test_output_is_read_whole_or_by_its_last_lines() -> None:
    def speak() -> None:
        import sys

        print("one\ntwo\rTWO\nthree")
        sys.stderr.write("complaint\n")

    job = persist(speak, "speaker")
    job.wait(60)
    assert job.stdout() == "one\ntwo\rTWO\nthree\n"
    assert job.stdout(2) == "TWO\nthree\n"
    assert job.stderr() == "complaint\n"


# ---- failing


def test_failure_has_its_type_attributes_and_the_jobs_traceback(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from persist_magic import persist\n"
        "class MyError(Exception):\n"
        "    pass\n"
        "def inner():\n"
        "    error = MyError('why')\n"
        "    error.code = 7\n"
        "    raise error\n"
        "job = persist(inner, 'failing')\n"
        "try:\n"
        "    job.fetch(60)\n"
        "except MyError as error:\n"
        "    print(type(error) is MyError, error.args, error.code)\n"
        "    raise\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.stdout == "True ('why',) 7\n"
    remote, _, here = done.stderr.partition("The above exception was the direct cause")
    assert "in inner" in remote
    assert "    raise error\n" in remote
    # Older Pythons name the module as well.
    assert here.splitlines()[-1].removeprefix("__main__.") == "MyError: why"


def test_failure_is_shown_with_its_cause() -> None:
    def divide() -> float:
        return 1 / 0

    job = persist(divide, "divided")
    with pytest.raises(ZeroDivisionError) as caught:
        job.fetch(60)
    text = "".join(traceback.format_exception(caught.value))
    assert "in divide" in text
    assert job.status() is JobStatus.FAILED
    assert job.info().reason == "ZeroDivisionError: division by zero"


# ---- ending


def test_cancelled_job_raises_that_it_was() -> None:
    job = persist(until(Path("never").absolute()), "cancelled")
    wait_until(job.stdout)
    assert job.cancel() is JobStatus.CANCELLED
    assert job.cancel(force=True) is JobStatus.CANCELLED
    with pytest.raises(JobCancelled, match="was cancelled by"):
        job.fetch()


def test_cleanup_deletes_all_trace_but_not_of_a_running_job() -> None:
    job = persist(until(Path("never").absolute()), "cleaned")
    with pytest.raises(PersistError, match="job 'cleaned' is"):
        job.cleanup()
    assert job.directory.is_dir()
    job.cleanup(force=True)
    assert not job.directory.exists()
    assert list_jobs() == []
    with pytest.raises(JobNotFound):
        read_job("cleaned")


# ---- awaiting


def test_jobs_can_be_awaited_together() -> None:
    async def both() -> list[Any]:
        return list(await asyncio.gather(*(wait_for(name) for name in ("first", "second"))))

    async def wait_for(name: str) -> Any:
        return await read_job(name)

    persist(lambda: 1, "first")
    persist(lambda: 2, "second")
    assert asyncio.run(both()) == [1, 2]


def test_awaiting_a_failed_job_raises_its_failure() -> None:
    async def wait() -> Any:
        return await persist(lambda: [][0], "await_failed")

    with pytest.raises(IndexError):
        asyncio.run(wait())


# ---- save


def test_saved_values_are_fetched_while_the_job_runs() -> None:
    go = os.fspath(Path("go").absolute())

    def work() -> str:
        import os
        import time

        from persist_magic import save

        save(best=[1], epoch=1)
        save(epoch=2)
        print("saved", flush=True)
        while not os.path.exists(go):
            time.sleep(0.01)
        return "done"

    job = persist(work, "saver")
    wait_until(job.stdout)
    assert job.status() is JobStatus.RUNNING
    assert job.variables(partial=True) == {"best": [1], "epoch": 2}
    assert job.variables("best", partial=True) == {"best": [1]}
    Path(go).touch()
    assert job.fetch(60) == "done"
    assert job.variables() == {"best": [1], "epoch": 2}


def test_save_outside_a_job_only_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    save(x=1)
    assert capsys.readouterr().err == "save(): not in a job, so nothing was saved\n"
    with pytest.raises(PersistError, match="nothing to save"):
        save()
