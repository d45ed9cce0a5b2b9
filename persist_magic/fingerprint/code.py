"""Functions, classes and modules. Knows Python's code objects; library code is its name."""

from __future__ import annotations

import opcode
import sys
from collections.abc import Iterator
from types import (
    CellType,
    CodeType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

from persist_magic.fingerprint.parts import Context, Parts, attributes, leaf

NOTEBOOK = "__main__"

# What Python, copyreg, abc and typing put into a class on their own, at any time; where it stands
# in a file; and annotations in the form that is computed when they are first asked for.
_NOT_CONTENT = {
    *("__module__", "__qualname__", "__dict__", "__weakref__"),
    *("__firstlineno__", "__static_attributes__", "__slotnames__"),
    *("_abc_impl", "__non_callable_proto_members__"),
    *("__annotate__", "__annotate_func__", "__annotations_cache__"),
}
# Of what pydantic puts there, its validators are made of the rest, under names with addresses.
_PYDANTIC = {"__pydantic_fields__", "__pydantic_decorators__"}
# Since 3.13 the code of a class body holds its line, and names in the order of a set.
_NOT_CODE = {"__firstlineno__", "__static_attributes__"}

_CONSTANTS = {type(None), bool, int, str, bytes}

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: not set for types that C defines for good

_READS_GLOBAL = {
    opcode.opmap[name]
    for name in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    if name in opcode.opmap
}
# Since 3.11 the lowest bit of the argument of LOAD_GLOBAL tells something else.
_LOAD_GLOBAL = opcode.opmap["LOAD_GLOBAL"] if sys.version_info >= (3, 11) else -1
_STORE_NAME = opcode.opmap["STORE_NAME"]


def library_name(value: Any) -> str | None:
    """The full name by which any process that imports it finds *value*; None if there is none."""
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == NOTEBOOK:
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}.{name}" if found is value else None


def function(value: FunctionType, context: Context) -> Parts | bytes:
    name = library_name(value)
    if name is not None:
        return leaf("library function", name)
    if value.__globals__.get("__name__") == "functools" and hasattr(value, "_clear_cache"):
        return _single_dispatch(value)
    code = value.__code__
    children: list[object] = [value.__name__, value.__doc__, _annotations(value), code]
    children += (value.__defaults__, value.__kwdefaults__)
    steps = ["", "", ".__annotations__", ".__code__", ".__defaults__", ".__kwdefaults__"]
    for variable, cell in zip(code.co_freevars, value.__closure__ or (), strict=True):
        # Pickling keeps the content of cells, not which of them are one.
        children += contents(cell)
        steps += ("", f".<closure>[{variable!r}]")
    named, ways = attributes(vars(value))
    children += (len(named), *named)
    steps += ("", *ways)
    if value.__globals__ is context.namespace or value.__module__ == NOTEBOOK:
        for each, read in _globals_read(value, context):
            children.append(each)
            steps.append("")
            if context.follow_globals:
                children.append(read)
                steps.append(f".__globals__[{each!r}]")
    return Parts("function", children, steps)


def _single_dispatch(value: Any) -> Parts:
    """A function of `functools.singledispatch`, without its weak references."""
    kinds = list(value.registry)
    ways = [f".registry[{kind.__qualname__}]" for kind in kinds]
    return Parts("singledispatch", (kinds, *value.registry.values()), ("", *ways))


def _annotations(value: FunctionType) -> object:
    try:
        return value.__annotations__
    except Exception:  # since 3.14 they are computed here, from names that may not be bound yet
        return None


def _globals_read(value: FunctionType, context: Context) -> Iterator[tuple[str, object]]:
    """The globals that *value* reads, by name; not those that are missing, or builtins."""
    for name in sorted(set(global_names(value.__code__))):
        if name in value.__globals__:
            yield name, value.__globals__[name]
        elif context.namespace is not None and name in context.namespace:
            yield name, context.namespace[name]


def global_names(code: CodeType) -> Iterator[str]:
    """The names of globals that *code* reads, and the functions and classes defined in it."""
    for op, argument in _instructions(code):
        if op in _READS_GLOBAL:
            yield code.co_names[argument >> 1 if op == _LOAD_GLOBAL else argument]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from global_names(constant)


def _instructions(code: CodeType) -> Iterator[tuple[int, int]]:
    # `dis` does the same, and takes 10 ms to import.
    raw = code.co_code
    extended = 0
    for op, argument in zip(raw[::2], raw[1::2], strict=True):
        argument |= extended
        if op == opcode.EXTENDED_ARG:
            extended = argument << 8
        else:
            extended = 0
            yield op, argument


