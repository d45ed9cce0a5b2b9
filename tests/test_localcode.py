"""Modules of the user: which they are, and that a job uses their copies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from persist_magic.localcode import (
    LocalModule,
    files_of,
    imports_of,
    local_modules,
)

COPY = """
import json, sys
from pathlib import Path
from persist_magic.localcode import copy_code, files_of, imports_of, local_modules
found = local_modules(imports_of({cell!r}))
copy_code(files_of(found.values()), Path({directory!r}))
print(json.dumps({{name: [str(root) for root in module.roots] for name, module in found.items()}}))
"""


def write(directory: Path, files: dict[str, str]) -> Path:
    """Make *files*, each a path and its text, below *directory*."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return directory


def python(code: str, *path: Path, cwd: Path) -> str:
    """What *code* prints in a new interpreter with *path* at the front of its `sys.path`."""
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:1] = {[*map(str, path)]!r}\n{code}"],
        cwd=cwd,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0
    return result.stdout.strip()


class Notebook:
    """A kernel that has run some code and copies its modules, and jobs that use the copies."""

    def __init__(self, cwd: Path, *path: Path) -> None:
        self.cwd, self.path = cwd, path or (cwd,)
        self.copy = cwd.parent / "copy"

    def submit(self, before: str = "", cell: str = "") -> dict[str, list[str]]:
        """Run *before*, then copy what *cell* needs; the local modules and their roots."""
        code = before + COPY.format(cell=cell, directory=str(self.copy))
        found: dict[str, list[str]] = json.loads(python(code, *self.path, cwd=self.cwd))
        return found

    def job(self, code: str) -> str:
        """What *code* prints in the job."""
        return python(code, self.copy, *self.path, cwd=self.cwd)

    def files(self) -> set[str]:
        return {str(p.relative_to(self.copy)) for p in self.copy.rglob("*") if p.is_file()}


@pytest.fixture
def notebook(root: Path) -> Notebook:
    return Notebook(root)


def test_job_uses_the_module_as_it_was(notebook: Notebook) -> None:
    write(notebook.cwd, {"mylib.py": "def f(): return 1"})
    assert list(notebook.submit("import mylib")) == ["mylib"]
    write(notebook.cwd, {"mylib.py": "def f(): return 2"})
    assert notebook.job("import mylib; print(mylib.f())") == "1"


def test_single_file_brings_only_itself(notebook: Notebook) -> None:
    write(notebook.cwd, {"mylib.py": "", "data.csv": "1", "analysis.ipynb": "{}", "other.py": ""})
    notebook.submit("import mylib")
    assert notebook.files() == {"mylib.py"}


def test_job_uses_the_package_with_its_data_as_it_was(notebook: Notebook) -> None:
    files = {
        "pkg/__init__.py": "from pkg.sub.model import value",
        "pkg/sub/__init__.py": "",
        "pkg/sub/model.py": (
            "from pathlib import Path\nfrom ..table import read\n"
            "value = read(), Path(__file__).with_name('rates.txt').read_text()"
        ),
        "pkg/sub/rates.txt": "old rates",
        "pkg/table.py": (
            "from importlib.resources import files\n"
            "def read(): return (files('pkg') / 'data' / 'table.csv').read_text()"
        ),
        "pkg/data/table.csv": "old table",
    }
    write(notebook.cwd, files)
    notebook.submit("import pkg")
    write(notebook.cwd, {name: text.replace("old", "new") for name, text in files.items()})
    write(notebook.cwd, {"pkg/__init__.py": "raise ImportError"})
    assert notebook.job("import pkg; print(pkg.value)") == "('old table', 'old rates')"
    assert notebook.files() >= set(files)


def test_module_and_package_that_import_each_other(notebook: Notebook) -> None:
    write(
        notebook.cwd,
        {
            "helper.py": "import pkg\ndef twice(x): return 2 * pkg.one * x",
            "pkg/__init__.py": "import helper\none = 1\ndef four(): return helper.twice(2)",
        },
    )
    assert list(notebook.submit("import pkg")) == ["helper", "pkg"]
    write(notebook.cwd, {"helper.py": "", "pkg/__init__.py": ""})
    assert notebook.job("import pkg; print(pkg.four())") == "4"


