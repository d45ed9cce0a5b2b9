"""Processes in which something happens at one file-system operation after the other.

Something is death, Ctrl-C or a full disk. The operations are found as they are made, by what the
interpreter says of itself to an audit hook, so that new ones are met without being listed here.
Run as a program, this is the process that submits; imported by `sitecustomize`, the runner's.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import signal
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import PickleBuffer
from subprocess import PIPE, Popen
from typing import Any

KILL_AT = "PERSIST_TEST_KILL_AT"
DATA = bytes(range(256)) * 4096  # of the size from which a buffer is a blob

# Of the events whose names begin with "os.", those that leave the file system as it is.
_HARMLESS = frozenset(
    f"os.{name}"
    for name in (
        *("chdir", "fchdir", "fork", "forkpty", "fwalk", "getxattr", "kill", "killpg", "listdir"),
        *("listxattr", "lockf", "putenv", "scandir", "unsetenv", "walk"),
    )
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# The hook is not told of these.
_UNTOLD = ("write", "writev", "pwrite", "pwritev", "fsync", "fdatasync", "copy_file_range")
_NEEDS_SPACE = (
    "create ",
    "os.mkdir ",
    "os.symlink ",
    "os.link ",
    *(f"{name} " for name in _UNTOLD),
)


class Buffer:
    """Bytes that are pickled out of band, and come back as a bytearray."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data = bytearray(data)

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return bytearray, (PickleBuffer(self.data),)


def doubled(data: bytearray) -> Buffer:
    """A result that is a blob of its own."""
    return Buffer(bytes(data) * 2)


def hold(data: bytes) -> None:
    """Never come to an end."""
    time.sleep(600)


