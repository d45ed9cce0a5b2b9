"""Stores with jobs of no content, for tests of names and of deletion."""

from __future__ import annotations

import os
from pathlib import Path

from persist_magic.jobdir import Request
from persist_magic.store import Store


def new_store(project: Path) -> Store:
    """The store of the directory *project*, its root made."""
    store = Store(project / ".persist")
    store.prepare()
    return store


def publish(store: Store, name: str, replacing: str | None = None) -> str:
    """A job of no content called *name*; its id."""
    with store.new_job(name) as new:
        request = Request(0, new.id, name, "cell", "local", 0.0, "", "", "", replaces=replacing)
        (new.directory / Request.FILE).write_bytes(request.encode())
        new.publish(replacing)
    return new.id


def grow_old(path: Path) -> None:
    """Let *path* not have changed for a long time."""
    os.utime(path, (0, 0), follow_symlinks=False)
