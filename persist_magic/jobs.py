"""A job as Python sees it: found again, asked, waited for, fetched, ended. Shows nothing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from persist_magic.ending import end
from persist_magic.errors import Damaged, PersistError, StillRunning
from persist_magic.info import JobInfo, info_of
from persist_magic.jobdir import JobFacts, Request, latest_attempt
from persist_magic.machine import host_name
from persist_magic.names import ID
from persist_magic.observe import status_of
from persist_magic.payload.rebuild import main_namespace
from persist_magic.replay import Piece, replay, tail
from persist_magic.results import Results, describe_outputs, failure_of, load_results, not_ready
from persist_magic.root import find_root
from persist_magic.runner.outputs import VALUE
from persist_magic.status import Empty, JobStatus, Status, duration
from persist_magic.store import Store

# Seconds between looks while waiting: as quick as the job is young.
_QUICKEST, _SLOWEST = 0.002, 0.05
_ASK_MANAGER_EVERY = 0.5


def current_store(root: str | Path | None = None) -> Store:
    """The store of the present working directory, or of *root*."""
    given = str(root) if root is not None else os.environ.get("PERSIST_ROOT")
    found, notice = find_root(Path.cwd(), given)
    if notice:
        print(notice, file=sys.stderr)
    return Store(found)


class Job:
    """One job: a directory under a root. Holds no state, so every answer is of now.

    Made by `persist`, `read_job` and `list_jobs`.
    """

    def __init__(self, store: Store, directory: Path) -> None:
        self.store = store
        self.directory = directory
        self.id = directory.name
        match = ID.fullmatch(self.id)
        self.name = match[2] if match else self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other.directory == self.directory

    def __hash__(self) -> int:
        return hash(self.directory)

    def __repr__(self) -> str:
        try:
            return f"<{self.info()}>"
        except PersistError as error:
            return f"<job {self.name!r}: {error.message}>"

    # ---- asking

    def facts(self) -> JobFacts:
        """What its files say.

        Raises
        ------
        Damaged
            It was deleted, or its request cannot be read.
        """
        found = JobFacts.read(self.directory)
        if found is None:
            gone = not self.directory.exists()
            raise Damaged(
                f"job {self.name!r} was deleted"
                if gone
                else f"{self.directory / 'request.json'} cannot be read",
                "" if gone else f"%persist_cleanup {self.name} removes what is left of it",
            )
        return found

    def look(self) -> tuple[JobFacts, Status]:
        """Its facts and its status."""
        return status_of(self.store, self.facts())

    def status(self) -> JobStatus:
        """The state it is in."""
        return self.look()[1].kind

    def info(self) -> JobInfo:
        """All about it."""
        return info_of(*self.look())

    def is_ready(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.status().ended

    def wait(
        self,
        timeout: float | None = None,
        *,
        tick: Callable[[JobInfo], object] | None = None,
    ) -> JobStatus:
        """Wait for its end; the state it ended in.

        Parameters
        ----------
        timeout
            Seconds; None waits for ever.
        tick
            Called now and then while it waits, with what is known.

        Raises
        ------
        NotReady
            The time ran out; the job goes on.
        """
        begin = time.monotonic()
        asked = -_ASK_MANAGER_EVERY
        while True:
            waited = time.monotonic() - begin
            if waited - asked >= _ASK_MANAGER_EVERY or self._has_ended():
                asked = waited
                found, status = self.look()
                if _settled(status):
                    return status.kind
                if tick is not None:
                    tick(info_of(found, status))
            if timeout is not None and waited >= timeout:
                raise not_ready(*self.look(), f"after {duration(timeout)}")
            left = timeout - waited if timeout is not None else _SLOWEST
            # A twentieth of what was waited so far is unnoticed by who waits.
            time.sleep(max(0.0, min(left, _SLOWEST, max(_QUICKEST, waited / 20))))

    def _has_ended(self) -> bool:
        attempt = latest_attempt(self.directory)
        return attempt is not None and bool(attempt.finished or attempt.exited)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait in an event loop; the value."""
        import asyncio

        async def ended() -> Any:
            pause = _QUICKEST
            while not _settled((await asyncio.to_thread(self.look))[1]):
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.5)
            return self.fetch()

        return ended().__await__()

    # ---- results

    def fetch(self, timeout: float | None = None) -> Any:
        """Wait for its end; its value: what the function returned, or the cell's last expression.

        Raises
        ------
        NotReady
            *timeout* seconds have passed.
        JobCancelled, JobLost, JobFailed
            It did not end well.
        Exception
            What the job raised, of its own type, where that can be loaded.
        """
        results = self.results(only=(), timeout=timeout)
        if VALUE in results.failures:
            raise results.failures[VALUE]
        return results.value

    def variables(
        self, *names: str, timeout: float | None = None, partial: bool = False
    ) -> dict[str, Any]:
        """The variables it brought back, or those in *names*.

        Parameters
        ----------
        partial
            Take what there is now: of a job that runs, what it gave to `save`; of one that
            failed, what it had bound.

        Raises
        ------
        CannotLoad
            One of them could not be saved, or cannot be loaded here.
        """
        results = self.results(only=names or None, timeout=timeout, partial=partial)
        for failure in results.failures.values():
            raise failure
        return results.values

    def results(
        self,
        only: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        partial: bool = False,
        namespace: dict[str, Any] | None = None,
    ) -> Results:
        """Everything that came back, failures of single variables noted and not raised.

        Parameters
        ----------
        only
            These variables, beside the value.
        timeout, partial
            As for `fetch` and `variables`.
        namespace
            The globals for functions that come back; default those of `__main__`.
        """
        space = main_namespace() if namespace is None else namespace
        if not partial:
            self.wait(timeout)
            self.require_done(space)
        return load_results(self.facts(), space, self.store.blobs, only)

    def require_done(self, namespace: dict[str, Any] | None = None) -> None:
        """Raise what ended it, unless it is done."""
        found, status = self.look()
        space = main_namespace() if namespace is None else namespace
        if (failure := failure_of(found, status, space, self.store.blobs)) is not None:
            raise failure
        # Kept only until this one was done.
        for job in self._replaced():
            job._delete()

    def _replaced(self) -> list[Job]:
        """The jobs that it was put in the place of and that are still there, newest first."""
        found: list[Job] = []
        there = set(self.store.ids())
        facts = JobFacts.read(self.directory)
        while facts is not None and facts.request.replaces in there:
            job = Job(self.store, self.store.jobs / facts.request.replaces)
            there.remove(job.id)
            found.append(job)
            facts = JobFacts.read(job.directory)
        return found

    def outputs(self) -> dict[str, dict[str, Any]]:
        """What there is to fetch: type, extent, bytes and role by name; reads no values."""
        return describe_outputs(self.facts())

    def replay(self, sign: str = "%persist_") -> list[Piece]:
        """What it printed and displayed, in order, as the cell would have shown it.

        Parameters
        ----------
        sign
            How a command is written where it is shown: where text is left out, it tells of one.
        """
        attempt = self.facts().attempt
        if attempt is None:
            return []
        return replay(attempt.directory, see_all=f"{sign}log {self.name} shows all of it")

    def stdout(self, lines: int | None = None) -> str:
        """What it printed, or the last *lines* of it."""
        return self._log("stdout", lines)

    def stderr(self, lines: int | None = None) -> str:
        """What it wrote to the error stream, or the last *lines* of it."""
        return self._log("stderr", lines)

    def _log(self, stream: str, lines: int | None) -> str:
        attempt = latest_attempt(self.directory)
        if attempt is None:
            return ""
        if lines is not None:
            return tail(attempt.directory, stream, lines)
        try:
            # Not as text: that would make a new line of every carriage return.
            written = (attempt.directory / f"{stream}.log").read_bytes()
        except FileNotFoundError:
            return ""
        return written.decode(errors="replace")

    # ---- acting

    def cancel(self, force: bool = False) -> JobStatus:
        """End it with all its processes; what it had computed by then is kept.

        Parameters
        ----------
        force
            Kill at once, without asking it to stop: what it had bound is lost, what it had
            given to `save` is not.

        Returns
        -------
        JobStatus
            The state it is in now; a job that had ended before keeps its state.
        """
        found, status = self.look()
        if status.kind.ended:
            return status.kind
        end(found, force=force)
        return self.status()

    def cleanup(self, force: bool = False) -> None:
        """Delete all trace of it, and of those whose place it took.

        If it is not done, its name goes back to the last one before it that was.

        Parameters
        ----------
        force
            Also of one that runs, which is cancelled first.

        Raises
        ------
        StillRunning
            It has not ended.
        """
        found = JobFacts.read(self.directory)
        status = None if found is None else status_of(self.store, found)[1]
        if status is not None and not _settled(status):
            if not force:
                raise StillRunning(
                    f"job {self.name!r} is {status.kind}",
                    f"%persist_cancel {self.name} ends it; --force cancels and deletes it",
                )
            self.cancel(force=True)
        before = self._replaced()
        done = status is not None and status.kind is JobStatus.DONE
        good = [job for job in before if not done and job.status() is JobStatus.DONE]
        for job in before[: before.index(good[0]) if good else None]:
            job._delete()
        self._delete(back_to=good[0].id if good else None)

    def _delete(self, back_to: str | None = None) -> None:
        found = JobFacts.read(self.directory)
        if found is not None and (found.request.manager, found.request.host) == (
            "local",
            host_name(),
        ):
            from persist_magic.processes import end_tree

            # What it started and left would write into a directory that is gone.
            end_tree(self.id, grace=1.0)
        self.store.delete(self.directory, back_to)


def _settled(status: Status) -> bool:
    """Whether it will stay so: the job has ended, or was never given to its manager."""
    never_submitted = isinstance(status, Empty) and status.reason != "being submitted"
    return status.kind.ended or never_submitted


def read_job(name: str, root: str | Path | None = None) -> Job:
    """The job called *name*: the newest of that name under the root, or the one with that id.

    Raises
    ------
    JobNotFound
        There is none.
    RootRefused
        Another user owns the root or could write to it.
    """
    store = _trusted(current_store(root))
    return Job(store, store.resolve(name))


def list_jobs(root: str | Path | None = None) -> list[Job]:
    """All jobs under the root that a name leads to, newest first.

    Raises
    ------
    RootRefused
        Another user owns the root or could write to it.
    """
    store = _trusted(current_store(root))
    jobs = [Job(store, store.jobs / id) for id in store.by_name().values()]
    return sorted(jobs, key=_made, reverse=True)


def _trusted(store: Store) -> Store:
    if store.exists():
        store.check_trust()
    return store


def _made(job: Job) -> float:
    # Ids hold no more than seconds, and those of the local clock.
    try:
        return (job.directory / Request.FILE).stat().st_mtime
    except OSError:
        return 0.0
