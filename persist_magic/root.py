"""Where the root is and whether it can be trusted. Knows directories and users, no jobs."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
from pathlib import Path

from persist_magic.errors import NoSpace, RootRefused

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


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
        return Path(os.path.expanduser(given)).absolute(), ""
    start = start.absolute()
    home = os.path.expanduser("~")
    # The working directory is known by its real name; the home directory may be a link.
    homes = (Path(home), Path(os.path.realpath(home)))
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
        if directory in homes:
            break
    return start / ".persist", notice


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
            f"make it yours alone: chmod go-w {shlex.quote(str(directory))}",
        )


def no_space(root: Path) -> NoSpace:
    """The error that the disk of *root* is full."""
    return NoSpace(
        f"no space left on the disk of {display_path(root)}",
        "%persist_cleanup frees finished jobs; PERSIST_ROOT names a root on another disk",
    )


def display_path(path: Path) -> str:
    """*path*, with the home directory as `~`."""
    with contextlib.suppress(ValueError):
        return str(Path("~") / path.relative_to(os.path.expanduser("~")))
    return str(path)
