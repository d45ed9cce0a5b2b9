"""A dump to a directory: one file of streams, large buffers as blobs, the manifest last."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from persist_magic import blobs, facts
from persist_magic.blobs import BlobIndex, digest_of
from persist_magic.errors import NoSpace
from persist_magic.payload.describe import size_words
from persist_magic.payload.groups import Dump, Failure, Group
from persist_magic.records import asdict

DATA = "data"
MANIFEST = "manifest.json"
BLOBS = "blobs"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Room for the facts, logs and directories that come with a payload, and for the manifest.
_SPARE = 1 << 20
_SPARE_FOR_EACH = 1 << 10


def write(
    dumped: Dump,
    directory: Path,
    index: BlobIndex,
    *,
    durable: bool,
    keep_what_fits: bool = False,
    digest: Callable[[memoryview], str] = digest_of,
) -> dict[str, Any]:
    """Write *dumped* into the existing, empty *directory*; the manifest last.

    Parameters
    ----------
    durable
        Whether all of it must survive a crash of the machine from now on.
    keep_what_fits
        On a full disk, save the groups that fit, the smallest first, and note the others as
        failures; without it, nothing is kept.
    digest
        `digest_of`, or one that remembers.

    Returns
    -------
    dict
        The manifest, as written.

    Raises
    ------
    NoSpace
        Before anything is written, where the disk is too small.
    """
    digests = [[digest(b) for b in group.pickled.buffers] for group in dumped.groups]
    work = list(zip(dumped.groups, digests, strict=True))
    writer = _Writer(dumped, directory, index, durable)
    if not keep_what_fits:
        writer.check_space(work)
    facts.make_directory(directory / BLOBS)
    with open(directory / DATA, "xb", buffering=0, opener=_private) as file:
        writer.data = file.fileno()
        for group, names in work:
            try:
                if keep_what_fits:
                    writer.check_space([(group, names)])
                writer.add(group, names)
            except NoSpace:
                if not keep_what_fits:
                    raise
                writer.drop(group, names)
        if durable:
            os.fsync(writer.data)
            facts.sync_directory(directory / BLOBS)
        manifest = writer.finish()
    if durable:
        facts.sync_directory(directory)
    return manifest


def _private(path: str, flags: int) -> int:
    return facts.owned(os.open(path, flags, 0o600))


class _Writer:
    """One call of `write`."""

    def __init__(self, dumped: Dump, directory: Path, index: BlobIndex, durable: bool) -> None:
        self.dumped = dumped
        self.directory = directory
        self.index = index
        self.durable = durable
        self.data = -1
        self.entries: list[dict[str, Any]] = []
        self.failures = dict(dumped.failures)

    def check_space(self, work: Iterable[tuple[Group, list[str]]]) -> None:
        """Raise NoSpace unless there is room for the groups in *work* and what comes with them."""
        needed = _SPARE + _SPARE_FOR_EACH * len(self.dumped.about)
        sizes: dict[str, int] = {}
        for group, digests in work:
            needed += group.pickled.stream.nbytes
            for buffer, digest in zip(group.pickled.buffers, digests, strict=True):
                sizes[digest] = buffer.nbytes
        needed += sum(size for digest, size in sizes.items() if not self.index.holds(digest))
        disk = os.statvfs(self.directory)
        free = disk.f_bavail * disk.f_frsize
        if needed > free:
            raise self._no_space(needed, f", {size_words(free)} are free")

    def _no_space(self, needed: int, left: str = "") -> NoSpace:
        return NoSpace(
            f"no space in {self.directory.parent.parent}: {size_words(needed)} are needed{left}",
            "%persist_cleanup frees finished jobs; PERSIST_ROOT names a root on another disk; "
            "--dry-run shows what would be sent",
        )

    def add(self, group: Group, digests: list[str]) -> None:
        """Write *group*, whose buffers have *digests*."""
        at = self._end()
        stream = group.pickled.stream
        size = stream.nbytes
        try:
            for buffer, digest in zip(group.pickled.buffers, digests, strict=True):
                path = self.directory / BLOBS / digest
                if not path.exists():
                    self.index.put(buffer, digest, path, durable=self.durable)
            done = 0
            while done < size:
                done += os.pwrite(self.data, stream[done : done + blobs.PIECE], at + done)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise self._no_space(group.pickled.size) from error
            raise
        self.entries.append(
            {
                "names": list(group.names),
                "at": at,
                "size": size,
                "digest": digest_of(stream),
                "buffers": [
                    {"size": buffer.nbytes, "digest": digest}
                    for buffer, digest in zip(group.pickled.buffers, digests, strict=True)
                ],
            }
        )

    def _end(self) -> int:
        """Where the next stream goes."""
        return self.entries[-1]["at"] + self.entries[-1]["size"] if self.entries else 0

    def drop(self, group: Group, digests: list[str]) -> None:
        """Undo what was written of *group*, which is not among the entries, and note it."""
        os.ftruncate(self.data, self._end())
        kept = {buffer["digest"] for entry in self.entries for buffer in entry["buffers"]}
        for digest in set(digests) - kept:
            (self.directory / BLOBS / digest).unlink(missing_ok=True)
            self.index.sweep([digest])
        words = f"no space left on the disk for {size_words(group.pickled.size)}"
        for name in group.names:
            kind = str(self.dumped.about[name]["type"])
            self.failures[name] = Failure(
                name, kind, words, "free space and run it again", "", disk_full=True
            )

    def finish(self) -> dict[str, Any]:
        """Write the manifest."""
        manifest = {
            "groups": self.entries,
            "about": self.dumped.about,
            "failures": {name: asdict(failure) for name, failure in self.failures.items()},
            "notices": [asdict(notice) for notice in self.dumped.notices],
        }
        try:
            facts.write_new(self.directory / MANIFEST, facts.encode(manifest), sync=self.durable)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise self._no_space(self.dumped.size) from error
            raise
        return manifest
