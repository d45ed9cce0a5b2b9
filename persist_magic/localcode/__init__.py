"""Imported modules that live outside the installation, copied so that a job uses them as they are.

A package brings its whole directory, data files too; a module that is a single file brings only
that file: what lies beside it stays where it is. Knows modules and files, nothing of jobs.
"""

from __future__ import annotations

from persist_magic.localcode.copying import code_digest, copy_code, differences
from persist_magic.localcode.finding import imports_of, local_modules
from persist_magic.localcode.tree import CodeFile, LocalModule, TooLarge, check_size, files_of

__all__ = [
    "CodeFile",
    "LocalModule",
    "TooLarge",
    "check_size",
    "code_digest",
    "copy_code",
    "differences",
    "files_of",
    "imports_of",
    "local_modules",
]
