"""Where jobs live: name to job, listing, deletion.

Knows directories, links and claims; of a job only its id, its name and whether it is being made.

A root holds `jobs/<id>/` (complete jobs), `names/<name>` (a symbolic link to the newest job of the
name), `blobs/` (an index of large buffers) and `making/` (what is on its way in or out, of no
meaning to anyone else). Looking takes no lock.

Whoever makes a job works in a directory of its own in `making/`, locked while it lives; one that is
deleted is moved there first. What is found there after the death of its process is undone, or done
to the end, by the next process that makes a job.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from persist_magic import facts
from persist_magic.blobs import BlobIndex
from persist_magic.errors import JobNotFound, RootRefused
from persist_magic.interrupts import uninterrupted
from persist_magic.jobdir import JobFacts, Submitted, latest_attempt
from persist_magic.names import ID, Names, link_text
from persist_magic.root import NO_SPACE, check_private, display_path, no_space

# Seconds without a change after which a directory in making/ is taken for a dead process's: where
# its lock can be asked as well, and where it cannot.
_ABANDONED_AFTER = 60.0
_SILENT_AFTER = 600.0
# In a directory in making/: the lock, the job, and the link that the job's name led by before.
_LOCK, _JOB, _BACK = "lock", "job", "back"
# The directories of a job, wherever they are in it, whose files are blobs.
_BLOBS = "blobs"


class Store:
    """All jobs under one root.

    Parameters
    ----------
    root
        The `.persist` directory; made when the first job is.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs = root / "jobs"
        self.names = Names(root / "names")
        self.making = root / "making"
        self.blobs = BlobIndex(root / "blobs")

    # ---- the root

    def prepare(self) -> None:
        """Make the root where it is missing; refuse one that others could write to.

        Raises
        ------
        RootRefused
            It cannot be made, or belongs to or can be written by another user.
        """
        try:
            with uninterrupted():
                self._make_directories()
        except OSError as error:
            if error.errno in NO_SPACE:
                raise no_space(self.root) from error
            raise RootRefused(
                f"jobs cannot be kept in {self.root}: {error.strerror}",
                "set PERSIST_ROOT to a directory that you can write to",
            ) from error
        self.check_trust()

    def _make_directories(self) -> None:
        self.root.parent.mkdir(parents=True, exist_ok=True)
        below = (self.jobs, self.names.directory, self.making, self.blobs.directory)
        for directory in (self.root, *below):
            try:
                facts.make_directory(directory)
            except FileExistsError:
                if not directory.is_dir():
                    raise
        if ".gitignore" not in facts.listing(self.root):
            # Made now: deleting a job must not need space for it.
            with self.names.locked():
                pass
            facts.write_once(self.root / ".gitignore", b"*\n", by=self.making)

    def check_trust(self) -> None:
        """Refuse a root that another user owns or could write to: loading a job runs its code."""
        check_private(self.root)
        if self.jobs.exists():
            check_private(self.jobs)

    def exists(self) -> bool:
        """Whether any job was ever made here."""
        return self.jobs.is_dir()

    # ---- looking

    def ids(self) -> list[str]:
        """The ids of all jobs, oldest first."""
        return sorted(id for id in facts.listing(self.jobs) if ID.fullmatch(id))

    def by_name(self) -> dict[str, str]:
        """The newest job's id of each name."""
        ids = facts.listing(self.jobs)
        return {name: id for name, id in self.names.all() if id in ids}

    def newest(self, name: str) -> str | None:
        """The newest job's id of *name*; None for a free name."""
        id = self.names.leads_to(name)
        return id if id is not None and self.has(id) else None

    def has(self, id: str) -> bool:
        """Whether there is a job of this id."""
        return ID.fullmatch(id) is not None and id in facts.listing(self.jobs)

    def resolve(self, name: str) -> Path:
        """The directory of the newest job called *name*; an id is taken too.

        Raises
        ------
        JobNotFound
            There is none; near names are offered.
        """
        id = name if self.has(name) else self.newest(name)
        if id is None:
            raise self._not_found(name)
        return self.jobs / id

    def _not_found(self, name: str) -> JobNotFound:
        import difflib

        names = sorted(self.by_name())
        if not names:
            return JobNotFound(
                f"no job named {name!r}: there are no jobs in {display_path(self.root)}",
                "jobs belong to the folder they were started in; PERSIST_ROOT names another root",
            )
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        all_of_them = (
            f"%persist_list shows all {len(names)}"
            if len(names) > 1
            else (f"the only job is {names[0]!r}")
        )
        hint = (
            f"did you mean {' or '.join(map(repr, near))}? {all_of_them}." if near else all_of_them
        )
        return JobNotFound(f"no job named {name!r} in {display_path(self.root)}", hint)

    # ---- making

    @contextlib.contextmanager
    def new_job(self, name: str) -> Iterator[NewJob]:
        """A job in the making: what is not published when the block ends leaves no trace.

        Raises
        ------
        NoSpace
            The disk became full within the block.
        """
        try:
            self._sweep_making()
            id = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}-{os.urandom(4).hex()}"
            with self._workspace(id) as workspace:
                facts.make_directory(workspace / _JOB)
                yield NewJob(self, id, name, workspace)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise no_space(self.root) from error
            raise

    @contextlib.contextmanager
    def _workspace(self, label: str) -> Iterator[Path]:
        """A directory of our own in making/, for as long as the block lasts."""
        path = self.making / label
        lock = -1
        try:
            facts.make_directory(path)
            # A file: NFS locks no directories.
            lock = facts.create(path / _LOCK)
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield path
        finally:
            with uninterrupted():
                self._clear(path)
                if lock >= 0:
                    os.close(lock)

    def _clear(self, directory: Path, *, found_dead: bool = False) -> None:
        """Delete *directory* in making/, and the blobs that nobody has beside the job in it."""
        blobs = [path.name for path in _files_in(directory) if path.parent.name == _BLOBS]
        for name in facts.listing(directory) - {_LOCK}:
            _remove(directory / name)
        # The directory goes last: it tells the next one that this was not done.
        if blobs or found_dead:
            self.blobs.sweep(None if found_dead else blobs)
        _remove(directory)

    def being_made(self, directory: Path) -> bool:
        """Whether a living process is still submitting the job in *directory*."""
        return self._is_at_work(self.making / directory.name)

    def _is_at_work(self, workspace: Path) -> bool:
        if _LOCK not in facts.listing(workspace):
            return False
        try:
            fd = os.open(workspace / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            # No locks on this file system: only what it writes tells that it lives.
            return time.time() - _last_change(workspace) < _SILENT_AFTER
        finally:
            os.close(fd)
        return False

    def _sweep_making(self) -> None:
        for label in facts.listing(self.making):
            path = self.making / label
            with contextlib.suppress(OSError):
                # It may have been made, and not locked yet, a moment ago.
                if time.time() - path.lstat().st_mtime < _ABANDONED_AFTER:
                    continue
                if path.is_symlink() or not path.is_dir():
                    path.unlink()
                elif not self._is_at_work(path):
                    self._settle(path)
                    self._clear(path, found_dead=True)

    def _settle(self, directory: Path) -> None:
        """Finish what a dead process had begun with the job of *directory* in making/."""
        match = ID.fullmatch(directory.name.partition("~")[0])
        if match is None:
            return
        id, name = match[0], match[2]
        if not self.has(id):
            self.names.release(name, id, directory / _BACK)
        elif not self._is_led_to(id, name) and _is_untouched(self.jobs / id):
            # It was published, but never got its name.
            os.rename(self.jobs / id, directory / _JOB)

    def _is_led_to(self, id: str, name: str) -> bool:
        """Whether *name* leads to the job *id*, or to one in whose place that was, and so on."""
        seen: set[str] = set()
        now = self.names.leads_to(name)
        while now is not None and now not in seen:
            seen.add(now)
            job = JobFacts.read(self.jobs / now) if self.has(now) else None
            now = job.request.replaces if job is not None else None
        return id in seen

    # ---- deletion

    def delete(self, directory: Path, back_to: str | None = None) -> None:
        """Delete the job in *directory*, its name if that leads to it, and its own blobs.

        Parameters
        ----------
        back_to
            The id of the job that the name leads to then, in place of none.
        """
        match = ID.fullmatch(directory.name)
        if match is None:
            return
        grave = self.making / f"{match[0]}~{os.urandom(3).hex()}"
        if back_to is not None:
            # It goes with the job, so that whoever finishes this knows of it; a full disk may
            # have no room for it, and the job is deleted all the same.
            with contextlib.suppress(OSError):
                facts.point(directory / _BACK, link_text(back_to), by=directory)
        try:
            os.rename(directory, grave)
        except FileNotFoundError:
            return
        self.names.release(match[2], match[0], grave / _BACK)
        self._clear(grave)


class NewJob:
    """A job in the making, in a directory of its own that nobody looks at."""

    def __init__(self, store: Store, id: str, name: str, workspace: Path) -> None:
        self.store = store
        self.id = id
        self.name = name
        self.directory = workspace / _JOB
        self.final = store.jobs / id
        self._workspace = workspace

    def publish(self, replacing: str | None = None) -> None:
        """Make the complete job visible under its name; where that fails, it is to be withdrawn.

        Raises
        ------
        NameTaken
            Another process was first.
        """
        if replacing is not None:
            os.symlink(link_text(replacing), self._workspace / _BACK)
        os.rename(self.directory, self.final)
        facts.sync_directory(self.store.jobs)
        self.store.names.claim(
            self.name, self.id, replacing, exists=self.store.has, by=self._workspace
        )

    def withdraw(self) -> None:
        """Take back what was published; its name leads again where it led before."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.final, self.directory)
        self.store.names.release(self.name, self.id, self._workspace / _BACK)


def _is_untouched(job: Path) -> bool:
    """Whether the job in *job* was never given to a manager."""
    return Submitted.FILE not in facts.listing(job) and latest_attempt(job) is None


def _files_in(directory: Path) -> Iterator[Path]:
    # Where another process deletes it at the same time, it ends before its time.
    for inner, _, names in os.walk(directory):
        for name in names:
            yield Path(inner, name)


def _last_change(directory: Path) -> float:
    latest = 0.0
    for path in (directory, *_files_in(directory)):
        with contextlib.suppress(OSError):
            latest = max(latest, path.lstat().st_mtime)
    return latest


def _remove(path: Path) -> None:
    """Delete *path* with all in it; what resists is left to the next sweep."""
    for _ in range(5):
        if path.is_symlink() or not path.is_dir():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return
        # Another process may add to it, or delete it too.
        shutil.rmtree(path, ignore_errors=True)
        for directory, inner, _ in os.walk(path):
            # A job may have taken rights away from its own directories.
            for name in (".", *inner):
                _open_up(os.path.join(directory, name))


def _open_up(directory: str) -> None:
    if not os.path.islink(directory):
        with contextlib.suppress(OSError):
            os.chmod(directory, 0o700)
