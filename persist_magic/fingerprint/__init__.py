"""Is it the same value, in any kernel. Knows values, nothing of jobs or stores.

Equal content gives an equal fingerprint in every process of the same Python and the same libraries,
whatever its hash seed, process id, file names and line numbers; a changed bit, item or line of code
gives another. What does *not* count:

- whether equal parts are one object or several (it may where they refer to each other in a circle);
- the order of the attributes of an object, and of the members of a set (that of a dict counts);
- the memory layout of arrays, and the blocks or chunks of frames;
- the file and the lines in which code of the notebook stands;
- caches that libraries keep in their objects, as far as they are known here. What a
  `functools.cached_property` left in its instance counts: it looks like any other attribute.

What a library defines (functions, classes, modules) counts by its name; what the notebook defines
counts by its content, and so do the globals that a notebook function reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from persist_magic.blobs import digest_of as blake3_hex
from persist_magic.fingerprint.parts import Context
from persist_magic.fingerprint.walk import Walk

__all__ = ["Fingerprint", "blake3_hex", "fingerprint"]


@dataclass(frozen=True)
class Fingerprint:
    """What a value is, in 32 hexadecimal characters.

    Attributes
    ----------
    digest
        Equal for equal values, in any process, if `unstable` is empty.
    unstable
        Not empty: what in the value has no content that could be found again, and where. Such a
        value counts as changed.
    """

    digest: str
    unstable: str = ""


def fingerprint(
    value: object,
    *,
    namespace: Mapping[str, object] | None = None,
    follow_globals: bool = True,
    digest: Callable[[memoryview], str] = blake3_hex,
) -> Fingerprint:
    """The fingerprint of *value*.

    Parameters
    ----------
    namespace
        The notebook's globals. A notebook function (its globals are these, or its module is
        `__main__`) counts with the globals that it reads: in its own globals first, then here.
    follow_globals
        Whether the values of those globals count, or their names only: for a caller that
        fingerprints them apart.
    digest
        Maps a contiguous buffer of 256 KiB or more to its blake3 digest in hexadecimal; for a
        caller that needs the digests of large arrays itself.
    """
    walk = Walk(Context(namespace, follow_globals, digest))
    result = walk.digest(value).hex()
    return Fingerprint(result, walk.unstable)
