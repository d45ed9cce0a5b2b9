"""The walk over a value. Knows how parts make a whole, circles and sets; of types the plain ones.

Each value becomes a token: itself if it is small, else a digest of the tokens of its parts. So
parts count by their content, not by whether several owners share them. Values that refer to each
other in a circle (found as in Tarjan's algorithm for strongly connected components) get their
tokens together, whichever of them was met first. The walk keeps its own stack: deep nesting is no
danger to Python's.
"""

from __future__ import annotations

from _pickle import dumps
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count
from typing import Any, TypeAlias, Union

from persist_magic.fingerprint.parts import Context, Parts
from persist_magic.fingerprint.plain import (
    CONTAINERS,
    LARGE,
    SCALARS,
    census,
    is_part,
    pieces,
    step_to,
    tree_digest,
    way_to,
)
from persist_magic.fingerprint.table import Handlers

# Longer text stands in the whole by its digest.
_LONG = 1 << 10
# A smaller tree is read again faster than it is remembered.
_WORTH_KEEPING = 64
# Of a value that makes new parts whenever it is asked.
_DEEPEST = 1 << 17
# To tell values in circles apart: a chain of equal ones takes half its length in rounds.
_MOST_STEPS = 1 << 19
_ROUNDS = 16
# Of the words that say where an unstable value is.
_LONGEST_WAY = 200

# What stands for a part: its token, or the frame of one that is in a circle and has none yet.
_Part: TypeAlias = Union[bytes, "_Frame"]
_Digest: TypeAlias = Callable[[bytes], bytes]


class _Endless(Exception):
    """The walk would not come to an end; says why."""


class _Frame:
    """A value whose parts are being walked, in order."""

    by_hand = False
    """Whether plain containers among the parts are walked by hand too."""
    worth_keeping = True
    """Whether to remember the token."""

    def __init__(self, value: object, tag: str, parts: Iterable[object]) -> None:
        self.value = value
        self.parts: Iterator[object] = iter(parts)
        self.part: object = None
        self.count = 0
        self.key = self.number = self.lowest = 0
        self.holds_itself = False
        self.token = b""
        """What stands for the whole; while its circle is told apart, what is known so far."""
        self.failed = False
        self._tag = tag.encode() + b"\0"
        self._body: list[_Part] = []

    def add(self, part: _Part) -> None:
        """Take what stands for the present part."""
        self._body.append(part)

    def seal(self, digest: _Digest) -> bytes:
        """The digest of the whole, as far as the tokens of its parts are known."""
        return digest(self._tag + b"".join(self._tokens()))

    def _tokens(self) -> list[bytes]:
        return [part if isinstance(part, bytes) else part.token for part in self._body]

    def step(self) -> str:
        """The way from the value to the present part, as one writes it in Python, if it has one."""
        return ""


class _Object(_Frame):
    """A value that a handler took to parts."""

    def __init__(self, value: object, parts: Parts) -> None:
        super().__init__(value, parts.tag, parts.children)
        self._steps = parts.steps

    def step(self) -> str:
        return self._steps[self.count - 1] if self.count <= len(self._steps) else ""


class _Bag(_Object):
    """A value whose parts have no order."""

    def _tokens(self) -> list[bytes]:
        return sorted(super()._tokens())


class _Container(_Frame):
    """A plain container that is walked by hand."""

    by_hand = True

    def __init__(self, value: list[Any] | tuple[Any, ...] | dict[Any, Any]) -> None:
        items = chain.from_iterable(value.items()) if isinstance(value, dict) else value
        super().__init__(value, type(value).__name__, items)

    def step(self) -> str:
        return step_to(self.part, self.value)


class _Tree(_Frame):
    """A tree of plain containers; its parts are what the pickler must not write."""

    def __init__(self, value: object, others: dict[int, object], items: int) -> None:
        super().__init__(value, "", others.values())
        self.worth_keeping = items >= _WORTH_KEEPING
        self._ids = list(others)

    def seal(self, digest: _Digest) -> bytes:
        return tree_digest(self.value, dict(zip(self._ids, self._tokens(), strict=True)))

    def step(self) -> str:
        return way_to(self.part, self.value)


