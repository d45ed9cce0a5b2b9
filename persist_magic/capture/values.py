"""Which names of a namespace the values of others need. Runs none of the notebook's code."""

from __future__ import annotations

import dis
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

from persist_magic.capture.ipython_text import (
    SHELL_METHODS,
    TEXT_READERS,
    identifiers,
    names_in_string,
)

_GLOBAL_OPERATIONS = frozenset(
    {
        *("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"),
        *("STORE_GLOBAL", "DELETE_GLOBAL"),
    }
)

# How many values are looked at to find the functions and classes that they hold, and how many of
# one container. The pickler meets what these limits leave out.
_MOST_VALUES = 10_000
_MOST_OF_ONE = 1_000

# A metaclass may run code when its class is hashed, compared or asked for an attribute. So types
# are known by identity here, and asked through the slots of `type` itself.
_HOLDS_NOTHING = frozenset(
    map(
        id,
        (
            *(bool, int, float, complex, str, bytes, bytearray, range, type(None), type(...)),
            *(types.BuiltinFunctionType, types.CodeType),
        ),
    )
)
_CONTAINERS: dict[int, Callable[[Any], Iterator[object]]] = {
    id(dict): lambda value: chain(dict.values(value), dict.keys(value)),
    id(list): list.__iter__,
    id(tuple): tuple.__iter__,
    id(set): set.__iter__,
    id(frozenset): frozenset.__iter__,
    id(deque): deque.__iter__,
}
_bases_of = type.__dict__["__mro__"].__get__
_attributes_of = type.__dict__["__dict__"].__get__
_name_of = type.__dict__["__name__"].__get__


def names_of_code(code: types.CodeType) -> frozenset[str]:
    """The global names that *code*, of a function, and code nested in it load, store or delete."""
    return frozenset(
        instruction.argval
        for each in _with_nested(code)
        for instruction in dis.get_instructions(each)
        if instruction.opname in _GLOBAL_OPERATIONS
    )


def follow(names: Iterable[str], namespace: Mapping[str, object]) -> dict[str, str]:
    """The names of *namespace* that *names* need, themselves included.

    A function needs the global names that it uses if its globals are *namespace*; a class of the
    notebook, one made in ``__main__``, needs what its methods do; any other value needs what it
    holds. Containers are looked into up to a limit.

    Parameters
    ----------
    names
        Where to begin; those that *namespace* lacks are passed over.
    namespace
        The notebook's namespace, as its functions know it.

    Returns
    -------
    dict
        Each name, in the order met, and why it is needed.
    """
    return _Follower(namespace).needed_by(names)


class _Met(NamedTuple):
    """A value, the variable that led to it, the class whose part it is, and why it is needed."""

    value: object
    variable: str
    owner: str
    why: str


class _Follower:
    """A walk from value to value: functions and classes first, then the nearest."""

    def __init__(self, namespace: Mapping[str, object]) -> None:
        self.namespace = namespace
        self.why: dict[str, str] = {}
        self.code: deque[_Met] = deque()
        self.data: deque[_Met] = deque()
        # By identity; the values are kept, or another could get the identity of one of them.
        self.seen: dict[int, object] = {}
        self.left = _MOST_VALUES

    def needed_by(self, names: Iterable[str]) -> dict[str, str]:
        for name in names:
            self.need(name, "read by the cell")
        while waiting := self.code or self.data:
            met = waiting.popleft()
            if type(met.value) is types.FunctionType:
                self.function(met, met.value)
            elif issubclass(type(met.value), type):
                self.notebook_class(met, met.value)
            else:
                self.instance(met)
        return self.why

    def need(self, name: str, why: str) -> None:
        if name in self.namespace and name not in self.why:
            self.why[name] = why
            self.meet(self.namespace[name], name)

    def meet(self, value: object, variable: str, owner: str = "", why: str = "") -> None:
        """Look at *value* later, once."""
        kind = type(value)
        if (
            id(kind) in _HOLDS_NOTHING
            or issubclass(kind, types.ModuleType)
            or id(value) in self.seen
        ):
            return
        self.seen[id(value)] = value
        is_code = kind is types.FunctionType or issubclass(kind, type)
        (self.code if is_code else self.data).append(
            _Met(value, variable, owner, why or f"held by {variable!r}")
        )

    def known_as(self, name: str, value: object) -> bool:
        return self.namespace.get(name) is value

    def function(self, met: _Met, function: types.FunctionType) -> None:
        if function.__globals__ is self.namespace:
            if self.known_as(function.__name__, function):
                self.need(function.__name__, met.why)
            for name in sorted(names_of_code(function.__code__).union(_in_strings(function))):
                self.need(name, f"read by {self.reader(met, function)}")
        parts = [
            *(function.__defaults__ or ()),
            *(function.__kwdefaults__ or {}).values(),
            *_contents(function.__closure__ or ()),
            *function.__dict__.values(),
        ]
        for part in parts:
            self.meet(part, met.variable, met.owner)

    def reader(self, met: _Met, function: types.FunctionType) -> str:
        if met.owner:
            return f"class {met.owner!r}"
        if function.__name__ != "<lambda>":
            return f"function {function.__name__!r}"
        if self.known_as(met.variable, function):
            return f"function {met.variable!r}"
        return f"a lambda in {met.variable!r}"

    def notebook_class(self, met: _Met, kind: Any) -> None:
        attributes = _attributes_of(kind)
        module = attributes.get("__module__")
        if type(module) is not str or module != "__main__":
            return
        name = _name_of(kind)
        if self.known_as(name, kind):
            self.need(name, met.why)
        self.meet(type(kind), met.variable, why=f"class of {name!r}")
        for base in _bases_of(kind):
            self.meet(base, met.variable, why=f"base of class {name!r}")
        for part in list(attributes.values()):
            self.meet(part, met.variable, name)

    def instance(self, met: _Met) -> None:
        whole = self.known_as(met.variable, met.value)
        holder = repr(met.variable) if whole else f"a value in {met.variable!r}"
        self.meet(type(met.value), met.variable, why=f"class of {holder}")
        try:
            for part in islice(_held_by(met.value), min(self.left, _MOST_OF_ONE)):
                self.left -= 1
                self.meet(part, met.variable, met.owner)
        except RuntimeError:
            # A thread of the notebook changed the container meanwhile.
            return


def _held_by(value: object) -> Iterator[object]:
    """What a container contains, and what the attributes of an object are, without asking it."""
    for base in _bases_of(type(value)):
        if contents := _CONTAINERS.get(id(base)):
            yield from contents(value)
        for name, attribute in list(_attributes_of(base).items()):
            if type(attribute) is types.MemberDescriptorType:
                try:
                    yield attribute.__get__(value)
                except AttributeError:
                    continue
            elif name == "__dict__" and type(attribute) is types.GetSetDescriptorType:
                yield from dict.values(attribute.__get__(value))


def _contents(closure: Iterable[types.CellType]) -> Iterator[object]:
    for cell in closure:
        try:
            yield cell.cell_contents
        except ValueError:
            # The function was defined before the variable got its value.
            continue


def _in_strings(function: types.FunctionType) -> Iterator[str]:
    """What may be names in the strings that *function* gives to IPython or to a query."""
    for code in _with_nested(function.__code__):
        if SHELL_METHODS.intersection(code.co_names):
            names_in = identifiers
        elif TEXT_READERS.intersection(code.co_names):
            names_in = names_in_string
        else:
            continue
        for text in code.co_consts:
            if isinstance(text, str) and text is not function.__doc__:
                yield from names_in(text)


def _with_nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _with_nested(constant)
