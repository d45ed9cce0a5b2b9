"""What earlier cells set in the process and no variable carries. Knows nothing of jobs.

One table of settings, compared with what a new process has; a library is looked at only where it is
imported. A new entry goes to SETTINGS of `stdlib` or `libraries`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from persist_magic.state import libraries, stdlib
from persist_magic.state import shell as shells

_TABLE = {setting.name: setting for setting in (*stdlib.SETTINGS, *libraries.SETTINGS)}


def take_state(shell: Any | None = None, seeded: Collection[str] = ()) -> dict[str, object]:
    """What differs here from a new process, by the name of the setting.

    Parameters
    ----------
    shell
        The IPython shell; without one, nothing of it is taken.
    seeded
        The generators of random numbers that were seeded, by the names that `seeded` gives. The
        others are left out: of two jobs started one after the other, each is to draw its own.

    Returns
    -------
    dict
        Values that cloudpickle can save. Most are plain; reading them imports no library.
    """
    taken: dict[str, object] = {}
    for name, setting in _TABLE.items():
        if setting.module in sys.modules and (not setting.generator or name in seeded):
            try:
                value = setting.take()
            except Exception as error:
                _say(name, "taken", error)
            else:
                if value is not None:
                    taken[name] = value
    if shell is not None:
        try:
            taken.update(shells.take_shell(shell))
        except Exception as error:
            _say("IPython", "taken", error)
    return taken


def give_state(
    state: Mapping[str, object], when_imported: Callable[[str, Callable[[], None]], None]
) -> None:
    """Set here what `take_state` gave, all but the shell's own.

    *when_imported(module, then)* is to call *then* once the module is imported, at once if it is.
    What cannot be set is told on stderr, and raises nothing.
    """
    for name, value in state.items():
        if name in _TABLE:
            when_imported(_TABLE[name].module, _giving(name, value))


def _giving(name: str, value: object) -> Callable[[], None]:
    def give() -> None:
        try:
            _TABLE[name].give(value)
        except Exception as error:
            _say(name, "restored", error)

    return give


def give_shell_state(state: Mapping[str, object], shell: Any) -> None:
    """Set in *shell*, as soon as it is made, what `take_state` gave of another."""
    for name in shells.NAMES:
        if name in state:
            try:
                shells.give_shell(name, state[name], shell)
            except Exception as error:
                _say(name, "restored", error)


def _say(name: str, done: str, error: Exception) -> None:
    words = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"persist: the setting {name!r} could not be {done}: {words}", file=sys.stderr)


def identity_of(state: Mapping[str, object]) -> dict[str, object]:
    """What of *state* can change the result of a cell."""
    return {
        name: value for name, value in state.items() if name not in _TABLE or _TABLE[name].matters
    }


_SHOWN = 3
_WIDTH = 40


def describe_state(state: Mapping[str, object]) -> list[tuple[str, str]]:
    """Each setting's name and what is set, in a few words."""
    return [(name, _words(name, value)) for name, value in state.items()]


def _words(name: str, value: object) -> str:
    if name in _TABLE and _TABLE[name].generator:
        return "generator state"
    match value:
        case {"filters": list(filters)}:
            return f"{len(filters)} filter{'s' * (len(filters) != 1)}"
        case dict() if name == shells.PRINTERS:
            return ", ".join(kind for types in value.values() for _, kind in types)
        case {"loggers": dict(loggers)}:
            return ", ".join(each or "root" for each in loggers) or "disabled"
        case dict():
            shown = [f"{key} = {_short(item)}" for key, item in list(value.items())[:_SHOWN]]
            more = [f"and {len(value) - _SHOWN} more"] if len(value) > _SHOWN else []
            return ", ".join([*shown, *more])
    return _short(value)


def _short(value: object) -> str:
    if callable(value):
        return "a function"
    words = str(value) if isinstance(value, (int, float, str)) else repr(value)
    return words if len(words) <= _WIDTH else words[: _WIDTH - 3] + "..."
