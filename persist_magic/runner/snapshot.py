"""The notebook's own modules, as they were when the job was made. Knows the copied tree."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

CODE = "code"


def use(directory: str, origins: Mapping[str, str], names: Sequence[str]) -> None:
    """Import the top-level modules *names* from *directory* from now on, whoever else offers them.

    Parameters
    ----------
    origins
        Where single files of it come from: such a module finds its data beside its original.
    """
    # Portions of namespace packages, and processes that are spawned, go by the path alone.
    sys.path.insert(0, directory)
    sys.meta_path.insert(0, _Finder(directory, origins, names))


class _Finder:
    """Comes before the import hooks of editable installs."""

    def __init__(self, directory: str, origins: Mapping[str, str], names: Sequence[str]) -> None:
        self._directory, self._origins, self._names = directory, origins, frozenset(names)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or name not in self._names:
            return None
        origin = self._origins.get(f"{name}.py")
        if origin is None:
            found = PathFinder.find_spec(name, [self._directory])
            return found if found is not None and found.loader is not None else None
        from importlib.util import spec_from_file_location

        loader = _Loader(name, origin, f"{self._directory}/{name}.py")
        return spec_from_file_location(name, origin, loader=loader)


class _Loader(SourceFileLoader):
    """Runs the copy of a file under the name of its original."""

    def __init__(self, name: str, origin: str, copy: str) -> None:
        super().__init__(name, origin)
        self._copy = copy

    def get_data(self, path: str) -> bytes:
        """The copy, for the original's name."""
        return super().get_data(self._copy if path == self.path else path)

    def get_code(self, fullname: str) -> CodeType:
        """The copy compiled; a cache beside the original would be that of another text."""
        code = compile(self.get_data(self.path), self.path, "exec", dont_inherit=True)
        assert isinstance(code, CodeType)
        return code
