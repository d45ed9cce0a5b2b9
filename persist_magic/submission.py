"""From what was asked for to a job that its manager has. Knows the order that loses nothing.

Everything is made under a name that nobody looks at; then the job appears whole, its name is
claimed, the manager starts it, and the handle is written down. Until the manager has it, an error
or Ctrl-C leaves no trace.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from persist_magic import facts, payload, records
from persist_magic.ending import end
from persist_magic.errors import PersistError, StillRunning, UsageError
from persist_magic.interrupts import uninterrupted
from persist_magic.jobdir import (
    LAYOUT,
    JobFacts,
    Request,
    Submitted,
    attempt_directory,
)
from persist_magic.localcode import copy_code, differences
from persist_magic.machine import host_name, user_name
from persist_magic.managers import Manager
from persist_magic.names import check_name, taken
from persist_magic.observe import status_of
from persist_magic.planning import Plan
from persist_magic.runner.snapshot import CODE
from persist_magic.status import JobStatus
from persist_magic.store import NewJob, Store


def submit(store: Store, plan: Plan, *, replace: bool = False, force: bool = False) -> Path:
    """Make the job of *plan* and give it to its manager; the job's directory.

    Raises
    ------
    NameTaken, StillRunning, CannotSave, NoSpace, RootRefused, UsageError
        Nothing was made.
    """
    check_name(plan.name)
    plan.surroundings.check()
    plan.check_savable()

    def fill(new: NewJob, replacing: str | None) -> Request:
        request = _request(plan, new, replacing)
        _fill(new, plan, request)
        return request

    return launch(store, plan.name, plan.manager, fill, replace=replace, force=force)


def launch(
    store: Store,
    name: str,
    manager: Manager,
    fill: Callable[[NewJob, str | None], Request],
    *,
    replace: bool,
    force: bool,
) -> Path:
    """Make a job called *name* that *fill* fills, and give it to *manager*; its directory."""
    if problem := manager.problem():
        raise UsageError(f"{manager.name}: {problem}", "choose another manager, or --local")
    store.prepare()
    replacing = _replaceable(store, name, replace, force)
    with store.new_job(name) as new:
        request = fill(new, replacing)
        handle: dict[str, Any] | None = None
        # From here on there is all of the job, or nothing.
        try:
            with uninterrupted():
                new.publish(replacing)
            if replacing is not None:
                # Not before the new one is there: it could still fail.
                _end_old(store, replacing, force)
            with uninterrupted():
                handle = manager.submit(new.final, request)
                Submitted(handle, time.time()).write(new.final)
        except BaseException:
            with uninterrupted():
                made = JobFacts.read(new.final)
                if handle is not None and made is not None:
                    known = records.replace(made, submitted=Submitted(handle, time.time()))
                    manager.cancel(known, force=True)
                new.withdraw()
            raise
        return new.final


def _replaceable(store: Store, name: str, replace: bool, force: bool) -> str | None:
    """The id of the job that a new one called *name* is to replace; None for a free name."""
    id = store.newest(name)
    if id is None:
        return None
    # Asked before looking: what is read after its maker has ended is all that will be.
    being_made = store.being_made(store.jobs / id)
    old = JobFacts.read(store.jobs / id)
    if old is None:
        if replace:
            return id
        raise taken(name)
    old, status = status_of(store, old)
    never_ran = old.submitted is None and old.attempt is None
    match status.kind:
        case JobStatus.EMPTY | JobStatus.CANCELLED if never_ran and not being_made:
            # Its submission was interrupted, so nobody waits for it.
            return id
        case JobStatus.EMPTY | JobStatus.QUEUED | JobStatus.RUNNING if not (replace and force):
            word = "being submitted" if being_made else status.kind.value.lower()
            raise StillRunning(
                f"a job named {name!r} exists already and is {word}",
                f"%persist_fetch {name} waits for it; add --force to cancel it first"
                if replace
                else f"%persist_fetch {name} waits for it; or choose another name",
            )
        case _ if replace:
            return id
        case _:
            raise taken(name)


def _end_old(store: Store, id: str, force: bool) -> None:
    """See to it that the job *id*, which is being replaced, does not run on."""
    old = JobFacts.read(store.jobs / id)
    if old is None:
        return
    old, status = status_of(store, old)
    if not status.kind.ended:
        end(old, why="replaced", force=force)


def _request(plan: Plan, new: NewJob, replacing: str | None) -> Request:
    return Request(
        layout=LAYOUT,
        id=new.id,
        name=plan.name,
        kind=plan.kind,
        manager=plan.manager.name,
        created=time.time(),
        python=plan.surroundings.python,
        python_version=plan.python_version,
        cwd=plan.surroundings.cwd,
        user=user_name(),
        host=host_name(),
        options=plan.manager.options,
        surroundings=plan.surroundings.to_json(),
        sys_path=[entry or os.getcwd() for entry in sys.path],
        out=plan.out,
        binds=plan.binds,
        inputs=plan.inputs,
        state=plan.state_prints,
        local_code=plan.local_code,
        origins={f.path: str(f.source) for f in plan.code_files if "/" not in f.path},
        versions=_versions(plan),
        time_limit=plan.time_limit,
        shell=plan.shell,
        replaces=replacing,
    )


def _versions(plan: Plan) -> dict[str, str]:
    """The versions of the packages that the inputs come from."""
    packages = {str(about["type"]).partition(".")[0] for about in plan.inputs.values()}
    packages |= {
        str(about["is"]).removeprefix("module ").partition(".")[0]
        for about in plan.inputs.values()
        if about["type"] == "module"
    }
    found = {}
    for package in sorted(packages):
        version = getattr(sys.modules.get(package), "__version__", None)
        if isinstance(version, str):
            found[package] = version
    return found


def _fill(new: NewJob, plan: Plan, request: Request) -> None:
    inputs = new.directory / "inputs"
    facts.make_directory(inputs)
    # A local job does not survive a crash of the machine; another's does.
    durable = plan.manager.name != "local"
    if plan.dump.groups:
        payload.write(plan.dump, inputs, new.store.blobs, durable=durable, digest=plan.digest)
    if plan.code_files:
        copied = copy_code(plan.code_files, inputs / CODE, durable=durable)
        if differences(plan.local_code, copied):
            raise PersistError(
                "the notebook's own modules changed while they were copied", "submit it again"
            )
    if plan.kind == "cell":
        facts.write_new(new.directory / "cell.py", plan.source.encode(), sync=durable)
        if plan.code != plan.source:
            facts.write_new(new.directory / "code.py", plan.code.encode(), sync=durable)
    script = plan.script(new.id, new.final)
    facts.write_new(new.directory / "job.sh", os.fsencode(script), sync=durable)
    first = attempt_directory(new.directory, 1)
    facts.make_directory(first.parent)
    facts.make_directory(first)
    facts.write_new(new.directory / Request.FILE, request.encode())
    if durable:
        facts.sync_directory(new.directory)
