"""The extension's configuration, and loading it, reloading it and taking it out again."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import persist_magic
from kernels import Kernel, Shown, kernel
from persist_magic import read_job
from persist_magic.errors import UsageError


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with the extension loaded."""
    with kernel(tmp_path_factory.mktemp("project")) as started:
        yield started


def without_stdin(notebook: Kernel, cell: str) -> Shown:
    """*cell*, run by a frontend that can ask nothing."""
    return notebook.collect(notebook.client.execute(cell, allow_stdin=False))


def answered(notebook: Kernel, cell: str, answer: str) -> tuple[str, Shown]:
    """What *cell* asks, and what it shows after *answer*."""
    id = notebook.client.execute(cell, allow_stdin=True)
    asked = notebook.client.get_stdin_msg(timeout=30)["content"]["prompt"]
    notebook.client.input(answer)
    return asked, notebook.collect(id)


def test_config_lists_all_settings_once(notebook: Kernel) -> None:
    text = notebook.run("%config PersistMagics").stdout
    for name in ("root", "manager", "refresh", "max_input"):
        assert text.count(f"PersistMagics.{name}=") == 1


# ---- max_input


@pytest.fixture
def limited(notebook: Kernel) -> Iterator[Kernel]:
    """The kernel, with a limit that `big` is beyond."""
    notebook.run("%config PersistMagics.max_input = '1k'\nbig = list(range(2000))\nsmall = 1")
    yield notebook
    notebook.run("%config PersistMagics.max_input = '4G'")


def test_large_input_is_refused_where_nobody_can_be_asked(limited: Kernel) -> None:
    shown = without_stdin(limited, "%%persist large\nbig, small")
    assert shown.error == "UsageError"
    what, way_out = shown.message.splitlines()
    assert "would be sent, more than 1k; the largest is 'big' (" in what
    assert way_out.startswith("--skip big, or raise the limit: %config PersistMagics.max_input")
    assert "large" not in limited.run("%persist_list").value


def test_large_input_is_sent_after_a_yes(limited: Kernel) -> None:
    asked, shown = answered(limited, "%%persist agreed --wait\nlen(big)", "y")
    assert "the largest is 'big'" in asked
    assert asked.endswith("Send it? [y/N] ")
    assert shown.value == "2000"


def test_large_input_is_not_sent_after_a_no(limited: Kernel) -> None:
    _, shown = answered(limited, "%%persist refused\nlen(big)", "")
    assert shown.error == "UsageError"
    assert "refused" not in limited.run("%persist_list").value


def test_small_input_is_sent_unasked(limited: Kernel) -> None:
    assert without_stdin(limited, "%%persist small --wait\nsmall").value == "1"


def test_limit_that_is_no_size_is_told(notebook: Kernel) -> None:
    notebook.run("%config PersistMagics.max_input = 'much'")
    shown = notebook.run("%%persist x\n1")
    assert shown.message == "PersistMagics.max_input: 'much' is no size\nwrite 500M or 2G"
    notebook.run("%config PersistMagics.max_input = '4G'")


# ---- root and managers


def test_root_may_be_moved(notebook: Kernel, tmp_path: Path) -> None:
    notebook.run(f"%config PersistMagics.root = '{tmp_path / 'moved'}'")
    assert notebook.run("%%persist moved --wait\n1").value == "1"
    assert read_job("moved", root=tmp_path / "moved").fetch() == 1
    notebook.run("%config PersistMagics.root = ''")
    assert notebook.run("%persist_status moved").error == "JobNotFound"


def test_environment_sets_what_is_configured(tmp_path: Path) -> None:
    root = tmp_path / "elsewhere"
    settings = {
        "PERSIST_ROOT": os.fspath(root),
        "PERSIST_MANAGER": "nosuch",
        "PERSIST_REFRESH": "0.25",
        "PERSIST_MAX_INPUT": "7M",
    }
    with kernel(tmp_path, settings) as started:
        text = started.run("%config PersistMagics").stdout
        for value in (repr(os.fspath(root)), "'nosuch'", "0.25", "'7M'"):
            assert value in text
        assert started.run("%%persist x\n1").message.startswith("no manager named 'nosuch'")
        assert started.run("%%persist x --local --wait\n1").value == "1"
    assert read_job("x", root=root).fetch() == 1


def test_managers_have_default_options(notebook: Kernel) -> None:
    notebook.run(
        "c = get_ipython().config\nc.ProcessManager.options = {'time': '0:30:00'}\n"
        "c.PersistMagics.unrelated = 1"
    )
    assert "local --time 0:30:00" in notebook.run("%%persist d --dry-run\n1").value
    assert "local --time 5" in notebook.run("%%persist d --dry-run --time 5\n1").value
    notebook.run("del c.ProcessManager.options")


# ---- loading


def test_loading_twice_and_reloading_change_nothing(notebook: Kernel) -> None:
    notebook.run("%%persist survivor --wait\n5")
    assert "already loaded" in notebook.run("%load_ext persist_magic").stdout
    shown = notebook.run("%reload_ext persist_magic")
    assert not shown.error, shown.traceback
    assert notebook.run("%persist_fetch survivor").value == "5"
    text = notebook.run("%config PersistMagics").stdout
    assert text.count("PersistMagics.root=") == 1
    # The settings of the magics that are there now, not of those that went.
    notebook.run("%config PersistMagics.max_input = '1'")
    assert without_stdin(notebook, "%%persist s\nlong = 'x' * 9\nlong").error == ""
    notebook.run("%config PersistMagics.max_input = '4G'")


def test_unloading_takes_the_magics_away(notebook: Kernel) -> None:
    notebook.run("%unload_ext persist_magic")
    for line in ("%persist_list", "%persist_fetch survivor", "%%persist x\n1"):
        shown = notebook.run(line)
        assert "not found" in shown.stderr + shown.message
    assert "persist" not in notebook.run("%config").stdout.lower()
    assert not notebook.load().run("%persist_list").error


def test_extension_refuses_windows_and_names_wsl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UsageError, match="does not run on Windows") as caught:
        persist_magic.load_ipython_extension(None)
    assert "WSL" in caught.value.hint


def test_loading_and_submitting_imports_no_widgets_and_no_rich(tmp_path: Path) -> None:
    code = "import sys\nsorted({'rich', 'ipywidgets', 'anywidget'} & sys.modules.keys())"
    with kernel(tmp_path) as started:
        assert started.run(code).value == "[]"
        started.run("%%persist x\n1")
        assert started.run(code).value == "[]"


def test_root_of_another_user_is_passed_over_with_a_notice(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a directory away")
    (tmp_path / ".persist").mkdir()
    os.chown(tmp_path / ".persist", 12345, 12345)
    project = tmp_path / "project"
    project.mkdir()
    started = Kernel(project)
    try:
        shown = started.run("%load_ext persist_magic")
        assert "belongs to another user and is passed over" in shown.stderr
        assert started.run("%%persist x --wait\n1").value == "1"
        assert (project / ".persist" / "jobs").is_dir()
    finally:
        started.stop()
