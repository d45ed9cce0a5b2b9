"""Variables to a directory and back, by groups. Knows streams, blobs and a manifest, no jobs.

Variables that share a mutable object are one group and keep sharing it; one group that fails, on
either side, costs no other. Large buffers are blobs of their own, verified and mapped when loaded.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persist_magic import blobs, facts
from persist_magic.blobs import BlobIndex, digest_of
from persist_magic.errors import CannotLoad, Damaged, NoSpace
from persist_magic.payload.culprit import culprit, explain
from persist_magic.payload.describe import describe, short_repr, size_words, type_name
from persist_magic.payload.pickling import Pickled, dump, load
from persist_magic.payload.rebuild import loading_into

__all__ = [
    "Dump",
    "Failure",
    "Group",
    "Loaded",
    "describe",
    "dump_all",
    "load_all",
    "read_manifest",
    "short_repr",
    "size_words",
    "type_name",
    "write",
]

DATA = "data"
MANIFEST = "manifest.json"
BLOBS = "blobs"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Room for the facts, logs and directories that come with a payload.
_SPARE = 1 << 20


@dataclass(frozen=True)
class Failure:
    """A variable that could not be saved: where in it, of what type, why, how it looked."""

    path: str
    type: str
    reason: str
    advice: str
    repr: str


@dataclass
class Group:
    """Variables that are saved as one stream."""

    names: tuple[str, ...]
    pickled: Pickled


@dataclass
class Dump:
    """Variables as bytes, in memory; large buffers are still those of the variables."""

    groups: list[Group]
    failures: dict[str, Failure]
    about: dict[str, dict[str, Any]]  # name -> what to say of it
    met: dict[str, str] = field(default_factory=dict)  # global name -> a variable that needs it

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(group.pickled.size for group in self.groups)


def dump_all(
    values: Mapping[str, object],
    namespace: dict[str, Any],
    *,
    more: Callable[[str, str], Mapping[str, object]] | None = None,
) -> Dump:
    """Pickle *values* in memory, by groups.

    Parameters
    ----------
    values
        Variables by name.
    namespace
        The globals of the notebook.
    more
        Called with each global name that a function in *values* uses, and the variable it was
        met in; what it returns is dumped too, to a fixpoint.
    """
    alone: dict[str, Pickled] = {}
    everything = dict(values)
    failures: dict[str, Failure] = {}
    met: dict[str, str] = {}
    waiting = list(values)
    sharing = len(values) > 1 or more is not None
    while waiting:
        name = waiting.pop()
        value = everything[name]
        try:
            alone[name] = dump(value, namespace, sharing=sharing)
        except Exception as error:
            failures[name] = _failure(name, value, error, namespace)
            continue
        for used in alone[name].met - met.keys():
            met[used] = name
            for new, found in (more(used, name) if more is not None else {}).items():
                if new not in everything:
                    everything[new] = found
                    waiting.append(new)
    groups: list[Group] = []
    for names in _groups({name: p.shared or {} for name, p in alone.items()}):
        if len(names) == 1:
            groups.append(Group(names, alone[names[0]]))
            continue
        # What is apart in memory already can be saved together: the same objects, once more.
        for name in names:
            del alone[name]
        together = dump(tuple(everything[name] for name in names), namespace)
        groups.append(Group(names, together))
    about: dict[str, dict[str, Any]] = {
        name: {"type": type_name(value), "is": describe(value)}
        for name, value in everything.items()
    }
    for group in groups:
        for name in group.names:
            about[name]["bytes"] = group.pickled.size // len(group.names)
    groups.sort(key=lambda group: group.pickled.size)
    return Dump(groups, failures, about, met)


def _failure(name: str, value: object, error: Exception, namespace: dict[str, Any]) -> Failure:
    path, part = culprit(value, name, namespace)
    reason = f"{type(error).__name__}: {error}".split("\n")[0]
    return Failure(path, type_name(part), reason, explain(part), short_repr(value))


def _groups(shared: Mapping[str, Mapping[int, Any]]) -> list[tuple[str, ...]]:
    """The names, those together that have an object in common."""
    leader = {name: name for name in shared}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = name = leader[leader[name]]
        return name

    owner: dict[int, str] = {}
    for name, ids in shared.items():
        for id in ids:
            leader[find(name)] = find(owner.setdefault(id, name))
    groups: dict[str, list[str]] = {}
    for name in shared:
        groups.setdefault(find(name), []).append(name)
    return [tuple(names) for names in groups.values()]


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
    if not keep_what_fits:
        _check_space(dumped, digests, directory, index)
    os.mkdir(directory / BLOBS, 0o700)
    entries: list[dict[str, Any]] = []
    failures = dict(dumped.failures)
    fd = os.open(directory / DATA, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        at = 0
        for group, names in zip(dumped.groups, digests, strict=True):
            try:
                entry = _write_group(fd, at, group, names, directory, index, durable)
            except OSError as error:
                if error.errno not in _NO_SPACE:
                    raise
                if not keep_what_fits:
                    raise _no_space(directory, dumped.size) from error
                os.ftruncate(fd, at)
                for name in group.names:
                    words = f"no space left on the disk for {size_words(group.pickled.size)}"
                    kind = str(dumped.about[name]["type"])
                    failures[name] = Failure(name, kind, words, "free space and run it again", "")
                continue
            at += entry["size"]
            entries.append(entry)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    manifest = {
        "groups": entries,
        "about": dumped.about,
        "failures": {name: failure.__dict__ for name, failure in failures.items()},
    }
    if durable:
        facts.sync_directory(directory / BLOBS)
    try:
        facts.write_new(directory / MANIFEST, facts.encode(manifest), sync=durable)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise _no_space(directory, dumped.size) from error
        raise
    if durable:
        facts.sync_directory(directory)
    return manifest


def _write_group(
    fd: int,
    at: int,
    group: Group,
    digests: list[str],
    directory: Path,
    index: BlobIndex,
    durable: bool,
) -> dict[str, Any]:
    for buffer, digest in zip(group.pickled.buffers, digests, strict=True):
        path = directory / BLOBS / digest
        if not path.exists():
            index.put(buffer, digest, path, durable=durable)
    view = group.pickled.stream
    size = view.nbytes
    stream_digest = digest_of(view)
    done = 0
    while done < size:
        done += os.pwrite(fd, view[done : done + blobs.PIECE], at + done)
    return {
        "names": list(group.names),
        "at": at,
        "size": size,
        "digest": stream_digest,
        "buffers": [
            {"size": b.nbytes, "digest": d}
            for b, d in zip(group.pickled.buffers, digests, strict=True)
        ],
    }


def _check_space(dumped: Dump, digests: list[list[str]], directory: Path, index: BlobIndex) -> None:
    needed = _SPARE
    for group, names in zip(dumped.groups, digests, strict=True):
        needed += group.pickled.stream.nbytes
        for buffer, digest in zip(group.pickled.buffers, names, strict=True):
            if not index.holds(digest):
                needed += buffer.nbytes
    disk = os.statvfs(directory)
    free = disk.f_bavail * disk.f_frsize
    if needed > free:
        raise _no_space(directory, needed, free)


def _no_space(directory: Path, needed: int, free: int | None = None) -> NoSpace:
    left = "" if free is None else f", {size_words(free)} are free"
    return NoSpace(
        f"no space in {directory.parent.parent}: {size_words(needed)} are needed{left}",
        "%persist_cleanup frees finished jobs; PERSIST_ROOT names a root on another disk; "
        "--dry-run shows what would be sent",
    )


@dataclass
class Loaded:
    """What came back."""

    values: dict[str, Any]
    failures: dict[str, CannotLoad]
    notices: list[str]


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of the payload in *directory*; None where none was completed."""
    if MANIFEST not in facts.listing(directory):
        return None
    manifest = facts.read_json(directory / MANIFEST)
    if manifest is None or not isinstance(manifest.get("groups"), list):
        raise Damaged(f"{directory / MANIFEST} is not what was written")
    return manifest


