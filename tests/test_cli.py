"""The `persist` program: its commands, exit statuses, JSON, and text that is only text."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobcells import run as run_cell
from jobcells import start
from persist_magic import JobStatus, read_job
from waiting import wait_until

PERSIST = [sys.executable, "-m", "persist_magic"]
COMMANDS = ("fetch", "list", "status", "wait", "log", "cancel", "rerun", "cleanup")
HOSTILE = "[bold red]x[/] \N{ESCAPE}[2J\N{ESCAPE}]0;title\a \u202egnp"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a job that went well, one that failed, and one of hostile words."""
    directory = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.delenv("PERSIST_ROOT", raising=False)
        run_cell("print('text')\nloss = 0.25\nlist(range(3))", "good")
        run_cell("kept = 1\nprint('before')\n1 / 0", "bad")
        source = (
            f"import sys\nprint({HOSTILE!r})\nsys.stderr.write({HOSTILE!r})\n"
            f"class Hostile:\n    def __repr__(self):\n        return {HOSTILE!r}\n"
            f"thing = Hostile()\nraise ValueError({HOSTILE!r})"
        )
        run_cell(source, "hostile")
        yield directory


def persist(project: Path, *words: str, **options: str) -> subprocess.CompletedProcess[str]:
    """What the program says to *words*."""
    environment = {**os.environ, **options}
    for name in ("COLUMNS", "FORCE_COLOR"):
        environment.pop(name, None)
    return subprocess.run(
        [*PERSIST, *words],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def obeyed(project: Path, *words: str) -> str:
    """What the program prints when all is well."""
    done = persist(project, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# ---- help


def test_without_words_it_shows_its_commands(project: Path) -> None:
    done = persist(project)
    assert done.returncode == 2
    for command in COMMANDS:
        assert f"\n    {command}" in done.stderr
    assert obeyed(project, "--help") == done.stderr
    assert obeyed(project, "--version").startswith("persist_magic ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, project: Path) -> None:
    text = obeyed(project, command, "--help")
    assert text.startswith(f"usage: persist {command} ")
    assert "--json" in text
    assert "--root" in text
    assert max(map(len, text.splitlines())) <= 80


def test_console_script_is_the_same_program(project: Path) -> None:
    script = Path(sys.executable).with_name("persist")
    if not script.exists():
        pytest.skip("the package is on the path, but not installed")
    done = subprocess.run([script, "log", "good"], cwd=project, capture_output=True, text=True)
    assert done.stdout == obeyed(project, "log", "good")


# ---- words that cannot be obeyed


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["lst"], "persist: argument COMMAND: invalid choice: 'lst'"),
        (["fetch"], "persist fetch: the following arguments are required: NAME\n"),
        (["fetch", "good", "--partal"], "--partal\ndid you mean --partial? persist fetch --help"),
        (["fetch", "god"], "persist: no job named 'god'"),
        (["fetch", "god"], "did you mean 'good'? persist list shows all 3."),
        (
            ["wait", "good", "--timeout", "soon"],
            "argument --timeout: invalid seconds value: 'soon'",
        ),
        (["cancel", "good", "--", "--x"], "'-- --x' means nothing here\nleave it out"),
        (["list", "--watch", "--json"], "--json shows one look"),
        (["cleanup"], "cleanup of what?\ngive names, patterns like 'try*', or --older-than 30d"),
        (["cleanup", "good", "--older-than", "long"], "'long' is no age\nwrite 30d, 12h or 90m"),
        (["fetch", "good", "nothere"], "no variable 'nothere'\nit brings back loss"),
    ],
)
def test_what_cannot_be_obeyed_is_two_lines_and_status_2(
    words: list[str], error: str, project: Path
) -> None:
    done = persist(project, *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert done.stderr.startswith("persist")
    assert "%persist" not in done.stderr
    assert "Traceback" not in done.stderr


# ---- list, status, wait


def test_list_is_a_table(project: Path) -> None:
    lines = obeyed(project, "list").splitlines()
    assert lines[0].split() == ["name", "status", "why", "manager", "since", "took", "size"]
    assert {line.split()[0]: line.split()[1] for line in lines[1:]} == {
        "good": "DONE",
        "bad": "FAILED",
        "hostile": "FAILED",
    }
    assert "ZeroDivisionError: division by zero" in obeyed(project, "list", "ba*")
    assert obeyed(project, "list", "z*").startswith("no job matches 'z*' in ")


def test_json_of_every_command_is_json(project: Path) -> None:
    by_name = {job["name"]: job for job in json.loads(obeyed(project, "list", "--json"))}
    assert by_name["good"]["status"] == "DONE"
    assert by_name["bad"]["reason"] == "ZeroDivisionError: division by zero"
    assert json.loads(obeyed(project, "status", "good", "--json"))["outputs"]["loss"]["is"]
    assert json.loads(obeyed(project, "wait", "good", "--json"))[0]["name"] == "good"
    assert json.loads(obeyed(project, "log", "good", "--json")) == "text\n"
    assert json.loads(obeyed(project, "cancel", "good", "--json"))[0]["status"] == "DONE"
    assert json.loads(obeyed(project, "rerun", "good", "--dry-run", "--json"))["manager"] == "local"
    plan = json.loads(obeyed(project, "cleanup", "*", "--dry-run", "--json"))
    assert sorted(job["name"] for job in plan) == ["bad", "good", "hostile"]
    fetched = json.loads(obeyed(project, "fetch", "good", "loss", "--json"))
    assert (fetched["value"], fetched["variables"]["loss"]["repr"]) == ("[0, 1, 2]", "0.25")
    assert fetched["output"] == "text\n[0, 1, 2]\n"


def test_status_tells_everything(project: Path) -> None:
    text = obeyed(project, "status", "bad")
    assert text.startswith("job 'bad': FAILED (ZeroDivisionError: division by zero), took ")
    for word in ("id", "made", "started", "ended", "manager", "process", "used", "directory"):
        assert f"\n{word}" in text
    assert "kept" in text


def test_status_of_a_running_job_has_the_line_of_ps(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    job = start("import time\ntime.sleep(100)", "running")
    wait_until(lambda: job.status() is JobStatus.RUNNING)
    text = obeyed(project, "status", "running")
    job.cleanup(force=True)
    assert "ELAPSED" in text


def test_wait_fails_with_the_job(project: Path) -> None:
    assert "job 'good': DONE" in obeyed(project, "wait", "good")
    done = persist(project, "wait", "good", "bad")
    assert done.returncode == 1
    assert "job 'bad': FAILED" in done.stdout


# ---- fetch and log


def test_fetch_shows_output_value_and_variables(project: Path) -> None:
    lines = obeyed(project, "fetch", "good").splitlines()
    assert lines[:2] == ["text", "[0, 1, 2]"]
    assert lines[2].split() == ["variable", "what", "size", "how"]
    assert "loss" in {line.split()[0] for line in lines[3:]}
    assert obeyed(project, "fetch", "good", "loss", "-q") == "loss = 0.25\n"


def test_fetch_of_a_failed_job_shows_its_traceback_and_fails(project: Path) -> None:
    done = persist(project, "fetch", "bad")
    assert done.returncode == 1
    assert done.stdout == "before\n"
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith(
        "ZeroDivisionError: division by zero\n1 variable kept: persist fetch bad --partial\n"
    )
    assert "job 'bad': FAILED" in obeyed(project, "fetch", "bad", "--partial")
    assert obeyed(project, "fetch", "bad", "kept", "--partial", "-q") == "kept = 1\n"


def test_fetch_of_a_job_that_exited_shows_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_cell("import sys\nsys.exit('enough')", "exiting")
    done = persist(tmp_path, "fetch", "exiting")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert "SystemExit: enough" in done.stderr


def test_following_a_log_ends_with_the_job(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    cell = "import os, time\nprint('one')\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
    job = start(f"{cell}print('two', end='')", "followed")
    with subprocess.Popen(
        [*PERSIST, "log", "-f", "followed"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        (project / "go").touch()
        assert process.communicate(timeout=60)[0] == "two\n"
    assert process.returncode == 0
    job.cleanup()


def test_reader_that_goes_away_gets_no_traceback(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    job = run_cell("for i in range(200_000): print('line', i)", "long_log")
    for words in ("log long_log", "fetch long_log", "list"):
        done = subprocess.run(
            f"{sys.executable} -m persist_magic {words} | head -n 1",
            shell=True,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        assert len(done.stdout.splitlines()) == 1
    assert "persist log long_log shows all of it" in obeyed(project, "fetch", "long_log")
    job.cleanup()


# ---- Ctrl-C


@pytest.mark.parametrize("words", [["log", "-f", "endless"], ["list", "endless", "--watch"]])
def test_interrupt_ends_the_program_with_130_and_not_the_job(
    words: list[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    job = start("import time\nprint('at work')\ntime.sleep(100)", "endless")
    with subprocess.Popen(
        [*PERSIST, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    still = job.status()
    job.cleanup(force=True)
    assert (process.returncode, errors) == (130, "\n")
    assert still in (JobStatus.QUEUED, JobStatus.RUNNING)


# ---- text that is only text


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["status", "hostile"],
        ["wait", "hostile"],
        ["log", "hostile"],
        ["log", "hostile", "--stderr"],
        ["fetch", "hostile"],
        ["fetch", "hostile", "--partial"],
        ["fetch", "hostile", "thing", "--partial"],
        ["cancel", "hostile"],
        ["fetch", HOSTILE],
        [HOSTILE],
    ],
)
def test_hostile_text_comes_out_as_text(words: list[str], project: Path) -> None:
    done = persist(project, *words)
    said = done.stdout + done.stderr
    assert "[bold red]x[/]" in said
    for character in "\N{ESCAPE}\a":
        assert character not in said


# ---- acting


def test_rerun_cancel_and_cleanup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_cell("import os\nprint(os.environ.get('A'))", "acted")
    assert obeyed(tmp_path, "rerun", "acted", "--env", "A=new", "--wait", "-q") == ""
    assert obeyed(tmp_path, "log", "acted") == "new\n"
    assert obeyed(tmp_path, "rerun", "acted", "--wait").splitlines()[1] == "new"
    start("import time\nmade = 1\nprint('at work')\ntime.sleep(100)", "stopped")
    wait_until(read_job("stopped").stdout)
    assert "CANCELLED" in obeyed(tmp_path, "cancel", "stopped")
    done = persist(tmp_path, "fetch", "stopped")
    assert done.returncode == 1
    assert done.stderr.startswith("persist: job 'stopped' was cancelled by ")
    assert obeyed(tmp_path, "cleanup", "stop*").startswith("deleted 'stopped' (")
    assert obeyed(tmp_path, "cleanup", "stop*", "acted", "--dry-run").startswith("would delete")


def test_cleanup_of_a_running_job_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = start("import time\ntime.sleep(100)", "running")
    run_cell("1", "ended")
    done = persist(tmp_path, "cleanup", "*")
    assert done.returncode == 2
    assert done.stdout.startswith("deleted 'ended'")
    assert "persist cancel running ends it; --force cancels and deletes it" in done.stderr
    assert obeyed(tmp_path, "cleanup", "running", "--force").startswith("deleted 'running'")
    assert not job.directory.exists()


# ---- the root


def test_root_may_be_named(project: Path, tmp_path: Path) -> None:
    root = os.fspath(project / ".persist")
    assert "good" in obeyed(tmp_path, "list", "--root", root)
    assert obeyed(tmp_path, "list").startswith("no jobs in ")
    named = persist(tmp_path, "list", PERSIST_ROOT=root)
    assert "good" in named.stdout
    assert list(tmp_path.iterdir()) == []


def test_root_is_found_from_a_folder_below(project: Path) -> None:
    below = project / "sub" / "sub"
    below.mkdir(parents=True)
    assert "good" in obeyed(below, "list")


def test_names_that_the_terminal_cannot_show_are_no_failure(project: Path) -> None:
    done = persist(project, "fetch", "caf\u00e9", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "caf\\xe9" in done.stderr
