"""The generated job.sh: how a job is run. Knows shell quoting and the job directory's layout.

A plain POSIX script that a person can read, and run by hand. Every value in it is quoted.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

# The runner's package may be importable only through the submitting process's path.
_PACKAGE_PARENT = str(Path(__file__).resolve().parent.parent)

# The working directory must not be searched for the runner's own imports: a notebook may have a
# random.py beside it. The fallback at the end serves a package that is not installed.
_START = (
    "import sys; sys.path[:] = [p for p in sys.path if p] + [{parent!r}]; "
    "from persist_magic.runner import main; main()"
)
_END_TREE = (
    "import sys; sys.path[:] = [p for p in sys.path if p] + [{parent!r}]; "
    "import os; from persist_magic.processes import end_tree; "
    "end_tree({id!r}, 0, spare=[os.getppid(), int(sys.argv[1])])"
)

_TEMPLATE = """\
#!/bin/sh
# Job {name}, {id}: written by persist_magic.
# Everything that happens to it is kept beside this file. By hand: sh job.sh
mask=$(umask); umask 077
job={job}
attempt=$job/attempts/$(( ${{SLURM_RESTART_COUNT:-0}} + 1 ))
[ -d "$attempt" ] || mkdir -p "$attempt"
exec </dev/null >>"$attempt/stdout.log" 2>>"$attempt/stderr.log"
export PERSIST_JOB_ID={id} PERSIST_JOB_NAME={name}

# Whoever looks later learns how it ended, even when the interpreter was killed.
stage=directory
ended() {{
  code=$?
  trap '' TERM
  umask 077
  [ -e "$attempt/overtime" ] && stage=overtime
  printf '{{"code": %d, "stage": "%s", "time": %s}}\\n' "$code" "$stage" "$(date +%s)" \\
    >"$attempt/.exited" && {{ ln "$attempt/.exited" "$attempt/exited.json" 2>/dev/null ||
    [ -e "$attempt/exited.json" ] || mv "$attempt/.exited" "$attempt/exited.json"; }}
  rm -f "$attempt/.exited"
{notify}}}
trap ended EXIT
trap 'exit 143' TERM

cd {cwd} || exit 1
umask "$mask"
{setup}stage=run
{python} -u -c {start} "$attempt" &
runner=$!
trap 'kill -TERM $runner 2>/dev/null' TERM
{watch}while :; do
  wait $runner; code=$?
  # A signal ends the waiting, not the runner.
  [ $code -gt 128 ] && kill -0 $runner 2>/dev/null || break
done
{unwatch}exit $code
"""

_WATCH = """\
# The runner stops by itself at its time limit; this ends one that cannot.
( trap 'kill $nap; exit' TERM
  sleep {seconds} & nap=$!
  wait $nap && : >"$attempt/overtime" && {python} -c {end_tree} $$ ) </dev/null >/dev/null 2>&1 &
watch=$!
"""

_NOTIFY = """\
  PERSIST_EXIT_STATUS=$code sh -c {command}
"""


def job_script(
    *,
    id: str,
    name: str,
    job: Path,
    python: str,
    cwd: str,
    setup: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    time_limit: float | None = None,
    grace: float = 0.0,
    notify: str | None = None,
) -> str:
    """The text of job.sh.

    Parameters
    ----------
    id, name
        Of the job.
    job
        Its directory, as it will be called when the script runs.
    python
        The interpreter.
    cwd
        Where the cell runs.
    setup
        Shell lines that run first, under `set -e`; as the user wrote them.
    env
        Variables to set, after the set-up lines.
    time_limit, grace
        Seconds after which the runner stops by itself, and how much longer it may take.
    notify
        A shell command to run at the end, whatever the end.
    """
    quote = shlex.quote
    exports = "".join(f"export {key}={quote(value)}\n" for key, value in (env or {}).items())
    lines = "".join(f"{line}\n" for line in setup)
    watch = unwatch = ""
    if time_limit is not None:
        watch = _WATCH.format(
            seconds=math.ceil(time_limit + grace),
            python=quote(python),
            end_tree=quote(_END_TREE.format(parent=_PACKAGE_PARENT, id=id)),
        )
        unwatch = "kill $watch 2>/dev/null\n"
    return _TEMPLATE.format(
        id=quote(id),
        name=quote(name),
        job=quote(str(job)),
        cwd=quote(cwd),
        setup=(f"stage=setup\nset -e\n{lines}set +e\n" if lines else "") + exports,
        python=quote(python),
        start=quote(_START.format(parent=_PACKAGE_PARENT)),
        watch=watch,
        unwatch=unwatch,
        notify=_NOTIFY.format(command=quote(notify)) if notify else "",
    )
