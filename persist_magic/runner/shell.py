"""IPython in a job, made when something first asks for it. Knows IPython's classes and the journal.

Most cells need no shell, and making one costs more than many of them take. `get_ipython()` and
`display()` are there from the start, and whatever imports IPython itself finds a shell made.
"""

from __future__ import annotations

import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

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
        self.shell: Any = None
        self.proxy = _Proxy(self.made)

    def install(self) -> None:
        """Offer `get_ipython` and `display`, and be there when IPython is imported."""
        # Windows must not open from a background job; figures are kept as a notebook does.
        os.environ.setdefault("MPLBACKEND", _INLINE)
        builtins.get_ipython = self.get_ipython  # type: ignore[attr-defined]  # as IPython does
        builtins.display = self.display  # type: ignore[attr-defined]  # as IPython does
        builtins.input = _no_input
        sys.meta_path.insert(0, _AfterImport("IPython", self.made))

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
        return self.shell

    def cell_ended(self) -> None:
        """Do what a notebook does after a cell: show the figures that are still open."""
        if self.shell is not None:
            self.shell.events.trigger("post_execute")
            self.shell.events.trigger("post_run_cell", None)


def _no_input(prompt: object = "") -> str:
    raise EOFError("a background job cannot ask for input: pass the answer in a variable")


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


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls back once, right after the module *name* has been imported."""

    def __init__(self, name: str, then: Callable[[], Any]) -> None:
        self._name, self._then = name, then

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute, then = spec.loader.exec_module, self._then

            def exec_module(module: ModuleType) -> None:
                execute(module)
                then()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # this one spec's
        return spec
