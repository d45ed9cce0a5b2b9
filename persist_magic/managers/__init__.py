"""The boundary to whatever runs jobs, and the registry of managers. Knows no job's meaning.

A manager is any object with these members; nothing need be inherited. Packages offer more by the
entry point group `persist_magic.managers`, a name for `%%persist --manager NAME` each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from persist_magic.errors import UsageError
from persist_magic.jobdir import JobFacts, Request
from persist_magic.status import Report

GROUP = "persist_magic.managers"
# Option names of the surface, in Slurm's spelling; a manager says which of them it honours.
RESOURCES = (
    "time",
    "mem",
    "cpus_per_task",
    "gpus",
    "gres",
    "nodes",
    "ntasks",
    "partition",
    "account",
    "qos",
    "constraint",
)


@runtime_checkable
class Manager(Protocol):
    """What runs jobs: four verbs and a name."""

    name: str
    #: Seconds for which a fact may be invisible here after it was written.
    grace: float
    #: The options it was made with, for a rerun.
    options: dict[str, Any]

    def problem(self) -> str | None:
        """Why it cannot be used here; None when it can."""

    def submit(self, job: Path, request: Request) -> dict[str, Any]:
        """Run `job.sh` in *job*; the handle by which it is found again."""

    def poll(self, jobs: Sequence[JobFacts]) -> list[Report]:
        """What is known of each of *jobs*, in one question.

        Raises
        ------
        ManagerUnreachable
            No answer; nothing may be concluded.
        """

    def cancel(self, job: JobFacts, *, force: bool = False) -> None:
        """End *job* with all its processes."""

    def warnings(self) -> list[str]:
        """What the user should know before a job is run here."""


_told: set[str] = set()


def new_warnings(manager: Manager) -> list[str]:
    """The warnings of *manager* that this process has not been given yet."""
    found = [words for words in manager.warnings() if words not in _told]
    _told.update(found)
    return found


def make_manager(name: str, options: Mapping[str, Any] | None = None) -> Manager:
    """The manager called *name*, made with *options*.

    Raises
    ------
    UsageError
        There is none, or it does not honour one of the options.
    """
    factory = _factory(name)
    manager = factory(**(options or {}))
    assert isinstance(manager, Manager)
    return manager


def _factory(name: str) -> Any:
    if name == "local":
        from persist_magic.managers.process import ProcessManager

        return ProcessManager
    from importlib.metadata import entry_points

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name in found:
        return found[name].load()
    known = ", ".join(sorted({"local", *found}))
    raise UsageError(f"no manager named {name!r}", f"known here: {known}")
