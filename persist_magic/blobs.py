"""Large buffers by digest, each stored once. Knows files and digests, nothing of pickles or jobs.

A buffer lives where its users have linked it; the index only lets the next user find it. An
entry is either durable (`<digest>`) or written since the machine started and not yet synced
(`<digest>.<boot>`): after a crash of the machine the latter is never used again, since it may be
torn. Losing an entry costs a copy, never data.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
from collections.abc import Iterable
from pathlib import Path

from persist_magic.errors import Damaged
from persist_magic.facts import create, listing, temporary_name
from persist_magic.machine import boot_id, is_local

PIECE = 16 << 20
_THREADS_FROM = 4 << 20
_ENTRY = re.compile(r"([0-9a-f]{64})(\.[0-9a-f]*)?")


def digest_of(buffer: memoryview | bytes | mmap.mmap) -> str:
    """The blake3 digest of *buffer*, 64 hexadecimal characters."""
    import blake3

    view = memoryview(buffer)
    # Starting threads costs more than they gain on a small buffer.
    threads = blake3.blake3.AUTO if view.nbytes >= _THREADS_FROM else 1
    return blake3.blake3(view, max_threads=threads).hexdigest()


class BlobIndex:
    """The index of blobs in *directory*, which must exist on the file system of its users."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _entries(self, digest: str) -> tuple[Path, Path]:
        return self.directory / digest, self.directory / f"{digest}.{boot_id()[:12]}"

    def holds(self, digest: str) -> bool:
        """Whether a blob of *digest* need not be written again."""
        return any(entry.exists() for entry in self._entries(digest))

    def put(self, buffer: memoryview, digest: str, path: Path, *, durable: bool) -> bool:
        """Make *path* hold *buffer*: by a link where it is known, else by writing it.

        Parameters
        ----------
        buffer
            Contiguous bytes.
        digest
            What `digest_of` says of *buffer*.
        path
            Where the user of the blob keeps it; must not exist.
        durable
            Whether the blob must survive a crash of the machine from now on.

        Returns
        -------
        bool
            True if the buffer was written, False if a known one was linked.
        """
        lasting, fleeting = self._entries(digest)
        for entry in (lasting, fleeting):
            try:
                os.link(entry, path)
            except OSError as error:
                if error.errno == errno.EMLINK:
                    # It has as many names as a file can have: the next users share a new one.
                    entry.unlink(missing_ok=True)
                continue
            # A truncated file is caught here; any other damage when the blob is loaded.
            if os.stat(path).st_size == buffer.nbytes:
                if durable and entry is fleeting:
                    self._seal(path, digest)
                return False
            path.unlink()
            self.set_aside(digest)
        write_buffer(path, buffer, sync=durable)
        _link_quietly(path, lasting if durable else fleeting)
        return True

    def adopt(self, source: Path, digest: str, path: Path, *, durable: bool) -> None:
        """Make *path* another name of *source*, a blob of *digest* known to be whole."""
        try:
            os.link(source, path)
        except OSError:
            copy_file(source, path, sync=durable)
        if durable:
            self._seal(path, digest)

    def _seal(self, path: Path, digest: str) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        lasting, fleeting = self._entries(digest)
        _link_quietly(path, lasting)
        fleeting.unlink(missing_ok=True)

    def set_aside(self, digest: str) -> None:
        """Forget the blob of *digest*: it is damaged and must never be linked again."""
        for entry in self._entries(digest):
            entry.unlink(missing_ok=True)

    def sweep(self, digests: Iterable[str] | None = None) -> int:
        """Remove entries that no user holds any more; all of them, or those of *digests*.

        Returns
        -------
        int
            The bytes freed. An entry that is linked at this very moment survives in its
            user's directory: the user's link is a link of its own.
        """
        wanted = None if digests is None else frozenset(digests)
        entries: dict[tuple[int, int], list[Path]] = {}
        for name in listing(self.directory):
            match = _ENTRY.fullmatch(name)
            if match is None or (wanted is not None and match[1] not in wanted):
                continue
            entry = self.directory / name
            try:
                status = entry.lstat()
            except OSError:
                continue
            entries.setdefault((status.st_dev, status.st_ino), []).append(entry)
        freed = 0
        for same in entries.values():
            try:
                status = same[0].lstat()
                # One blob may have two entries: it was synced after it had been written.
                if status.st_nlink == len(same):
                    for entry in same:
                        entry.unlink()
                    freed += status.st_size
            except OSError:
                continue
        return freed


