"""`save(...)` inside a job: results that are durable at once. Knows one attempt directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from persist_magic.blobs import BlobIndex
from persist_magic.errors import CannotSave, UsageError

_job: tuple[Path, BlobIndex] | None = None


def open_for(attempt: Path, index: BlobIndex) -> None:
    """Let `save` write into *attempt* from now on."""
    global _job
    _job = (attempt, index)


def save(**values: Any) -> None:
    """Publish *values* now, durably: they can be fetched while the job still runs.

    `save(best=model, epoch=i)` in a job; `%persist_fetch NAME --partial` brings the latest of each
    name. What is saved survives whatever happens to the job. Outside a job it does nothing but
    say so, so that a cell runs with and without `%%persist`.

    Raises
    ------
    CannotSave
        A value cannot be pickled; nothing of this call is published.
    """
    if not values:
        raise UsageError("save() has nothing to save", "write save(name=value)")
    if _job is None:
        print("save(): not in a job, so nothing was saved", file=sys.stderr)
        return
    from persist_magic import facts, payload
    from persist_magic.payload.rebuild import main_namespace

    attempt, index = _job
    dumped = payload.dump_all(values, main_namespace())
    for name, failure in dumped.failures.items():
        raise CannotSave(
            f"save() cannot save {name!r}: {failure.path} is a {failure.type} ({failure.reason})",
            failure.advice,
        )
    saved = attempt / "saved"
    try:
        facts.make_directory(saved)
    except FileExistsError:
        pass
    temporary = saved / facts.temporary_name()
    facts.make_directory(temporary)
    try:
        payload.write(dumped, temporary, index, durable=True)
        number = _publish(temporary, saved)
    except BaseException:
        _delete(temporary)
        raise
    _forget_older(saved, number)


def _publish(temporary: Path, saved: Path) -> int:
    from persist_magic import facts

    number = max(numbers(saved), default=0) + 1
    while True:
        try:
            # Onto another thread's payload this fails: that is never empty.
            os.rename(temporary, saved / str(number))
        except OSError:
            if not (saved / str(number)).exists():
                raise
            number += 1
        else:
            facts.sync_directory(saved)
            return number


def numbers(saved: Path) -> list[int]:
    """The numbers of the calls of `save` whose results are in *saved*, oldest first."""
    from persist_magic import facts

    return sorted(int(name) for name in facts.listing(saved) if name.isdigit())


def _forget_older(saved: Path, newest: int) -> None:
    """Delete what newer calls have superseded in full; a reader may still be at the one before."""
    from persist_magic import payload

    seen: set[str] = set()
    for number in sorted((n for n in numbers(saved) if n <= newest), reverse=True):
        try:
            manifest = payload.read_manifest(saved / str(number)) or {}
        except OSError:
            continue
        names = set(manifest.get("about", {}))
        if names <= seen and number < newest - 1:
            _delete(saved / str(number))
        seen |= names


def _delete(directory: Path) -> None:
    import shutil

    from persist_magic import facts

    # At once for whoever lists them: a directory that is half deleted would look damaged.
    gone = directory.with_name(facts.temporary_name())
    try:
        os.rename(directory, gone)
        directory = gone
    except OSError:
        pass
    shutil.rmtree(directory, ignore_errors=True)
