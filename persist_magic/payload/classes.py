"""How a class of the notebook is taken apart to be saved. Knows what Python does with its parts."""

from __future__ import annotations

import abc
import enum
import types
from typing import Any

from persist_magic.payload import rebuild
from persist_magic.payload.rebuild import NOTEBOOK

# What `type` reads when it makes a class: with the state it would come too late.
FOR_TYPE = ("__slots__", "__orig_bases__")
_METHODS = (types.FunctionType, classmethod, staticmethod, property)
_PLAIN_METACLASSES = (abc.ABCMeta, type, object)
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: not set for types that C defines for good


class Methods:
    """Stands in a stream for the class itself, which by then has its methods."""

    def __init__(self, cls: type, methods: dict[str, Any]) -> None:
        self._of = cls, methods

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild.set_class_state, self._of


def methods_first(cls: type, state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributes of *cls* in *state*, those first that its instances need to be built.

    `__new__` is not among these: it may need the rest, and instances have been made once.
    """
    without = {*FOR_TYPE, *(cls.__members__ if isinstance(cls, enum.EnumMeta) else ())}
    parts: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for name, value in state.items():
        first = name[:2] == name[-2:] == "__" or isinstance(value, _METHODS)
        if name not in without:
            parts[0 if first and name != "__new__" else 1][name] = value
    return parts


def made_member(member: Any) -> tuple[Any, type, tuple[Any, ...]]:
    """The value of an enum member, and the type written in C that it is made by, with arguments."""
    base: Any = next(
        each for each in type(member)._member_type_.__mro__ if not each.__flags__ & _HEAP_TYPE
    )
    arguments = getattr(base, "__getnewargs__", None)
    return member._value_, base, arguments(member) if arguments else ()


def given_to(member: Any) -> dict[str, Any]:
    """The attributes of an enum member that are not the enum's own."""
    own = {"__objclass__", "_sort_order_"}
    return {
        name: value
        for name, value in vars(member).items()
        if name not in own and not (name[0] == name[-1] == "_" and name[1:2] != "_")
    }


def is_plain(metaclass: type) -> bool:
    """Whether no library has a say in what a class of *metaclass* is."""
    return all(
        each in _PLAIN_METACLASSES or each.__module__ == NOTEBOOK for each in type.mro(metaclass)
    )
