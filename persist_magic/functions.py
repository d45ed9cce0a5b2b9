"""From a Python function to a job: `persist`, called or as a decorator."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from persist_magic.errors import UsageError
from persist_magic.jobs import Job, current_store
from persist_magic.managers import Manager, make_manager, new_warnings
from persist_magic.payload.rebuild import main_namespace
from persist_magic.planning import Digests, Plan, Surroundings, follow_names, plan_inputs
from persist_magic.runner.outputs import CALL
from persist_magic.submission import submit


@overload
def persist(
    function: Callable[..., Any],
    name: str,
    manager: Manager | None = ...,
    *,
    args: Sequence[Any] = ...,
    kwargs: Mapping[str, Any] | None = ...,
    replace: bool = ...,
    force: bool = ...,
    root: str | Path | None = ...,
) -> Job: ...


@overload
def persist(
    function: str,
    name: Manager | None = ...,
    *,
    args: Sequence[Any] = ...,
    kwargs: Mapping[str, Any] | None = ...,
    replace: bool = ...,
    force: bool = ...,
    root: str | Path | None = ...,
) -> Callable[[Callable[..., Any]], Job]: ...


def persist(
    function: Any,
    name: Any = None,
    manager: Any = None,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    replace: bool = False,
    force: bool = False,
    root: str | Path | None = None,
) -> Any:
    """Run a function in a background interpreter that outlives this process.

    `persist(func, "hello", ProcessManager(), args=(1,))`, or as a decorator without a call,
    `@persist("hello", ProcessManager())`, which puts the job in the function's place.

    Parameters
    ----------
    function
        Called in the job with *args* and *kwargs*, as they are now.
    name
        Of the job.
    manager
        What runs it; default a process on this machine.
    replace
        Run it in the place of an existing job of this name; *force* also of a running one.
    root
        The `.persist` directory; default the one of the working directory.

    Returns
    -------
    Job
        Running by now, or queued.

    Raises
    ------
    NameTaken, StillRunning, CannotSave, NoSpace, RootRefused, UsageError
        Nothing was made.
    """
    if isinstance(function, str):
        chosen = name if manager is None else manager

        def decorate(decorated: Callable[..., Any]) -> Job:
            return persist(
                decorated,
                function,
                chosen,
                args=args,
                kwargs=kwargs,
                replace=replace,
                force=force,
                root=root,
            )

        return decorate
    if not isinstance(name, str):
        raise UsageError(
            f"the job of {getattr(function, '__name__', function)!r} has no name",
            "persist(function, 'name'), or above a function: @persist('name')",
        )
    store = current_store(root)
    namespace = main_namespace()
    digest = Digests()
    call = (function, tuple(args), dict(kwargs or {}))
    wanted = follow_names({}, namespace)
    dump, inputs = plan_inputs(wanted, namespace, frozenset(), digest, extra={CALL: call})
    plan = Plan(
        name=name,
        kind="function",
        source="",
        code="",
        dump=dump,
        inputs=inputs,
        manager=manager if manager is not None else make_manager("local"),
        surroundings=Surroundings(cwd=os.getcwd()),
        shell="IPython" in sys.modules and hasattr(sys.modules["builtins"], "get_ipython"),
        digest=digest,
    )
    directory = submit(store, plan, replace=replace, force=force)
    for words in new_warnings(plan.manager) if plan.shell else ():
        print(words, file=sys.stderr)
    return Job(store, directory)
