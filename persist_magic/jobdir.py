"""What each fact file of a job directory says. Knows file names and formats, draws no conclusions.

A file that cannot be understood says nothing: it reads as None. Unknown keys are passed over, so
that an older reader understands a newer writer.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from persist_magic import facts, records
from persist_magic.machine import ProcessId
from persist_magic.records import dataclass, field

LAYOUT = 0
_F = TypeVar("_F", bound="Fact")

# What an annotation admits; a value of another kind makes the whole fact unreadable.
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "dict[str, Any]": (dict,),
    "dict[str, str]": (dict,),
    "list[str]": (list,),
    "list[str] | None": (list, type(None)),
    "float | None": (int, float, type(None)),
    "str | None": (str, type(None)),
    "dict[str, Any] | None": (dict, type(None)),
}


@dataclass(frozen=True)
class Fact:
    """One fact file: who wrote what, once."""

    FILE: ClassVar[str] = ""

    @classmethod
    def read(cls: type[_F], directory: Path, present: frozenset[str]) -> _F | None:
        """The fact in *directory*, whose listing is *present*; None when it says nothing."""
        if cls.FILE not in present:
            return None
        value = facts.read_json(directory / cls.FILE)
        return None if value is None else cls.parse(value)

    @classmethod
    def parse(cls: type[_F], value: dict[str, Any]) -> _F | None:
        """The fact that *value* says; None where a key is missing or of the wrong kind."""
        known: dict[str, Any] = {}
        for item in records.fields(cls):
            if item.name not in value:
                continue
            given = value[item.name]
            if not isinstance(given, _KINDS[str(item.type)]):
                return None
            known[item.name] = given
        try:
            return cls(**known)
        except TypeError:
            return None

    def write(self, directory: Path) -> bool:
        """Write the fact into *directory*; False if another was first."""
        return facts.write_json_once(directory / self.FILE, records.asdict(self))

    def encode(self) -> bytes:
        """The content of the file."""
        return facts.encode(records.asdict(self))


@dataclass(frozen=True)
class Request(Fact):
    """What was asked for, when, by whom. Times are seconds since 1970, UTC."""

    FILE: ClassVar[str] = "request.json"

    layout: int
    id: str
    name: str
    kind: str  # "cell" or "function"
    manager: str
    created: float
    python: str  # the interpreter's path
    python_version: str
    cwd: str
    user: str = ""
    host: str = ""
    options: dict[str, Any] = field(default_factory=dict)  # of the manager
    surroundings: dict[str, Any] = field(default_factory=dict)  # --chdir --env --setup --notify
    sys_path: list[str] = field(default_factory=list)
    out: list[str] | None = None  # --out; None: what the cell binds and changes
    binds: list[str] = field(default_factory=list)  # names that the cell binds
    inputs: dict[str, Any] = field(default_factory=dict)  # name -> type, bytes, why, fingerprint
    state: dict[str, str] = field(default_factory=dict)  # setting of the process -> fingerprint
    local_code: dict[str, str] = field(default_factory=dict)  # copied file -> its digest
    origins: dict[str, str] = field(default_factory=dict)  # copied single file -> where it was
    versions: dict[str, str] = field(default_factory=dict)  # of the packages that are imported
    time_limit: float | None = None  # seconds
    shell: bool = False  # whether the cell ran under IPython here
    replaces: str | None = None  # the id of the job in whose place this one was put


@dataclass(frozen=True)
class Submitted(Fact):
    """The manager took the job; `handle` is its own way to name it."""

    FILE: ClassVar[str] = "submitted.json"

    handle: dict[str, Any]
    time: float


@dataclass(frozen=True)
class Cancelled(Fact):
    """Somebody asked for the job's end."""

    FILE: ClassVar[str] = "cancelled.json"

    by: str
    time: float
    why: str = ""


@dataclass(frozen=True)
class Started(Fact):
    """The runner of an attempt is at work."""

    FILE: ClassVar[str] = "started.json"

    process: dict[str, Any]
    time: float
    scheduler: dict[str, Any] = field(default_factory=dict)

    @property
    def who(self) -> ProcessId | None:
        """The runner's process."""
        return ProcessId.from_json(self.process)


