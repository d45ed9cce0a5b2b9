"""Jobs as processes of this machine: whose they are, what may end them, what they may ask for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import persist_magic.machine
from jobcells import attempt_of, importing, job_sh_of, run, runner_of, start, wait_for
from persist_magic import JobStatus, ProcessManager, records
from persist_magic.errors import ManagerUnreachable, UsageError
from persist_magic.facts import encode
from persist_magic.jobdir import Submitted
from persist_magic.jobs import Job, read_job
from persist_magic.machine import LINUX, ProcessId, boot_id, host_name, is_local
from persist_magic.managers import make_manager
from persist_magic.managers.process import _shared_fate, parse_time
from waiting import wait_until

# A cell that goes on until the test lets it end.
WAIT = """
import os, time
open("running", "w").close()
while not os.path.exists("go"):
    time.sleep(0.01)
"""


def ghost(root: Path, **changes: str | int) -> Job:
    """A job that started and ended nowhere, as far as its facts say; *changes* of its identity."""
    job = run("1")
    who = ProcessId.of(os.getpid())
    assert who is not None
    handle = {**who.to_json(), **changes}
    attempt = attempt_of(job)
    assert attempt.started is not None
    for name in ("finished.json", "exited.json"):
        wait_for(attempt.directory / name)
        (attempt.directory / name).unlink()
    started = records.replace(attempt.started, process=handle)
    (attempt.directory / "started.json").write_bytes(started.encode())
    submitted = Submitted(handle, attempt.started.time)
    (job.directory / "submitted.json").write_bytes(encode(records.asdict(submitted)))
    return job


# ---- identity


def test_job_lives_while_its_process_does(root: Path) -> None:
    assert ghost(root).status() is JobStatus.RUNNING


def test_reused_pid_is_not_the_job(root: Path) -> None:
    info = ghost(root, start="1").info()
    assert info.status is JobStatus.LOST
    assert info.reason.startswith("its processes are gone")


def test_job_of_an_earlier_boot_is_lost(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ghost(root, machine="m1")
    monkeypatch.setattr(persist_magic.machine, "_machine_id", lambda: "m1")
    monkeypatch.setattr(persist_magic.machine, "boot_id", lambda: "another")
    info = job.info()
    assert (info.status, info.reason) == (
        JobStatus.LOST,
        "the machine was restarted while it ran",
    )


AWAY = [
    ({"host": "n2", "machine": "m2", "boot": "b2"}, "on host n2"),
    # The same name and no machine id: two containers of one image.
    ({"machine": "", "boot": "b2"}, f"on host {host_name()}"),
    # Another image of the same machine, started anew elsewhere.
    ({"machine": "m1", "boot": "b2", "namespace": "pid:[1]"}, f"on host {host_name()}"),
    ({"namespace": "pid:[1]"}, f"in another container of host {host_name()}"),
]


@pytest.mark.parametrize(("changes", "place"), AWAY)
def test_job_that_cannot_be_seen_is_not_called_lost(
    root: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], place: str
) -> None:
    if changes.get("machine"):
        monkeypatch.setattr(persist_magic.machine, "_machine_id", lambda: "m1")
    job = ghost(root, **changes)
    clock = time.strftime("%H:%M", time.localtime(attempt_of(job).last_sign()))
    info = job.info()
    assert info.status is JobStatus.RUNNING
    words = f"{place}, which cannot be seen from here; last sign of life {clock}"
    assert info.reason.startswith(words)


@pytest.mark.parametrize(("changes", "place"), AWAY)
def test_job_that_cannot_be_seen_cannot_be_cancelled(
    root: Path, changes: dict[str, str], place: str
) -> None:
    with pytest.raises(ManagerUnreachable, match=f"runs {place}"):
        ghost(root, **changes).cancel()


def test_queued_job_that_cannot_be_seen_stays_queued(root: Path) -> None:
    job = ghost(root, host="n2", boot="b2", machine="m2")
    (attempt_of(job).directory / "started.json").unlink()
    info = job.info()
    assert info.status is JobStatus.QUEUED
    assert info.reason.startswith("on host n2")


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_zombie_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        who = ProcessId.of(child.pid)
        assert who is not None
        assert who.is_alive()
        child.kill()
        wait_until(lambda: ") Z " in Path(f"/proc/{child.pid}/stat").read_text())
        assert not who.is_alive()
        assert ProcessId.of(child.pid) is None
        # Nobody else can have a session of that number yet.
        assert who.owns_session()


def test_session_of_a_reused_pid_is_not_the_jobs() -> None:
    who = ProcessId.of(os.getpid())
    assert who is not None
    assert who.owns_session()
    assert not records.replace(who, start="1").owns_session()


def test_job_is_not_lost_or_running_when_its_submitter_never_reaps(root: Path) -> None:
    """The submitting process, which does nothing more, keeps job.sh as a zombie."""
    code = (
        "from jobcells import start; start('import os; os.kill(os.getpid(), 9)'); "
        "print('made', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=importing(),
    ) as submitter:
        assert submitter.stdout is not None
        assert submitter.stdout.readline() == b"made\n"
        job = read_job("job")
        assert job.wait(30) is JobStatus.FAILED
        pid = job_sh_of(job)
        wait_until(lambda: ProcessId.of(pid) is None)
        # Without the word of job.sh nobody knows how it ended; but that it has, is known.
        attempt = attempt_of(job)
        wait_for(attempt.directory / "exited.json")
        (attempt.directory / "exited.json").unlink()
        assert job.status() is JobStatus.LOST
        submitter.communicate(b"\n")


def test_job_survives_the_process_that_submitted_it(root: Path) -> None:
    code = f"from jobcells import start; start({WAIT + '6 * 7'!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env=importing())
    wait_for(root / "running")
    (root / "go").touch()
    assert read_job("job").fetch(30) == 42


def test_job_is_out_of_reach_of_signals_to_the_group_of_its_submitter(root: Path) -> None:
    job = start(WAIT)
    wait_for(root / "running")
    assert os.getsid(runner_of(job)) == job_sh_of(job)
    assert os.getsid(job_sh_of(job)) != os.getsid(0)
    (root / "go").touch()
    assert job.wait(30) is JobStatus.DONE


def test_job_in_an_allocation_is_not_taken_for_the_allocation(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    job = run("import os\nos.environ['SLURM_JOB_ID']")
    assert job.fetch() == "77"
    attempt = attempt_of(job)
    assert attempt.number == 1
    assert attempt.started is not None
    assert attempt.started.scheduler == {}


# ---- options


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("90", 5400),
        (90, 5400),
        (0.5, 0.5),
        ("1:30", 90),
        ("0:01", 1),
        ("2:00:00", 7200),
        ("1-0", 86400),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-12:30:15", 131415),
        (" 90 ", 5400),
    ],
)
def test_time_is_read_as_slurm_does(given: str | int | float, seconds: float) -> None:
    assert parse_time(given) == seconds


@pytest.mark.parametrize(
    "given",
    [
        *("", "0", "0:00", "-5", "1:2:3:4", "2h", "1-", "-", "1.5", "soon"),
        *(0.0, -1.0, float("nan"), float("inf")),
    ],
)
def test_what_is_no_time_limit_is_refused(given: str | float) -> None:
    with pytest.raises(UsageError, match="no time limit"):
        parse_time(given)


@pytest.mark.parametrize("time", [None, 90, "2:00:00", 1.5])
def test_manager_can_be_made_again_from_its_options(time: str | int | float | None) -> None:
    manager = ProcessManager(time)
    again = make_manager("local", manager.options)
    assert isinstance(again, ProcessManager)
    assert again.time_limit == manager.time_limit


def test_option_that_nothing_would_enforce_is_refused() -> None:
    with pytest.raises(UsageError, match="--cpus-per-task 4 cannot be honoured"):
        make_manager("local", {"cpus_per_task": 4})


def test_unknown_manager_is_refused() -> None:
    with pytest.raises(UsageError, match="no manager named 'slum'"):
        make_manager("slum")


# ---- what a job shares with the notebook server

DESKTOP = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-code-1.scope\n"


@pytest.mark.parametrize(
    ("environment", "cgroup", "container", "words"),
    [
        ({}, "", False, ""),
        ({}, "0::/\n", False, ""),
        ({}, DESKTOP, False, ""),
        ({}, "0::/user.slice/user-1000.slice/session-3.scope\n", False, ""),
        ({}, "0::/user.slice/user-1000.slice/user@1000.service\n", False, ""),
        ({"SLURM_JOB_ID": "77"}, DESKTOP, False, "the Slurm allocation 77"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "0::/\n", False, "pod"),
        ({}, "0::/kubepods/besteffort/pod1/abc\n", True, "pod"),
        ({"JUPYTERHUB_USER": "ada"}, "0::/system.slice/hub.service\n", False, "hub"),
        ({}, "0::/\n", True, "the container"),
        ({}, "12:pids:/docker/abc\n0::/system.slice/docker-abc.scope\n", False, "the container"),
        ({}, "0::/lxc.payload.work\n", False, "the container"),
        ({}, "0::/machine.slice/libpod-abc.scope\n", False, "the container"),
        ({}, "0::/system.slice/jupyter.service\n", False, "the systemd service jupyter.service"),
        (
            {},
            "1:name=systemd:/user.slice/user-1000.slice/user@1000.service/app.slice/lab.service\n",
            False,
            "the systemd service lab.service",
        ),
    ],
)
def test_job_that_ends_with_the_server_is_warned_of(
    environment: dict[str, str], cgroup: str, container: bool, words: str
) -> None:
    found = _shared_fate(environment, cgroup, container=container)
    assert len(found) == bool(words)
    assert words in "".join(found)


# ---- the machine


def test_machine_is_known_by_its_boot() -> None:
    assert len(boot_id()) == 32
    assert boot_id().isalnum()


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_memory_and_disk_are_local_and_other_file_systems_are_not_known_to_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert is_local(Path("/dev/shm"))
    assert not is_local(Path("/proc"))
    monkeypatch.setattr(persist_magic.machine, "_kind_of_file_system", lambda path: "nfs4")
    monkeypatch.setattr(persist_magic.machine, "_local_devices", {})
    assert not is_local(tmp_path)
