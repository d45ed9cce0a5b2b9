"""Where jobs live: the root, name to job, listing, trust, deletion.

Knows directories, links and claims; of a job only its id, its name and whether it is being made.

A root holds `jobs/<id>/` (complete jobs), `names/<name>` (a symbolic link to the newest job of the
name), `blobs/` (an index of large buffers) and `making/` (what is being made or deleted, of no
meaning to anyone else). Looking takes no lock. A free name is claimed by making its link, which
one process alone can do; a link that exists is changed only under a lock on `names/.lock`, which
the operating system takes back when its holder dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from persist_magic import facts
from persist_magic.blobs import BlobIndex
from persist_magic.errors import JobNotFound, NameTaken, NoSpace, RootRefused, UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ID = re.compile(r"(\d{8}-\d{6})-(" + NAME.pattern + r")-([0-9a-f]{8})")
_LOCK_PATIENCE = 10.0
_ABANDONED_AFTER = 60.0


def check_name(name: str) -> str:
    """*name*, if a job may be called so.

    Raises
    ------
    UsageError
        It may not; nothing is mended silently.
    """
    if NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name!r} cannot be the name of a job",
            "a name is 1 to 64 letters, digits, '.', '_', '-', and begins with a letter or digit",
        )
    if ID.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a job",
            "it has the form of a job's id: leave the date out",
        )
    return name


def find_root(start: Path, given: str | None = None) -> tuple[Path, str]:
    """The root for the working directory *start*, found as git finds a repository.

    Parameters
    ----------
    start
        An absolute directory.
    given
        A root that the user named (PERSIST_ROOT, configuration); it is taken as it is.

    Returns
    -------
    root, notice
        The root, which may not exist yet, and what the user should know of the choice.
    """
    if given:
        return Path(given).expanduser().absolute(), ""
    start = start.absolute()
    home = Path.home()
    device = os.stat(start).st_dev
    notice = ""
    for directory in (start, *start.parents):
        try:
            if os.stat(directory).st_dev != device:
                break
            found = os.stat(directory / ".persist")
        except OSError:
            found = None
        if found is not None and stat.S_ISDIR(found.st_mode):
            if found.st_uid == os.getuid():
                return directory / ".persist", notice
            notice = f"{directory / '.persist'} belongs to another user and is passed over"
        if directory == home:
            break
    return start / ".persist", notice


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
        self.names = root / "names"
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
            for directory in (self.root, self.jobs, self.names, self.making, self.blobs.directory):
                directory.mkdir(mode=0o700, exist_ok=True, parents=directory is self.root)
            with contextlib.suppress(FileExistsError):
                facts.write_new(self.root / ".gitignore", b"*\n", sync=False)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(f"no space to make {self.root}", "free some space") from error
            raise RootRefused(
                f"jobs cannot be kept in {self.root}: {error.strerror}",
                "set PERSIST_ROOT to a directory that you can write to",
            ) from error
        self.check_trust()

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
        found = {}
        for name in facts.listing(self.names):
            id = self._link(name) if NAME.fullmatch(name) else None
            if id in ids and id is not None:
                found[name] = id
        return found

    def resolve(self, name: str) -> Path:
        """The directory of the newest job called *name*; an id is taken too.

        Raises
        ------
        JobNotFound
            There is none; near names are offered.
        """
        ids = facts.listing(self.jobs)
        id = name if name in ids and ID.fullmatch(name) else self._link(name)
        if id is not None and id in ids and ID.fullmatch(id):
            return self.jobs / id
        raise self._not_found(name)

    def _link(self, name: str) -> str | None:
        if NAME.fullmatch(name) is None:
            return None
        try:
            return os.path.basename(os.readlink(self.names / name))
        except OSError:
            return None

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
        """A job in the making: what is not published when the block ends leaves no trace."""
        self.prepare()
        self._sweep_making()
        id = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}-{os.urandom(4).hex()}"
        directory = self.making / id
        directory.mkdir(mode=0o700)
        # Held until the job has been given to its manager, it tells others that its maker lives.
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new = NewJob(self, id, name, directory)
        try:
            yield new
        except BaseException:
            new.discard()
            raise
        finally:
            os.close(lock)

    def being_made(self, directory: Path) -> bool:
        """Whether a living process of this machine is still submitting the job in *directory*."""
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            # No locks on this file system: only the time can tell.
            return time.time() - os.fstat(fd).st_mtime < _ABANDONED_AFTER
        finally:
            os.close(fd)
        return False

    def _sweep_making(self) -> None:
        for entry in facts.listing(self.making):
            path = self.making / entry
            with contextlib.suppress(OSError):
                old = time.time() - path.lstat().st_mtime > _ABANDONED_AFTER
                if old and not self.being_made(path):
                    _remove(path)

    # ---- names

    def claim(self, name: str, id: str, replacing: str | None) -> None:
        """Point *name* at the job *id*, which one process alone can do.

        Parameters
        ----------
        replacing
            The id that the name is known to lead to; None for a name that is free.

        Raises
        ------
        NameTaken
            Another process was first.
        """
        target = f"../jobs/{id}"
        if replacing is None:
            try:
                os.symlink(target, self.names / name)
            except FileExistsError:
                pass
            else:
                facts.sync_directory(self.names)
                return
        with self._names_locked():
            now = self._link(name)
            if now is not None and now != replacing and (self.jobs / now).is_dir():
                raise taken(name)
            facts.point(self.names / name, target)

    def release(self, name: str, id: str, back_to: str | None = None) -> None:
        """Take *name* away from the job *id*, if it still leads there, back to *back_to*."""
        if self._link(name) != id:
            return
        with self._names_locked():
            if self._link(name) == id:
                if back_to is not None and (self.jobs / back_to).is_dir():
                    facts.point(self.names / name, f"../jobs/{back_to}")
                else:
                    (self.names / name).unlink()

    @contextlib.contextmanager
    def _names_locked(self) -> Iterator[None]:
        fd = os.open(self.names / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            deadline = time.monotonic() + _LOCK_PATIENCE
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise RootRefused(
                            f"another process has held {self.names / '.lock'} "
                            f"for {_LOCK_PATIENCE:.0f} s",
                            "a stopped kernel may hold it: resume or end that one, then try again",
                        ) from None
                    time.sleep(0.005)
                except OSError:
                    break  # no locks on this file system; the window is a few microseconds
            yield
        finally:
            os.close(fd)

    # ---- deletion

    def delete(self, directory: Path) -> None:
        """Delete the job in *directory*, its name if that leads to it, and its own blobs."""
        match = ID.fullmatch(directory.name)
        digests = [path.name for path in directory.rglob("blobs/*")]
        grave = self.making / f"{directory.name}.deleted-{os.urandom(3).hex()}"
        if match is not None:
            self.release(match[2], directory.name)
        try:
            os.rename(directory, grave)
        except FileNotFoundError:
            return
        _remove(grave)
        self.blobs.sweep(digests)


class NewJob:
    """A job in the making, in a directory of its own that nobody looks at."""

    def __init__(self, store: Store, id: str, name: str, directory: Path) -> None:
        self.store = store
        self.id = id
        self.name = name
        self.directory = directory
        self.final = store.jobs / id
        self._replaced: str | None = None

    def publish(self, replacing: str | None = None) -> Path:
        """Make the complete job visible under its name.

        Raises
        ------
        NameTaken
            Another process was first; nothing is left.
        """
        os.rename(self.directory, self.final)
        self.directory = self.final
        facts.sync_directory(self.store.jobs)
        self.store.claim(self.name, self.id, replacing)
        self._replaced = replacing
        return self.final

    def discard(self) -> None:
        """Leave no trace: for a job that never reached its manager."""
        if self.directory == self.final:
            self.store.release(self.name, self.id, back_to=self._replaced)
        digests = [path.name for path in self.directory.rglob("blobs/*")]
        _remove(self.directory)
        self.store.blobs.sweep(digests)


def taken(name: str) -> NameTaken:
    """The error that a job called *name* exists."""
    return NameTaken(
        f"a job named {name!r} exists already",
        f"%persist_fetch {name} brings its results; --replace runs it anew; or choose another name",
    )


def check_private(directory: Path) -> None:
    """Refuse *directory* if another user owns it or could write to it.

    Raises
    ------
    RootRefused
        With the command that mends it.
    """
    try:
        found = os.stat(directory)
    except OSError as error:
        raise RootRefused(f"{directory}: {error.strerror}") from error
    if found.st_uid != os.getuid():
        raise RootRefused(
            f"{directory} belongs to another user (uid {found.st_uid}); loading its jobs would run "
            "that user's code",
            "set PERSIST_ROOT to a directory of your own",
        )
    if found.st_mode & 0o022:
        raise RootRefused(
            f"{directory} can be written by other users (mode {stat.S_IMODE(found.st_mode):04o})",
            f"make it yours alone: chmod go-w '{directory}'",
        )


def display_path(path: Path) -> str:
    """*path*, with the home directory as `~`."""
    with contextlib.suppress(ValueError):
        return str(Path("~") / path.relative_to(Path.home()))
    return str(path)


def _remove(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        # A job may have taken rights away from its own directories.
        for directory, _, _ in os.walk(path):
            os.chmod(directory, 0o700)
        shutil.rmtree(path)
