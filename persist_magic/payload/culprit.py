"""Which part of a value cannot be pickled. Knows how values hold others; changes nothing."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

from persist_magic.payload.describe import type_name
from persist_magic.payload.pickling import dump

_DEEPEST = 50
_WIDEST = 10_000


def culprit(value: object, path: str, namespace: dict[str, Any]) -> tuple[str, object]:
    """The path to, and the value of, the innermost part of *value* that cannot be pickled."""
    seen = {id(value)}
    for _ in range(_DEEPEST):
        for step, part in _parts(value):
            if id(part) not in seen and not _can_be_saved(part, namespace):
                seen.add(id(part))
                path, value = path + step, part
                break
        else:
            break
    return path, value


def _can_be_saved(value: object, namespace: dict[str, Any]) -> bool:
    try:
        dump(value, namespace)
    except Exception:
        return False
    return True


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for count, (key, part) in enumerate(value.items()):
            if count == _WIDEST:
                return
            yield f"[{key!r}]", part
            yield f".key({key!r})", key
    elif isinstance(value, list | tuple | set | frozenset):
        for count, part in enumerate(value):
            if count == _WIDEST:
                return
            yield f"[{count}]", part
    elif isinstance(value, types.FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            try:
                yield f".<closure {name}>", cell.cell_contents
            except ValueError:
                continue
        for number, part in enumerate(value.__defaults__ or ()):
            yield f".__defaults__[{number}]", part
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
        yield ".__func__", value.__func__
    held = getattr(value, "__dict__", None)
    if isinstance(held, dict) and not isinstance(value, type | types.ModuleType):
        for name, part in held.items():
            yield f".{name}", part
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            part = getattr(value, name, None)
            if part is not None and name not in ("__dict__", "__weakref__"):
                yield f".{name}", part


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
    ("generator", "make it a list, or make the generator inside the cell"),
    ("coroutine", "await it first, or make it inside the cell"),
    ("module", "import it inside the cell"),
)
