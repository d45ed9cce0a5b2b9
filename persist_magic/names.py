"""Names of jobs, and which job each leads to. Knows links, claims and one lock, no job's content.

A free name is claimed by making its link, which one process alone can do; a link that exists is
changed only under a lock, which the operating system takes back when its holder dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from persist_magic import facts
from persist_magic.errors import NameTaken, RootRefused, UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ID = re.compile(r"(\d{8}-\d{6})-(" + NAME.pattern + r")-([0-9a-f]{8})")
_LOCK_PATIENCE = 10.0


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


def taken(name: str) -> NameTaken:
    """The error that a job called *name* exists."""
    return NameTaken(
        f"a job named {name!r} exists already",
        f"%persist_fetch {name} brings its results; --replace runs it anew; or choose another name",
    )


def link_text(id: str) -> str:
    """What the link of a name says to lead to the job *id*."""
    return f"../jobs/{id}"


class Names:
    """The names in *directory*, each a symbolic link to a job."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def all(self) -> Iterator[tuple[str, str]]:
        """Each name with the id that it leads to; the job may be gone."""
        for name in facts.listing(self.directory):
            id = self.leads_to(name)
            if id is not None:
                yield name, id

    def leads_to(self, name: str) -> str | None:
        """The id that *name* leads to; None for a free name."""
        if NAME.fullmatch(name) is None:
            return None
        try:
            return os.path.basename(os.readlink(self.directory / name))
        except OSError:
            return None

    def claim(
        self,
        name: str,
        id: str,
        replacing: str | None,
        exists: Callable[[str], bool],
        by: Path,
    ) -> None:
        """Point *name* at the job *id*, which one process alone can do.

        Parameters
        ----------
        replacing
            The id that the name is known to lead to; None for a name that is free.
        exists
            Whether there is a job of an id: a name that leads nowhere is free.
        by
            The directory in which a link is made before it takes the place of another.

        Raises
        ------
        NameTaken
            Another process was first.
        """
        if replacing is not None or not self._take(name, id):
            with self.locked():
                now = self.leads_to(name)
                if now is None:
                    # A free name is taken without the lock.
                    if not self._take(name, id):
                        raise taken(name)
                elif now not in (id, replacing) and exists(now):
                    raise taken(name)
                else:
                    facts.point(self.directory / name, link_text(id), by=by)
        facts.sync_directory(self.directory)

    def _take(self, name: str, id: str) -> bool:
        try:
            os.symlink(link_text(id), self.directory / name)
        except FileExistsError:
            return False
        return True

    def release(self, name: str, id: str, back: Path) -> None:
        """Take *name* away from the job *id*, if it still leads there; the link *back* replaces it.

        Needs no space, so that it is done when the disk is full, too.
        """
        if self.leads_to(name) != id:
            return
        with self.locked():
            if self.leads_to(name) == id:
                try:
                    os.replace(back, self.directory / name)
                except FileNotFoundError:
                    (self.directory / name).unlink()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes a link within the block.

        Raises
        ------
        RootRefused
            Another process has not let go of the lock for a long time.
        """
        path = self.directory / ".lock"
        fd = _open_lock(path)
        try:
            deadline = time.monotonic() + _LOCK_PATIENCE
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise RootRefused(
                            f"another process has held {path} for {_LOCK_PATIENCE:.0f} s",
                            "a stopped kernel may hold it: resume or end that one, then try again",
                        ) from None
                    time.sleep(0.005)
                except OSError:
                    break  # no locks on this file system; the window is a few microseconds
            yield
        finally:
            # A process that was forked meanwhile has the descriptor as well.
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.close(facts.create(path))
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
