"""Which generators of random numbers the executed cells have seeded. Knows only their text."""

from __future__ import annotations

import re
from collections.abc import Iterable

# By the start of a call's full name: the setting that holds the generator; None, one that no
# setting holds.
_OWNERS = {
    **{"random": "random", "numpy.random": "numpy.random", "torch": "torch"},
    **dict.fromkeys(("cupy", "jax", "mxnet", "polars", "tensorflow", "tf")),
}
GENERATORS = frozenset(owner for owner in _OWNERS.values() if owner)

# A call of something that is named after seeding.
_CALL = re.compile(
    r"(?<![\w.])((?:\w+\.)*(?:"
    r"(?:(?:set|fix|init|setup|manual)_(?:\w*_)?)?seeds?(?:_everything|_all)?"
    r"|set_?state|set_rng_state(?:_all)?))\s*\("
)
_COMMENT = re.compile(r"#.*")
_DEFINED = re.compile(r"^[ \t]*def\s+(\w+)", re.M)
_IMPORT = re.compile(r"^[ \t]*import\s+([\w.]+)\s+as\s+(\w+)", re.M)
_FROM = re.compile(r"^[ \t]*from\s+([\w.]+)\s+import\s+(\([\w,\s]+|[\w, \t]+)", re.M)
_WORDS = ("seed", "state")
# Methods of a generator that is a variable, and travels as one.
_METHODS = ("seed", "setstate", "set_state")
# Seeds in here are the job's.
_JOB = ("%%persist", "get_ipython().run_cell_magic('persist'")


def seeded(history: Iterable[str]) -> frozenset[str]:
    """The names of the generators' settings that a cell of *history* seeded; empty for none.

    A helper that is not of the notebook (`seed_everything(1)`) counts for all of them.
    """
    cells = [cell for cell in history if not cell.lstrip().startswith(_JOB)]
    texts = [_COMMENT.sub("", cell) for cell in cells if any(word in cell for word in _WORDS)]
    calls = {name for text in texts for name in _CALL.findall(text)}
    if not calls:
        return frozenset()
    defined = {name for cell in cells for name in _DEFINED.findall(cell)}
    full = _imported(cells)
    found: set[str] = set()
    for call in calls - defined:
        first, dot, rest = call.partition(".")
        name = full.get(first, first) + dot + rest
        owner = next((each for each in _OWNERS if name.startswith(f"{each}.")), "")
        if owner:
            found |= {_OWNERS[owner] or ""}
        elif name.rpartition(".")[2] not in _METHODS or name == "seed":
            found |= GENERATORS
    return GENERATORS & found


def _imported(cells: list[str]) -> dict[str, str]:
    """The full name of what the cells have imported under another one."""
    full = {"np": "numpy"}
    for cell in cells:
        full.update((alias, module) for module, alias in _IMPORT.findall(cell))
        for module, names in _FROM.findall(cell):
            for each in names.strip("(").split(","):
                words = each.split()
                if words:
                    full[words[-1]] = f"{module}.{words[0]}"
    return full
