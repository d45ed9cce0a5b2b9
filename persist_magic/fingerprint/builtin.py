"""Handlers for Python and its standard library, and for all else that can be pickled."""

from __future__ import annotations

import copyreg
import struct
import sys
import warnings
from collections.abc import Iterable
from typing import Any

from persist_magic.fingerprint.code import class_, class_attributes, library_name
from persist_magic.fingerprint.parts import Context, Handler, Parts, Unstable, attributes, leaf
from persist_magic.fingerprint.plain import LARGE

# Sets of these have a natural order, which is faster than one by digests.
_ORDERED = ({str}, {int}, {bytes})


def reduced(value: Any, context: Context) -> Parts | bytes:
    """Any value that says itself how it is built, to pickle."""
    return _parts(value, _reduce(value))


def without(*caches: str, empty: tuple[str, ...] = ()) -> Handler:
    """The same, for a value that is no other one with its attributes *caches*, or *empty* ones."""

    def handler(value: Any, context: Context) -> Parts | bytes:
        return _parts(value, _reduce(value), caches, empty)

    return handler


def _parts(
    value: Any, reduction: Any, caches: tuple[str, ...] = (), empty: tuple[str, ...] = ()
) -> Parts | bytes:
    if isinstance(reduction, str):
        return leaf("global", _module_of(value, reduction), reduction)
    call, arguments, state, items, pairs, setter = (*reduction, None, None, None, None)[:6]
    if _holds_address(arguments, id(value)):
        raise Unstable("its pickled form holds its own address")
    children: list[object] = [call, arguments, setter]
    steps = ["", "", ""]
    if call is copyreg.__newobj__:  # type: ignore[attr-defined]  # typeshed leaves it out
        children = ["new", arguments[0], arguments[1:]]
        steps = ["", ".__class__", ""]
    if items is not None or pairs is not None:
        children.append(None if items is None else list(items))
        children.append(None if pairs is None else dict(pairs))
        steps += ("", "")
    merged = None if setter else _merged(state, hasattr(type(value), "__setstate__"))
    if merged is None:
        return Parts("reduced", (*children, "state", state), (*steps, "", ""))
    for name in (*caches, *(each for each in empty if not merged.get(each))):
        merged.pop(name, None)
    named, ways = attributes(merged)
    return Parts("object", (*children, *named), (*steps, *ways))


def _reduce(value: Any) -> Any:
    kind = type(value)
    reducer = copyreg.dispatch_table.get(kind)
    if kind.__module__ == "itertools":
        with warnings.catch_warnings():
            # Since 3.12 they say that a later Python will not pickle them.
            warnings.simplefilter("ignore", DeprecationWarning)
            return value.__reduce_ex__(4)
    return reducer(value) if reducer is not None else value.__reduce_ex__(4)


def _merged(state: object, private: bool) -> dict[str, object] | None:
    """The attributes in *state*, by name; None if it is no such, or if it is *private*, a pair."""
    pair = state if type(state) is tuple and len(state) == 2 and not private else (state, None)
    merged: dict[str, object] = {}
    # Those of a dict and those of slots are alike: a class may lose its slots by pickling.
    for each in pair:
        if each is not None and (type(each) is not dict or not all(type(k) is str for k in each)):
            return None
        merged.update(each or {})
    return merged


def _holds_address(arguments: Any, address: int) -> bool:
    return any(
        (type(each) is int and each == address)
        or (type(each) is str and len(each) < 1000 and f"{address:x}" in each)
        for each in arguments or ()
    )


def _module_of(value: object, name: str) -> str:
    """The module in which *name* is *value*."""
    for module in (getattr(value, "__module__", None), type(value).__module__):
        found: Any = sys.modules.get(module or "")
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is value:
            return str(module)
    # Which of several modules has it first depends on what was imported.
    if any(getattr(module, name, None) is value for module in list(sys.modules.values())):
        return type(value).__module__
    raise Unstable(f"no module has it as {name}")


def unstable(value: object, context: Context) -> Parts:
    """What could be pickled, or looks so, and yet is bound to its process."""
    raise Unstable


def random_generator(value: Any, context: Context) -> Parts | bytes:
    """Those that a module shares with all of the process are no part of what refers to them."""
    for module, name in (("random", "_inst"), ("numpy.random.mtrand", "_rand")):
        if getattr(sys.modules.get(module), name, None) is value:
            return leaf("process", module)
    return reduced(value, context)


def named_type(value: object, context: Context) -> bytes:
    """One that stands for its process wherever it is, like the shell."""
    return leaf("process", type(value).__qualname__)


def constructed(value: Any, context: Context) -> Parts | bytes:
    """A value that is built of a few scalars: in short what `reduced` would say."""
    call, arguments = value.__reduce_ex__(4)[:2]
    if all(type(each) in (int, str, bytes) for each in arguments):
        return leaf("constructed", call.__qualname__, repr(arguments))
    return reduced(value, context)


