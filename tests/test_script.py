"""job.sh: nothing in it is taken for anything else, and it tells how the job ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobcells import attempt_of, plan_of, run, runner_of, start, wait_for
from persist_magic import JobStatus
from persist_magic.errors import UsageError
from persist_magic.jobdir import Request
from persist_magic.jobs import Job, current_store
from persist_magic.script import job_script
from persist_magic.submission import submit
from waiting import wait_until

HOSTILE = [
    "with spaces  two",
    "quotes ' and \" and '\"'\"'",
    "$(touch pwned)",
    "`touch pwned`",
    "new\nline\n",
    "; touch pwned #",
    "-n",
    "ünïcödé 日本",
    "back\\slash \\",
    "{braces} %s %d",
    "!history",
    "*",
    "~",
]
SHELLS = [
    pytest.param(["dash"], id="dash"),
    pytest.param(["bash", "--posix"], id="bash --posix"),
    pytest.param(["bash"], id="bash"),
    pytest.param(["busybox", "sh"], id="busybox"),
]


def shell_of(words: list[str]) -> list[str]:
    """*words*, if there is such a shell here."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]} here")
    return words


def said(job: Job) -> dict[str, object]:
    """What job.sh wrote down at its end."""
    wait_until(lambda: attempt_of(job).exited is not None)
    value = json.loads((attempt_of(job).directory / "exited.json").read_text())
    assert isinstance(value, dict)
    return value


# ---- hostile words


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_word_is_only_a_word(root: Path, word: str) -> None:
    """In the root, the working directory, the environment and the command at the end."""
    place = root / word / "deeper"
    place.mkdir(parents=True)
    os.chdir(place)
    job = run(
        "import os\nos.getcwd(), os.environ['WORD']",
        env={"WORD": word},
        notify='printf %s "$WORD" >noted',
    )
    assert job.fetch() == (str(place), word)
    said(job)
    wait_until(lambda: (place / "noted").exists() and (place / "noted").read_text() == word)
    assert not list(root.rglob("pwned"))


@pytest.mark.parametrize("word", [word for word in HOSTILE if "/" not in word])
def test_interpreter_may_be_called_anything(root: Path, word: str) -> None:
    python = root / word
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o700)
    assert run("6 * 7", python=str(python)).fetch() == 42
    assert not list(root.rglob("pwned"))


@pytest.mark.parametrize("name", ["persist", "stage", "job", "attempt", "code", "runner", "mask"])
def test_environment_of_the_job_is_that_of_the_notebook(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "mine")
    source = f"import os\nos.environ[{name!r}]"
    assert run(source, "one").fetch() == "mine"
    assert run(source, "two", env={name: "given"}).fetch() == "given"


def test_path_of_the_environment_is_not_needed_to_tell_the_end(root: Path) -> None:
    job = run("1", env={"PATH": "/nowhere"}, notify="echo $PATH >noted")
    assert job.status() is JobStatus.DONE
    told = said(job)
    assert isinstance(told["time"], int)
    assert told["time"] > 1e9
    wait_for(root / "noted")
    wait_until(lambda: (root / "noted").read_text() == "/nowhere\n")


@pytest.mark.parametrize("name", ["PERSIST_JOB_ID", "PERSIST_JOB_NAME", "persist_attempt"])
def test_what_job_sh_needs_itself_cannot_be_set(root: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"--env {name}: job.sh needs it itself"):
        start("1", env={name: "x"})


@pytest.mark.skipif(sys.platform != "linux", reason="this file system takes only Unicode names")
def test_names_that_are_no_unicode_stay_what_they_are(root: Path) -> None:
    place = os.fsencode(root) + b"/caf\xe9"
    os.mkdir(place)
    os.chdir(place)
    job = run("import os\nos.getcwdb(), os.environb[b'WORD']", env={"WORD": "caf\udce9"})
    assert job.fetch() == (place, b"caf\xe9")


# ---- setup


def test_setup_prepares_the_environment_and_the_place(root: Path) -> None:
    (root / "deeper").mkdir()
    job = run(
        "import os\nos.environ['A'], os.environ['B'], os.path.basename(os.getcwd())",
        setup=["export A=$(echo one)", "B=two", "export B", "cd deeper"],
        env={"B": "three"},
    )
    assert job.fetch() == ("one", "three", "deeper")


def test_setup_may_span_lines(root: Path) -> None:
    job = run("import os\nos.environ['A']", setup=["if true", "then export A='it''s", "so'", "fi"])
    assert job.fetch() == "its\nso"


@pytest.mark.parametrize(
    ("setup", "reason", "shows"),
    [
        (["echo before", "false", "echo after"], "a --setup command failed with status 1", ""),
        (["no-such-command"], "a --setup command failed with status 127", "no-such-command"),
        (["exit 7"], "a --setup command failed with status 7", ""),
        (["exit 0"], "a --setup command ended the job, with status 0", ""),
        (["echo 'open"], "a --setup command failed with status 2", "yntax error"),
        (['echo "open'], "a --setup command failed with status 2", "yntax error"),
        (["if true; then"], "a --setup command failed with status 2", "yntax error"),
        (["echo )"], "a --setup command failed with status 2", "yntax error"),
        (["set -u", "echo $no_such"], "a --setup command failed with status 2", "no_such"),
    ],
)
def test_setup_that_fails_is_told(root: Path, setup: list[str], reason: str, shows: str) -> None:
    job = run("open('ran', 'w')", setup=setup)
    assert (job.info().status, job.info().reason) == (JobStatus.FAILED, reason)
    assert shows in job.stderr()
    assert job.stdout() in ("", "before\n")
    assert not (root / "ran").exists()


