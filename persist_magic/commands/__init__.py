"""The one table of commands, which magics and the `persist` program obey alike.

Knows jobs and views, not where they are shown.
"""

from __future__ import annotations

from persist_magic.commands.acting import ACTING
from persist_magic.commands.context import Command, Context
from persist_magic.commands.fetching import FETCH
from persist_magic.commands.looking import LOOKING

COMMANDS: tuple[Command, ...] = (FETCH, *LOOKING, *ACTING)

__all__ = ["COMMANDS", "FETCH", "Command", "Context"]
