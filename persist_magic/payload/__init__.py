"""Variables to a directory and back, by groups. Knows streams, blobs and a manifest, no jobs.

Variables that share an object that can change are one group and keep sharing it; one group that
fails, on either side, costs no other. Large buffers are blobs of their own, verified when loaded.
"""

from __future__ import annotations

from persist_magic.payload.describe import describe, short_repr, size_words, type_name
from persist_magic.payload.groups import Dump, Failure, Group, Notice, dump_all
from persist_magic.payload.loading import Loaded, load_all, read_manifest
from persist_magic.payload.saving import BLOBS, DATA, MANIFEST, write

__all__ = [
    "BLOBS",
    "DATA",
    "MANIFEST",
    "Dump",
    "Failure",
    "Group",
    "Loaded",
    "Notice",
    "describe",
    "dump_all",
    "load_all",
    "read_manifest",
    "short_repr",
    "size_words",
    "type_name",
    "write",
]
