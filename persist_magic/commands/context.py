"""What a command is, and where it runs: in a notebook, a terminal or a shell. Obeys none."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from persist_magic.arguments import Argument
from persist_magic.jobs import Job
from persist_magic.store import Store
from persist_magic.views import View


@dataclass
class Context:
    """Where a command runs.

    Parameters
    ----------
    store
        The jobs.
    namespace
        Where fetched functions live.
    sign
        How a command is written there: `%persist_` in IPython, `persist ` in a shell.
    write
        Prints text at once, for what comes while the command runs.
    waiting
        Shows in one line what is waited for, again and again; an empty text ends it.
    redraw
        Shows a view in the place of the one before.
    manager
        Who runs jobs when nothing is said.
    defaults
        The options of each manager, from the configuration.
    refresh
        Seconds between looks at jobs.
    """

    store: Store
    namespace: dict[str, Any]
    sign: str
    write: Callable[[str], object]
    waiting: Callable[[str], object]
    redraw: Callable[[View], object]
    manager: str = "local"
    defaults: dict[str, dict[str, Any]] = field(default_factory=dict)
    refresh: float = 1.0

    def job(self, name: str) -> Job:
        """The job called *name*.

        Raises
        ------
        JobNotFound
            There is none.
        RootRefused
            Another user could have written it.
        """
        self._check_trust()
        return Job(self.store, self.store.resolve(name))

    def _check_trust(self) -> None:
        if self.store.exists():
            self.store.check_trust()

    def jobs(self) -> list[Job]:
        """The newest job of each name, in no order."""
        self._check_trust()
        return [Job(self.store, self.store.jobs / id) for id in self.store.by_name().values()]


@dataclass(frozen=True)
class Command:
    """One command: its name, arguments, and the function that it runs."""

    name: str
    summary: str
    arguments: Sequence[Argument]
    run: Callable[[Context, argparse.Namespace], View | None]
