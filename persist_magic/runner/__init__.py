"""What runs inside the background interpreter. Knows one job directory, no managers and no names.

job.sh calls `main`; everything that is costly is imported when the job needs it.
"""

from __future__ import annotations


def main() -> None:
    """Run the job whose attempt directory is the first argument of this process."""
    import sys

    from persist_magic.runner.life import run

    attempt = sys.argv[1]
    # The user's code must not take it for an argument of its own.
    sys.argv[:] = [""]
    sys.exit(run(attempt))
