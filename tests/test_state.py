"""Global settings of a process, taken in one and given to another."""

from __future__ import annotations

import base64
import functools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from kernels import Kernel
from persist_magic.state import describe_state, identity_of

_HEAD = """
import base64, pickle, sys
from persist_magic.runner.imports import after_import
from persist_magic.state import give_state, take_state
"""
_GIVE = """
give_state(
    pickle.loads(base64.b64decode(sys.argv[1])),
    lambda name, then: after_import(name, lambda module: then()),
)
"""
_TAKE = """
import cloudpickle
state = base64.b64encode(cloudpickle.dumps(take_state(seeded=sys.argv[2:]))).decode()
print(eval(sys.argv[1]))
print(state)
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run *code* in a new interpreter."""
    return subprocess.run(
        [sys.executable, "-c", _HEAD + code, *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )


@functools.cache
def taken_and_shown(code: str, shown: str, *generators: str) -> tuple[dict[str, Any], str]:
    """The state of a new process that ran *code*, and what it shows then."""
    *lines, last = python(f"{code}{_TAKE}", shown, *generators).stdout.splitlines()
    return cloudpickle.loads(base64.b64decode(last)), "\n".join(lines)


def taken(code: str, *generators: str) -> dict[str, Any]:
    """The state of a new process that ran *code*."""
    return taken_and_shown(code, "None", *generators)[0]


def given(state: dict[str, Any], code: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run *before*, restore *state*, and run *code*, in a new process."""
    data = base64.b64encode(cloudpickle.dumps(state)).decode()
    return python(f"{before}\n{_GIVE}\n{code}", data)


# Module, what an earlier cell does, what the job then shows.
CASES = [
    ("decimal", "decimal.getcontext().prec = 50", "decimal.Decimal(1) / 7"),
    ("decimal", "decimal.getcontext().traps[decimal.DivisionByZero] = 0", "1 / decimal.Decimal(0)"),
    ("sys", "sys.setrecursionlimit(4321)", "sys.getrecursionlimit()"),
    ("locale", "locale.setlocale(locale.LC_TIME, 'C.UTF-8')", "locale.setlocale(locale.LC_TIME)"),
    (
        "numpy",
        "numpy.set_printoptions(precision=2, formatter={'int': '<{}>'.format});"
        "numpy.seterr(divide='ignore', under='raise')",
        "numpy.array([1 / 3]), numpy.array([1]), numpy.geterr()",
    ),
    (
        "pandas",
        "pandas.options.display.float_format = '{:.1f}'.format;"
        "pandas.set_option('display.max_rows', 4)",
        "pandas.Series([1 / 3] * 9)",
    ),
    (
        "pandas",
        "pandas.options.display.float_format = lambda x: f'~{x:.0f}'",
        "pandas.Series([2.])",
    ),
    (
        "matplotlib",
        "matplotlib.rcParams['figure.figsize'] = (3, 2);"
        "matplotlib.rcParams['axes.prop_cycle'] = matplotlib.cycler(color=['r', 'k'], lw=[1, 2])",
        "matplotlib.rcParams['figure.figsize'],"
        "sorted(matplotlib.rcParams['axes.prop_cycle'].by_key().items())",
    ),
    (
        "polars",
        "polars.Config.set_fmt_float('full'); polars.Config.set_thousands_separator(' ')",
        "polars.Config.state(if_set=True)",
    ),
    ("torch", "torch.set_default_dtype(torch.float64)", "torch.ones(1)"),
]


@pytest.mark.parametrize(("module", "setting", "shown"), CASES)
@pytest.mark.parametrize("imported", ["before", "after"])
def test_setting_holds_in_a_new_process(
    module: str, setting: str, shown: str, imported: str
) -> None:
    pytest.importorskip(module)
    importing = f"import {module}"
    state, expected = taken_and_shown(f"{importing}; {setting}", shown)
    before, after = (importing, "") if imported == "before" else ("", importing)
    result = given(state, f"{after}\nprint(({shown}))", before)
    assert (result.stdout.rstrip(), result.stderr) == (expected, "")


@pytest.mark.parametrize("imported", ["before", "after"])
@pytest.mark.parametrize(
    ("module", "seed", "draw"),
    [
        ("random", "random.seed(7); random.gauss(0, 1)", "random.gauss(0, 1)"),
        (
            "numpy.random",
            "numpy.random.seed(7); numpy.random.randn(3)",
            "numpy.random.randn(3)",
        ),
        ("torch", "torch.manual_seed(3); torch.rand(5)", "torch.rand(3)"),
    ],
)
def test_seeded_generator_goes_on_where_it_was(
    module: str, seed: str, draw: str, imported: str
) -> None:
    pytest.importorskip(module)
    importing = f"import {module}"
    state, expected = taken_and_shown(f"{importing}; {seed}", f"({draw}, {draw})", module)
    before, after = (importing, "") if imported == "before" else ("", importing)
    assert given(state, f"{after}\nprint(({draw}, {draw}))", before).stdout.rstrip() == expected


def test_generator_that_nobody_seeded_is_not_taken() -> None:
    """Else two jobs started one after the other would draw the same numbers."""
    assert taken("import random; random.random()") == {}


def test_untouched_process_has_no_state() -> None:
    assert taken("import random, decimal, locale, logging, warnings") == {}


def test_untouched_libraries_have_only_the_filters_that_they_add() -> None:
    pytest.importorskip("numpy")
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    assert set(taken("import numpy, pandas, matplotlib.pyplot")) <= {"warnings"}


def test_state_that_names_a_library_is_read_without_importing_it() -> None:
    pytest.importorskip("numpy")
    pytest.importorskip("matplotlib")
    state = taken(
        "import numpy, matplotlib, warnings; numpy.random.seed(1); numpy.seterr(over='raise');"
        "matplotlib.rcParams['axes.prop_cycle'] = matplotlib.cycler(color=['r'])",
        "numpy.random",
    )
    assert {"numpy.random", "numpy errors", "matplotlib", "warnings"} <= set(state)
    result = given(state, "print({'numpy', 'matplotlib', 'cloudpickle'} & set(sys.modules))")
    assert (result.stdout, result.stderr) == ("set()\n", "")


# ---- warnings

_WARN = """
import warnings
warnings.warn("old thing 1", FutureWarning)
warnings.warn("other", FutureWarning)
"""


def test_filter_of_the_notebook_is_obeyed() -> None:
    state = taken("import warnings; warnings.filterwarnings('ignore', 'old thing \\\\d')")
    shown = given(state, _WARN).stderr
    assert "old thing" not in shown
    assert "other" in shown


def test_the_latest_filter_wins_as_in_the_notebook() -> None:
    state = taken(
        "import warnings; warnings.simplefilter('error'); warnings.simplefilter('ignore')\n"
        "warnings.filterwarnings('always', message='other')"
    )
    shown = given(state, _WARN).stderr
    assert "old thing" not in shown
    assert "other" in shown


def test_default_filter_that_was_moved_to_the_front_is_obeyed() -> None:
    state = taken("import warnings; warnings.simplefilter('ignore', DeprecationWarning)")
    code = "import warnings; warnings.warn('old', DeprecationWarning)"
    assert "old" in given({}, code).stderr
    assert given(state, code).stderr == ""


def test_filters_that_were_removed_are_removed() -> None:
    state = taken("import warnings; warnings.resetwarnings()")
    code = "import warnings; warnings.warn('soon', ResourceWarning)"
    assert given({}, code).stderr == ""
    assert "soon" in given(state, code).stderr


def test_filter_for_a_category_that_is_not_imported_yet_is_obeyed() -> None:
    library = "import xml.dom, sys; sys.modules['lib'] = lib = type(sys)('lib');"
    library += "exec('class Base(UserWarning): pass\\nclass Mine(Base): pass', lib.__dict__);"
    state = taken(library + "import warnings; warnings.simplefilter('ignore', lib.Base)")
    code = "import warnings; " + library
    code += "warnings.warn('a', lib.Mine); warnings.warn('b', UserWarning)"
    shown = given(state, code).stderr
    assert "Mine: a" not in shown
    assert "UserWarning: b" in shown


# ---- logging


def test_log_lines_of_an_earlier_basic_config_appear() -> None:
    setup = "import logging, sys; "
    setup += "logging.basicConfig(level='INFO', stream=sys.stdout, format='<{message}>', style='{')"
    result = given(taken(setup), "import logging; logging.getLogger('lib').info('epoch %d', 3)")
    assert (result.stdout, result.stderr) == ("<epoch 3>\n", "")


def test_levels_and_handlers_of_named_loggers_are_restored() -> None:
    setup = """
import logging
mine = logging.getLogger("train")
mine.setLevel("DEBUG")
mine.propagate = False
mine.addHandler(logging.StreamHandler())
logging.getLogger("noisy").setLevel("ERROR")
"""
    code = """
import logging
logging.getLogger("train").debug("step")
logging.getLogger("noisy").warning("hush")
"""
    assert given(taken(setup), code).stderr == "step\n"


def test_disabled_logging_stays_disabled() -> None:
    state = taken("import logging; logging.disable(logging.WARNING)")
    assert given(state, "import logging; logging.warning('hush')").stderr == ""


# ---- a failure is told, not raised


def test_setting_that_cannot_be_restored_is_told_in_one_line() -> None:
    result = given({"locale": {"LC_TIME": "nowhere"}, "recursion limit": 999}, "import locale")
    assert result.stderr.splitlines() == [
        "persist: the setting 'locale' could not be restored: Error: unsupported locale setting"
    ]


def test_value_that_cannot_be_carried_is_left_out() -> None:
    pytest.importorskip("pandas")
    state = taken(
        "import pandas; file = open('/dev/null')\n"
        "pandas.options.display.float_format = lambda x: file.name\n"
        "pandas.options.display.max_rows = 4"
    )
    assert state["pandas"] == {"display.max_rows": 4}


# ---- what is said of it


def test_description_names_what_is_set() -> None:
    state: dict[str, object] = {
        "random": (3, (1, 2), None),
        "pandas": {"display.max_rows": 100},
        "recursion limit": 4000,
        "warnings": {"filters": [("ignore", "", ("builtins", "Warning"), "", 0)], "reset": False},
        "logging": {"disable": 0, "loggers": {"": {"level": 20}, "train": {"level": 10}}},
        "matplotlib": {"a": 1, "b": "x" * 80, "c": 3, "d": 4},
        "formatters": {"text/html": {("__main__", "Mine"): str}},
    }
    assert describe_state(state) == [
        ("random", "generator state"),
        ("pandas", "display.max_rows = 100"),
        ("recursion limit", "4000"),
        ("warnings", "1 filter"),
        ("logging", "root, train"),
        ("matplotlib", f"a = 1, b = {'x' * 37}..., c = 3, and 1 more"),
        ("formatters", "Mine"),
    ]


def test_filters_and_logging_are_no_part_of_the_identity() -> None:
    state: dict[str, object] = {"logging": {}, "warnings": {}, "recursion limit": 1, "pandas": {}}
    assert identity_of(state) == {"pandas": {}}


# ---- the shell


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One real kernel, without the extension."""
    directory: Path = tmp_path_factory.mktemp("kernel")
    started = Kernel(directory)
    yield started
    started.stop()


_TAKE_HERE = "__import__('persist_magic.state').state.take_state(get_ipython())"


def test_untouched_kernel_with_inline_figures_has_no_state(kernel: Kernel) -> None:
    pytest.importorskip("matplotlib")
    assert kernel.get(_TAKE_HERE) == "{}"
    shown = kernel.run("%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])")
    assert shown.displays
    names = kernel.get(f"sorted({_TAKE_HERE})")
    # numpy came with it, and has filters of its own.
    assert names in ("[]", "['warnings']")


def test_user_settings_of_the_shell_are_given_to_another(kernel: Kernel, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "state"
    setup = f"""
from matplotlib_inline.backend_inline import set_matplotlib_formats
import matplotlib.pyplot as plt
plt.plot([1])
%precision 2
set_matplotlib_formats("svg", bbox_inches=None)
class Mine: pass
formatters = get_ipython().display_formatter.formatters
formatters["text/html"].for_type(Mine, lambda mine: "<b>mine</b>")
formatters["text/plain"].for_type(int, lambda n, p, cycle: p.text(hex(n)))
import cloudpickle
with open({str(file)!r}, "wb") as out:
    cloudpickle.dump({_TAKE_HERE}, out)
"""
    assert not kernel.run(setup).error
    code = f"""
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
from persist_magic.state import give_shell_state
state = pickle.loads(Path({str(file)!r}).read_bytes())
shell = InteractiveShell.instance()
give_shell_state(state, shell)
class Mine: pass
for value in (1 / 3, 255, Mine()):
    print(shell.display_formatter.format(value)[0])
import matplotlib
matplotlib.use("module://matplotlib_inline.backend_inline")
import matplotlib.pyplot as plt
plt.plot([1])
print(sorted(shell.display_formatter.format(plt.gcf())[0]))
"""
    lines = python(code).stdout.splitlines()
    assert lines[:2] == ["{'text/plain': '0.33'}", "{'text/plain': '0xff'}"]
    assert re.search("'text/html': '<b>mine</b>'", lines[2])
    assert lines[3] == "['image/svg+xml', 'text/plain']"


def test_taking_imports_nothing() -> None:
    code = "before = set(sys.modules); take_state(); print(set(sys.modules) - before)"
    assert python(code).stdout == "set()\n"