def complex_(value: complex, context: Context) -> bytes:
    return leaf("complex", struct.pack(">dd", value.real, value.imag))


def buffer(value: bytearray | memoryview, context: Context) -> Parts:
    view = memoryview(value)
    about = (type(value), view.format, view.shape)
    if view.nbytes < LARGE or not view.c_contiguous:
        return Parts("buffer", (*about, view.tobytes()))
    return Parts("large buffer", (*about, context.digest(view.cast("B"))))


def array(value: Any, context: Context) -> Parts:
    # Of its characters memoryview knows nothing.
    text = value.typecode in "uw"
    content = value.tounicode() if text else memoryview(value).cast("B")
    return Parts("array.array", (type(value), value.typecode, content, *_extras(value)))


def _extras(value: object) -> Iterable[object]:
    """What a subclass added to its instance."""
    children, _ = attributes(getattr(value, "__dict__", {}))
    return children


def set_(value: set[Any] | frozenset[Any], context: Context) -> Parts:
    if type(value) not in (set, frozenset):
        return Parts("set subclass", (type(value), set(value), *_extras(value)))
    tag = type(value).__name__
    if set(map(type, value)) in _ORDERED:
        return Parts(f"sorted {tag}", (sorted(value),))
    return Parts(tag, value, unordered=True)


def mapping_view(value: Any, context: Context) -> Parts:
    return Parts("view", (type(value), list(value)))


def mapping_proxy(value: Any, context: Context) -> Parts:
    return Parts("mappingproxy", (dict(value),))


def path(value: Any, context: Context) -> Parts:
    # From 3.13 on, what it reduces to depends on whether it was used.
    return Parts("path", (type(value), str(value)))


def property_(value: Any, context: Context) -> Parts:
    children = (type(value), value.__doc__, value.fget, value.fset, value.fdel)
    return Parts("property", children, ("", "", ".fget", ".fset", ".fdel"))


def wrapped_method(value: Any, context: Context) -> Parts:
    return Parts("wrapped method", (type(value), value.__func__), ("", ".__func__"))


def cached_property(value: Any, context: Context) -> Parts:
    # Until 3.11 it has a lock.
    return Parts("cached_property", (value.func, value.attrname), (".func", ""))


def single_dispatch_method(value: Any, context: Context) -> Parts:
    # Since 3.14 it has weak references.
    children = (value.func, value.dispatcher)
    return Parts("singledispatchmethod", children, (".func", ".dispatcher"))


def lru_cache(value: Any, context: Context) -> Parts | bytes:
    """Without what is in the cache."""
    name = library_name(value)
    if name is not None:
        return leaf("library function", name)
    children = (value.__wrapped__, value.cache_parameters())
    return Parts("lru_cache", children, (".__wrapped__",))


def field(value: Any, context: Context) -> Parts:
    """A field of a dataclass. Its kind is a sentinel, and may be another object after pickling."""
    names = [name for name in value.__slots__ if name not in ("_field_type", "__doc__")]
    children, steps = attributes({name: getattr(value, name) for name in names})
    kind = value._field_type
    return Parts("field", (kind and kind.name, *children), ("", *steps))


def enum_class(value: Any, context: Context) -> Parts | bytes:
    if library_name(value) is not None or "_member_map_" not in vars(value):
        return class_(value, context)
    members = {member.name: member.value for member in value}
    named = [*value.__members__.items(), *vars(value).items()]
    aliases = {n: m.name for n, m in named if isinstance(m, value) and m.name != n}
    # What is left of `_names_` is made anew of the members.
    kept = {
        name: attribute
        for name, attribute in class_attributes(value)
        if name not in members and name not in aliases and name != "__new__"
        if not (name.startswith("_") and name[1:2] != "_" and name.endswith("_"))
    }
    kept["_new_member_"] = getattr(value, "_new_member_", None)
    children, steps = attributes(kept)
    header = (value.__name__, type(value), members, aliases, len(value.__bases__), *value.__bases__)
    return Parts("enum", (*header, *children), (*[""] * len(header), *steps))


def enum_member(value: Any, context: Context) -> Parts:
    return Parts("member", (type(value), value._name_, value._value_))


def type_variable(value: Any, context: Context) -> Parts:
    names = ("__bound__", "__constraints__", "__covariant__", "__contravariant__", "__default__")
    children = [getattr(value, name, None) for name in names]
    return Parts("type variable", (type(value), value.__name__, *children))


def new_type(value: Any, context: Context) -> Parts:
    return Parts("NewType", (value.__name__, value.__supertype__))


def forward_reference(value: Any, context: Context) -> Parts:
    # Asking for what it stands for leaves that in it.
    return Parts("ForwardRef", (value.__forward_arg__,))
