"""Which imported modules are the user's own, and which names a source imports.

Knows the import system, and what an installation looks like.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import site
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from persist_magic.errors import PersistError
from persist_magic.localcode.tree import LocalModule, files_of

# Not the user's: the interpreter's own, pytest's, an editor's debugger, and this package.
_NEVER = re.compile(
    r"__main__|__mp_main__|sitecustomize|usercustomize|conftest|debugpy|_?pydev\w*|"
    + re.escape(__name__.partition(".")[0])
)
# A search for these is taken for their import by a finder of setuptools.
_UNSEARCHABLE = frozenset(("distutils", "pip", "setuptools"))

# An import at the start of a line: of Python, of a text that is not quite Python, of a docstring.
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\w+)[\w.]*[ \t]+import\b|import[ \t]+(\w[\w., \t]*))", re.MULTILINE
)

_PARSE = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


@functools.cache
def _libraries() -> tuple[str, ...]:
    """The directories of this installation, real and with a slash at the end."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    found = {os.path.dirname(os.__file__), site.getusersitepackages(), *site.getsitepackages()}
    for prefix in prefixes:
        found.update(os.path.join(prefix, lib, version) for lib in ("lib", sys.platlibdir))
    return tuple(sorted(os.path.realpath(directory) + "/" for directory in found))


@functools.cache
def _is_installed(directory: str) -> bool:
    """Whether *directory* belongs to this installation, or to another one put on the path."""
    real = os.path.realpath(directory) + "/"
    return real.startswith(_libraries()) or "/site-packages/" in real or "/dist-packages/" in real


def _is_local(place: str) -> bool:
    # A directory in site-packages may be a link to the user's own. A file that is one is none of
    # the user's: some installers link each file of a package to their cache.
    linked = os.path.islink(place) and os.path.isdir(place)
    directory = place if linked else os.path.dirname(place)
    return not _is_installed(directory) and os.path.exists(place)


def _places(file: object, path: object) -> list[str]:
    """Where a module with these `__file__` and `__path__` is: a file, or directories."""
    places: list[str] = []
    if isinstance(file, str) and file:
        if not os.path.basename(file).startswith("__init__."):
            return [os.path.abspath(file)]
        places.append(os.path.dirname(os.path.abspath(file)))
    try:
        # The path of a namespace package is an iterable of a type of its own.
        portions = [path] if isinstance(path, str) else list(path)  # type: ignore[call-overload]
    except Exception:  # not iterable, or a namespace package whose parent is gone
        portions = []
    places += [os.path.abspath(each) for each in portions if isinstance(each, str) and each]
    return list(dict.fromkeys(places))


def _attributes(module: object) -> dict[str, object]:
    """The attributes of *module*, looked at without running code of lazy modules."""
    try:
        found = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_top(name: str) -> bool:
    """Whether *name* can be that of a file or directory in the copied tree."""
    return name != "" and "." not in name and "/" not in name


def _goes_by(name: str, attributes: Mapping[str, object]) -> bool:
    """Whether a module with *attributes* was imported by *name*, not put there as another name."""
    return getattr(attributes.get("__spec__"), "name", name) == name


def _imported(
    name: str, submodules: Iterable[str], modules: Mapping[str, object], *, asked: bool
) -> LocalModule | None:
    """The local part of the imported top-level module *name*."""
    attributes = _attributes(modules[name])
    if not _goes_by(name, attributes):
        return None
    file, path = attributes.get("__file__"), attributes.get("__path__")
    places = _places(file, path)
    # An installed package stays one even if it searches for plugins in directories of the user.
    if isinstance(file, str) and not (places and _is_local(places[0])):
        return None
    roots = [place for place in places if _is_local(place)]
    if not roots and path is None:
        return None
    # A directory that a search for an optional library came upon (`wandb`, `data`) was imported as
    # a namespace package, but nothing from it.
    used = asked or isinstance(file, str)
    elsewhere = []
    searched = {name: places}
    for dotted in sorted(submodules):
        attributes = _attributes(modules[dotted])
        if not _goes_by(dotted, attributes):
            continue
        file = attributes.get("__file__")
        searched[dotted] = _places(file, attributes.get("__path__"))
        parent, _, last = dotted.rpartition(".")
        for place in filter(_is_local, searched[dotted]):
            used = used or isinstance(file, str)
            directory, base = os.path.split(place)
            if directory not in searched.get(parent, ()) or base.partition(".")[0] != last:
                elsewhere.append((dotted, Path(place)))
    if not used or not (roots or elsewhere):
        return None
    return LocalModule(name, tuple(map(Path, roots)), tuple(elsewhere))


