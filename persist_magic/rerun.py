"""The same job once more: same source, same inputs, other resources if wanted."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import Any

from persist_magic import facts, payload, records
from persist_magic.blobs import BlobIndex, copy_file
from persist_magic.errors import Damaged
from persist_magic.jobdir import JobFacts, Request, attempt_directory
from persist_magic.machine import host_name, user_name
from persist_magic.managers import Manager
from persist_magic.planning import OVERTIME, Surroundings
from persist_magic.root import check_private
from persist_magic.runner.snapshot import CODE
from persist_magic.script import job_script
from persist_magic.store import NewJob, Store
from persist_magic.submission import launch


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
        request = records.replace(
            old.request,
            id=new.id,
            manager=manager.name,
            options=manager.options,
            created=time.time(),
            user=user_name(),
            host=host_name(),
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
        durable = manager.name != "local"
        try:
            _copy_code(old, new.directory, durable)
            _copy_inputs(old, new.directory / "inputs", store.blobs, durable)
        except FileNotFoundError as error:
            raise Damaged(
                f"{error.filename} is missing", "run the cell again from the notebook"
            ) from error
        facts.write_new(new.directory / "job.sh", os.fsencode(script), sync=durable)
        first = attempt_directory(new.directory, 1)
        facts.make_directory(first.parent)
        facts.make_directory(first)
        facts.write_new(new.directory / Request.FILE, request.encode())
        if durable:
            facts.sync_directory(new.directory)
        return request

    return launch(store, old.request.name, manager, fill, replace=True, force=force)


def _copy_code(old: JobFacts, target: Path, durable: bool) -> None:
    if old.request.kind != "cell":
        return
    for name in ("cell.py", *(facts.listing(old.directory) & {"code.py"})):
        copy_file(old.directory / name, target / name, sync=durable)
        # So a crash of the machine leaves what had not been synced.
        if not (target / name).stat().st_size:
            raise Damaged(
                f"{old.directory / name} is empty", "run the cell again from the notebook"
            )


def _copy_inputs(old: JobFacts, target: Path, index: BlobIndex, durable: bool) -> None:
    source = old.directory / "inputs"
    facts.make_directory(target)
    present = facts.listing(source)
    if CODE in present:
        shutil.copytree(source / CODE, target / CODE)
    if not present - {CODE} and not old.request.inputs and old.request.kind == "cell":
        return
    held, linked = source / payload.BLOBS, target / payload.BLOBS
    facts.make_directory(linked)
    for digest in facts.listing(held):
        index.adopt(held / digest, digest, linked / digest, durable=durable)
    for name in (payload.DATA, payload.MANIFEST):
        copy_file(source / name, target / name, sync=durable)
    if durable:
        facts.sync_directory(linked)
        facts.sync_directory(target)
