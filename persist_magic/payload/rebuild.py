"""What a saved stream calls to rebuild notebook code. Knows the namespace it is loaded into.

These names are part of the format: streams refer to them for ever. A class that the namespace
already has is used, never modified; everything else is left to cloudpickle.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Loading:
    """One load: into which namespace, and what there is to say about it."""

    namespace: dict[str, Any]
    notices: list[str] = field(default_factory=list)
    resolved: set[int] = field(default_factory=set)  # ids of classes that keep their state


_loading: ContextVar[Loading | None] = ContextVar("persist_loading", default=None)


def main_namespace() -> dict[str, Any]:
    """The globals of `__main__`: where notebook code lives when nothing else is said."""
    return sys.modules["__main__"].__dict__


@contextlib.contextmanager
def loading_into(namespace: dict[str, Any]) -> Iterator[Loading]:
    """Rebuild notebook functions and classes against *namespace* within the block."""
    loading = Loading(namespace)
    token = _loading.set(loading)
    try:
        yield loading
    finally:
        _loading.reset(token)


def _current() -> Loading:
    return _loading.get() or Loading(main_namespace())


def notebook_globals() -> dict[str, Any]:
    """The globals that notebook functions share."""
    return _current().namespace


def notebook_class(
    make: Callable[..., type], args: tuple[Any, ...], qualname: str, definition: str
) -> type:
    """The class that cloudpickle's *make* would build of *args*, or the one that is here already.

    Parameters
    ----------
    qualname, definition
        Of the class where it was saved: its qualified name and its fingerprint.
    """
    from cloudpickle import cloudpickle

    loading = _current()
    # The tracker id, which names one class in all processes that it has been through, is the last
    # but one argument of both of cloudpickle's skeleton makers.
    tracker = args[-2]
    here = find_class(loading.namespace, qualname)
    if here is not None and definition_of(here) == definition:
        cloudpickle._lookup_class_or_track(tracker, here)
        loading.resolved.add(id(here))
        return here
    known: type | None = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)
    if known is not None:
        loading.resolved.add(id(known))
        if definition_of(known) != definition:
            loading.notices.append(f"class {qualname!r} was changed in the job; yours is kept")
        return known
    if here is not None:
        loading.notices.append(
            f"class {qualname!r} here differs from the job's: what comes back keeps the job's class"
        )
    return make(*args)


def find_class(namespace: dict[str, Any], qualname: str) -> type | None:
    """The notebook class *qualname* in *namespace*, if there is one."""
    first, *rest = qualname.split(".")
    found = namespace.get(first)
    for part in rest:
        found = vars(found).get(part) if isinstance(found, type) else None
    if isinstance(found, type) and found.__module__ == "__main__":
        return found
    return None


def set_class_state(cls: type, state: tuple[dict[str, Any], dict[str, Any]]) -> type:
    """Give a class that was just built its attributes; leave one that was here as it is."""
    if id(cls) in _current().resolved:
        return cls
    from cloudpickle import cloudpickle

    cloudpickle._class_setstate(cls, state)
    return cls


def set_function_state(function: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give a notebook function that was just built its attributes, and its globals nothing."""
    from cloudpickle import cloudpickle

    # cloudpickle puts a dict where `__main__` has the module.
    builtins = function.__globals__.get("__builtins__")
    cloudpickle._function_setstate(function, state)
    if builtins is not None:
        function.__globals__["__builtins__"] = builtins


def lru_cached(parameters: dict[str, Any], function: Callable[..., Any]) -> Any:
    """A `functools.lru_cache` of *function*, empty."""
    return functools.lru_cache(**parameters)(function)


def definition_of(cls: type) -> str:
    """The fingerprint of the definition of the notebook class *cls*."""
    from persist_magic.fingerprint import fingerprint

    return fingerprint(cls, follow_globals=False).digest
