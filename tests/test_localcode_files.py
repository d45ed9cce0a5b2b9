"""The files of a module: which are copied, how large they may be, what counts as a change."""

from __future__ import annotations

import dataclasses
import os
import socket
import stat
import sys
from pathlib import Path, PosixPath

import blake3
import pytest

from persist_magic.errors import PersistError
from persist_magic.localcode import (
    CodeFile,
    LocalModule,
    TooLarge,
    check_size,
    code_digest,
    copy_code,
    differences,
    files_of,
)


@pytest.fixture
def package(root: Path) -> Path:
    """The directory of a package with one module."""
    directory = root / "pkg"
    directory.mkdir()
    (directory / "__init__.py").write_text("x = 1\n", encoding="utf-8")
    return directory


def listed(package: Path) -> list[CodeFile]:
    return files_of([LocalModule("pkg", (package,))])


def paths(package: Path) -> list[str]:
    return [file.path for file in listed(package)]


def add(package: Path, name: str, content: bytes = b"") -> Path:
    path = package / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def sparse(package: Path, name: str, size: int) -> None:
    """A file of *size* bytes that takes no room."""
    os.truncate(add(package, name), size)


@pytest.mark.parametrize(
    "name",
    [
        "__pycache__/mod.cpython-311.pyc",
        "__init__.pyc",
        ".git/config",
        "sub/.git",
        ".hg/store",
        ".svn/entries",
        ".ipynb_checkpoints/a-checkpoint.py",
        ".persist/jobs/1/cell.py",
        "env/pyvenv.cfg",
        "conda/conda-meta/history",
        "sub/.mypy_cache/CACHEDIR.TAG",
        "node_modules/left-pad/index.js",
        "pkg.egg-info/PKG-INFO",
        ".mod.py.swp",
        "mod.py~",
        "#mod.py#",
        ".nfs00000000a1",
        ".DS_Store",
    ],
)
def test_what_no_code_needs_is_left_out(package: Path, name: str) -> None:
    add(package, name)
    assert paths(package) == ["pkg/__init__.py"]


@pytest.mark.parametrize(
    "name", ["py.typed", "data/a b.csv", ".hidden", "lone.pyc", "lib.so", "git/x", "tool.ipynb"]
)
def test_everything_else_in_a_package_is_copied(package: Path, name: str) -> None:
    add(package, name)
    assert sorted(["pkg/__init__.py", f"pkg/{name}"]) == paths(package)


def test_package_that_is_itself_marked_as_a_cache_is_copied(package: Path) -> None:
    add(package, "CACHEDIR.TAG")
    assert "pkg/__init__.py" in paths(package)


def test_linked_files_and_directories_are_copied_as_what_they_link_to(
    package: Path, root: Path
) -> None:
    (package / "table.csv").symlink_to(add(root, "elsewhere/table.csv", b"1,2"))
    (package / "data").symlink_to(root / "elsewhere")
    assert paths(package) == ["pkg/__init__.py", "pkg/data/table.csv", "pkg/table.csv"]
    copy_code(listed(package), root / "copy")
    copied = root / "copy/pkg/table.csv"
    assert not copied.is_symlink()
    assert copied.read_bytes() == b"1,2"


def test_links_to_nothing_and_in_circles_are_left_out(package: Path, root: Path) -> None:
    (package / ".#__init__.py").symlink_to("me@host.123")
    (package / "gone").symlink_to("nowhere")
    (package / "self").symlink_to("self")
    (package / "sub").mkdir()
    (package / "sub/up").symlink_to(package)
    (package / "sub/above").symlink_to(root)
    add(root, "beside.txt")
    found = paths(package)
    assert len(found) == len(set(found))
    # What lies above the package is followed once, and not into the package again.
    assert found == ["pkg/__init__.py", "pkg/sub/above/beside.txt"]