def load_all(
    directory: Path,
    namespace: dict[str, Any],
    index: BlobIndex,
    names: frozenset[str] | None = None,
) -> Loaded:
    """Load the variables in *directory*, or those in *names*, into no namespace yet.

    Parameters
    ----------
    namespace
        What the functions among them will have as their globals; only read here.
    index
        Told of damaged blobs, so that no other job links them.
    names
        The variables wanted; bulk data of others is not read.
    """
    manifest = read_manifest(directory) or {"groups": [], "failures": {}}
    loaded = Loaded({}, {}, [])
    for name, entry in manifest.get("failures", {}).items():
        if names is None or name in names:
            loaded.failures[name] = _was_not_saved(name, entry)
    for group in manifest["groups"]:
        wanted = [name for name in group["names"] if names is None or name in names]
        if not wanted:
            continue
        try:
            values = _load_group(directory, group, namespace, index, loaded.notices)
        except Exception as error:
            for name in wanted:
                loaded.failures[name] = _cannot_load(name, error)
            continue
        everything = dict(zip(group["names"], values, strict=True))
        loaded.values.update((name, everything[name]) for name in wanted)
    return loaded


def _load_group(
    directory: Path,
    group: dict[str, Any],
    namespace: dict[str, Any],
    index: BlobIndex,
    notices: list[str],
) -> tuple[Any, ...]:
    stream = _read_stream(directory / DATA, group["at"], group["size"], group["digest"])
    buffers = []
    verified: set[str] = set()
    for entry in group["buffers"]:
        digest = entry["digest"]
        path = directory / BLOBS / digest
        try:
            # Equal buffers are one file, but two memories: they were two objects.
            buffers.append(blobs.load(path, entry["size"], digest, verify=digest not in verified))
        except Damaged:
            index.set_aside(digest)
            raise
        verified.add(digest)
    with loading_into(namespace) as loading:
        value = load(stream, buffers)
    notices.extend(note for note in loading.notices if note not in notices)
    return (value,) if len(group["names"]) == 1 else tuple(value)


