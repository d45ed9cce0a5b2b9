"""Run All is safe: the same cell attaches to its job, another one is refused with what differs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels import Kernel, kernel

# A notebook with the kinds of inputs whose pickles differ from kernel to kernel.
_NOTEBOOK = (
    "import numpy as np, pandas as pd\nnp.random.seed(1)",
    "words = {'b', 'a', 'c'}\nX = np.random.rand(20, 3)\n"
    "frame = pd.DataFrame({'x': X[:, 0], 'w': ['a', 'b'] * 10})\nrate = 0.1",
    "class Model:\n    def fit(self, X):\n        self.w = X.mean(0)\n        return self\n"
    "def scale(v, by=2):\n    return v * by * rate\n"
    "halve = lambda v: scale(v, 0.5)\nmodel = Model()",
    "%%persist fit\nmodel.fit(X)\nlosses = sorted(words)\n"
    "total = float(halve(frame['x']).sum())\ntotal",
    "value = %persist_fetch fit",
    "%%persist more\nfor epoch in range(3):\n    loss = total / (epoch + 1)\nloss",
    "%persist_fetch more",
)
_BACK = "(value, losses, loss, model.w.tolist(), epoch)"


def run_all(k: Kernel) -> list[str]:
    shown = []
    for cell in _NOTEBOOK:
        out = k.run(cell)
        assert not out.error, f"{cell}\n{out.text}"
        shown.append(out.text)
    return shown


def jobs(root: Path) -> set[str]:
    return {path.name for path in (root / ".persist/jobs").iterdir()}


def test_run_all_in_a_new_kernel_starts_no_job_and_brings_the_same(root: Path) -> None:
    with kernel(root, {"PYTHONHASHSEED": "1"}) as k:
        first = run_all(k)
        value = k.get(_BACK)
        made = jobs(root)
        # Again in the same kernel, whose names now hold what came back.
        second = run_all(k)
        assert jobs(root) == made
    assert "started" in first[3]
    assert "is the same and DONE" in second[3]
    with kernel(root, {"PYTHONHASHSEED": "2"}) as k:
        third = run_all(k)
        assert "is the same and DONE" in third[3]
        assert "is the same and DONE" in third[5]
        assert k.get(_BACK) == value
    assert jobs(root) == made


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    directory: Path = tmp_path_factory.mktemp("attaching")
    with kernel(directory) as started:
        started.run("rate = 0.1\ndef f(x):\n    return x * 2\nX = [1, 2]")
        started.run("%%persist same --wait -q\ny = f(rate)")
        yield started


def test_running_job_is_attached_to(k: Kernel) -> None:
    cell = "%%persist slow\nimport os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)"
    assert "started" in k.run(cell).text
    assert "attached" in k.run(cell).text
    other = k.run("%%persist slow\n1").message
    assert "is RUNNING and differs" in other or "is QUEUED and differs" in other
    assert "--replace --force cancels it first" in other
    k.run("open('go', 'w').close()")
    assert not k.run("%persist_fetch slow").error


@pytest.mark.parametrize(
    ("before", "options", "cell", "words"),
    [
        ("rate = 0.2", "", "y = f(rate)", "input 'rate' was float 0.1, is float 0.2"),
        ("", "", "y = f(rate)\nz = 1", "the cell changed: 1 line"),
        ("def f(x):\n    return x * 3", "", "y = f(rate)", "input 'f' (function"),
        ("", "--out y", "y = f(rate)", "--out was not given, is y"),
        ("", "--env A=1", "y = f(rate)", "--env differs"),
    ],
)
def test_what_differs_is_named(k: Kernel, before: str, options: str, cell: str, words: str) -> None:
    k.run(f"{before}\n")
    shown = k.run(f"%%persist same {options}\n{cell}")
    k.run("rate = 0.1\ndef f(x):\n    return x * 2")
    assert shown.error == "NameTaken"
    assert words in shown.message
    assert "--replace" in shown.message


def test_seed_that_differs_is_named(k: Kernel) -> None:
    k.run("import random\nrandom.seed(1)")
    k.run("%%persist drawn --wait -q\nd = random.random()")
    k.run("random.seed(2)")
    shown = k.run("%%persist drawn\nd = random.random()")
    assert "the setting 'random' of the process differs" in shown.message
    k.run("random.seed(1)")
    assert "attached" in k.run("%%persist drawn\nd = random.random()").text


def test_same_job_that_failed_runs_again_only_when_asked(k: Kernel) -> None:
    cell = "%%persist bad{}\nraise ValueError('boo')"
    k.run(cell.format(" --wait"))
    shown = k.run(cell.format(""))
    assert shown.error == "NameTaken"
    assert "FAILED: ValueError: boo" in shown.message
    assert "%persist_rerun bad" in shown.message
    assert "started" in k.run(cell.format(" --replace")).text


def test_replace_attaches_to_the_same_job_all_the_same(k: Kernel) -> None:
    k.run("%%persist rep --wait -q\nrate")
    assert "attached" in k.run("%%persist rep --replace\nrate").text


def test_other_resources_are_the_same_job(k: Kernel) -> None:
    k.run("%%persist res --wait -q\nrate")
    assert "attached" in k.run("%%persist res --time 1:00:00\nrate").text
