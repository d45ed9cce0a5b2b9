"""How to save what neither its library nor cloudpickle saves well. Knows types by their names.

A reducer answers like `__reduce__`; None says that the usual way is right after all.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from persist_magic.payload import arrays, restore
from persist_magic.payload.describe import attributes

Reducer = Callable[[Any], "tuple[Any, ...] | str | None"]


def _lru_cache(wrapper: Any) -> tuple[Any, ...] | None:
    # Pickle takes any wrapper for importable; one of the notebook would fail to load.
    if _is_importable(wrapper):
        return None
    return restore.lru_cached, (wrapper.cache_parameters(), wrapper.__wrapped__)


def _is_importable(value: Any) -> bool:
    found: Any = sys.modules.get(value.__module__) if value.__module__ != "__main__" else None
    for part in getattr(value, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return found is value


def _cached_property(value: Any) -> tuple[Any, ...]:
    # Until Python 3.11 it holds a lock.
    return restore.cached_property, (value.func, value.attrname)


def single_dispatch(function: Any) -> tuple[Any, ...] | None:
    """How to save *function* if `functools.singledispatch` made it, which keeps weak references."""
    if function.__globals__ is not functools.__dict__ or not hasattr(function, "_clear_cache"):
        return None
    first, *others = function.registry.items()
    return restore.single_dispatch, (first[1], others)


def _single_dispatch_method(value: Any) -> tuple[Any, ...]:
    return restore.single_dispatch_method, (value.func, value.dispatcher)


def _dataclass_sentinel(value: Any) -> str:
    # They are compared by identity, and say nothing of where they are.
    return next(name for name, each in vars(sys.modules["dataclasses"]).items() if each is value)


def _exception(error: BaseException) -> tuple[Any, ...] | None:
    """How to save *error* if its class asks for other arguments than the exception then keeps."""
    cls: Any = type(error)
    built_in = next(base for base in cls.__mro__ if base.__module__ == "builtins")
    if cls is built_in or cls.__reduce__ is not BaseException.__reduce__:
        return None
    if built_in.__basicsize__ != BaseException.__basicsize__:
        return None
    return restore.exception, (cls, error.args), dict(attributes(error))


def _random(generator: Any) -> tuple[Any, ...] | None:
    # `choice` and `seed`, imported from `random`, work on one generator that the job has too.
    if generator is sys.modules["random"]._inst:
        return restore.shared_random, ()
    return None


def _numpy_random(generator: Any) -> tuple[Any, ...] | None:
    if generator is sys.modules["numpy"].random.mtrand._rand:
        return restore.shared_numpy_random, ()
    return None


def _pandas_index(index: Any) -> Any:
    """With its own view of its data: frames share an index, or its data, and never change it."""
    make, (cls, parts), *rest = index.__reduce__()
    fresh = {name: _fresh(part) for name, part in parts.items()}
    return make, (cls, fresh), *rest


def _pandas_array(array: Any) -> Any:
    """With its own view of its data: frames share it until one of them is changed.

    They would not know of each other any more: a change in one would be seen in the other.
    """
    return array[:].__reduce_ex__(arrays.PROTOCOL)


def _fresh(part: Any) -> Any:
    if isinstance(part, list):
        return [_fresh(each) for each in part]
    return part[:] if hasattr(part, "dtype") else part


# A name is a module that has the type, and its name there; a type whose module was never imported
# has no values.
_EXACT: dict[str, Reducer] = {
    "functools._lru_cache_wrapper": _lru_cache,
    "functools.cached_property": _cached_property,
    "functools.singledispatchmethod": _single_dispatch_method,
    "dataclasses._MISSING_TYPE": _dataclass_sentinel,
    "dataclasses._KW_ONLY_TYPE": _dataclass_sentinel,
    "dataclasses._HAS_DEFAULT_FACTORY_CLASS": _dataclass_sentinel,
    "numpy.ndarray": arrays.reduce_array,
    "numpy.random.RandomState": _numpy_random,
    "random.Random": _random,
}
_FAMILIES: dict[str, Reducer] = {
    "builtins.BaseException": _exception,
    "numpy.dtype": arrays.reduce_dtype,
    "pandas.Index": _pandas_index,
    "pandas.core.arrays._mixins.NDArrayBackedExtensionArray": _pandas_array,
}


def _find(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(sys.modules.get(module), attribute, None)


def reducer_of(kind: type) -> Reducer | None:
    """What saves values of type *kind* better than the usual way; None if that is good."""
    for name, reducer in _EXACT.items():
        if _find(name) is kind:
            return reducer
    for name, reducer in _FAMILIES.items():
        base = _find(name)
        if base is not None and issubclass(kind, base):
            return reducer
    return None
