"""Values in a few words, for people. Runs no code of a value but its repr, guarded."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

# A metaclass may define what its classes answer, so types are asked through `type` itself.
bases_of: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
members_of: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__
_module_of: Callable[[type], object] = type.__dict__["__module__"].__get__
_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__
_qualname_of: Callable[[type], str] = type.__dict__["__qualname__"].__get__

# With the unit of their length.
_WITH_LENGTH: dict[type[Any], str] = {
    **dict.fromkeys((list, tuple, dict, set, frozenset, deque), ""),
    **{str: " characters", bytes: " bytes", bytearray: " bytes"},
}
# Whose `shape` and `dtype` are known to be cheap and harmless.
_WITH_SHAPE = frozenset(
    {"cupy", "jaxlib", "numpy", "pandas", "polars", "pyarrow", "scipy", "torch", "xarray"}
)


def module_of(cls: type) -> str:
    """The name of the module that *cls* says it is from; empty where it says none."""
    try:
        module = _module_of(cls)
    except AttributeError:
        return ""
    return module if isinstance(module, str) else ""


def type_name(value: object) -> str:
    """The name of the type of *value*, with its module where that helps."""
    cls = type(value)
    package = module_of(cls).partition(".")[0]
    name = _qualname_of(cls)
    return name if package in ("", "builtins", "__main__") else f"{package}.{name}"


def describe(value: Any) -> str:
    """*value* in a few words: its type and extent."""
    cls = type(value)
    if issubclass(cls, type):
        return f"class {_qualname_of(value)}"
    name = _name_of(cls)
    try:
        return f"{name}{_extent(value, cls)}"
    except Exception:
        return name


def _extent(value: Any, cls: type) -> str:
    """The extent of *value*, of type *cls*, as words to follow the name of its type."""
    if issubclass(cls, types.ModuleType):
        return f" {object.__getattribute__(value, '__dict__')['__name__']}"
    if issubclass(cls, bool | int | float | complex | None.__class__):
        return f" {short_repr(value, 24)}"
    for base, unit in _WITH_LENGTH.items():
        if issubclass(cls, base):
            return f" of {base.__len__(value)}{unit}"
    if not _is_known(cls, "shape"):
        return ""
    extent = tuple(value.shape)
    kind = f" {value.dtype}" if _is_known(cls, "dtype") else ""
    return f"{kind} {' x '.join(map(str, extent)) if extent else 'scalar'}"


def _is_known(cls: type, attribute: str) -> bool:
    """Whether instances of *cls* have *attribute* from a library that is known here."""
    for base in bases_of(cls):
        if attribute in members_of(base):
            return module_of(base).partition(".")[0] in _WITH_SHAPE
    return False


def attributes(value: object) -> Iterator[tuple[str, object]]:
    """The attributes that *value* itself holds, in its `__dict__` and slots, without asking it."""
    for base in bases_of(type(value)):
        for name, attribute in list(members_of(base).items()):
            if type(attribute) is types.MemberDescriptorType:
                try:
                    yield name, attribute.__get__(value)
                except AttributeError:
                    continue
            elif name == "__dict__" and type(attribute) is types.GetSetDescriptorType:
                yield from list(attribute.__get__(value).items())


def short_repr(value: Any, width: int = 200) -> str:
    """`repr(value)`, cut to *width* characters, on one line; says so where it fails."""
    text = " ".join(_repr(value, width, 4).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def _repr(value: Any, width: int, depth: int) -> str:
    """The beginning of the repr of *value*, at least *width* characters if it has as many.

    Large containers are not written out in full, nor deep ones to the bottom.
    """
    kind = type(value)
    if kind in (str, bytes, bytearray):
        return repr(value[:width])
    if kind not in _BRACKETS or not value:
        return _own_repr(value)
    opening, closing = _BRACKETS[kind]
    if depth == 0:
        return f"{opening}…{closing}"
    parts: list[str] = []
    room = width
    for part in islice(value.items() if kind is dict else value, width):
        if kind is dict:
            words = f"{_repr(part[0], room, depth - 1)}: {_repr(part[1], room, depth - 1)}"
        else:
            words = _repr(part, room, depth - 1)
        parts.append(words)
        room -= len(words)
        if room < 0:
            break
    comma = "," if kind is tuple and len(value) == 1 else ""
    return f"{opening}{', '.join(parts)}{comma}{closing}"


_BRACKETS: dict[type, Sequence[str]] = {
    list: "[]",
    tuple: "()",
    dict: "{}",
    set: "{}",
    frozenset: ("frozenset({", "})"),
}


def _own_repr(value: Any) -> str:
    try:
        return str.__str__(repr(value))
    except BaseException as error:
        if not blames_the_value(error):
            raise
        return f"<{type_name(value)} whose repr fails: {_name_of(type(error))}>"


def blames_the_value(error: BaseException) -> bool:
    """Whether *error* tells of the value that was worked on, and not that the work should stop."""
    # A panic in Rust code comes as a BaseException.
    return isinstance(error, Exception) or _name_of(type(error)) == "PanicException"


def error_words(error: BaseException) -> str:
    """The type of *error* and the first line of what it says."""
    name = _name_of(type(error))
    try:
        lines = str(error).strip().splitlines()
    except Exception:
        return name
    return f"{name}: {lines[0]}" if lines else name


def size_words(count: float) -> str:
    """*count* bytes as people write it: `512 B`, `3.1 kB`, `1.0 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
