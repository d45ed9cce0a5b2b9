"""Is it the job that is there already: what was asked for then and now, compared."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from persist_magic import localcode
from persist_magic.jobdir import Request


@dataclass(frozen=True)
class Asked:
    """What makes a job the job it is; how it is run (manager, resources) is no part of it."""

    kind: str
    source: str
    inputs: Mapping[str, Any]  # name -> type, extent, fingerprint
    out: list[str] | None
    python: str
    python_version: str
    cwd: str
    env: Mapping[str, str]
    setup: list[str]
    local_code: Mapping[str, str]  # file of the notebook's own modules -> digest
    state: Mapping[str, str]  # setting of the process -> fingerprint
    binds: frozenset[str] = frozenset()

    @classmethod
    def of(cls, request: Request, source: str) -> Asked:
        """What *request* asked for, with the cell's *source*."""
        around = request.surroundings
        return cls(
            kind=request.kind,
            source=source,
            inputs=request.inputs,
            out=request.out,
            python=request.python,
            python_version=request.python_version,
            cwd=request.cwd,
            env=dict(around.get("env") or {}),
            setup=list(around.get("setup") or []),
            local_code=request.local_code,
            state=request.state,
            binds=frozenset(request.binds),
        )


def differences(then: Asked, now: Asked) -> list[str]:
    """What differs between two requests, in words, the most telling first; empty for the same."""
    found = []
    if then.kind != now.kind:
        return [f"it was a {then.kind}, is a {now.kind}"]
    if then.source != now.source:
        found.append(_source_words(then.source, now.source))
    found += _input_words(then, now)
    found += localcode.differences(then.local_code, now.local_code)
    if then.out != now.out:
        found.append(f"--out was {_names(then.out)}, is {_names(now.out)}")
    if (then.python, then.python_version) != (now.python, now.python_version):
        found.append(
            f"the interpreter was {then.python} ({then.python_version}), "
            f"is {now.python} ({now.python_version})"
        )
    if then.cwd != now.cwd:
        found.append(f"it ran in {then.cwd}, would run in {now.cwd}")
    if then.env != now.env:
        found.append("--env differs")
    if then.setup != now.setup:
        found.append("--setup differs")
    for name in sorted(then.state.keys() | now.state.keys()):
        if then.state.get(name) != now.state.get(name):
            found.append(f"the setting {name!r} of the process differs")
    return found


def _names(out: list[str] | None) -> str:
    return "not given" if out is None else ",".join(out) or "none"


def _source_words(then: str, now: str) -> str:
    lines = list(difflib.unified_diff(then.splitlines(), now.splitlines(), lineterm="", n=0))
    changed = [line for line in lines[2:] if line[:1] in "+-"]
    count = max(
        sum(line.startswith("-") for line in changed), sum(line.startswith("+") for line in changed)
    )
    shown = "\n".join(f"    {line}" for line in changed[:20])
    return f"the cell changed: {count} line{'s' * (count != 1)}\n{shown}"


def _input_words(then: Asked, now: Asked) -> list[str]:
    found = []
    for name in sorted(then.inputs.keys() | now.inputs.keys()):
        old, new = then.inputs.get(name), now.inputs.get(name)
        if old is None:
            # A name that the cell itself binds exists here since its results were fetched.
            if name not in now.binds:
                found.append(f"input {name!r} is new")
        elif new is None:
            found.append(f"input {name!r} is not there")
        elif not _same(old, new):
            found.append(_changed(name, old, new))
    return found


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if old.get("type") == new.get("type") == "module":
        return bool(old.get("is") == new.get("is"))
    return bool(old.get("fingerprint")) and old.get("fingerprint") == new.get("fingerprint")


def _changed(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    was, is_ = old.get("is", "?"), new.get("is", "?")
    if not new.get("fingerprint") and new.get("type") != "module":
        return f"input {name!r} ({is_}) cannot be compared: {new.get('unstable', 'unknown')}"
    if was != is_:
        return f"input {name!r} was {was}, is {is_}"
    return f"input {name!r} ({is_}) has other content"
