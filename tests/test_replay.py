"""What a job printed and displayed is shown again as its cell would have shown it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persist_magic.replay import (
    Notice,
    Piece,
    Rich,
    Text,
    as_text,
    follow,
    plain,
    replay,
    tail,
)

WIDGET = "application/vnd.jupyter.widget-view+json"
FURTHER = "... 1 kB not shown"


class Attempt:
    """An attempt's directory, written as its runner writes it."""

    def __init__(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        self.path = path

    def write(self, stream: str, data: str | bytes) -> None:
        with (self.path / f"{stream}.log").open("ab") as log:
            log.write(data.encode() if isinstance(data, str) else data)

    def out(self, data: str | bytes) -> None:
        self.write("stdout", data)

    def err(self, data: str | bytes) -> None:
        self.write("stderr", data)

    def raw(self, line: bytes) -> None:
        with (self.path / "events.jsonl").open("ab") as journal:
            journal.write(line)

    def size(self, stream: str) -> int:
        log = self.path / f"{stream}.log"
        return log.stat().st_size if log.exists() else 0

    def event(self, kind: str, **more: Any) -> None:
        entry = {"t": 1732270953.1, "out": self.size("stdout"), "err": self.size("stderr")}
        self.raw(json.dumps({**entry, "kind": kind, **more}).encode() + b"\n")

    def mark(self) -> None:
        self.event("mark")

    def show(self, text: str, name: str | None = None, kind: str = "display") -> None:
        self.event(kind, data={"text/plain": text}, metadata={}, id=name)

    def clear(self, *, wait: bool) -> None:
        self.event("clear", wait=wait)


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path / "1")


def shown(text: str, name: str | None = None, *, result: bool = False) -> Rich:
    return Rich({"text/plain": text}, {}, name, result)


def out(text: str) -> Text:
    return Text("stdout", text)


def err(text: str) -> Text:
    return Text("stderr", text)


def texts(pieces: list[Piece], stream: str) -> str:
    return "".join(
        piece.text for piece in pieces if isinstance(piece, Text) and piece.stream == stream
    )


def notices(pieces: list[Piece]) -> list[str]:
    return [piece.text for piece in pieces if isinstance(piece, Notice)]


# Order


def test_attempt_that_wrote_nothing_shows_nothing(attempt: Attempt) -> None:
    assert replay(attempt.path) == []
    assert replay(attempt.path / "absent") == []


def test_text_and_displays_come_in_the_order_of_the_cell(attempt: Attempt) -> None:
    attempt.out("one\n")
    attempt.show("figure")
    attempt.out("two\n")
    attempt.show("4", kind="result")
    assert replay(attempt.path) == [
        out("one\n"),
        shown("figure"),
        out("two\n"),
        shown("4", result=True),
    ]


def test_mark_keeps_the_order_of_both_streams(attempt: Attempt) -> None:
    for number in range(3):
        attempt.out(f"out {number}\n")
        attempt.mark()
        attempt.err(f"err {number}\n")
        attempt.mark()
    assert replay(attempt.path) == [
        piece for n in range(3) for piece in (out(f"out {n}\n"), err(f"err {n}\n"))
    ]


def test_without_a_mark_stdout_comes_before_stderr(attempt: Attempt) -> None:
    attempt.err("first\n")
    attempt.out("second\n")
    attempt.show("x")
    assert replay(attempt.path) == [out("second\n"), err("first\n"), shown("x")]


def test_text_after_the_last_event_is_shown(attempt: Attempt) -> None:
    attempt.show("x")
    attempt.out("later\n")
    assert replay(attempt.path) == [shown("x"), out("later\n")]


def test_text_of_one_stream_is_one_piece_across_marks_updates_and_unknown_events(
    attempt: Attempt,
) -> None:
    attempt.show("old", "bar")
    for part in ("a", "b", "c"):
        attempt.out(part)
        attempt.mark()
        attempt.show("new", "bar", kind="update")
        attempt.event("from a later version", data=7)
    assert replay(attempt.path) == [shown("new", "bar"), out("abc")]


def test_metadata_and_every_representation_come_along(attempt: Attempt) -> None:
    data = {"text/plain": "<Figure>", "image/png": "iVBORw0", "application/json": {"a": [1, None]}}
    metadata = {"image/png": {"width": 640}}
    attempt.event("display", data=data, metadata=metadata, id=None)
    assert replay(attempt.path) == [Rich(data, metadata, None, False)]


