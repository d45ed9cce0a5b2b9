"""What a saved stream calls to rebuild values of libraries. Knows no notebook.

These names are part of the format: streams refer to them for ever.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def bare_instance(cls: type, attributes: dict[str, Any]) -> Any:
    """An instance of *cls* with *attributes*, made without asking *cls*."""
    made: Any = object.__new__(cls)
    for name, value in attributes.items():
        object.__setattr__(made, name, value)
    return made


def exception(cls: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    """An exception, not asked again for what its `__init__` was given when it was raised."""
    return BaseException.__new__(cls, *arguments)


def lru_cached(parameters: dict[str, Any], function: Callable[..., Any]) -> Any:
    """A `functools.lru_cache` of *function*, empty."""
    return functools.lru_cache(**parameters)(function)


def cached_property(function: Callable[[Any], Any], name: str | None) -> Any:
    """A `functools.cached_property`, with a lock of its own where it has one."""
    made = functools.cached_property(function)
    made.attrname = name
    return made


def single_dispatch_method(function: Any, dispatcher: Any) -> Any:
    """A `functools.singledispatchmethod` of *function*, with all that *dispatcher* knows."""
    made: Any = functools.singledispatchmethod(function)
    made.dispatcher = dispatcher
    return made


def single_dispatch(
    function: Callable[..., Any], others: list[tuple[type, Callable[..., Any]]]
) -> Any:
    """A `functools.singledispatch` of *function* and *others*."""
    made = functools.singledispatch(function)
    for cls, other in others:
        made.register(cls, other)
    return made


def shared_random() -> Any:
    """The generator behind the functions of the module `random`."""
    import random

    return random._inst


def shared_numpy_random() -> Any:
    """The generator behind the functions of `numpy.random`."""
    import numpy

    return numpy.random.mtrand._rand


def with_axes(array: Any, axes: list[int]) -> Any:
    """The array of which *array* has the *axes* as its own, in order."""
    return array.transpose(sorted(range(array.ndim), key=axes.__getitem__))


def view_of(
    root: Any,
    place: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: Any,
    writeable: bool,
) -> Any:
    """An array that shows the memory of the array *root*, from the byte *place* on."""
    flat = (root if root.flags.c_contiguous else root.T).reshape(-1).view("u1")
    view = type(root)(shape, dtype, flat, place, strides)
    if not writeable:
        view.flags.writeable = False
    return view


ALWAYS_THERE = (shared_random, shared_numpy_random)


def array_as(numbers: Any, dtype: Any) -> Any:
    """The array *numbers*, read as elements of *dtype*."""
    return numbers.view(dtype)
