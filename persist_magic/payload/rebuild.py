"""What a saved stream calls to rebuild notebook code. Knows the namespace it is loaded into.

These names are part of the format: streams refer to them for ever. A class that the namespace
already has is used, never modified; everything else is left to cloudpickle.
"""

from __future__ import annotations

import abc
import contextlib
import enum
import sys
import types
from _thread import allocate_lock
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeGuard

from persist_magic.records import dataclass, field

NOTEBOOK = "__main__"


@dataclass
class Loading:
    """One load of some streams: into which namespace, and what there is to say about it."""

    namespace: dict[str, Any]
    notices: list[str] = field(default_factory=list)
    # By id, with the object itself: an id must not become another's.
    kept: dict[int, type] = field(default_factory=dict)  # classes that keep their state
    made: dict[int, type] = field(default_factory=dict)  # classes that this stream builds
    singletons: dict[str, Any] = field(default_factory=dict)
    _definitions: dict[int, tuple[type, str]] = field(default_factory=dict)

    def definition(self, cls: type) -> str:
        """The fingerprint of the definition of *cls*, which nobody changes meanwhile."""
        if id(cls) not in self._definitions:
            self._definitions[id(cls)] = (cls, definition_of(cls))
        return self._definitions[id(cls)][1]

    def notice(self, words: str) -> None:
        """Say *words*, once."""
        if words not in self.notices:
            self.notices.append(words)

    def end_stream(self, *, complete: bool) -> None:
        """No stream to come may change the classes that this one built, or use unfinished ones."""
        if complete:
            self.kept.update(self.made)
        else:
            for cls in self.made.values():
                _forget(cls)
        self.made.clear()


_loading: ContextVar[Loading | None] = ContextVar("persist_loading", default=None)


def main_namespace() -> dict[str, Any]:
    """The globals of `__main__`: where notebook code lives when nothing else is said."""
    return sys.modules[NOTEBOOK].__dict__


@contextlib.contextmanager
def loading_into(namespace: dict[str, Any]) -> Iterator[Loading]:
    """Rebuild notebook functions and classes against *namespace* within the block."""
    loading = Loading(namespace)
    token = _loading.set(loading)
    try:
        yield loading
    finally:
        _loading.reset(token)


def _current() -> Loading:
    return _loading.get() or Loading(main_namespace())


# ---- functions


def notebook_globals() -> dict[str, Any]:
    """The globals that notebook functions share."""
    return _current().namespace


def notebook_function(
    code: types.CodeType, closure: tuple[types.CellType, ...] | None
) -> types.FunctionType:
    """A function of *code* whose globals are those of the notebook."""
    return types.FunctionType(code, notebook_globals(), None, None, closure)