def test_widget_without_a_model_is_dropped_and_its_text_kept(attempt: Attempt) -> None:
    attempt.out("10%\r")
    attempt.event("display", data={WIDGET: {"model_id": "1"}}, metadata={}, id=None)
    attempt.out("20%\n")
    attempt.event("display", data={WIDGET: {}, "text/plain": "HBox()"}, metadata={}, id=None)
    assert replay(attempt.path) == [out("20%\n"), shown("HBox()")]


@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from(["stdout", "stderr"]),
            st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\n\t")),
            st.sampled_from(["nothing", "mark", "display", "update"]),
        ),
        max_size=30,
    )
)
def test_no_split_by_events_loses_or_moves_text_of_a_stream(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, str, str]]
) -> None:
    attempt = Attempt(tmp_path_factory.mktemp("attempt"))
    for stream, text, event in parts:
        attempt.write(stream, text)
        if event == "mark":
            attempt.mark()
        elif event != "nothing":
            attempt.show("x", "x", kind=event)
    pieces = replay(attempt.path)
    for stream in ("stdout", "stderr"):
        assert texts(pieces, stream) == "".join(text for to, text, _ in parts if to == stream)
    for a, b in pairwise(pieces):
        assert not (isinstance(a, Text) and isinstance(b, Text) and a.stream == b.stream)


# Clear and update


def test_clear_takes_away_everything_before_it(attempt: Attempt) -> None:
    attempt.out("old\n")
    attempt.show("old")
    attempt.clear(wait=False)
    attempt.err("new\n")
    assert replay(attempt.path) == [err("new\n")]


def test_clear_at_the_end_leaves_nothing(attempt: Attempt) -> None:
    attempt.show("old")
    attempt.out("old\n")
    attempt.clear(wait=False)
    assert replay(attempt.path) == []


def test_waiting_clear_leaves_all_until_something_comes(attempt: Attempt) -> None:
    attempt.out("old\n")
    attempt.show("old", "a")
    attempt.clear(wait=True)
    attempt.mark()
    attempt.show("updated", "a", kind="update")
    assert replay(attempt.path) == [out("old\n"), shown("updated", "a")]


@pytest.mark.parametrize("later", ["text", "display", "result", "dropped"])
def test_waiting_clear_takes_effect_with_the_next_output(attempt: Attempt, later: str) -> None:
    attempt.out("old\n")
    attempt.show("old", "a")
    attempt.clear(wait=True)
    if later == "text":
        attempt.out("new")
    elif later == "dropped":
        attempt.event("dropped", count=2)
    else:
        attempt.show("new", kind=later)
    expected: dict[str, Piece] = {
        "text": out("new"),
        "display": shown("new"),
        "result": shown("new", result=True),
        "dropped": Notice("2 further displays were not kept"),
    }
    assert replay(attempt.path) == [expected[later]]


def test_animation_shows_its_last_frame(attempt: Attempt) -> None:
    for number in range(5):
        attempt.clear(wait=True)
        attempt.show(f"frame {number}")
        attempt.out(f"loss {number}\n")
    assert replay(attempt.path) == [shown("frame 4"), out("loss 4\n")]


def test_update_changes_every_earlier_display_of_its_name_in_place(attempt: Attempt) -> None:
    attempt.show("a1", "a")
    attempt.show("b1", "b")
    attempt.show("a2", "a")
    attempt.show("other")
    attempt.show("a3", "a", kind="update")
    attempt.show("a4", "a", kind="update")
    attempt.show("a5", "a")
    assert replay(attempt.path) == [
        shown("a4", "a"),
        shown("b1", "b"),
        shown("a4", "a"),
        shown("other"),
        shown("a5", "a"),
    ]


def test_update_keeps_the_result_a_result(attempt: Attempt) -> None:
    attempt.show("1", "a", kind="result")
    attempt.show("2", "a", kind="update")
    assert replay(attempt.path) == [shown("2", "a", result=True)]


def test_update_of_what_is_not_on_show_is_dropped(attempt: Attempt) -> None:
    attempt.show("early", "a", kind="update")
    attempt.show("a1", "a")
    attempt.show("b1", "b")
    attempt.clear(wait=False)
    attempt.show("b2", "b", kind="update")
    attempt.show("b3", "b")
    assert replay(attempt.path) == [shown("b3", "b")]


def test_update_named_by_an_empty_word_leaves_unnamed_displays_alone(attempt: Attempt) -> None:
    attempt.show("a")
    attempt.show("b", "", kind="update")
    assert replay(attempt.path) == [shown("a")]


