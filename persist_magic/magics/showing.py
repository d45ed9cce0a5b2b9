"""How a shell of IPython shows views and what goes on. Knows displays and streams, no jobs."""

from __future__ import annotations

import sys
from typing import Any

from persist_magic.replay import Notice, Piece, Rich, Text
from persist_magic.terminal import Terminal
from persist_magic.views import Line, View


def show(view: View) -> None:
    """Display *view* below the cell."""
    from IPython.display import display

    display(view)


def replay(shell: Any, pieces: list[Piece], *, with_result: bool) -> None:
    """Show *pieces* as the cell would have shown them here.

    Parameters
    ----------
    with_result
        The value too; where it comes back it is shown as the result of fetching it.
    """
    for piece in pieces:
        match piece:
            case Text(stream, text):
                (sys.stdout if stream == "stdout" else sys.stderr).write(text)
            case Rich(data, metadata, display_id, result):
                if result and not with_result:
                    continue
                transient = {"display_id": display_id} if display_id else {}
                _flush()
                shell.display_pub.publish(data, metadata, transient=transient)
            case Notice(text):
                _flush()
                show(View([Line(text, "quiet")]))
    _flush()


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


class Cell:
    """What goes on, shown in place below a notebook's cell."""

    def __init__(self) -> None:
        self._handle: Any = None

    def line(self, text: str) -> None:
        """Show *text* in the place of the line before; an empty one ends it."""
        if text or self._handle is not None:
            self.screen(View([Line(text, "quiet")] if text else []))

    def screen(self, view: View) -> None:
        """Show *view* in the place of the one before."""
        from IPython.display import DisplayHandle

        if self._handle is None:
            self._handle = DisplayHandle()
            self._handle.display(view)
        else:
            self._handle.update(view)


def progress_of(shell: Any) -> Cell | Terminal:
    """Where *shell* shows what goes on."""
    return Cell() if getattr(shell, "kernel", None) is not None else Terminal()
