"""From what was asked for to a job that its manager has. Knows the order that loses nothing.

Everything is made under a name that nobody looks at; then the job appears whole, its name is
claimed, the manager starts it, and the handle is written down. Until the manager has it, an error
or Ctrl-C leaves no trace.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from persist_magic import facts, payload, records
from persist_magic.blobs import digest_of
from persist_magic.capture import follow
from persist_magic.ending import end
from persist_magic.errors import CannotSave, StillRunning, UsageError
from persist_magic.fingerprint import fingerprint
from persist_magic.interrupts import uninterrupted
from persist_magic.jobdir import (
    LAYOUT,
    JobFacts,
    Request,
    Submitted,
    attempt_directory,
)
from persist_magic.machine import host_name, user_name
from persist_magic.managers import Manager
from persist_magic.names import check_name, taken
from persist_magic.observe import status_of
from persist_magic.runner.outputs import CALL
from persist_magic.script import job_script
from persist_magic.status import JobStatus
from persist_magic.store import NewJob, Store


@dataclass
class Surroundings:
    """Where and how the job runs, beside what its manager decides."""

    cwd: str
    env: dict[str, str] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)
    python: str = sys.executable
    notify: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As kept in the request."""
        return dict(self.__dict__)

    def check(self) -> None:
        """Refuse what cannot work before anything is made.

        Raises
        ------
        UsageError
            A directory or interpreter that is not there, or a name no variable can have.
        """
        if not os.path.isdir(self.cwd):
            raise UsageError(f"--chdir {self.cwd}: no such directory", "make it, or name another")
        if not (os.path.isfile(self.python) and os.access(self.python, os.X_OK)):
            raise UsageError(
                f"--python {self.python}: no such program", "give the path of a Python interpreter"
            )
        for key in self.env:
            if not key.isidentifier() or not key.isascii():
                raise UsageError(f"--env {key}: no name of a variable", "write --env NAME=VALUE")
            if key.startswith(("persist_", "PERSIST_JOB_")):
                raise UsageError(f"--env {key}: job.sh needs it itself", "choose another name")


@dataclass
class Plan:
    """A job as asked for, its inputs pickled in memory: nothing has been made yet."""

    name: str
    kind: str  # "cell" or "function"
    source: str  # as typed; empty for a function
    code: str  # as Python; empty for a function
    dump: payload.Dump
    inputs: dict[str, Any]
    manager: Manager
    surroundings: Surroundings
    binds: list[str] = field(default_factory=list)
    out: list[str] | None = None
    shell: bool = False
    state: Mapping[str, object] = field(default_factory=dict)  # of the process, sent along
    digest: Callable[[memoryview], str] = digest_of
    notices: list[str] = field(default_factory=list)

    def check_savable(self) -> None:
        """Refuse a plan with an input that cannot be saved.

        Raises
        ------
        CannotSave
            It names the variable, the path to the culprit in it, its type, and what to do.
        """
        for name, failure in self.dump.failures.items():
            subject, path = _as_known(name, failure.path)
            kind = failure.type if path == name else self.dump.about[name]["type"]
            why = str(self.inputs.get(name, {}).get("why", ""))
            by = "" if why in ("", "read by the cell") else f", {why},"
            what = f"{subject}{by}" if name == CALL else f"{subject} ({kind}){by}"
            where = "" if path in (name, subject) else f": {path} is a {failure.type}"
            raise CannotSave(
                f"{what} cannot be sent to the job{where} ({failure.reason})",
                "make it inside the function, or pass what it is made from"
                if name == CALL
                else failure.advice.replace("--skip", f"--skip {name}"),
            )

    def script(self, id: str, job: Path) -> str:
        """The text of job.sh for the job *id* in *job*."""
        return job_script(
            id=id,
            name=self.name,
            job=job,
            python=self.surroundings.python,
            cwd=self.surroundings.cwd,
            setup=self.surroundings.setup,
            env=self.surroundings.env,
            time_limit=self.time_limit,
            grace=OVERTIME,
            notify=self.surroundings.notify,
        )

    @property
    def time_limit(self) -> float | None:
        """Seconds after which the runner stops by itself."""
        limit = getattr(self.manager, "time_limit", None)
        return None if limit is None else float(limit)


# How much longer than its limit a job may take to keep what it has.
OVERTIME = 30.0


# Within the triple of function, arguments and keyword arguments.
_IN_CALL = re.compile(rf"{CALL}(?:\[0\]|\[1\]\[(\d+)\]|\[2\]\['(\w+)'\])(.*)", re.DOTALL)


def _as_known(name: str, path: str) -> tuple[str, str]:
    """What the user calls the value *name*, and the *path* in it."""
    found = _IN_CALL.fullmatch(path)
    if found is None:
        return ("an argument" if name == CALL else f"variable {name!r}"), path
    number, key, rest = found.groups()
    if number is not None:
        subject = f"argument {int(number) + 1}"
    else:
        subject = "the function" if key is None else f"argument {key!r}"
    return subject, subject + rest


class Digests:
    """`digest_of` that hashes each large buffer of one submission once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[object, str]] = {}

    def __call__(self, view: memoryview) -> str:
        if memoryview(view.obj).nbytes != view.nbytes:
            # A part of an object: another part may be as long.
            return digest_of(view)
        key = (id(view.obj), view.nbytes)
        if key not in self._known:
            # The object is held, so that its id cannot be another's.
            self._known[key] = (view.obj, digest_of(view))
        return self._known[key][1]


def plan_inputs(
    wanted: Mapping[str, str],
    namespace: dict[str, Any],
    skip: frozenset[str],
    digest: Callable[[memoryview], str],
    extra: Mapping[str, object] | None = None,
) -> tuple[payload.Dump, dict[str, Any]]:
    """Pickle the variables *wanted*, and those that they turn out to need.

    Parameters
    ----------
    wanted
        Names to send, each with the reason.
    namespace
        Where they are.
    skip
        Names that are not to be sent even where something needs them.
    extra
        Further values, which are no variables of the notebook.

    Returns
    -------
    dump, inputs
        The pickled values, and what the request says of each variable.
    """
    why = dict(wanted)

    def more(name: str, by: str) -> dict[str, object]:
        if name not in namespace or name in skip or name in why:
            return {}
        why[name] = f"used by {by!r}"
        return {name: namespace[name]}

    values: dict[str, Any] = {name: namespace[name] for name in wanted}
    dumped = payload.dump_all({**values, **(extra or {})}, namespace, more=more)
    inputs = {}
    for name in why:
        about = dict(dumped.about[name])
        about["why"] = why[name]
        value = namespace[name]
        if name not in dumped.failures and not isinstance(value, ModuleType):
            seen = fingerprint(value, namespace=namespace, follow_globals=False, digest=digest)
            about["fingerprint"] = "" if seen.unstable else seen.digest
        inputs[name] = about
    return dumped, inputs


def follow_names(names: Mapping[str, str], namespace: Mapping[str, object]) -> dict[str, str]:
    """*names* that *namespace* has, and what these need in turn, with reasons."""
    reasons = {name: why for name, why in names.items() if name in namespace}
    for name, why in follow(reasons, namespace).items():
        reasons.setdefault(name, why)
    return reasons


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
        python_version=".".join(map(str, sys.version_info[:3])),
        cwd=plan.surroundings.cwd,
        user=user_name(),
        host=host_name(),
        options=plan.manager.options,
        surroundings=plan.surroundings.to_json(),
        sys_path=[entry or os.getcwd() for entry in sys.path],
        out=plan.out,
        binds=plan.binds,
        inputs=plan.inputs,
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
