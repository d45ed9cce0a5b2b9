"""`%persist_fetch` in a real kernel: what it binds, shows and raises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels import Kernel, Shown, kernel
from persist_magic import Job, JobStatus, read_job
from waiting import wait_until

UNTIL = "import os, time\nwhile not os.path.exists('{0}'): time.sleep(0.01)\n"


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


def submit(notebook: Kernel, project: Path, name: str, cell: str, options: str = "-q") -> Job:
    """The job *name* of *cell*, ended."""
    run(notebook, f"%%persist {name} {options}\n{cell}")
    job = job_of(project, name)
    job.wait(60)
    return job


def words(shown: Shown) -> str:
    """All that was shown, on one line."""
    return " ".join(shown.text.split())


# ---- what is bound and returned


def test_value_becomes_the_result_and_can_be_assigned(notebook: Kernel, project: Path) -> None:
    submit(notebook, project, "valued", "{'answer': 42}")
    shown = run(notebook, "%persist_fetch valued")
    assert shown.value == "{'answer': 42}"
    assert notebook.get("_") == "{'answer': 42}"
    assert run(notebook, "got = %persist_fetch valued -q").outputs == []
    assert notebook.get("got") == "{'answer': 42}"


def test_semicolon_keeps_the_value_from_being_shown(notebook: Kernel, project: Path) -> None:
    submit(notebook, project, "silenced", "s = 5\ns")
    assert run(notebook, "%persist_fetch silenced;").result is None
    assert notebook.get("s") == "5"


def test_only_the_named_variables_are_bound(notebook: Kernel, project: Path) -> None:
    submit(notebook, project, "several", "one, two, three = 1, 2, 3\n'v'")
    assert run(notebook, "%persist_fetch several one --no-wait two").value == "'v'"
    assert notebook.get("one, two, 'three' in globals()") == "(1, 2, False)"


def test_missing_variable_is_named_with_what_there_is(notebook: Kernel, project: Path) -> None:
    submit(notebook, project, "missing", "aa = bb = 1")
    shown = notebook.run("%persist_fetch missing aa cc")
    assert shown.error == "UsageError"
    assert shown.message == "job 'missing' has no variable 'cc'\nit brings back aa, bb"
    assert shown.outputs == []
    assert notebook.get("'aa' in globals()") == "False"


def test_prefix_is_put_before_every_name(notebook: Kernel, project: Path) -> None:
    submit(notebook, project, "prefixed", "px = [1]")
    run(notebook, "px = 'mine'")
    text = words(run(notebook, "%persist_fetch prefixed --prefix old_"))
    assert "old_px list of 1" in text
    assert "replaced" not in text
    assert notebook.get("px, old_px") == "('mine', [1])"


def test_report_tells_what_was_bound_how_large_and_how(notebook: Kernel, project: Path) -> None:
    run(notebook, "changed_here = [1]")
    cell = "new = list(range(100))\nchanged_here.append(2)\nlen(new)"
    submit(notebook, project, "told", cell)
    text = run(notebook, "%persist_fetch told").displays[-1]["text/plain"]
    rows = {line.split()[0]: line.split() for line in text.splitlines()}
    assert rows["variable"] == ["variable", "what", "size", "how"]
    assert rows["new"][1:4] == ["list", "of", "100"]
    assert rows["new"][-1] == "bound"
    assert rows["changed_here"][-1] == "changed"
    assert rows["(value)"][-1] == "value"


def test_quiet_binds_and_shows_nothing(notebook: Kernel, project: Path) -> None:
    submit(notebook, project, "hushed", "print('text')\nhush = 1\nhush")
    shown = run(notebook, "%persist_fetch hushed -q")
    assert [kind for kind, _ in shown.outputs] == ["execute_result"]
    assert notebook.get("hush") == "1"


def test_replaced_names_and_those_that_still_hold_the_old_object_are_told(
    notebook: Kernel, project: Path
) -> None:
    run(
        notebook,
        "class Box:\n    pass\nd = {'x': 1}\nalias = d\nholder = [d]\nbox = Box()\nbox.inner = d\n"
        "n = 1\nm = n",
    )
    submit(notebook, project, "replacing", "d['y'] = 2\nn = 2")
    text = run(notebook, "%persist_fetch replacing").displays[-1]["text/plain"]
    replaced, still = text.splitlines()[-2:]
    assert sorted(replaced.removeprefix("replaced here: ").split(", ")) == ["d", "n"]
    assert still == "still the old 'd': alias, holder, box"
    assert notebook.get("d, alias") == "({'x': 1, 'y': 2}, {'x': 1})"


def test_names_that_the_job_deleted_stay_and_are_told(notebook: Kernel, project: Path) -> None:
    run(notebook, "kept_here = 3")
    submit(notebook, project, "deleting", "del kept_here")
    text = words(run(notebook, "%persist_fetch deleting"))
    assert "'kept_here' was deleted in the job; it stays in the notebook" in text
    assert notebook.get("kept_here") == "3"


def test_globals_of_a_function_come_only_where_they_are_missing(
    notebook: Kernel, project: Path
) -> None:
    run(notebook, "here, gone = 'then', 'from the job'")
    submit(notebook, project, "function", "def use():\n    return here, gone")
    run(notebook, "here = 'now'\ndel gone")
    text = words(run(notebook, "%persist_fetch function --prefix p_"))
    assert "already here, so not bound: here" in text
    assert notebook.get("p_use()") == "('now', 'from the job')"


def test_variable_that_could_not_be_saved_costs_no_other(notebook: Kernel, project: Path) -> None:
    submit(notebook, project, "unsaved", "import threading\nlock = threading.Lock()\nfine = 1")
    text = words(run(notebook, "%persist_fetch unsaved"))
    assert "'lock' could not be saved by the job" in text
    assert notebook.get("fine") == "1"
    shown = notebook.run("%persist_fetch unsaved lock")
    assert shown.error == "CannotLoad"


def test_objects_that_variables_share_are_shared_again(notebook: Kernel, project: Path) -> None:
    run(notebook, "model = {'w': [0]}\noptimizer = {'of': model}")
    submit(notebook, project, "sharing", "model['w'][0] = 1\noptimizer['of'] is model")
    assert run(notebook, "%persist_fetch sharing").value == "True"
    assert notebook.get("optimizer['of'] is model, model") == "(True, {'w': [1]})"


def test_class_of_the_notebook_stays_the_notebooks(notebook: Kernel, project: Path) -> None:
    run(notebook, "class A:\n    def __init__(self): self.v = 1\na = A()")
    submit(notebook, project, "classes", "a.v = 2\nmade = A()")
    run(notebook, "A.patched = True")
    run(notebook, "%persist_fetch classes")
    assert notebook.get("isinstance(a, A), isinstance(made, A), a.v, A.patched") == (
        "(True, True, 2, True)"
    )


# ---- what is shown


def test_output_is_replayed_in_the_order_in_which_it_came(notebook: Kernel, project: Path) -> None:
    cell = (
        "import sys\nfrom IPython.display import HTML\n"
        "print('first')\ndisplay(HTML('<b>rich</b>'))\n"
        "print('second')\nsys.stderr.write('third\\n')\ndisplay({'a': 1})\nprint('last')\n7"
    )
    submit(notebook, project, "ordered", cell)
    shown = run(notebook, "%persist_fetch ordered")
    seen = [
        (kind, what if isinstance(what, str) else what.get("text/html", what["text/plain"]))
        for kind, what in shown.outputs
        if not (kind == "display_data" and "variable" in what["text/plain"])
    ]
    assert seen == [
        ("stdout", "first\n"),
        ("display_data", "<b>rich</b>"),
        ("stdout", "second\n"),
        ("stderr", "third\n"),
        ("display_data", "{'a': 1}"),
        ("stdout", "last\n"),
        ("execute_result", "7"),
    ]


def test_figure_comes_between_its_texts(notebook: Kernel, project: Path) -> None:
    pytest.importorskip("matplotlib")
    cell = "print('before')\nplt.plot([1, 2])\nplt.show()\nprint('after')"
    submit(notebook, project, "drawn", f"import matplotlib.pyplot as plt\n{cell}")
    shown = run(notebook, "%persist_fetch drawn")
    kinds = [kind for kind, _ in shown.outputs[:3]]
    assert kinds == ["stdout", "display_data", "stdout"]
    assert "image/png" in shown.displays[0]


def test_value_that_cannot_come_back_is_shown_as_it_looked(notebook: Kernel, project: Path) -> None:
    submit(notebook, project, "looked", "import threading\nthreading.Lock()")
    shown = run(notebook, "%persist_fetch looked")
    assert shown.result is None
    assert "lock object at" in shown.displays[0]["text/plain"]


# ---- jobs that are not done


def test_job_that_is_not_ready_is_waited_for_no_longer_than_asked(
    notebook: Kernel, project: Path
) -> None:
    run(notebook, f"%%persist slow\nslow = 1\n{UNTIL.format('slow-go')}slow = 2")
    wait_until(lambda: job_of(project, "slow").status() is JobStatus.RUNNING)
    shown = notebook.run("%persist_fetch slow --timeout 0.2")
    assert shown.error == "NotReady"
    what, way_out = shown.message.splitlines()
    assert what.startswith("job 'slow' is not ready after 0.2 s: RUNNING")
    assert way_out == "it goes on; %persist_fetch slow waits for it"
    shown = notebook.run("%persist_fetch slow --no-wait")
    assert shown.error == "NotReady"
    assert shown.message.startswith("job 'slow' is not ready: RUNNING")
    (project / "slow-go").touch()
    run(notebook, "%persist_fetch slow")
    assert notebook.get("slow") == "2"


def test_what_was_saved_is_fetched_while_the_job_runs(notebook: Kernel, project: Path) -> None:
    cell = "from persist_magic import save\nsave(best=[1], epoch=3)\nprint('saved')\n"
    run(notebook, f"%%persist saving\n{cell}{UNTIL.format('x')}")
    wait_until(job_of(project, "saving").stdout)
    text = words(run(notebook, "%persist_fetch saving --partial best"))
    assert "job 'saving': RUNNING" in text
    assert notebook.get("best, 'epoch' in globals()") == "([1], False)"
    run(notebook, "%persist_cancel saving --force")
    run(notebook, "%persist_fetch saving --partial")
    assert notebook.get("epoch") == "3"


def test_failed_job_raises_its_own_exception_with_its_own_traceback(
    notebook: Kernel, project: Path
) -> None:
    run(notebook, "class MyError(Exception):\n    pass")
    cell = (
        "print('so far')\ndef inner():\n    error = MyError('why', 7)\n    error.code = 42\n"
        "    raise error\nbound = 1\ninner()"
    )
    submit(notebook, project, "failing", cell)
    shown = notebook.run("%persist_fetch failing")
    assert (shown.error, shown.message) == ("MyError", "('why', 7)")
    assert shown.stdout == "so far\n"
    lines = shown.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert '  File "<persist failing>", line 7, in <module>' in lines
    assert "    raise error" in lines
    assert not any("persist_magic" in line for line in lines[:-1])
    assert lines[-1] == "(2 variables kept: %persist_fetch failing --partial)"
    run(
        notebook,
        "try:\n    get_ipython().run_line_magic('persist_fetch', 'failing -q')\n"
        "except MyError as error:\n    caught = error",
    )
    assert notebook.get("type(caught) is MyError, caught.args, caught.code") == (
        "(True, ('why', 7), 42)"
    )


def test_partial_fetch_of_a_failed_job_says_that_it_failed(notebook: Kernel, project: Path) -> None:
    submit(notebook, project, "half", "half = 'there'\n1 / 0")
    text = words(run(notebook, "%persist_fetch half --partial"))
    assert "job 'half': FAILED (ZeroDivisionError: division by zero)" in text
    assert notebook.get("half") == "'there'"


def test_exit_in_a_cell_does_not_end_the_kernel_that_fetches(
    notebook: Kernel, project: Path
) -> None:
    submit(notebook, project, "exiting", "raise SystemExit(3)")
    shown = notebook.run("%persist_fetch exiting")
    assert shown.error == "JobFailed"
    assert "SystemExit: 3" in shown.traceback


def test_cancelled_job_says_so_and_what_is_kept(notebook: Kernel, project: Path) -> None:
    run(notebook, f"%%persist stopped\nprint('at work')\n{UNTIL.format('x')}")
    wait_until(job_of(project, "stopped").stdout)
    run(notebook, "%persist_cancel stopped")
    shown = notebook.run("%persist_fetch stopped")
    assert shown.error == "JobCancelled"
    assert shown.message.startswith("job 'stopped' was cancelled by ")
    assert shown.message.endswith("2 variables kept: %persist_fetch stopped --partial")
    assert shown.stdout == "at work\n"


def test_lost_job_says_so_and_how_to_run_it_again(notebook: Kernel, project: Path) -> None:
    cell = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(os.getpid(), 9)"
    submit(notebook, project, "vanished", cell)
    shown = notebook.run("%persist_fetch vanished")
    assert shown.error == "JobLost"
    assert shown.message.startswith("job 'vanished' is lost: its processes are gone")
    assert shown.message.endswith("%persist_rerun vanished runs it again")


# ---- interrupts


def test_interrupt_half_way_leaves_the_notebook_as_it_was(notebook: Kernel, project: Path) -> None:
    (project / "slowload.py").write_text(
        "import os, time\n\ndef load(mark):\n"
        "    if os.path.exists('loading-may-end'):\n        return mark\n"
        "    open('loading', 'w').close()\n    time.sleep(100)\n\n"
        "class Slow:\n    def __reduce__(self):\n        return load, ('slow',)\n"
    )
    run(notebook, "first = second = 'as it was'")
    submit(notebook, project, "loaded", "from slowload import Slow\nfirst = [1]\nsecond = Slow()")
    id = notebook.client.execute("%persist_fetch loaded -q")
    wait_until((project / "loading").exists)
    notebook.interrupt()
    assert notebook.collect(id).error == "KeyboardInterrupt"
    assert notebook.get("first, second") == "('as it was', 'as it was')"
    (project / "loading-may-end").touch()
    run(notebook, "%persist_fetch loaded -q")
    assert notebook.get("first, second") == "([1], 'slow')"
