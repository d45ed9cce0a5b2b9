"""Which names a notebook cell reads, binds and deletes, and which names these need in turn.

Knows Python's scoping and what IPython's lines stand for; nothing of jobs, pickling or IPython's
objects.
"""

from __future__ import annotations

from persist_magic.capture.cell import CellNames, names_of_cell
from persist_magic.capture.values import follow, names_of_code

__all__ = ["CellNames", "follow", "names_of_cell", "names_of_code"]
