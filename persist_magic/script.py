"""The generated job.sh: how a job is run. Knows shell quoting and the job directory's layout.

A plain POSIX script that a person can read, and run by hand. Every value in it is quoted.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# The runner's package may be importable only through the submitting process's path.
_PACKAGE_PARENT = str(Path(__file__).resolve().parent.parent)

# The working directory must not be searched for the runner's own imports: a notebook may have a
# random.py beside it. The fallback at the end serves a package that is not installed.
_START = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; {needed}"
    "sys.path.append({parent!r}); from persist_magic.runner import main; main()"
)
# Another interpreter may lack what the runner imports only when it is late: at the results.
_NEEDED = "import blake3, cloudpickle, psutil; "
_END_OVERTIME = (
    "import sys; sys.path[:] = [p for p in sys.path if p] + [{parent!r}]; "
    "from persist_magic.runner.ending import end_overtime; end_overtime()"
)

# Its own variables bear a prefix: the job inherits the environment, whatever it calls its own.
_TEMPLATE = """\
#!/bin/sh
# Job {name}, {id}: written by persist_magic.
# Everything that happens to it is kept beside this file. By hand: sh job.sh
persist_mask=$(umask); umask 077
persist_job={job}
persist_attempt=$persist_job/attempts/$(( ${{SLURM_RESTART_COUNT:-0}} + 1 ))
if [ -e "$persist_attempt/started.json" ]; then
  echo "this job has run already: $persist_attempt" >&2
  exit 1
fi
[ -d "$persist_attempt" ] || mkdir -p "$persist_attempt"
exec </dev/null >>"$persist_attempt/stdout.log" 2>>"$persist_attempt/stderr.log"
export PERSIST_JOB_ID={id} PERSIST_JOB_NAME={name}

# Whoever looks later learns how it ended, even when the interpreter was killed.
persist_stage=directory
persist_say() {{
  printf '{{"code": %d, "stage": "%s", "time": %d}}\\n' "$persist_code" "$persist_stage" \\
    "$(date +%s)" >"$persist_attempt/.exited"
}}
persist_ended() {{
  persist_code=$?
  trap '' TERM
  {{
    set +euf; umask 077
    persist_path=$PATH; PATH=/usr/bin:/bin:$PATH
    [ -e "$persist_attempt/overtime" ] && persist_stage=overtime
    # On a full disk there is room for this in what the runner put by.
    persist_say || {{ rm -f "$persist_attempt/reserve"; persist_say; }}
    ln "$persist_attempt/.exited" "$persist_attempt/exited.json" ||
      [ -e "$persist_attempt/exited.json" ] ||
      mv "$persist_attempt/.exited" "$persist_attempt/exited.json"
    rm -f "$persist_attempt/.exited"
    PATH=$persist_path
  }} 2>/dev/null
{notify}}}
trap persist_ended EXIT
trap 'exit 143' TERM

cd -- {cwd} || exit 1
umask "$persist_mask"
{setup}persist_stage=run
persist_runner='' persist_asked=''
trap 'persist_asked=y; kill -TERM "$persist_runner" 2>/dev/null' TERM
trap : HUP INT QUIT
{python} -u -c {start} "$persist_attempt" &
persist_runner=$!
[ -z "$persist_asked" ] || kill -TERM "$persist_runner"
{watch}while
  wait "$persist_runner"; persist_code=$?
  # A signal ends the waiting, not the runner.
  [ "$persist_code" -gt 128 ] && kill -0 "$persist_runner" 2>/dev/null
do :; done
{unwatch}exit "$persist_code"
"""

_WATCH = """\
# The runner stops by itself at its time limit; this ends one that cannot.
( persist_nap='' persist_asked=''
  trap 'persist_asked=y; kill "$persist_nap"' TERM
  sleep {seconds} & persist_nap=$!
  [ -z "$persist_asked" ] || kill "$persist_nap"
  if wait "$persist_nap"; then
    true >"$persist_attempt/overtime"
    {python} -c {end_overtime} "$persist_attempt" $$ || kill -KILL "$persist_runner"
  fi ) </dev/null >/dev/null 2>&1 &
persist_watch=$!
"""

_NOTIFY = """\
  PERSIST_EXIT_STATUS=$persist_code /bin/sh -c {command}
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
    needed = _NEEDED if python != sys.executable else ""
    start = _START.format(parent=_PACKAGE_PARENT, needed=needed)
    prepare = watch = unwatch = ""
    if setup:
        # One word: a quote or an `if` that is left open there must not reach beyond it.
        prepare += "persist_stage=setup\nset -e\neval {}\nset +e\n".format(quote("\n".join(setup)))
    if env:
        prepare += "persist_stage=environment\n"
        prepare += "".join(f"export {key}={quote(value)}\n" for key, value in env.items())
    if time_limit is not None:
        watch = _WATCH.format(
            seconds=math.ceil(time_limit + grace),
            python=quote(python),
            end_overtime=quote(_END_OVERTIME.format(parent=_PACKAGE_PARENT)),
        )
        unwatch = 'kill "$persist_watch" 2>/dev/null\n'
    return _TEMPLATE.format(
        id=quote(id),
        name=quote(name),
        job=quote(str(job)),
        cwd=quote(cwd),
        setup=prepare,
        python=quote(python),
        start=quote(start),
        watch=watch,
        unwatch=unwatch,
        notify=_NOTIFY.format(command=quote(notify)) if notify else "",
    )
