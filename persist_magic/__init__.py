"""Run a notebook cell in a background interpreter that outlives the kernel.

`%load_ext persist_magic` brings `%%persist` and `%persist_fetch` into IPython; `persist` and
`read_job` are the same for Python code. Names are imported when they are first used: a job starts
without what it does not need.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from persist_magic.errors import PersistError
    from persist_magic.functions import persist
    from persist_magic.info import JobInfo
    from persist_magic.jobs import Job, list_jobs, read_job
    from persist_magic.managers.process import ProcessManager
    from persist_magic.runner.partial import save
    from persist_magic.runner.stopping import JobTerminated
    from persist_magic.status import JobStatus

_WHERE = {
    "Job": "jobs",
    "JobInfo": "info",
    "JobStatus": "status",
    "JobTerminated": "runner.stopping",
    "PersistError": "errors",
    "ProcessManager": "managers.process",
    "list_jobs": "jobs",
    "persist": "functions",
    "read_job": "jobs",
    "save": "runner.partial",
}

__all__ = [
    "Job",
    "JobInfo",
    "JobStatus",
    "JobTerminated",
    "PersistError",
    "ProcessManager",
    "list_jobs",
    "persist",
    "read_job",
    "save",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = globals()[name] = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext persist_magic` calls.

    Raises
    ------
    UsageError
        On Windows, where nothing of this works.
    """
    if sys.platform == "win32":
        from persist_magic.errors import UsageError

        # Before anything else is imported: half of it cannot be.
        raise UsageError(
            "persist_magic does not run on Windows",
            "run Jupyter in WSL, the Windows Subsystem for Linux: wsl --install",
        )
    from persist_magic.magics import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """What `%unload_ext persist_magic` calls."""
    from persist_magic.magics import unload

    unload(shell)
