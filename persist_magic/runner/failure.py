"""What ended a cell, in words. Knows exceptions, and which frames are not the user's."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

# An exception may carry a whole data set in its arguments.
_LONGEST_MESSAGE = 10_000
_LONGEST_TRACEBACK = 200_000
_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep


def describe(error: BaseException, file: str) -> dict[str, Any]:
    """The type, message and traceback of *error*.

    Parameters
    ----------
    file
        What tracebacks call the cell: it begins there where it passes there.
    """
    import traceback

    found: TracebackType | None = error.__traceback__
    while found is not None and found.tb_frame.f_code.co_filename != file:
        found = found.tb_next
    error.__traceback__ = found or error.__traceback__
    try:
        _clean(error)
        lines = traceback.format_exception(type(error), error, error.__traceback__)
    except Exception as failure:
        lines = [f"{type(error).__name__} (its traceback cannot be shown: {failure!r})\n"]
    try:
        message = str(error)
    except Exception as failure:
        message = f"<its message cannot be shown: {failure!r}>"
    return {
        "type": type(error).__qualname__,
        "message": _cut(message, _LONGEST_MESSAGE),
        "traceback": _cut("".join(lines), _LONGEST_TRACEBACK),
    }


def _clean(error: BaseException) -> None:
    """Take the frames of this package out of *error* and of all that it is chained to."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _without_own(one.__traceback__)
        waiting += [one.__cause__, one.__context__]
        members = getattr(one, "exceptions", ())  # of a group
        waiting += members if isinstance(members, tuple) else ()


def _without_own(first: TracebackType | None) -> TracebackType | None:
    while first is not None and _is_own(first):
        first = first.tb_next
    at = first
    while at is not None:
        while at.tb_next is not None and _is_own(at.tb_next):
            at.tb_next = at.tb_next.tb_next
        at = at.tb_next
    return first


def _is_own(entry: TracebackType) -> bool:
    return entry.tb_frame.f_code.co_filename.startswith(_PACKAGE)


def cut_down(report: dict[str, Any]) -> dict[str, Any]:
    """*report* for a disk that is nearly full."""
    return {key: _cut(str(value), 2000) for key, value in report.items()}


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n… {len(text) - longest} characters left out …\n{text[-half:]}"
