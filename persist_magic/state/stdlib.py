"""Settings of the standard library, and of Python itself."""

from __future__ import annotations

import sys
from typing import Any, cast

from persist_magic.state.setting import Setting

# ---- random


def _take_random() -> object:
    import random

    return random.getstate()


def _give_random(value: Any) -> None:
    import random

    random.setstate(value)


# ---- warnings

_Filter = tuple[str, Any, type[Warning], Any, int]

# What Python starts with (`_warnings.c`, a release build).
_FIRST = (
    ("default", None, DeprecationWarning, "__main__", 0),
    ("ignore", None, DeprecationWarning, None, 0),
    ("ignore", None, PendingDeprecationWarning, None, 0),
    ("ignore", None, ImportWarning, None, 0),
    ("ignore", None, ResourceWarning, None, 0),
)


def _take_warnings() -> object | None:
    """The filters in front of those that Python starts with; all, if these were removed."""
    import warnings

    filters = list(warnings.filters)
    first = list(_FIRST)
    while filters and first and filters[-1] == first[-1]:
        del filters[-1], first[-1]
    entries = [
        (
            action,
            getattr(message, "pattern", message) or "",
            (category.__module__, category.__qualname__),
            getattr(module, "pattern", module) or "",
            line,
        )
        for action, message, category, module, line in cast("list[_Filter]", filters)
        if not _of_the_kernel(message, category)
    ]
    reset = len(first) == len(_FIRST)
    return {"filters": entries, "reset": reset} if entries or reset else None


def _of_the_kernel(message: Any, category: type) -> bool:
    """Whether IPython or ipykernel adds this filter when it starts."""
    return category.__module__.startswith("IPython.") or "Trio's signal handling" in getattr(
        message, "pattern", ""
    )


def _give_warnings(value: Any) -> None:
    import warnings

    if value["reset"]:
        warnings.resetwarnings()
    for action, message, category, module, line in reversed(value["filters"]):
        if message or module:
            warnings.filterwarnings(action, message, _category(*category), module, line)
        else:
            warnings.simplefilter(action, _category(*category), line)


class _ByName(type):
    def __subclasscheck__(cls, subclass: type) -> bool:
        return any(
            (each.__module__, each.__qualname__) == cls.stands_for for each in subclass.mro()
        )

    stands_for: tuple[str, str]


def _category(module: str, name: str) -> type[Warning]:
    """The category; until its module is imported, a stand-in that knows it by its name."""
    category: Any = sys.modules.get(module) if module != "__main__" else None
    for part in name.split("."):
        category = getattr(category, part, None)
    if isinstance(category, type) and issubclass(category, Warning):
        return category
    return _ByName(name, (Warning,), {"stands_for": (module, name)})  # type: ignore[return-value]  # its base


# ---- decimal

_NUMBERS = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")


def _take_decimal() -> object | None:
    import decimal

    context, fresh = decimal.getcontext(), decimal.DefaultContext
    differing: dict[str, object] = {
        name: getattr(context, name)
        for name in _NUMBERS
        if getattr(context, name) != getattr(fresh, name)
    }
    if context.traps != fresh.traps:
        differing["traps"] = sorted(signal.__name__ for signal, on in context.traps.items() if on)
    return differing or None


def _give_decimal(value: Any) -> None:
    import decimal

    context = decimal.getcontext()
    for name, given in value.items():
        if name == "traps":
            for signal in context.traps:
                context.traps[signal] = signal.__name__ in given
        else:
            setattr(context, name, given)


# ---- logging

# Set by the kernel and by IPython when they start; the last is its completer's parser.
_APPLICATIONS = ("IPKernelApp", "TerminalIPythonApp", "parso")


def _take_logging() -> object | None:
    """Levels, and the handlers that write to the standard streams, by the name of the logger."""
    import logging

    loggers: dict[str, dict[str, object]] = {}
    named = sorted(logging.root.manager.loggerDict.items())
    for name, logger in (("", logging.root), *named):
        if not isinstance(logger, logging.Logger) or name in _APPLICATIONS:
            continue
        entry: dict[str, object] = {}
        if logger.level != (logging.NOTSET if name else logging.WARNING):
            entry["level"] = logger.level
        # An imported library brings its own handlers; twice, they would write all lines twice.
        if name in ("", "__main__") or name.partition(".")[0] not in sys.modules:
            handlers = [_handler(each) for each in logger.handlers if _stream_of(each)]
            if handlers:
                entry["handlers"] = handlers
            if not logger.propagate:
                entry["propagate"] = False
        if entry:
            loggers[name] = entry
    disabled = logging.root.manager.disable
    return {"disable": disabled, "loggers": loggers} if disabled or loggers else None


def _stream_of(handler: Any) -> str:
    """The standard stream that *handler* writes to; empty for any other."""
    stream = getattr(handler, "stream", None)
    for name in ("stdout", "stderr"):
        if stream is not None and (
            stream in (getattr(sys, name), getattr(sys, f"__{name}__"))
            or getattr(stream, "name", "") in (name, f"<{name}>")
        ):
            return name
    return ""


def _handler(handler: Any) -> dict[str, object]:
    given: dict[str, object] = {"stream": _stream_of(handler), "level": handler.level}
    if handler.formatter is not None:
        styles = {"StrFormatStyle": "{", "StringTemplateStyle": "$"}
        style = type(handler.formatter._style).__name__
        given["format"] = handler.formatter._fmt
        given["datefmt"] = handler.formatter.datefmt
        given["style"] = styles.get(style, "%")
    return given


def _give_logging(value: Any) -> None:
    import logging

    logging.disable(value["disable"])
    for name, entry in value["loggers"].items():
        logger = logging.getLogger(name)
        if "level" in entry:
            logger.setLevel(entry["level"])
        logger.propagate = entry.get("propagate", logger.propagate)
        for given in entry.get("handlers", ()):
            handler = logging.StreamHandler(getattr(sys, given["stream"]))
            handler.setLevel(given["level"])
            if "format" in given:
                formatter = logging.Formatter(given["format"], given["datefmt"], given["style"])
                handler.setFormatter(formatter)
            logger.addHandler(handler)


# ---- locale

# Not LC_CTYPE: Python sets it at its start, from the environment.
_CATEGORIES = ("LC_NUMERIC", "LC_TIME", "LC_COLLATE", "LC_MONETARY", "LC_MESSAGES")


def _take_locale() -> object | None:
    import locale

    present = {name: locale.setlocale(getattr(locale, name)) for name in _CATEGORIES}
    return {name: value for name, value in present.items() if value != "C"} or None


def _give_locale(value: Any) -> None:
    import locale

    for name, given in value.items():
        locale.setlocale(getattr(locale, name), given)


# ---- sys

_LIMIT = 1000


def _take_limit() -> object | None:
    limit = sys.getrecursionlimit()
    return limit if limit != _LIMIT else None


SETTINGS = (
    Setting("random", "random", _take_random, _give_random, generator=True),
    Setting("decimal", "decimal", _take_decimal, _give_decimal),
    Setting("locale", "locale", _take_locale, _give_locale),
    # Which libraries are imported, and completion by jedi, change these without the user.
    Setting("warnings", "warnings", _take_warnings, _give_warnings, matters=False),
    Setting("logging", "logging", _take_logging, _give_logging, matters=False),
    Setting("recursion limit", "sys", _take_limit, sys.setrecursionlimit, matters=False),
)
