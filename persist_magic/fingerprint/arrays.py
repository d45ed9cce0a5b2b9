"""Handlers for numpy, torch and scikit-learn: what is in an array, however it is laid out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from persist_magic.fingerprint.parts import Context, Parts, Unstable, attributes, leaf
from persist_magic.fingerprint.plain import LARGE

# An array that is not contiguous is copied in pieces of this size.
_PIECE = 4 << 20
# The number from which on numpy numbers types that are not its own, or younger: NPY_USERDEF.
_FIRST_ADDED = 256


def ndarray(value: Any, context: Context) -> Parts:
    import numpy as np

    plain = value.view(np.ndarray)
    extras: list[object] = []
    # What a map adds says where its file is; a module that was pickled may be without.
    if not isinstance(value, np.memmap):
        extras, _ = attributes(getattr(value, "__dict__", {}))
    return Parts(
        "ndarray", (type(value), plain.dtype, plain.shape, *extras, *_content(plain, context))
    )


def masked_array(value: Any, context: Context) -> Parts:
    import numpy as np

    mask = np.ma.getmaskarray(value)
    # Asked itself, it would remember the answer.
    fill = value.view().fill_value
    return Parts("masked", (type(value), np.asarray(value.data), mask, fill))


def _content(plain: Any, context: Context) -> Iterator[object]:
    """The elements of *plain* in C order, as values to walk."""
    kind = plain.dtype
    if kind.names is not None and (kind.hasobject or _has_holes(kind)):
        # What lies between the fields is never set.
        yield from (plain[name] for name in kind.names)
    elif kind.kind == "O":
        yield plain.reshape(-1).tolist()
    elif kind.kind == "T":
        yield from (piece.reshape(-1).tolist() for piece in _pieces(plain))
    else:
        yield _bytes_digest(plain, context.digest)


def _has_holes(kind: Any) -> bool:
    if kind.names is None:
        return _is_padded(kind)
    used = sum(kind[name].itemsize for name in kind.names)
    return bool(used != kind.itemsize) or any(_has_holes(kind[name].base) for name in kind.names)


def _bytes_digest(plain: Any, digest: Callable[[memoryview], str]) -> str:
    """The digest of the bytes of *plain* in C order."""
    from blake3 import blake3

    if plain.flags.c_contiguous and not _is_padded(plain.dtype):
        view = memoryview(_as_bytes(plain))
        return digest(view) if view.nbytes >= LARGE else blake3(view).hexdigest()
    result = blake3(max_threads=blake3.AUTO if plain.nbytes >= _PIECE else 1)
    for piece in _pieces(plain):
        result.update(memoryview(_as_bytes(piece)))
    return result.hexdigest()


def _as_bytes(plain: Any) -> Any:
    import numpy as np

    if not plain.nbytes:
        return np.empty(0, np.uint8)
    raw = plain.reshape(-1).view(np.uint8)
    if _is_padded(plain.dtype):
        raw = np.ascontiguousarray(raw.reshape(-1, 16)[:, :10]).reshape(-1)
    return raw


def _is_padded(kind: Any) -> bool:
    """Whether elements are x86's 80 bits in 128: the rest is never set."""
    import numpy as np

    return kind.char in "gG" and np.finfo(kind).nmant == 63


def _pieces(plain: Any) -> Iterator[Any]:
    """*plain* in C order, in contiguous arrays of bounded size."""
    import numpy as np

    if plain.nbytes <= _PIECE or plain.ndim == 0:
        yield np.ascontiguousarray(plain)
        return
    row = plain.nbytes // len(plain)
    if row > _PIECE:
        for each in plain:
            yield from _pieces(each)
        return
    rows = _PIECE // row
    for at in range(0, len(plain), rows):
        yield np.ascontiguousarray(plain[at : at + rows])


def scalar(value: Any, context: Context) -> Parts | bytes:
    import numpy as np

    kind = value.dtype
    if kind.names is not None or kind.hasobject or kind.char in "gG":
        return Parts("scalar", (np.asarray(value),))
    return leaf("scalar", *_names(kind), value.tobytes())


def dtype(value: Any, context: Context) -> Parts | bytes:
    if value.subdtype is not None:
        return Parts("subarray dtype", value.subdtype)
    if value.names is None:
        return leaf("dtype", *_names(value))
    fields = [(name, *value.fields[name]) for name in value.names]
    return Parts("dtype", (value.type, fields, value.itemsize, value.isalignedstruct))


def _names(kind: Any) -> tuple[str, ...]:
    if kind.num < _FIRST_ADDED:
        # Of two C types of one width, pickling keeps the more common.
        return (kind.str,)
    return (kind.str, type(kind).__name__, repr(kind))


def ufunc(value: Any, context: Context) -> bytes:
    """A library's, by name. Its pickled form is a name too, even where nothing has that name."""
    name = value.__name__
    for module in ("numpy", "scipy.special"):
        if getattr(sys.modules.get(module), name, None) is value:
            return leaf("ufunc", module, name)
    raise Unstable("a function that was made from Python has no name")


def neighbour_tree(value: Any, context: Context) -> Parts:
    """A search tree of scikit-learn, without its counts of the searches made."""
    state = value.__getstate__()
    return Parts("neighbour tree", (type(value), state[:7], state[11:]))


def tensor(value: Any, context: Context) -> Parts:
    torch: Any = sys.modules["torch"]
    about: list[object] = [type(value), str(value.dtype), tuple(value.shape), value.device.type]
    about += [value.requires_grad, *attributes(vars(value))[0]]
    data = value.detach()
    if data.layout == torch.sparse_coo:
        return Parts("sparse tensor", (*about, data._indices(), data._values()))
    if data.layout in (torch.sparse_csr, torch.sparse_bsr):
        where = (data.crow_indices(), data.col_indices())
        return Parts("compressed tensor", (*about, str(data.layout), *where, data.values()))
    if data.layout in (torch.sparse_csc, torch.sparse_bsc):
        where = (data.ccol_indices(), data.row_indices())
        return Parts("compressed tensor", (*about, str(data.layout), *where, data.values()))
    if data.layout != torch.strided or data.is_meta or data.is_quantized:
        raise Unstable(f"layout {data.layout}, {data.device}, {data.dtype}")
    data = data.cpu().resolve_conj().resolve_neg()
    # numpy lacks some of torch's types, but not their widths.
    width = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    if data.element_size() in width:
        data = data.view(width[data.element_size()])
    return Parts("tensor", (*about, _bytes_digest(data.numpy(), context.digest)))


def torch_generator(value: Any, context: Context) -> Parts:
    return Parts("torch.Generator", (value.device.type, value.get_state()))
