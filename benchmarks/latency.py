"""How long a job that does nothing takes: with this package, by hand, and with submitit.

All in one run, in turn, in one directory. What counts are the ratios within a round: they carry
over to other machines, milliseconds do not.
"""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import cloudpickle
import psutil
import submitit
from IPython.core.interactiveshell import InteractiveShell
from rich.console import Console
from rich.table import Table
from traitlets.config import Config

from persist_magic import Job, persist, read_job

WARM_UP = 2
PATIENCE = 60.0
PACKAGES = ("persist_magic", "blake3", "cloudpickle", "submitit", "numpy", "psutil")
# Run in `__main__`, as a notebook's cells are: everyone has to send the function by value.
FUNCTION = "def add_one(number):\n    return number + 1\n"
CELL = "answer = number + 1\nanswer\n"

# A way to have `number + 1` computed in the background. It yields when the prompt would be back,
# then the value, then waits for the end of the job and deletes it, which is not timed.
Way = Iterator[object]
Function = Callable[[int], int]


def wait_for(file: Path) -> None:
    """Look for *file* every 10 ms."""
    deadline = time.monotonic() + PATIENCE
    while not file.exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"no {file} after {PATIENCE:.0f} s")
        time.sleep(0.01)


BY_HAND = """\
import os, sys
import cloudpickle
task, result = sys.argv[1:]
with open(task, "rb") as file:
    function, args = cloudpickle.load(file)
value = function(*args)
with open(result + ".part", "wb") as file:
    cloudpickle.dump(value, file)
    file.flush()
    os.fsync(file.fileno())
os.rename(result + ".part", result)
"""


def by_hand(root: Path, function: Function, number: int) -> Way:
    """What a careful user writes: a detached interpreter, and a result that is never half there."""
    folder = root / f"by-hand-{number}"
    task, result = folder / "task", folder / "result"
    folder.mkdir()
    with open(task, "wb") as file:
        cloudpickle.dump((function, (number,)), file)
    with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
        argv = [sys.executable, "-c", BY_HAND, str(task), str(result)]
        null = subprocess.DEVNULL
        child = subprocess.Popen(argv, stdin=null, stdout=out, stderr=err, start_new_session=True)
    yield None
    wait_for(result)
    with open(result, "rb") as file:
        yield cloudpickle.load(file)
    child.wait(PATIENCE)
    shutil.rmtree(folder)


def tidy(job: Job) -> None:
    """Wait for the last file of *job*, then delete it."""
    wait_for(job.directory / "attempts" / "1" / "exited.json")
    job.cleanup()


def python_api(function: Function, number: int) -> Way:
    """`persist(function, name)`, then `fetch()`."""
    job = persist(function, f"function-{number}", args=(number,))
    yield None
    yield job.fetch()
    tidy(job)


def magics(shell: InteractiveShell, number: int) -> Way:
    """`%%persist name`, then `%persist_fetch name`."""
    name = f"cell-{number}"
    shell.user_ns["number"] = number
    shell.run_cell_magic("persist", f"{name} -q", CELL)
    yield None
    yield shell.run_line_magic("persist_fetch", f"{name} -q")
    assert shell.user_ns.pop("answer") == number + 1
    tidy(read_job(name))


def by_submitit(executor: Any, function: Function, number: int) -> Way:
    """submitit's executor for this machine, with its defaults."""
    job = executor.submit(function, number)
    yield None
    yield job.result()  # after the end of its process
    shutil.rmtree(executor.folder)