def code(value: CodeType, context: Context) -> Parts:
    instructions: object = value.co_code
    constants: object = value.co_consts
    if not _NOT_CODE.isdisjoint(value.co_names):
        instructions, constants = _class_body(value)
    return Parts(
        "code",
        (
            value.co_name,
            (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount),
            value.co_flags,
            value.co_names,
            (value.co_varnames, value.co_freevars, value.co_cellvars),
            getattr(value, "co_exceptiontable", b""),
            instructions,
            constants,
        ),
    )


def _class_body(code: CodeType) -> tuple[tuple[tuple[int, int], ...], tuple[object, ...]]:
    """Instructions and constants of *code*, without those that only tell where it stands."""
    kept: list[tuple[int, int]] = []
    for op, argument in _instructions(code):
        if op == _STORE_NAME and code.co_names[argument] in _NOT_CODE:
            kept.pop()
        else:
            kept.append((op, argument))
    constants: list[object] = []
    for index, (op, argument) in enumerate(kept):
        if op in opcode.hasconst:
            kept[index] = (op, len(constants))
            constants.append(code.co_consts[argument])
    return tuple(kept), tuple(constants)


def cell(value: CellType, context: Context) -> Parts:
    return Parts("cell", contents(value), ("", ".cell_contents"))


def contents(cell: CellType) -> tuple[object, object]:
    """Whether *cell* is full, and of what."""
    try:
        return True, cell.cell_contents
    except ValueError:
        return False, None


def method(value: MethodType, context: Context) -> Parts:
    return Parts("method", (value.__func__, value.__self__), (".__func__", ".__self__"))


def builtin(value: Any, context: Context) -> Parts | bytes:
    """A function or a bound method that is written in C."""
    name = library_name(value)
    if name is not None:
        return leaf("library function", name)
    if value.__self__ is None or isinstance(value.__self__, ModuleType):
        return leaf("library function", f"{value.__module__}.{value.__qualname__}")
    return Parts("bound builtin", (value.__self__, value.__name__), (".__self__",))


def slot(value: Any, context: Context) -> Parts:
    """A method or attribute of a type that is written in C, or of a slot."""
    return Parts("slot", (value.__objclass__, value.__name__))


def module(value: ModuleType, context: Context) -> Parts | bytes:
    name = value.__name__
    if sys.modules.get(name) is value or name == NOTEBOOK:
        return leaf("module", name)
    children, steps = attributes({k: v for k, v in vars(value).items() if k[:2] != "__"})
    return Parts("dynamic module", (name, *children), ("", *steps))


def class_(value: type, context: Context) -> Parts | bytes:
    name = library_name(value)
    if name is not None:
        return leaf("library class", name)
    if not value.__flags__ & _HEAP_TYPE:
        return leaf("library class", f"{value.__module__}.{value.__qualname__}")
    children, steps = attributes(dict(class_attributes(value)))
    header = (value.__name__, type(value), len(value.__bases__), *value.__bases__)
    return Parts("class", (*header, *children), (*[""] * len(header), *steps))


def class_attributes(value: type) -> Iterator[tuple[str, object]]:
    """What the body of the class *value*, its decorators and later assignments made of it."""
    for name, attribute in vars(value).items():
        if name in _NOT_CONTENT or (name.startswith("__pydantic_") and name not in _PYDANTIC):
            continue
        # Until 3.13 it is made when it is asked for.
        if name == "__annotations__" and not attribute:
            continue
        # attrs writes into it a number that differs in each process; it follows from the rest.
        if name == "__hash__" and _source_of(attribute).startswith("<attrs generated"):
            continue
        # Descriptors of slots follow from `__slots__`.
        if isinstance(attribute, MemberDescriptorType) and attribute.__objclass__ is value:
            continue
        if not _is_inherited(value, name, attribute):
            yield name, attribute


def _source_of(function: object) -> str:
    return function.__code__.co_filename if isinstance(function, FunctionType) else ""


def _is_inherited(cls: type, name: str, attribute: object) -> bool:
    # A class that was pickled has lost what only repeats its base.
    for base in cls.__bases__:
        if name in vars(base):
            other = vars(base)[name]
            if other is attribute:
                return True
            # Whether equal constants are one object is chance.
            return type(other) is type(attribute) in _CONSTANTS and bool(attribute == other)
    return False
