"""Variables to bytes, by groups. Knows which belong together and which cannot be saved; no files.

Variables that share an object that can change are one group and keep sharing it. One that cannot be
saved costs no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from persist_magic.payload.arrays import views_among
from persist_magic.payload.describe import (
    blames_the_value,
    describe,
    error_words,
    short_repr,
    type_name,
)
from persist_magic.payload.pickling import Common, Pickled, dump, held_outside_classes
from persist_magic.records import dataclass, field


@dataclass(frozen=True)
class Failure:
    """A variable that could not be saved: where in it, of what type, why, how it looked."""

    path: str
    type: str
    reason: str
    advice: str
    repr: str
    disk_full: bool = False


@dataclass(frozen=True)
class Notice:
    """Something to be said to whoever loads one of *names*."""

    names: tuple[str, ...]
    words: str


@dataclass
class Group:
    """Variables that are saved as one stream."""

    names: tuple[str, ...]
    pickled: Pickled


@dataclass
class Dump:
    """Variables as bytes, in memory; large buffers are still those of the variables."""

    groups: list[Group]  # the smallest first
    failures: dict[str, Failure]
    about: dict[str, dict[str, Any]]  # name -> what to say of it
    notices: list[Notice] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(group.pickled.size for group in self.groups)


def dump_all(
    values: Mapping[str, object],
    namespace: dict[str, Any],
    *,
    more: Callable[[str, str], Mapping[str, object]] | None = None,
) -> Dump:
    """Pickle *values* in memory, by groups.

    Parameters
    ----------
    values
        Variables by name.
    namespace
        The globals of the notebook.
    more
        Called with each global name that a function in *values* uses, and the variable it was
        met in; what it returns is dumped too, to a fixpoint.
    """
    work = _Work(dict(values), namespace)
    alone = work.one_by_one(more)
    about: dict[str, dict[str, Any]] = {
        name: {"type": type_name(value), "is": describe(value)}
        for name, value in work.values.items()
    }
    for name, pickled in alone.items():
        about[name]["bytes"] = pickled.size
    groups = work.together(alone)
    groups.sort(key=lambda group: group.pickled.size)
    return Dump(groups, work.failures, about, work.notices)


class _Work:
    """One call of `dump_all`."""

    def __init__(self, values: dict[str, object], namespace: dict[str, Any]) -> None:
        self.values = values
        self.namespace = namespace
        self.failures: dict[str, Failure] = {}
        self.notices: list[Notice] = []
        self._common = Common(views_among(values.values()))

    def _dump(self, value: object, *, sharing: bool) -> Pickled:
        return dump(value, self.namespace, sharing=sharing, common=self._common)

    def one_by_one(
        self, more: Callable[[str, str], Mapping[str, object]] | None
    ) -> dict[str, Pickled]:
        """Each value that can be saved, and what functions in them need, pickled by itself."""
        alone: dict[str, Pickled] = {}
        asked: set[str] = set()
        waiting = deque(self.values)
        sharing = len(waiting) > 1 or more is not None
        while waiting:
            name = waiting.popleft()
            pickled = self._attempt(name, sharing=sharing)
            if pickled is None:
                continue
            alone[name] = pickled
            if more is None:
                continue
            known = len(self.values)
            for used in sorted(pickled.names - asked):
                asked.add(used)
                for new, value in more(used, name).items():
                    if new not in self.values:
                        self.values[new] = value
                        waiting.append(new)
            if len(self.values) > known:
                self._common.views = views_among(self.values.values())
        return alone

    def _attempt(self, name: str, *, sharing: bool = False) -> Pickled | None:
        """The variable *name* pickled by itself; None, and a failure, if that cannot be done."""
        try:
            return self._dump(self.values[name], sharing=sharing)
        except BaseException as error:
            if not blames_the_value(error):
                raise
            self.failures[name] = _failure(name, self.values[name], error, self.namespace)
            return None

    def together(self, alone: dict[str, Pickled]) -> list[Group]:
        """The groups of *alone*, which is used up; of those that share, only one form is kept."""
        groups = []
        for names in self._shared(alone):
            each = [alone.pop(name) for name in names]
            if len(names) == 1:
                each[0].met = None
                groups.append(Group(names, each[0]))
                continue
            # What is apart in memory already can be saved together: the same objects, once more.
            del each
            groups.extend(self._as_one(names))
        return groups

    def _shared(self, alone: dict[str, Pickled]) -> list[tuple[str, ...]]:
        """The names of *alone*, those together that must be saved together."""
        met = {name: pickled.met for name, pickled in alone.items() if pickled.met is not None}
        if len(met) < 2:
            return [(name,) for name in alone]
        from persist_magic.payload.sharing import groups

        return groups(met, self._outside_classes)

    def _outside_classes(self, name: str) -> Iterable[Any]:
        try:
            return held_outside_classes(self.values[name], self.namespace, self._common)
        except Exception:
            # It was saved a moment ago. Better one group too large than sharing lost.
            met = self._dump(self.values[name], sharing=True).met
            return met.objects if met else ()

    def _as_one(self, names: tuple[str, ...]) -> list[Group]:
        """One group of *names*; several, and a notice, if it cannot be saved as one."""
        values = tuple(self.values[name] for name in names)
        try:
            return [Group(names, self._dump(values, sharing=False))]
        except BaseException as error:
            if not blames_the_value(error):
                raise
            why = error_words(error)
        apart = [Group((name,), each) for name in names if (each := self._attempt(name))]
        if len(apart) > 1:
            words = ", ".join(name for group in apart for name in group.names)
            self.notices.append(
                Notice(names, f"{words} shared objects and no longer do: saved apart after {why}")
            )
        return apart


def _failure(name: str, value: object, error: BaseException, namespace: dict[str, Any]) -> Failure:
    from persist_magic.payload.culprit import culprit, explain

    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        advice = "flatten it, or make it inside the cell"
        return Failure(name, type_name(value), "it is nested too deeply", advice, short_repr(value))
    try:
        path, part = culprit(value, name, namespace)
    except Exception:
        # A value so odd that not even its parts can be told.
        path, part = name, value
    return Failure(path, type_name(part), error_words(error), explain(part), short_repr(value))
