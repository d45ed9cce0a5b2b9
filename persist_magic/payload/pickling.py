"""One value to bytes and back. Knows notebook functions and classes, nothing of files or groups.

Notebook code shares the globals of `__main__` wherever it is loaded, so a function's globals are
not saved with it: the pickler only tells which names it met.
"""

from __future__ import annotations

import _pickle
import functools
import gc
import io
import sys
import types
from _pickle import PickleBuffer
from collections.abc import Callable, Iterable
from typing import Any

from persist_magic.payload import arrays, classes, rebuild, restore
from persist_magic.payload.arrays import OUT_OF_BAND_FROM, PROTOCOL
from persist_magic.payload.describe import attributes
from persist_magic.payload.rebuild import NOTEBOOK
from persist_magic.payload.reducers import Reducer, reducer_of, single_dispatch
from persist_magic.records import dataclass, field


@dataclass
class Met:
    """The objects that a pickler has met."""

    objects: list[Any]
    named: set[int] = field(default_factory=set)  # ids of those that are saved as names
    classes: list[type] = field(default_factory=list)  # those of libraries among them
    has_classes: bool = False  # whether notebook classes are among them


@dataclass
class Common:
    """What several calls of `dump` have in common."""

    views: arrays.Views = field(default_factory=dict)
    # id -> class, its fingerprint
    definitions: dict[int, tuple[type, str]] = field(default_factory=dict)


@dataclass
class Pickled:
    """One stream, its large buffers, and what it met on the way."""

    stream: memoryview
    buffers: list[memoryview]
    names: frozenset[str] = frozenset()  # global names that its notebook functions use
    met: Met | None = None

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.stream.nbytes + sum(buffer.nbytes for buffer in self.buffers)


class _NotPlain(Exception):
    pass


class _PlainPickler(_pickle.Pickler):
    """Saves trees of builtin values, refuses everything else at once.

    It spares a job that returns such values the import of cloudpickle.
    """

    def reducer_override(self, obj: Any) -> Any:
        raise _NotPlain


class _Globals:
    """Stands for the globals of the notebook in a stream."""

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild.notebook_globals, ()


@functools.cache
def _notebook_pickler() -> Any:
    """The class of picklers; made when it is first needed, since it costs an import."""
    from cloudpickle import cloudpickle

    from persist_magic.capture import names_of_code

    class NotebookPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
        """cloudpickle, with one namespace for notebook code and whole classes."""

        def __init__(
            self,
            file: Any,
            namespace: dict[str, Any],
            buffer_callback: Callable[[Any], Any],
            common: Common,
            look_into_classes: bool = True,
        ) -> None:
            super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
            self.namespace = namespace
            self.names: set[str] = set()
            self.named: set[int] = set()
            self.classes: list[type] = []
            self.has_classes = False
            self.globals_ref[id(namespace)] = _Globals()
            self._common = common
            self._look_into_classes = look_into_classes
            self._reducers: dict[type, Reducer] = {}
            # The cells of closures, each with the empty one that stands for it.
            self._cells: dict[int, tuple[types.CellType, types.CellType]] = {}

        def forget(self) -> None:
            """Hold nothing of the value any longer; no other dump can follow."""
            # The reducers refer back to the pickler: it would wait for the garbage collector.
            self._reducers.clear()
            self.clear_memo()

        def reducer_override(self, obj: Any) -> Any:
            kind = type(obj)
            reducer = self._reducers.get(kind)
            if reducer is None:
                reducer = self._reducers[kind] = self._reducer_of(kind)
            return reducer(obj)

        def _reducer_of(self, kind: type) -> Reducer:
            if issubclass(kind, type):
                return self._reduce_class
            if kind is types.FunctionType:
                return self._reduce_function
            usual = self.dispatch_table.get(kind) or _reduce
            special = reducer_of(kind)
            if special is arrays.reduce_array and self._common.views:
                special = self._reduce_array

            def reduce(obj: Any) -> Any:
                reduced = None if special is None else special(obj)
                if reduced is None:
                    reduced = usual(obj)
                elif reduced[0] in restore.ALWAYS_THERE:
                    self.named.add(id(obj))
                if isinstance(reduced, tuple):
                    return reduced
                return self._reduce_by_name(obj, reduced)

            return reduce

        def _reduce_array(self, array: Any) -> Any:
            view = self._common.views.get(id(array))
            return arrays.reduce_view(*view) if view else arrays.reduce_array(array)

        def _reduce_by_name(self, obj: Any, name: Any) -> Any:
            self.named.add(id(obj))
            if getattr(obj, "__module__", None) != NOTEBOOK or not isinstance(name, str):
                return name
            # No other notebook has it under its name before it is sent there.
            return rebuild.notebook_singleton, (name, *_made_of(obj))

        def _reduce_function(self, function: types.FunctionType) -> Any:
            reduced = self._function_reduce(function)
            if reduced is NotImplemented:
                self.named.add(id(function))
            return reduced

        def _reduce_class(self, cls: type) -> Any:
            reduced = super().reducer_override(cls)
            if type(reduced) is not tuple or len(reduced) != 6:
                self.classes.append(cls)
                return reduced
            self.has_classes = True
            if not self._look_into_classes:
                return rebuild.notebook_globals, ()
            make, args, (state, _), *_ = reduced
            first, rest = classes.methods_first(cls, state)
            state = classes.Methods(cls, first), rest
            setter: Any = rebuild.set_rest_of_class
            if make is cloudpickle._make_skeleton_class:
                make, args = self._class(cls, args)
            else:
                make, args, given = self._enum(cls, args)
                state = *state, given
                setter = rebuild.set_rest_of_enum
            definitions = self._common.definitions
            if id(cls) not in definitions:
                definitions[id(cls)] = (cls, rebuild.definition_of(cls))
            definition = definitions[id(cls)][1]
            known = rebuild.find_class(self.namespace, cls.__qualname__)
            superseded = known is not None and known is not cls
            args = (make, args, cls.__qualname__, definition, superseded)
            return rebuild.notebook_class, args, state, None, None, setter

        def _class(self, cls: type, args: Any) -> Any:
            metaclass, name, bases, attributes, *rest = args
            attributes = {**attributes, "__qualname__": cls.__qualname__}
            for each in classes.FOR_TYPE:
                if each in vars(cls):
                    attributes[each] = vars(cls)[each]
            make = cloudpickle._make_skeleton_class
            if classes.is_plain(metaclass):
                make, bases = rebuild.new_class, cls.__bases__
            return make, (metaclass, name, bases, attributes, *rest)

        def _enum(self, cls: Any, args: Any) -> Any:
            bases, name, qualname, _, *rest = args
            # cloudpickle leaves out aliases, and what `__init__` or `__new__` gave to members.
            members = {
                each: classes.made_member(member) for each, member in cls.__members__.items()
            }
            given = {member.name: classes.given_to(member) for member in cls}
            return rebuild.new_enum, (bases, name, qualname, members, *rest), given

        def _dynamic_function_reduce(self, function: types.FunctionType) -> Any:
            if (reduced := single_dispatch(function)) is not None:
                return reduced
            make, args, (state, slots), *_, setter = super()._dynamic_function_reduce(function)
            code, base, name, defaults, closure = args
            if closure is not None:
                # Functions that share a variable go on sharing it.
                closure = tuple(self._empty_cell(cell) for cell in function.__closure__ or ())
            args = code, base, name, defaults, closure
            if function.__globals__ is self.namespace:
                self.names |= names_of_code(function.__code__)
                del slots["__globals__"]
                make, args, setter = (
                    rebuild.notebook_function,
                    (code, closure),
                    rebuild.set_function_state,
                )
            return make, args, (state, slots), None, None, setter

        def _empty_cell(self, cell: types.CellType) -> types.CellType:
            return self._cells.setdefault(id(cell), (cell, types.CellType()))[1]

    return NotebookPickler