def test_pipes_and_sockets_are_left_out(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(package / "pipe")
    # The full path may be too long for a socket.
    monkeypatch.chdir(package)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert paths(package) == ["pkg/__init__.py"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_file_that_cannot_be_read_is_named(package: Path, root: Path) -> None:
    # Nobody can read this, not even the superuser.
    (package / "secret.key").symlink_to("/proc/self/mem")
    with pytest.raises(PersistError, match=r"pkg/secret\.key .* cannot be read") as caught:
        copy_code(listed(package), root / "copy")
    assert "--skip-code" in caught.value.hint
    with pytest.raises(PersistError, match=r"pkg/secret\.key .* cannot be read"):
        code_digest(listed(package))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_directory_that_cannot_be_read_is_named(package: Path) -> None:
    (package / "closed").mkdir(mode=0)
    with pytest.raises(PersistError, match=r"pkg/closed .* cannot be read"):
        listed(package)


def test_copies_are_private_and_keep_times_and_executables(package: Path, root: Path) -> None:
    add(package, "bin/tool").chmod(0o755)
    os.utime(package / "__init__.py", ns=(5, 1_234_567_890_123_456_789))
    copy_code(listed(package), root / "copy")
    modes = {
        str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode)
        for path in (root / "copy").rglob("*")
    }
    assert modes == {
        "copy/pkg": 0o700,
        "copy/pkg/__init__.py": 0o600,
        "copy/pkg/bin": 0o700,
        "copy/pkg/bin/tool": 0o700,
    }
    assert stat.S_IMODE((root / "copy").stat().st_mode) == 0o700
    assert (root / "copy/pkg/__init__.py").stat().st_mtime_ns == 1_234_567_890_123_456_789


def test_copy_is_no_link_to_the_original(package: Path, root: Path) -> None:
    copy_code(listed(package), root / "copy")
    with open(package / "__init__.py", "a", encoding="utf-8") as file:
        file.write("x = 2\n")
    assert (root / "copy/pkg/__init__.py").read_text(encoding="utf-8") == "x = 1\n"


@pytest.mark.parametrize("durable", [False, True])
def test_digests_are_those_of_the_content(package: Path, root: Path, durable: bool) -> None:
    content = os.urandom(1 << 20)
    add(package, "data/large.bin", content)
    add(package, "empty.txt")
    expected = {
        "pkg/__init__.py": blake3.blake3(b"x = 1\n").hexdigest(),
        "pkg/data/large.bin": blake3.blake3(content).hexdigest(),
        "pkg/empty.txt": blake3.blake3(b"").hexdigest(),
    }
    assert copy_code(listed(package), root / "copy", durable=durable) == expected
    assert code_digest(listed(package)) == expected
    assert (root / "copy/pkg/data/large.bin").read_bytes() == content


@pytest.mark.parametrize("text", ["x = 22\n", "x = 2\n"])
def test_file_that_changes_while_it_is_copied_is_named(
    package: Path, root: Path, text: str
) -> None:
    files = listed(package)
    before = files[0].mtime
    path = add(package, "__init__.py", text.encode())
    os.utime(path, ns=(0, before + 1_000_000_000))
    with pytest.raises(PersistError, match=r"pkg/__init__\.py changed while it was copied"):
        copy_code(files, root / "copy")
    with pytest.raises(PersistError, match=r"pkg/__init__\.py changed while it was copied"):
        code_digest(files)


def test_file_that_vanishes_while_it_is_copied_is_named(package: Path, root: Path) -> None:
    add(package, "zlast.py")
    files = listed(package)
    (package / "zlast.py").unlink()
    with pytest.raises(PersistError, match=r"pkg/zlast\.py vanished while it was copied"):
        copy_code(files, root / "copy")


def test_file_that_changes_after_its_own_copy_is_named(package: Path, root: Path) -> None:
    """All copies are of one moment: a checkout of another branch meanwhile gives no mixture."""
    first = package / "__init__.py"

    class Checkout(PosixPath):
        def __fspath__(self) -> str:
            first.write_text("x = 'other branch'\n", encoding="utf-8")
            return str(self)

    add(package, "zlast.py")
    files = listed(package)
    files[1] = dataclasses.replace(files[1], source=Checkout(files[1].source))
    with pytest.raises(PersistError, match=r"pkg/__init__\.py changed while it was copied"):
        copy_code(files, root / "copy")
    assert (root / "copy/pkg/__init__.py").read_text(encoding="utf-8") == "x = 1\n"


def test_file_that_grows_without_end_is_named(root: Path) -> None:
    with pytest.raises(PersistError, match="/dev/zero changed while it was copied"):
        copy_code([CodeFile(Path("/dev/zero"), "pkg/run.log", size=10, mtime=0)], root / "copy")


def test_imported_part_from_elsewhere_hides_what_lies_in_the_package(
    package: Path, root: Path
) -> None:
    add(package, "part.py", b"never imported")
    other = add(root, "build/part.py", b"imported")
    files = files_of([LocalModule("pkg", (package,), (("pkg.part", other),))])
    assert {file.path: file.source for file in files}["pkg/part.py"] == other


def test_differences_are_told_in_words() -> None:
    old = {"mylib.py": "1", "pkg/same.py": "2", "pkg/old.py": "3"}
    new = {"mylib.py": "9", "pkg/same.py": "2", "pkg/new.py": "3"}
    assert differences(old, new) == [
        "mylib.py changed",
        "pkg/new.py is new",
        "pkg/old.py is gone",
    ]
    assert differences(old, old) == []


def test_notebook_that_is_saved_again_is_no_difference() -> None:
    assert differences({"pkg/note.ipynb": "1"}, {"pkg/note.ipynb": "2"}) == []


def test_size_within_the_limit_is_accepted(package: Path) -> None:
    sparse(package, "data.bin", 1000)
    check_size(listed(package), 1006)
    with pytest.raises(TooLarge):
        check_size(listed(package), 1005)


def test_what_makes_a_package_too_large_is_named(package: Path) -> None:
    for name in "abcdefgh":
        sparse(package, f"images/raw/{name}.png", 500_000_000)
    sparse(package, "weights/model.bin", 2_000_000_000)
    sparse(package, "weights/small.bin", 1000)
    sparse(package, "cache.db", 1_500_000_000)
    sparse(package, "other.db", 400_000_000)
    with pytest.raises(TooLarge) as caught:
        check_size(listed(package), 100_000_000)
    assert "7.9 GB, the limit is 100 MB" in caught.value.message
    assert caught.value.message.endswith(
        "the largest: pkg/images/raw/ (4.0 GB), pkg/weights/model.bin (2.0 GB), "
        "pkg/cache.db (1.5 GB)"
    )
    assert "--skip-code pkg" in caught.value.hint


def test_single_file_that_is_too_large_is_named(root: Path) -> None:
    sparse(root, "table.py", 2_000_000)
    files = files_of([LocalModule("table", (root / "table.py",))])
    with pytest.raises(TooLarge, match=r"table\.py \(2\.0 MB\)") as caught:
        check_size(files, 1000)
    assert "--skip-code table" in caught.value.hint


def test_twenty_thousand_files_are_listed(package: Path) -> None:
    original = add(package, "data/0")
    for number in range(1, 20_000):
        os.link(original, package / f"data/{number}")
    assert len(listed(package)) == 20_001


def test_walk_ends_at_the_limit_of_files(package: Path) -> None:
    for number in range(50):
        add(package, f"data/{number}.csv")
    # Links like these make a tree without an end in sight.
    for name in "abcdefghijkl":
        add(package, f"maze/{name}/x")
        for other in "abcdefghijkl":
            (package / f"maze/{name}/{other}").symlink_to(package / f"maze/{other}")
    with pytest.raises(TooLarge) as caught:
        files_of([LocalModule("pkg", (package,))], most=300)
    assert "more than 300 files" in caught.value.message
    assert "pkg/maze/" in caught.value.message
    assert "--skip-code pkg" in caught.value.hint
