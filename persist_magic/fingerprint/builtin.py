"""Handlers for Python and its standard library, and for all else that can be pickled."""

from __future__ import annotations

import copyreg
import sys
import warnings
from collections.abc import Iterable
from typing import Any

from persist_magic.fingerprint.code import class_attributes, class_, library_name
from persist_magic.fingerprint.parts import Context, Parts, Unstable, attributes, leaf
from persist_magic.fingerprint.plain import LARGE

# Sets of these have a natural order, which is faster than one by digests.
_ORDERED = ({str}, {int}, {bytes})


def reduced(value: Any, context: Context) -> Parts | bytes:
    """Any value that says itself how it is built, to pickle."""
    del context
    reduction = _reduce(value)
    if isinstance(reduction, str):
        return leaf("global", _module_of(value, reduction), reduction)
    call, arguments, state, items, pairs, setter = (*reduction, None, None, None, None)[:6]
    if _holds_address(arguments, id(value)):
        raise Unstable("its pickled form holds its own address")
    if call is copyreg.__newobj__:  # type: ignore[attr-defined]  # typeshed leaves it out
        call, *arguments = arguments
    children: list[object] = [call, type(arguments), tuple(arguments or ()), setter]
    children.append(None if items is None else list(items))
    children.append(None if pairs is None else dict(pairs))
    steps = [""] * len(children)
    merged = None if setter else _merged(state)
    if merged is None:
        return Parts("reduced", (*children, state), (*steps, ""))
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


def _merged(state: object) -> dict[str, object] | None:
    """The attributes in *state*, whether of a dict, of slots or of both; None if it is no such."""
    merged: dict[str, object] = {}
    for each in state if type(state) is tuple and len(state) == 2 else (state,):
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
    import pickle

    for module in (getattr(value, "__module__", None), type(value).__module__):
        found: Any = sys.modules.get(module or "")
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is value:
            return str(module)
    # In which of several modules it is found first depends on what was imported.
    module = pickle.whichmodule(value, name)
    if getattr(sys.modules.get(module), name, None) is not value:
        raise Unstable(f"no module has it as {name}")
    return type(value).__module__


def unstable(value: object, context: Context) -> Parts:
    """What could be pickled, or looks so, and yet is bound to its process."""
    del value, context
    raise Unstable


def named_type(value: object, context: Context) -> bytes:
    """One that stands for its process wherever it is, like the shell."""
    del context
    return leaf("process", type(value).__qualname__)


def constructed(value: Any, context: Context) -> Parts | bytes:
    """A value that is built of a few scalars: in short what `reduced` would say."""
    call, arguments = value.__reduce_ex__(4)[:2]
    if all(type(each) in (int, str, bytes) for each in arguments):
        return leaf("constructed", call.__qualname__, repr(arguments))
    return reduced(value, context)


def complex_(value: complex, context: Context) -> bytes:
    import struct

    del context
    return leaf("complex", struct.pack(">dd", value.real, value.imag))


def buffer(value: bytearray | memoryview, context: Context) -> Parts:
    view = memoryview(value)
    if not view.contiguous or not view.c_contiguous:
        view = memoryview(view.tobytes())
    shape = (view.format, memoryview(value).shape)
    flat = view.cast("B") if view.nbytes else memoryview(b"")
    content = context.digest(flat) if flat.nbytes >= LARGE else flat.tobytes()
    return Parts("buffer", (type(value), *shape, content))


def array(value: Any, context: Context) -> Parts:
    flat = memoryview(value).cast("B")
    content = context.digest(flat) if flat.nbytes >= LARGE else flat.tobytes()
    return Parts("array.array", (type(value), value.typecode, content, *_extras(value)))


def _extras(value: object) -> Iterable[object]:
    """What a subclass added to its instance."""
    children, _ = attributes(getattr(value, "__dict__", {}))
    return children


def set_(value: set[Any] | frozenset[Any], context: Context) -> Parts:
    del context
    if type(value) not in (set, frozenset):
        return Parts("set subclass", (type(value), set(value), *_extras(value)))
    tag = type(value).__name__
    if set(map(type, value)) in _ORDERED:
        return Parts(f"sorted {tag}", (sorted(value),))
    return Parts(tag, value, unordered=True)


def mapping_view(value: Any, context: Context) -> Parts:
    del context
    return Parts("view", (type(value), list(value)))


def mapping_proxy(value: Any, context: Context) -> Parts:
    del context
    return Parts("mappingproxy", (dict(value),))


def path(value: Any, context: Context) -> Parts:
    # From 3.13 on, what it reduces to depends on whether it was used.
    del context
    return Parts("path", (type(value), str(value)))


def property_(value: Any, context: Context) -> Parts:
    del context
    children = (type(value), value.__doc__, value.fget, value.fset, value.fdel)
    return Parts("property", children, ("", "", ".fget", ".fset", ".fdel"))


def wrapped_method(value: Any, context: Context) -> Parts:
    del context
    return Parts("wrapped method", (type(value), value.__func__), ("", ".__func__"))


def cached_property(value: Any, context: Context) -> Parts:
    # Until 3.11 it has a lock.
    del context
    return Parts("cached_property", (value.func, value.attrname), (".func", ""))


def lru_cache(value: Any, context: Context) -> Parts | bytes:
    """Without what is in the cache."""
    del context
    name = library_name(value)
    if name is not None:
        return leaf("library function", name)
    children = (value.__wrapped__, value.cache_parameters())
    return Parts("lru_cache", children, (".__wrapped__",))


def field(value: Any, context: Context) -> Parts:
    """A field of a dataclass. Its kind is a sentinel, and may be another object after pickling."""
    del context
    names = [name for name in value.__slots__ if name not in ("_field_type", "__doc__")]
    children, steps = attributes({name: getattr(value, name) for name in names})
    kind = value._field_type
    return Parts("field", (kind and kind.name, *children), ("", *steps))


def enum_class(value: Any, context: Context) -> Parts | bytes:
    if library_name(value) is not None or "_member_map_" not in vars(value):
        return class_(value, context)
    members = {member.name: member.value for member in value}
    # What is left of `_names_` is made anew of the members.
    kept = {
        name: attribute
        for name, attribute in class_attributes(value)
        if name not in value.__members__ and name != "__new__"
        if not (name.startswith("_") and name[1:2] != "_" and name.endswith("_"))
    }
    kept["_new_member_"] = getattr(value, "_new_member_", None)
    children, steps = attributes(kept)
    header = (value.__name__, type(value), members, len(value.__bases__), *value.__bases__)
    return Parts("enum", (*header, *children), (*[""] * len(header), *steps))


def enum_member(value: Any, context: Context) -> Parts:
    del context
    return Parts("member", (type(value), value._name_, value._value_))


def type_variable(value: Any, context: Context) -> Parts:
    del context
    names = ("__bound__", "__constraints__", "__covariant__", "__contravariant__", "__default__")
    children = [getattr(value, name, None) for name in names]
    return Parts("type variable", (type(value), value.__name__, *children))


def new_type(value: Any, context: Context) -> Parts:
    del context
    return Parts("NewType", (value.__name__, value.__supertype__))


def forward_reference(value: Any, context: Context) -> Parts:
    # Asking for what it stands for leaves that in it.
    del context
    return Parts("ForwardRef", (value.__forward_arg__,))
