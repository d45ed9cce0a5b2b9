"""Values in a few words, for people. Runs no code of a value but its repr, guarded."""

from __future__ import annotations

import types
from typing import Any


def type_name(value: object) -> str:
    """The name of the type of *value*, with its module where that helps."""
    cls = type(value)
    if cls.__module__ in ("builtins", "__main__"):
        return cls.__qualname__
    return f"{cls.__module__.split('.')[0]}.{cls.__qualname__}"


def describe(value: object) -> str:
    """*value* in a few words: its type and extent."""
    name = type(value).__name__
    try:
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__}"
        if isinstance(value, type):
            return f"class {value.__qualname__}"
        shape = vars(type(value)).get("shape") or getattr(type(value), "shape", None)
        if shape is not None:
            extent = tuple(value.shape)  # type: ignore[attr-defined]  # seen on its type
            kind = f" {value.dtype}" if hasattr(type(value), "dtype") else ""  # type: ignore[attr-defined]
            return f"{name}{kind} {' x '.join(map(str, extent)) if extent else 'scalar'}"
        if isinstance(value, list | tuple | dict | set | frozenset):
            return f"{name} of {len(value)}"
        if isinstance(value, bool | int | float | complex) or value is None:
            return f"{name} {short_repr(value, 24)}"
        if isinstance(value, str):
            return f"{name} of {len(value)} characters"
    except Exception:
        return name
    return name


def short_repr(value: Any, width: int = 200) -> str:
    """`repr(value)`, cut to *width* characters, on one line; says so where it fails."""
    try:
        text = repr(value)
    except Exception as error:
        return f"<{type_name(value)} whose repr fails: {type(error).__name__}>"
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def size_words(count: float) -> str:
    """*count* bytes as people write it: `512 B`, `3.1 kB`, `1.0 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
