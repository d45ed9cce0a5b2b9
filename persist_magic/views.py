"""What commands show: lines, tables and code, as HTML, for a terminal and as data. Knows no jobs.

Everything shown is escaped here, in the one place that makes HTML.
"""

from __future__ import annotations

import html
import io
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
_CELL = "text-align: left; padding: 2px 12px 2px 0; vertical-align: top; white-space: pre-wrap"


@dataclass(frozen=True)
class Line:
    """One line of text."""

    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Table:
    """Rows under a head; a cell is text or a toned line."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Line]]


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
    """

    blocks: Sequence[Block]
    data: Any = field(default=None)

    def __str__(self) -> str:
        return self.text(width=120)

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
        from rich.console import Console

        file = io.StringIO()
        # Within a kernel rich would display instead of writing.
        console = Console(
            file=file, width=width, color_system=None, highlight=False, force_jupyter=False
        )
        self.print_to(console)
        return file.getvalue().rstrip("\n")

    def print_to(self, console: Any) -> None:
        """Print on a rich console."""
        for block in self.blocks:
            # Names, logs and errors are text, never rich's markup.
            whole = isinstance(block, Code)
            console.print(_rich(block), markup=False, highlight=False, soft_wrap=whole)


def _html(block: Block) -> str:
    match block:
        case Line(text, tone):
            return f'<div style="{_STYLE[tone]}">{html.escape(text)}</div>'
        case Code(text):
            return f"<pre>{html.escape(text)}</pre>"
        case Table(head, rows):
            top = "".join(f'<th scope="col" style="{_CELL}">{html.escape(h)}</th>' for h in head)
            body = "".join(f"<tr>{''.join(map(_html_cell, row))}</tr>" for row in rows)
            return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _html_cell(cell: str | Line) -> str:
    line = cell if isinstance(cell, Line) else Line(cell)
    return f'<td style="{_CELL}; {_STYLE[line.tone]}">{html.escape(line.text)}</td>'


def _rich(block: Block) -> Any:
    from rich.table import Table as RichTable
    from rich.text import Text

    match block:
        case Line(text, tone):
            return Text(printable(text), style=_RICH[tone])
        case Code(text):
            return Text(printable(text))
        case Table(head, rows):
            table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
            for name in head:
                table.add_column(name, overflow="fold")
            for row in rows:
                cells = [cell if isinstance(cell, Line) else Line(cell) for cell in row]
                table.add_row(*(Text(printable(c.text), style=_RICH[c.tone]) for c in cells))
            return table


def printable(text: str) -> str:
    """*text* without what a terminal would obey."""
    return "".join(
        c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )
