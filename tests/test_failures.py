"""A cell that fails: its error comes back, with its own lines and nothing of the runner."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobcells import attempt_of, run
from persist_magic import JobStatus, persist
from persist_magic.errors import JobFailed
from persist_magic.jobs import Job

PACKAGE = str(Path(__file__).parents[1] / "persist_magic")


def traceback_of(job: Job) -> str:
    """The traceback of the failure of *job*."""
    finished = attempt_of(job).finished
    assert finished is not None
    assert finished.error is not None
    text = finished.error["traceback"]
    assert isinstance(text, str)
    return text


def raised_by(job: Job) -> str:
    """The name of what fetching *job* raises here."""
    try:
        job.fetch()
    except Exception as error:
        return type(error).__name__
    return ""


UNPICKLABLE = """
class Odd(Exception):
    def __init__(self, a, b): super().__init__(a)
    def __reduce__(self): raise TypeError("no")
raise Odd("one", "two")
"""
NO_WORDS = """
class Odd(Exception):
    def __str__(self): raise RuntimeError("no words")
raise Odd
"""
CHAINED = """
def find(key):
    return {}[key]
try:
    find("a")
except KeyError as error:
    raise ValueError("b") from error
"""
FAILURES: dict[str, tuple[str, str, list[str]]] = {
    "an error": ("x = 1\nx += 1; x / 0; x = 3", "ZeroDivisionError: division by zero", ["line 2"]),
    "exit": ("exit()", "SystemExit: None", ["exit()"]),
    "sys.exit": ("import sys\nsys.exit(3)", "SystemExit: 3", ["sys.exit(3)"]),
    "sys.exit(0)": ("import sys\nsys.exit(0)", "SystemExit: 0", ["sys.exit(0)"]),
    "an interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt", ["raise KeyboardInterrupt"]),
    "one that does not pickle": (UNPICKLABLE, "Odd: one", ['raise Odd("one", "two")']),
    "one without words": (NO_WORDS, "Odd: <its message cannot be shown", ["raise Odd"]),
    "a huge one": ("raise ValueError('x' * 10**7)", f"ValueError: {'x' * 200}…", ["left out"]),
    "too deep": (
        "def f(n): return f(n + 1)\nf(0)",
        "RecursionError: maximum recursion depth exceeded",
        ["return f(n + 1)", "more times"],
    ),
    "a chain": (
        CHAINED,
        "ValueError: b",
        ["return {}[key]", "KeyError: 'a'", "direct cause", 'raise ValueError("b")'],
    ),
    "in a task": (
        "import asyncio\nasync def f():\n    1 / 0\nawait asyncio.gather(f(), f())",
        "ZeroDivisionError: division by zero",
        ["await asyncio.gather(f(), f())", "1 / 0"],
    ),
    "in a library": ("import json\njson.loads('{')", "JSONDecodeError: ", ["json.loads('{')"]),
    "in code it made": ("exec('1 / 0')", "ZeroDivisionError", ["exec('1 / 0')", '"<string>"']),
    "of its own syntax": ("exec('(')", "SyntaxError", ["exec('(')"]),
    "from save": (
        "from persist_magic import save\nimport threading\nsave(lock=threading.Lock())",
        "CannotSave: ",
        ["save(lock=threading.Lock())"],
    ),
    "an exit of a thread pool": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(1) as pool:\n    pool.submit(exit).result()",
        "SystemExit: None",
        ["pool.submit(exit).result()"],
    ),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_failure_shows_the_lines_of_the_cell_and_none_of_the_runner(root: Path, kind: str) -> None:
    source, reason, shows = FAILURES[kind]
    job = run(source)
    assert job.status() is JobStatus.FAILED
    assert job.info().reason.startswith(reason)
    text = traceback_of(job)
    assert PACKAGE not in text
    assert text.count('File "<persist job>"') >= 1 or kind == "a huge one"
    for words in shows:
        assert words in text
    assert raised_by(job)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="has no groups")
def test_failing_group_shows_each_of_its_members(root: Path) -> None:
    source = (
        "import asyncio\nasync def f(): 1 / 0\nasync def g(): {}['a']\n"
        "async with asyncio.TaskGroup() as group:\n"
        "    group.create_task(f()); group.create_task(g())"
    )
    job = run(source)
    assert job.info().reason == "ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)"
    text = traceback_of(job)
    assert "async def f(): 1 / 0" in text
    assert "async def g(): {}['a']" in text
    assert PACKAGE not in text


@pytest.mark.skipif(sys.version_info < (3, 11), reason="marks no columns")
def test_traceback_marks_the_failing_expression(root: Path) -> None:
    job = run("x = 1\nx += 1; y = x / 0; x = 3")
    assert "x += 1; y = x / 0; x = 3\n                ~~^~~" in traceback_of(job)


def test_exit_does_not_end_the_notebook_that_fetches(root: Path) -> None:
    with pytest.raises(JobFailed, match="SystemExit: 3"):
        run("raise SystemExit(3)").fetch()


def test_failing_function_shows_no_frame_of_the_runner(root: Path) -> None:
    def fails() -> None:
        raise LookupError("nothing there")

    job = persist(fails, "fails")
    with pytest.raises(LookupError, match="nothing there"):
        job.fetch(30)
    assert PACKAGE not in traceback_of(job)
    assert 'raise LookupError("nothing there")' in traceback_of(job)
