"""The files of modules, copied as they were together at one moment. Knows contents and digests."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from persist_magic.errors import PersistError
from persist_magic.facts import create, make_directory, sync_directory
from persist_magic.localcode.tree import CodeFile, unreadable

_PIECE = 1 << 18


def _changed(file: CodeFile, words: str = "changed") -> PersistError:
    return PersistError(
        f"{file.source} {words} while it was copied for the job",
        "submit again; if something writes to it all the time, move it out of the package "
        "or leave its module out with --skip-code",
    )


def _pieces(file: CodeFile) -> Iterator[bytes]:
    """The content of *file*; an error once that is more than was listed."""
    try:
        # Not to wait for a writer, should a pipe have taken its place.
        fd = os.open(file.source, os.O_RDONLY | os.O_NONBLOCK)
        try:
            size = 0
            while piece := os.read(fd, _PIECE):
                size += len(piece)
                # It may grow as fast as it is read.
                if size > file.size:
                    raise _changed(file)
                yield piece
        finally:
            os.close(fd)
    except FileNotFoundError as error:
        raise _changed(file, "vanished") from error
    except OSError as error:
        raise unreadable(file.source, error) from error


def _check_unchanged(files: Iterable[CodeFile]) -> None:
    """An error unless all *files* are as listed still: then their copies belong together."""
    for file in files:
        try:
            status = os.stat(file.source)
        except OSError as error:
            raise _changed(file, "vanished") from error
        if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime):
            raise _changed(file)


def _make(directory: Path, made: set[Path]) -> None:
    if directory not in made:
        if not directory.is_dir():
            make_directory(directory)
        made.add(directory)


def copy_code(
    files: Iterable[CodeFile], directory: Path, *, durable: bool = False
) -> dict[str, str]:
    """Copy *files* into *directory*, as they were together at one moment.

    Parameters
    ----------
    files
        What `files_of` returned.
    directory
        Made if need be; nothing in it is replaced. It is left incomplete after an error.
    durable
        Whether the copies must survive a crash of the machine from now on.

    Returns
    -------
    dict
        The blake3 digest of each file, 64 hexadecimal characters, by its path in the tree.

    Raises
    ------
    PersistError
        A file cannot be read, or has changed or vanished since it was listed.
    """
    import blake3

    files = list(files)
    digests = {}
    made: set[Path] = set()
    for file in files:
        path = directory / file.path
        for parent in reversed(PurePosixPath(file.path).parents):
            _make(directory / parent, made)
        hasher = blake3.blake3()
        fd = create(path)
        try:
            for piece in _pieces(file):
                hasher.update(piece)
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
            if file.executable:
                os.fchmod(fd, 0o700)
            os.utime(fd, ns=(file.mtime, file.mtime))
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        digests[file.path] = hasher.hexdigest()
    _check_unchanged(files)
    if durable:
        for each in made:
            sync_directory(each)
    return digests


def code_digest(files: Iterable[CodeFile]) -> dict[str, str]:
    """The digests that `copy_code` would return for *files*."""
    import blake3

    files = list(files)
    digests = {}
    for file in files:
        hasher = blake3.blake3()
        for piece in _pieces(file):
            hasher.update(piece)
        digests[file.path] = hasher.hexdigest()
    _check_unchanged(files)
    return digests


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What changed between two sets of digests, in words; notebooks are no code."""
    found = []
    for path in sorted(old.keys() | new.keys()):
        # Each run saves the notebook again, which may lie in the package that it uses.
        if path.endswith(".ipynb") or old.get(path) == new.get(path):
            continue
        words = "is new" if path not in old else "is gone" if path not in new else "changed"
        found.append(f"{path} {words}")
    return found
