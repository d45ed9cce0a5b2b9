"""Cells in processes of their own, whose `__main__` is as in a kernel: fresh, without a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from persist_magic import payload
from persist_magic.blobs import BlobIndex

_START = """
import builtins, sys, types
main = types.ModuleType("__main__")
main.__builtins__ = builtins
sys.modules["__main__"] = main
exec(compile(sys.argv[1], "<cell>", "exec"), main.__dict__)
"""


def run_cell(source: str, *arguments: object, path: Path | None = None) -> str:
    """Run *source* in a new process with `sys.argv[2:]` being *arguments*; what it printed.

    Parameters
    ----------
    path
        A directory to import from, besides this one.
    """
    places = [str(Path(__file__).parent), *([str(path)] if path else [])]
    result = subprocess.run(
        [sys.executable, "-c", _START, source, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def index_in(directory: Path) -> BlobIndex:
    """The index of blobs of the payloads in *directory*."""
    blobs = directory / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    return BlobIndex(blobs)


def send(values: dict[str, Any], directory: Path, namespace: dict[str, Any]) -> payload.Dump:
    """Save *values* as the new payload *directory*."""
    directory.mkdir(parents=True)
    dumped = payload.dump_all(values, namespace)
    payload.write(dumped, directory, index_in(directory.parent), durable=False)
    return dumped


def fetch(directory: Path, namespace: dict[str, Any]) -> payload.Loaded:
    """What the payload *directory* holds."""
    return payload.load_all(directory, namespace, index_in(directory.parent))
