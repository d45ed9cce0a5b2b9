"""The life of one attempt, from `started.json` to `finished.json`. Knows the order of things."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from persist_magic import facts
from persist_magic.blobs import BlobIndex
from persist_magic.errors import PersistError
from persist_magic.jobdir import Cancelled, Finished, Request, Started
from persist_magic.machine import ProcessId
from persist_magic.runner import partial
from persist_magic.runner.cell import file_name, run_cell
from persist_magic.runner.journal import Journal
from persist_magic.runner.outputs import CALL, ERROR, VALUE, Before, save_outputs
from persist_magic.runner.shell import LazyShell
from persist_magic.runner.stopping import JobTerminated, Stopping
from persist_magic.runner.streams import flush, open_streams

# An exception may carry a whole data set in its arguments.
_LONGEST_MESSAGE = 10_000
_LONGEST_TRACEBACK = 200_000


def run(attempt_directory: str) -> int:
    """Run the job; the exit status of the process, 0 only when all went well."""
    attempt = Path(attempt_directory)
    started = time.time()
    job = attempt.parent.parent
    request = Request.read(job, facts.listing(job))
    if request is None:
        print(f"persist: {job / 'request.json'} cannot be read", file=sys.stderr)
        return 1
    me = ProcessId.of(os.getpid())
    Started(me.to_json() if me else {}, started, _scheduler()).write(attempt)
    return _Life(request, job, attempt, started).live()


def _scheduler() -> dict[str, Any]:
    id = os.environ.get("SLURM_JOB_ID")
    if id is None:
        return {}
    restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    return {"slurm": id, "cluster": os.environ.get("SLURM_CLUSTER_NAME", ""), "restart": restart}


class _Life:
    def __init__(self, request: Request, job: Path, attempt: Path, started: float) -> None:
        self.request, self.job, self.attempt = request, job, attempt
        self.started = started
        self.owner = os.getpid()
        self.main = self._new_main()
        self.namespace = self.main.__dict__
        self.index = BlobIndex(job.parent.parent / "blobs")
        self.journal = Journal(attempt)
        self.shell = LazyShell(self.main, self.journal)
        self.notes: list[str] = []
        self.before: Before | None = None
        self.stopping = Stopping(flush, self._beat, self._taken_over, self.request.time_limit)

    def _new_main(self) -> ModuleType:
        # The runner's own __main__ would be imported anew by every spawned child.
        main = ModuleType("__main__")
        main.__dict__["__builtins__"] = sys.modules["builtins"]
        sys.modules["__main__"] = main
        return main

    def live(self) -> int:
        open_streams(self.journal.mark)
        sys.path[:] = self.request.sys_path or sys.path
        partial.open_for(self.attempt, self.index)
        if self.request.shell:
            self.shell.install()
        value: Any = None
        error: BaseException | None = None
        try:
            self.stopping.start()
            # Whoever cancels writes first and looks then; so does this.
            if Cancelled.FILE in facts.listing(self.job):
                raise JobTerminated("cancelled before it started")
            call = self._load_inputs()
            value = self._run(call)
            self.shell.cell_ended()
        except BaseException as caught:
            error = caught
        self.stopping.left()
        if os.getpid() != self.owner:
            # A child that the cell forked and that ran on to here: it has no say in the job.
            flush()
            os._exit(1 if error is not None else 0)
        return self._finish(value, error)

    # ---- before

    def _load_inputs(self) -> Any:
        inputs = self.job / "inputs"
        from persist_magic import payload

        if payload.MANIFEST not in facts.listing(inputs):
            self.before = Before(self.namespace, {})
            return None
        loaded = payload.load_all(inputs, self.namespace, self.index)
        for name, failure in loaded.failures.items():
            raise PersistError(f"input {name}: {failure.message}", failure.hint)
        call = loaded.values.pop(CALL, None)
        self.namespace.update(loaded.values)
        self.before = Before(self.namespace, self.request.inputs)
        return call

    def _run(self, call: Any) -> Any:
        if self.request.kind == "function":
            function, args, kwargs = call
            return function(*args, **kwargs)
        # code.py is what IPython made of a cell that is not plain Python.
        file = "code.py" if "code.py" in facts.listing(self.job) else "cell.py"
        source = (self.job / file).read_text(encoding="utf-8")
        return run_cell(source, self.request.name, self.namespace)

    # ---- signs of life

    def _beat(self) -> None:
        facts.replace(self.attempt / "heartbeat", f"{time.time():.3f}\n".encode())

    def _taken_over(self) -> None:
        """Keep what there is in mid-run, from the helper thread, and end the process."""
        self.notes.append("taken in mid-run: the main thread did not stop in time")
        code = self._finish(None, JobTerminated(self.stopping.why))
        flush()
        os._exit(code)

    # ---- after

    def _finish(self, value: Any, error: BaseException | None) -> int:
        ended = time.time()
        if error is None and value is not None:
            self._note_result(value)
        flush()
        self.journal.close()
        values, roles = self._what_comes_back(value, error)
        report: dict[str, Any] | None = None
        if error is not None and not isinstance(error, JobTerminated):
            report = _describe(error, file_name(self.request.name))
        manifest = self._save(values, roles)
        outcome = "done"
        if isinstance(error, JobTerminated):
            outcome = "terminated"
        elif error is not None:
            outcome = "failed"
        if outcome == "done" and any("no space" in f["reason"] for f in _failures(manifest)):
            outcome = "failed"
            report = {
                "type": "NoSpace",
                "message": "the disk is full: not all results could be saved",
            }
        why = (
            ("time limit" if self.stopping.why == "time limit" else "signal")
            if (outcome == "terminated")
            else ""
        )
        usage = _usage()
        Finished(outcome, self.started, ended, report, why, usage[0], usage[1], self.notes).write(
            self.attempt
        )
        if why == "time limit":
            _end_children(self.request.id)
        return 0 if outcome == "done" else 1

    def _note_result(self, value: Any) -> None:
        try:
            if self.shell.shell is None and type(value).__module__ == "builtins":
                self.journal.display("result", {"text/plain": repr(value)})
            elif self.request.shell:
                data, metadata = self.shell.made().display_formatter.format(value)
                self.journal.display("result", data, metadata)
        except Exception as error:
            self.notes.append(f"the value could not be shown: {type(error).__name__}: {error}")

    def _what_comes_back(
        self, value: Any, error: BaseException | None
    ) -> tuple[dict[str, Any], dict[str, str]]:
        values: dict[str, Any] = {}
        roles: dict[str, str] = {}
        if error is None:
            values[VALUE], roles[VALUE] = value, "value"
        elif not isinstance(error, JobTerminated):
            values[ERROR], roles[ERROR] = error, "error"
        if self.request.kind == "function" or self.before is None:
            return values, roles
        if self.request.out is not None:
            for name in self.request.out:
                if name in self.namespace:
                    values[name], roles[name] = self.namespace[name], "bound"
                else:
                    self.notes.append(f"{name!r} of --out was not bound")
            return values, roles
        bound = self.before.bound(self.request.binds)
        changed = self.before.changed(but=bound)
        for name in (*bound, *changed):
            values[name] = self.namespace[name]
            roles[name] = "bound" if name in bound else "changed"
        self.notes.extend(f"{name!r} was deleted in the job" for name in self.before.deleted())
        return values, roles

    def _save(self, values: dict[str, Any], roles: dict[str, str]) -> dict[str, Any]:
        try:
            return save_outputs(values, self.namespace, self.attempt / "outputs", self.index, roles)
        except Exception as error:
            self.notes.append(f"the results could not be saved: {type(error).__name__}: {error}")
            return {"failures": {"*": {"reason": str(error)}}}


def _failures(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return list(manifest.get("failures", {}).values())


def _describe(error: BaseException, file: str) -> dict[str, Any]:
    """*error* in words: the runner's own frames left out."""
    import traceback

    found: TracebackType | None = error.__traceback__
    while found is not None and found.tb_frame.f_code.co_filename != file:
        found = found.tb_next
    shown = found or _outside_runner(error.__traceback__)
    try:
        lines = traceback.format_exception(type(error), error, shown)
    except Exception as failure:
        lines = [f"{type(error).__name__} (its traceback cannot be shown: {failure!r})\n"]
    try:
        message = str(error)
    except Exception as failure:
        message = f"<its message cannot be shown: {failure!r}>"
    return {
        "type": type(error).__qualname__,
        "message": _cut(message, _LONGEST_MESSAGE),
        "traceback": _cut("".join(lines), _LONGEST_TRACEBACK),
    }


def _outside_runner(found: TracebackType | None) -> TracebackType | None:
    here = os.path.dirname(__file__)
    while found is not None and found.tb_frame.f_code.co_filename.startswith(here):
        found = found.tb_next
    return found


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n… {len(text) - longest} characters left out …\n{text[-half:]}"


def _usage() -> tuple[float, int]:
    """CPU seconds and peak memory in bytes of this process and its children that have ended."""
    import resource

    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    # The kernel counts kilobytes, but bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return round(cpu, 3), max(own.ru_maxrss, children.ru_maxrss) * unit


def _end_children(job: str) -> None:
    from persist_magic.processes import end_tree

    # job.sh, this process's parent, writes down how it ended.
    end_tree(job, grace=2.0, spare=[os.getppid()])
