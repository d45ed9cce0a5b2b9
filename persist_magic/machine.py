"""Which machine this is, which processes it runs, which file systems it has. Knows no jobs.

The one place that reads the boot id, pid namespace and process table.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from pathlib import Path
from typing import Any

from persist_magic.records import dataclass

LINUX = sys.platform == "linux"
# What another machine could change under us is not among them.
_LOCAL = frozenset(
    (
        *("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay"),
        *("ramfs", "reiserfs", "tmpfs", "xfs", "zfs"),
    )
)


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
    import subprocess

    # The time of the start would not do: it moves whenever the clock is set.
    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    try:
        answer = subprocess.run(command, stdout=subprocess.PIPE, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.decode().strip().replace("-", "").lower()


@functools.cache
def host_name() -> str:
    """The name of this machine, as its users know it."""
    return os.uname().nodename


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
        # Containers of one image may share a host name; those have no machine id, or have another
        # pid namespace each time they run.
        if LINUX and not self.machine:
            return False
        here = (host_name(), _machine_id(), _pid_namespace())
        return self.boot != boot_id() and (self.host, self.machine, self.namespace) == here

    def place(self) -> str:
        """Where the process runs, for somebody who cannot see it."""
        if self.boot == boot_id() and self.host == host_name():
            return f"in another container of host {self.host}"
        return f"on host {self.host}"

    def is_alive(self) -> bool:
        """Whether the process runs. Ask only where it can be seen. A zombie has ended."""
        return _start_of(self.pid) == self.start

    def owns_session(self) -> bool:
        """Whether a session called by this pid can only be that of this process, alive or dead.

        A pid that still names a session is given to no new process, so that either the process is
        still there, or nobody is.
        """
        return self.can_be_seen() and _start_of(self.pid, zombies=True) in (None, self.start)


def _start_of(pid: int, *, zombies: bool = False) -> str | None:
    """When the living process *pid* started; None for no process, and for a zombie unless asked."""
    if LINUX:
        # psutil derives a wall clock time, which moves when the clock is set; ticks do not.
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return None
        state, start = fields[0], fields[19]
        return None if state in (b"Z", b"X") and not zombies else start.decode()
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE and not zombies:
                return None
            return repr(process.create_time())
    except psutil.Error:
        return None


def is_local(path: Path) -> bool:
    """Whether *path* is known to lie on a file system of this machine alone."""
    if not LINUX:
        return False
    device = os.stat(path).st_dev
    if device not in _local_devices:
        _local_devices[device] = _kind_of_file_system(os.path.realpath(path)) in _LOCAL
    return _local_devices[device]


_local_devices: dict[int, bool] = {}


def _kind_of_file_system(path: str) -> str:
    # By the mount point: a subvolume of btrfs has a device number that no mount has.
    found, longest = "", 0
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            point = re.sub(r"\\([0-7]{3})", _unescaped, left.split(" ")[4]).rstrip("/") + "/"
            # Of two mounts at one place the later one is seen.
            if f"{path}/".startswith(point) and len(point) >= longest:
                found, longest = right.split(" ")[0], len(point)
    return found


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 8))
