"""Which names a cell reads, binds and deletes."""

from __future__ import annotations

import builtins
import dataclasses

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from capture_zoo import IPYTHON, PYTHON
from persist_magic.capture import CellNames, names_of_cell


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def of_cell(source: str) -> CellNames:
    """The names of a cell as it was typed."""
    return names_of_cell(TransformerManager().transform_cell(source))


def own_reads(found: CellNames) -> frozenset[str]:
    return found.reads.difference(dir(builtins))


@pytest.mark.parametrize(("source", "reads", "binds"), PYTHON)
def test_names_of_python(source: str, reads: str, binds: str) -> None:
    found = names_of_cell(source)
    assert (own_reads(found), found.binds) == (names(reads), names(binds))


@pytest.mark.parametrize(("source", "reads", "binds"), PYTHON)
def test_magic_that_runs_a_cell_changes_none_of_its_names(
    source: str, reads: str, binds: str
) -> None:
    found = of_cell(f"%%time\n{source}")
    assert (own_reads(found), found.binds) == (names(reads), names(binds))


@pytest.mark.parametrize(("source", "reads", "binds"), IPYTHON)
def test_names_of_ipython(source: str, reads: str, binds: str) -> None:
    found = of_cell(source)
    assert (own_reads(found), found.binds) == (names(reads), names(binds))


@pytest.mark.parametrize(
    ("source", "deletes"),
    [
        ("del x", "x"),
        ("del (x, [y]), z", "x y z"),
        ("x = 1; del x", "x"),
        ("if c: del x", "x"),
        ("del x[i], y.z", ""),
        ("def f():\n  x = 1\n  del x", ""),
        ("def f():\n  global x\n  del x", "x"),
        ("class A:\n  x = 1\n  del x", ""),
        ("try: f()\nexcept E as e: pass", ""),
        ("%%time\ndel x", "x"),
        ("%timeit y = 1; del y", ""),
    ],
)
def test_deleted_names(source: str, deletes: str) -> None:
    assert of_cell(source).deletes == names(deletes)


def test_star_imports_name_their_modules_once_and_in_order() -> None:
    found = names_of_cell("from b import *\nfrom a.c import *\nif x:\n  from b import *")
    assert found.star_imports == ("b", "a.c")
    assert found.binds == set()


def test_star_import_binds_no_name_for_certain() -> None:
    assert names_of_cell("from math import *\nprint(pi)").reads == {"print", "pi"}


@pytest.mark.parametrize(
    ("source", "dynamic"),
    [
        ("x = 1", ()),
        ("eval(x); exec(y); eval(z)", ("eval", "exec")),
        ("df.eval(x); model.eval()", ()),
        ("exec = 1; exec", ()),
        ("map(eval, xs)", ("eval",)),
        ("globals()['x']", ("globals()",)),
        ("def f(): return globals()", ("globals()",)),
        ("locals(); vars()", ("locals()", "vars()")),
        ("def f(): return locals(), vars()", ()),
        ("vars(x)", ()),
        ("get_ipython().user_ns['x']", ("get_ipython().user_ns",)),
        ("ip = get_ipython()", ("get_ipython()",)),
        ("get_ipython().system(command)", ("get_ipython().system",)),
        ("get_ipython().system('ls')", ()),
        ("import __main__", ("__main__",)),
        ("%run script.py", ("%run",)),
        ("%%time\nx = 1\neval(y)", ("eval",)),
        ("def f(): exec(x)\neval(y)", ("exec", "eval")),
    ],
)
def test_constructs_that_use_names_unseen(source: str, dynamic: tuple[str, ...]) -> None:
    assert of_cell(source).dynamic == dynamic


def test_shell_of_the_cell_is_not_read() -> None:
    assert own_reads(of_cell("%cd x\nget_ipython().user_ns")) == set()


def test_name_of_a_builtin_is_read_because_the_notebook_may_define_its_own() -> None:
    assert names_of_cell("print(max(x))").reads == {"print", "max", "x"}


def test_annotation_is_read_though_it_is_not_evaluated() -> None:
    """Libraries that make classes from annotations resolve them by name."""
    found = names_of_cell("from __future__ import annotations\nclass A:\n  x: T")
    assert found.reads == {"T"}


@pytest.mark.parametrize(
    "source", ["x = = 1", "return 1", "break", "nonlocal x", "def f(a, a): pass", "(x := 1) = 2"]
)
def test_invalid_python_is_refused_as_by_the_compiler(source: str) -> None:
    with pytest.raises(SyntaxError):
        names_of_cell(source)


def test_empty_cell_has_no_names() -> None:
    assert names_of_cell("") == CellNames(frozenset(), frozenset(), frozenset(), (), ())


def test_doubtful_python_gives_no_warning() -> None:
    found = names_of_cell("x is 1\n'\\d'\nget_ipython().run_cell_magic('time', '', 'y is 1')")
    assert found.reads == {"x", "y"}


def test_sum_of_many_terms_is_no_obstacle() -> None:
    assert names_of_cell(" + ".join(f"x{i}" for i in range(600))).reads >= {"x0", "x599"}


def test_names_of_a_cell_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        names_of_cell("x").reads = frozenset()  # type: ignore[misc]
