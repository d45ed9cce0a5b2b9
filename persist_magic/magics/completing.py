"""What Tab offers after a magic: options, names of jobs, variables of one. Binds nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher

from persist_magic.arguments import Parser, split
from persist_magic.errors import PersistError
from persist_magic.jobs import Job
from persist_magic.store import Store

# The line up to the cursor, with a result assigned or not, and IPython's automatic `%`.
_LINE = re.compile(r"(?:[^%=]*=\s*)?(%{0,2}persist\w*)\s(.*)")


def matcher(
    parsers: Mapping[str, Parser], store: Callable[[], Store]
) -> Callable[[Any], dict[str, Any]]:
    """A matcher for IPython's completer, which keeps Python's own names out of our lines.

    Parameters
    ----------
    parsers
        By magic, as it is written: `%%persist`, `%persist_fetch`.
    store
        Gives the jobs.
    """

    @context_matcher()  # type: ignore[untyped-decorator]  # IPython's
    def persist_matcher(context: Any) -> dict[str, Any]:
        found = []
        if line := _LINE.fullmatch(context.text_until_cursor):
            magic = line[1] if line[1].startswith("%") else f"%{line[1]}"
            before = line[2].removesuffix(context.token)
            if magic in parsers:
                found = _offers(parsers[magic], store(), magic, before, context.token)
        return {
            "completions": [SimpleCompletion(text, type="persist") for text in found],
            "suppress": bool(found),
            "ordered": True,
        }

    return persist_matcher  # type: ignore[no-any-return]  # IPython's


def _offers(parser: Parser, store: Store, magic: str, before: str, word: str) -> list[str]:
    try:
        given = split(before)
    except PersistError:
        return []
    if word.startswith("-"):
        found = parser.flags
    elif given and parser.takes_value(given[-1]):
        return []
    elif magic == "%persist_fetch" and (names := _names(given, parser)):
        found = _variables(store, names[0])
    else:
        found = sorted(store.by_name())
    return [one for one in found if one.startswith(word)]


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
