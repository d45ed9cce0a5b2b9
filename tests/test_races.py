"""Several kernels at one root, at the same moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from persist_magic import Job, JobStatus
from persist_magic import facts as files
from persist_magic.store import Store
from waiting import wait_until

ROUNDS = 100
REPLACING_ROUNDS = 20
# How many of the jobs may run at once.
AT_ONCE = 4

# Submits a job whose result is this process's number, when the clock says so; again and again.
_KERNEL = """
import json, os, sys, time
from persist_magic import persist
from persist_magic.errors import PersistError

for line in sys.stdin:
    name, replace, start = json.loads(line)
    while time.time() < start:
        pass
    try:
        answer = {"id": persist(max, name, args=(int(sys.argv[1]), -1), replace=replace).id}
    except PersistError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(answer), flush=True)
"""


@dataclass
class Kernels:
    """Two processes that submit a job of one name at one moment."""

    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def race(self, name: str, *, replace: bool = False) -> list[dict[str, Any]]:
        """What each of them got: the id of its job, or the name of its error."""
        start = time.time() + 0.005
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps([name, replace, start]) + "\n")
            process.stdin.flush()
        return [json.loads(process.stdout.readline()) for process in self.processes]  # type: ignore[union-attr]  # a pipe


@pytest.fixture
def kernels(root: Path) -> Iterator[Kernels]:
    found = Kernels()
    for number in range(2):
        command = [sys.executable, "-c", _KERNEL, str(number)]
        found.processes.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
    found.race("warm")
    yield found
    for process in found.processes:
        process.communicate()
        assert process.returncode == 0


def only_whole_jobs(store: Store, ids: set[str]) -> None:
    """The jobs *ids* have ended well, and of no other there is a trace."""
    assert set(store.ids()) == ids
    assert files.listing(store.jobs) == ids
    assert files.listing(store.making) == frozenset()
    for id in ids:
        job = Job(store, store.jobs / id)
        wait_until(job.is_ready)
        assert job.status() is JobStatus.DONE
    assert os.path.lexists(store.names.directory / ".lock")


def test_one_of_two_kernels_wins_a_name(root: Path, kernels: Kernels) -> None:
    store = Store(root / ".persist")
    won: dict[str, tuple[int, Job]] = {}
    for number in range(ROUNDS):
        name = f"job{number}"
        answers = kernels.race(name)
        winners = [n for n, answer in enumerate(answers) if "id" in answer]
        assert len(winners) == 1, answers
        (winner,) = winners
        loser = answers[1 - winner]
        assert loser["error"] in ("NameTaken", "StillRunning"), loser
        assert f"a job named {name!r} exists already" in loser["message"]
        job = Job(store, store.resolve(name))
        assert job.id == answers[winner]["id"]
        won[name] = winner, job
        if number >= AT_ONCE:
            wait_until(won[f"job{number - AT_ONCE}"][1].is_ready)
    for winner, job in won.values():
        assert job.fetch(60) == winner
    only_whole_jobs(store, {*(job.id for _, job in won.values()), store.resolve("warm").name})


def test_two_kernels_that_replace_a_job_leave_one_whole_job(root: Path, kernels: Kernels) -> None:
    store = Store(root / ".persist")
    Job(store, store.resolve("warm")).wait(60)
    for _ in range(REPLACING_ROUNDS):
        answers = kernels.race("warm", replace=True)
        winners = [n for n, answer in enumerate(answers) if "id" in answer]
        assert winners, answers
        for answer in answers:
            if "id" not in answer:
                assert answer["error"] in ("NameTaken", "StillRunning"), answer
                assert "a job named 'warm' exists already" in answer["message"]
        job = Job(store, store.resolve("warm"))
        assert job.id in {answers[n]["id"] for n in winners}
        assert job.fetch(60) in winners
        # What it replaced went when it was fetched.
        only_whole_jobs(store, {job.id})
