"""Which files modules consist of, and whether they are too large. Knows names and sizes only."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import all_suffixes
from pathlib import Path, PurePosixPath

from persist_magic.errors import PersistError
from persist_magic.payload.describe import size_words

# What is walked at most, whatever its size: a directory of so many files is not code.
MOST_FILES = 30_000

# Files and directories that no code needs; of editors and network file systems, also some that
# come and go at any moment.
_LEFT_OUT = re.compile(
    r"__pycache__|\.git|\.hg|\.svn|\.ipynb_checkpoints|\.persist|node_modules|.*\.egg-info"
    r"|\.DS_Store|\.nfs[0-9a-f]+|\.#.*|#.*#|.*~|\..*\.sw[a-p]"
)
# What a directory holds that is a virtual environment or a cache.
_MARKS = frozenset(("CACHEDIR.TAG", "conda-meta", "pyvenv.cfg"))
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class TooLarge(PersistError):
    """Local modules that are too large to be copied."""


@dataclass(frozen=True)
class LocalModule:
    """A top-level module, or what of it lies outside the installation.

    Attributes
    ----------
    name
        Its name, without a dot.
    roots
        The file, or the directories of the package, in the order in which they are searched.
    elsewhere
        Dotted name and place of those of its imported submodules that an import hook found
        outside of *roots*.
    """

    name: str
    roots: tuple[Path, ...]
    elsewhere: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True)
class CodeFile:
    """A file to copy, as it was when it was listed.

    Attributes
    ----------
    source
        Where it is.
    path
        Where it is to be in the copied tree, with slashes: `pkg/data/table.csv`.
    size
        In bytes.
    mtime
        When it was last changed, in nanoseconds.
    executable
        Whether its owner can run it.
    """

    source: Path
    path: str
    size: int
    mtime: int
    executable: bool = False


def unreadable(path: Path | str, error: OSError) -> PersistError:
    """The error that *path*, which is part of a module, cannot be read."""
    return PersistError(
        f"{path} is to go into the job and cannot be read: {error.strerror}",
        "mend that, move it out of the package, or leave its module out with --skip-code",
    )


def _tree(
    directory: str, position: str, above: tuple[tuple[int, int], ...] = ()
) -> Iterator[CodeFile]:
    """The files in and below *directory*, whose copy is to be at *position*."""
    try:
        status = os.stat(directory)
        with os.scandir(directory) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(directory, error) from error
    here = (status.st_dev, status.st_ino)
    names = {entry.name for entry in listed}
    if here in above or (above and not _MARKS.isdisjoint(names)):
        return
    for entry in listed:
        # Compiled code goes with its source; where it has none, it is the module.
        compiled = entry.name.endswith(".pyc") and entry.name[:-1] in names
        if compiled or _LEFT_OUT.fullmatch(entry.name):
            continue
        try:
            status = entry.stat()
        except OSError as error:
            if error.errno in _NOTHING:
                continue  # a link to nothing, or an editor's file that was there for a moment
            raise unreadable(entry.path, error) from error
        path = f"{position}/{entry.name}"
        if stat.S_ISDIR(status.st_mode):
            yield from _tree(entry.path, path, (*above, here))
        elif stat.S_ISREG(status.st_mode):
            yield _code_file(entry.path, path, status)


def _code_file(source: str | Path, path: str, status: os.stat_result) -> CodeFile:
    executable = bool(status.st_mode & stat.S_IXUSR)
    return CodeFile(Path(source), path, status.st_size, status.st_mtime_ns, executable)


def _files(module: LocalModule) -> Iterator[CodeFile]:
    # What was imported from elsewhere is what the name stands for, whatever the roots hold.
    for dotted, place in (*module.elsewhere, *((module.name, root) for root in module.roots)):
        position = dotted.replace(".", "/")
        if place.is_dir():
            yield from _tree(str(place), position)
            continue
        suffixes = [suffix for suffix in all_suffixes() if place.name.endswith(suffix)]
        # A file that only an import hook understands keeps its name.
        path = (
            position + max(suffixes, key=len)
            if suffixes
            else str(PurePosixPath(position).parent / place.name)
        )
        try:
            yield _code_file(place, path, place.stat())
        except OSError as error:
            raise unreadable(place, error) from error


def _bounded(files: Iterable[CodeFile], most: int) -> Iterator[CodeFile]:
    seen = []
    for file in files:
        seen.append(file)
        if len(seen) > most:
            raise _too_large(seen, f"more than {most:,} files", lambda _: 1, "{:,} files".format)
        yield file


def files_of(modules: Iterable[LocalModule], most: int = MOST_FILES) -> list[CodeFile]:
    """Every file of *modules*, by path. Nothing is read: sizes are what the file system says.

    Raises
    ------
    TooLarge
        There are more than *most* files. The walk ends there.
    PersistError
        A directory cannot be read.
    """
    found: dict[str, CodeFile] = {}
    for file in _bounded((file for module in modules for file in _files(module)), most):
        # As in an import, the first of several portions wins.
        found.setdefault(file.path, file)
    return [found[path] for path in sorted(found)]


def check_size(files: Iterable[CodeFile], limit: int) -> None:
    """Raise `TooLarge` if *files* have more than *limit* bytes together."""
    files = list(files)
    total = sum(file.size for file in files)
    if total > limit:
        words = f"{size_words(total)}, the limit is {size_words(limit)}"
        raise _too_large(files, words, lambda file: file.size, size_words)


def _too_large(
    files: list[CodeFile],
    words: str,
    weigh: Callable[[CodeFile], int],
    weight_words: Callable[[int], str],
) -> TooLarge:
    """The error that *files* are too large by *weigh*, with the three parts that make them so."""
    weights: Counter[str] = Counter()
    for file in files:
        for part in (file.path, *map(str, PurePosixPath(file.path).parents)):
            weights[part] += weigh(file)
    whole = {file.path for file in files}
    # A directory that is large by one part of it says less than that part; so does a package.
    vague = {
        os.path.dirname(part)
        for part, weight in weights.items()
        if 4 * weight >= 3 * weights[os.path.dirname(part) or "."]
    }
    largest: list[str] = []
    for part, weight in weights.most_common():
        if len(largest) == 3 or (largest and 20 * weight < weights["."]):
            break
        named = part in whole or ("/" in part and part not in vague)
        if named and not any(part.startswith(f"{other}/") for other in largest):
            largest.append(part)
    listed = [
        f"{part if part in whole else part + '/'} ({weight_words(weights[part])})"
        for part in largest
    ]
    modules = sorted({PurePosixPath(part).parts[0].partition(".")[0] for part in largest})
    return TooLarge(
        f"the local modules that the job would use are too large: {words}; "
        f"the largest: {', '.join(listed)}",
        f"move data out of the package, leave a module where it is with "
        f"--skip-code {','.join(modules)}, or raise the limit",
    )