@dataclass(frozen=True)
class Finished(Fact):
    """The runner's last word; the outputs it speaks of are durable."""

    FILE: ClassVar[str] = "finished.json"

    outcome: str  # "done", "failed" or "terminated"
    started: float
    ended: float
    error: dict[str, Any] | None = None  # type, message, traceback
    why: str = ""  # of "terminated": "cancelled", "time limit" or "signal"
    cpu: float = 0.0  # seconds
    peak_memory: int = 0  # bytes
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Exited(Fact):
    """How the runner's process ended, as job.sh saw it."""

    FILE: ClassVar[str] = "exited.json"

    code: int
    time: float
    stage: str = "run"  # "directory", "setup", "environment", "run" or "overtime"


@dataclass(frozen=True)
class Ended(Fact):
    """What the scheduler said of the end, kept by an observer before it forgets."""

    FILE: ClassVar[str] = "ended.json"

    state: str
    reason: str
    time: float


@dataclass(frozen=True)
class Attempt:
    """The facts of one attempt to run the job."""

    number: int
    directory: Path
    started: Started | None
    finished: Finished | None
    exited: Exited | None
    ended: Ended | None

    @classmethod
    def read(cls, directory: Path, number: int) -> Attempt:
        """The facts in the attempt directory *directory*."""
        present = facts.listing(directory)
        return cls(
            number,
            directory,
            Started.read(directory, present),
            Finished.read(directory, present),
            Exited.read(directory, present),
            Ended.read(directory, present),
        )

    @property
    def silent(self) -> bool:
        """Whether nothing has happened in it yet."""
        return not (self.started or self.finished or self.exited or self.ended)

    def last_sign(self) -> float | None:
        """When a file of the attempt last changed; None for an attempt without files."""
        times = []
        # Any of it may be deleted at this moment.
        for name in facts.listing(self.directory):
            try:
                times.append(os.lstat(self.directory / name).st_mtime)
            except OSError:
                continue
        return max(times, default=None)


@dataclass(frozen=True)
class JobFacts:
    """All facts of one job at one look."""

    directory: Path
    request: Request
    submitted: Submitted | None
    cancelled: Cancelled | None
    ended: Ended | None
    attempt: Attempt | None  # the latest one in which anything happened

    @classmethod
    def read(cls, directory: Path) -> JobFacts | None:
        """The facts in the job directory *directory*; None when it holds no readable request."""
        present = facts.listing(directory)
        request = Request.read(directory, present)
        if request is None:
            return None
        return cls(
            directory,
            request,
            Submitted.read(directory, present),
            Cancelled.read(directory, present),
            Ended.read(directory, present),
            latest_attempt(directory),
        )

    @property
    def final(self) -> bool:
        """Whether the facts tell how the job ended, so that they will never change again."""
        attempt = self.attempt
        return attempt is not None and bool(attempt.finished or attempt.exited)


# How a heartbeat ends while the runner keeps what it has.
SAVING = " saving"


def write_heartbeat(attempt: Path, *, saving: bool = False) -> None:
    """Say in the attempt directory *attempt* that its runner lives, and whether it is saving."""
    facts.replace(attempt / "heartbeat", f"{time.time():.3f}{SAVING if saving else ''}".encode())


def read_heartbeat(attempt: Path) -> str:
    """The last word of `write_heartbeat` in *attempt*; empty for none."""
    try:
        return (attempt / "heartbeat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def attempt_directory(job: Path, number: int) -> Path:
    """Where attempt *number* of the job in *job* is kept."""
    return job / "attempts" / str(number)


def latest_attempt(job: Path) -> Attempt | None:
    """The latest attempt of the job in *job* in which anything happened."""
    numbers = sorted((int(n) for n in facts.listing(job / "attempts") if n.isdigit()), reverse=True)
    for number in numbers:
        attempt = Attempt.read(attempt_directory(job, number), number)
        if not attempt.silent:
            return attempt
    return None
