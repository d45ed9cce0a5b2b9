"""Python's scopes, as syntax alone tells them. Knows no order of execution and no values."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Function: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef"
Comprehension: TypeAlias = "ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp"
Kind: TypeAlias = Literal["function", "class", "comprehension", "types"]

_identities = itertools.count(1)


@dataclass(frozen=True)
class Declared:
    """What the statements of one scope, not those of scopes inside it, say of names."""

    bound: frozenset[str]
    as_global: frozenset[str]
    as_nonlocal: frozenset[str]


@dataclass(frozen=True)
class Scope:
    """A scope inside the cell; *types* is that of the type parameters of a definition."""

    kind: Kind
    names: frozenset[str]
    as_global: frozenset[str] = frozenset()
    identity: int = field(default_factory=lambda: next(_identities))


def mangled(name: str, class_name: str) -> str:
    """*name* as the compiler writes it within a class; *class_name* is empty outside of classes."""
    owner = class_name.lstrip("_")
    if owner and name.startswith("__") and not name.endswith("__"):
        return f"_{owner}{name}"
    return name


def declared(body: Iterable[ast.AST]) -> Declared:
    """What *body*, all of one scope, says of names."""
    bound: set[str] = set()
    as_global: set[str] = set()
    as_nonlocal: set[str] = set()
    for node in _of_this_scope(body):
        match node:
            case ast.Global(names=names):
                as_global.update(names)
            case ast.Nonlocal(names=names):
                as_nonlocal.update(names)
            case _:
                bound.update(bound_by(node))
    outside = as_global | as_nonlocal
    return Declared(frozenset(bound - outside), frozenset(as_global), frozenset(as_nonlocal))


def bound_by(node: ast.AST) -> Iterator[str]:
    """The names that *node* itself binds or deletes, which makes them names of its scope."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            yield from (name_of_import(alias) for alias in aliases if alias.name != "*")
        case (
            ast.ExceptHandler(name=str(name))
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
            | ast.MatchMapping(rest=str(name))
        ):
            yield name


def name_of_import(alias: ast.alias) -> str:
    """The name that an import binds: ``import a.b`` binds ``a``."""
    return alias.asname or alias.name.partition(".")[0]


def unbound_in(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """Names that may no longer be bound after any part of *nodes* has run."""
    gone: set[str] = set()
    for node in nodes:
        for part in ast.walk(node):
            match part:
                case ast.Name(id=name, ctx=ast.Del()) | ast.ExceptHandler(name=str(name)):
                    gone.add(name)
    return frozenset(gone)


def parameters_of(args: ast.arguments) -> frozenset[str]:
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return frozenset(each.arg for each in every if each is not None)


def defaults_of(args: ast.arguments) -> list[ast.expr]:
    return [*args.defaults, *(each for each in args.kw_defaults if each is not None)]


def annotations_of(node: Function) -> list[ast.expr]:
    args = node.args
    every = [*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg]
    found = [each.annotation for each in every if each is not None]
    return [each for each in (*found, node.returns) if each is not None]


def type_parameters_of(node: ast.AST) -> list[Any]:
    """The type parameters of a definition; Python 3.10 and 3.11 have none."""
    return getattr(node, "type_params", [])


def _of_this_scope(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes of *body* but those inside the functions, classes and comprehensions it makes."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                waiting += [*node.decorator_list, *defaults_of(node.args), *annotations_of(node)]
            case ast.Lambda():
                waiting += defaults_of(node.args)
            case ast.ClassDef():
                waiting += [*node.decorator_list, *node.bases, *node.keywords]
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                # Its targets are its own, but `:=` anywhere in it binds here.
                waiting += _without_targets(node)
            case _:
                waiting += ast.iter_child_nodes(node)


def _without_targets(node: Comprehension) -> Iterator[ast.expr]:
    yield from results_of(node)
    for generator in node.generators:
        yield generator.iter
        yield from generator.ifs


def results_of(node: Comprehension) -> list[ast.expr]:
    """What a comprehension makes of each item."""
    return [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]


def runs_nothing(statement: ast.stmt) -> bool:
    """True if *statement* only binds names: no function of the notebook can be called by it."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return (
                not statement.decorator_list
                and all(map(_is_plain, defaults_of(statement.args)))
                and all(map(_is_plain_annotation, annotations_of(statement)))
            )
        case ast.ClassDef(decorator_list=[], bases=[], keywords=[], body=body):
            return all(map(runs_nothing, body))
        case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=targets, value=value):
            return all(isinstance(each, ast.Name) for each in targets) and _is_plain(value)
        case ast.AnnAssign(target=ast.Name(), annotation=annotation, value=given):
            return _is_plain_annotation(annotation) and (given is None or _is_plain(given))
        case _:
            return False


def _is_plain(value: ast.expr) -> bool:
    """True if computing *value* calls nothing that a notebook could have defined."""
    match value:
        case ast.Constant() | ast.Name():
            return True
        case ast.UnaryOp(operand=ast.Constant()):
            return True
        case ast.BinOp():
            parts = (ast.BinOp, ast.Constant, ast.operator)
            return all(isinstance(each, parts) for each in ast.walk(value))
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return all(map(_is_plain, items))
        case ast.Dict(keys=keys, values=values):
            return all(isinstance(key, ast.Constant) for key in keys) and all(
                map(_is_plain, values)
            )
        case ast.Lambda(args=args):
            return all(map(_is_plain, defaults_of(args)))
        case _:
            return False


def _is_plain_annotation(value: ast.expr) -> bool:
    """True for what types are commonly written with, such as ``list[np.ndarray] | None``."""
    parts = (
        *(ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.Tuple, ast.List, ast.BinOp),
        *(ast.operator, ast.expr_context),
    )
    return all(isinstance(each, parts) for each in ast.walk(value))
