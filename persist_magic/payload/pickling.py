"""One value to bytes and back. Knows notebook functions and classes, nothing of files or groups.

Notebook code shares the globals of `__main__` wherever it is loaded, so a function's globals are
not saved with it: the pickler only tells which names it met.
"""

from __future__ import annotations

import _pickle
import enum
import io
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import _lru_cache_wrapper
from pickle import PickleBuffer
from typing import Any

from persist_magic.payload import rebuild

PROTOCOL = 5
# Smaller buffers cost less inside the stream than as files of their own.
OUT_OF_BAND_FROM = 256 << 10


@dataclass
class Pickled:
    """One stream, its large buffers, and what it met on the way."""

    stream: memoryview
    buffers: list[memoryview]
    met: frozenset[str] = frozenset()  # global names that its notebook functions use
    shared: dict[int, Any] | None = None  # mutable objects in it, by id

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.stream.nbytes + sum(buffer.nbytes for buffer in self.buffers)


class _NotPlain(Exception):
    pass


class _PlainPickler(_pickle.Pickler):
    """Saves trees of builtin values, refuses everything else at once.

    It spares a job that returns such a value the import of cloudpickle.
    """

    def reducer_override(self, obj: Any) -> Any:
        raise _NotPlain


class _Globals:
    """Stands for the globals of the notebook in a stream."""

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild.notebook_globals, ()


def _make_notebook_pickler() -> type:
    from cloudpickle import cloudpickle

    from persist_magic.capture import names_of_code

    class NotebookPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
        """cloudpickle, with one namespace for notebook code and whole classes."""

        def __init__(
            self, file: Any, namespace: dict[str, Any], buffer_callback: Callable[[Any], Any]
        ) -> None:
            super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
            self.namespace = namespace
            self.met: set[str] = set()
            self.globals_ref[id(namespace)] = _Globals()

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, _lru_cache_wrapper):
                # By reference it would save without an error and fail to load.
                if obj.__module__ == "__main__":
                    return rebuild.lru_cached, (obj.cache_parameters(), obj.__wrapped__)
                return NotImplemented
            reduced = super().reducer_override(obj)
            if reduced is NotImplemented:
                return reduced
            if isinstance(obj, type) and len(reduced) == 6:
                return self._class(obj, reduced)
            return reduced

        def _class(self, cls: type, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
            make, args, state = reduced[:3]
            if isinstance(args[3], dict) and make is cloudpickle._make_skeleton_class:
                kwargs = {**args[3], "__qualname__": cls.__qualname__}
                if "__slots__" in cls.__dict__:
                    # cloudpickle sets them too late: the class would get a __dict__.
                    kwargs["__slots__"] = cls.__dict__["__slots__"]
                    state = ({k: v for k, v in state[0].items() if k != "__slots__"}, state[1])
                args = (*args[:3], kwargs, *args[4:])
            definition = rebuild.definition_of(cls)
            return (
                rebuild.notebook_class,
                (make, args, cls.__qualname__, definition),
                state,
                None,
                None,
                rebuild.set_class_state,
            )

        def _dynamic_function_reduce(self, func: types.FunctionType) -> Any:
            make, args, (state, slots), *_ = super()._dynamic_function_reduce(func)
            if func.__globals__ is self.namespace:
                self.met |= names_of_code(func.__code__)
                slots["__globals__"] = {}
                setter: Any = rebuild.set_function_state
            else:
                setter = cloudpickle._function_setstate
            return make, args, (state, slots), None, None, setter

    return NotebookPickler


_notebook_pickler: type | None = None


def dump(value: Any, namespace: dict[str, Any], *, sharing: bool = False) -> Pickled:
    """*value* as a stream with its large buffers apart; nothing large is copied.

    Parameters
    ----------
    namespace
        The globals of the notebook that *value* comes from.
    sharing
        Whether to tell which mutable objects the value holds.
    """
    if "cloudpickle" not in sys.modules and not sharing:
        try:
            file = io.BytesIO()
            _PlainPickler(file, PROTOCOL).dump(value)
            return Pickled(file.getbuffer(), [])
        except (_NotPlain, _pickle.PicklingError, RecursionError):
            pass
    global _notebook_pickler
    if _notebook_pickler is None:
        _notebook_pickler = _make_notebook_pickler()
    buffers: list[memoryview] = []

    def out_of_band(buffer: PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < OUT_OF_BAND_FROM:
            return True
        buffers.append(raw)
        return False

    file = io.BytesIO()
    pickler = _notebook_pickler(file, namespace, out_of_band)
    pickler.dump(value)
    shared = _mutables(pickler.memo.copy()) if sharing else None
    return Pickled(file.getbuffer(), buffers, frozenset(pickler.met), shared)


# What many values hold without sharing anything that could change.
_IMMUTABLE: tuple[type, ...] = (
    str,
    bytes,
    int,
    float,
    complex,
    tuple,
    frozenset,
    type,
    enum.Enum,
    types.BuiltinFunctionType,
    types.ModuleType,
    types.CodeType,
    _Globals,
)
_IMMUTABLE_FROM = frozenset(
    {"datetime", "decimal", "fractions", "pathlib", "re", "uuid", "zoneinfo"}
)
# Types of elements: singletons that all arrays and frames of the type hold.
_ELEMENT_TYPES = (("numpy", "dtype"), ("pandas.api.extensions", "ExtensionDtype"))


def _mutables(memo: dict[int, tuple[int, Any]]) -> dict[int, Any]:
    immutable = list(_IMMUTABLE)
    for module, name in _ELEMENT_TYPES:
        if module in sys.modules:
            immutable.append(getattr(sys.modules[module], name))
    kinds = tuple(immutable)
    return {
        id(obj): obj
        for _, obj in memo.values()
        if not isinstance(obj, kinds)
        and type(obj).__module__ not in _IMMUTABLE_FROM
        and not (isinstance(obj, types.FunctionType) and obj.__module__ != "__main__")
    }


def load(stream: bytes | memoryview, buffers: Iterable[Any]) -> Any:
    """The value that *stream* and *buffers* say; run within `rebuild.loading_into`."""
    return _pickle.loads(stream, buffers=buffers)
