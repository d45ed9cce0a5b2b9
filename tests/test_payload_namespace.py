"""Loading where the notebook's functions and classes are defined already: they stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from cells import run_cell

CLASS = """
import pathlib, sys, cells
place = pathlib.Path(sys.argv[2])

class Model:
    def __init__(self, x):
        self.x = x

    def get(self):
        return self.x
"""
SEND = CLASS + "cells.send({'model': Model(1)}, place / 'p', globals())\n"
PATCH = "Model.get = lambda self: -self.x\nbefore = dict(vars(Model))\n"
FETCH = (
    "loaded = cells.fetch(place / 'p', globals())\nmodel = loaded.values['model']\n"
    "print(isinstance(model, Model), model.get(), *loaded.notices, sep='|')\n"
)
UNCHANGED = "assert dict(vars(Model)) == before\n"

DIFFERS = "class 'Model' here differs from the job's: "
YOURS = DIFFERS + "yours is kept"
ITS_OWN = DIFFERS + "what comes back keeps the job's class"


def test_in_the_same_process_it_is_the_same_class(tmp_path: Path) -> None:
    assert run_cell(SEND + FETCH, tmp_path) == "True|1\n"


def test_in_another_process_with_the_same_class_it_is_that_class(tmp_path: Path) -> None:
    run_cell(SEND, tmp_path)
    assert run_cell(CLASS + FETCH, tmp_path) == "True|1\n"


def test_a_class_patched_since_stays_patched(tmp_path: Path) -> None:
    said = run_cell(SEND + PATCH + FETCH + UNCHANGED, tmp_path)
    assert said == f"True|-1|{YOURS}\n"


def test_a_class_patched_in_another_process_stays_patched(tmp_path: Path) -> None:
    run_cell(SEND, tmp_path)
    said = run_cell(CLASS + PATCH + FETCH + UNCHANGED, tmp_path)
    assert said == f"False|1|{ITS_OWN}\n"


def test_a_cell_that_was_run_again_gives_the_class(tmp_path: Path) -> None:
    again = "old = Model(2)\n" + CLASS.partition("\n\n")[2]
    assert run_cell(SEND + again + FETCH, tmp_path) == "True|1\n"


def test_a_cell_that_was_changed_and_run_again_is_reported(tmp_path: Path) -> None:
    again = "old = Model(2)\n" + CLASS.partition("\n\n")[2].replace("return self.x", "return 0")
    said = run_cell(SEND + again + FETCH + "print(type(model) is type(old))", tmp_path)
    assert said == f"False|1|{ITS_OWN}\nTrue\n"


def test_an_instance_of_an_earlier_run_of_the_cell_is_no_surprise(tmp_path: Path) -> None:
    again = "old = Model(2)\n" + CLASS.partition("\n\n")[2].replace("return self.x", "return 0")
    kernel = CLASS + again + "cells.send({'model': old}, place / 'p', globals())\n"
    run_cell(kernel, tmp_path)
    now = CLASS.replace("return self.x", "return 0")
    assert run_cell(now + FETCH, tmp_path) == "False|2\n"


JOB = """
import pathlib, sys, cells
place = pathlib.Path(sys.argv[2])
globals().update(cells.fetch(place / "p", globals()).values)
type(model).get = lambda self: "patched in the job"
cells.send({"model": model}, place / "q", globals())
"""


def test_a_class_that_the_job_patched_does_not_change_the_notebook(tmp_path: Path) -> None:
    said = run_cell(
        SEND
        + "before = dict(vars(Model))\ncells.run_cell(sys.argv[3], place)\n"
        + FETCH.replace("'p'", "'q'")
        + UNCHANGED,
        tmp_path,
        JOB,
    )
    assert said == f"True|1|{YOURS}\n"


def test_a_class_that_the_job_patched_comes_back_patched_elsewhere(tmp_path: Path) -> None:
    run_cell(SEND, tmp_path)
    run_cell(JOB, tmp_path)
    said = run_cell(
        "import pathlib, sys, cells\nplace = pathlib.Path(sys.argv[2])\n"
        "for name in ('p', 'q'):\n"
        "    loaded = cells.fetch(place / name, globals())\n"
        "    print(loaded.values['model'].get(), *loaded.notices, sep='|')\n"
        "    del loaded; import gc; gc.collect()\n",
        tmp_path,
    )
    assert said == "1\npatched in the job\n"


def test_variables_that_are_saved_apart_have_one_class(tmp_path: Path) -> None:
    run_cell(
        CLASS + "dumped = cells.send({'a': Model(1), 'b': Model(2)}, place / 'p', globals())\n"
        "assert len(dumped.groups) == 2",
        tmp_path,
    )
    said = run_cell(
        "import pathlib, sys, cells\nplace = pathlib.Path(sys.argv[2])\n"
        "first = cells.fetch(place / 'p', globals()).values\n"
        "again = cells.fetch(place / 'p', globals()).values\n"
        "print(len({type(v) for v in [*first.values(), *again.values()]}))",
        tmp_path,
    )
    assert said == "1\n"


SHARED_WITH_CLASSES = {
    "a list of the class is a variable": (
        "class A:\n    table = [1]\n",
        "{'a': A(), 'table': A.table, 'b': A()}",
        "a.table is table is b.table",
        [["a", "b", "table"]],
    ),
    "instances point to a list of the class": (
        "class A:\n    table = [1]\n    def __init__(self): self.mine = self.table\n",
        "{'a': A(), 'b': A()}",
        "a.mine is b.mine is type(a).table",
        [["a", "b"]],
    ),
    "a class keeps its instances": (
        "class A:\n    all = []\n    def __init__(self): self.all.append(self)\n",
        "{'a': A(), 'b': A()}",
        "type(a).all == [a, b]",
        [["a", "b"]],
    ),
    "a class and instances that share nothing else": (
        "class A:\n    table = [1]\n    def get(self): return self.table\n",
        "{'A': A, 'a': A(), 'b': A(), 'c': [A()]}",
        "type(a) is type(b) is A and a.get() is b.get()",
        [["A"], ["a"], ["b"], ["c"]],
    ),
    "functions of one cell": (
        "import math\ndef f(x): return math.sin(x)\ndef g(x): return math.cos(x) + f(x)\n",
        "{'f': f, 'g': g, 'math': math}",
        "g(0) == 1",
        [["f"], ["g"], ["math"]],
    ),
    "a function held by two": (
        "def f(x): return x\n",
        "{'a': {'f': f}, 'b': [f]}",
        "a['f'] is b[0]",
        [["a", "b"]],
    ),
}


@pytest.mark.parametrize("way", SHARED_WITH_CLASSES)
def test_what_only_classes_share_does_not_join_variables(tmp_path: Path, way: str) -> None:
    defined, values, holds, groups = SHARED_WITH_CLASSES[way]
    said = run_cell(
        f"import pathlib, sys, cells\nplace = pathlib.Path(sys.argv[2])\n{defined}"
        f"dumped = cells.send({values}, place / 'p', globals())\n"
        "print(sorted(sorted(group.names) for group in dumped.groups))",
        tmp_path,
    )
    assert said == f"{groups}\n"
    said = run_cell(
        "import pathlib, sys, cells\nplace = pathlib.Path(sys.argv[2])\n"
        "globals().update(cells.fetch(place / 'p', globals()).values)\n"
        f"print({holds})",
        tmp_path,
    )
    assert said == "True\n"


def test_a_function_that_comes_back_changes_no_name(tmp_path: Path) -> None:
    run_cell(
        "import pathlib, sys, cells\nplace = pathlib.Path(sys.argv[2])\n"
        "k = 1\ndef f(): return k + len([g()])\ndef g(): return k\n"
        "cells.send({'f': f, 'g': g}, place / 'p', globals())",
        tmp_path,
    )
    said = run_cell(
        "import pathlib, sys, cells\nplace = pathlib.Path(sys.argv[2])\n"
        "k = 10\nnames = dict(globals(), names=None, f=None)\n"
        "f = cells.fetch(place / 'p', globals()).values['f']\n"
        "now = dict(globals(), names=None, f=None)\n"
        "print(now == names, f.__globals__ is globals(), 'g' in now)\n"
        "def g(): return None\n"
        "print(f())\n",
        tmp_path,
    )
    assert said == "True True False\n11\n"