def timed(way: Way, number: int) -> tuple[float, float]:
    """Go *way* once: seconds until the prompt is back, and until the right value is in hand."""
    begin = time.perf_counter()
    next(way)
    prompt = time.perf_counter() - begin
    value = next(way)
    whole = time.perf_counter() - begin
    if value != number + 1:
        raise SystemExit(f"{number} + 1 gave {value!r}")
    next(way, None)
    return prompt, whole


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure of each round, and what their median may be at most."""

    work: str
    unit: str
    values: Sequence[float]
    reach: float | None = None

    @property
    def missed(self) -> bool:
        """Whether it is more."""
        return self.reach is not None and median(self.values) > self.reach

    def cells(self) -> list[str]:
        """As text."""
        words = [self.work, self.unit, *(f"{pick(self.values):.3g}" for pick in (median, min, max))]
        if self.reach is not None:
            words += [f"≤ {self.reach:g}", "[red]MISSED[/]" if self.missed else "[green]OK[/]"]
        return words


def measure(root: Path, rounds: int) -> list[Row]:
    """Go every way in every round, each round beginning with another one."""
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_line_magic("load_ext", "persist_magic")
    shell.run_cell(FUNCTION)
    function: Function = shell.user_ns["add_one"]
    ways: dict[str, Callable[[int], Way]] = {
        "by hand": partial(by_hand, root, function),
        "function": partial(python_api, function),
        "cell": partial(magics, shell),
        "submitit": partial(by_submitit, submitit.LocalExecutor(root / "submitit"), function),
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    order = list(ways)
    for number in range(WARM_UP + rounds):
        for name in order:
            took[name].append(timed(ways[name](number), number))
        order.append(order.pop(0))
    prompt = {name: [first for first, _ in took[name][WARM_UP:]] for name in ways}
    value = {name: [last for _, last in took[name][WARM_UP:]] for name in ways}

    def over(mine: list[float], others: list[float]) -> list[float]:
        return [one / other for one, other in zip(mine, others, strict=True)]

    return [
        Row("prompt", "ms", [seconds * 1e3 for seconds in prompt["cell"]], 10),
        Row("prompt", "x by hand", over(prompt["cell"], prompt["by hand"])),
        Row("no-op function", "x by hand", over(value["function"], value["by hand"]), 2),
        Row("no-op function", "x submitit*", over(value["function"], value["submitit"]), 0.15),
        Row("no-op cell", "x by hand", over(value["cell"], value["by hand"]), 3),
        Row("no-op cell", "x submitit*", over(value["cell"], value["submitit"]), 0.25),
    ]


def file_system(directory: Path) -> str:
    """The type of the file system that *directory* is on."""
    types = {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
    return next((types[above] for above in (directory, *directory.parents) if above in types), "?")


def disk_directory(given: str | None) -> Path:
    """Where all of them work: a place where fsync means something."""
    candidates = [given] if given is not None else [tempfile.gettempdir(), os.curdir]
    for directory in (Path(candidate).resolve() for candidate in candidates):
        if file_system(directory) not in ("tmpfs", "ramfs"):
            return directory
    raise SystemExit(f"{' and '.join(candidates)}: in memory; name a --dir on a disk")


def show(rows: Sequence[Row], rounds: int, directory: Path) -> None:
    """Print the table, and on what and how it was measured."""
    console = Console(soft_wrap=True, highlight=False)
    table = Table("work", "in", "median", "min", "max", "reach", "", title=f"{rounds} rounds")
    for row in rows:
        table.add_row(*row.cells())
    console.print(table)
    packages = ("persist-magic", "ipython", "cloudpickle", "submitit")
    why = ", as PYTHONDONTWRITEBYTECODE is set here" if sys.dont_write_bytecode else ""
    console.print(
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}, {file_system(directory)}; Python {platform.python_version()}, "
        f"{', '.join(f'{name} {version(name)}' for name in packages)}\n"
        f"byte-compiled before{why}: {', '.join(PACKAGES)}\n"
        "* submitit fsyncs nothing, does not detach its job, and looks for its end every second",
    )


def main() -> int:
    """Measure and show; 1 with --check if a reach is missed."""
    parser = argparse.ArgumentParser(description="How long a job that does nothing takes.")
    parser.add_argument("--rounds", type=int, default=15, help="default: 15")
    parser.add_argument("--dir", help="where to work; default: the temporary directory")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a reach is missed")
    options = parser.parse_args()
    parent = disk_directory(options.dir)
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations if spec else None) or ():
            compileall.compile_dir(folder, quiet=2)
    with tempfile.TemporaryDirectory(prefix="latency-", dir=parent) as name:
        # Neither jobs nor settings of the user have a say.
        os.environ |= {"PERSIST_ROOT": f"{name}/persist", "IPYTHONDIR": f"{name}/ipython"}
        rows = measure(Path(name), options.rounds)
        show(rows, options.rounds, Path(name))
    return int(options.check and any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
