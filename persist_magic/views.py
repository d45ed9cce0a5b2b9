"""What commands show: lines, tables and code, as HTML, for a terminal and as data. Knows no jobs.

Everything shown is escaped here, in the one place that makes HTML.
"""

from __future__ import annotations

import html
import io
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Colours follow JupyterLab's theme where there is one.
_STYLE = {
    "good": "color: var(--jp-success-color1, #2e7d32)",
    "bad": "color: var(--jp-error-color1, #c62828)",
    "calm": "color: var(--jp-info-color1, #1565c0)",
    "quiet": "color: var(--jp-ui-font-color2, #757575)",
    "plain": "",
}
_RICH = {"good": "green", "bad": "red", "calm": "blue", "quiet": "dim", "plain": ""}
_CELL = "text-align: left; padding: 2px 12px 2px 0; vertical-align: top"


@dataclass(frozen=True)
class Line:
    """One line of text."""

    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Table:
    """Rows under a head; a cell is text or a toned line.

    Parameters
    ----------
    head
        The columns; a head of empty texts is not shown.
    elastic
        The columns that are folded where there is no room, by number.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str | Line]]
    elastic: Sequence[int] = (0,)


@dataclass(frozen=True)
class Code:
    """Text to be shown as it is."""

    text: str


Block = Line | Table | Code


@dataclass(frozen=True)
class View:
    """What a command has to show.

    Parameters
    ----------
    blocks
        For people.
    data
        The same for programs, as JSON would have it.
    failed
        Whether a job that the command was about did not end well.
    """

    blocks: Sequence[Block]
    data: Any = field(default=None)
    failed: bool = False

    def __str__(self) -> str:
        # A notebook's text twin has the width that programs expect of it.
        wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
        return self.text(wide)

    def __repr__(self) -> str:
        return str(self)

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> Mapping[str, str]:
        return {"text/plain": str(self), "text/html": self.html()}

    def html(self) -> str:
        """As HTML, every text escaped."""
        return "".join(map(_html, self.blocks))

    def text(self, width: int) -> str:
        """As plain text for *width* columns."""
        return "\n".join(_text(block, width) for block in self.blocks)

    def print_to(self, console: Any) -> None:
        """Print on a rich console."""
        for block in self.blocks:
            match block:
                case Line(text, tone):
                    # Names and errors are text, never rich's markup.
                    console.print(_toned(text, tone), soft_wrap=not console.is_terminal)
                case Code(text):
                    console.print(_toned(text, "plain"), soft_wrap=True)
                case Table():
                    console.print(_rich_table(block))


def _text(block: Block, width: int) -> str:
    match block:
        case Line(text, _):
            lines = printable(text).split("\n")
            return "\n".join(
                textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
                for line in lines
            )
        case Code(text):
            return printable(text).rstrip("\n")
        case Table():
            from rich.console import Console

            file = io.StringIO()
            # Within a kernel rich would display instead of writing.
            console = Console(file=file, width=width, color_system=None, force_jupyter=False)
            console.print(_rich_table(block))
            return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _html(block: Block) -> str:
    match block:
        case Line(text, tone):
            return f'<div style="{_STYLE[tone]}">{_escape(text)}</div>'
        case Code(text):
            return f"<pre>{_escape(text)}</pre>"
        case Table(head, rows, elastic):
            top = "".join(f'<th scope="col" style="{_CELL}">{_escape(name)}</th>' for name in head)
            top = f"<thead><tr>{top}</tr></thead>" if any(head) else ""
            body = "".join(
                f"<tr>{''.join(_html_cell(cell, i in elastic) for i, cell in enumerate(row))}</tr>"
                for row in rows
            )
            return f"<table>{top}<tbody>{body}</tbody></table>"


def _html_cell(cell: str | Line, elastic: bool) -> str:
    line = cell if isinstance(cell, Line) else Line(cell)
    style = f"{_CELL}; white-space: {'pre-wrap' if elastic else 'nowrap'}; {_STYLE[line.tone]}"
    return f'<td style="{style}">{_escape(line.text)}</td>'


def _escape(text: str) -> str:
    return html.escape(printable(text))


def _rich_table(table: Table) -> Any:
    from rich.table import Table as RichTable

    made = RichTable(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
        show_header=any(table.head),
    )
    for number, name in enumerate(table.head):
        made.add_column(_toned(name, "plain"), overflow="fold", no_wrap=number not in table.elastic)
    for row in table.rows:
        cells = [cell if isinstance(cell, Line) else Line(cell) for cell in row]
        made.add_row(*(_toned(cell.text, cell.tone) for cell in cells))
    return made


def _toned(text: str, tone: str) -> Any:
    from rich.text import Text

    return Text(printable(text), style=_RICH[tone])


# Invisible characters that belong to written language: they join emoji and letters.
_JOINERS = "\u200c\u200d\u2060\ufeff"


def printable(text: str) -> str:
    """*text* with what a terminal would obey, or what would reorder a line, spelled out."""
    if text.isprintable():
        return text
    return "".join(
        c if c in "\n\t" or c in _JOINERS or _is_text(c) else c.encode("unicode_escape").decode()
        for c in text
    )


def _is_text(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"
