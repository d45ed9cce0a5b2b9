"""A saved payload back to variables. Knows its files and what may be wrong with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from persist_magic import blobs, facts
from persist_magic.blobs import BlobIndex, digest_of
from persist_magic.errors import CannotLoad, Damaged
from persist_magic.payload.describe import blames_the_value, error_words
from persist_magic.payload.pickling import load
from persist_magic.payload.rebuild import loading_into
from persist_magic.payload.saving import BLOBS, DATA, MANIFEST
from persist_magic.records import dataclass


@dataclass
class Loaded:
    """What came back."""

    values: dict[str, Any]
    failures: dict[str, CannotLoad]
    notices: list[str]


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of the payload in *directory*; None where none was completed.

    Raises
    ------
    Damaged
        It is not what was written.
    """
    if MANIFEST not in facts.listing(directory):
        return None
    manifest = facts.read_json(directory / MANIFEST)
    if manifest is None or not _is_whole(manifest):
        raise Damaged(f"{directory / MANIFEST} is not what was written")
    return manifest


def _is_whole(manifest: dict[str, Any]) -> bool:
    """Whether *manifest* has all that will be read of it."""
    try:
        groups, notices = manifest["groups"], manifest["notices"]
        pieces = [*groups, *(buffer for group in groups for buffer in group["buffers"])]
        numbers = [*(each["size"] for each in pieces), *(group["at"] for group in groups)]
        digests = [each["digest"] for each in pieces]
        words = [name for each in [*groups, *notices] for name in each["names"]]
        words += [*digests, *(notice["words"] for notice in notices)]
        tables = [manifest["about"], manifest["failures"]]
        tables += [entry for table in tables for entry in table.values()]
    except (AttributeError, KeyError, TypeError):
        return False
    return (
        all(type(each) is int and each >= 0 for each in numbers)
        and all(type(each) is str for each in words)
        and all("/" not in each for each in digests)
        and all(type(each) is dict for each in tables)
    )


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
    manifest = read_manifest(directory) or {"groups": [], "failures": {}, "notices": []}
    loaded = Loaded({}, {}, [])
    for name, entry in manifest["failures"].items():
        if names is None or name in names:
            loaded.failures[name] = _was_not_saved(name, entry)
    for notice in manifest["notices"]:
        if names is None or not names.isdisjoint(notice["names"]):
            loaded.notices.append(notice["words"])
    with loading_into(namespace) as loading:
        for group in manifest["groups"]:
            wanted = [name for name in group["names"] if names is None or name in names]
            if not wanted:
                continue
            try:
                values = _load_group(directory, group, index)
            except BaseException as error:
                loading.end_stream(complete=False)
                if not blames_the_value(error):
                    raise
                loaded.failures.update((name, _cannot_load(name, error)) for name in wanted)
                continue
            loading.end_stream(complete=True)
            everything = dict(zip(group["names"], values, strict=True))
            loaded.values.update((name, everything[name]) for name in wanted)
        loaded.notices.extend(loading.notices)
    return loaded


def _load_group(directory: Path, group: dict[str, Any], index: BlobIndex) -> tuple[Any, ...]:
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
    value = load(stream, buffers)
    return (value,) if len(group["names"]) == 1 else tuple(value)


def _read_stream(path: Path, at: int, size: int, digest: str) -> bytearray:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Damaged(f"{path}: {error.strerror}") from error
    try:
        # A damaged manifest must not ask for all of the memory.
        stream = bytearray(min(size, max(0, os.fstat(fd).st_size - at)))
        view = memoryview(stream)
        done = 0
        while done < len(stream):
            count = os.preadv(fd, [view[done : done + blobs.PIECE]], at + done)
            if not count:
                break
            done += count
    except OSError as error:
        raise Damaged(f"{path}: {error.strerror}") from error
    finally:
        os.close(fd)
    if done != size or digest_of(view) != digest:
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


def _cannot_load(name: str, error: BaseException) -> CannotLoad:
    if isinstance(error, Damaged):
        return CannotLoad(f"{name!r}: {error.message}", error.hint)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return CannotLoad(
            f"{name!r} needs the module {error.name!r}, which cannot be imported here",
            f"install {error.name.split('.')[0]!r} here, then fetch again",
        )
    return CannotLoad(f"{name!r} cannot be loaded here: {error_words(error)}")
