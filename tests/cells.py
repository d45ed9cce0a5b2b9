"""Cells in processes of their own, whose `__main__` is as in a kernel: fresh, without a file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

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


class Case(NamedTuple):
    """A cell, the names to send, and statements that must hold."""

    defined: str
    names: list[str]
    checks: str


def cases_in(text: str) -> dict[str, Case]:
    """The cases in *text*: `=== title: names`, the cell, `---`, the checks; and so on."""
    found = {}
    for block in re.split(r"^=== ", text.strip(), flags=re.MULTILINE)[1:]:
        head, _, rest = block.partition("\n")
        title, _, names = head.partition(": ")
        defined, _, checks = rest.partition("\n---\n")
        found[title] = Case(defined, names.split(), checks)
    return found


class Course(NamedTuple):
    """What went wrong, by case, at each station."""

    kernel: dict[str, str]
    job: dict[str, str]
    next_kernel: dict[str, str]


_STATION = """
import json, sys, pathlib, traceback, cells
_cases, _station = json.loads(sys.argv[2]), sys.argv[3]
_from, _to = map(pathlib.Path, sys.argv[4:])


def _attributes(cls):
    # copyreg remembers the names of slots in the class when it meets an instance.
    return {name: value for name, value in vars(cls).items() if name != "__slotnames__"}


def _load(directory):
    before = {
        name: (value, _attributes(value))
        for name, value in globals().items()
        if isinstance(value, type) and value.__module__ == "__main__"
    }
    builtins = __builtins__
    loaded = cells.fetch(directory, globals())
    assert not loaded.failures, loaded.failures
    assert not loaded.notices, loaded.notices
    assert __builtins__ is builtins
    for name, (cls, attributes) in before.items():
        assert _attributes(cls) == attributes, f"{name} was changed"
        assert loaded.values.get(name, cls) is cls, f"another {name} came back"
    globals().update(loaded.values)


_wrong = {}
for _title, (_defined, _names, _checks) in _cases.items():
    try:
        if _station != "job":
            exec(compile(_defined, f"<{_title}>", "exec"))
        if _station != "kernel":
            _load(_from / _title)
        exec(compile(_checks, f"<check {_title}>", "exec"))
        _sent = cells.send({name: globals()[name] for name in _names}, _to / _title, globals())
        assert not _sent.failures, _sent.failures
    except Exception:
        _wrong[_title] = traceback.format_exc()
print(json.dumps(_wrong))
"""


def travel(cases: dict[str, Case], directory: Path) -> Course:
    """Send the names of all *cases* from a kernel to a job and back to another kernel.

    The kernels run the cells; the job, where nothing is defined, does not. In the last kernel the
    classes of the cells are there already: they must come back as the same ones, unchanged. All
    cases share one namespace, so each has names of its own.
    """
    words = json.dumps(cases)
    kernel, job, end = (directory / name for name in ("from_kernel", "from_job", "from_end"))
    return Course(
        json.loads(run_cell(_STATION, words, "kernel", directory, kernel)),
        json.loads(run_cell(_STATION, words, "job", kernel, job)),
        json.loads(run_cell(_STATION, words, "next kernel", job, end)),
    )