def test_shell_options_of_setup_do_not_hide_the_end(root: Path) -> None:
    job = run("1 + 1", setup=["set -euf", "unset no_such", "IFS=0"], notify="touch noted")
    assert job.fetch() == 2
    assert said(job)["code"] == 0
    wait_for(root / "noted")


def test_working_directory_that_has_vanished_is_told(root: Path) -> None:
    place = root / "soon gone"
    place.mkdir()
    plan = plan_of("1", cwd=str(place))
    submit_it = plan.manager.submit

    def late(job: Path, request: Request) -> dict[str, object]:
        place.rmdir()
        return submit_it(job, request)

    plan.manager.submit = late  # type: ignore[method-assign]  # gone after all was checked
    store = current_store()
    job = Job(store, submit(store, plan))
    assert job.wait(30) is JobStatus.FAILED
    assert job.info().reason == f"its working directory {place} cannot be entered"


def test_interpreter_that_cannot_run_the_job_is_told(root: Path) -> None:
    python = root / "python"
    python.write_text("#!/bin/sh\necho no thanks >&2\nexit 4\n", encoding="utf-8")
    python.chmod(0o700)
    job = run("1", python=str(python))
    assert job.info().reason == f"{python} could not run the job (exit status 4)"
    assert job.stderr() == "no thanks\n"


# ---- notify

ENDS = {
    "done": ("1", 0),
    "failed": ("1 / 0", 1),
    "killed": ("import os\nos.kill(os.getpid(), 9)", 137),
}


@pytest.mark.parametrize("end", ENDS)
def test_notify_runs_whatever_the_end(root: Path, end: str) -> None:
    source, status = ENDS[end]
    command = 'echo "$PERSIST_JOB_NAME $PERSIST_EXIT_STATUS" >part; mv part noted; echo told >&2'
    job = run(source, "nightly", notify=command)
    wait_for(root / "noted")
    assert (root / "noted").read_text() == f"nightly {status}\n"
    wait_until(lambda: job.stderr().endswith("told\n"))


def test_notify_runs_when_setup_fails_and_when_the_job_is_cancelled(root: Path) -> None:
    run("1", "one", setup=["false"], notify="echo $PERSIST_EXIT_STATUS >first")
    wait_until(lambda: (root / "first").exists() and (root / "first").read_text() == "1\n")
    job = start("import time\ntime.sleep(300)", "two", notify="sleep 0.2; touch second")
    runner_of(job)
    job.cancel()
    assert (root / "second").exists()


# ---- by hand


def written(root: Path, source: str, **options: object) -> Path:
    """The job directory of *source*, complete but not run."""
    plan = plan_of(source, **options)  # type: ignore[arg-type]  # those of plan_of
    plan.manager.submit = lambda job, request: {}  # type: ignore[method-assign]  # runs nothing
    return submit(current_store(), plan)


@pytest.mark.parametrize("shell", SHELLS)
def test_job_sh_can_be_run_by_hand(root: Path, shell: list[str]) -> None:
    place = root / "it's here"
    place.mkdir()
    directory = written(
        root,
        "import os\nos.environ['A'], os.getcwd()",
        time=300.0,
        setup=["export A=1"],
        env={"A": "2"},
        cwd=str(place),
        notify="touch noted",
    )
    subprocess.run([*shell_of(shell), directory / "job.sh"], check=True, cwd="/")
    assert Job(current_store(), directory).fetch() == ("2", str(place))
    assert (place / "noted").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_failing_setup_is_told_by_every_shell(root: Path, shell: list[str]) -> None:
    directory = written(root, "1", setup=["echo 'open"])
    result = subprocess.run([*shell_of(shell), directory / "job.sh"])
    assert result.returncode > 0
    info = Job(current_store(), directory).info()
    assert info.reason.startswith("a --setup command failed with status")


def test_job_that_has_run_is_not_run_again_by_hand(root: Path) -> None:
    job = run("open('count', 'a').write('x')")
    before = job.info(), said(job)
    result = subprocess.run(
        ["sh", job.directory / "job.sh"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert result.returncode == 1
    assert "has run already" in result.stderr
    assert (root / "count").read_text() == "x"
    assert (job.info(), said(job)) == before


def test_script_is_private_and_leaves_the_users_umask_to_the_cell(root: Path) -> None:
    before = os.umask(0o027)
    try:
        job = run("import os\nopen('made', 'w').close()\nmask = os.umask(0)\nmask")
    finally:
        os.umask(before)
    assert job.fetch() == 0o027
    assert (root / "made").stat().st_mode & 0o777 == 0o640
    for path in job.directory.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_script_has_no_needless_parts() -> None:
    script = job_script(
        id="i", name="n", job=Path("/jobs/i"), python="/bin/python", cwd="/work dir"
    )
    assert "sleep" not in script
    assert "PERSIST_EXIT_STATUS" not in script
    assert "eval" not in script
    assert "cd -- '/work dir'" in script
