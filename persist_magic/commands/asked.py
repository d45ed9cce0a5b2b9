"""What the options of a job ask for: its manager, and its surroundings. Makes nothing."""

from __future__ import annotations

import argparse
import os
import shutil
from typing import Any

from persist_magic.arguments import pairs_in
from persist_magic.commands.context import Context
from persist_magic.errors import UsageError
from persist_magic.managers import RESOURCES, Manager, make_manager


def manager_in(
    options: argparse.Namespace, context: Context, before: tuple[str, dict[str, Any]] | None = None
) -> Manager:
    """The manager that *options* ask for, with its configured options and theirs.

    Parameters
    ----------
    before
        Of a job that runs again: the manager that it had, and its options then.

    Raises
    ------
    UsageError
        Two managers, one that is unknown, or an option that it does not honour.
    """
    if options.local and options.manager not in (None, "local"):
        raise UsageError(f"--local and --manager {options.manager} contradict", "give one of them")
    usual, kept = before or (context.manager, {})
    name = "local" if options.local else options.manager or usual
    given = {key: getattr(options, key) for key in RESOURCES if getattr(options, key) is not None}
    if options.scheduler:
        if name == "local":
            words = " ".join(options.scheduler)
            raise UsageError(
                f"'-- {words}' is for a scheduler; this job runs on this machine", "leave it out"
            )
        given["scheduler"] = options.scheduler
    return make_manager(
        name, {**context.defaults.get(name, {}), **(kept if name == usual else {}), **given}
    )


def surroundings_in(options: argparse.Namespace) -> dict[str, Any]:
    """The surroundings that *options* ask for, as fields of `Surroundings`."""
    given: dict[str, Any] = {}
    if options.chdir is not None:
        given["cwd"] = os.path.abspath(os.path.expanduser(options.chdir))
    if options.env:
        given["env"] = pairs_in(options.env)
    if options.setup:
        given["setup"] = list(options.setup)
    if options.python is not None:
        given["python"] = _interpreter(options.python)
    if options.notify is not None:
        given["notify"] = options.notify
    return given


def _interpreter(given: str) -> str:
    path = os.path.expanduser(given)
    if os.sep not in path:
        return shutil.which(path) or path
    # Not resolved further: a link in bin/ is what makes a virtual environment.
    return os.path.abspath(path)
