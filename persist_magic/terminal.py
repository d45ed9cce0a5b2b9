"""What goes on, shown in place on a terminal: one line, or the whole screen. Knows no jobs."""

from __future__ import annotations

import shutil
import sys

from persist_magic.views import View, printable

_CLEAR_LINE = "\r\x1b[K"
_HOME_AND_CLEAR = "\x1b[H\x1b[J"


class Terminal:
    """Standard error for the line, standard output for the screen; silent where they are none."""

    def __init__(self) -> None:
        self._line = False

    def line(self, text: str) -> None:
        """Show *text* in the place of the line before; an empty one ends it."""
        if not sys.stderr.isatty() or not (text or self._line):
            return
        # What is wrapped to a second line could not be cleared.
        room = shutil.get_terminal_size().columns - 1
        words = printable(text).replace("\n", " ")
        sys.stderr.write(_CLEAR_LINE + (words if len(words) <= room else words[: room - 1] + "…"))
        sys.stderr.flush()
        self._line = bool(text)

    def screen(self, view: View) -> None:
        """Show *view* in the place of what is on the screen; on no terminal, below it."""
        sys.stdout.write(f"{_HOME_AND_CLEAR if sys.stdout.isatty() else ''}{view}\n")
        sys.stdout.flush()