# Damage


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"\x00\x00\x00\x00",
        b"\xff\xfe\xfa",
        b"[1, 2]",
        b"null",
        b'"kind"',
        b"{}",
        b'{"kind": "mark"}',
        b'{"kind": "mark", "out": "1", "err": 0}',
        b'{"kind": "mark", "out": 1.5, "err": 0}',
        b'{"kind": "mark", "out": 99999999999999999999, "err": 0}',
        b'{"kind": ["mark"], "out": 0, "err": 0}',
        b'{"kind": "dropped", "out": 0, "err": 0}',
        b'{"kind": "display", "out": 0, "err": 0, "data": null, "metadata": {}, "id": null}',
        b'{"kind": "update", "out": 0, "err": 0, "data": {}, "metadata": {}, "id": null}',
        b"[" * 200_000,
    ],
    ids=lambda line: line[:40].decode("latin-1"),
)
def test_damaged_line_is_passed_over_and_counted(attempt: Attempt, line: bytes) -> None:
    attempt.out("one\n")
    attempt.show("x")
    attempt.raw(line + b"\n")
    attempt.out("two\n")
    attempt.show("y")
    assert replay(attempt.path) == [
        out("one\n"),
        shown("x"),
        out("two\n"),
        shown("y"),
        Notice("1 damaged entry of the journal passed over"),
    ]


def test_torn_last_line_costs_only_itself(attempt: Attempt) -> None:
    attempt.show("x")
    attempt.raw(b'{"t": 1732270953.1, "out": 4, "err": 0, "kind": "displ')
    attempt.out("end\n")
    assert replay(attempt.path)[:2] == [shown("x"), out("end\n")]
    assert notices(replay(attempt.path)) == ["1 damaged entry of the journal passed over"]


def test_last_line_without_an_end_counts_if_it_is_whole(attempt: Attempt) -> None:
    attempt.raw(b'{"out": 0, "err": 0, "kind": "display", "data": {"text/plain": "x"}}')
    assert replay(attempt.path) == [shown("x")]


def test_empty_lines_and_unknown_kinds_are_no_damage(attempt: Attempt) -> None:
    attempt.raw(b'\n  \n{"kind": "sound"}\n{"kind": "sound", "out": 0, "err": 0}\n')
    attempt.show("x")
    assert replay(attempt.path) == [shown("x")]


