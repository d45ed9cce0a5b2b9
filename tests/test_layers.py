"""The order of the modules: each imports only from those before it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

NAME = "persist_magic"
PACKAGE = Path(__file__).parents[1] / NAME

# A subpackage stands here as one, and its modules may import each other. Imports inside functions
# and under TYPE_CHECKING count like all others.
ORDER = (
    *("errors",),
    *("records", "facts", "machine", "processes", "interrupts", "blobs", "names", "root"),
    *("jobdir", "capture", "state", "fingerprint", "payload", "localcode"),
    *("status", "store", "script", "replay"),
    *("runner",),
    *("managers",),
    *("observe", "ending", "planning", "identity", "attaching"),
    *("submission", "rerun", "results", "info"),
    *("jobs", "functions"),
    *("doctor", "monitor"),
    *("panel",),
    *("views", "terminal", "arguments"),
    *("commands",),
    *("magics",),
    *("__init__",),
    *("__main__",),
)

# What takes long to import, or is not there on a compute node.
HEAVY = ("IPython", "anywidget", "asyncio", "cloudpickle", "ipywidgets", "numpy", "psutil", "rich")


def layer(path: Path, package: Path) -> str:
    """The entry of ORDER that the module in *path* belongs to."""
    first = path.relative_to(package).parts[0]
    return first.removesuffix(".py")


def imported_names(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that the module in *path* imports."""
    parent = ".".join((package.name, *path.relative_to(package).parts[:-1]))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node.lineno, alias.name
            case ast.ImportFrom(module=module, names=names, level=level):
                source = resolve_name("." * level + (module or ""), parent)
                for alias in names:
                    yield node.lineno, f"{source}.{alias.name}"


def imported_layers(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and entry of ORDER of everything that the module in *path* imports of its package."""
    for line, name in imported_names(path, package):
        top, _, rest = name.partition(".")
        if top == package.name:
            first = rest.partition(".")[0]
            yield line, first if first in ORDER else "__init__"


def violations(package: Path) -> list[str]:
    """Each import of *package* that goes against ORDER, and each module that is not in it."""
    found = []
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package.parent)
        own = layer(path, package)
        if own not in ORDER:
            found.append(f"{module} is in no layer: give {own!r} its place in ORDER of {__file__}")
            continue
        found += [
            f"{module}:{line} imports {other}, which is not below {own}"
            for line, other in imported_layers(path, package)
            if other != own and ORDER.index(other) > ORDER.index(own)
        ]
    return found


def test_each_module_imports_only_from_those_before_it() -> None:
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("facts.py", "from persist_magic.jobs import Job"),
        ("facts.py", "from persist_magic import jobs"),
        ("facts.py", "from . import jobs"),
        ("facts.py", "import persist_magic.jobs"),
        ("facts.py", "def load():\n    from .jobs import Job"),
        ("facts.py", "if TYPE_CHECKING:\n    from persist_magic.jobs import Job"),
        ("facts.py", "from persist_magic import persist"),
        ("runner/cell.py", "from ..managers.process import ProcessManager"),
        ("runner/cell.py", "from .. import managers"),
        ("runner/__init__.py", "from persist_magic.managers import Manager"),
        ("novelty.py", ""),
    ],
)
def test_a_breach_is_found(tmp_path: Path, module: str, source: str) -> None:
    path = tmp_path / NAME / module
    path.parent.mkdir(parents=True)
    path.write_text(source, encoding="utf-8")
    assert len(violations(tmp_path / NAME)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("jobs.py", "import os\nfrom persist_magic import facts\nfrom .runner.cell import run"),
        (
            "runner/cell.py",
            "from . import journal\nfrom .journal import Journal\nfrom ..facts import x",
        ),
        ("runner/__init__.py", "from .cell import run\nfrom persist_magic.runner import journal"),
        ("__init__.py", "from persist_magic.magics import load"),
    ],
)
def test_an_import_from_below_or_beside_is_no_breach(
    tmp_path: Path, module: str, source: str
) -> None:
    path = tmp_path / NAME / module
    path.parent.mkdir(parents=True)
    path.write_text(source, encoding="utf-8")
    assert violations(tmp_path / NAME) == []


def loaded_by(*modules: str) -> set[str]:
    """The modules that a new interpreter has loaded once it imported *modules*."""
    code = f"import sys; before = set(sys.modules); import {', '.join(modules)}; "
    result = subprocess.run(
        [sys.executable, "-c", code + "print(*set(sys.modules) - before)"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    return set(result.stdout.split())


@pytest.mark.parametrize("module", [NAME, f"{NAME}.runner"])
def test_import_is_light(module: str) -> None:
    assert sorted(loaded_by(module).intersection(HEAVY)) == []


def test_only_the_panel_imports_the_widgets() -> None:
    """A terminal works without them."""
    files = [path for path in PACKAGE.rglob("*.py") if layer(path, PACKAGE) != "panel"]
    parts = [path.relative_to(PACKAGE.parent).with_suffix("").parts for path in files]
    modules = {".".join(part for part in each if part != "__init__") for each in parts}
    assert sorted(loaded_by(*sorted(modules)).intersection({"anywidget", "ipywidgets"})) == []