def set_function_state(function: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give a notebook function that was just built its attributes, and its globals nothing."""
    attributes, slots = state
    function.__dict__.update(attributes)
    # They are here now; a function that uses `xml.dom` holds no more than `xml`.
    del slots["_cloudpickle_submodules"]
    for own, saved in zip(function.__closure__ or (), slots.pop("__closure__") or (), strict=True):
        with contextlib.suppress(ValueError):  # a variable that has no value
            own.cell_contents = saved.cell_contents
    for name, value in slots.items():
        setattr(function, name, value)


# ---- classes


def notebook_class(
    make: Callable[..., type],
    args: tuple[Any, ...],
    qualname: str,
    definition: str,
    superseded: bool,
) -> type:
    """The class that *make* would build of *args*, or the one that is here already.

    Parameters
    ----------
    make, args
        `new_class` or one of cloudpickle's. The last argument but one is the tracker id, which
        names one class in all processes that it has been through.
    qualname, definition
        Of the class where it was saved: its qualified name and its fingerprint.
    superseded
        Whether its name meant another class there: that of an earlier run of its cell, or what
        a decorator made of it.
    """
    from cloudpickle import cloudpickle

    loading = _current()
    tracker = args[-2]
    here = find_class(loading.namespace, qualname)
    if here is not None and loading.definition(here) == definition:
        cloudpickle._lookup_class_or_track(tracker, here)
        loading.kept[id(here)] = here
        return here
    known: type | None = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)
    if known is not None and id(known) in loading.made:
        return known
    if here is not None and not superseded:
        mine = "yours is kept" if known is here else "what comes back keeps the job's class"
        loading.notice(f"class {qualname!r} here differs from the job's: {mine}")
    if known is not None:
        unseen = here is None and id(known) not in loading.kept
        if unseen and loading.definition(known) != definition:
            loading.notice(f"class {qualname!r} was changed in the job: yours is kept")
        loading.kept[id(known)] = known
        return known
    made = make(*args)
    loading.made[id(made)] = made
    return made


def find_class(namespace: dict[str, Any], qualname: str) -> type | None:
    """The notebook class *qualname* in *namespace*, if there is one."""
    first, *rest = qualname.split(".")
    if "<locals>" in rest:
        # A class that a function or a decorator made has whatever name it was given.
        made = [value for value in list(namespace.values()) if _is_class(value, qualname)]
        return made[0] if len(made) == 1 else None
    found = namespace.get(first)
    for part in rest:
        found = vars(found).get(part) if isinstance(found, type) else None
    return found if _is_class(found, qualname) else None


def _is_class(value: object, qualname: str) -> TypeGuard[type]:
    return isinstance(value, type) and (
        (value.__module__, value.__qualname__) == (NOTEBOOK, qualname)
    )


def new_class(
    metaclass: type,
    name: str,
    bases: tuple[type, ...],
    attributes: dict[str, Any],
    tracker: str,
    extra: None,
) -> type:
    """A class without its methods, made without running what the notebook does to new classes.

    Its metaclass and bases saw the class when the notebook defined it. They are not shown it a
    second time: it has no attributes yet, and the keywords of its definition are not known.
    """
    from cloudpickle import cloudpickle

    maker: Any = abc.ABCMeta if issubclass(metaclass, abc.ABCMeta) else type
    with _unnoticed(bases):
        made = maker.__new__(metaclass, name, bases, attributes)
    found: type = cloudpickle._lookup_class_or_track(tracker, made)
    return found


_one_at_a_time = allocate_lock()


@contextlib.contextmanager
def _unnoticed(bases: tuple[type, ...]) -> Iterator[None]:
    """Let a class be made of *bases* within the block without `__init_subclass__` of notebook code.

    `type` always calls it, so a substitute stands in its place for this moment.
    """
    with _one_at_a_time:
        hooks = [
            (cls, vars(cls)["__init_subclass__"])
            for base in bases
            for cls in base.__mro__
            if cls.__module__ == NOTEBOOK and "__init_subclass__" in vars(cls)
        ]
        try:
            for cls, _ in hooks:
                type.__setattr__(cls, "__init_subclass__", _without_hook(cls))
            yield
        finally:
            for cls, hook in hooks:
                type.__setattr__(cls, "__init_subclass__", hook)


def _without_hook(base: Any) -> classmethod[Any, Any, None]:
    def __init_subclass__(cls: Any) -> None:
        # That of a library, further up, still counts.
        super(base, cls).__init_subclass__()

    return classmethod(__init_subclass__)


def new_enum(
    bases: tuple[Any, ...],
    name: str,
    qualname: str,
    members: dict[str, tuple[Any, ...]],
    module: str,
    tracker: str,
    extra: None,
) -> type:
    """An enum with its members, made without running what the notebook does to new members.

    Of each member, aliases included, there is its value, and what is given to the type that it
    is besides an enum member, if that is one like `int`.
    """
    from cloudpickle import cloudpickle

    def __new__(cls: type, member: Any) -> Any:
        while isinstance(member, tuple):
            (member,) = member
        value, base, arguments = members[member]
        made = base.__new__(cls, *arguments)
        made._value_ = value
        return made

    def __init__(self: object, member: Any) -> None: ...

    # That nothing but this is run, and that the enum does not call itself impossible to pickle.
    own = {"__new__": __new__, "__init__": __init__, "__reduce_ex__": enum.Enum.__reduce_ex__}
    space: Any = type(bases[-1]).__prepare__(name, bases)
    for key, value in [*own.items(), *((member, member) for member in members)]:
        space[key] = value
    with _unnoticed(bases):
        made: Any = type(bases[-1]).__new__(type(bases[-1]), name, bases, space)
    made.__module__, made.__qualname__ = module, qualname
    # What the enum itself had of these comes with its state.
    for key in (*own, "__new_member__", "_new_member_", "_use_args_"):
        if key != "__new__" and key in vars(made):
            type.__delattr__(made, key)
    found: type = cloudpickle._lookup_class_or_track(tracker, made)
    return found


def set_class_state(cls: type, attributes: dict[str, Any]) -> type:
    """Give a class that was just built its *attributes*; leave one that was here as it is."""
    if id(cls) in _current().kept:
        return cls
    by_notebook = any(
        base.__module__ == NOTEBOOK and "__setattr__" in vars(base) for base in type.mro(type(cls))
    )
    assign: Any = type.__setattr__ if by_notebook else setattr
    subclasses = attributes.pop("_abc_impl", ())
    for name, value in attributes.items():
        assign(cls, name, value)
    if "__firstlineno__" in attributes:
        # Since 3.13 Python deletes it when the module of the class is set.
        assign(cls, "__firstlineno__", attributes["__firstlineno__"])
    for subclass in subclasses:
        abc.ABCMeta.register(cls, subclass)  # type: ignore[arg-type]  # its metaclass is one
    return cls


def set_rest_of_class(cls: type, state: tuple[type, dict[str, Any]]) -> type:
    """`set_class_state`, after the methods were set: what it holds may be instances of it."""
    return set_class_state(cls, state[1])


def set_rest_of_enum(
    cls: Any, state: tuple[type, dict[str, Any], dict[str, dict[str, Any]]]
) -> type:
    """`set_class_state`, and the attributes that each member was given when it was made."""
    if id(cls) not in _current().kept:
        for name, attributes in state[2].items():
            cls.__members__[name].__dict__.update(attributes)
    return set_class_state(cls, state[1])


def _forget(cls: type) -> None:
    """See to it that nobody finds the class *cls*, which was not completed."""
    from cloudpickle import cloudpickle

    tracker = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.pop(cls, None)
    cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.pop(tracker, None)


def definition_of(cls: type) -> str:
    """The fingerprint of the definition of the notebook class *cls*."""
    from persist_magic.fingerprint import fingerprint

    return fingerprint(cls, follow_globals=False).digest


# ---- values that have a name


def notebook_singleton(name: str, make: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """A value that the notebook knows by *name* alone; built of *args* if it is not here."""
    loading = _current()
    if name not in loading.singletons:
        # Types of `typing` remember which module called them.
        caller = {"__name__": NOTEBOOK, "make": make, "args": args}
        here, built = loading.namespace.get(name), eval("make(*args)", caller)
        loading.singletons[name] = here if type(here) is type(built) else built
    return loading.singletons[name]
