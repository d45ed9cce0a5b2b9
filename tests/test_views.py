"""Views: what they show is text, as HTML and on a terminal, and fits where it is shown."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobcells import run as run_cell
from persist_magic.arguments import parser_of
from persist_magic.commands import COMMANDS, Context
from persist_magic.commands.tables import job_table, output_table
from persist_magic.info import JobInfo
from persist_magic.jobs import current_store
from persist_magic.status import JobStatus
from persist_magic.views import Code, Line, Table, View, printable

ATTACK = "<img src=x onerror=alert(1)>\"'&[bold]\N{ESCAPE}[2J\u202e"
ATTACKED = [
    View([Line(ATTACK, "bad")]),
    View([Code(ATTACK)]),
    View([Table((ATTACK, "b"), [(ATTACK, Line(ATTACK, "good"))])]),
]


class Tags(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note *tag*."""
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.text += data


@pytest.mark.parametrize("view", ATTACKED)
def test_html_shows_every_text_as_text(view: View) -> None:
    page = Tags()
    page.feed(view.html())
    assert page.tags <= {"div", "pre", "table", "thead", "tbody", "tr", "th", "td"}
    assert printable(ATTACK) in page.text
    assert "\N{ESCAPE}" not in view.html()


@pytest.mark.parametrize("view", ATTACKED)
@pytest.mark.parametrize("terminal", [True, False])
def test_terminal_shows_every_text_as_text(view: View, terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, width=200, force_terminal=terminal, color_system="truecolor")
    view.print_to(console)
    for text in (file.getvalue(), view.text(200)):
        assert "onerror=alert(1)>\"'&[bold]" in text
        assert "\N{ESCAPE}[2J" not in text
        assert "\u202e" not in text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("naïve \u00a0 日本 👩\u200d🔬", "naïve \u00a0 日本 👩\u200d🔬"),
        ("\x1b[31m\x07\r\x9b", "\\x1b[31m\\x07\\r\\x9b"),
        ("\u202e\u2066\ud800", "\\u202e\\u2066\\ud800"),
    ],
)
def test_only_what_a_terminal_would_obey_is_spelled_out(given: str, shown: str) -> None:
    assert printable(given) == shown


def info(name: str, reason: str = "", status: JobStatus = JobStatus.DONE) -> JobInfo:
    """A job."""
    id = f"20261122-142233-{name}-7f3a91c2"
    return JobInfo(
        name, id, status, reason, "local", 1e9, 1e9, 1e9 + 4000, 1, Path("/x"), 5 << 30, None
    )


def test_list_fits_80_columns_and_folds_only_names_and_reasons() -> None:
    found = [
        info("n" * 64),
        info("train", "x" * 300, JobStatus.FAILED),
        info("short", "out of memory (limit 4G)", JobStatus.FAILED),
        info("c", "cancelled by someone@a-rather-long-host-name.example.org", JobStatus.CANCELLED),
    ]
    text = View([job_table(found)]).text(80)
    assert max(map(len, text.splitlines())) <= 80
    for whole in ("CANCELLED", "FAILED", "local", "1:06:40", "5.4 GB", "status"):
        assert whole in text
    joined = "".join(text.split())
    assert "n" * 10 in joined
    assert joined.count("x") >= 300


def test_table_of_outputs_fits_and_shows_the_large_ones_first() -> None:
    about: dict[str, dict[str, Any]] = {
        "small": {"is": "int 1", "bytes": 5, "role": "bound"},
        "large": {"is": "DataFrame 1000000 x 30 " * 5, "bytes": 10**9, "role": "changed"},
        "bad": {"type": "lock", "role": "bound"},
    }
    table = output_table(about, "variable", {"small": "p_small"})
    assert table is not None
    lines = View([table]).text(80).splitlines()
    assert max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert names == ["variable", "large", "p_small", "bad"]
    assert "not saved" in lines[-1]


def test_long_lines_are_broken_between_words() -> None:
    text = View([Line("word " * 40)]).text(80)
    assert set(text.split()) == {"word"}
    assert max(map(len, text.splitlines())) <= 80


def test_lines_for_a_pipe_are_whole() -> None:
    file = io.StringIO()
    View([Line("word " * 100, "good")]).print_to(Console(file=file, width=80, force_terminal=False))
    assert file.getvalue().count("\n") == 1


def test_head_of_empty_texts_is_not_shown() -> None:
    view = View([Table(("", ""), [("a", "b")])])
    assert view.text(80).splitlines() == ["a  b"]
    assert "<th" not in view.html()


@pytest.mark.usefixtures("root")
def test_no_view_of_a_command_lets_html_through() -> None:
    source = (
        f"import sys\nprint({ATTACK!r})\nclass T:\n    def __repr__(self):\n"
        f"        return {ATTACK!r}\nt = T()\nd = {{{ATTACK!r}: 1}}\nraise ValueError({ATTACK!r})"
    )
    run_cell(source, "attack", env={"A": ATTACK})
    printed: list[object] = []
    show = printed.append
    context = Context(current_store(), {}, "persist ", write=show, waiting=show, redraw=show)
    lines: list[tuple[str, list[str]]] = [
        ("list", []),
        ("status", ["attack"]),
        ("wait", ["attack"]),
        ("fetch", ["attack", "--partial"]),
        ("fetch", ["attack", "t", "d", "--partial"]),
        ("log", ["attack", "--stderr"]),
        ("rerun", ["attack", "--dry-run", "--setup", ATTACK]),
        ("cancel", ["attack"]),
        ("cleanup", ["attack", "--dry-run"]),
    ]
    for name, words in lines:
        command = next(one for one in COMMANDS if one.name == name)
        options = parser_of(name, "", command.arguments).parse(words)
        options.scheduler = []
        view = command.run(context, options)
        assert view is not None
        page = Tags()
        page.feed(view.html())
        assert "img" not in page.tags
