"""Cells run as jobs without a kernel: what `%%persist` submits, from plain Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from persist_magic.capture import names_of_cell
from persist_magic.jobdir import Attempt, latest_attempt
from persist_magic.jobs import Job, current_store
from persist_magic.managers.process import ProcessManager
from persist_magic.planning import Digests, Plan, Surroundings, plan_inputs
from persist_magic.submission import submit
from waiting import wait_until


def plan_of(
    source: str,
    name: str = "job",
    *,
    time: float | None = None,
    inputs: dict[str, Any] | None = None,
    out: list[str] | None = None,
    cwd: str | None = None,
    env: dict[str, str] | None = None,
    setup: list[str] | None = None,
    python: str = sys.executable,
    notify: str | None = None,
) -> Plan:
    """The job of the cell *source*, which is sent *inputs*."""
    code = TransformerManager().transform_cell(source)
    namespace = dict(inputs or {})
    digest = Digests()
    dump, sent = plan_inputs(dict.fromkeys(namespace, "sent"), namespace, frozenset(), digest)
    return Plan(
        name=name,
        kind="cell",
        source=source,
        code=code,
        dump=dump,
        inputs=sent,
        manager=ProcessManager(time),
        surroundings=Surroundings(
            cwd=cwd or os.getcwd(), env=env or {}, setup=setup or [], python=python, notify=notify
        ),
        binds=sorted(names_of_cell(code).binds),
        out=out,
        shell=True,
        digest=digest,
    )


def start(source: str, name: str = "job", **options: Any) -> Job:
    """The job of the cell *source*, submitted; *options* are those of `plan_of`."""
    store = current_store()
    return Job(store, submit(store, plan_of(source, name, **options)))


def run(source: str, name: str = "job", **options: Any) -> Job:
    """The job of the cell *source*, ended."""
    job = start(source, name, **options)
    job.wait(60)
    return job


def importing(*places: Path) -> dict[str, str]:
    """An environment in which this module, the package and what is in *places* can be imported."""
    here = Path(__file__).parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*places, here, here.parent)))}


def attempt_of(job: Job) -> Attempt:
    """The latest attempt of *job*, in which something has happened."""
    attempt = latest_attempt(job.directory)
    assert attempt is not None, "nothing has happened yet"
    return attempt


def runner_of(job: Job) -> int:
    """The pid of the runner of *job*, once it has started."""
    wait_until(lambda: (a := latest_attempt(job.directory)) is not None and a.started is not None)
    started = attempt_of(job).started
    assert started is not None
    assert started.who is not None
    return started.who.pid


def job_sh_of(job: Job) -> int:
    """The pid of the shell that runs the job.sh of *job*."""
    submitted = job.facts().submitted
    assert submitted is not None
    pid = submitted.handle["pid"]
    assert isinstance(pid, int)
    return pid


def wait_for(path: Path) -> None:
    """Wait until the job has made the file *path*."""
    wait_until(path.exists, message=f"{path} was not made")
