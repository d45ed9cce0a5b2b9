"""The walk over a value. Knows how parts make a whole, cycles and sets, no type but the plain ones.

Each value becomes a token: itself if it is small, else the digest of its parts' tokens. Whether a
part is shared by several owners does not count, so that equal values agree however they came to be;
only where values refer to each other in a circle, a value met again stands for itself by its
distance. (The circles are found as in Tarjan's algorithm for strongly connected components.)
The walk keeps its own stack: nesting of any depth is no danger to the interpreter's.
"""

from __future__ import annotations

from _pickle import dumps
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

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
# Members of a set have no order, so each is walked as if it were the only one. Where they refer to
# each other through sets, the same objects are walked again and again without end.
_MOST_AGAIN = 10_000
# Of a value that makes new parts whenever it is asked.
_DEEPEST = 1 << 17
# Of the words that say where an unstable value is.
_LONGEST_WAY = 200


class _Known(NamedTuple):
    """A value that was walked; it is held so that its id stays its own."""

    value: object
    token: bytes
    anywhere: bool
    """Whether the token depends on the value alone, not on what was walked before it."""


class _Endless(Exception):
    """The walk would not come to an end; says why."""


class _Frame:
    """A value whose parts are being walked, in order."""

    by_hand = False
    """Whether plain containers among the parts are walked by hand too."""

    def __init__(self, value: object, tag: str, parts: Iterable[object]) -> None:
        self.value = value
        self.parts: Iterator[object] = iter(parts)
        self.part: object = None
        self.count = 0
        self.key: int | None = None
        self.number = self.lowest = 0
        self.anywhere = True
        self._body = [tag.encode(), b"\0"]

    def add(self, token: bytes) -> None:
        """Take the token of the present part."""
        self._body.append(token)

    def seal(self, digest: Callable[[bytes], bytes]) -> bytes:
        """The digest of the whole, once all parts were added."""
        return digest(b"".join(self._body))

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

    open_before = local_before = 0

    def seal(self, digest: Callable[[bytes], bytes]) -> bytes:
        tag, end, *tokens = self._body
        self._body = [tag, end, *sorted(tokens)]
        return super().seal(digest)


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

    def __init__(self, value: object, others: dict[int, object]) -> None:
        super().__init__(value, "", others.values())
        self._tokens: dict[int, bytes] = {}

    def add(self, token: bytes) -> None:
        self._tokens[id(self.part)] = token

    def seal(self, digest: Callable[[bytes], bytes]) -> bytes:
        return tree_digest(self.value, self._tokens)

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
        self._known: dict[int, _Known] = {}
        # Keys of known values whose tokens hold only here, oldest first.
        self._local: list[int] = []
        # What may yet turn out to be in a circle with what comes next, as numbers by key.
        self._open: dict[int, int] = {}
        self._opened: list[tuple[int, object]] = []
        # What bags made it forget, held like all whose ids are used; and how much came again.
        self._forgotten: dict[int, object] = {}
        self._again = 0
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
        token = self._meet(root, False)
        while self._stack:
            token = self._advance(self._stack[-1], token)
        assert token is not None
        return token

    def _advance(self, frame: _Frame, token: bytes | None) -> bytes | None:
        """Go on with the parts of *frame*; its token at their end, None if a part comes first.

        *token* is that of the present part, if it was walked since.
        """
        bag = frame if isinstance(frame, _Bag) else None
        try:
            if token is not None:
                frame.add(token)
                if bag is not None:
                    self._forget(bag)
            for part in frame.parts:
                frame.part = part
                frame.count += 1
                token = self._meet(part, frame.by_hand)
                if token is None:
                    return None
                frame.add(token)
                if bag is not None:
                    self._forget(bag)
            token = b"=" + frame.seal(self._digest)
        except (MemoryError, _Endless):
            raise
        except Exception as error:
            # A container that changed under the walk, or a part that cannot be computed.
            self._stack.pop()
            token = self._report(frame.value, error)
        else:
            self._stack.pop()
        self._close(frame, token)
        return token

    def _meet(self, value: object, by_hand: bool) -> bytes | None:
        """The token of *value*, or None if it is on the stack now, to be taken to parts."""
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
            if not known.anywhere:
                self._stack[-1].anywhere = False
            return known.token
        number = self._open.get(key)
        if number is not None:
            frame = self._stack[-1]
            frame.lowest = min(frame.lowest, number)
            return b"^%d;" % (len(self._opened) - number)
        try:
            token = self._take_apart(value, key, by_hand)
        except (MemoryError, _Endless):
            raise
        except Exception as error:
            return self._report(value, error)
        return token

    def _take_apart(self, value: Any, key: int, by_hand: bool) -> bytes | None:
        if value is self._context.namespace:
            return self._inline(b"namespace")
        if type(value) not in CONTAINERS:
            parts = self._handlers.of(type(value))(value, self._context)
            if isinstance(parts, bytes):
                token = self._inline(parts)
                if isinstance(value, type):
                    self._known[key] = _Known(value, token, anywhere=True)
                return token
            return self._enter(key, (_Bag if parts.unordered else _Object)(value, parts))
        found = None if by_hand else census(value)
        if found is None:
            cut = None if by_hand else pieces(value)
            return self._enter(key, _Object(value, cut) if cut else _Container(value))
        worth_keeping = found.items >= _WORTH_KEEPING
        if found.others:
            return self._enter(key if worth_keeping else None, _Tree(value, found.others))
        token = b"=" + tree_digest(value)
        if worth_keeping:
            self._known[key] = _Known(value, token, anywhere=True)
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

    def _enter(self, key: int | None, frame: _Frame) -> bytes | None:
        """Put *frame* on the stack; it has no token yet. With no *key* it is not remembered."""
        frame.key = key
        frame.number = frame.lowest = len(self._opened)
        if key is not None:
            self._open[key] = frame.number
            self._opened.append((key, frame.value))
            self._again += key in self._forgotten
            if self._again > _MOST_AGAIN:
                raise _Endless("holds objects that refer to each other through sets")
        if isinstance(frame, _Bag):
            frame.open_before = len(self._opened)
            frame.local_before = len(self._local)
        self._stack.append(frame)
        if len(self._stack) > _DEEPEST:
            raise _Endless(f"is nested more than {_DEEPEST} deep")
        return None

    def _close(self, frame: _Frame, token: bytes) -> None:
        """Remember *token*, unless *frame* is in a circle with one that is still open."""
        if self._stack:
            above = self._stack[-1]
            above.lowest = min(above.lowest, frame.lowest)
            above.anywhere &= frame.anywhere
        if frame.key is None or frame.lowest < frame.number:
            return
        circle = self._opened[frame.number :]
        del self._opened[frame.number :]
        for index, (key, value) in enumerate(circle):
            del self._open[key]
            if index == 0:
                self._remember(key, _Known(value, token, frame.anywhere))
            else:
                # Its place in the circle that was entered elsewhere.
                place = b"=" + self._digest(b"%b%d" % (token, index))
                self._remember(key, _Known(value, place, anywhere=False))

    def _remember(self, key: int, known: _Known) -> None:
        self._known[key] = known
        if not known.anywhere:
            self._local.append(key)

    def _forget(self, bag: _Bag) -> None:
        """Forget all that the next member of *bag* must not know of the one just walked."""
        dropped = self._opened[bag.open_before :]
        dropped += [(key, self._known[key].value) for key in self._local[bag.local_before :]]
        del self._opened[bag.open_before :]
        del self._local[bag.local_before :]
        for key, value in dropped:
            self._open.pop(key, None)
            self._known.pop(key, None)
            self._forgotten[key] = value

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
