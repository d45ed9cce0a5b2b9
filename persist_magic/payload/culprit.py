"""Which part of a value cannot be pickled. Knows how values hold others; changes nothing."""

from __future__ import annotations

import sys
import time
import types
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

from persist_magic.payload.describe import (
    attributes,
    blames_the_value,
    module_of,
    short_repr,
    type_name,
)
from persist_magic.payload.pickling import dump
from persist_magic.payload.rebuild import NOTEBOOK

_DEEPEST = 50
_WIDEST = 10_000
_SECONDS = 3.0


def culprit(value: object, path: str, namespace: dict[str, Any]) -> tuple[str, object]:
    """The path to, and the value of, the innermost part of *value* that cannot be pickled.

    A search that takes long ends at what it has found so far.
    """
    patience = time.monotonic() + _SECONDS
    seen = {id(value)}
    for _ in range(_DEEPEST):
        for step, part in _parts(value):
            if id(part) not in seen and not _can_be_saved(part, namespace):
                seen.add(id(part))
                path, value = path + step, part
                break
            if time.monotonic() > patience:
                return path, value
        else:
            break
    return path, value


# Their parts are the interpreter's: what is at fault is that they are running.
_WHOLE = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.FrameType)


def _can_be_saved(value: object, namespace: dict[str, Any]) -> bool:
    try:
        dump(value, namespace)
    except BaseException as error:
        if not blames_the_value(error):
            raise
        return False
    return True


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    """The parts of *value*, each with the step to it, as one writes it in Python."""
    cls = type(value)
    if issubclass(cls, dict):
        for key, part in list(islice(dict.items(value), _WIDEST)):
            yield f"[{short_repr(key, 60)}]", part
            yield f".key({short_repr(key, 60)})", key
    for kind in (list, tuple, set, frozenset, deque):
        if issubclass(cls, kind):
            for count, part in enumerate(list(islice(kind.__iter__(value), _WIDEST))):
                yield f"[{count}]", part
    if cls is types.FunctionType:
        yield from _parts_of_function(value)
        return
    if cls is types.MethodType:
        yield ".__self__", value.__self__
        yield ".__func__", value.__func__
        return
    if issubclass(cls, type):
        if module_of(value) == NOTEBOOK:
            yield from ((f".{name}", _unwrapped(part)) for name, part in vars(value).items())
        return
    if cls in _WHOLE or issubclass(cls, types.ModuleType):
        return
    yield from _parts_of_table(value)
    yield from ((f".{name}", part) for name, part in attributes(value))
    if module_of(cls) == NOTEBOOK:
        yield ".__class__", cls


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        try:
            yield f".<closure {name}>", cell.cell_contents
        except ValueError:
            continue
    for count, part in enumerate(function.__defaults__ or ()):
        yield f".__defaults__[{count}]", part
    for name, part in (function.__kwdefaults__ or {}).items():
        yield f".__kwdefaults__[{name!r}]", part
    for name, part in vars(function).items():
        yield f".{name}", part


def _parts_of_table(value: Any) -> Iterator[tuple[str, object]]:
    """The columns of a frame, the values of a column or array of objects."""
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if pandas and isinstance(value, pandas.DataFrame):
        for name in value.columns:
            yield f"[{short_repr(name, 60)}]", value[name]
    elif pandas and isinstance(value, pandas.Series):
        if value.dtype == object:
            for count, part in enumerate(value.array[:_WIDEST]):
                yield f".iloc[{count}]", part
    elif numpy and type(value) is numpy.ndarray and value.dtype == object:
        for count, part in enumerate(value.flat[:_WIDEST]):
            yield f".flat[{count}]", part


def _unwrapped(value: Any) -> object:
    if isinstance(value, staticmethod | classmethod):
        return value.__func__
    return value.fget if isinstance(value, property) else value


def explain(value: object) -> str:
    """What to do about a *value* that cannot be pickled."""
    words = type_name(value)
    for prefix, advice in _ADVICE:
        if words.startswith(prefix):
            return advice
    return "leave it out with --skip, or make it inside the cell"


_ADVICE = (
    ("_io.", "open the file inside the cell, or leave it out with --skip"),
    ("sqlite3.", "connect inside the cell, or leave it out with --skip"),
    ("socket.", "connect inside the cell, or leave it out with --skip"),
    ("_thread.", "make the lock inside the cell, or leave it out with --skip"),
    ("_asyncio.", "await it first, or make it inside the cell"),
    ("generator", "make it a list, or make the generator inside the cell"),
    ("coroutine", "await it first, or make it inside the cell"),
    ("module", "import it inside the cell"),
)