class Walk:
    """One walk, over one value."""

    def __init__(self, context: Context) -> None:
        from blake3 import blake3

        self._blake3 = blake3
        self._context = context
        self._handlers = Handlers()
        self._stack: list[_Frame] = []
        # Values are held beside their tokens, so that their ids stay their own.
        self._known: dict[int, tuple[object, bytes]] = {}
        # What may yet turn out to be in a circle with what comes next.
        self._open: dict[int, _Frame] = {}
        self._opened: list[_Frame] = []
        self._steps = 0
        self.unstable = ""

    def digest(self, value: object) -> bytes:
        """16 bytes for *value*; they mean something unless `unstable` is set afterwards."""
        try:
            return self._digest(self._walk(value))
        except _Endless as error:
            self.unstable = f"value {error}"
            return self._digest(b"endless")

    def _digest(self, content: bytes) -> bytes:
        return self._blake3(content).digest(16)

    def _walk(self, root: object) -> bytes:
        part = self._meet(root, False)
        while self._stack:
            part = self._advance(self._stack[-1], part)
        assert isinstance(part, bytes)
        return part

    def _advance(self, frame: _Frame, part: _Part | None) -> _Part | None:
        """Go on with *frame*, whose present part is *part* if it is on the stack no more.

        Returns
        -------
        bytes, _Frame or None
            What stands for the whole, or None if a part comes first.
        """
        try:
            if part is not None:
                frame.add(part)
            for value in frame.parts:
                frame.part = value
                frame.count += 1
                part = self._meet(value, frame.by_hand)
                if part is None:
                    return None
                frame.add(part)
        except (MemoryError, _Endless):
            raise
        except Exception as error:
            # A container that changed under the walk, or a part that cannot be computed.
            self._stack.pop()
            self._fail(frame, error)
        else:
            self._stack.pop()
        return self._close(frame)

    def _meet(self, value: object, by_hand: bool) -> _Part | None:
        """What stands for *value*, or None if it is on the stack now, to be taken to parts."""
        kind = type(value)
        if kind in SCALARS or kind is bytes:
            return self._scalar(value)
        if kind in CONTAINERS:
            if not value:
                return b"." + dumps(value, 4)
            by_hand = by_hand and is_part(value)
        else:
            by_hand = False
        # Walked by hand the same container has another token.
        key = id(value) << 1 | by_hand
        known = self._known.get(key)
        if known is not None:
            return known[1]
        met = self._open.get(key)
        if met is not None:
            frame = self._stack[-1]
            frame.lowest = min(frame.lowest, met.number)
            frame.holds_itself |= met is frame
            return met
        try:
            return self._take_apart(value, key, by_hand)
        except (MemoryError, _Endless):
            raise
        except Exception as error:
            return self._report(value, error)

    def _take_apart(self, value: Any, key: int, by_hand: bool) -> bytes | None:
        if value is self._context.namespace:
            return self._inline(b"namespace")
        if type(value) not in CONTAINERS:
            parts = self._handlers.of(type(value))(value, self._context)
            if isinstance(parts, bytes):
                token = self._inline(parts)
                if isinstance(value, type):
                    self._known[key] = value, token
                return token
            return self._enter(key, (_Bag if parts.unordered else _Object)(value, parts))
        found = None if by_hand else census(value)
        if found is None:
            cut = None if by_hand else pieces(value)
            return self._enter(key, _Object(value, cut) if cut else _Container(value))
        if found.others:
            return self._enter(key, _Tree(value, found.others, found.items))
        token = b"=" + tree_digest(value)
        if found.items >= _WORTH_KEEPING:
            self._known[key] = value, token
        return token

    def _scalar(self, value: Any) -> bytes:
        kind = type(value)
        if (kind is str or kind is bytes) and len(value) > _LONG:
            if kind is bytes and len(value) >= LARGE:
                return self._inline(b"bytes" + self._context.digest(memoryview(value)).encode())
            return b"=" + tree_digest(value)
        return b"." + dumps(value, 4)

    def _inline(self, content: bytes) -> bytes:
        return b"!%d:%b" % (len(content), content)

    def _enter(self, key: int, frame: _Frame) -> bytes | None:
        """Put *frame* on the stack; it has no token yet."""
        frame.key = key
        frame.number = frame.lowest = len(self._opened)
        self._open[key] = frame
        self._opened.append(frame)
        self._stack.append(frame)
        if len(self._stack) > _DEEPEST:
            raise _Endless(f"is nested more than {_DEEPEST} deep")
        return None

    def _close(self, frame: _Frame) -> _Part:
        """What stands for *frame*: itself, while it is in a circle with one that is still open."""
        if frame.lowest < frame.number:
            above = self._stack[-1]
            above.lowest = min(above.lowest, frame.lowest)
            return frame
        circle = self._opened[frame.number :]
        del self._opened[frame.number :]
        if len(circle) > 1 or frame.holds_itself:
            self._tell_apart(circle)
        else:
            frame.token = self._seal(frame)
        for each in circle:
            del self._open[each.key]
            if each.worth_keeping or len(circle) > 1:
                self._known[each.key] = each.value, each.token
        return frame.token

    def _tell_apart(self, circle: list[_Frame]) -> None:
        """Give each in *circle* the token of all that can be seen from it.

        With each round they see one step further, until that tells no more of them apart. Then the
        last two rounds say what kinds there are, and which refer to which.
        """
        seen = [b""] * len(circle)
        kinds = 0
        for rounds in count(1):
            self._steps += len(circle)
            if self._steps > _MOST_STEPS and rounds > _ROUNDS:
                raise _Endless(f"holds {len(circle)} objects in circles, too many of them alike")
            before, seen = seen, [self._seal(each) for each in circle]
            if len(set(seen)) == kinds:
                break
            kinds = len(set(seen))
            self._give(circle, seen)
        links = sorted(set(map(b"%b>%b;".__mod__, zip(before, seen, strict=True))))
        whole = self._digest(b"".join(links))
        self._give(circle, [b"=" + self._digest(token + whole) for token in seen])

    def _give(self, circle: list[_Frame], tokens: list[bytes]) -> None:
        for frame, token in zip(circle, tokens, strict=True):
            if not frame.failed:
                frame.token = token

    def _seal(self, frame: _Frame) -> bytes:
        if frame.failed:
            return frame.token
        try:
            return b"=" + frame.seal(self._digest)
        except MemoryError:
            raise
        except Exception as error:
            self._fail(frame, error)
            return frame.token

    def _fail(self, frame: _Frame, error: Exception) -> None:
        frame.failed = True
        frame.token = self._report(frame.value, error)

    def _report(self, value: object, error: Exception) -> bytes:
        """The token of *value*, which has no content that could be found again."""
        kind = type(value)
        name = kind.__qualname__
        if kind.__module__ != "builtins":
            name = f"{kind.__module__}.{name}"
        if not self.unstable:
            way = "".join(frame.step() for frame in self._stack)
            if len(way) > _LONGEST_WAY:
                way = f"{way[: _LONGEST_WAY // 2]} ... {way[-_LONGEST_WAY // 2 :]}"
            self.unstable = f"value{way} is a {name}"
            # Python's own words for it only say the type again.
            if str(error) and not str(error).startswith("cannot pickle"):
                self.unstable += f" ({error})"
        return self._inline(b"unstable " + name.encode())
