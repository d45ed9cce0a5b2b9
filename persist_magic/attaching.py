"""A cell whose job is there already: attached to, or refused with what differs. Makes nothing."""

from __future__ import annotations

from pathlib import Path

from persist_magic.errors import NameTaken
from persist_magic.identity import Asked, differences
from persist_magic.jobdir import JobFacts
from persist_magic.observe import status_of
from persist_magic.planning import Plan
from persist_magic.status import Done, Empty, Queued, Running, Status, ago
from persist_magic.store import Store

_SHOWN = 5


def same_job(store: Store, plan: Plan, *, replace: bool = False) -> tuple[Path, str] | None:
    """The job of *plan* that is there already, and its state in words; None: it is to be made.

    A job is the same where its source, inputs, outputs, interpreter and surroundings are; how it is
    run (manager, resources) is no part of it.

    Parameters
    ----------
    replace
        Whether a job that differs, or did not end well, is to be replaced.

    Raises
    ------
    NameTaken
        A job of this name is there that differs, with what differs, or that did not end well.
    """
    id = store.newest(plan.name)
    old = None if id is None else JobFacts.read(store.jobs / id)
    if old is None:
        return None
    old, status = status_of(store, old)
    if isinstance(status, Empty):
        return None
    found = differences(Asked.of(old.request, _source(old)), asked(plan))
    alive = isinstance(status, Queued | Running | Done)
    if alive and not found:
        return old.directory, _state(old, status)
    if replace:
        return None
    name = plan.name
    if found:
        more = f"\n    and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        words = "\n  ".join(found[:_SHOWN])
        if isinstance(status, Queued | Running):
            state = f"exists already, is {status.kind} and differs"
            way_out = f"--replace --force cancels it first; %persist_fetch {name} waits for it"
        else:
            state = "exists already and differs"
            way_out = (
                f"--replace runs it anew in its place; %persist_fetch {name} brings its results"
            )
        raise NameTaken(f"a job named {name!r} {state}:\n  {words}{more}", way_out)
    raise NameTaken(
        f"this same job {name!r} is {status.kind}: {status.reason}",
        f"%persist_rerun {name} runs it again; so does --replace",
    )


def asked(plan: Plan) -> Asked:
    """What makes the job of *plan* the job it is."""
    return Asked(
        kind=plan.kind,
        source=plan.source,
        inputs=plan.inputs,
        out=plan.out,
        python=plan.surroundings.python,
        python_version=plan.python_version,
        cwd=plan.surroundings.cwd,
        env=plan.surroundings.env,
        setup=plan.surroundings.setup,
        local_code=plan.local_code,
        state=plan.state_prints,
        binds=frozenset(plan.binds),
    )


def _source(job: JobFacts) -> str:
    try:
        return (job.directory / "cell.py").read_text(encoding="utf-8")
    except OSError:
        return ""


def _state(job: JobFacts, status: Status) -> str:
    match status:
        case Done(ended=float(ended)):
            return f"DONE {ago(ended)}"
        case Running(started=started):
            return f"RUNNING, started {ago(started)}"
        case _:
            return f"{status.kind}, made {ago(job.request.created)}"
