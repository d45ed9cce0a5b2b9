"""The life of one attempt, from `started.json` to `finished.json`. Knows the order of things."""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from persist_magic import facts, records
from persist_magic.blobs import BlobIndex
from persist_magic.errors import PersistError
from persist_magic.jobdir import Cancelled, Finished, Request, Started, write_heartbeat
from persist_magic.machine import ProcessId
from persist_magic.runner import partial, snapshot
from persist_magic.runner.cell import file_name, run_cell
from persist_magic.runner.failure import cut_down, describe
from persist_magic.runner.imports import after_import, module_path
from persist_magic.runner.journal import Journal
from persist_magic.runner.outputs import CALL, ERROR, STATE, VALUE, Before, save_outputs
from persist_magic.runner.shell import LazyShell
from persist_magic.runner.stopping import JobTerminated, Stopping
from persist_magic.runner.streams import flush, open_streams

# Put by at the start: on a disk that fills up there is still room to say how the job ended.
RESERVE = "reserve"
_RESERVED = 32 << 10


def run(attempt_directory: str) -> int:
    """Run the job; the exit status of the process, 0 only when all went well."""
    attempt = Path(attempt_directory)
    started = time.time()
    job = attempt.parent.parent
    request = Request.read(job, facts.listing(job))
    if request is None:
        print(f"persist: {job / 'request.json'} cannot be read", file=sys.stderr)
        return 1
    # A crash in C code is told in the log.
    faulthandler.enable(file=2)
    try:
        facts.write_new(attempt / RESERVE, bytes(_RESERVED), sync=False)
    except OSError:
        pass  # full already; or an attempt that is run by hand once more
    me = ProcessId.of(os.getpid())
    scheduler = {} if request.manager == "local" else _scheduler()
    Started(me.to_json() if me else {}, started, scheduler).write(attempt)
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
        self.started = self.ended = started
        self.file = file_name(request.name)
        self.path: list[str] = []
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
        self.path = module_path(self.request.sys_path, self.request.cwd)
        sys.path[:] = self.path
        if self.request.local_code:
            names = {path.partition("/")[0].partition(".")[0] for path in self.request.local_code}
            snapshot.use(
                str(self.job / "inputs" / snapshot.CODE), self.request.origins, sorted(names)
            )
            self.path = list(sys.path)
        partial.open_for(self.attempt, self.index)
        if self.request.shell:
            self.shell.install()
        value: Any = None
        error: BaseException | None = None
        try:
            try:
                self.stopping.start()
                # Whoever cancels writes first and looks then; so does this.
                if self._cancelled():
                    raise JobTerminated("cancelled before it started")
                call = self._load_inputs()
                value = self._run(call)
                self.shell.cell_ended()
            finally:
                self.stopping.left()
        except BaseException as caught:
            error = caught
            # The first call may have been cut short by the request to stop.
            self.stopping.left()
        if os.getpid() != self.owner:
            return self._end_child(error)
        code = self._conclude(value, error)
        self.stopping.over()
        return code

    def _end_child(self, error: BaseException | None) -> int:
        """End a child that the cell forked and that ran on to here: it has no say in the job."""
        if error is None:
            return 0
        if isinstance(error, SystemExit):
            raise error
        _tell(describe(error, self.file)["traceback"])
        return 1

    def _cancelled(self) -> bool:
        return Cancelled.FILE in facts.listing(self.job)

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
        if state := loaded.values.pop(STATE, None):
            self._give_state(state)
        self.namespace.update(loaded.values)
        self.before = Before(self.namespace, self.request.inputs)
        return call

    def _give_state(self, state: dict[str, object]) -> None:
        from persist_magic.state import give_state
        from persist_magic.state.shell import NAMES

        give_state(state, lambda module, then: after_import(module, lambda _: then()))
        self.shell.state = {name: state[name] for name in NAMES if name in state}

    def _run(self, call: Any) -> Any:
        if self.request.kind == "function":
            function, args, kwargs = call
            return function(*args, **kwargs)
        # code.py is what IPython made of a cell that is not plain Python.
        file = "code.py" if "code.py" in facts.listing(self.job) else "cell.py"
        source = (self.job / file).read_text(encoding="utf-8")
        return run_cell(source, self.request.name, self.namespace)

    # ---- signs of life

    def _beat(self, saving: bool) -> None:
        write_heartbeat(self.attempt, saving=saving)

    def _taken_over(self) -> None:
        """Keep what there is in mid-run, from the helper thread, and end the process."""
        self.notes.append("taken in mid-run: the main thread did not stop in time")
        try:
            self._conclude(None, JobTerminated(self.stopping.why))
            flush()
        finally:
            os._exit(1)

    # ---- after

    def _conclude(self, value: Any, error: BaseException | None) -> int:
        try:
            return self._finish(value, error)
        except BaseException as failure:
            # What the user's objects do when they are looked at must not cost the last word.
            if isinstance(error, JobTerminated):
                self._say("terminated", why=self._why())
            else:
                self._say("failed", describe(failure, self.file))
            return 1

    def _finish(self, value: Any, error: BaseException | None) -> int:
        self.ended = time.time()
        # The user's code may have left both so that nothing can be written or imported here.
        os.umask(0o077)
        sys.path.extend(entry for entry in self.path if entry not in sys.path)
        if error is None and value is not None:
            self._note_result(value)
        flush()
        self.journal.close()
        values, roles = self._what_comes_back(value, error)
        report = None
        if error is not None and not isinstance(error, JobTerminated):
            report = describe(error, self.file)
        not_saved = self._save(values, roles)
        # Ending a job breaks the pipes and children it uses: errors that come of it are the end.
        if error is not None and (report is None or self.stopping.why or self._cancelled()):
            if report is not None:
                _tell(report["traceback"])
            self._say("terminated", why=self._why())
            _end_children(self.request.id)
            return 1
        if report is None and not_saved:
            report = {"type": "NotSaved", "message": not_saved}
        self._say("failed" if report else "done", report)
        return 1 if report else 0

    def _why(self) -> str:
        return "time limit" if self.stopping.why == "time limit" else "signal"

    def _say(self, outcome: str, error: dict[str, Any] | None = None, why: str = "") -> None:
        """Write the last word, in short where the disk is full."""
        cpu, peak = _usage()
        last = Finished(outcome, self.started, self.ended, error, why, cpu, peak, self.notes)
        (self.attempt / RESERVE).unlink(missing_ok=True)
        try:
            last.write(self.attempt)
        except OSError:
            short = cut_down(error) if error else None
            records.replace(last, error=short, notes=self.notes[:5]).write(self.attempt)

    def _note_result(self, value: Any) -> None:
        try:
            self.shell.result(value)
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
        now = dict(self.namespace)  # where the cell still runs, its names come and go
        for name in (*bound, *changed):
            if name in now:
                values[name] = now[name]
                roles[name] = "bound" if name in bound else "changed"
        self.notes.extend(
            f"{name!r} was deleted in the job; it stays in the notebook"
            for name in self.before.deleted()
        )
        return values, roles

    def _save(self, values: dict[str, Any], roles: dict[str, str]) -> str:
        """Save *values*; why the job cannot count as done, empty if it can."""
        try:
            manifest = save_outputs(
                values, self.namespace, self.attempt / "outputs", self.index, roles
            )
        except Exception as error:
            words = f"the results could not be saved: {type(error).__name__}: {error}"
            self.notes.append(words)
            return words
        for failure in manifest["failures"].values():
            if failure["disk_full"]:
                return "the disk is full: not all results could be saved"
        return ""


def _tell(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # the user's code closed or replaced it


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
    import psutil

    from persist_magic.processes import end_tree

    # Above this process is job.sh, which writes down how it ended.
    end_tree(job, grace=2.0, spare=[process.pid for process in psutil.Process().parents()])
