"""Modules beside the notebook are part of the snapshot, seen from a real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels import Kernel, kernel


@pytest.fixture
def k(root: Path) -> Iterator[Kernel]:
    (root / "mylib.py").write_text(
        "from pathlib import Path\ndef answer():\n    return 'old'\n"
        "def data():\n    return (Path(__file__).parent / 'data.txt').read_text()\n"
    )
    (root / "data.txt").write_text("beside")
    (root / "pack").mkdir()
    (root / "pack/__init__.py").write_text("from pack.part import word\n")
    (root / "pack/part.py").write_text(
        "from importlib.resources import files\n"
        "def word():\n    return (files('pack') / 'word.txt').read_text()\n"
    )
    (root / "pack/word.txt").write_text("old word")
    with kernel(root, {"PYTHONDONTWRITEBYTECODE": ""}) as started:
        yield started


_CELL = (
    "import os, time\nwhile not os.path.exists('edited'):\n    time.sleep(0.01)\n"
    "import mylib, pack\n(mylib.answer(), mylib.data(), pack.word())"
)


def test_editing_a_module_while_the_job_waits_changes_nothing_in_it(k: Kernel, root: Path) -> None:
    k.run("import mylib, pack\nbefore = mylib.answer()")
    assert not k.run(f"%%persist code\n{_CELL}").error
    (root / "mylib.py").write_text("def answer():\n    return 'new'\n")
    (root / "pack/part.py").write_text("def word():\n    return 'new word'\n")
    (root / "edited").touch()
    assert k.run("%persist_fetch code").value == "('old', 'beside', 'old word')"
    # A rerun is of the same job: with the modules as they were.
    assert k.run("%persist_rerun code --wait").value == "('old', 'beside', 'old word')"


def test_module_that_the_cell_imports_first_is_copied_too(k: Kernel, root: Path) -> None:
    (root / "edited").touch()
    shown = k.run("%%persist --dry-run code\nimport mylib").text
    assert "copied with it" in shown
    assert "mylib.py" in shown
    left_out = k.run("%%persist --dry-run code --skip-code mylib\nimport mylib").text
    assert "mylib.py" not in left_out.partition("#!/bin/sh")[0]


def test_edited_module_makes_it_another_job(k: Kernel, root: Path) -> None:
    (root / "edited").touch()
    k.run("import mylib, pack")
    assert not k.run(f"%%persist code --wait -q\n{_CELL}").error
    assert "attached" in k.run(f"%%persist code\n{_CELL}").text
    (root / "mylib.py").write_text("def answer():\n    return 'new'\n")
    shown = k.run(f"%%persist code\n{_CELL}")
    assert "mylib.py changed" in shown.message


def test_modules_that_are_too_large_are_refused_by_size(k: Kernel, root: Path) -> None:
    with (root / "pack/huge.bin").open("wb") as file:
        file.truncate(200 << 20)
    k.run("import pack")
    shown = k.run("%%persist code\n1")
    assert shown.error == "TooLarge"
    assert "huge.bin" in shown.message
    assert "--skip-code pack" in shown.message
    assert not (root / ".persist").exists()
