"""Which names a cell reads before it binds them. Knows the order of execution, and no values."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from functools import reduce
from typing import Any

from persist_magic.capture.expressions import Expressions
from persist_magic.capture.ipython_text import PARSE
from persist_magic.capture.lookup import Bound, either, without
from persist_magic.capture.scopes import (
    Function,
    Scope,
    annotations_of,
    defaults_of,
    name_of_import,
    type_parameters_of,
    unbound_in,
)


@dataclass(frozen=True)
class CellNames:
    """The global names that a cell uses.

    Attributes
    ----------
    reads
        Names that the cell, or a function or class defined in it, may read before the cell has
        certainly bound them. Those of builtins are among them: a notebook may define its own.
    binds
        Names that it may bind.
    deletes
        Names that it may delete with ``del``.
    star_imports
        The modules of ``from module import *``.
    dynamic
        Constructs that may use names unseen, such as ``eval`` or ``globals()``, in order.
    """

    reads: frozenset[str]
    binds: frozenset[str]
    deletes: frozenset[str]
    star_imports: tuple[str, ...]
    dynamic: tuple[str, ...]


def names_of_cell(code: str) -> CellNames:
    """The names that a cell uses.

    Parameters
    ----------
    code
        The cell as Python, that is, after IPython's transformation of it.

    Raises
    ------
    SyntaxError
        As the compiler would.
    """
    with warnings.catch_warnings():
        # The compiler gives its warnings when the cell runs.
        warnings.simplefilter("ignore")
        tree = compile(code, "<cell>", "exec", PARSE, dont_inherit=True)
        # Some errors, such as a return outside of a function, come after parsing.
        compile(tree, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        walk = _Statements()
        walk.suite(tree.body)
    return CellNames(
        frozenset(walk.reads),
        frozenset(walk.binds),
        frozenset(walk.deletes),
        tuple(walk.star_imports),
        tuple(dict.fromkeys(what for _, what in sorted(walk.dynamic))),
    )


class _Statements(Expressions):
    """Walks through statements as Python runs them."""

    # Definitions

    def visit_FunctionDef(self, node: Function) -> None:
        self.all(node.decorator_list)
        self.all(defaults_of(node.args))
        outer = self._type_scope(node)
        with self.inside(*outer):
            # Annotations that Python only keeps as text count too: libraries evaluate them.
            self.all((*type_parameters_of(node), *annotations_of(node)))
        # A function may call itself: nothing calls it before it has its name.
        self.bind(node.name)
        with self.inside(*outer):
            self.function(node.args, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.all(node.decorator_list)
        around = self.class_name, self.classes
        key = self.key(node.name)
        with self.inside(*self._type_scope(node)):
            self.all((*type_parameters_of(node), *node.bases, *node.keywords))
            self.class_name = node.name
            self.classes = around[1] if key is None else around[1] | {key}
            with self.inside(self.scope("class", node.body)):
                self.all(node.body)
        self.class_name, self.classes = around
        self.bind(node.name)

    def visit_TypeAlias(self, node: Any) -> None:
        self.visit(node.name)
        with self.inside(*self._type_scope(node)):
            self.all((*type_parameters_of(node), node.value))

    def _type_scope(self, node: ast.AST) -> tuple[Scope, ...]:
        """The scope of the type parameters of a definition that has some."""
        names = frozenset(each.name for each in type_parameters_of(node))
        return (Scope("types", names),) if names else ()

    # Assignments and imports

    def visit_Assign(self, node: ast.Assign) -> None:
        self.all((node.value, *node.targets))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read(node.target.id)
            self.all((node.value, node.target))
        else:
            self.all((node.target, node.value))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.all((node.value, node.target))
        elif not isinstance(node.target, ast.Name):
            self.visit(node.target)
        # The annotations of a function's local variables are never evaluated.
        if not (self.scopes and self.scopes[-1].kind == "function"):
            self.visit(node.annotation)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name == "__main__":
                self.note(node, "__main__")
            self.bind(name_of_import(alias))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self.star_imports[module] = None
                continue
            if module == "__main__":
                self.read(alias.name)
            self.bind(name_of_import(alias))

    # Ways through the cell

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        before = self.bound
        self.suite(node.body)
        after, self.bound = self.bound, before
        self.suite(node.orelse)
        self.bound = either(after, self.bound)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        gone = unbound_in(node.body)
        before = self.bound = without(self.bound, gone)
        self.visit(node.target)
        self._loop(node, before, gone)

    visit_AsyncFor = visit_For

    def visit_While(self, node: ast.While) -> None:
        gone = unbound_in(node.body)
        self.bound = without(self.bound, gone)
        self.visit(node.test)
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        self._loop(node, None if endless else self.bound, gone)

    def _loop(
        self, node: ast.For | ast.AsyncFor | ast.While, at_end: Bound, gone: frozenset[str]
    ) -> None:
        self.breaks.append([])
        self.suite(node.body)
        breaks = self.breaks.pop()
        self.bound = at_end
        self.suite(node.orelse)
        for at_break in breaks:
            # On its way out a break may pass a `finally` that deletes.
            self.bound = either(self.bound, without(at_break, gone))

    def visit_Break(self, node: ast.Break) -> None:
        if self.breaks:
            self.breaks[-1].append(self.bound)
        self.bound = None

    def visit_Continue(self, node: ast.Continue) -> None:
        self.bound = None

    def visit_Return(self, node: ast.Return) -> None:
        self.generic_visit(node)
        self.bound = None

    def visit_Raise(self, node: ast.Raise) -> None:
        self.generic_visit(node)
        self.bound = None

    def visit_Assert(self, node: ast.Assert) -> None:
        # Python run with -O evaluates none of it.
        self.maybe([node.test] if node.msg is None else [node.test, node.msg])

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        first, *others = node.items
        self.visit(first.context_expr)
        targets = [] if first.optional_vars is None else [first.optional_vars]
        if isinstance(first.optional_vars, ast.Name):
            self.visit(targets.pop())
        entered = self.bound
        # From here on the context manager may swallow an exception, as contextlib.suppress does.
        self.all(targets)
        for item in others:
            self.generic_visit(item)
        self.suite(node.body)
        self.bound = either(self.bound, without(entered, unbound_in(node.body)))

    visit_AsyncWith = visit_With

    def visit_Try(self, node: Any) -> None:
        before = self.bound
        self.suite(node.body)
        self.suite(node.orelse)
        after = self.bound
        for handler in node.handlers:
            self.bound = without(before, unbound_in(node.body))
            self._handler(handler)
            after = either(after, self.bound)
        self.bound = after
        if node.finalbody:
            parts = (*node.body, *node.orelse, *node.handlers)
            self.bound = without(before, unbound_in(parts))
            self.suite(node.finalbody)
            after = without(after, unbound_in(node.finalbody))
            # What it binds comes on top of whatever was bound on the way to it.
            self.bound = None if after is None or self.bound is None else after | self.bound

    visit_TryStar = visit_Try

    def _handler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name is None:
            self.suite(node.body)
        else:
            self.bind(node.name)
            self.suite(node.body)
            self.bound = without(self.bound, {node.name})

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        before = self.bound
        ends = [] if any(map(_matches_all, node.cases)) else [before]
        for case in node.cases:
            self.bound = before
            self.visit(case.pattern)
            if case.guard is not None:
                self.visit(case.guard)
            self.suite(case.body)
            ends.append(self.bound)
        self.bound = reduce(either, ends)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._pattern(node, node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self._pattern(node, node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._pattern(node, node.rest)

    def _pattern(self, node: ast.pattern, name: str | None) -> None:
        self.generic_visit(node)
        if name is not None:
            self.bind(name)


def _matches_all(case: ast.match_case) -> bool:
    """True if *case* is taken whatever the subject is."""
    return case.guard is None and _is_irrefutable(case.pattern)


def _is_irrefutable(pattern: ast.pattern) -> bool:
    match pattern:
        case ast.MatchAs(pattern=inner):
            return inner is None or _is_irrefutable(inner)
        case ast.MatchOr(patterns=patterns):
            return any(map(_is_irrefutable, patterns))
        case _:
            return False
