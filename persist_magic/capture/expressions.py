"""The order in which expressions are evaluated, and the calls that stand for IPython's lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from persist_magic.capture import ipython_text
from persist_magic.capture.lookup import Lookup, either
from persist_magic.capture.scopes import Comprehension, defaults_of, results_of


class Expressions(Lookup):
    """Walks through expressions as Python evaluates them."""

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.all((node.value, node.target))

    def visit_BinOp(self, node: ast.BinOp) -> None:
        # A sum of many terms is a deep tree: recursion would not reach its bottom.
        right = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp):
            right.append(left.right)
            left = left.left
        self.all((left, *reversed(right)))

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self.maybe(node.values[1:])

    def visit_Compare(self, node: ast.Compare) -> None:
        self.all((node.left, node.comparators[0]))
        self.maybe(node.comparators[1:])

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        before = self.bound
        self.visit(node.body)
        after, self.bound = self.bound, before
        self.visit(node.orelse)
        self.bound = either(after, self.bound)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            self.all([value] if key is None else [key, value])

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.all(defaults_of(node.args))
        self.function(node.args, [node.body])

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node)

    def _comprehension(self, node: Comprehension) -> None:
        first = node.generators[0]
        # The first iterable belongs to the scope around the comprehension.
        self.visit(first.iter)
        before = self.bound
        targets = [generator.target for generator in node.generators]
        with self.inside(self.scope("comprehension", targets)):
            for generator in node.generators:
                if generator is not first:
                    self.visit(generator.iter)
                self.visit(generator.target)
                self.all(generator.ifs)
            self.all(results_of(node))
        self.bound = either(before, self.bound)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        match node.value:
            case ast.Call(func=ast.Name(id="get_ipython"), args=[], keywords=[]):
                self.note(node, f"get_ipython().{node.attr}")
            case _:
                self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if text := _ipython_text(node):
            self._ipython(node, text)
            return
        match node:
            case ast.Call(func=ast.Name(id="locals" | "vars" as which), args=[], keywords=[]):
                # Inside a function these are its own names, not the notebook's.
                if not self.scopes:
                    self.note(node, f"{which}()")
        self.generic_visit(node)
        match node.func:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                if name in ipython_text.TEXT_READERS:
                    for part in _strings(node):
                        for word in ipython_text.names_in_string(part):
                            self.read(word)

    def _ipython(self, node: ast.Call, text: ipython_text.Text) -> None:
        around = self.origin
        self.origin = around or (node.lineno, node.col_offset)
        if text.dynamic:
            self.note(node, text.dynamic)
        for word in text.words:
            self.read(word)
        self.all(text.expressions)
        # Magics may show the exception of the code they run instead of raising it.
        before = self.bound
        if text.in_function:
            with self.inside(self.scope("function", text.code)):
                self.suite(text.code)
        else:
            self.suite(text.code)
        for name in text.binds:
            self.bind(name)
        self.bound = either(before, self.bound)
        self.origin = around


def _ipython_text(node: ast.Call) -> ipython_text.Text | None:
    """What *node* stands for, if IPython's transformation of a magic or shell line made it."""
    match node:
        case ast.Call(
            func=ast.Attribute(
                value=ast.Call(func=ast.Name(id="get_ipython"), args=[]), attr=method
            ),
            keywords=[],
        ):
            texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
            match method, texts:
                case (("system" | "getoutput"), [str(line)]) if len(node.args) == 1:
                    return ipython_text.shell_line(line)
                case "run_line_magic", [str(name), str(line)] if len(node.args) == 2:
                    return ipython_text.magic(name, line)
                case "run_cell_magic", [str(name), str(line), str(body)] if len(node.args) == 3:
                    return ipython_text.magic(name, line, body)
    return None


def _strings(node: ast.Call) -> Iterator[str]:
    """The strings among the arguments of *node*, and the constant parts of f-strings."""
    for argument in node.args:
        for part in [argument, *(argument.values if isinstance(argument, ast.JoinedStr) else [])]:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value
