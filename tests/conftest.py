"""Fixtures of all tests, and the guard that no test leaves a job running."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

from waiting import wait_until

JOB = "PERSIST_JOB_ID"
SESSION = "PERSIST_TEST_SESSION"

# A slow machine is not a failure.
settings.register_profile("persist_magic", deadline=None)
settings.load_profile("persist_magic")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project directory, which is also the working directory."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.delenv("PERSIST_ROOT", raising=False)
    return project


def job_processes(session: str) -> dict[psutil.Process, str]:
    """Every live process of a job that the tests of *session* started, and what it runs."""
    found = {}
    for process in psutil.process_iter():
        # It may end at any moment, and another user's may not be looked at.
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            if environment.get(SESSION) == session and JOB in environment:
                command = " ".join(process.cmdline())
                found[process] = f"{environment[JOB]}: process {process.pid}, {command}"
    return found


@pytest.fixture(scope="session", autouse=True)
def _no_job_is_left_running() -> Iterator[None]:
    """Fail at the end of the session if a job that a test started still runs then."""
    session = uuid.uuid4().hex
    with pytest.MonkeyPatch.context() as patch:
        # Every process that a test starts inherits the mark. The tests may themselves run in a job,
        # but what they start is no part of it.
        patch.setenv(SESSION, session)
        patch.delenv(JOB, raising=False)
        yield
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not job_processes(session), timeout=10)
    left = job_processes(session)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    assert not left, "jobs left running by the tests, now killed:\n" + "\n".join(left.values())