@given(lines=st.lists(st.binary(max_size=40) | st.sampled_from([b'{"kind": "clear"', b"{}"])))
def test_no_journal_is_too_damaged_to_show_the_logs(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    attempt = Attempt(tmp_path_factory.mktemp("attempt"))
    attempt.out("text\n")
    attempt.raw(b"\n".join(lines))
    assert replay(attempt.path)[0] == out("text\n")


def test_position_beyond_the_log_is_taken_for_its_end(attempt: Attempt) -> None:
    attempt.out("seen\n")
    attempt.raw(b'{"out": 900, "err": 7, "kind": "display", "data": {"text/plain": "x"}}\n')
    attempt.raw(b'{"out": 950, "err": 9, "kind": "mark"}\n')
    assert replay(attempt.path) == [out("seen\n"), shown("x")]


def test_positions_that_go_back_or_below_nothing_repeat_no_text(attempt: Attempt) -> None:
    attempt.out("one\n")
    attempt.show("x")
    for position in (2, -5):
        attempt.raw(b'{"out": %d, "err": -1, "kind": "mark"}\n' % position)
    attempt.out("two\n")
    assert replay(attempt.path) == [out("one\n"), shown("x"), out("two\n")]


# The terminal

SCREENS = {
    "later bar replaces the earlier": ("10%\r20%\r30%\n", "30%\n"),
    "shorter text leaves the tail": ("abcdef\rxy\n", "xycdef\n"),
    "return before line feed": ("one\r\ntwo\r\r\n", "one\ntwo\n"),
    "return at the end waits for text": ("50%\r", "50%"),
    "only returns": ("\r\r\r", ""),
    "erase to the end": ("abcdef\rxy\x1b[K\n", "xy\n"),
    "erase to the end, by number": ("abcdef\rxy\x1b[0K\n", "xy\n"),
    "erase the line": ("abcdef\x1b[2K\rxy\n", "xy\n"),
    "erase the line and go on in it": ("abc\x1b[2Kd", "   d"),
    "erase to the beginning": ("abcdef\b\b\b\x1b[1K\n", "    ef\n"),
    "unknown erase": ("abc\r\x1b[3Kx", "xbc"),
    "backspace goes back": ("abc\b\bX\n", "aXc\n"),
    "backspace stops at the margin": ("a\b\b\b\bX\n", "X\n"),
    "spinner": ("|\b/\b-\b\\\bdone\n", "done\n"),
    "up and over": ("one\ntwo\x1b[A\rONE\n", "ONE\ntwo"),
    "up keeps the column": ("one\ntwo\x1b[AX", "oneX\ntwo"),
    "up into a shorter line fills it": ("a\nbcd\x1b[AX", "a  X\nbcd"),
    "up by nothing is up by one": ("a\nb\r\x1b[0AX", "X\nb"),
    "up stops at the top": ("a\nb\r\x1b[99AX", "X\nb"),
    "down again": ("a\nb\nc\r\x1b[2AX\r\x1b[2BY", "X\nb\nY"),
    "down stops at the last line": ("a\nb\x1b[9B\rX", "a\nX"),
    "line feed goes down a known line": ("a\nb\x1b[A\r1\n2", "1\n2"),
    "two bars": (
        "A 0%\n\rB 0%\x1b[A\rA 1%\n\rB 1%\x1b[A\rA 2%\n\rB 2%\x1b[A\n\n",
        "A 2%\nB 2%\n",
    ),
    "block of lines drawn again": (
        "a 1\nb 1\nc 1\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2Ka 2\nb 2\nc 2\n",
        "a 2\nb 2\nc 2\n",
    ),
    "tab over text moves": ("abcdefghijk\r\tX\n", "abcdefghXjk\n"),
    "tab at the end stays a tab": ("ab\tc\rX\n", "Xb\tc\n"),
    "tab cut by text": ("ab\tc\rABCDE\n", "ABCDE   c\n"),
    "wide characters take two columns": ("日本語\rab\n", "ab本語\n"),
    "half a wide character is blank": ("日本\rabc\n", "abc \n"),
    "backspace into a wide character": ("日本\bX\n", "日 X\n"),
    "mark goes with its letter": ("e\u0301a\rx\n", "xa\n"),
    "colour of what stays": (
        "\x1b[31mred!\x1b[0m\rnew\n",
        "new\x1b[31m!\x1b[0m\n",
    ),
    "colour of what comes": ("abc\r\x1b[32mxy\x1b[0m\n", "\x1b[32mxy\x1b[0mc\n"),
    "colours add up": (
        "a\r\x1b[1m\x1b[31mx\x1b[39my\x1b[22mz",
        "\x1b[1;31mx\x1b[0m\x1b[1my\x1b[0mz",
    ),
    "colour goes over lines": (
        "a\r\x1b[31mx\ny\x1b[m\nz",
        "\x1b[31mx\x1b[0m\n\x1b[31my\x1b[0m\nz",
    ),
    "last of many colours": (
        "a\r\x1b[38;5;9m\x1b[38;2;1;2;3m\x1b[48;5;7m\x1b[91m\x1b[44mx",
        "\x1b[91;44mx\x1b[0m",
    ),
    "colour codes that are none": ("a\r\x1b[38m\x1b[38;5m\x1b[999m\x1b[;mx", "x"),
    "cursor hidden and title set": ("\x1b[?25l\x1b]0;title\x07a\rb\x1b[?25h\n", "b\n"),
}


@pytest.mark.parametrize(("written", "seen"), SCREENS.values(), ids=SCREENS.keys())
def test_text_is_what_a_terminal_shows_in_the_end(
    attempt: Attempt, written: str, seen: str
) -> None:
    attempt.err(written)
    assert texts(replay(attempt.path), "stderr") == seen


@pytest.mark.parametrize(("written", "seen"), SCREENS.values(), ids=SCREENS.keys())
def test_text_cut_by_marks_at_every_byte_collapses_the_same(
    attempt: Attempt, written: str, seen: str
) -> None:
    for byte in written.encode():
        attempt.err(bytes([byte]))
        attempt.mark()
    assert texts(replay(attempt.path), "stderr") == seen


@given(
    parts=st.lists(
        st.text("abc█ ", max_size=6) | st.sampled_from(["\r", "\n", "\b", "\x1b[K", "\x1b[2K"])
    )
)
def test_collapsed_text_is_that_of_a_plain_model_of_one_line_at_a_time(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    seen: list[list[str]] = [[]]
    column = 0
    for part in parts:
        line = seen[-1]
        if part == "\n":
            seen.append([])
            column = 0
        elif part == "\r":
            column = 0
        elif part == "\b":
            column = max(0, column - 1)
        elif part == "\x1b[K":
            del line[column:]
        elif part == "\x1b[2K":
            line.clear()
        else:
            line += " " * (column - len(line) if part else 0)
            line[column : column + len(part)] = part
            column += len(part)
    attempt = Attempt(tmp_path_factory.mktemp("attempt"))
    attempt.out("".join(parts))
    assert texts(replay(attempt.path), "stdout") == "\n".join("".join(line) for line in seen)


def test_bar_does_not_reach_over_a_display(attempt: Attempt) -> None:
    attempt.err("10%\r")
    attempt.show("x")
    attempt.err("20%\r30%\n")
    assert replay(attempt.path) == [err("10%"), shown("x"), err("30%\n")]


def test_bar_on_one_stream_is_not_joined_over_text_of_the_other(attempt: Attempt) -> None:
    attempt.err("10%\r")
    attempt.mark()
    attempt.out("note\n")
    attempt.mark()
    attempt.err("20%\r")
    assert replay(attempt.path) == [err("10%"), out("note\n"), err("20%")]


def test_text_that_is_nothing_in_the_end_is_no_piece(attempt: Attempt) -> None:
    attempt.out("a")
    attempt.mark()
    attempt.err("bar\r\x1b[K")
    attempt.mark()
    attempt.out("b")
    assert replay(attempt.path) == [out("ab")]


def test_lines_far_back_stay_as_they_were(attempt: Attempt) -> None:
    lines = [f"line {number}" for number in range(1000)]
    attempt.out("\n".join(lines) + "\r\x1b[3AX")
    lines[-4] = "Xine 996"
    assert texts(replay(attempt.path), "stdout") == "\n".join(lines)


@pytest.mark.parametrize(
    "unit",
    [
        *("\r", "\ra", "\b", "日\b", "\t", "\u0301"),
        *("x\x1b[2K", "\x1b[K", "\x1b[1K", "\x1b[A", "\x1b[1;31m"),
        *("\x1b", "\x1b[", "\x1b]", "\x1b[1"),
    ],
)
def test_a_million_bytes_of_any_control_are_shown(attempt: Attempt, unit: str) -> None:
    attempt.out(("a" * 50_000 + "\n") * 2 + "b\r")
    attempt.out(unit * (1_000_000 // len(unit.encode())))
    pieces = replay(attempt.path, limit=2_000_000)
    assert texts(pieces, "stdout").startswith("a" * 50_000)
    assert notices(pieces) == []


# Bytes


def test_character_split_by_an_event_is_shown_whole(attempt: Attempt) -> None:
    for byte in "日é😀".encode():
        attempt.out(bytes([byte]))
        attempt.mark()
        attempt.err(".")
        attempt.mark()
    assert texts(replay(attempt.path), "stdout") == "日é😀"


def test_character_split_by_a_display_comes_after_it(attempt: Attempt) -> None:
    character = "é".encode()
    attempt.out(b"caf" + character[:1])
    attempt.show("x")
    attempt.out(character[1:] + b"\n")
    assert replay(attempt.path) == [out("caf"), shown("x"), out("é\n")]


def test_colour_split_by_a_display_comes_after_it(attempt: Attempt) -> None:
    attempt.out("a\x1b[3")
    attempt.show("x")
    attempt.out("1mred")
    assert replay(attempt.path) == [out("a"), shown("x"), out("\x1b[31mred")]


def test_character_whose_beginning_was_cleared_leaves_no_garbage(attempt: Attempt) -> None:
    character = "😀".encode()
    attempt.out(character[:1])
    attempt.clear(wait=False)
    attempt.out(character[1:] + b"new")
    assert replay(attempt.path) == [out("new")]


def test_character_that_was_never_completed_is_shown_as_damaged(attempt: Attempt) -> None:
    attempt.out(b"caf\xc3")
    assert replay(attempt.path) == [out("caf\ufffd")]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\tb\nc\rd\be", "a\tb\nc\rd\be"),
        (b"\x1b[1;31mred\x1b[0m \x1b[38:5:9mx\x1b[m", "\x1b[1;31mred\x1b[0m \x1b[38:5:9mx\x1b[m"),
        (b"a\x00b\x07c\x0bd\x0ce\x7ff", "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf"),
        ("a\x85b\x9b31mc".encode(), "a\ufffdb\ufffd31mc"),
        (b"\xff\xfeok\xc3", "\ufffd\ufffdok\ufffd"),
        (b"\x1b[2J\x1b[H\x1b[?25lx\x1b[3A\x1b[K\x1b[>4;2my", "xy"),
        (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"),
        (b"\x1bPq#0\x1b\\a\x1b(Bb\x1b=c\x1b7d", "abcd"),
        (b"\x1b]0;never ended\nkept\n", "0;never ended\nkept\n"),
        (b"end\x1b", "end\ufffd"),
        (b"\x1b\x1b\x1b[31mx", "\ufffd\ufffd\x1b[31mx"),
        (b"\x1b[" + b"1" * 5000 + b"mx\x1b[" + b"9" * 5000 + b"Ay", "xy"),
    ],
)
def test_plain_text_holds_only_what_is_safe_to_show(data: bytes, text: str) -> None:
    assert plain(data) == text


def is_safe(text: str) -> bool:
    return not re.search(
        r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]", re.sub(r"\x1b\[[0-9;:]*m", "", text)
    )


BYTES = st.binary() | st.lists(
    st.sampled_from([b"\x1b", b"[", b"]", b"3", b";", b"m", b"A", b"K", b"\x07", b"\\", b"\n"])
    | st.sampled_from([b"\r", b"\b", b"\t", b" ", b"x", b"\xc2", b"\x9b", "日".encode(), b"38"])
).map(b"".join)


@given(data=BYTES)
def test_plain_text_of_any_bytes_is_safe(data: bytes) -> None:
    assert is_safe(plain(data))


@given(data=BYTES)
def test_replayed_text_of_any_bytes_is_safe_and_final(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    attempt = Attempt(tmp_path_factory.mktemp("attempt"))
    attempt.out(data)
    text = texts(replay(attempt.path), "stdout")
    assert is_safe(text)
    assert "\r" not in text
    assert "\b" not in text
    assert is_safe(tail(attempt.path, "stdout", 3))


# Limits


def test_long_text_loses_its_middle_and_says_so(attempt: Attempt) -> None:
    lines = [f"line {number:05}\n" for number in range(10_000)]
    attempt.out("".join(lines))
    attempt.show("x")
    pieces = replay(attempt.path, limit=11_000, see_all="%persist_log train shows all")
    head, notice, rest, display = pieces
    assert isinstance(head, Text)
    assert isinstance(rest, Text)
    assert head.text == "".join(lines[:500])
    assert rest.text == "".join(lines[-500:])
    assert notice == Notice("... 99 kB not shown: %persist_log train shows all")
    assert display == shown("x")


def test_text_of_just_the_limit_is_whole(attempt: Attempt) -> None:
    attempt.out("x" * 999 + "\n")
    assert replay(attempt.path, limit=1000) == [out("x" * 999 + "\n")]
    assert len(replay(attempt.path, limit=999)) == 3


def test_long_line_without_an_end_shows_its_head_and_its_tail(attempt: Attempt) -> None:
    attempt.out("a" * 25_000_000 + "b" * 25_000_000)
    assert replay(attempt.path) == [
        out("a" * 100_000),
        Notice("... 49.8 MB not shown"),
        out("b" * 100_000),
    ]


def test_cut_through_characters_leaves_no_garbage(attempt: Attempt) -> None:
    attempt.out("😀" * 1000)
    for limit in range(100, 120):
        pieces = replay(attempt.path, limit=limit)
        assert set(texts(pieces, "stdout")) == {"😀"}
        assert len(pieces) == 3


def test_cut_through_a_bar_shows_whole_bars(attempt: Attempt) -> None:
    attempt.err("".join(f"\r{number:4} of 1000: {'#' * 30}" for number in range(1001)))
    first, _, last = replay(attempt.path, limit=2000)
    assert isinstance(first, Text)
    assert re.fullmatch(r" *\d+ of 1000: #{30}", first.text)
    assert last == err(f"1000 of 1000: {'#' * 30}")


def test_limit_counts_both_streams_and_marks_do_not_evade_it(attempt: Attempt) -> None:
    for _ in range(500):
        attempt.out("o\n")
        attempt.mark()
        attempt.err("e\n")
        attempt.mark()
    pieces = replay(attempt.path, limit=1000)
    assert notices(pieces) == [FURTHER]
    assert len(texts(pieces, "stdout")) == len(texts(pieces, "stderr")) == 500


def test_end_of_stderr_is_shown_after_long_stdout(attempt: Attempt) -> None:
    attempt.out("x" * 10_000)
    attempt.err("ValueError: the reason\n")
    pieces = replay(attempt.path, limit=1000)
    assert pieces[-1] == err("ValueError: the reason\n")
    assert notices(pieces) == ["... 9.02 kB not shown"]


def test_no_limit_at_all_leaves_only_notices(attempt: Attempt) -> None:
    attempt.out("abc")
    assert replay(attempt.path, limit=0) == [Notice("... 3 bytes not shown")]
    assert replay(attempt.path, limit=1) == [Notice("... 3 bytes not shown")]


def test_many_stretches_have_a_common_limit_and_short_ones_stay_whole(attempt: Attempt) -> None:
    for number in range(100):
        attempt.out("short\n" if number % 2 else "long " * 200)
        attempt.show(str(number))
    pieces = replay(attempt.path, limit=1000)
    assert len(texts(pieces, "stdout")) <= 10_000
    assert pieces.count(out("short\n")) == 50
    assert len(notices(pieces)) == 50


def test_logs_of_gigabytes_cost_nothing(attempt: Attempt) -> None:
    for stream in ("stdout", "stderr"):
        with (attempt.path / f"{stream}.log").open("wb") as log:
            log.truncate(3_000_000_000)
    attempt.err("\nthe end\n")
    attempt.show("x")
    pieces = replay(attempt.path)
    assert notices(pieces) == ["... 6 GB not shown"]
    assert texts(pieces, "stderr").endswith("the end\n")
    assert sum(len(piece.text) for piece in pieces if isinstance(piece, Text)) <= 200_000


def test_cleared_text_is_not_counted(attempt: Attempt) -> None:
    for _ in range(50):
        attempt.out("x" * 1000)
        attempt.clear(wait=False)
    attempt.out("last\n")
    assert replay(attempt.path, limit=100) == [out("last\n")]


def test_flood_of_displays_keeps_the_first_and_the_last_thousand(attempt: Attempt) -> None:
    entries = []
    for number in range(2500):
        attempt.out(f"{number}\n")
        entry = {"out": attempt.size("stdout"), "err": 0, "kind": "display", "id": str(number)}
        entries.append(json.dumps({**entry, "data": {"text/plain": f"d{number}"}}))
    attempt.raw("\n".join(entries).encode() + b"\n")
    attempt.show("middle", "1200", kind="update")
    attempt.show("late", "2499", kind="update")
    pieces = replay(attempt.path)
    displays = [piece.data["text/plain"] for piece in pieces if isinstance(piece, Rich)]
    kept = [f"d{number}" for number in (*range(1000), *range(1500, 2499))]
    assert displays == [*kept, "late"]
    assert notices(pieces) == ["... 500 displays not shown"]
    assert texts(pieces, "stdout") == "".join(f"{number}\n" for number in range(2500))
    place = pieces.index(Notice("... 500 displays not shown"))
    assert pieces[place - 1] == shown("d999", "999")
    assert pieces[place + 1] == out("".join(f"{number}\n" for number in range(1000, 1501)))


def test_two_thousand_displays_are_all_shown(attempt: Attempt) -> None:
    line = b'{"out": 0, "err": 0, "kind": "display", "data": {"text/plain": "x"}}\n'
    attempt.raw(line * 2000)
    assert replay(attempt.path) == [shown("x")] * 2000


def test_flood_that_was_cleared_is_no_flood(attempt: Attempt) -> None:
    line = b'{"out": 0, "err": 0, "kind": "display", "data": {"text/plain": "x"}}\n'
    attempt.raw(line * 3000)
    attempt.clear(wait=False)
    attempt.raw(line * 3)
    assert replay(attempt.path) == [shown("x")] * 3


def test_displays_that_were_not_kept_are_counted_where_they_were(attempt: Attempt) -> None:
    attempt.show("x")
    attempt.event("dropped", count=249_999)
    attempt.out("text\n")
    attempt.event("dropped", count=1)
    attempt.show("y")
    attempt.event("dropped", count=1)
    assert replay(attempt.path) == [
        shown("x"),
        Notice("250000 further displays were not kept"),
        out("text\n"),
        shown("y"),
        Notice("1 further display was not kept"),
    ]


# For a terminal


def test_pieces_as_text_stand_on_lines_of_their_own(attempt: Attempt) -> None:
    attempt.out("no end")
    attempt.show("a\x07display")
    attempt.event("display", data={"image/png": "iVBORw0"}, metadata={}, id=None)
    attempt.err("text\n")
    attempt.event("dropped", count=3)
    attempt.out("last")
    assert as_text(replay(attempt.path)) == (
        "no end\na\ufffddisplay\n<image/png>\ntext\n[3 further displays were not kept]\nlast"
    )


def test_nothing_is_the_empty_text() -> None:
    assert as_text([]) == ""


# The end of a log


@pytest.mark.parametrize(
    ("written", "lines", "seen"),
    [
        ("a\nb\nc\n", 2, "b\nc\n"),
        ("a\nb\nc", 2, "b\nc"),
        ("a\nb\nc\n", 1, "c\n"),
        ("a\nb\nc\n", 3, "a\nb\nc\n"),
        ("a\nb\nc\n", 9, "a\nb\nc\n"),
        ("a\n\n\n", 2, "\n\n"),
        ("a\n", 0, ""),
        ("", 5, ""),
        ("10%\r20%\r30%\nend\n", 2, "30%\nend\n"),
        ("a\n10%\r20%", 1, "20%"),
        ("x\u2028y\x0bz\n", 1, "x\u2028y\ufffdz\n"),
    ],
)
def test_tail_is_the_last_lines(attempt: Attempt, written: str, lines: int, seen: str) -> None:
    attempt.out(written)
    assert tail(attempt.path, "stdout", lines) == seen


def test_tail_of_an_absent_log_is_empty(attempt: Attempt) -> None:
    assert tail(attempt.path, "stderr", 10) == ""
    assert tail(attempt.path / "absent", "stderr", 10) == ""


@pytest.mark.parametrize("lines", [1, 999, 20_000, 100_000, 200_000])
def test_tail_finds_lines_over_many_blocks(attempt: Attempt, lines: int) -> None:
    written = [f"line number {number}\n" for number in range(100_000)]
    attempt.out("".join(written))
    assert tail(attempt.path, "stdout", lines) == "".join(written[-lines:])


def test_tail_of_gigabytes_reads_only_the_end(attempt: Attempt) -> None:
    with (attempt.path / "stdout.log").open("wb") as log:
        log.truncate(3_000_000_000)
    assert len(tail(attempt.path, "stdout", 10)) < 200_000
    attempt.out("\na\nb\n")
    assert tail(attempt.path, "stdout", 2) == "a\nb\n"


def test_tail_of_a_bar_of_megabytes_is_its_last_state(attempt: Attempt) -> None:
    attempt.err("start\n" + "".join(f"\r{n:6}: {'#' * 40}" for n in range(50_000)) + "\n")
    assert tail(attempt.path, "stderr", 2) == f" 49999: {'#' * 40}\n"


# A log that grows


def test_follow_tells_all_of_a_log_that_has_ended(attempt: Attempt) -> None:
    text = "é" * 100_001 + "\n"
    attempt.out(text)
    assert "".join(follow(attempt.path, "stdout", lambda: True)) == text
    assert list(follow(attempt.path, "stderr", lambda: True)) == []


def test_follow_waits_for_the_log_and_reads_what_came_last(tmp_path: Path) -> None:
    written = ["", "", "one\n", "", "two\n", "three\n"]

    def ended() -> bool:
        # The job writes its last words just before it is found to have ended.
        if written:
            text = written.pop(0)
            if text:
                Attempt(tmp_path / "1").out(text)
        return not written

    assert list(follow(tmp_path / "1", "stdout", ended)) == ["one\n", "two\n", "three\n"]


def test_follow_never_splits_a_character_or_a_colour(attempt: Attempt) -> None:
    data = "日\x1b[31mé\x1b[0m😀\x1b]0;title\x07.".encode()
    rest = list(data)

    def ended() -> bool:
        if rest:
            attempt.out(bytes([rest.pop(0)]))
        return not rest

    told = list(follow(attempt.path, "stdout", ended))
    assert told == ["日", "\x1b[31m", "é", "\x1b[0m", "😀", "."]


def test_follow_tells_what_was_never_completed(attempt: Attempt) -> None:
    attempt.out(b"caf\xc3")
    assert "".join(follow(attempt.path, "stdout", lambda: True)) == "caf\ufffd"


def test_follow_can_begin_with_the_last_lines(attempt: Attempt) -> None:
    attempt.out("a\nb\nc\n")
    assert "".join(follow(attempt.path, "stdout", lambda: True, lines=2)) == "b\nc\n"
    assert "".join(follow(attempt.path, "stdout", lambda: True, lines=0)) == ""


def test_follow_leaves_bars_to_the_terminal_and_drops_the_rest(attempt: Attempt) -> None:
    attempt.err("10%\r20%\x1b[K\n\x1b[A\x1b[2J\x07")
    assert "".join(follow(attempt.path, "stderr", lambda: True)) == "10%\r20%\x1b[K\n\x1b[A\ufffd"


def test_follow_sees_every_line_of_a_process_that_writes(attempt: Attempt) -> None:
    code = "import time\nfor n in range(30): print(n, flush=True); time.sleep(0.01)"
    with (
        (attempt.path / "stdout.log").open("ab") as log,
        subprocess.Popen([sys.executable, "-c", code], stdout=log) as process,
    ):
        told = list(follow(attempt.path, "stdout", lambda: process.poll() is not None))
    assert "".join(told) == "".join(f"{number}\n" for number in range(30))


def test_import_costs_no_heavy_library() -> None:
    heavy = ("IPython", "numpy", "pandas", "asyncio", "rich", "anywidget", "cloudpickle")
    code = f"import sys, persist_magic.replay; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
