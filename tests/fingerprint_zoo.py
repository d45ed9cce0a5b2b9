"""The values of `zoo/*.txt`, and the process that takes their fingerprints.

Run as `python -c "from fingerprint_zoo import main; main()"`, so that `__main__` is empty like that
of a kernel. Reads what to do as a line of JSON on its standard input, and answers in JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ZOO = Path(__file__).parent / "zoo"


@dataclass
class Case:
    """A kind of value; in the file, a cell that begins with its name.

    Attributes
    ----------
    source
        Binds `value`.
    changes
        Pairs of texts: the first, replaced in `source` by the second, makes another value.
    use
        Code that uses `value` and leaves its content as it is.
    needs
        Libraries that may be absent.
    pickles
        Whether cloudpickle alone brings it back whole.
    """

    name: str
    source: str = ""
    changes: list[tuple[str, str]] = field(default_factory=list)
    use: str = ""
    needs: list[str] = field(default_factory=list)
    pickles: bool = True

    def is_here(self) -> bool:
        """Whether all that it needs is installed."""
        return all(find_spec(name) is not None for name in self.needs)


def read_cases() -> Iterator[Case]:
    """All cases of the zoo."""
    for path in sorted(ZOO.glob("*.txt")):
        for cell in path.read_text(encoding="utf-8").split("# %% ")[1:]:
            name, *lines = cell.splitlines()
            case = Case(name)
            for line in lines:
                about, _, text = line.partition(": ")
                match about:
                    case "# change":
                        old, _, new = text.partition(" => ")
                        case.changes.append((old, new))
                    case "# use":
                        case.use = text
                    case "# needs":
                        case.needs = text.split()
                    case "# not by pickle":
                        case.pickles = False
                    case _:
                        case.source += f"{line}\n"
            yield case


def answer(
    cases: list[Case], directory: Path, offset: int, file_name: str, *, first: bool
) -> dict[str, dict[str, Any]]:
    """The fingerprints of *cases* in this process, by their names.

    Parameters
    ----------
    directory
        Where the first process writes pickled values, and the other finds them once a line is
        on its standard input.
    offset, file_name
        Where the code of the cases seems to stand.
    """
    import cloudpickle

    import __main__
    from persist_magic.fingerprint import fingerprint

    namespace = vars(__main__)
    empty = dict(namespace)

    def run(source: str, number: int) -> Any:
        namespace.clear()
        namespace.update(empty)
        name = file_name.format(number)
        exec(compile("\n" * (offset * number) + source, name, "exec"), namespace)
        return namespace["value"]

    def take(value: object) -> str:
        # To look at a value must not make its library complain.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = fingerprint(value, namespace=namespace)
        return f"unstable: {result.unstable}" if result.unstable else result.digest

    answers: dict[str, dict[str, Any]] = {case.name: {} for case in cases}
    for number, case in enumerate(cases):
        about = answers[case.name]
        value = run(case.source, number)
        about["made"] = take(value)
        if first:
            if case.pickles:
                (directory / case.name).write_bytes(cloudpickle.dumps(value))
            exec(case.use, namespace)
            about["used"] = take(value)
            about["changed"] = [
                take(run(case.source.replace(old, new), number)) for old, new in case.changes
            ]
    if not first:
        # Nothing that stands here may be taken for what is loaded.
        run("value = None", 0)
        sys.stdin.readline()
        for case in cases:
            if case.pickles:
                value = cloudpickle.loads((directory / case.name).read_bytes())
                answers[case.name]["loaded"] = take(value)
    return answers


def question(cases: list[Case], directory: Path, **others: object) -> str:
    """The line that `main` reads, for `answer`."""
    asked = {"cases": [asdict(case) for case in cases], "directory": str(directory), **others}
    return json.dumps(asked) + "\n"


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    cases = [Case(**each) for each in asked.pop("cases")]
    directory = Path(asked.pop("directory"))
    json.dump(answer(cases, directory, **asked), sys.stdout)