def test_namespace_package_brings_all_its_portions(tmp_path: Path, root: Path) -> None:
    first = write(tmp_path / "first", {"ns/one.py": "x = 1", "ns/both.py": "x = 'first'"})
    second = write(tmp_path / "second", {"ns/two.py": "x = 2", "ns/both.py": "x = 'second'"})
    notebook = Notebook(root, first, second)
    found = notebook.submit("import ns.one")
    assert found == {"ns": [str(first / "ns"), str(second / "ns")]}
    write(first, {"ns/one.py": "x = 'new'", "ns/both.py": "x = 'new'"})
    write(second, {"ns/two.py": "x = 'new'"})
    code = "import ns.one, ns.two, ns.both; print(ns.one.x, ns.two.x, ns.both.x)"
    assert notebook.job(code) == "1 2 first"


def test_installed_portion_of_a_namespace_package_is_found_beside_the_copy(
    tmp_path: Path, root: Path
) -> None:
    own = write(tmp_path / "own", {"ns/mine.py": "x = 1"})
    installed = write(tmp_path / "lib/site-packages", {"ns/theirs.py": "x = 2"})
    notebook = Notebook(root, installed, own)
    assert notebook.submit("import ns.mine, ns.theirs") == {"ns": [str(own / "ns")]}
    assert notebook.files() == {"ns/mine.py"}
    write(own, {"ns/mine.py": "x = 'new'"})
    assert notebook.job("import ns.mine, ns.theirs; print(ns.mine.x, ns.theirs.x)") == "1 2"


FINDER = """
import sys
from importlib.machinery import PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
MAPPING = {mapping!r}
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        place = MAPPING.get(name)
        if place is None:
            return None
        init = Path(place, "__init__.py")
        return spec_from_file_location(name, init if init.exists() else place + ".py")
sys.meta_path.append(Finder)
"""


def editable(directory: Path, mapping: dict[str, str]) -> str:
    """Code that starts an interpreter with an editable install of *mapping* in *directory*."""
    write(
        directory,
        {
            "__editable___tiny_finder.py": FINDER.format(mapping=mapping),
            "__editable__.tiny.pth": "import __editable___tiny_finder\n",
        },
    )
    return f"import site; site.addsitedir({str(directory)!r})\n"


def test_editable_install_with_a_finder(tmp_path: Path, notebook: Notebook) -> None:
    source = write(
        tmp_path / "checkout/src",
        {
            "__init__.py": "from .core import x",
            "core.py": "x = 'old'",
            "../single_impl.py": "x = 'old'",
        },
    )
    start = editable(
        tmp_path / "lib/site-packages",
        {"tiny": str(source), "single": str(source.parent / "single_impl")},
    )
    assert notebook.submit(start, "import tiny, single") == {
        "single": [str(source.parent / "single_impl.py")],
        "tiny": [str(source)],
    }
    assert notebook.files() == {"single.py", "tiny/__init__.py", "tiny/core.py"}
    write(source, {"core.py": "x = 'new'", "../single_impl.py": "x = 'new'"})
    assert notebook.job(start + "import tiny, single; print(tiny.x, single.x)") == "old old"


def test_editable_install_whose_parts_lie_in_several_places(
    tmp_path: Path, notebook: Notebook
) -> None:
    checkout = write(
        tmp_path / "checkout",
        {
            "main/__init__.py": "x = 'old'",
            "plugin/__init__.py": "x = 'old'",
            "fast.py": "x = 'old'",
        },
    )
    start = editable(
        tmp_path / "lib/site-packages",
        {
            "tiny": str(checkout / "main"),
            "tiny.plugin": str(checkout / "plugin"),
            "tiny.quick": str(checkout / "fast"),
        },
    )
    use = "import tiny.plugin, tiny.quick\n"
    notebook.submit(start + use)
    assert notebook.files() == {"tiny/__init__.py", "tiny/plugin/__init__.py", "tiny/quick.py"}
    write(checkout, {"plugin/__init__.py": "x = 'new'", "fast.py": "x = 'new'"})
    assert notebook.job(start + use + "print(tiny.plugin.x, tiny.quick.x)") == "old old"


