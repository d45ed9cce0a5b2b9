"""The job's IPython shell: a kernel's shell whose displays go to the journal. Imports IPython."""

from __future__ import annotations

import subprocess
from types import ModuleType
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from persist_magic.runner.journal import Journal
from persist_magic.runner.streams import flush

# Traits cannot carry the journal through IPython's own construction of these two classes.
_journal: list[Journal] = []


class JournalPublisher(DisplayPublisher):
    """Writes displays to the journal."""

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        source: object = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **kwargs: Any,
    ) -> None:
        """Note a display, or the update of one."""
        id = (transient or {}).get("display_id")
        _journal[0].display("update" if update else "display", data, metadata, id)

    def clear_output(self, wait: bool = False) -> None:
        """Note that the output so far goes."""
        _journal[0].clear(wait)


class JournalHook(DisplayHook):
    """Shows the values of expressions that magics run, as a notebook would show a display."""

    def write_output_prompt(self) -> None:
        """No prompt: a job has no execution count."""

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        """Note the value."""
        _journal[0].display("display", format_dict, md_dict)

    def finish_displayhook(self) -> None:
        """Nothing is held back."""
        self._is_active = False

    def update_user_ns(self, result: Any) -> None:
        """Leave `_` and `Out` alone."""


# rich, pandas and others look at the name of the shell's class to know a notebook.
class ZMQInteractiveShell(InteractiveShell):
    """The shell of a job."""

    kernel = None

    def init_virtualenv(self) -> None:
        """The job runs in the interpreter it was given."""

    def init_environment(self) -> None:
        """The environment came with the job."""

    def init_deprecation_warnings(self) -> None:
        """The filters of warnings are those of the notebook."""

    def enable_gui(self, gui: Any = None) -> None:
        """There is no window system to join; `%matplotlib inline` asks all the same."""

    def system_raw(self, cmd: str) -> None:
        """Run `!cmd` with the log files as its outputs, in order with Python's own text."""
        flush()
        # By sh, as in a notebook, whatever the user's login shell is.
        expanded = self.var_expand(cmd, depth=1)  # type: ignore[no-untyped-call]
        self.user_ns["_exit_code"] = subprocess.call(expanded, shell=True)

    system = system_raw

    def ask_exit(self) -> None:
        """`exit` in a cell ends nothing here."""


def make_shell(main: ModuleType, journal: Journal) -> ZMQInteractiveShell:
    """The one shell of this process, with *main* as its user module."""
    _journal[:] = [journal]
    config = Config()
    # A job leaves no trace in the user's history.
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    shell: ZMQInteractiveShell = ZMQInteractiveShell.instance(
        config=config,
        user_module=main,
        user_ns=main.__dict__,
        display_pub_class=JournalPublisher,
        displayhook_class=JournalHook,
    )
    return shell
