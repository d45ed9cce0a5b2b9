"""What earlier cells set in the process is so in the job, seen from a real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels import Kernel, kernel


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    directory: Path = tmp_path_factory.mktemp("state")
    with kernel(directory) as started:
        yield started


def in_job(k: Kernel, name: str, cell: str) -> str:
    """The text that *cell* prints as a job."""
    sent = k.run(f"%%persist {name}\n{cell}")
    assert not sent.error, sent.text
    fetched = k.run(f"%persist_fetch {name}")
    assert not fetched.error, fetched.text
    return fetched.stdout + fetched.stderr


def test_seeded_generators_go_on_in_the_job(k: Kernel) -> None:
    k.run("import random\nimport numpy as np\nrandom.seed(7)\nnp.random.seed(7)")
    cell = "print(random.random(), float(np.random.rand()))"
    assert in_job(k, "seeded", cell) == k.run(cell).stdout


def test_options_of_pandas_and_numpy_hold_in_the_job(k: Kernel) -> None:
    k.run(
        "import pandas as pd\nimport numpy as np\npd.set_option('display.max_rows', 7)\n"
        "np.set_printoptions(precision=2)"
    )
    cell = "print(pd.get_option('display.max_rows'), np.array([1 / 3]))"
    assert in_job(k, "options", cell) == "7 [0.33]\n"


def test_log_level_and_warning_filters_hold_in_the_job(k: Kernel) -> None:
    k.run(
        "import logging, warnings\nlogging.basicConfig(level=logging.INFO, force=True)\n"
        "warnings.filterwarnings('error', message='never mind')"
    )
    assert "INFO:root:hello" in in_job(k, "logs", "logging.info('hello')")
    shown = in_job(
        k,
        "filters",
        "try:\n    warnings.warn('never mind')\nexcept UserWarning as e:\n    print('raised', e)",
    )
    assert shown.startswith("raised never mind")


def test_float_format_of_the_shell_holds_for_displays(k: Kernel) -> None:
    k.run("%precision 3")
    sent = k.run("%%persist precise --wait\ndisplay(2 / 3)")
    k.run("%precision")
    assert any(display.get("text/plain") == "0.667" for display in sent.displays)


def test_dry_run_names_the_settings(k: Kernel) -> None:
    shown = k.run("%%persist --dry-run dry\n1").text
    assert "random" in shown
    assert "display.max_rows = 7" in shown
