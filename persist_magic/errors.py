"""The error tree. Knows how an error is shown, nothing of what went wrong.

PersistError                  every error of persist_magic; a message and a way out
├── UsageError                words that cannot be obeyed: a bad name, option or value
├── NameTaken                 a job of this name exists already
├── JobNotFound               no job of this name under the root
├── CannotSave                a variable that cannot be pickled
├── CannotLoad                a saved variable that cannot be brought back here
├── Damaged                   a file of a job that is not what was written
├── NoSpace                   the disk is too small for what is to be written
├── RootRefused               a root or job directory that cannot be used or trusted
├── NotReady                  the job has not ended yet (also a TimeoutError)
├── StillRunning              what was asked needs a job that has ended
├── JobFailed                 the job failed and its own exception cannot be raised here
├── JobCancelled              the job was cancelled
├── JobLost                   the job is gone and left no word of its end
└── ManagerUnreachable        a scheduler that does not answer
"""

from __future__ import annotations


class PersistError(Exception):
    """An error that says what happened and the way out.

    Parameters
    ----------
    message
        What happened, with its value.
    hint
        What the user can do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    # IPython shows what this returns instead of a traceback.
    def _render_traceback_(self) -> list[str]:
        lines = [f"{type(self).__name__}: {self.message}"]
        if self.hint:
            lines.append(self.hint)
        return lines


class UsageError(PersistError):
    """Words that cannot be obeyed: a bad name, option or value."""


class NameTaken(PersistError):
    """A job of this name exists already."""


class JobNotFound(PersistError):
    """No job of this name under the root."""


class CannotSave(PersistError):
    """A variable that cannot be pickled."""


class CannotLoad(PersistError):
    """A saved variable that cannot be brought back here."""


class Damaged(PersistError):
    """A file of a job that is not what was written."""


class NoSpace(PersistError):
    """The disk is too small for what is to be written."""


class RootRefused(PersistError):
    """A root or job directory that cannot be used or trusted."""


class NotReady(PersistError, TimeoutError):
    """The job has not ended yet."""


class StillRunning(PersistError):
    """What was asked needs a job that has ended."""


class JobFailed(PersistError):
    """The job failed and its own exception cannot be raised here."""


class JobCancelled(PersistError):
    """The job was cancelled."""


class JobLost(PersistError):
    """The job is gone and left no word of its end."""


class ManagerUnreachable(PersistError):
    """A scheduler that does not answer."""
