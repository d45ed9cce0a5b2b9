"""Arrays: which show the same memory, and which numpy would copy. Imports numpy for nobody."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from persist_magic.payload import restore

PROTOCOL = 5
# Smaller buffers cost less inside the stream than as files of their own.
OUT_OF_BAND_FROM = 256 << 10
# How many values are looked at to find arrays.
_MOST_VALUES = 10_000

Views = dict[int, tuple[Any, Any]]


def views_among(values: Iterable[object]) -> Views:
    """The views in *values* of memory that other arrays in *values* show too.

    Arrays are looked for in plain containers. What libraries keep inside their objects is left
    alone: pandas knows itself which of its arrays may be changed together.

    Returns
    -------
    dict
        By the id of a view, the view and the array whose memory it shows.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return {}
    arrays = {id(array): array for array in _arrays_in(values, numpy.ndarray)}
    by_root: dict[int, list[Any]] = {}
    for array in arrays.values():
        by_root.setdefault(id(_root_of(array)), []).append(array)
    found: Views = {}
    for members in by_root.values():
        root = _root_of(members[0])
        views = [array for array in members if array is not root]
        if len(members) < 2 or not all(map(_can_be_viewed, [root, *views])):
            continue
        # A root that is no variable itself is saved only if that costs nothing.
        worth = root.nbytes <= sum(view.nbytes for view in views) and _overlap(views)
        if worth or id(root) in arrays:
            found.update((id(view), (view, root)) for view in views)
    return found


def _arrays_in(values: Iterable[object], kind: type) -> Iterable[Any]:
    waiting = list(values)
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_VALUES:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if type(value) is kind:
            yield value
        elif type(value) is dict:
            waiting.extend(list(value.values())[:_MOST_VALUES])
        elif type(value) in (list, tuple):
            waiting.extend(value[:_MOST_VALUES])  # type: ignore[index]  # one of the two


def _root_of(array: Any) -> Any:
    while type(array.base) is type(array):
        array = array.base
    return array


def _can_be_viewed(array: Any) -> bool:
    dense = array.flags.c_contiguous or array.flags.f_contiguous or array.base is not None
    return dense and array.nbytes > 0 and not array.dtype.hasobject


def _overlap(views: Iterable[Any]) -> bool:
    """Whether any two of *views* have memory in common."""
    ordered = sorted(map(_bounds, views))
    return any(start < end for (_, end), (start, _) in pairwise(ordered))


def _bounds(array: Any) -> tuple[int, int]:
    start = end = array.__array_interface__["data"][0]
    for length, stride in zip(array.shape, array.strides, strict=True):
        reach = (length - 1) * stride
        start, end = start + min(reach, 0), end + max(reach, 0)
    return start, end + array.itemsize


def reduce_view(array: Any, root: Any) -> tuple[Any, ...]:
    """How to save *array*, a view of *root*, as such."""
    place = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    about = (place, array.shape, array.strides, array.dtype, array.flags.writeable)
    return restore.view_of, (root, *about)


def reduce_array(array: Any) -> tuple[Any, ...] | None:
    """How to save a large array that numpy would put into the stream: of dates, or with gaps."""
    kind = array.dtype.kind
    if array.nbytes < OUT_OF_BAND_FROM or kind not in "biufcmMSUV" or array.dtype.hasobject:
        return None
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
        dense = array.transpose(axes)
        if not dense.flags.c_contiguous:
            dense = dense.copy()
            dense.flags.writeable = array.flags.writeable
        return restore.with_axes, (dense, axes)
    return (restore.array_as, (array.view("i8"), array.dtype)) if kind in "mM" else None


def reduce_dtype(dtype: Any) -> Any:
    """How to save *dtype*: with a table of fields of its own, since many arrays hold one dtype."""
    reduced = dtype.__reduce__()
    if dtype.fields is None:
        return reduced
    make, arguments, state = reduced
    return make, arguments, tuple(dict(p) if type(p) is dict else p for p in state)
