"""The runner: a cell runs as it would have in a notebook, and whatever it does, its end is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobcells import attempt_of, importing, run, start, wait_for
from persist_magic import JobStatus, persist
from persist_magic.jobs import Job
from persist_magic.runner.cell import is_quiet
from persist_magic.runner.imports import module_path
from waiting import wait_until


def ended(job: Job) -> None:
    """Wait until the interpreter of *job* has ended."""
    wait_until(lambda: attempt_of(job).exited is not None)


# ---- what the cell may do to its process

ABUSES: dict[str, str] = {
    "closes all it did not open": "import os\nos.closerange(0, 256)",
    "closes its streams": "import sys\nsys.stdout.close()\nsys.stderr.close()",
    "replaces its streams": "import sys, io\nsys.stdout = io.StringIO()\nsys.stderr = None",
    "goes elsewhere": "import os\nos.chdir('/')",
    "forbids all": "import os\nos.umask(0o777)",
    "empties its environment": "import os\nos.environ.clear()",
    "empties its path": "import sys\nsys.path.clear()",
    "forgets its modules": "import sys\nsys.modules.pop('persist_magic', None)",
    "sets a hook": "import sys\nsys.excepthook = sys.displayhook = None",
    "leaves a trace function": "import sys\nsys.settrace(lambda *given: None)",
    "is careless with names": "open = print = len = str = list = None",
    "takes the builtins": "import builtins\ndel builtins.print, builtins.input",
    "forks, and the child runs on": "import os\nchild = os.fork()",
    "has a thread that goes on": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(0.3,)).start()"
    ),
    "raises at its end": "import atexit\natexit.register(lambda: 1 / 0)",
}


@pytest.mark.parametrize("abuse", ABUSES)
def test_cell_may_do_anything_to_its_process(root: Path, abuse: str) -> None:
    job = run(f"{ABUSES[abuse]}\nkept = [1]\n6 * 7", out=["kept"])
    assert job.status() is JobStatus.DONE
    assert job.fetch() == 42
    assert job.variables("kept") == {"kept": [1]}
    outputs = attempt_of(job).directory / "outputs"
    assert outputs.stat().st_mode & 0o700 == 0o700
    ended(job)
    assert job.status() is JobStatus.DONE


def test_files_that_a_cell_opens_are_its_own(root: Path) -> None:
    """After all descriptors were closed, the next file must not become the journal."""
    job = run(
        "import os\nfrom IPython.display import display\ndisplay('first')\n"
        "os.closerange(3, 256)\n"
        "files = [open(f'{n}.txt', 'w') for n in range(20)]\n"
        "display('second')\n"
        "for file in files: file.close()\n1",
        out=[],
    )
    assert job.fetch() == 1
    assert [path for path in root.glob("*.txt") if path.stat().st_size] == []


def test_child_that_runs_on_flushes_its_files_and_tells_its_failure(root: Path) -> None:
    job = run(
        "import os\nchild = os.fork()\n"
        "file = open(f'of {\"parent\" if child else \"child\"}', 'w')\nfile.write('all')\n"
        "if child: os.waitpid(child, 0)\nelse: 1 / 0\n7",
        out=[],
    )
    assert job.fetch() == 7
    assert (root / "of child").read_text() == "all"
    assert "ZeroDivisionError" in job.stderr()
    assert 'File "<persist job>", line 6' in job.stderr()


def test_interpreter_ends_as_it_does_elsewhere(root: Path) -> None:
    job = run(
        "import atexit, threading, time\n"
        "def late():\n    time.sleep(0.3)\n    print('thread')\n"
        "threading.Thread(target=late).start()\n"
        "atexit.register(print, 'at exit')\n"
        "file = open('unflushed', 'w')\nfile.write('all')\n1",
        out=[],
    )
    assert job.fetch() == 1
    ended(job)
    assert job.stdout() == "thread\nat exit\n"
    assert (root / "unflushed").read_text() == "all"


def test_processes_of_a_pool_run_functions_of_the_cell(root: Path) -> None:
    job = run(
        "import multiprocessing as mp\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "fork = mp.get_context('fork')\n"
        "def square(x): return x * x\n"
        "with ProcessPoolExecutor(2, fork) as pool: first = list(pool.map(square, range(4)))\n"
        "with fork.Pool(2) as pool: second = pool.map(square, range(4))\n"
        "first + second",
        out=[],
    )
    assert job.fetch() == [0, 1, 4, 9, 0, 1, 4, 9]
    assert job.stderr() == ""


@pytest.mark.parametrize("ask", ["input('name? ')", "__import__('getpass').getpass()"])
def test_asking_for_input_fails_in_clear_words(root: Path, ask: str) -> None:
    job = run(ask)
    assert job.info().reason == (
        "EOFError: a background job cannot ask for input: pass the answer in a variable"
    )
    assert job.stderr() == ""


def test_function_cannot_ask_for_input_either(root: Path) -> None:
    with pytest.raises(EOFError, match="cannot ask for input"):
        persist(input, "asks").fetch(30)


# ---- as in a notebook


def test_main_is_that_of_a_notebook(root: Path) -> None:
    source = (
        "import sys\n"
        "main = sys.modules['__main__']\n"
        "(__name__, main.__dict__ is globals(), hasattr(main, '__file__'), sys.argv)"
    )
    assert run(source, out=[]).fetch() == ("__main__", True, False, [""])


AWAITING = {
    "await": ("import asyncio\nawait asyncio.sleep(0, 7)", 7),
    "async for": (
        "async def count():\n    for i in range(3): yield i\n"
        "found = []\nasync for i in count(): found.append(i)\nfound",
        [0, 1, 2],
    ),
    "comprehension": (
        "async def count():\n    for i in range(3): yield i\n[i async for i in count()]",
        [0, 1, 2],
    ),
    "a value after an await": ("import asyncio\nawait asyncio.sleep(0)\n6 * 7", 42),
    "a loop of its own": (
        "import asyncio\nasync def f(): return 7\nasyncio.run(f())",
        7,
    ),
}


@pytest.mark.parametrize("kind", AWAITING)
def test_cell_may_await(root: Path, kind: str) -> None:
    source, value = AWAITING[kind]
    assert run(source, out=[]).fetch() == value


def test_tasks_that_a_cell_leaves_are_run_to_their_end(root: Path) -> None:
    job = run(
        "import asyncio\nfound = []\n"
        "async def later():\n    await asyncio.sleep(0.1)\n    found.append('later')\n"
        "task = asyncio.create_task(later())\nawait asyncio.sleep(0)",
        out=["found"],
    )
    job.fetch()
    assert job.variables("found") == {"found": ["later"]}


@pytest.mark.parametrize(
    ("source", "quiet"),
    [
        ("x", False),
        ("x;", True),
        ("x; # comment", True),
        ("x # not this;", False),
        ("';'", False),
        ("x;\n\n# end\n", True),
        ("f(1,\n  2);", True),
        ("x; y", False),
    ],
)
def test_semicolon_at_the_end_hides_the_value(source: str, quiet: bool) -> None:
    assert is_quiet(source) is quiet


# ---- what is imported

HEAVY = ["IPython", "numpy", "psutil", "asyncio", "cloudpickle", "pandas", "rich", "subprocess"]


def loaded_in(job: Job) -> list[str]:
    """Which of HEAVY the cell found loaded."""
    found = job.fetch()
    assert isinstance(found, list)
    return found


def test_plain_cell_loads_nothing_heavy(root: Path) -> None:
    source = f"import sys\n[name for name in {HEAVY} if name in sys.modules]"
    assert loaded_in(run(source)) == []
    assert loaded_in(run(source, "sent", inputs={"x": 1, "name": {"a": [1.5, "b"]}})) == []


def test_importing_pandas_makes_no_shell(root: Path) -> None:
    pytest.importorskip("pandas")
    source = "import sys, pandas as pd\n'IPython' in sys.modules, pd.options.display.max_columns"
    assert run(source, out=[]).fetch() == (False, 20)


LEAN = """
import sys
from persist_magic import persist
from mine import loaded
print(persist(loaded, "lean").fetch(30))
"""


def test_function_of_a_module_loads_nothing_heavy(root: Path) -> None:
    (root / "mine.py").write_text(
        f"import sys\ndef loaded(): return [name for name in {HEAVY} if name in sys.modules]\n",
        encoding="utf-8",
    )
    result = subprocess.run(
        [sys.executable, "-c", LEAN],
        env=importing(root),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    assert result.stdout == "[]\n"


# ---- another interpreter


def test_path_of_the_same_installation_is_taken_over_whole() -> None:
    given = ["/work/first", *sys.path, "/work/last"]
    assert module_path(given, "/work") == given


def test_other_installation_keeps_its_own_packages() -> None:
    given = [
        "/work/mine",
        "/opt/py3.9/lib/python39.zip",
        "/opt/py3.9/lib/python3.9",
        "/opt/py3.9/lib/python3.9/lib-dynload",
        "/opt/py3.9/lib/python3.9/site-packages",
        "/usr/lib/python3/dist-packages",
    ]
    assert module_path(given, "/work") == ["/work", "/work/mine", *sys.path]


# ---- a disk that is full


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The working directory, on a file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(place)]
    if sys.platform != "linux" or os.getuid() != 0 or subprocess.run(mount).returncode != 0:
        pytest.skip("cannot mount a file system here")
    monkeypatch.chdir(place)
    yield place
    monkeypatch.undo()
    subprocess.run(["umount", "-l", str(place)], check=True)


FILL = "with open('filler', 'wb', 0) as file:\n    while True: file.write(bytes(4096))"


@pytest.mark.parametrize(
    ("last", "status", "reason"),
    [
        ("raise", JobStatus.FAILED, "OSError: [Errno 28] No space left on device"),
        ("pass", JobStatus.FAILED, "NotSaved: the "),
        ("import os; os._exit(3)", JobStatus.FAILED, "the interpreter ended before the cell did"),
        ("import os; os.kill(os.getpid(), 9)", JobStatus.FAILED, "killed by signal SIGKILL"),
    ],
)
def test_job_on_a_full_disk_tells_how_it_ended(
    small_disk: Path, last: str, status: JobStatus, reason: str
) -> None:
    fill = FILL.replace("\n", "\n    ")
    job = start(f"kept = 'x' * 50_000\ntry:\n    {fill}\nexcept OSError:\n    {last}")
    wait_until(lambda: job.status().ended)
    assert job.status() is status
    assert job.info().reason.startswith(reason)


def test_job_that_could_not_write_at_all_says_that_the_disk_is_full(small_disk: Path) -> None:
    python = small_disk / "python"
    python.write_text(
        f'#!/bin/sh\ndd if=/dev/zero of=filler bs=4k\nexec {sys.executable} "$@"\n',
        encoding="utf-8",
    )
    python.chmod(0o700)
    job = start("1", python=str(python))
    wait_for(small_disk / "filler")
    wait_until(lambda: job.status().ended)
    assert job.info().status is JobStatus.LOST
    assert job.info().reason.endswith("unable to write: the disk is full")
