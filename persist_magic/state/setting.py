"""What one setting of a library is, and which values can be carried. Knows no library."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import dataclass
from types import BuiltinMethodType, CodeType, FunctionType, ModuleType
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A global setting of one library.

    `take` gives what differs from a process in which nobody touched it, or None; it is called only
    when `module` is imported. `give` sets what `take` gave, in a process that has imported it.
    Neither imports anything else. A setting that `matters` can change the result of a cell; that of
    a `generator` of random numbers is taken only where it was seeded.
    """

    name: str
    module: str
    take: Callable[[], object | None]
    give: Callable[[Any], None]
    matters: bool = True
    generator: bool = False


def carried(value: object) -> bool:
    """Whether *value* means the same in another process, and needs no library to be read there."""
    kind = type(value)
    if value is None or kind in (bool, int, float, complex, str, bytes):
        return True
    if kind in (list, tuple, set, frozenset):
        return all(carried(item) for item in value)  # type: ignore[attr-defined]  # one of these
    if kind is dict:
        return all(carried(item) for pair in value.items() for item in pair)  # type: ignore[attr-defined]  # a dict
    if isinstance(value, BuiltinMethodType):
        return type(value.__self__) is str  # '{:.2f}'.format
    return isinstance(value, FunctionType) and stands_alone(value)


def stands_alone(function: FunctionType) -> bool:
    """Whether *function* is the notebook's own and reads nothing of it but modules."""
    if function.__module__ != "__main__" or function.__closure__:
        return False
    known = function.__globals__
    return all(
        isinstance(known[name], ModuleType)
        for name in _names(function.__code__)
        if name in known and not hasattr(builtins, name)
    )


def _names(code: CodeType) -> set[str]:
    inner = [_names(const) for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*inner)