class Operations:
    """Counts the operations of this process that change the file system, and acts at one of them.

    Parameters
    ----------
    act
        Called right before each operation with its number and what it is.
    halves
        At this number, if it is the middle of a write, half of it has been written.
    reads
        Whether opening a file to read it counts, too.
    """

    def __init__(
        self, act: Callable[[int, str], None], *, halves: int = 0, reads: bool = False
    ) -> None:
        self._act, self._halves, self._reads = act, halves, reads
        self._owner = os.getpid()
        self._acting = False
        self.count = 0

    def watch(self) -> None:
        """Begin; there is no end."""
        sys.addaudithook(self._told)
        for name in _UNTOLD:
            original = getattr(os, name, None)
            if original is not None:
                setattr(os, name, self._wrapped(name, original))

    def _told(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(args[2], int) and (self._reads or args[2] & _WRITING):
                verb = "create" if args[2] & os.O_CREAT else "open"
                self._step(f"{verb} {args[0]}")
        elif event == "subprocess.Popen" or (event.startswith("os.") and event not in _HARMLESS):
            self._step(f"{event} {args}")

    def _wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(fd: int, *rest: Any) -> Any:
            self._step(f"{name} {fd}")
            if name in ("write", "pwrite") and self._halves:
                if self.count + 1 == self._halves:
                    original(fd, rest[0][: len(rest[0]) // 2], *rest[1:])
                self._step(f"{name} {fd}, half way")
            if name in ("fsync", "fdatasync"):
                # It takes long, and nobody pulls the plug here.
                return None
            return original(fd, *rest)

        return wrapped

    def _step(self, what: str) -> None:
        if self._acting or os.getpid() != self._owner:
            return
        self.count += 1
        self._acting = True
        try:
            self._act(self.count, what)
        finally:
            self._acting = False


def die() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def arm_runner() -> None:
    """Kill this process at the operation that the environment names."""
    moment = int(os.environ.get(KILL_AT, "0"))
    # The tests' own interpreters have the variable too.
    if moment and "PERSIST_JOB_ID" in os.environ:
        Operations(lambda number, _: die() if number == moment else None, halves=moment).watch()


def copy_tree(source: Path, target: Path) -> None:
    """Copy a directory; what is one file there is one file here."""
    files: dict[int, Path] = {}
    target.mkdir(mode=0o700)
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        status = path.lstat()
        if path.is_symlink():
            copy.symlink_to(path.readlink())
        elif path.is_dir():
            copy.mkdir(mode=0o700)
        elif status.st_ino in files:
            os.link(files[status.st_ino], copy)
        else:
            files[status.st_ino] = copy
            copy.write_bytes(path.read_bytes())


# ---- submissions and deletions, one process each


@dataclass
class Outcome:
    """What became of one of them."""

    root: str
    what: str  # the operation at which it happened; empty: there were fewer
    started: bool  # whether a process of the job had been started before
    end: str  # "killed", "done", "interrupted", "full" or a traceback


def outcomes(
    work: str,
    mode: str,
    base: Path,
    *,
    template: Path | None = None,
    array: bool,
    replace: bool = False,
) -> Iterator[Outcome]:
    """Do *work* again and again; *mode* happens at the first, second, ... operation.

    Parameters
    ----------
    work
        "submit" or "delete", the job `train`.
    mode
        "kill", "interrupt" or "full".
    base
        A directory below which each time has a root of its own.
    template
        What each root is a copy of; None: it does not exist.
    """
    given = {
        "work": work,
        "mode": mode,
        "base": str(base),
        "template": str(template) if template else None,
        "array": array,
        "replace": replace,
    }
    with Popen([sys.executable, __file__, json.dumps(given)], stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield Outcome(**json.loads(line))
    assert process.returncode == 0


def train(function: Callable[..., Any], root: Path, *, array: bool, replace: bool = False) -> Any:
    """Submit the job `train`, a checksum."""
    from persist_magic import persist

    value: Any = Buffer() if array else DATA[:256]
    return persist(function, "train", args=(value,), replace=replace, root=root)


def checksum(function: Callable[..., Any], *, array: bool) -> int:
    """What `train` of *function* is to find."""
    return int(function(DATA if array else DATA[:256]))


def _main(given: dict[str, Any]) -> None:
    base = Path(given["base"])
    from persist_magic import read_job

    # Everything that is imported on the way is imported in all children then.
    warm = train(zlib.crc32, base / "warm", array=given["array"])
    warm.fetch(60)
    for number in itertools.count(1):
        root = base / f"{number}" / ".persist"
        root.parent.mkdir(parents=True)
        if given["template"]:
            copy_tree(Path(given["template"]), root)
        outcome = _one(given, number, root)
        if not outcome.what:
            if given["mode"] == "interrupt":
                # Nothing came in between this time.
                read_job("train", root).cancel(force=True)
            return
        print(json.dumps(asdict(outcome)), flush=True)


def _one(given: dict[str, Any], number: int, root: Path) -> Outcome:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            _work(given, number, root, writer)
        os._exit(1)
    os.close(writer)
    with open(reader, "rb") as file:
        said = [json.loads(line) for line in file]
    _, status = os.waitpid(child, 0)
    first: dict[str, Any] = said[0] if said and "what" in said[0] else {}
    end = said[-1].get("end", "") if said else ""
    if os.WIFSIGNALED(status):
        end = "killed"
    return Outcome(str(root), first.get("what", ""), first.get("started", False), end)


def _work(given: dict[str, Any], moment: int, root: Path, writer: int) -> None:
    write = os.write
    started = False

    def say(**words: Any) -> None:
        write(writer, json.dumps(words).encode() + b"\n")

    def act(number: int, what: str) -> None:
        nonlocal started
        if number == moment:
            say(what=what, started=started)
        if given["mode"] == "full":
            if number >= moment and what.startswith(_NEEDS_SPACE):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        elif given["mode"] == "interrupt":
            # Who is impatient goes on pressing it.
            if number >= moment:
                os.kill(os.getpid(), signal.SIGINT)
        elif number == moment:
            die()
        if what.startswith("subprocess.Popen"):
            started = True

    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Ctrl-C may come between any two; death and a full disk are seen only by what changes.
    interrupts = given["mode"] == "interrupt"
    Operations(act, halves=0 if interrupts else moment, reads=interrupts).watch()
    from persist_magic import read_job
    from persist_magic.errors import NoSpace

    try:
        if given["work"] == "delete":
            read_job("train", root).cleanup()
        else:
            function = hold if interrupts else zlib.crc32
            train(function, root, array=given["array"], replace=given["replace"])
        end = "done"
    except KeyboardInterrupt:
        end = "interrupted"
    except NoSpace:
        end = "full"
    except BaseException:
        end = traceback.format_exc()
    say(end=end)
    os._exit(0)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