def _read_stream(path: Path, at: int, size: int, digest: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Damaged(f"{path}: {error.strerror}") from error
    try:
        pieces = []
        done = 0
        while done < size and (piece := os.pread(fd, min(size - done, blobs.PIECE), at + done)):
            pieces.append(piece)
            done += len(piece)
    except OSError as error:
        raise Damaged(f"{path}: {error.strerror}") from error
    finally:
        os.close(fd)
    stream = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if len(stream) != size or digest_of(stream) != digest:
        raise Damaged(f"{path} is not what was written: its digest differs")
    return stream


def _was_not_saved(name: str, entry: dict[str, Any]) -> CannotLoad:
    path = entry.get("path", name)
    at = "" if path == name else f" at {path}"
    looked = f"; it was {entry['repr']}" if entry.get("repr") else ""
    return CannotLoad(
        f"{name!r} could not be saved by the job ({entry.get('type')}{at}): {entry.get('reason')}",
        str(entry.get("advice", "")) + looked,
    )


def _cannot_load(name: str, error: Exception) -> CannotLoad:
    if isinstance(error, Damaged):
        return CannotLoad(f"{name!r}: {error.message}", error.hint)
    if isinstance(error, ModuleNotFoundError):
        return CannotLoad(
            f"{name!r} needs the module {error.name!r}, which cannot be imported here",
            f"install {str(error.name).split('.')[0]!r} here, then fetch again",
        )
    return CannotLoad(f"{name!r} cannot be loaded here: {type(error).__name__}: {error}")
