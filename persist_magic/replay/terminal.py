"""What a terminal shows of the bytes that a program wrote. Knows no files."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby, islice
from unicodedata import category, east_asian_width

_REACH = 200  # lines that a program can go back up
_COLUMNS = 512  # no terminal is wider: no line is filled up with more blanks

_UNFINISHED = re.compile(
    rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2}"  # a character
    rb"|\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[]PX^_][^\x07\x1b\r\n]*\x1b?))\Z"  # a sequence
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SEQUENCE = re.compile(
    r"(?P<kept>[\r\b])"
    r"|(?P<colour>\x1b\[[0-9;:]{0,64}m)"
    r"|(?P<movement>\x1b\[[0-9]{0,4}[ABK])"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[]PX^_][^\x07\x1b\r\n]*(?:\x07|\x1b\\)"  # with text that is not for the screen
    r"|\x1b[ -/]*[0-~]"
    r"|(?P<other>[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f])"
)
_ENDED_LINE = re.compile(r"(?<!\r)\r+\n")  # each run of returns is tried once: linear
_MOVEMENT = re.compile(r"[\r\b]|\x1b\[[0-9]*[ABK]")
_TOKEN = re.compile(r"([\n\r\b\t]|\x1b\[[0-9;:]*[ABKm])")


def plain(data: bytes) -> str:
    """Bytes of a log as text that is safe to show.

    Of the control characters, tab, newline, carriage return, backspace and colour sequences are
    kept. Other sequences are dropped, other control characters shown as U+FFFD.
    """
    return clean(data, movements=False)


def whole_length(data: bytes) -> int:
    """How many of these bytes come before a character or sequence that is not yet complete."""
    found = _UNFINISHED.search(data, max(0, len(data) - 256))
    return found.start() if found else len(data)


def clean(data: bytes, *, movements: bool) -> str:
    def kept(found: re.Match[str]) -> str:
        match found.lastgroup:
            case "other":
                return "\ufffd"
            case "kept" | "colour":
                return found[0]
            case "movement" if movements:
                return found[0]
        return ""

    text = data.decode(errors="replace")
    return _SEQUENCE.sub(kept, text) if _CONTROL.search(text) else text


def collapse(data: bytes) -> str:
    text = _ENDED_LINE.sub("\n", clean(data, movements=True))
    if not _MOVEMENT.search(text):
        return text
    screen = _Screen()
    for i, token in enumerate(_TOKEN.split(text)):
        if i % 2:
            screen.obey(token)
        elif token:
            screen.write(_cells(token))
    return screen.text()


def _cells(text: str) -> list[str]:
    """One string a column: a wide character has an empty one after it."""
    if text.isascii():
        return list(text)
    cells: list[str] = []
    for character in text:
        # Marks go with what they mark; the bound keeps a run of nothing else linear.
        if cells and len(cells[-1]) < 16 and category(character) in ("Mn", "Me", "Cf"):
            cells[-1] += character
        else:
            wide = east_asian_width(character) in ("W", "F")
            cells += (character, "") if wide else (character,)
    return cells


class _Row:
    """A line of the screen: the character and the style of each column."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.styles: list[str] = []

    def put(self, start: int, cells: list[str], style: str) -> None:
        """Replace what stands in the columns from *start* on, which is not after the end."""
        end = start + len(cells)
        self._part(start)
        self._part(end)
        self.cells[start:end] = cells
        self.styles[start:end] = [style] * len(cells)

    def cut(self, start: int) -> None:
        self._part(start)
        del self.cells[start:], self.styles[start:]

    def _part(self, column: int) -> None:
        """A wide character of which only the half before *column* would stay becomes blank."""
        start = end = column
        while end < len(self.cells) and not self.cells[end]:
            end += 1
        if end > column:
            while not self.cells[start]:
                start -= 1
            self.cells[start:end] = " " * (end - start)

    def text(self) -> str:
        if not any(self.styles):
            return "".join(self.cells)
        parts = []
        for style, run in groupby(zip(self.styles, self.cells, strict=True), lambda pair: pair[0]):
            part = "".join(cell for _, cell in run)
            parts.append(f"\x1b[{style}m{part}\x1b[0m" if style else part)
        return "".join(parts)


class _Screen:
    """Lines without end, of which the last can still be changed."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._rows = [_Row()]
        self._y = self._x = 0
        self._style = ""

    def text(self) -> str:
        return "\n".join([*self._done, *(row.text() for row in self._rows)])

    def write(self, cells: list[str]) -> None:
        row = self._rows[self._y]
        missing = self._x - len(row.cells)
        if missing > 0:
            self._x = len(row.cells)
            row.put(self._x, [" "] * min(missing, _COLUMNS), "")
            self._x = len(row.cells)
        row.put(self._x, cells, self._style)
        self._x += len(cells)

    def obey(self, control: str) -> None:
        row, number = self._rows[self._y], control[2:-1]
        match control[-1]:
            case "\n":
                self._line_feed()
            case "\r":
                self._x = 0
            case "\b":
                self._x = max(0, self._x - 1)
            case "\t":
                width = 8 - self._x % 8
                if self._x < len(row.cells):
                    self._x += width
                else:
                    self.write(["\t"] + [""] * (width - 1))
            case "A":
                self._y = max(0, self._y - (int(number or 0) or 1))
            case "B":  # stops at the last line, as at the bottom of a screen
                self._y = min(len(self._rows) - 1, self._y + (int(number or 0) or 1))
            case "K" if int(number or 0) == 0:
                row.cut(self._x)
            case "K" if int(number) == 1:
                width = min(self._x + 1, len(row.cells), _COLUMNS)
                row.put(0, [" "] * width, "")
            case "K" if int(number) == 2:
                row.cut(0)
            case "m":
                self._style = _style(f"{self._style};{number or 0}")

    def _line_feed(self) -> None:
        self._x = 0
        self._y += 1
        if self._y == len(self._rows):
            self._rows.append(_Row())
            if len(self._rows) > 2 * _REACH:
                self._done += (row.text() for row in self._rows[:_REACH])
                del self._rows[:_REACH]
                self._y -= _REACH


# SGR codes: what each sets, and what each puts back.
_SETS = {
    **{code: code for code in (*range(1, 10), 58)},
    21: 4,
    **dict.fromkeys((*range(30, 39), *range(90, 98)), 30),
    **dict.fromkeys((*range(40, 49), *range(100, 108)), 40),
}
_RESETS = {22: (1, 2), 23: (3,), 24: (4,), 25: (5, 6), 27: (7,), 28: (8,), 29: (9,)}
_RESETS |= {39: (30,), 49: (40,), 59: (58,), 0: tuple(_SETS.values())}


@lru_cache(maxsize=1024)
def _style(codes: str) -> str:
    """The SGR codes that are left in force after *codes*, one for each thing that they set."""
    left: dict[int, str] = {}
    words = iter(codes.split(";"))
    for word in words:
        code = int(word.partition(":")[0] or 0)
        if word in ("38", "48", "58"):  # a colour: 5;number or 2;red;green;blue
            kind = next(words, "")
            wanted = {"5": 1, "2": 3}.get(kind, 0)
            values = list(islice(words, wanted))
            if not values or len(values) < wanted:
                continue
            word = ";".join((word, kind, *values))
        if code in _SETS:
            left[_SETS[code]] = word
        for reset in _RESETS.get(code, ()):
            left.pop(reset, None)
    return ";".join(left.values())
