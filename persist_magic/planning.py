"""What is asked for, in memory: a job's inputs pickled, its surroundings checked. Makes nothing."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from persist_magic import payload
from persist_magic.blobs import digest_of
from persist_magic.capture import follow
from persist_magic.errors import CannotSave, UsageError
from persist_magic.fingerprint import fingerprint
from persist_magic.localcode import CodeFile
from persist_magic.managers import Manager
from persist_magic.runner.outputs import CALL
from persist_magic.script import job_script
from persist_magic.state import identity_of


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
    code_files: list[CodeFile] = field(default_factory=list)  # of the notebook's own modules
    local_code: dict[str, str] = field(default_factory=dict)  # their digests
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
    def python_version(self) -> str:
        """Of the interpreter that pickles the inputs."""
        return ".".join(map(str, sys.version_info[:3]))

    @property
    def state_prints(self) -> dict[str, str]:
        """The fingerprints of what in the process's state can change a result."""
        return {name: fingerprint(value).digest for name, value in identity_of(self.state).items()}

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
            if seen.unstable:
                about["unstable"] = seen.unstable
        inputs[name] = about
    return dumped, inputs


def follow_names(names: Mapping[str, str], namespace: Mapping[str, object]) -> dict[str, str]:
    """*names* that *namespace* has, and what these need in turn, with reasons."""
    reasons = {name: why for name, why in names.items() if name in namespace}
    for name, why in follow(reasons, namespace).items():
        reasons.setdefault(name, why)
    return reasons
