"""What a job shows while it runs: text and rich output, in the order of the cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobcells import attempt_of, run, start, wait_for
from persist_magic import persist
from persist_magic.jobs import Job
from persist_magic.replay import Rich, Text, replay
from persist_magic.runner import journal as journals
from persist_magic.runner.journal import Journal
from waiting import wait_until


def shown(job: Job) -> list[str]:
    """What `%persist_fetch` shows of *job*: text as it is, rich output by its plain text."""
    found = []
    for piece in job.replay():
        match piece:
            case Text():
                found.append(piece.text)
            case Rich():
                found.append(f"<{piece.data.get('text/plain', ', '.join(piece.data))}>")
    return found


def events(job: Job) -> list[dict[str, Any]]:
    """The lines of the journal."""
    path = attempt_of(job).directory / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# ---- order


CELLS: dict[str, tuple[str, list[str]]] = {
    "text and displays": (
        "print('a')\ndisplay(1)\nprint('b', end='')\ndisplay(2)\nprint('c')\n3",
        ["a\n", "<1>", "b", "<2>", "c\n", "<3>"],
    ),
    "a shell command": ("print('a')\n!echo b\nprint('c')", ["a\nb\nc\n"]),
    "a partial line and a shell command": (
        "print('a', end='')\n!echo b\nprint('c')",
        ["ab\nc\n"],
    ),
    "a child": (
        "import subprocess\nprint('a')\nsubprocess.run(['echo', 'b'])\nprint('c')\nNone",
        ["a\nb\nc\n"],
    ),
    "a forked child": (
        "import os, warnings\nwarnings.simplefilter('ignore')\n"
        "print('a', end=' ')\nif not (child := os.fork()):\n    print('b', end=' ')\n"
        "    os._exit(print(end='', flush=True) or 0)\nos.waitpid(child, 0)\nprint('c')",
        ["a b c\n"],
    ),
    "C": (
        "import ctypes\nprint('a')\nctypes.CDLL(None).puts(b'b')\nprint('c')\nNone",
        ["a\nb\nc\n"],
    ),
    "descriptors": ("import os\nprint('a')\nos.write(1, b'b\\n')\nprint('c')", ["a\nb\nc\n"]),
    "a cell magic": ("%%bash\necho one\n", ["one\n"]),
    "%%time": ("%%time\nprint('in')\n7", ["in\nCPU times", "<7>"]),
    "%time": ("print('a')\n%time x = 1\nprint('b')", ["a\nCPU times"]),
    "%%capture": ("%%capture out\nprint('hidden')", []),
    "an assignment from a command": ("x = !echo b\nprint(x)", ["['b']\n"]),
    "a command with a variable": ("word = 'b'\n!echo {word} $word", ["b b\n"]),
    "an update": (
        "h = display('first', display_id=True)\nprint('a')\nh.update('second')",
        ["<'second'>", "a\n"],
    ),
    "clear_output": (
        "from IPython.display import clear_output\nprint('a')\ndisplay(1)\nclear_output()\n"
        "print('b')",
        ["b\n"],
    ),
    "HTML": (
        "from IPython.display import HTML\nHTML('<b>x</b>')",
        ["<<IPython.core.display.HTML object>>"],
    ),
    "a class of the notebook": (
        "class A:\n    def _repr_html_(self): return '<b>x</b>'\n"
        "    def __repr__(self): return 'plain'\nA()",
        ["<plain>"],
    ),
    "nothing": ("x = 1", []),
    "a value that is hidden": ("print('a')\n7;", ["a\n"]),
    "None": ("None", []),
}


@pytest.mark.parametrize("kind", CELLS)
def test_output_is_shown_in_the_order_of_the_cell(root: Path, kind: str) -> None:
    source, expected = CELLS[kind]
    job = run(source, out=[])
    job.fetch()
    found = shown(job)
    assert len(found) == len(expected), found
    for piece, begin in zip(found, expected, strict=True):
        assert piece.startswith(begin)


def test_both_streams_keep_their_order(root: Path) -> None:
    job = run(
        "import sys\n"
        "for i in range(3):\n    print('out', i)\n    print('err', i, file=sys.stderr)\n"
    )
    job.fetch()
    found = [(piece.stream, piece.text) for piece in job.replay() if isinstance(piece, Text)]
    assert found == [
        (stream, f"{word} {i}\n")
        for i in range(3)
        for stream, word in (("stdout", "out"), ("stderr", "err"))
    ]


def test_open_figures_are_shown_at_the_end(root: Path) -> None:
    pytest.importorskip("matplotlib")
    job = run(
        "import matplotlib.pyplot as plt\nprint('a')\nfigure, axes = plt.subplots()\n"
        "axes.plot([1, 2])\nprint('b')\nNone",
        out=[],
    )
    job.fetch()
    first, figure = job.replay()
    assert isinstance(first, Text)
    assert first.text == "a\nb\n"
    assert isinstance(figure, Rich)
    assert "image/png" in figure.data


VALUES = [
    "1",
    "'text'",
    "1.5",
    "[1, 2]",
    "{'a': [1, None]}",
    "()",
    "list(range(100))",
    "{3, 1, 2}",
    "int",
    "[int, print]",
    "{'k' * 50: 'v' * 50}",
    "'a' * 200",
    "'two\\nlines'",
    "b'x'",
    "1j",
    "True",
    "[[]]",
    "ValueError('x')",
    "range(3)",
    "...",
]


def test_values_are_shown_as_a_notebook_shows_them(root: Path) -> None:
    """By repr, where that is known to be the same, and by IPython."""
    cells = "\n".join(f"display({value})" for value in VALUES)
    by_ipython = run(cells, "displayed")
    by_ipython.fetch()
    expected = shown(by_ipython)
    assert len(expected) == len(VALUES)
    jobs = {value: start(value, f"value{i}") for i, value in enumerate(VALUES)}
    for (value, job), piece in zip(jobs.items(), expected, strict=True):
        job.wait(60)
        assert shown(job) == [piece], value


def test_value_that_cannot_be_shown_is_still_a_value(root: Path) -> None:
    job = run("class Odd:\n    def __repr__(self): return 1 / 0\nOdd()\n", out=[])
    assert type(job.fetch()).__name__ == "Odd"
    job = run("10 ** 5000", "long")
    assert job.fetch() == 10**5000


def test_value_of_a_function_is_shown(root: Path) -> None:
    job = persist(divmod, "both", args=(7, 2))
    assert job.fetch(30) == (3, 1)
    assert shown(job) == ["<(3, 1)>"]


def test_binary_data_travels_as_base64(root: Path) -> None:
    pixel = (
        "from IPython.display import Image\nimport base64\n"
        "Image(data=base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42m"
        "NkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='))"
    )
    job = run(pixel, out=[])
    job.fetch()
    (rich,) = job.replay()
    assert isinstance(rich, Rich)
    assert rich.data["image/png"].startswith("iVBORw0KGgo")


# ---- while it runs


def test_output_can_be_read_while_the_job_runs(root: Path) -> None:
    job = start(
        "import os, time\nprint('begun')\nprint('partial', end='')\ndisplay(1)\n"
        "print('dots', end='')\nopen('running', 'w').close()\n"
        "while not os.path.exists('go'): time.sleep(0.01)\nprint('.')"
    )
    wait_for(root / "running")
    assert shown(job)[:2] == ["begun\npartial", "<1>"]
    wait_until(lambda: job.stdout().endswith("dots"))
    (root / "go").touch()
    job.fetch(30)
    assert job.stdout() == "begun\npartialdots.\n"


def test_threads_do_not_tear_each_others_lines(root: Path) -> None:
    job = run(
        "from threading import Thread\n"
        "def talk(name):\n    for i in range(500): print(name, i)\n"
        "threads = [Thread(target=talk, args=(name,)) for name in 'abcd']\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()",
        out=[],
    )
    job.fetch()
    lines = job.stdout().splitlines()
    assert sorted(lines) == sorted(f"{name} {i}" for name in "abcd" for i in range(500))


def test_much_text_is_kept_whole(root: Path) -> None:
    job = run("for i in range(100_000): print('x' * 99)", out=[])
    job.fetch()
    assert len(job.stdout()) == 10_000_000


def test_text_that_cannot_be_encoded_is_escaped(root: Path) -> None:
    job = run("print('lone', chr(0xD800), 'é')")
    job.fetch()
    assert job.stdout() == "lone \\ud800 é\n"


# ---- limits


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    for name in ("stdout.log", "stderr.log"):
        (tmp_path / name).touch()
    return Journal(tmp_path)


def read(directory: Path) -> list[dict[str, Any]]:
    lines = (directory / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_displays_beyond_the_limit_are_counted_but_updates_and_the_result_are_kept(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MOST_EVENTS", 2)
    for i in range(5):
        journal.display("display", {"text/plain": str(i)}, id=f"d{i}")
    for i in range(9):
        journal.display("update", {"text/plain": f"update {i}"}, id="d0")
    journal.display("result", {"text/plain": "the result"})
    journal.close()
    found = [(event["kind"], event.get("data", {}).get("text/plain")) for event in read(tmp_path)]
    assert found == [
        ("display", "0"),
        ("display", "1"),
        ("update", "update 8"),
        ("result", "the result"),
        ("dropped", None),
    ]
    assert read(tmp_path)[-1]["count"] == 3


def test_last_picture_of_a_long_film_is_kept(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell that clears its output and draws anew, more often than is kept."""
    monkeypatch.setattr(journals, "MOST_EVENTS", 3)
    for i in range(9):
        journal.clear(wait=True)
        journal.display("display", {"text/plain": f"title {i}"})
        journal.display("display", {"text/plain": f"picture {i}"})
    journal.close()
    assert read(tmp_path)[-1]["data"] == {"text/plain": "picture 8"}
    shown = [piece.data["text/plain"] for piece in replay(tmp_path) if isinstance(piece, Rich)]
    assert shown == ["title 8", "picture 8"]


def test_widget_is_kept_without_its_model(tmp_path: Path, journal: Journal) -> None:
    view = "application/vnd.jupyter.widget-view+json"
    journal.display("display", {view: {"model_id": "1"}, "text/plain": "Slider()"})
    journal.display("display", {view: {"model_id": "2"}})
    journal.close()
    assert [event["data"] for event in read(tmp_path)] == [{"text/plain": "Slider()"}]


def test_data_that_is_no_json_does_not_fail_the_cell(tmp_path: Path, journal: Journal) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    journal.display("display", {"application/json": loop})
    journal.display("display", {"application/json": {(1, 2): 3}})
    journal.display("display", {"application/json": {"set": {1}, "bytes": b"\x00"}})
    journal.close()
    *kept, dropped = read(tmp_path)
    assert [event["data"]["application/json"] for event in kept] == [
        {"set": "{1}", "bytes": "AA=="}
    ]
    assert dropped["count"] == 2


def test_journal_goes_on_after_its_descriptor_was_closed(root: Path) -> None:
    job = run("import os\ndisplay(1)\nos.closerange(3, 1024)\ndisplay(2)\ndisplay(3)\nNone", out=[])
    job.fetch()
    assert len(events(job)) >= 2
