"""Where modules come from, and what to do once one was imported. Knows the import system."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

# A directory or archive of an installation, by its name anywhere on its path.
_INSTALLED = re.compile(r"(^|/)(site-packages|dist-packages|python\d[^/]*)(/|$)")


def module_path(given: list[str], cwd: str) -> list[str]:
    """What `sys.path` is to be in the job of a process whose own was *given*.

    The same, where that process ran in this installation. Another interpreter keeps its own
    installation, and is given only what was added to it.
    """
    own = [entry for entry in sys.path if entry.startswith((sys.prefix, sys.base_prefix))]
    if given and set(own) <= set(given):
        return given
    added = [entry for entry in given if not _INSTALLED.search(entry) and entry not in sys.path]
    return [cwd, *added, *sys.path]


def after_import(name: str, then: Callable[[ModuleType], object]) -> None:
    """Call *then* once, with the module *name*, as soon as it has been imported."""
    if name in sys.modules:
        then(sys.modules[name])
    else:
        sys.meta_path.insert(0, _AfterImport(name, then))


class _AfterImport:
    """A finder that finds as the others do. No subclass: the base class is slow to import."""

    def __init__(self, name: str, then: Callable[[ModuleType], object]) -> None:
        self._name, self._then = name, then

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._name:
            return None
        import importlib.util

        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute, then = spec.loader.exec_module, self._then

            def exec_module(module: ModuleType) -> None:
                execute(module)
                then(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # this one spec's
        return spec