def test_editable_install_with_a_path_file(tmp_path: Path, notebook: Notebook) -> None:
    source = write(tmp_path / "checkout/src", {"tiny/__init__.py": "x = 'old'"})
    installed = write(tmp_path / "lib/site-packages", {"tiny.pth": f"{source}\n"})
    start = f"import site; site.addsitedir({str(installed)!r})\n"
    assert notebook.submit(start + "import tiny") == {"tiny": [str(source / "tiny")]}
    write(source, {"tiny/__init__.py": "x = 'new'"})
    assert notebook.job(start + "import tiny; print(tiny.x)") == "old"


def test_package_linked_into_site_packages_is_local(tmp_path: Path, root: Path) -> None:
    source = write(tmp_path / "checkout", {"tiny/__init__.py": ""})
    installed = write(tmp_path / "lib/site-packages", {"other/__init__.py": ""})
    (installed / "tiny").symlink_to(source / "tiny")
    found = Notebook(root, installed).submit("import tiny, other")
    assert found == {"tiny": [str(installed / "tiny")]}


def test_package_whose_files_are_links_to_a_cache_is_installed(tmp_path: Path, root: Path) -> None:
    cache = write(tmp_path / "cache", {"a.py": "", "b.py": ""})
    installed = tmp_path / "lib/site-packages"
    (installed / "pkg").mkdir(parents=True)
    (installed / "pkg/__init__.py").symlink_to(cache / "a.py")
    (installed / "single.py").symlink_to(cache / "b.py")
    assert Notebook(root, installed).submit("import pkg, single") == {}


def test_nothing_of_the_installation_is_local(notebook: Notebook) -> None:
    before = "import blake3, json, xml.dom, IPython.core.interactiveshell, persist_magic, pytest\n"
    assert notebook.submit(before, "import sqlite3, tomllib, numpy, _decimal, persist_magic") == {}


def test_modules_without_a_file_are_passed_over(notebook: Notebook) -> None:
    before = (
        "import sys, types\nsys.modules['made'] = types.ModuleType('made')\n"
        "sys.modules['odd'] = object()\nsys.modules['none'] = None\n"
    )
    assert notebook.submit(before, "import made, odd, none, absent") == {}


def test_other_names_of_a_module_are_passed_over(notebook: Notebook) -> None:
    write(notebook.cwd, {"pkg/__init__.py": "", "pkg/vendored.py": ""})
    before = "import sys, pkg.vendored; sys.modules['vendored'] = pkg.vendored\n"
    assert list(notebook.submit(before)) == ["pkg"]


def test_module_that_replaced_itself_is_local(notebook: Notebook) -> None:
    text = "import sys\nclass M: x = 'old'\nsys.modules[__name__] = M()"
    write(notebook.cwd, {"mylib.py": text})
    assert list(notebook.submit("import mylib")) == ["mylib"]


def test_looking_at_a_lazy_module_does_not_load_it(notebook: Notebook) -> None:
    write(notebook.cwd, {"slow.py": "print('loaded')"})
    before = (
        "import importlib.util as u, sys\nspec = u.find_spec('slow')\n"
        "spec.loader = u.LazyLoader(spec.loader)\nmodule = u.module_from_spec(spec)\n"
        "sys.modules['slow'] = module\nspec.loader.exec_module(module)\n"
    )
    # What it prints when it is loaded would be no JSON.
    assert list(notebook.submit(before)) == ["slow"]


