"""Real kernels for tests: start one, run cells in it, see what a notebook would show."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager


@dataclass
class Shown:
    """What one cell showed."""

    stdout: str = ""
    stderr: str = ""
    displays: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] | None = None
    error: str = ""  # the exception's name
    message: str = ""
    traceback: str = ""
    outputs: list[tuple[str, Any]] = field(default_factory=list)  # in order

    @property
    def value(self) -> str:
        """The result as plain text; empty for none."""
        return str(self.result["text/plain"]) if self.result else ""

    @property
    def text(self) -> str:
        """Everything that can be read, in no particular order."""
        plain = [str(display.get("text/plain", "")) for display in self.displays]
        return "\n".join(
            [self.stdout, self.stderr, *plain, self.value, self.error, self.message, self.traceback]
        )


class Kernel:
    """One real kernel."""

    def __init__(self, directory: Path, environment: dict[str, str] | None = None) -> None:
        self.manager = KernelManager()
        variables = {**os.environ, "IPYTHONDIR": str(directory / ".ipython"), **(environment or {})}
        self.manager.start_kernel(cwd=str(directory), env=variables)
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    @property
    def pid(self) -> int:
        """The kernel's process."""
        pid = self.manager.provisioner.pid  # type: ignore[union-attr]  # a local provisioner
        assert isinstance(pid, int)
        return pid

    def run(self, code: str, timeout: float = 60) -> Shown:
        """Run *code* as a cell, to its end."""
        return self.collect(
            self.client.execute(code, store_history=True, stop_on_error=False), timeout
        )

    def collect(self, id: str, timeout: float = 60) -> Shown:
        """What the execution request *id* shows, to its end."""
        shown = Shown()
        deadline = time.monotonic() + timeout
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            if message["parent_header"].get("msg_id") != id:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                if content["name"] == "stdout":
                    shown.stdout += content["text"]
                else:
                    shown.stderr += content["text"]
                shown.outputs.append((content["name"], content["text"]))
            elif kind in ("display_data", "update_display_data"):
                shown.displays.append(content["data"])
                shown.outputs.append((kind, content["data"]))
            elif kind == "execute_result":
                shown.result = content["data"]
                shown.outputs.append((kind, content["data"]))
            elif kind == "error":
                shown.error, shown.message = content["ename"], content["evalue"]
                shown.traceback = "\n".join(content["traceback"])
            elif kind == "status" and content["execution_state"] == "idle":
                self.client.get_shell_msg(timeout=10)
                return shown

    def get(self, expression: str) -> str:
        """The repr of *expression* in the kernel."""
        shown = self.run(f"print(repr(({expression})), end='')")
        assert not shown.error, shown.traceback
        return shown.stdout

    def load(self) -> Kernel:
        """The kernel, with the extension loaded."""
        shown = self.run("%load_ext persist_magic")
        assert not shown.error, shown.traceback
        return self

    def interrupt(self) -> None:
        """As the stop button."""
        self.manager.interrupt_kernel()

    def kill_group(self) -> None:
        """SIGKILL to its process group, as when a server dies hard."""
        os.killpg(os.getpgid(self.pid), signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        """End it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@contextlib.contextmanager
def kernel(directory: Path, environment: dict[str, str] | None = None) -> Iterator[Kernel]:
    """A kernel in *directory* for the block, with the extension loaded."""
    started = Kernel(directory, environment)
    try:
        yield started.load()
    finally:
        started.stop()
