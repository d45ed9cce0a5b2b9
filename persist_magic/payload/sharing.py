"""Which variables hold the same objects. Knows what cannot change, and pickles nothing itself."""

from __future__ import annotations

import enum
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from persist_magic.payload.describe import members_of, module_of
from persist_magic.payload.pickling import Met

# What many values hold without sharing anything that could change. Functions written in C, bound
# methods and descriptors are made anew, or looked up, each time they are asked for.
_IMMUTABLE: tuple[type, ...] = (
    *(str, bytes, int, float, complex, tuple, frozenset, range, slice, type, enum.Enum),
    *(property, staticmethod, classmethod, types.BuiltinFunctionType, types.MethodType),
    *(types.ModuleType, types.CodeType, types.GenericAlias, types.UnionType),
    *(types.MemberDescriptorType, types.GetSetDescriptorType),
    *(types.MethodDescriptorType, types.WrapperDescriptorType),
)
# A name is a module that has the type, and its name there.
_IMMUTABLE_OF_LIBRARIES = (
    *("datetime.date", "datetime.time", "datetime.timedelta", "datetime.tzinfo"),
    *("decimal.Decimal", "fractions.Fraction", "pathlib.PurePath", "re.Pattern", "uuid.UUID"),
    *("logging.Logger", "numpy.dtype", "numpy.generic", "numpy.ufunc"),
    *("pandas.Index", "pandas.Interval", "pandas.Period", "pandas.api.extensions.ExtensionDtype"),
    *("pandas._libs.tslibs.offsets.BaseOffset", "pandas._libs.missing.NAType"),
)
_IMMUTABLE_MODULES = frozenset({"ipaddress", "operator", "pyarrow.lib", "typing"})


def groups(
    met: Mapping[str, Met], outside_classes: Callable[[str], Iterable[Any]]
) -> list[tuple[str, ...]]:
    """The names, those together whose values have an object in common that can change.

    Parameters
    ----------
    met
        What each name's value holds.
    outside_classes
        Asked for what the value of a name holds that is not only a part of notebook classes: two
        instances of one class share nothing because of that.
    """
    shared = _met_twice(met)
    holders: dict[int, list[str]] = {id: [] for id in shared}
    direct: dict[int, str] = {}
    for name, each in met.items():
        held = [id(obj) for obj in each.objects if id(obj) in shared]
        for number in held:
            holders[number].append(name)
        if held and each.has_classes:
            held = [id(obj) for obj in outside_classes(name)]
        direct.update((number, name) for number in held if number in shared)
    leader = {name: name for name in met}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = name = leader[leader[name]]
        return name

    for number in direct:
        for name in holders[number]:
            leader[find(name)] = find(holders[number][0])
    found: dict[str, list[str]] = {}
    for name in met:
        found.setdefault(find(name), []).append(name)
    return [tuple(names) for names in found.values()]


def _met_twice(met: Mapping[str, Met]) -> dict[int, Any]:
    """The objects that can change and that more than one name holds, by id."""
    # The largest last: what only it holds need not be remembered.
    ordered = sorted(met.values(), key=lambda each: len(each.objects))
    seen: set[int] = set()
    twice: dict[int, Any] = {}
    immutable = _immutable_types()
    ignored = _pandas_metadata()
    for each in ordered:
        for obj in each.objects:
            if id(obj) not in seen or id(obj) in twice or id(obj) in each.named:
                continue
            if _is_frozen(type(obj)):
                ignored.add(id(getattr(obj, "__dict__", None)))
            elif (
                not issubclass(type(obj), immutable)
                and module_of(type(obj)) not in _IMMUTABLE_MODULES
            ):
                twice[id(obj)] = obj
        if each is not ordered[-1]:
            seen.update(map(id, each.objects))
    return {number: obj for number, obj in twice.items() if number not in ignored}


def _is_frozen(cls: type) -> bool:
    """Whether *cls* is a dataclass whose instances do not change."""
    return getattr(members_of(cls).get("__dataclass_params__"), "frozen", False)


def _immutable_types() -> tuple[type, ...]:
    found = list(_IMMUTABLE)
    for name in _IMMUTABLE_OF_LIBRARIES:
        module, _, attribute = name.rpartition(".")
        kind = getattr(sys.modules.get(module), attribute, None)
        if isinstance(kind, type):
            found.append(kind)
    return tuple(found)


def _pandas_metadata() -> set[int]:
    """The ids of the lists that classes of frames hold, and every frame gives to the pickler."""
    pandas = sys.modules.get("pandas")
    classes = [getattr(pandas, name, None) for name in ("DataFrame", "Series")]
    found = set()
    while classes:
        cls = classes.pop()
        if isinstance(cls, type):
            found.add(id(getattr(cls, "_metadata", None)))
            classes += cls.__subclasses__()
    return found
