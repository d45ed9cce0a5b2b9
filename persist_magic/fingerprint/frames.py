"""Handlers for pandas, polars and pyarrow: what is in a frame, whatever its blocks and chunks."""

from __future__ import annotations

import sys
from typing import Any

from persist_magic.fingerprint.parts import Context, Parts, leaf

# Arrow data is read in windows of so many rows, which also hides how it is chunked.
_ROWS = 1 << 16


def data_frame(value: Any, context: Context) -> Parts:
    columns = [value.iloc[:, at].array for at in range(value.shape[1])]
    steps = [f".iloc[:, {at}]" for at in range(len(columns))]
    about = (type(value), value.index, value.columns, *_metadata(value))
    return Parts("DataFrame", (*about, *columns), (*[""] * len(about), *steps))


def series(value: Any, context: Context) -> Parts:
    about = (type(value), value.index, value.name, *_metadata(value))
    return Parts("Series", (*about, value.array), (*[""] * len(about), ".array"))


def _metadata(value: Any) -> tuple[object, ...]:
    named = [name for name in value._metadata if name not in ("_name", "name")]
    return (
        dict(value.attrs),
        value.flags.allows_duplicate_labels,
        *((name, getattr(value, name, None)) for name in named),
    )


def index(value: Any, context: Context) -> Parts:
    return Parts("Index", (type(value), list(value.names), value.array))


def range_index(value: Any, context: Context) -> Parts:
    return Parts("RangeIndex", (value.name, value.start, value.stop, value.step))


def multi_index(value: Any, context: Context) -> Parts:
    codes = list(value.codes)
    return Parts("MultiIndex", (type(value), list(value.names), list(value.levels), codes))


def numpy_column(value: Any, context: Context) -> Parts:
    return Parts("numpy column", (type(value), value.dtype, value.to_numpy()))


def date_column(value: Any, context: Context) -> Parts:
    frequency = getattr(value, "freqstr", None)
    return Parts("date column", (type(value), value.dtype, frequency, value.asi8))


def categorical(value: Any, context: Context) -> Parts:
    children = (type(value), value.codes, value.categories, value.ordered)
    return Parts("Categorical", children)


def interval_column(value: Any, context: Context) -> Parts:
    return Parts("intervals", (type(value), value.left, value.right, value.closed))


def masked_column(value: Any, context: Context) -> Parts:
    # What is under the mask means nothing.
    data = value._data[~value._mask] if value._mask.any() else value._data
    return Parts("masked column", (type(value), value.dtype, value._mask, data))


def sparse_column(value: Any, context: Context) -> Parts:
    where = value.sp_index.indices
    return Parts("sparse column", (type(value), value.dtype, len(value), where, value.sp_values))


def arrow_column(value: Any, context: Context) -> Parts:
    return Parts("arrow column", (type(value), value.dtype, value.__arrow_array__()))


def column_dtype(value: Any, context: Context) -> bytes:
    return leaf("column dtype", type(value).__qualname__, repr(value))


def categorical_dtype(value: Any, context: Context) -> Parts:
    return Parts("CategoricalDtype", (value.categories, value.ordered))


def polars_frame(value: Any, context: Context) -> Parts:
    steps = [f"[{name!r}]" for name in value.columns]
    return Parts("polars.DataFrame", (type(value), *value.get_columns()), ("", *steps))


def polars_series(value: Any, context: Context) -> Parts:
    polars: Any = sys.modules["polars"]
    about = (value.name, repr(value.dtype), len(value))
    if value.dtype == polars.Object:
        return Parts("polars objects", (*about, value.to_list()), ("", "", "", ".to_list()"))
    if value.dtype == polars.Categorical:
        # Its codes depend on what the process read before.
        value = value.cast(polars.String)
    try:
        return Parts("polars.Series", (*about, arrow_digest(value.rechunk().to_arrow())))
    except ImportError:
        # There is no pyarrow. What polars pickles depends on the chunks that it once had.
        lists = (value[at : at + _ROWS].to_list() for at in range(0, len(value), _ROWS))
        return Parts("polars lists", (*about, *lists))


def arrow_table(value: Any, context: Context) -> Parts:
    """A table or a batch of records."""
    fields = [
        (field.name, str(field.type), field.nullable, dict(field.metadata or {}))
        for field in value.schema
    ]
    metadata = dict(value.schema.metadata or {})
    return Parts("arrow table", (type(value), fields, metadata, value.num_rows, *value.columns))


def arrow_array(value: Any, context: Context) -> bytes:
    """An array, chunked or not."""
    return leaf("arrow array", type(value).__qualname__, str(value.type), arrow_digest(value))


def arrow_digest(value: Any) -> str:
    """The digest of what is in an arrow array: not of what is beside it in its buffers."""
    import pyarrow
    from blake3 import blake3

    result = blake3(str(len(value)).encode())
    for at in range(0, len(value), _ROWS):
        window = value.slice(at, _ROWS)
        if isinstance(window, pyarrow.ChunkedArray):
            window = window.combine_chunks()
        # Older versions of pyarrow answer with chunks here.
        for chunk in window.chunks if isinstance(window, pyarrow.ChunkedArray) else [window]:
            _feed(result, chunk)
    return result.hexdigest()


def _feed(result: Any, window: Any) -> None:
    """Give the content of *window* to the hash *result*."""
    import pyarrow
    import pyarrow.compute as compute
    from pyarrow import types

    if isinstance(window, pyarrow.ExtensionArray):
        window = window.storage
    kind = window.type
    result.update(b"%d %d;" % (len(window), window.null_count))
    if window.null_count:
        result.update(_flags(window.is_valid()))
        # What is under a null means nothing.
        window = window.drop_null()
    if types.is_null(kind):
        return
    if types.is_dictionary(kind):
        _feed(result, window.indices)
        _feed(result, window.dictionary)
    elif types.is_struct(kind):
        for field in window.flatten():
            _feed(result, field)
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        _feed(result, compute.list_value_length(window))
        _feed(result, window.flatten())
    elif types.is_nested(kind):
        # Maps and unions are rare; so are views and runs.
        result.update(repr(window.to_pylist()).encode())
    elif types.is_boolean(kind):
        result.update(_flags(window))
    elif types.is_fixed_size_binary(kind) or types.is_primitive(kind) or types.is_decimal(kind):
        width = kind.bit_width // 8
        start = window.offset * width
        result.update(memoryview(window.buffers()[1])[start : start + len(window) * width])
    else:
        _feed_texts(result, window)


def _feed_texts(result: Any, window: Any) -> None:
    """The same for text or bytes of any length, where nothing is null."""
    import pyarrow
    import pyarrow.compute as compute

    # Of several ways to lay text out, one that all can be cast to.
    window = window.cast(pyarrow.large_binary())
    _feed(result, compute.binary_length(window))
    _, offsets, data = window.buffers()
    bounds = memoryview(offsets).cast("q") if len(window) else [0]
    start, stop = bounds[window.offset], bounds[window.offset + len(window)]
    if stop > start:
        result.update(memoryview(data)[start:stop])


def _flags(window: Any) -> memoryview:
    return memoryview(window.to_numpy(zero_copy_only=False)).cast("B")
