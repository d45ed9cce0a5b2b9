"""What comes back: names that a job bound or changed. Knows a namespace and a payload."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from persist_magic.blobs import BlobIndex

# Beside variables, which are identifiers, a payload may hold these.
VALUE = "<value>"
ERROR = "<error>"
CALL = "<call>"
STATE = "<state>"
_TRIES = 20


class Before:
    """The namespace of a job before its cell runs."""

    def __init__(self, namespace: dict[str, Any], sent: Mapping[str, Any]) -> None:
        self._namespace = namespace
        self._before = dict(namespace)
        # name -> the fingerprint that its value had when it was sent
        self._sent = {name: about.get("fingerprint", "") for name, about in sent.items()}

    def bound(self, certain: Iterable[str]) -> list[str]:
        """The names that were bound since; those in *certain* even if to the same object."""
        fixed = set(certain)
        missing = object()
        return [
            name
            for name, value in list(self._namespace.items())
            if (name in fixed or self._before.get(name, missing) is not value)
            # Python's own: __annotations__ and its like.
            and not (name.startswith("__") and name.endswith("__"))
        ]

    def deleted(self) -> list[str]:
        """The names that were deleted since."""
        return [name for name in self._before if name not in self._namespace]

    def changed(self, but: Iterable[str]) -> list[str]:
        """The sent names, those of *but* left out, whose content was changed in place."""
        now = dict(self._namespace)
        left = [name for name in self._sent if name in now and name not in set(but)]
        left = [name for name in left if not isinstance(now[name], ModuleType)]
        if not left:
            return []
        from persist_magic.fingerprint import fingerprint

        changed = []
        for name in left:
            try:
                seen = fingerprint(now[name], namespace=self._namespace, follow_globals=False)
            except Exception:
                # It cannot be compared now; it comes back, or the reason why it cannot be saved.
                changed.append(name)
                continue
            if seen.unstable or seen.digest != self._sent[name]:
                changed.append(name)
        return changed


def save_outputs(
    values: dict[str, Any],
    namespace: dict[str, Any],
    directory: Path,
    index: BlobIndex,
    roles: Mapping[str, str],
) -> dict[str, Any]:
    """Save *values* durably in the new directory *directory*, which appears complete.

    Parameters
    ----------
    roles
        Why each name comes back; added to what the manifest says of it.

    Returns
    -------
    dict
        The manifest.
    """
    from persist_magic import facts, payload

    def needed(name: str, by: str) -> dict[str, Any]:
        # A function that comes back must find here what it found in the job.
        if name in namespace and name not in values:
            extra[name] = by
            return {name: namespace[name]}
        return {}

    for _ in range(_TRIES):
        extra: dict[str, str] = {}
        dumped = payload.dump_all(values, namespace, more=needed)
        # Another thread is at work on it.
        if not any("during iteration" in failed.reason for failed in dumped.failures.values()):
            break
    for name, about in dumped.about.items():
        about["role"] = roles.get(name) or f"needed by {extra.get(name, '')}"
    temporary = directory.with_name(facts.temporary_name())
    facts.make_directory(temporary)
    manifest = payload.write(dumped, temporary, index, durable=True, keep_what_fits=True)
    os.rename(temporary, directory)
    facts.sync_directory(directory.parent)
    return manifest
