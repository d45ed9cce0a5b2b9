"""Settings of the IPython shell that decide how a value or a figure is shown."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any

from persist_magic.state.setting import carried, stands_alone

PLAIN, PRINTERS, INLINE = "plain text", "formatters", "inline figures"
NAMES = (PLAIN, PRINTERS, INLINE)

_PLAIN_TRAITS = ("float_precision", "max_seq_length", "max_width", "newline", "pprint", "verbose")
_INLINE_TRAITS = ("close_figures", "rc")
# What figures are shown as, and how, unless someone changed it.
_FORMATS, _OPTIONS = {"png"}, {"bbox_inches": "tight"}


def take_shell(shell: Any) -> dict[str, object]:
    """What differs in *shell* from a new one, by the names above."""
    formatters = shell.display_formatter.formatters
    plain = _traits(formatters["text/plain"], _PLAIN_TRAITS)
    printers = {mime: _printers(formatter) for mime, formatter in formatters.items()}
    taken: dict[str, object] = {
        PLAIN: plain,
        PRINTERS: {mime: found for mime, found in printers.items() if found},
        INLINE: _inline(formatters),
    }
    return {name: value for name, value in taken.items() if value}


def _traits(configurable: Any, names: tuple[str, ...]) -> dict[str, object]:
    traits = configurable.traits()
    present = {name: getattr(configurable, name) for name in names if name in traits}
    return {
        name: value
        for name, value in present.items()
        if value != traits[name].default() and carried(value)
    }


def _printers(formatter: Any) -> dict[tuple[str, str], FunctionType]:
    """The user's functions, by module and name of the type that they show."""
    known = {
        **{(each.__module__, each.__name__): f for each, f in formatter.type_printers.items()},
        **formatter.deferred_printers,
    }
    return {
        key: function
        for key, function in known.items()
        if isinstance(function, FunctionType) and stands_alone(function)
    }


def _inline(formatters: Any) -> dict[str, object]:
    figure = getattr(sys.modules.get("matplotlib.figure"), "Figure", None)
    config = getattr(sys.modules.get("matplotlib_inline.config"), "InlineBackend", None)
    if figure is None or config is None or not config.initialized():
        return {}
    taken = _traits(config.instance(), _INLINE_TRAITS)
    # `set_matplotlib_formats` leaves no other trace than the functions it registers.
    formats, options = set(), _OPTIONS
    for formatter in formatters.values():
        printer = formatter.type_printers.get(figure)
        keywords = getattr(printer, "keywords", None)
        if keywords is not None:
            retina = printer.func.__name__ == "retina_figure"
            formats.add("retina" if retina else keywords.get("fmt", "png"))
            hidden = ("fmt", "base64")
            options = {name: item for name, item in keywords.items() if name not in hidden}
    if formats and formats != _FORMATS:
        taken["figure_formats"] = formats
    if options != _OPTIONS and carried(options):
        taken["print_figure_kwargs"] = options
    return taken


def give_shell(name: str, value: Any, shell: Any) -> None:
    """Set in *shell* what `take_shell` gave under *name*."""
    formatters = shell.display_formatter.formatters
    if name == PLAIN:
        for trait, given in value.items():
            setattr(formatters["text/plain"], trait, given)
    elif name == PRINTERS:
        for mime, functions in value.items():
            for (module, kind), function in functions.items():
                _register(formatters[mime], module, kind, function)
    elif name == INLINE:
        # The backend reads it from here when the first figure is made.
        shell.config.InlineBackend.update(value)


def _register(formatter: Any, module: str, kind: str, function: FunctionType) -> None:
    # A class of the notebook may yet be defined anew: its name is what lasts.
    present = getattr(sys.modules.get(module), kind, None) if module != "__main__" else None
    if isinstance(present, type):
        formatter.for_type(present, function)
    else:
        formatter.for_type_by_name(module, kind, function)