def _link_quietly(source: Path, entry: Path) -> None:
    # The index is a convenience: another writer was first, or this file system has no links.
    try:
        os.link(source, entry)
    except OSError:
        pass


def write_buffer(path: Path, buffer: memoryview, *, sync: bool) -> None:
    """Write *buffer* to the new file *path*, by way of a temporary name."""
    temporary = path.with_name(temporary_name())
    try:
        fd = create(temporary)
        try:
            view = buffer
            while view.nbytes:
                # Pieces let Ctrl-C through between them.
                view = view[os.write(fd, view[:PIECE]) :]
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def copy_file(source: Path, path: Path, *, sync: bool) -> None:
    """Copy the file *source* to the new file *path*."""
    with open(source, "rb") as file, mmap_or_empty(file.fileno()) as content:
        write_buffer(path, memoryview(content), sync=sync)


class mmap_or_empty:
    """A read-only map of a file as a context; `b""` for an empty file, which cannot be mapped."""

    def __init__(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        self._map = mmap.mmap(fd, size, access=mmap.ACCESS_READ) if size else None

    def __enter__(self) -> mmap.mmap | bytes:
        return self._map if self._map is not None else b""

    def __exit__(self, *_: object) -> None:
        # The map goes with its last view.
        self._map = None


def _digest_in_passing(content: mmap.mmap | bytearray) -> str:
    """`digest_of` a whole map that counts as this process's memory only piece by piece."""
    if isinstance(content, bytearray) or not hasattr(mmap, "MADV_DONTNEED"):
        return digest_of(memoryview(content))
    import blake3

    hasher = blake3.blake3(max_threads=blake3.blake3.AUTO)
    view = memoryview(content)
    for start in range(0, len(view), 4 * PIECE):
        hasher.update(view[start : start + 4 * PIECE])
        # Nothing was written to it, so the pages come back from the file when they are read.
        content.madvise(mmap.MADV_DONTNEED, start, min(4 * PIECE, len(view) - start))
    return hasher.hexdigest()


def load(path: Path, size: int, digest: str, *, verify: bool = True) -> memoryview:
    """The verified content of *path*, private and writable.

    On a local file system it is mapped: nothing is copied until it is written to. On a network
    file system it is read, since a map would kill the process (SIGBUS) when the file goes away.

    Raises
    ------
    Damaged
        The file is absent, or its size or digest differs from what was written.
    """
    try:
        return _load(path, size, digest, verify)
    except OSError as error:
        if error.errno not in _LOST:
            raise
        raise _damaged(path, f"cannot be read: {error.strerror}") from error


# What says that the file is not, or no longer, what it was; memory or rights may lack only now.
_LOST = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.EIO)


def _damaged(path: Path, words: str) -> Damaged:
    return Damaged(f"{path} {words}", "it cannot be brought back: run what made it again")


def _load(path: Path, size: int, digest: str, verify: bool) -> memoryview:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(fd).st_size
        if found != size:
            raise _damaged(path, f"has {found} bytes, {size} were written")
        if size == 0:
            return memoryview(bytearray())
        content: mmap.mmap | bytearray
        if is_local(path):
            content = mmap.mmap(fd, size, access=mmap.ACCESS_COPY)
        else:
            content = bytearray(size)
            with open(fd, "rb", buffering=0, closefd=False) as file:
                done = 0
                while piece := file.readinto(memoryview(content)[done : done + PIECE]):
                    done += piece
            if done < size:
                raise _damaged(path, f"ended after {done} of {size} bytes")
        if verify and _digest_in_passing(content) != digest:
            raise _damaged(path, "is not what was written: its digest differs")
        return memoryview(content)
    finally:
        os.close(fd)
