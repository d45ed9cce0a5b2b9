"""IPython in a terminal, and the `persist` program on one: what a person sees in 80 columns."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobcells import run as run_cell
from jobcells import start
from persist_magic import JobStatus, read_job
from waiting import wait_until

pexpect = pytest.importorskip("pexpect")

UNTIL_GO = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)"
CLEAR_LINE = "\r\x1b[K"
HOME_AND_CLEAR = "\x1b[H\x1b[J"


def spawn(directory: Path, *words: str) -> Any:
    """A program on a terminal of 80 columns."""
    environment = {**os.environ, "IPYTHONDIR": os.fspath(directory / ".ipython"), "TERM": "xterm"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "PERSIST_ROOT"):
        environment.pop(name, None)
    return pexpect.spawn(
        sys.executable,
        [*words],
        cwd=os.fspath(directory),
        env=environment,
        encoding="utf-8",
        timeout=20,
        dimensions=(24, 80),
    )


class Terminal:
    """IPython on a terminal."""

    def __init__(self, directory: Path) -> None:
        flags = ("--simple-prompt", "--no-banner", "--colors=NoColor", "--no-confirm-exit")
        self.directory = directory
        self.child = spawn(directory, "-m", "IPython", *flags)
        self.child.expect(r"In \[\d+\]: ")

    def send(self, code: str) -> None:
        """Type *code*."""
        lines = code.split("\n")
        if len(lines) > 1:
            # What ends a block, and, twice, a cell.
            lines += ["", ""] if code.startswith("%%") else [""]
        for number, line in enumerate(lines):
            if number:
                self.child.expect_exact("...: ")
            self.child.sendline(line)
            self.child.expect_exact(line)

    def rest(self) -> str:
        """What is shown until the next prompt."""
        self.child.expect(r"In \[\d+\]: ")
        return str(self.child.before).replace("\r\n", "\n").strip("\n")

    def run(self, code: str) -> str:
        """What *code* shows."""
        self.send(code)
        return self.rest()


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """IPython with the extension loaded."""
    started = Terminal(tmp_path_factory.mktemp("project"))
    assert started.run("%load_ext persist_magic") == ""
    yield started
    started.child.close(force=True)


def fits(text: str) -> bool:
    """Whether no line of *text* is wrapped by the terminal."""
    return all(len(line) <= 80 for line in text.splitlines())


def test_job_is_submitted_listed_and_fetched(terminal: Terminal) -> None:
    text = terminal.run("%%persist first\nprint('text')\nx = list(range(1000))\nlen(x)")
    assert text.splitlines()[0] == "job 'first' started: no variables sent; %persist_fetch first"
    assert fits(text)
    text = terminal.run("%persist_fetch first")
    assert text.startswith("text\n")
    assert "list of 1000" in text
    assert text.rstrip().endswith(": 1000")
    assert terminal.run("len(x)").endswith(": 1000")
    text = terminal.run("%persist_list")
    assert re.search(r"^first +DONE +local +", text, re.MULTILINE)
    assert fits(text)


def test_long_words_are_folded_at_80_columns(terminal: Terminal) -> None:
    name = "a-name-of-sixty-four-characters-" * 2
    terminal.run(f"%%persist {name} --wait\nraise ValueError('words ' * 40)")
    text = terminal.run("%persist_list")
    assert fits(text)
    assert "FAILED" in text
    joined = "".join(text.split())
    assert name[:12] in joined
    status = terminal.run(f"%persist_status {name}")
    assert fits(status)
    assert name in "".join(status.split())
    terminal.run(f"%persist_cleanup {name}")


def test_figure_becomes_its_plain_text(terminal: Terminal) -> None:
    terminal.run("%%persist shown --wait\nfrom IPython.display import HTML\ndisplay(HTML('<b>'))")
    assert "<IPython.core.display.HTML object>" in terminal.run("%persist_fetch shown")


def test_error_is_two_lines(terminal: Terminal) -> None:
    text = terminal.run("%persist_fetch frist")
    what, way_out = text.splitlines()
    assert what.startswith("JobNotFound: no job named 'frist' in ")
    assert way_out.startswith("did you mean 'first'? ")


def test_failure_of_the_job_is_its_traceback(terminal: Terminal) -> None:
    text = terminal.run("%%persist failed --wait\nbound = 1\n1/0")
    lines = text[text.index("Traceback") :].splitlines()
    assert lines[1] == '  File "<persist failed>", line 2, in <module>'
    assert lines[2] == "    1/0"
    assert lines[-2:] == [
        "ZeroDivisionError: division by zero",
        "(1 variable kept: %persist_fetch failed --partial)",
    ]


def test_waiting_shows_one_line_that_is_cleared(terminal: Terminal) -> None:
    terminal.run(f"%%persist slow -q\n{UNTIL_GO}\n'went'")
    terminal.send("%persist_fetch slow")
    terminal.child.expect_exact(f"{CLEAR_LINE}waiting for job 'slow': RUNNING, for ")
    (terminal.directory / "go").touch()
    text = terminal.rest()
    assert text[text.rindex(CLEAR_LINE) + len(CLEAR_LINE) :].strip().endswith(": 'went'")
    assert read_job("slow", root=terminal.directory / ".persist").status() is JobStatus.DONE


def test_interrupt_stops_the_waiting_not_the_job(terminal: Terminal) -> None:
    terminal.run("%%persist long -q\nimport time\ntime.sleep(100)")
    terminal.send("%persist_wait long")
    terminal.child.expect_exact("waiting for job 'long': RUNNING")
    terminal.child.sendintr()
    text = terminal.rest()
    assert "NotReady: stopped waiting for 'long'; it goes on\n%persist_fetch long waits" in text
    assert "Traceback" not in text
    assert "RUNNING" in terminal.run("%persist_status long")
    terminal.run("%persist_cancel long --force")


def test_watch_redraws_in_place_until_interrupted(terminal: Terminal) -> None:
    terminal.run("%config PersistMagics.refresh = 0.1")
    terminal.send("%persist_list first --watch")
    for _ in range(2):
        terminal.child.expect_exact(f"{HOME_AND_CLEAR}name   status")
    terminal.child.sendintr()
    assert "Traceback" not in terminal.rest()


def test_tab_completes_names_options_and_variables(terminal: Terminal) -> None:
    terminal.run("from IPython.core.completer import provisionalcompleter")
    terminal.run(
        "def tab(line):\n"
        "    with provisionalcompleter():\n"
        "        found = get_ipython().Completer.completions(line, len(line))\n"
        "        return sorted(one.text for one in found)"
    )
    for line, offered in (
        ("%persist_fetch fir", ["first"]),
        ("%persist_fetch first ", ["x"]),
        ("%persist_fetch first --pa", ["--partial"]),
        ("%%persist first --repl", ["--replace"]),
    ):
        assert terminal.run(f"tab({line!r})").endswith(f": {offered}"), line


def test_large_input_is_asked_about(terminal: Terminal) -> None:
    terminal.run("%config PersistMagics.max_input = '1k'")
    terminal.run("big = list(range(2000))")
    terminal.send("%%persist asked --wait\nlen(big)")
    terminal.child.expect_exact("Send it? [y/N] ")
    terminal.child.sendline("y")
    assert terminal.rest().endswith(": 2000")
    terminal.run("%config PersistMagics.max_input = '4G'")


# ---- the program on a terminal


@pytest.fixture
def project(root: Path) -> Path:
    """A folder with a job."""
    run_cell("1", "train")
    return root


def test_watch_of_the_program_redraws_in_place_and_ends_on_interrupt(project: Path) -> None:
    child = spawn(project, "-m", "persist_magic", "list", "--watch")
    for _ in range(2):
        child.expect_exact(HOME_AND_CLEAR)
        child.expect_exact("train")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert "Traceback" not in child.before


def test_interrupted_wait_of_the_program_says_that_the_job_goes_on(project: Path) -> None:
    job = start("import time\ntime.sleep(100)", "endless")
    child = spawn(project, "-m", "persist_magic", "fetch", "endless")
    child.expect_exact("waiting for job 'endless': RUNNING")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    still = job.status()
    job.cleanup(force=True)
    assert child.exitstatus == 130
    assert "persist: stopped waiting for 'endless'; it goes on" in child.before
    assert "persist fetch endless waits again; persist cancel endless ends it" in child.before
    assert still is JobStatus.RUNNING


def test_program_keeps_colours_for_a_terminal_only(project: Path) -> None:
    run_cell("print('\\x1b[31mred\\x1b[0m \\x1b[2Jx')", "red")
    child = spawn(project, "-m", "persist_magic", "log", "red")
    child.expect(pexpect.EOF)
    assert child.before == "\x1b[31mred\x1b[0m x\r\n"
    wait_until(lambda: not child.isalive())