def _found(name: str, *, namespaces: bool) -> LocalModule | None:
    """The local module that `import name` would find; nothing is imported."""
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, None)
        except Exception:  # a broken hook, or one without this method
            continue
        if isinstance(spec, ModuleSpec):
            break
    else:
        return None
    file = spec.origin if spec.has_location else None
    if file is None and not namespaces:
        return None
    places = _places(file, spec.submodule_search_locations)
    if file is not None and not _is_local(places[0]):
        return None
    roots = tuple(Path(place) for place in places if _is_local(place))
    return LocalModule(name, roots) if roots else None


def _forget_listings() -> None:
    """Make finders see files that were written a moment ago."""
    for directory, finder in list(sys.path_importer_cache.items()):
        forget = getattr(finder, "invalidate_caches", None)
        if forget is not None and not _is_installed(directory):
            forget()


def local_modules(wanted: Iterable[str] | None = None) -> dict[str, LocalModule]:
    """The local modules that code of this process could use, by name.

    Those imported, those of *wanted* (imported or not), and those that the sources of all these
    import. Modules without a file are passed over.

    Parameters
    ----------
    wanted
        Top-level names that are about to be imported.
    """
    modules: dict[str, object] = dict(sys.modules)
    submodules: dict[str, list[str]] = {}
    for dotted in modules:
        top, dot, _ = dotted.partition(".")
        if dot:
            submodules.setdefault(top, []).append(dotted)
    wanted = frozenset(wanted or ())
    found = {}
    # A wrapper that a module put in its own place does not say where it comes from.
    known = {name for name, module in modules.items() if isinstance(module, ModuleType)}
    for name in known:
        if _is_top(name) and not _NEVER.fullmatch(name):
            module = _imported(name, submodules.get(name, ()), modules, asked=name in wanted)
            if module is not None:
                found[name] = module
    asked = {name for name in wanted | (modules.keys() - known) if _is_top(name)}
    fresh = list(found.values())
    forgotten = False
    while fresh or asked:
        names = asked | {name for module in fresh for name in _names_in_sources(module)}
        names -= known | _UNSEARCHABLE
        known |= names
        if names and not forgotten:
            _forget_listings()
            forgotten = True
        # For a name that is only read in a source, a mere directory will not do.
        candidates = [
            _found(name, namespaces=name in asked)
            for name in sorted(names)
            if not _NEVER.fullmatch(name)
        ]
        fresh, asked = [each for each in candidates if each is not None], set()
        found.update((module.name, module) for module in fresh)
    return dict(sorted(found.items()))


def _names_in_text(text: str) -> Iterator[str]:
    for match in _IMPORT.finditer(text):
        for clause in (match[1] or match[2]).split(","):
            name = re.split(r"[.\s]", clause.strip(), maxsplit=1)[0]
            if name.isidentifier():
                yield name


def _names_in_sources(module: LocalModule) -> set[str]:
    """Top-level names that the sources of *module* seem to import: too many rather than too few."""
    names: set[str] = set()
    try:
        for file in files_of([module]):
            if file.path.endswith(".py"):
                text = file.source.read_text(encoding="utf-8", errors="replace")
                names.update(_names_in_text(text))
    except (OSError, PersistError):
        pass  # `files_of` says so, unless the module is left out
    return names


def imports_of(code: str) -> frozenset[str]:
    """Top-level names that the cell *code* imports, IPython's lines translated or not."""
    try:
        with warnings.catch_warnings():
            # The compiler gives its warnings when the cell runs.
            warnings.simplefilter("ignore")
            tree = compile(code, "<cell>", "exec", _PARSE, dont_inherit=True)
    except (SyntaxError, ValueError):
        return frozenset(_names_in_text(code))
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                names.update(alias.name.partition(".")[0] for alias in aliases)
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module.partition(".")[0])
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called),
                args=[ast.Constant(value=str(first)), *others],
            ):
                if called in ("import_module", "__import__"):
                    names.add(first.partition(".")[0])
                elif called in ("run_cell_magic", "run_line_magic"):
                    for other in others:
                        if isinstance(other, ast.Constant) and isinstance(other.value, str):
                            names |= imports_of(other.value)
    return frozenset(names - {""})
