"""Where each name of a cell is looked up, and whether it is certainly bound by then."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

from persist_magic.capture.scopes import (
    Kind,
    Scope,
    declared,
    mangled,
    parameters_of,
    runs_nothing,
)

# What is certainly bound: names with the identity of their scope. None: this point is not reached.
Bound: TypeAlias = "frozenset[tuple[int, str]] | None"

# The identity of the notebook's own namespace among scopes.
NOTEBOOK = 0

_DYNAMIC = {
    "exec": "exec",
    "eval": "eval",
    "globals": "globals()",
    "get_ipython": "get_ipython()",
}


def either(first: Bound, second: Bound) -> Bound:
    """What is certainly bound where two ways meet."""
    if first is None:
        return second
    return first if second is None else first & second


def without(bound: Bound, names: Set[str]) -> Bound:
    """*bound* where *names*, in whatever scope, may no longer be bound."""
    if bound is None or not names:
        return bound
    return frozenset(key for key in bound if key[1] not in names)


class Lookup(ast.NodeVisitor):
    """The names found so far, and the state of the walk through the cell."""

    def __init__(self) -> None:
        self.reads: set[str] = set()
        self.binds: set[str] = set()
        self.deletes: set[str] = set()
        self.star_imports: dict[str, None] = {}
        self.dynamic: list[tuple[tuple[int, int], str]] = []
        self.bound: Bound = frozenset()
        self.scopes: tuple[Scope, ...] = ()
        self.class_name = ""
        # The keys of the classes being defined: their methods run once these are bound.
        self.classes: frozenset[tuple[int, str]] = frozenset()
        # What is bound at each `break` of the loops around this point.
        self.breaks: list[list[Bound]] = []
        # Bodies of functions that nothing can have called yet; None: look into each at once.
        self.waiting: list[Callable[[], None]] | None = None
        # Where the magic stands whose text is being read: positions inside it mean nothing.
        self.origin: tuple[int, int] | None = None

    # Names

    def read(self, name: str) -> bool:
        """Note that *name* is read; True if it is global and not certainly bound by the cell."""
        if self.bound is None:
            return False
        name = mangled(name, self.class_name)
        # The names of a class are seen by its own statements only.
        direct = True
        for scope in reversed(self.scopes):
            if name in scope.as_global:
                break
            if scope.kind != "class":
                if name in scope.names:
                    return False
                direct = direct and scope.kind == "types"
            elif direct and name in scope.names:
                if (scope.identity, name) in self.bound:
                    return False
                # A class that binds a name itself looks for it among the global names next.
                break
        if (NOTEBOOK, name) in self.bound:
            return False
        # Every interpreter that runs cells has its own get_ipython.
        if name != "get_ipython":
            self.reads.add(name)
        return True

    def bind(self, name: str) -> None:
        key = self.key(name)
        if key is None:
            return
        if key[0] == NOTEBOOK:
            self.binds.add(key[1])
        if self.bound is not None:
            self.bound |= {key}

    def delete(self, name: str) -> None:
        self.read(name)
        key = self.key(name)
        if key is None:
            return
        if key[0] == NOTEBOOK:
            self.deletes.add(key[1])
        if self.bound is not None:
            self.bound -= {key}

    def key(self, name: str) -> tuple[int, str] | None:
        """The scope that binds *name*, and its name there; None for what is local to a function."""
        name = mangled(name, self.class_name)
        for scope in reversed(self.scopes):
            if name in scope.as_global:
                break
            if name in scope.names:
                return (scope.identity, name) if scope.kind == "class" else None
        return NOTEBOOK, name

    def visit_Name(self, node: ast.Name) -> None:
        match node.ctx:
            case ast.Load():
                if self.read(node.id) and node.id in _DYNAMIC:
                    self.note(node, _DYNAMIC[node.id])
            case ast.Store():
                self.bind(node.id)
            case _:
                self.delete(node.id)

    def note(self, node: ast.expr | ast.stmt, what: str) -> None:
        """Note that *what*, which stands at *node*, may use names unseen."""
        if self.bound is not None:
            self.dynamic.append((self.origin or (node.lineno, node.col_offset), what))

    # Order

    def all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def maybe(self, nodes: Iterable[ast.AST]) -> None:
        """Walk through *nodes*, of which it is not certain that they are evaluated."""
        before = self.bound
        self.all(nodes)
        self.bound = either(before, self.bound)

    def suite(self, body: Iterable[ast.stmt]) -> None:
        """Walk through statements that run one after the other.

        Functions defined in a row know each other, whichever comes first: what only binds names
        cannot call them.
        """
        around = self.waiting
        row: list[Callable[[], None]] = []
        for statement in body:
            if runs_nothing(statement):
                self.waiting = row
            else:
                self.look_into(row)
                self.waiting = None
            self.visit(statement)
        self.look_into(row)
        self.waiting = around

    def look_into(self, functions: list[Callable[[], None]]) -> None:
        """Walk through the bodies of *functions*, which may be called from here on."""
        self.waiting = None
        for look in functions:
            look()
        functions.clear()

    # Scopes

    @contextmanager
    def inside(self, *scopes: Scope) -> Iterator[None]:
        around = self.scopes
        self.scopes = (*around, *scopes)
        yield
        self.scopes = around

    def scope(self, kind: Kind, body: Iterable[ast.AST], names: Iterable[str] = ()) -> Scope:
        """The scope that *body* makes, in which *names* are bound from the start."""
        found = declared(body)
        return Scope(
            kind,
            frozenset(mangled(name, self.class_name) for name in (*found.bound, *names)),
            frozenset(mangled(name, self.class_name) for name in found.as_global),
        )

    def function(self, args: ast.arguments, body: Sequence[ast.AST]) -> None:
        """Walk through a function's body, with what is bound when it can first be called."""
        scope = self.scope("function", body, parameters_of(args))
        look = partial(self._body, (*self.scopes, scope), self.class_name, self.classes, body)
        if self.waiting is None:
            look()
        else:
            self.waiting.append(look)

    def _body(
        self,
        scopes: tuple[Scope, ...],
        class_name: str,
        classes: frozenset[tuple[int, str]],
        body: Iterable[ast.AST],
    ) -> None:
        around = self.scopes, self.class_name, self.classes, self.bound, self.breaks, self.waiting
        self.scopes, self.class_name, self.classes = scopes, class_name, frozenset()
        if self.bound is not None:
            self.bound |= classes
        self.breaks, self.waiting = [], None
        self.all(body)
        self.scopes, self.class_name, self.classes, self.bound, self.breaks, self.waiting = around
