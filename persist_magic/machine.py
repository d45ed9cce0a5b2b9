"""Which machine this is, which processes it runs, which file systems it has. Knows no jobs.

The one place that reads the boot id, pid namespace and process table.
"""

from __future__ import annotations

import functools
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LINUX = sys.platform == "linux"
_NETWORK = ("nfs", "cifs", "smb", "fuse", "lustre", "gpfs", "beegfs", "ceph", "afs", "9p", "panfs")


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


@functools.cache
def boot_id() -> str:
    """Names this run of the operating system: another one after each start of the machine."""
    if LINUX:
        return _read("/proc/sys/kernel/random/boot_id").replace("-", "")
    import psutil

    return f"{int(psutil.boot_time()):x}"


@functools.cache
def host_name() -> str:
    """The name of this machine, as its users know it."""
    return socket.gethostname()


@functools.cache
def user_name() -> str:
    """The name of this process's user; the number where it has no name."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


@functools.cache
def _machine_id() -> str:
    return _read("/etc/machine-id")


@functools.cache
def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


@dataclass(frozen=True)
class ProcessId:
    """One process, so named that a reused pid, a reboot or another host is never taken for it.

    `start` is in the operating system's own units (clock ticks since boot on Linux).
    """

    pid: int
    start: str
    boot: str
    namespace: str
    host: str
    machine: str = ""

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The identity of the living process *pid*; None if there is none."""
        start = _start_of(pid)
        if start is None:
            return None
        return cls(pid, start, boot_id(), _pid_namespace(), host_name(), _machine_id())

    @classmethod
    def from_json(cls, value: Any) -> ProcessId | None:
        """What `to_json` said; None when it cannot be understood."""
        try:
            return cls(
                int(value["pid"]),
                str(value["start"]),
                str(value["boot"]),
                str(value["namespace"]),
                str(value["host"]),
                str(value.get("machine", "")),
            )
        except (TypeError, KeyError, ValueError):
            return None

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return dict(self.__dict__)

    def can_be_seen(self) -> bool:
        """Whether this machine, and this pid namespace, is the one that can know of the process."""
        return self.boot == boot_id() and self.namespace == _pid_namespace()

    def is_of_earlier_boot(self) -> bool:
        """Whether it ran on this machine before the machine was started anew."""
        return self.boot != boot_id() and self.host == host_name() and self.machine == _machine_id()

    def is_alive(self) -> bool:
        """Whether the process runs. Ask only where it can be seen. A zombie has ended."""
        return _start_of(self.pid) == self.start


def _start_of(pid: int) -> str | None:
    """When the living process *pid* started; None for no process, and for a zombie."""
    if LINUX:
        # psutil derives a wall clock time, which moves when the clock is set; ticks do not.
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return None
        state, start = fields[0], fields[19]
        return None if state in (b"Z", b"X") else start.decode()
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return repr(process.create_time())
    except psutil.Error:
        return None


def is_local(path: Path) -> bool:
    """Whether *path* is known to lie on a file system of this machine alone."""
    if not LINUX:
        return False
    device = os.stat(path).st_dev
    return _is_local_device(os.major(device), os.minor(device))


@functools.lru_cache(maxsize=64)
def _is_local_device(major: int, minor: int) -> bool:
    wanted = f"{major}:{minor}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            if left.split()[2] == wanted:
                kind = right.split()[0]
                return not kind.startswith(_NETWORK)
    return False
