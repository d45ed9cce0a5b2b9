"""`%%persist` in a real kernel: its options, what it reports, and that its job outlives all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels import Kernel, Shown, kernel
from persist_magic import Job, JobStatus, read_job
from waiting import wait_until

UNTIL_GO = "import os, time\nwhile not os.path.exists('go-{0}'): time.sleep(0.01)\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the notebook."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def notebook(project: Path) -> Iterator[Kernel]:
    """A kernel there, with the extension loaded."""
    with kernel(project) as started:
        yield started


def job_of(project: Path, name: str) -> Job:
    """The job called *name*, seen from outside the kernel."""
    return read_job(name, root=project / ".persist")


def run(notebook: Kernel, cell: str) -> Shown:
    """*cell*, run without an error."""
    shown = notebook.run(cell)
    assert not shown.error, shown.traceback
    return shown


# ---- a job outlives its kernel


def test_job_outlives_the_kernel_and_is_fetched_by_all(tmp_path: Path) -> None:
    first = Kernel(tmp_path).load()
    try:
        run(
            first,
            f"%%persist long\n{UNTIL_GO.format('long')}print('text')\nx = {{'a': [1, 2]}}\n"
            "sum(x['a'])",
        )
        wait_until(lambda: job_of(tmp_path, "long").status() is JobStatus.RUNNING)
    finally:
        first.kill_group()
    with kernel(tmp_path) as second:
        assert "RUNNING" in run(second, "%persist_list").value
        (tmp_path / "go-long").touch()
        fetched = run(second, "%persist_fetch long")
        assert fetched.stdout == "text\n"
        assert fetched.value == "3"
        assert second.get("x, _") == "({'a': [1, 2]}, 3)"
        assert "DONE" in run(second, "%persist_list").value
    program = [sys.executable, "-m", "persist_magic", "fetch", "long"]
    said = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("text\n3\n")
    code = "import persist_magic as p; j = p.read_job('long'); print(j.fetch(), j.variables('x'))"
    plain = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert plain.stdout == "3 {'x': {'a': [1, 2]}}\n"


def test_inputs_are_what_they_were_when_the_prompt_came_back(notebook: Kernel) -> None:
    run(notebook, "data = [1]\ndef scale(v):\n    return v * factor\nfactor = 2")
    run(notebook, "%%persist snapshot\nscale(data[0]), len(data)")
    run(notebook, "data.append(5); factor = 100")
    assert run(notebook, "%persist_fetch snapshot").value == "(2, 1)"


def test_report_names_what_was_sent_and_how_to_fetch(notebook: Kernel) -> None:
    run(notebook, "sent = list(range(10))")
    text = run(notebook, "%%persist reported\nlen(sent)").displays[0]["text/plain"]
    line = r"job 'reported' started: 1 variable \(\d+ B\) sent; %persist_fetch reported"
    assert re.fullmatch(line, text.splitlines()[0])
    assert run(notebook, "%%persist silent -q\nlen(sent)").outputs == []


# ---- which variables


def test_in_sends_exactly_what_it_names(notebook: Kernel) -> None:
    run(notebook, "a, b, c, d = 1, 2, 3, 4")
    cell = "sorted(n for n in globals() if n in 'abcd')"
    shown = run(notebook, f"%%persist exactly --wait -i a,b -i c\n{cell}")
    assert shown.value == "['a', 'b', 'c']"
    assert run(notebook, f"%%persist nothing --wait --in none\n{cell}").value == "[]"


def test_in_warns_of_names_that_the_cell_reads_and_that_are_not_sent(notebook: Kernel) -> None:
    run(notebook, "left, given = 1, 2")
    text = run(notebook, "%%persist warned --in given\ngiven, 'left' in globals() and left").text
    assert "the cell reads 'left', which --in does not name: it is not sent" in text
    assert run(notebook, "%persist_fetch warned").value == "(2, False)"


def test_also_and_skip_change_what_was_inferred(notebook: Kernel) -> None:
    run(notebook, "hidden, read = 5, 6")
    line = "%%persist inferred --wait --also hidden --skip read"
    shown = run(notebook, f"{line}\neval('hidden'), 'read' in globals() and read")
    assert shown.value == "(5, False)"


def test_out_brings_exactly_what_it_names(notebook: Kernel) -> None:
    run(notebook, "%%persist named --wait --out kept_a,kept_b\nkept_a = kept_b = left_out = 1\n2")
    assert notebook.get("kept_a, kept_b, 'left_out' in globals()") == "(1, 1, False)"
    shown = run(notebook, "%%persist value_only --wait -o none\nonly_there = 1\n'value'")
    assert shown.value == "'value'"
    assert notebook.get("'only_there' in globals()") == "False"


def test_name_of_out_that_was_not_bound_is_told(notebook: Kernel) -> None:
    text = run(notebook, "%%persist unbound --wait --out never\n1").text
    assert "'never' of --out was not bound" in text


# ---- the name


def test_replace_runs_anew_in_the_place_of_the_old_job(notebook: Kernel, project: Path) -> None:
    run(notebook, "%%persist again --wait\n1")
    old = job_of(project, "again").id
    assert run(notebook, "%%persist again --replace --wait\n2").value == "2"
    assert job_of(project, "again").id != old


def test_running_job_is_replaced_only_with_force(notebook: Kernel, project: Path) -> None:
    run(notebook, f"%%persist busy\n{UNTIL_GO.format('never')}")
    old = job_of(project, "busy")
    refused = notebook.run("%%persist busy --replace\n1")
    assert refused.error == "StillRunning"
    assert "--force" in refused.message
    assert job_of(project, "busy") == old
    assert run(notebook, "%%persist busy --replace --force --wait\n1").value == "1"


# ---- waiting


def test_wait_fetches_at_once(notebook: Kernel) -> None:
    shown = run(notebook, "%%persist waited --wait\nprint('out')\nw = 7\nw + 1")
    assert shown.stdout == "out\n"
    assert shown.value == "8"
    assert notebook.get("w") == "7"


def test_interrupt_during_wait_stops_the_waiting_not_the_job(
    notebook: Kernel, project: Path
) -> None:
    cell = f"%%persist patient --wait\n{UNTIL_GO.format('patient')}p = 1\np"
    id = notebook.client.execute(cell)
    text = ""
    while "waiting for job 'patient': RUNNING" not in text:
        content = notebook.client.get_iopub_msg(timeout=30)["content"]
        text = str(content.get("data", ""))
    notebook.interrupt()
    stopped = notebook.collect(id)
    assert stopped.error == "NotReady"
    assert stopped.message == (
        "stopped waiting for 'patient'; it goes on\n"
        "%persist_fetch patient waits again; %persist_cancel patient ends it"
    )
    assert job_of(project, "patient").status() is JobStatus.RUNNING
    (project / "go-patient").touch()
    assert run(notebook, "%persist_fetch patient").value == "1"


# ---- --dry-run


def test_dry_run_shows_everything_and_makes_nothing(tmp_path: Path) -> None:
    with kernel(tmp_path) as fresh:
        run(fresh, "big = list(range(1000))\ndef total(v):\n    return sum(v)")
        text = run(fresh, "%%persist --dry-run plan --time 2:00:00\ntotal(big)").value
        assert "job 'plan' would run: local --time 2:00:00" in text
        rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
        assert "list of 1000" in rows["big"]
        assert "read by the cell" in rows["big"]
        assert "function" in rows["total"]
        assert "#!/bin/sh" in text
        assert not (tmp_path / ".persist").exists()
        assert "no jobs" in run(fresh, "%persist_list").value
        assert not (tmp_path / ".persist").exists()


def test_dry_run_tells_what_cannot_be_sent(notebook: Kernel) -> None:
    run(notebook, "import threading\nlock = threading.Lock()")
    text = run(notebook, "%%persist plan --dry-run\nlock").value
    assert "'lock' cannot be sent" in text


# ---- surroundings


def test_chdir_env_and_setup_make_the_surroundings(notebook: Kernel, project: Path) -> None:
    (project / "sub").mkdir()
    shown = run(
        notebook,
        "%%persist placed --wait --chdir sub --env A={x} --env 'B=$HOME a b' "
        "--setup 'export C=$A.c' --setup 'export D=d'\n"
        "import os\nos.getcwd(), [os.environ.get(n) for n in 'ABCD']",
    )
    # Shown on as many lines as it takes.
    assert eval(shown.value) == (str(project / "sub"), ["{x}", "$HOME a b", ".c", "d"])


def test_no_variable_is_expanded_on_the_line(notebook: Kernel) -> None:
    run(notebook, "x, NAME = 'expanded', 'expanded'")
    shown = run(
        notebook,
        "%%persist literal --wait --env A={x} --env B=$NAME --env C={x!r}$x\n"
        "import os\n[os.environ[n] for n in 'ABC']",
    )
    assert shown.value == "['{x}', '$NAME', '{x!r}$x']"


def test_comment_odd_spacing_and_quotes_on_the_line(notebook: Kernel) -> None:
    shown = run(
        notebook,
        "%%persist   odd\t --wait   --env  'A=a #b'  --env B=c#d  # a comment, with a quote: '\n"
        "import os\n[os.environ[n] for n in 'AB']",
    )
    assert shown.value == "['a #b', 'c#d']"


def test_job_runs_in_another_interpreter(notebook: Kernel, tmp_path: Path) -> None:
    python = tmp_path / "python-of-mine"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    shown = run(
        notebook, f"%%persist elsewhere --wait --python {python}\nimport sys\nsys.version_info[:2]"
    )
    assert shown.value == str(sys.version_info[:2])
    status = run(notebook, "%persist_status elsewhere").value
    assert f"interpreter{python}runsin" in "".join(status.split()).replace("ranin", "runsin")


def test_notify_runs_at_the_end(notebook: Kernel, project: Path) -> None:
    run(notebook, "%%persist told --notify 'echo $PERSIST_JOB_NAME > told; mv told told-it'\n1/0")
    wait_until((project / "told-it").exists)
    assert (project / "told-it").read_text() == "told\n"


def test_time_limit_ends_the_job_and_keeps_what_it_had(notebook: Kernel, project: Path) -> None:
    run(notebook, f"%%persist limited --time 0:00:01\nhad = 1\n{UNTIL_GO.format('never')}")
    job = job_of(project, "limited")
    assert job.wait(60) is JobStatus.FAILED
    assert job.info().reason.startswith("timed out after 1.0 s")
    run(notebook, "%persist_fetch limited --partial")
    assert notebook.get("had") == "1"


@pytest.mark.parametrize("spelling", ["--cpus-per-task", "--cpus_per_task"])
def test_resources_may_be_spelled_with_hyphens_or_underscores(
    notebook: Kernel, spelling: str
) -> None:
    refused = notebook.run(f"%%persist spelled {spelling} 4\n1")
    assert refused.message.startswith("--cpus-per-task 4 cannot be honoured on this machine")


# ---- the cell


def test_cell_reads_the_users_name_that_hides_a_builtin(notebook: Kernel) -> None:
    run(notebook, "def open(path):\n    return 'mine'")
    assert run(notebook, "%%persist hidden_builtin --wait\nopen('x')").value == "'mine'"
    run(notebook, "del open")


def test_magics_and_shell_lines_work_in_the_cell(notebook: Kernel) -> None:
    run(notebook, "word = 'there'")
    shown = run(notebook, "%%persist magic --wait\n!echo hello {word}\n%env PERSIST_TEST_X=1\n")
    assert shown.stdout.startswith("hello there\n")


def test_jobs_are_found_after_cd(notebook: Kernel, tmp_path: Path) -> None:
    run(notebook, "%%persist before_cd\n1")
    run(notebook, f"%cd -q {tmp_path}")
    assert run(notebook, "%persist_fetch before_cd").value == "1"
    assert run(notebook, "%%persist after_cd --wait\nimport os\nos.getcwd()").value == repr(
        os.fspath(tmp_path)
    )
    run(notebook, "%cd -q -")


# ---- the other line magics


def test_rerun_takes_the_same_inputs_and_other_surroundings(notebook: Kernel) -> None:
    run(notebook, "given = [1]")
    cell = "import os\n(given, os.environ.get('KEPT'), os.environ.get('NEW'))"
    run(notebook, f"%%persist first_run --wait --env KEPT=k\n{cell}")
    run(notebook, "given = [2]")
    plan = run(notebook, "%persist_rerun first_run --env NEW=n --dry-run").value
    assert "job 'first_run' would run again: local" in plan
    assert run(notebook, "%persist_rerun first_run --env NEW=n --wait").value == "([1], 'k', 'n')"


def test_log_is_shown_and_followed_to_its_end(notebook: Kernel, project: Path) -> None:
    cell = "import sys\nfor i in range(5): print(i)\nsys.stderr.write('oops')\n"
    run(notebook, f"%%persist logged\n{cell}{UNTIL_GO.format('log')}print('end')")
    job = job_of(project, "logged")
    wait_until(lambda: "oops" in job.stderr())
    assert run(notebook, "%persist_log logged -n 2").stdout == "3\n4\n"
    assert run(notebook, "%persist_log logged --stderr").stdout == "oops\n"
    id = notebook.client.execute("%persist_log logged -f")
    text = ""
    while "4\n" not in text:
        content = notebook.client.get_iopub_msg(timeout=30)["content"]
        text += str(content.get("text", ""))
    (project / "go-log").touch()
    assert text + notebook.collect(id).stdout == "0\n1\n2\n3\n4\nend\n"


def test_interrupt_ends_a_watch_without_an_error(notebook: Kernel) -> None:
    run(notebook, "%%persist watched --wait\n1")
    run(notebook, "%config PersistMagics.refresh = 0.05")
    id = notebook.client.execute("%persist_list watch* --watch")
    kind = ""
    while kind != "update_display_data":
        message = notebook.client.get_iopub_msg(timeout=30)
        kind = message["msg_type"]
    assert "watched" in message["content"]["data"]["text/plain"]
    notebook.interrupt()
    assert not notebook.collect(id).error


def test_cancel_keeps_what_was_computed(notebook: Kernel, project: Path) -> None:
    run(notebook, f"%%persist ended\ncomputed = 1\nprint('so far')\n{UNTIL_GO.format('never')}")
    wait_until(job_of(project, "ended").stdout)
    text = run(notebook, "%persist_cancel ended").value
    assert "CANCELLED" in text
    assert "3 variables kept" in text
    assert "nothing to cancel" in run(notebook, "%persist_cancel ended").value


def test_cleanup_takes_patterns_and_ages(notebook: Kernel, project: Path) -> None:
    for name in ("try1", "try2", "tried"):
        run(notebook, f"%%persist {name} --wait -q\n1")
    assert "would delete 'tried'" in run(notebook, "%persist_cleanup try* tried --dry-run").value
    assert "nothing to clean up" in run(notebook, "%persist_cleanup try[12] --older-than 1d").value
    text = run(notebook, "%persist_cleanup try[12]").value
    assert sorted(line.split()[1] for line in text.splitlines()) == ["'try1'", "'try2'"]
    assert job_of(project, "tried").status() is JobStatus.DONE
