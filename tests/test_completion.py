"""What Tab offers on the lines of the magics, and their help, in a real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kernels import Kernel, kernel


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with two jobs."""
    with kernel(tmp_path_factory.mktemp("project"), {"COLUMNS": "80"}) as started:
        for cell in (
            "%%persist train.v2 --wait\nmodel_a = [1]\nmodel_b = [2]\nother = 3\nother",
            "%%persist trial --wait\n1",
        ):
            shown = started.run(cell)
            assert not shown.error, shown.traceback
        yield started


def reply_of(notebook: Kernel, id: str) -> dict[str, Any]:
    """The content of the reply to the request *id*."""
    while True:
        reply = notebook.client.get_shell_msg(timeout=30)
        if reply["parent_header"].get("msg_id") == id:
            content = reply["content"]
            assert isinstance(content, dict)
            return content


def completions(notebook: Kernel, code: str) -> list[str]:
    """What is offered at the `|` in *code*, each as the whole word that it makes."""
    before, _, after = code.partition("|")
    id = notebook.client.complete(before + after, len(before))
    content = reply_of(notebook, id)
    typed = before[content["cursor_start"] :]
    return [match for match in content["matches"] if match.startswith(typed)]


@pytest.mark.parametrize(
    ("code", "offered"),
    [
        ("%persist_fetch tr|", ["train.v2", "trial"]),
        ("%persist_fetch train.|", ["train.v2"]),
        ("%persist_fetch --timeout 5 tri|", ["trial"]),
        ("%persist_cancel trial tra|", ["train.v2"]),
        ("%persist_fetch train.v2 mod|", ["model_a", "model_b"]),
        ("%persist_fetch --prefix x_ train.v2 model_a o|", ["other"]),
        ("%persist_fetch train.v2 --pa|", ["--partial"]),
        ("%persist_rerun trial --cpus|", ["--cpus-per-task"]),
        ("%%persist tri|\n1 + 1", ["trial"]),
        ("%%persist trial --re|\n1 + 1", ["--replace"]),
        ("got = %persist_fetch tri|", ["trial"]),
        ("persist_fetch tri|", ["trial"]),
    ],
)
def test_tab_offers(notebook: Kernel, code: str, offered: list[str]) -> None:
    assert completions(notebook, code) == offered


def test_all_variables_are_offered_after_the_name(notebook: Kernel) -> None:
    assert completions(notebook, "%persist_fetch train.v2 |") == ["model_a", "model_b", "other"]


def test_body_of_the_cell_is_completed_as_python(notebook: Kernel) -> None:
    notebook.run("trivial_name = 1")
    offered = completions(notebook, "%%persist trial\ntri|")
    assert "trivial_name" in offered
    assert "trial" not in offered


def test_tab_after_the_name_of_no_job_offers_nothing_of_ours(notebook: Kernel) -> None:
    assert not {"model_a", "trial"} & set(completions(notebook, "%persist_fetch nosuch mod|"))


def test_quotation_that_does_not_end_is_no_error(notebook: Kernel) -> None:
    assert "trial" not in completions(notebook, "%%persist x --setup 'module tr|\n1")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%persist_fetch?", ["%persist_fetch", "NAME", "--partial", "return its value"]),
        ("%%persist?", ["%%persist", "--in NAMES", "--dry-run", "comma separated"]),
        ("%persist_rerun?", ["%persist_rerun", "--setup CMD"]),
    ],
)
def test_question_mark_shows_help(notebook: Kernel, line: str, words: list[str]) -> None:
    payload = reply_of(notebook, notebook.client.execute(line))["payload"]
    assert len(payload) == 1
    text = " ".join(payload[0]["data"]["text/plain"].split())
    for word in words:
        assert word in text


@pytest.mark.parametrize("line", ["%persist_wait -h", "%persist_wait trial --help"])
def test_help_option_prints_help(notebook: Kernel, line: str) -> None:
    shown = notebook.run(line)
    assert not shown.error
    assert shown.stdout.startswith("usage: %persist_wait")


def test_help_option_of_the_cell_magic_runs_nothing(notebook: Kernel) -> None:
    shown = notebook.run("%%persist --help\n1/0")
    assert not shown.error
    assert shown.stdout.startswith("usage: %%persist")
    assert "%%persist NAME" not in notebook.run("%persist_list").value


def test_every_option_has_a_help_text_that_fits(notebook: Kernel) -> None:
    text = notebook.run("%%persist --help\n1").stdout
    assert max(map(len, text.splitlines())) <= 80
