"""Which variables hold the same objects. Knows what cannot change, and pickles nothing itself."""

from __future__ import annotations

import enum
import os
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from persist_magic.payload.describe import bases_of, members_of, module_of
from persist_magic.payload.pickling import Met
from persist_magic.payload.rebuild import NOTEBOOK

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
    search = _Search(met)
    # The largest last: what only it holds need not be remembered.
    ordered = sorted(met, key=lambda name: len(met[name].objects))
    for name in ordered:
        search.compare(name)
        if name is not ordered[-1]:
            search.remember(name)
    search.settle_dicts()
    search.settle_classes(outside_classes)
    return search.found()


class _Search:
    """Sets of names that grow together, as in a union-find."""

    def __init__(self, met: Mapping[str, Met]) -> None:
        self._met = met
        self._leader = {name: name for name in met}
        self._seen: dict[int, str] = {}  # id -> a name that holds the object
        self._remembered: list[str] = []
        self._can_change = _Judge(met.values())
        self._dicts: list[tuple[dict[Any, Any], str, str]] = []
        # id -> the names that hold the object, each perhaps only in a class
        self._in_classes: dict[int, set[str]] = {}

    def _find(self, name: str) -> str:
        while self._leader[name] != name:
            self._leader[name] = name = self._leader[self._leader[name]]
        return name

    def remember(self, name: str) -> None:
        """Compare the names to come with *name* too."""
        self._remembered.append(name)
        self._seen.update(dict.fromkeys(map(id, self._met[name].objects), name))

    def compare(self, name: str) -> None:
        """Join *name* with the names remembered that hold an object which it holds too."""
        each = self._met[name]
        seen = self._seen
        for obj in (obj for obj in each.objects if id(obj) in seen):
            other = seen[id(obj)]
            if self._find(name) == self._find(other) or id(obj) in each.named:
                continue
            if not self._can_change(obj):
                continue
            if type(obj) is dict:
                # It may be the `__dict__` of an object that is still to come.
                self._dicts.append((obj, name, other))
            else:
                self._join(obj, name, other)
                if len({self._find(each) for each in (name, *self._remembered)}) == 1:
                    return

    def _join(self, obj: object, one: str, other: str) -> None:
        """Join *one* and *other*, which hold *obj*, unless they may hold it in classes alone."""
        if self._met[one].has_classes and self._met[other].has_classes:
            self._in_classes.setdefault(id(obj), set()).update((one, other))
        else:
            self._leader[self._find(one)] = self._find(other)

    def settle_dicts(self) -> None:
        """Join the names that share a dict which is not the `__dict__` of something constant."""
        for obj, one, other in self._dicts:
            if id(obj) not in self._can_change.constant_dicts:
                self._join(obj, one, other)

    def settle_classes(self, outside_classes: Callable[[str], Iterable[Any]]) -> None:
        """Join the names that share a part of a class, if one of them holds it directly."""
        doubtful = {name for holders in self._in_classes.values() for name in holders}
        if len({self._find(name) for name in doubtful}) < 2:
            return
        for name, each in self._met.items():
            if each.has_classes and name not in doubtful:
                continue
            for obj in outside_classes(name) if each.has_classes else each.objects:
                for other in self._in_classes.get(id(obj), ()):
                    self._leader[self._find(other)] = self._find(name)

    def found(self) -> list[tuple[str, ...]]:
        """The sets."""
        sets: dict[str, list[str]] = {}
        for name in self._met:
            sets.setdefault(self._find(name), []).append(name)
        return [tuple(names) for names in sets.values()]


class _Judge:
    """Says which objects can change, and are not constants of a library."""

    def __init__(self, met: Iterable[Met]) -> None:
        # The ids of dicts that belong to objects which cannot.
        self.constant_dicts: set[int] = set()
        self._libraries = _immutable_of_libraries()
        self._kinds: dict[type, _Kind] = {}
        self._classes = [cls for each in met for cls in each.classes]
        self._attributes: set[int] | None = None
        self._constants: dict[str, set[int]] = {}

    def __call__(self, obj: Any) -> bool:
        cls = type(obj)
        if cls not in self._kinds:
            self._kinds[cls] = _kind_of(cls, self._libraries)
        kind = self._kinds[cls]
        if kind == "plain":
            return False
        if kind == "changeable" and not self._is_constant(obj):
            return True
        attributes = getattr(obj, "__dict__", None)
        self.constant_dicts.add(id(attributes))
        if kind == "library" and attributes:
            # What it remembers, to be faster the next time.
            self.constant_dicts.update(map(id, attributes.values()))
        return False

    def _is_constant(self, obj: object) -> bool:
        """Whether an installed library holds *obj* for good, and gives it to many values."""
        if self._attributes is None:
            self._attributes = _attributes_of_libraries(self._classes)
        package = module_of(type(obj)).partition(".")[0]
        if package not in self._constants:
            self._constants[package] = _constants_of(package)
        return id(obj) in self._attributes or id(obj) in self._constants[package]


_Kind = Literal["plain", "library", "frozen", "changeable"]


def _kind_of(cls: type, libraries: tuple[type, ...]) -> _Kind:
    if issubclass(cls, _IMMUTABLE):
        return "plain"
    if issubclass(cls, libraries) or module_of(cls) in _IMMUTABLE_MODULES:
        return "library"
    return "frozen" if _is_frozen(cls) else "changeable"


def _is_frozen(cls: type) -> bool:
    """Whether *cls* is a dataclass whose instances never get other attributes."""
    return getattr(members_of(cls).get("__dataclass_params__"), "frozen", False)


def _immutable_of_libraries() -> tuple[type, ...]:
    found = []
    for name in _IMMUTABLE_OF_LIBRARIES:
        module, _, attribute = name.rpartition(".")
        kind = getattr(sys.modules.get(module), attribute, None)
        if isinstance(kind, type):
            found.append(kind)
    return tuple(found)


def _constants_of(package: str) -> set[int]:
    """The ids of what the modules of *package* hold, if it is an installed library."""
    found: set[int] = set()
    if package in ("builtins", NOTEBOOK):
        return found
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == package and _is_installed(module):
            found.update(map(id, list(vars(module).values())))
    return found


def _attributes_of_libraries(classes: Iterable[type]) -> set[int]:
    """The ids of what installed libraries keep in *classes*, and give to their instances."""
    found: set[int] = set()
    for cls in {base for each in classes for base in bases_of(each)}:
        if _is_installed(sys.modules.get(module_of(cls))):
            found.update(map(id, list(members_of(cls).values())))
    return found


def _is_installed(module: object) -> bool:
    """Whether *module* is Python's own or in a directory where packages are installed."""
    if type(module) is not types.ModuleType or module.__name__ == NOTEBOOK:
        return False
    file = vars(module).get("__file__")
    own = os.path.dirname(os.__file__) + os.sep
    return type(file) is not str or "-packages" + os.sep in file or file.startswith(own)
