"""The one table of handlers by type. Knows names of types, and imports none of their libraries."""

from __future__ import annotations

import sys
from typing import Any

from persist_magic.fingerprint import arrays, builtin, code, frames
from persist_magic.fingerprint.parts import Handler

# Values of exactly this type. A name is a module that has the type, and its name there; a type
# whose module was never imported has no values.
EXACT: dict[str, Handler] = {
    "builtins.bytearray": builtin.buffer,
    "builtins.complex": builtin.complex_,
    "builtins.memoryview": builtin.buffer,
    "datetime.date": builtin.constructed,
    "datetime.datetime": builtin.constructed,
    "datetime.time": builtin.constructed,
    "datetime.timedelta": builtin.constructed,
    "decimal.Decimal": builtin.constructed,
    "types.BuiltinFunctionType": code.builtin,
    "types.CellType": code.cell,
    "types.ClassMethodDescriptorType": code.slot,
    "types.CodeType": code.code,
    "types.FunctionType": code.function,
    "types.GetSetDescriptorType": code.slot,
    "types.MappingProxyType": builtin.mapping_proxy,
    "types.MemberDescriptorType": code.slot,
    "types.MethodDescriptorType": code.slot,
    "types.MethodType": code.method,
    "types.MethodWrapperType": code.builtin,
    "types.WrapperDescriptorType": code.slot,
}

# What only tells of use, by attribute.
_GRAPH = builtin.without(
    *("__networkx_cache__", "adj", "nodes", "edges", "degree", "succ", "pred"),
    *("in_edges", "out_edges", "in_degree", "out_degree"),
)
_LABELLED = builtin.without("_cache", empty=("_attrs", "_encoding"))
_SPARSE = builtin.without("_has_sorted_indices", "_has_canonical_format", "has_canonical_format")

# Values of this type or of a subclass that is not in the table itself.
FAMILIES: dict[str, Handler] = {
    "_collections_abc.dict_items": builtin.mapping_view,
    "_collections_abc.dict_keys": builtin.mapping_view,
    "_collections_abc.dict_values": builtin.mapping_view,
    "array.array": builtin.array,
    "builtins.classmethod": builtin.wrapped_method,
    "builtins.frozenset": builtin.set_,
    "builtins.property": builtin.property_,
    "builtins.set": builtin.set_,
    "builtins.staticmethod": builtin.wrapped_method,
    "builtins.type": code.class_,
    "dataclasses.Field": builtin.field,
    "enum.Enum": builtin.enum_member,
    "enum.EnumMeta": builtin.enum_class,
    "functools._lru_cache_wrapper": builtin.lru_cache,
    "functools.cached_property": builtin.cached_property,
    "functools.singledispatchmethod": builtin.single_dispatch_method,
    "IPython.core.interactiveshell.InteractiveShell": builtin.named_type,
    "pathlib.PurePath": builtin.path,
    "random.Random": builtin.random_generator,
    "threading.Thread": builtin.unstable,
    "types.ModuleType": code.module,
    "typing.ForwardRef": builtin.forward_reference,
    "typing.NewType": builtin.new_type,
    "typing.ParamSpec": builtin.type_variable,
    "typing.TypeVar": builtin.type_variable,
    "typing.TypeVarTuple": builtin.type_variable,
    "weakref.ReferenceType": builtin.unstable,
    "weakref.WeakKeyDictionary": builtin.unstable,
    "weakref.WeakSet": builtin.unstable,
    "weakref.WeakValueDictionary": builtin.unstable,
    # The one counts how often it was pickled, the other holds addresses. Other caches of a figure
    # count: it differs once it was drawn.
    "matplotlib.cbook.CallbackRegistry": builtin.without("_cid_gen"),
    "matplotlib.transforms.TransformNode": builtin.without("_parents"),
    "networkx.Graph": _GRAPH,
    "numpy.dtype": arrays.dtype,
    "numpy.generic": arrays.scalar,
    "numpy.ma.MaskedArray": arrays.masked_array,
    "numpy.ndarray": arrays.ndarray,
    "numpy.random.RandomState": builtin.random_generator,
    "numpy.ufunc": arrays.ufunc,
    "pandas.api.extensions.ExtensionDtype": frames.column_dtype,
    "pandas.arrays.Categorical": frames.categorical,
    "pandas.arrays.IntervalArray": frames.interval_column,
    "pandas.arrays.SparseArray": frames.sparse_column,
    "pandas.CategoricalDtype": frames.categorical_dtype,
    "pandas.core.arrays.arrow.ArrowExtensionArray": frames.arrow_column,
    "pandas.core.arrays.datetimelike.DatetimeLikeArrayMixin": frames.date_column,
    "pandas.core.arrays.masked.BaseMaskedArray": frames.masked_column,
    "pandas.core.arrays.numpy_.NumpyExtensionArray": frames.numpy_column,
    "pandas.DataFrame": frames.data_frame,
    "pandas.Index": frames.index,
    "pandas.MultiIndex": frames.multi_index,
    "pandas.RangeIndex": frames.range_index,
    "pandas.Series": frames.series,
    "polars.DataFrame": frames.polars_frame,
    "polars.Series": frames.polars_series,
    "pydantic._internal._decorators.Decorator": builtin.without("cls_ref"),
    "pyarrow.Array": frames.arrow_array,
    "pyarrow.ChunkedArray": frames.arrow_array,
    "pyarrow.RecordBatch": frames.arrow_table,
    "pyarrow.Table": frames.arrow_table,
    "scipy.sparse._base._spbase": _SPARSE,
    "scipy.sparse._base.spmatrix": _SPARSE,
    "sklearn.neighbors._ball_tree.BinaryTree32": arrays.neighbour_tree,
    "sklearn.neighbors._ball_tree.BinaryTree64": arrays.neighbour_tree,
    "sklearn.neighbors._kd_tree.BinaryTree32": arrays.neighbour_tree,
    "sklearn.neighbors._kd_tree.BinaryTree64": arrays.neighbour_tree,
    "torch.Generator": arrays.torch_generator,
    "torch.Tensor": arrays.tensor,
    "xarray.DataArray": _LABELLED,
    "xarray.Dataset": _LABELLED,
    "xarray.Variable": _LABELLED,
}


def _loaded(table: dict[str, Handler]) -> dict[Any, Handler]:
    found = {}
    for name, handler in table.items():
        module, _, attribute = name.rpartition(".")
        found[getattr(sys.modules.get(module), attribute, None)] = handler
    found.pop(None, None)
    return found


class Handlers:
    """The handlers of the types that this process has loaded."""

    def __init__(self) -> None:
        self._exact: dict[Any, Handler] = {}
        self._families: dict[Any, Handler] = {}
        self._found: dict[type, Handler] = {}

    def of(self, kind: type) -> Handler:
        """What takes a value of type *kind* to parts."""
        handler = self._found.get(kind)
        if handler is None:
            handler = self._found[kind] = self._look_up(kind)
        return handler

    def _look_up(self, kind: type) -> Handler:
        if not self._exact:
            # Most values are plain, and need no table.
            self._exact, self._families = _loaded(EXACT), _loaded(FAMILIES)
        if kind in self._exact:
            return self._exact[kind]
        for base in kind.__mro__:
            if base in self._families:
                return self._families[base]
        return builtin.reduced
