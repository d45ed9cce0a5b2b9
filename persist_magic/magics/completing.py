"""What Tab offers after a magic: options, names of jobs, variables of one. Binds nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from persist_magic.arguments import Parser, split
from persist_magic.errors import PersistError
from persist_magic.jobs import Job
from persist_magic.store import Store


def completer(
    store: Callable[[], Store], parser: Parser, *, then_variables: bool = False
) -> Callable[[Any, Any], list[str]]:
    """A hook `complete_command` of IPython's.

    Parameters
    ----------
    store
        Gives the jobs.
    parser
        Of the line; its options are offered.
    then_variables
        After the name of a job, whether to offer its variables instead of more names.
    """

    def complete(shell: Any, event: Any) -> list[str]:
        word = event.symbol
        before = event.text_until_cursor.removesuffix(word)
        try:
            given = split(before)[1:]
        except PersistError:
            return []
        if word.startswith("-"):
            found = parser.flags
        elif given and "=" not in given[-1] and parser.takes_value(given[-1]):
            return []
        elif then_variables and (names := _names(given, parser)):
            found = _variables(store(), names[0])
        else:
            found = sorted(store().by_name())
        return [one for one in found if one.startswith(word)]

    return complete


def _names(given: list[str], parser: Parser) -> list[str]:
    """The words of *given* that are neither options nor their values."""
    names = []
    value = False
    for word in given:
        if not value and not word.startswith("-"):
            names.append(word)
        value = not value and parser.takes_value(word)
    return names


def _variables(store: Store, name: str) -> list[str]:
    try:
        outputs = Job(store, store.resolve(name)).outputs()
    except PersistError:
        return []
    return sorted(name for name in outputs if name.isidentifier())
