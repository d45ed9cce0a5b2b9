"""Every failure as its user meets it: what happened, and the way out, each in one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels import Kernel, kernel
from persist_magic import read_job
from waiting import wait_until

ENDLESS = "import time\nprint('at work', flush=True)\ntime.sleep(1000)"
# The jobs that are there all the time.
JOBS = {"train", "failed", "cancelled", "lost", "running", "nothing", "damaged"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the notebook."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def notebook(project: Path) -> Iterator[Kernel]:
    """A kernel with a job of each kind, and variables that cannot be sent."""
    with kernel(project) as started:
        for cell in (
            "%%persist train -q\nloss = weights = 1",
            "%%persist failed -q\nkept = 1\nraise SystemExit(3)",
            f"%%persist cancelled -q\n{ENDLESS}",
            "%%persist lost -q\nimport os\nos.kill(os.getppid(), 9)\nos.kill(os.getpid(), 9)",
            f"%%persist running -q\n{ENDLESS}",
            "%%persist nothing -q --python /bin/false\n1",
            "%%persist damaged -q --wait\n1",
            "import sqlite3, threading\nlocks = {'a': [1, threading.Lock()]}\n"
            "numbers = (i for i in 'ab')\n"
            "class Model:\n    def __init__(self):\n        self.db = sqlite3.connect(':memory:')\n"
            "model = Model()\ndef predict():\n    return model.db",
        ):
            shown = started.run(cell)
            assert not shown.error, shown.traceback
        for name in ("cancelled", "running"):
            wait_until(read_job(name, root=project / ".persist").stdout)
        started.run("%persist_cancel cancelled --force")
        started.run("%persist_wait train failed lost nothing")
        (read_job("damaged", root=project / ".persist").directory / "request.json").write_text("{")
        yield started
        started.run("%persist_cancel running --force")


def jobs_in(root: Path) -> set[str]:
    """The names of all jobs, after a look that nothing is half made."""
    assert len(list((root / "jobs").iterdir())) == len(list((root / "names").glob("[!.]*")))
    assert [path for path in (root / "making").iterdir() if path.name != "lock"] == []
    return {path.name for path in (root / "names").glob("[!.]*")}


def matches(pattern: str, text: str) -> bool:
    """Whether *text* is *pattern*, in which `…` stands for anything on the line."""
    return re.fullmatch(re.escape(pattern).replace("…", ".*"), text) is not None


NAME_HINT = "a name is 1 to 64 letters, digits, '.', '_', '-', and begins with a letter or digit"
TIME_HINT = "write minutes (90), H:MM:SS (2:00:00) or days-hours (1-12)"
HELP = "%%persist? shows its options"

MESSAGES = [
    # Names of jobs.
    (
        "%persist_fetch trian",
        "JobNotFound: no job named 'trian' in …",
        "did you mean 'train'? %persist_list shows all 7.",
    ),
    ("%persist_log zzz", "JobNotFound: no job named 'zzz' in …", "%persist_list shows all 7"),
    (
        "%%persist running --replace\n2",
        "StillRunning: a job named 'running' exists already and is running",
        "%persist_fetch running waits for it; add --force to cancel it first",
    ),
    (
        "%persist_rerun running",
        "StillRunning: a job named 'running' exists already and is running",
        "%persist_fetch running waits for it; add --force to cancel it first",
    ),
    ("%%persist ../up\n1", "UsageError: '../up' cannot be the name of a job", NAME_HINT),
    ("%%persist .hidden\n1", "UsageError: '.hidden' cannot be the name of a job", NAME_HINT),
    (f"%%persist {'x' * 65}\n1", "UsageError: 'xx…xx' cannot be the name of a job", NAME_HINT),
    (
        "%%persist 20261122-142233-train-7f3a91c2\n1",
        "UsageError: '20261122-142233-train-7f3a91c2' cannot be the name of a job",
        "it has the form of a job's id: leave the date out",
    ),
    # The line.
    (
        "%%persist \n1",
        "UsageError: %%persist: the following arguments are required: NAME",
        HELP,
    ),
    ("%%persist new b\n1", "UsageError: %%persist: unrecognized arguments: b", HELP),
    (
        "%%persist new --replce\n1",
        "UsageError: %%persist: unrecognized arguments: --replce",
        f"did you mean --replace? {HELP}",
    ),
    (
        "%%persist new --setup 'x\n1",
        'UsageError: "new --setup \'x" cannot be read: No closing quotation',
        "close the quotation",
    ),
    (
        "%%persist new --output log.txt\n1",
        "UsageError: --output means something else to Slurm and is not taken",
        "what the job prints is kept anyway: %persist_log NAME",
    ),
    (
        "%%persist new --error=log.txt\n1",
        "UsageError: --error means something else to Slurm and is not taken",
        "what the job prints is kept anyway: %persist_log NAME --stderr",
    ),
    (
        "%%persist new --input x\n1",
        "UsageError: --input means something else to Slurm and is not taken",
        "a job has no standard input; pass the data in a variable",
    ),
    # What the local manager cannot honour.
    (
        "%%persist new --mem 64G --gpus 2\n1",
        "UsageError: --mem 64G, --gpus 2 cannot be honoured on this machine: nothing would "
        "enforce it",
        "leave --mem and --gpus out",
    ),
    (
        "%%persist new -- --exclusive -x n1\n1",
        "UsageError: '-- --exclusive -x n1' is for a scheduler; this job runs on this machine",
        "leave it out",
    ),
    ("%%persist new --manager x\n1", "UsageError: no manager named 'x'", "known here: local…"),
    (
        "%%persist new --local --manager x\n1",
        "UsageError: --local and --manager x contradict",
        "give one of them",
    ),
    ("%%persist new --time 0\n1", "UsageError: --time 0 is no time limit", TIME_HINT),
    ("%persist_rerun train --time soon", "UsageError: --time soon is no time limit", TIME_HINT),
    # Values.
    (
        "%%persist new\nlocks",
        "CannotSave: variable 'locks' (dict) cannot be sent to the job: locks['a'][1] is a "
        "_thread.lock (TypeError: cannot pickle '_thread.lock' object)",
        "make the lock inside the cell, or leave it out with --skip locks",
    ),
    (
        "%%persist new\nlist(numbers)",
        "CannotSave: variable 'numbers' (generator) cannot be sent to the job (TypeError: cannot "
        "pickle 'generator' object)",
        "make it a list, or make the generator inside the cell",
    ),
    (
        "%%persist new\npredict()",
        "CannotSave: variable 'model' (Model), read by function 'predict', cannot be sent to the "
        "job: model.db is a sqlite3.Connection (TypeError: cannot pickle 'sqlite3.Connection' "
        "object)",
        "connect inside the cell, or leave it out with --skip model",
    ),
    (
        "%%persist new --in nosuch\n1",
        "UsageError: --in nosuch: there is no such variable",
        "define it first, or leave it out",
    ),
    (
        "%%persist new --out a-b\n1",
        "UsageError: --out a-b: no name of a variable",
        "separate names by commas",
    ),
    # Surroundings.
    (
        "%%persist new --python /nosuch/python\n1",
        "UsageError: --python /nosuch/python: no such program",
        "give the path of a Python interpreter",
    ),
    (
        "%%persist new --python .\n1",
        "UsageError: --python …: no such program",
        "give the path of a Python interpreter",
    ),
    (
        "%%persist new --chdir /nosuch\n1",
        "UsageError: --chdir /nosuch: no such directory",
        "make it, or name another",
    ),
    ("%%persist new --env A\n1", "UsageError: --env A: no value", "write --env NAME=VALUE"),
    (
        "%%persist new --env 1A=x\n1",
        "UsageError: --env 1A: no name of a variable",
        "write --env NAME=VALUE",
    ),
    # Results.
    (
        "%persist_fetch train los",
        "UsageError: job 'train' has no variable 'los'",
        "it brings back loss, weights",
    ),
    (
        "%persist_fetch running --timeout 0.1",
        "NotReady: job 'running' is not ready after 0.1 s: RUNNING",
        "it goes on; %persist_fetch running waits for it",
    ),
    (
        "%persist_fetch running --no-wait",
        "NotReady: job 'running' is not ready: RUNNING",
        "it goes on; %persist_fetch running waits for it",
    ),
    (
        "%persist_fetch cancelled -q",
        "JobCancelled: job 'cancelled' was cancelled by …@…",
        "%persist_log cancelled shows what it printed; %persist_rerun cancelled runs it again",
    ),
    (
        "%persist_fetch lost -q",
        "JobLost: job 'lost' is lost: its processes are gone and left no word: killed, job.sh too",
        "%persist_log lost shows what it printed; %persist_rerun lost runs it again",
    ),
    (
        "%persist_fetch nothing -q",
        "JobFailed: job 'nothing' failed: /bin/false could not run the job (exit status 1)",
        "%persist_log nothing shows what it printed; %persist_rerun nothing runs it again",
    ),
    (
        "%persist_fetch damaged",
        "Damaged: …/request.json cannot be read",
        "%persist_cleanup damaged removes what is left of it",
    ),
    (
        "%persist_cleanup running",
        "StillRunning: job 'running' is RUNNING",
        "%persist_cancel running ends it; --force cancels and deletes it",
    ),
    (
        "%persist_cleanup",
        "UsageError: cleanup of what?",
        "give names, patterns like 'try*', or --older-than 30d",
    ),
    (
        "%persist_cleanup --older-than 3",
        "UsageError: '3' is no age",
        "write 30d, 12h or 90m",
    ),
]


@pytest.mark.parametrize(("cell", "what", "way_out"), MESSAGES, ids=[m[0] for m in MESSAGES])
def test_message(cell: str, what: str, way_out: str, notebook: Kernel, project: Path) -> None:
    shown = notebook.run(cell)
    lines = shown.traceback.splitlines()
    assert len(lines) == 2, shown.text
    assert matches(what, lines[0]), lines[0]
    assert matches(way_out, lines[1]), lines[1]
    assert shown.outputs == []
    assert jobs_in(project / ".persist") == JOBS


def test_damaged_job_is_listed_and_can_be_deleted(notebook: Kernel, project: Path) -> None:
    notebook.run("%%persist broken -q --wait\n1")
    broken = read_job("broken", root=project / ".persist").directory
    (broken / "request.json").write_bytes(b"")
    assert re.search("^broken +LOST +damaged", notebook.run("%persist_list").value, re.MULTILINE)
    assert f"%persist_cleanup {broken.name}" in notebook.run("%persist_status broken").value
    assert "deleted 'broken'" in notebook.run(f"%persist_cleanup {broken.name}").value
    assert jobs_in(project / ".persist") == JOBS


def test_syntax_error_is_shown_as_for_any_cell(notebook: Kernel, project: Path) -> None:
    shown = notebook.run("%%persist new\nfine = 1\nx = = 1")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.traceback)
    assert shown.error == "SyntaxError"
    assert "<persist new>:2" in plain
    assert "x = = 1" in plain
    assert plain.rstrip().endswith("SyntaxError: invalid syntax")
    assert "persist_magic/" not in plain
    assert jobs_in(project / ".persist") == JOBS


def test_interpreter_without_the_packages_is_told_with_the_command_that_mends_it(
    notebook: Kernel, project: Path, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = tmp_path / "bare" / "bin" / "python"
    shown = notebook.run(f"%%persist bare --python {python} --wait -q\n1")
    notebook.run("%persist_cleanup bare")
    assert shown.traceback.splitlines() == [
        f"JobFailed: job 'bare' failed: {python} could not run the job (exit status 1); its last "
        "words: ModuleNotFoundError: No module named 'blake3'",
        f"install persist-magic for it: {python} -m pip install persist-magic",
    ]


# ---- the root


@pytest.fixture
def moved(notebook: Kernel) -> Iterator[Kernel]:
    """The kernel, with another root after the test."""
    yield notebook
    notebook.run("%config PersistMagics.root = ''")


def test_root_that_cannot_be_made(moved: Kernel) -> None:
    moved.run("%config PersistMagics.root = '/dev/null/root'")
    what, way_out = moved.run("%%persist new\n1").traceback.splitlines()
    assert what.startswith("RootRefused: jobs cannot be kept in /dev/null/root: ")
    assert way_out == "set PERSIST_ROOT to a directory that you can write to"


def test_root_that_others_could_write_to(moved: Kernel, tmp_path: Path) -> None:
    root = tmp_path / "root"
    moved.run(f"%config PersistMagics.root = '{root}'")
    assert not moved.run("%%persist new --wait\n1").error
    root.chmod(0o777)
    for cell in ("%%persist other\n1", "%persist_fetch new"):
        what, way_out = moved.run(cell).traceback.splitlines()
        assert what == f"RootRefused: {root} can be written by other users (mode 0777)"
        assert way_out == f"make it yours alone: chmod go-w {root}"
    subprocess.run(way_out.partition(": ")[2].split(), check=True)
    assert moved.run("%persist_fetch new").value == "1"


def test_disk_that_is_too_small(moved: Kernel, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", os.fspath(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can make a small disk")
    try:
        moved.run(f"%config PersistMagics.root = '{disk / 'root'}'")
        assert not moved.run("%%persist before --wait\n1").error
        moved.run("data = bytes(range(256)) * 20_000")
        what, way_out = moved.run("%%persist large\nlen(data)").traceback.splitlines()
        assert matches(
            f"NoSpace: no space in {disk / 'root'}…: 6.2 MB are needed, … are free", what
        )
        assert "%persist_cleanup" in way_out
        assert jobs_in(disk / "root") == {"before"}
        # What was promised to be free may be gone when it is written.
        (disk / "filler").write_bytes(bytes(2_000_000))
        shown = moved.run("data = data[:900_000]\n1")
        assert not shown.error
        assert moved.run("%%persist small\nlen(data)").error == "NoSpace"
        assert jobs_in(disk / "root") == {"before"}
        (disk / "filler").unlink()
        assert moved.run("%persist_fetch before").value == "1"
        assert moved.run("%%persist small --wait\nlen(data)").value == "900000"
    finally:
        subprocess.run(["umount", "-l", os.fspath(disk)], check=True)


def test_folder_without_jobs(tmp_path: Path) -> None:
    with kernel(tmp_path) as fresh:
        what, way_out = fresh.run("%persist_fetch x").traceback.splitlines()
        assert what.startswith("JobNotFound: no job named 'x': there are no jobs in ")
        assert way_out == (
            "jobs belong to the folder they were started in; PERSIST_ROOT names another root"
        )
        assert not (tmp_path / ".persist").exists()