def _reduce(obj: Any) -> Any:
    return obj.__reduce_ex__(PROTOCOL)


def _made_of(obj: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What builds a value that says no more of itself than its name."""
    cls: Any = type(obj)
    if cls.__module__ == "typing" and cls.__name__ in ("ParamSpec", "TypeVarTuple"):
        return cls, (obj.__name__,)
    if cls.__module__ == "typing" and cls.__name__ == "TypeAliasType":
        make = functools.partial(cls, type_params=obj.__type_params__)
        return make, (obj.__name__, obj.__value__)
    return restore.bare_instance, (cls, dict(attributes(obj)))


class _Nowhere:
    def write(self, data: bytes) -> None:
        """Forget *data*."""


def dump(
    value: Any,
    namespace: dict[str, Any],
    *,
    sharing: bool = False,
    common: Common | None = None,
) -> Pickled:
    """*value* as a stream with its large buffers apart; nothing large is copied.

    Parameters
    ----------
    namespace
        The globals of the notebook that *value* comes from.
    sharing
        Whether to tell which objects the value holds.
    common
        What is known from, and told to, other calls.
    """
    if "cloudpickle" not in sys.modules:
        try:
            file = io.BytesIO()
            plain = _PlainPickler(file, PROTOCOL)
            plain.dump(value)
            met = Met(_memo(plain)) if sharing else None
            return Pickled(memoryview(file.getvalue()), [], met=met)
        except (_NotPlain, _pickle.PicklingError, RecursionError):
            pass
    buffers: list[memoryview] = []

    def out_of_band(buffer: PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < OUT_OF_BAND_FROM:
            return True
        buffers.append(raw)
        return False

    file = io.BytesIO()
    pickler = _notebook_pickler()(file, namespace, out_of_band, common or Common())
    met = None
    try:
        pickler.dump(value)
        if sharing:
            # The table of reducers is no part of the value.
            named = pickler.named | {id(pickler.dispatch_table)}
            met = Met(_memo(pickler), named, pickler.classes, pickler.has_classes)
    finally:
        pickler.forget()
    return Pickled(memoryview(file.getvalue()), buffers, frozenset(pickler.names), met)


def held_outside_classes(value: Any, namespace: dict[str, Any], common: Common) -> list[Any]:
    """The objects in *value* that are not only there as parts of the notebook's classes."""
    make = _notebook_pickler()
    pickler = make(_Nowhere(), namespace, lambda buffer: False, common, look_into_classes=False)
    try:
        pickler.dump(value)
        return _memo(pickler)
    finally:
        pickler.forget()


def _memo(pickler: Any) -> list[Any]:
    """All objects that *pickler* remembers, and a few of its own."""
    if _memo_is_visited():
        return gc.get_referents(pickler)
    # A million small tuples, and each time there are some more the collector looks at all.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return [obj for _, obj in pickler.memo.copy().values()]
    finally:
        if collecting:
            gc.enable()


@functools.cache
def _memo_is_visited() -> bool:
    """Whether the garbage collector of this Python sees what a pickler remembers."""
    pickler = _pickle.Pickler(io.BytesIO())
    probe: list[Any] = []
    pickler.dump(probe)
    return any(each is probe for each in gc.get_referents(pickler))


def load(stream: bytes | bytearray | memoryview, buffers: Iterable[Any]) -> Any:
    """The value that *stream* and *buffers* say; run within `rebuild.loading_into`."""
    return _pickle.loads(stream, buffers=buffers)
