"""The same job once more: same source, same inputs, other resources if wanted."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

from persist_magic import facts, payload
from persist_magic.blobs import BlobIndex
from persist_magic.errors import Damaged
from persist_magic.jobdir import JobFacts, Request, attempt_directory
from persist_magic.managers import Manager
from persist_magic.script import job_script
from persist_magic.store import NewJob, Store, check_private
from persist_magic.submission import OVERTIME, Surroundings, launch


def rerun(
    store: Store,
    old: JobFacts,
    manager: Manager,
    changes: dict[str, Any],
    *,
    force: bool = False,
) -> Path:
    """Run *old* again in its own place; the directory of the new job.

    Parameters
    ----------
    manager
        What runs it now.
    changes
        Fields of the surroundings (`cwd`, `env`, `setup`, `python`, `notify`) that are to differ.

    Raises
    ------
    StillRunning
        It has not ended, and *force* was not given.
    Damaged
        Its inputs are not what was written.
    """
    check_private(old.directory)
    known = {field.name for field in dataclasses.fields(Surroundings)}
    kept = {key: value for key, value in old.request.surroundings.items() if key in known}
    surroundings = Surroundings(**{"cwd": old.request.cwd, **kept, **changes})
    surroundings.check()
    limit = getattr(manager, "time_limit", None)

    def fill(new: NewJob, replacing: str | None) -> Request:
        request = dataclasses.replace(
            old.request,
            id=new.id,
            manager=manager.name,
            options=manager.options,
            created=time.time(),
            python=surroundings.python,
            cwd=surroundings.cwd,
            surroundings=surroundings.to_json(),
            time_limit=limit,
            replaces=replacing,
        )
        script = job_script(
            id=new.id,
            name=request.name,
            job=new.final,
            python=surroundings.python,
            cwd=surroundings.cwd,
            setup=surroundings.setup,
            env=surroundings.env,
            time_limit=limit,
            grace=OVERTIME,
            notify=surroundings.notify,
        )
        for name in facts.listing(old.directory) & {"cell.py", "code.py"}:
            shutil.copyfile(old.directory / name, new.directory / name)
        _copy_inputs(old.directory / "inputs", new.directory / "inputs", store.blobs)
        facts.write_new(new.directory / "job.sh", script.encode(), sync=False)
        first = attempt_directory(new.directory, 1)
        first.parent.mkdir(mode=0o700)
        first.mkdir(mode=0o700)
        facts.write_new(new.directory / Request.FILE, request.encode())
        return request

    return launch(store, old.request.name, manager, fill, replace=True, force=force)


def _copy_inputs(source: Path, target: Path, index: BlobIndex) -> None:
    target.mkdir(mode=0o700)
    present = facts.listing(source)
    if payload.MANIFEST not in present:
        return
    (target / payload.BLOBS).mkdir(mode=0o700)
    for name in facts.listing(source / payload.BLOBS):
        index.adopt(
            source / payload.BLOBS / name, name, target / payload.BLOBS / name, durable=False
        )
    for name in (payload.DATA, payload.MANIFEST):
        if name not in present:
            raise Damaged(f"{source / name} is missing", "run the cell again from the notebook")
        shutil.copyfile(source / name, target / name)
