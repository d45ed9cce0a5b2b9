"""Jobs as detached processes of this machine. Knows processes and sessions, no results."""

from __future__ import annotations

import math
import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from persist_magic.errors import ManagerUnreachable, UsageError
from persist_magic.jobdir import JobFacts, Request
from persist_magic.machine import LINUX, ProcessId, host_name
from persist_magic.processes import MARKER, end_tree, tree_of
from persist_magic.runner.ending import Saving
from persist_magic.status import Active, Gone, Report, Unseen, duration

# Seconds between asking a job to stop and killing it.
CANCEL_GRACE = 10.0
# They speak of the job or allocation that this process may itself run in.
_OF_ANOTHER = ("PERSIST_JOB_NAME", "SLURM_RESTART_COUNT")
# Less than this many bytes free is a full disk.
_LITTLE = 64 << 10
# Children of this process that have not been reaped yet: a zombie's exit must be collected.
_children: list[subprocess.Popen[bytes]] = []
_children_lock = threading.Lock()


class ProcessManager:
    """Runs each job as a process of its own session on this machine.

    The job outlives the process that submits it.

    Parameters
    ----------
    time
        A time limit in Slurm's spelling (`90` minutes, `2:00:00`, `1-12`), or seconds as a float.

    Raises
    ------
    UsageError
        An option that this manager cannot honour.
    """

    name = "local"
    grace = 0.0

    def __init__(self, time: str | int | float | None = None, **unknown: Any) -> None:
        if unknown:
            names = [f"--{option.replace('_', '-')}" for option in unknown]
            given = ", ".join(
                f"{name} {unknown[key]}" for name, key in zip(names, unknown, strict=True)
            )
            raise UsageError(
                f"{given} cannot be honoured on this machine: nothing would enforce it",
                f"leave {' and '.join(names)} out",
            )
        self.options: dict[str, Any] = {}
        if time is not None:
            self.options["time"] = time if isinstance(time, float) else str(time)
        self.time_limit = None if time is None else parse_time(time)

    def __repr__(self) -> str:
        words = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"ProcessManager({words})"

    def problem(self) -> str | None:
        """Why it cannot be used here; None: it always can."""
        return None

    def submit(self, job: Path, request: Request) -> dict[str, Any]:
        """Start `job.sh` in a session of its own, out of reach of signals to our group."""
        _reap()
        environment = {key: value for key, value in os.environ.items() if key not in _OF_ANOTHER}
        # Children of job.sh are marked by it; the marker here marks job.sh itself.
        environment[MARKER] = request.id
        child = subprocess.Popen(
            ["/bin/sh", str(job / "job.sh")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
        with _children_lock:
            _children.append(child)
        who = ProcessId.of(child.pid)
        # None: it has ended already; its facts tell how.
        return who.to_json() if who else {"pid": child.pid}

    def poll(self, jobs: Sequence[JobFacts]) -> list[Report]:
        """What the process table says of each of *jobs*."""
        _reap()
        return [_look(job) for job in jobs]

    def cancel(self, job: JobFacts, *, force: bool = False) -> None:
        """End the job's processes: TERM, KILL after `CANCEL_GRACE` seconds, at once with *force*.

        Raises
        ------
        ManagerUnreachable
            The job runs on another machine.
        """
        known = _processes_of(job)
        away = [who for who in known if not who.can_be_seen()]
        if away and len(away) == len(known):
            if all(who.is_of_earlier_boot() for who in away):
                return
            raise ManagerUnreachable(
                f"the job runs {away[0].place()} and cannot be reached from here",
                f"cancel it there: persist cancel {job.request.name}",
            )
        end_tree(
            job.request.id,
            0.0 if force else CANCEL_GRACE,
            roots=[who.pid for who in known if who.can_be_seen() and who.is_alive()],
            # job.sh leads a session of its own, whose members may have outlived it.
            sessions=[who.pid for who in known if who.owns_session()],
            busy=Saving(job.directory),
        )
        _reap()

    def own_line(self, job: JobFacts) -> str:
        """What `ps` says of the job's processes; empty where there are none to be seen."""
        here = [who for who in _processes_of(job) if who.can_be_seen() and who.is_alive()]
        if not here:
            return ""
        pids = ",".join(str(who.pid) for who in here)
        try:
            said = subprocess.run(
                ["ps", "-o", "pid,stat,etime,time,rss,comm", "-p", pids],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        except OSError:
            return ""  # a small container has no ps
        return said.stdout.decode(errors="replace")

    def warnings(self) -> list[str]:
        """What may end the job together with the notebook server."""
        return _shared_fate(os.environ, _own_cgroup(), container=_in_container())


def _reap() -> None:
    with _children_lock:
        _children[:] = [child for child in _children if child.poll() is None]


def _processes_of(job: JobFacts) -> list[ProcessId]:
    found = []
    if job.submitted is not None:
        found.append(ProcessId.from_json(job.submitted.handle))
    if job.attempt is not None and job.attempt.started is not None:
        found.append(job.attempt.started.who)
    return [who for who in found if who is not None]


def _look(job: JobFacts) -> Report:
    """A job lives while its job.sh or its runner lives."""
    known = _processes_of(job)
    if any(who.can_be_seen() and who.is_alive() for who in known):
        return Active()
    for who in known:
        if who.can_be_seen():
            continue
        if who.is_of_earlier_boot():
            return Gone("the machine was restarted while it ran")
        return Unseen(f"{who.place()}, which cannot be seen from here{_last_sign(job)}")
    if not known and job.request.host != host_name():
        return Unseen(f"submitted on host {job.request.host}, which cannot be seen from here")
    if _is_unknown(job):
        return Active()
    words = "its processes are gone and left no word: killed, job.sh too"
    return Gone(f"{words}, or unable to write: the disk is full" if _is_full(job) else words)


def _is_unknown(job: JobFacts) -> bool:
    """Whether it lives by a process that no fact tells of.

    A runner that has not said so yet, although job.sh is gone; or the job.sh of a job whose
    submission died before it could write down the pid.
    """
    if job.submitted is not None and job.attempt is not None and job.attempt.started is not None:
        return False
    return any(_works_for(process, job.directory) for process in tree_of(job.request.id))


def _works_for(process: psutil.Process, directory: Path) -> bool:
    try:
        return any(word.startswith(str(directory)) for word in process.cmdline())
    except psutil.Error:
        return False


def _is_full(job: JobFacts) -> bool:
    try:
        disk = os.statvfs(job.directory)
    except OSError:
        return False
    # Some file systems have no fixed number of files and count none.
    return disk.f_bavail * disk.f_frsize < _LITTLE or (disk.f_files > 0 and disk.f_favail == 0)


def _last_sign(job: JobFacts) -> str:
    at = job.attempt.last_sign() if job.attempt is not None else None
    if at is None:
        return ""
    ago = time.time() - at
    clock = time.strftime("%H:%M", time.localtime(at))
    return f"; last sign of life {clock}" + (f", {duration(ago)} ago" if ago >= 60 else "")


def _own_cgroup() -> str:
    if not LINUX:
        return ""
    try:
        return Path("/proc/self/cgroup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _in_container() -> bool:
    # Inside its own cgroup namespace a container does not see its name.
    return any(os.path.exists(mark) for mark in ("/.dockerenv", "/run/.containerenv"))


def _shared_fate(environment: Mapping[str, str], cgroup: str, *, container: bool) -> list[str]:
    """Why a process started here would end together with the notebook server.

    systemd kills a service's whole cgroup when it stops (systemd.kill(5), KillMode), a hub's
    spawner and a container runtime do the same, and Slurm ends every process of an allocation.
    """
    if "SLURM_JOB_ID" in environment:
        id = environment["SLURM_JOB_ID"]
        return [f"this job ends with the Slurm allocation {id} in which the notebook server runs"]
    if "KUBERNETES_SERVICE_HOST" in environment or "kubepods" in cgroup:
        return ["this job ends with the notebook server's pod"]
    if "JUPYTERHUB_USER" in environment:
        return ["this job ends when the hub stops your notebook server"]
    if container or re.search(r"/(docker|lxc|containerd|libpod)[-/.]", cgroup):
        return ["this job ends with the container in which the notebook server runs"]
    service = re.search(r"/([^/\n]+\.service)$", cgroup, re.MULTILINE)
    if service and not service[1].startswith("user@"):
        return [f"this job ends with the systemd service {service[1]} in which the notebook runs"]
    return []


_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


def parse_time(given: str | int | float) -> float:
    """The seconds that *given* means in Slurm's spelling.

    `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M`, `D-H:M:S` (sbatch(1), --time); a float is seconds.

    Raises
    ------
    UsageError
        It is none of these, or zero.
    """
    if isinstance(given, float):
        seconds = given
    else:
        match = _TIME.fullmatch(str(given).strip())
        if match is None:
            raise _bad_time(given)
        days, *fields = match.groups()
        numbers = [int(field) for field in fields if field is not None]
        if days is not None:
            hours, minutes, rest = [*numbers, 0, 0][:3]
            seconds = ((int(days) * 24 + hours) * 60 + minutes) * 60.0 + rest
        elif len(numbers) == 3:
            seconds = (numbers[0] * 60 + numbers[1]) * 60.0 + numbers[2]
        else:
            seconds = numbers[0] * 60.0 + (numbers[1] if len(numbers) == 2 else 0)
    if not 0 < seconds < math.inf:
        raise _bad_time(given)
    return seconds


def _bad_time(given: object) -> UsageError:
    return UsageError(
        f"--time {given} is no time limit",
        "write minutes (90), H:MM:SS (2:00:00) or days-hours (1-12)",
    )
