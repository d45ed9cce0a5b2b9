"""Running a cell's source as a notebook does. Knows Python code, no job directory.

The last expression is the value. Top-level `await` gets an event loop, imported only then.
"""

from __future__ import annotations

import _ast
import linecache
from types import CodeType
from typing import Any

_ONLY_AST = 0x400  # ast.PyCF_ONLY_AST: the ast module itself costs more than compiling
_TOP_LEVEL_AWAIT = 0x2000  # ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE


def file_name(name: str) -> str:
    """What tracebacks call the cell of the job *name*."""
    return f"<persist {name}>"


def run_cell(source: str, name: str, namespace: dict[str, Any]) -> Any:
    """Run *source* in *namespace*; the value of its last expression, or None.

    Raises
    ------
    BaseException
        Whatever the cell raises.
    """
    file = file_name(name)
    # Tracebacks show the cell's own lines.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    tree = compile(source, file, "exec", _ONLY_AST | _TOP_LEVEL_AWAIT, dont_inherit=True)
    assert isinstance(tree, _ast.Module)
    last = None
    if tree.body and isinstance(tree.body[-1], _ast.Expr):
        expression = _ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]  # an Expr
        last = compile(expression, file, "eval", _TOP_LEVEL_AWAIT, dont_inherit=True)
    body = compile(tree, file, "exec", _TOP_LEVEL_AWAIT, dont_inherit=True)
    if (body.co_flags | (last.co_flags if last else 0)) & _CO_COROUTINE:
        return _run_async(body, last, namespace)
    exec(body, namespace)
    if last is None:
        return None
    value = eval(last, namespace)
    return None if value is None or is_quiet(source) else value


def _run_async(body: CodeType, last: CodeType | None, namespace: dict[str, Any]) -> Any:
    import asyncio

    async def whole() -> Any:
        value = None
        for code in (body, last):
            if code is not None:
                value = eval(code, namespace)
                if code.co_flags & _CO_COROUTINE:
                    value = await value
        # In a notebook tasks go on after their cell; here they would be lost with the process.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        while left:
            await asyncio.wait(left)
            left = asyncio.all_tasks() - {asyncio.current_task()}
        return value if last is not None else None

    return asyncio.run(whole())


def is_quiet(source: str) -> bool:
    """Whether the cell ends with a semicolon, which suppresses its value."""
    if ";" not in source.rpartition("\n")[2] and ";" not in source.rstrip()[-200:]:
        return False
    import io
    import tokenize

    last = ""
    passed_over = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER)
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in passed_over and token.string.strip():
                last = token.string
    except (tokenize.TokenError, SyntaxError):
        return False
    return last == ";"
