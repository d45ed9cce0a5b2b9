"""Fact files: written once, read many times. Knows nothing of jobs."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

_counter = iter(range(1 << 62))


def temporary_name(prefix: str = "") -> str:
    """A file name that no other process of any host picks at the same time."""
    return f".{prefix}{os.getpid():x}-{os.urandom(6).hex()}-{next(_counter):x}"


def sync_directory(path: Path) -> None:
    """Make the entries of directory *path* survive a crash of the machine."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        # A file system that has no such request for directories; nothing more can be asked of it.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)


def make_directory(path: Path) -> None:
    """Create the directory *path*, which must not exist, for the owner alone."""
    os.mkdir(path, 0o700)
    mode = os.stat(path).st_mode
    if mode & 0o700 != 0o700:
        # The umask took rights from the owner. What the directory inherited (setgid) stays.
        os.chmod(path, mode & 0o7777 | 0o700)


def create(path: Path) -> int:
    """Create the file *path*, which must not exist, for the owner alone; open for writing."""
    return owned(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))


def owned(fd: int) -> int:
    """The new file *fd*, with the rights of its owner, of which the umask may have taken some."""
    if os.fstat(fd).st_mode & 0o600 != 0o600:
        os.fchmod(fd, 0o600)
    return fd


def write_new(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Create *path*, which must not exist, with *data*; readable by the owner alone."""
    fd = create(path)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def write_once(path: Path, data: bytes, *, by: Path | None = None) -> bool:
    """Create *path* with *data*, complete and durable; False if another process was first.

    It is written in the directory *by* before it gets its name; default that of *path*.
    """
    temporary = (by or path.parent) / temporary_name()
    try:
        write_new(temporary, data)
        return link_once(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def link_once(source: Path, path: Path) -> bool:
    """Give the complete file *source* the name *path*; False if that name is taken."""
    try:
        os.link(source, path)
    except FileExistsError:
        # NFS may refuse a link that it has made, its answer to the first request lost: open(2).
        return os.stat(source).st_nlink > 1
    except OSError:
        # No hard links here: claim the name, then put the complete file in its place.
        try:
            write_new(path, b"", sync=False)
        except FileExistsError:
            return False
        os.rename(source, path)
    sync_directory(path.parent)
    return True


def write_json_once(path: Path, value: dict[str, Any]) -> bool:
    """Create *path* with *value* as JSON; False if another process was first."""
    return write_once(path, encode(value))


def encode(value: dict[str, Any]) -> bytes:
    """*value* as JSON text that a person can read."""
    return (json.dumps(value, indent=1, ensure_ascii=True) + "\n").encode()


def replace(path: Path, data: bytes) -> None:
    """Put *data* at *path* whole: a reader sees the old content or the new, never a part.

    Not durable: for signs of life, which a crash makes worthless.
    """
    temporary = path.with_name(temporary_name())
    try:
        write_new(temporary, data, sync=False)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def point(link: Path, target: str, *, by: Path) -> None:
    """Make the symbolic link *link* lead to *target*, replacing an older link atomically.

    It is made in the directory *by* before it gets its name.
    """
    temporary = by / temporary_name()
    try:
        os.symlink(target, temporary)
        os.replace(temporary, link)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(link.parent)


def listing(directory: Path) -> frozenset[str]:
    """The names in *directory*; empty when there is no such directory.

    Absence is always judged by a listing: NFS may remember that a file was absent.
    """
    try:
        return frozenset(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def _open_fact(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def read_json(path: Path) -> dict[str, Any] | None:
    """What the fact at *path* says; None when it cannot be read (yet) or is no fact.

    A fact is complete from the moment it has its name. What cannot be read is therefore a
    file system that lags behind, a claim without its file yet, or damage: no word in each case.
    """
    try:
        with open(path, "rb", opener=_open_fact) as file:
            value = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