def test_module_that_only_the_cell_imports_is_found_and_not_imported(notebook: Notebook) -> None:
    write(
        notebook.cwd,
        {"heavy/__init__.py": "print('imported')", "ns/part.py": "", "unused.py": ""},
    )
    assert list(notebook.submit(cell="import heavy.core\nfrom ns import part")) == ["heavy", "ns"]


def test_what_an_unimported_module_imports_in_turn_is_copied(notebook: Notebook) -> None:
    write(
        notebook.cwd,
        {
            "top.py": "import os, second as s\nx = s.x",
            "second.py": "def later():\n    from third.part import x\n    return x\nx = later()",
            "third/part.py": "x = 'not a regular package'",
            "third/__init__.py": "",
            "unused.py": "",
        },
    )
    assert list(notebook.submit(cell="import top")) == ["second", "third", "top"]


def test_directory_with_the_name_of_an_optional_library_is_not_copied(notebook: Notebook) -> None:
    text = "try:\n    import wandb_absent\nexcept ImportError:\n    pass"
    write(notebook.cwd, {"mylib.py": text, "wandb_absent/run.log": "large"})
    assert list(notebook.submit(cell="import mylib")) == ["mylib"]
    notebook.copy = notebook.copy.with_name("imported")
    assert list(notebook.submit("import mylib")) == ["mylib"]


def test_namespace_package_is_copied_if_the_cell_is_first_to_use_it(notebook: Notebook) -> None:
    write(notebook.cwd, {"ns/part.py": ""})
    assert list(notebook.submit("import ns", "from ns import part")) == ["ns"]


def test_module_written_a_moment_ago_is_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root))
    stamp = os.stat(root).st_mtime_ns
    assert local_modules(["written_just_now"]).get("written_just_now") is None
    path = write(root, {"written_just_now.py": ""}) / "written_just_now.py"
    # As on a file system with a coarse clock.
    os.utime(root, ns=(stamp, stamp))
    found = local_modules(["written_just_now"])["written_just_now"]
    assert found == LocalModule("written_just_now", (path,))


def test_notebook_inside_its_package_is_no_reason_to_copy_more(root: Path) -> None:
    package = write(root / "pkg", {"__init__.py": "", "core.py": "", "note.ipynb": "{}"})
    write(root, {"secret.txt": ""})
    notebook = Notebook(package, root)
    notebook.copy = root / "copy"
    notebook.submit("import pkg.core")
    assert notebook.files() == {"pkg/__init__.py", "pkg/core.py", "pkg/note.ipynb"}


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import a, b.c as d", {"a", "b"}),
        ("from a.b import c; from .x import y; from . import z", {"a"}),
        ("def f():\n    import a\nclass C:\n    import b", {"a", "b"}),
        ("await g()\nimport a", {"a"}),
        ("import importlib\nimportlib.import_module('a.b')", {"importlib", "a"}),
        (
            "import_module('a'); __import__('b'); import_module(name); import_module('.c', 'd')",
            {"a", "b"},
        ),
        ("get_ipython().run_cell_magic('time', '', 'import a\\n')", {"a"}),
        ("%matplotlib inline\nimport a.b as c, d\nfrom e.f import g", {"a", "d", "e"}),
        ("x = 'import a'\n'\\d'  # import b", set()),
        ("from __future__ import annotations", {"__future__"}),
        ("", set()),
    ],
)
def test_imports_of_a_cell(code: str, names: set[str]) -> None:
    assert imports_of(code) == names


def test_module_loaded_by_an_import_hook_keeps_its_file_name(root: Path) -> None:
    path = write(root, {"fast.pyx": ""}) / "fast.pyx"
    assert [file.path for file in files_of([LocalModule("fast", (path,))])] == ["fast.pyx"]


def test_extension_module_keeps_its_suffix(root: Path) -> None:
    from importlib.machinery import EXTENSION_SUFFIXES

    path = write(root, {f"fast{EXTENSION_SUFFIXES[0]}": ""}) / f"fast{EXTENSION_SUFFIXES[0]}"
    assert [file.path for file in files_of([LocalModule("fast", (path,))])] == [path.name]
