"""IPython in a job, made when something first asks for it. Knows IPython's classes and the journal.

Most cells need no shell, and making one costs more than many of them take. `get_ipython()` and
`display()` are there from the start, and whatever imports IPython itself finds a shell made.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from persist_magic.runner.imports import after_import
from persist_magic.runner.journal import Journal

_INLINE = "module://matplotlib_inline.backend_inline"
# Set by IPython in the namespace it is given; the user's own names must survive that.
_HIDDEN = (
    *("_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh", "_dh"),
    *("In", "Out", "open", "exit", "quit", "get_ipython"),
)


class LazyShell:
    """Makes the job's shell when it is needed."""

    def __init__(self, main: ModuleType, journal: Journal) -> None:
        self._main = main
        self._journal = journal
        self._making = False
        self._offered = False
        self.shell: Any = None
        self.state: dict[str, object] = {}  # what was set in the notebook's own
        self.proxy = _Proxy(self.made)

    def install(self) -> None:
        """Offer `get_ipython` and `display`, and be there when IPython is imported."""
        # Windows must not open from a background job; figures are kept as a notebook does.
        os.environ.setdefault("MPLBACKEND", _INLINE)
        builtins.get_ipython = self.get_ipython  # type: ignore[attr-defined]  # as IPython does
        builtins.display = self.display  # type: ignore[attr-defined]  # as IPython does
        self._offered = True
        after_import("IPython", lambda module: self.made())

    def get_ipython(self) -> Any:
        """The shell; until one is made, a stand-in that makes it on its first use."""
        return self.shell if self.shell is not None else self.proxy

    def display(self, *objects: Any, **options: Any) -> Any:
        """IPython's `display`."""
        from IPython.display import display

        return display(*objects, **options)

    def made(self) -> Any:
        """The shell, made now if need be."""
        if self.shell is None and not self._making:
            self._making = True
            from persist_magic.runner.ipython import make_shell

            namespace = self._main.__dict__
            kept = {name: namespace[name] for name in _HIDDEN if name in namespace}
            shell = make_shell(self._main, self._journal)
            for name in _HIDDEN:
                namespace.pop(name, None)
            namespace.update(kept)
            self.shell = shell
            if self.state:
                from persist_magic.state import give_shell_state

                give_shell_state(self.state, shell)
        return self.shell

    def result(self, value: Any) -> None:
        """Note *value* in the journal, as a notebook shows the value of a cell."""
        if self.shell is None and not self.state and _shown_as_repr(value):
            self._journal.display("result", {"text/plain": repr(value)})
        elif self._offered:
            data, metadata = self.made().display_formatter.format(value)
            self._journal.display("result", data, metadata)

    def cell_ended(self) -> None:
        """Do what a notebook does after a cell: show the figures that are still open."""
        if self.shell is not None:
            self.shell.events.trigger("post_execute")
            self.shell.events.trigger("post_run_cell", None)


# What these are shown as needs no IPython to know.
_SCALARS = (int, float, complex, bool, str, bytes)
_CONTAINERS = (list, tuple, dict)
_WIDTH = 75


def _shown_as_repr(value: Any) -> bool:
    """Whether IPython shows *value* as its repr, known without asking it."""
    if type(value) not in _CONTAINERS:
        return type(value) in _SCALARS
    return _all_plain(value) and len(repr(value)) <= _WIDTH


def _all_plain(value: Any) -> bool:
    if type(value) not in _CONTAINERS:
        return value is None or (type(value) in _SCALARS)
    if len(value) > _WIDTH:
        return False
    items = (*value.keys(), *value.values()) if type(value) is dict else value
    return all(_all_plain(item) for item in items)


class _Proxy:
    """What `get_ipython()` gives before there is a shell.

    Libraries ask it for `kernel` when they are imported; that alone must not make the shell.
    """

    kernel = None

    def __init__(self, made: Callable[[], Any]) -> None:
        object.__setattr__(self, "_made", made)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_made")(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_made")(), name, value)
