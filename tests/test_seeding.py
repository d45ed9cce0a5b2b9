"""Which generators of random numbers the cells of a notebook have seeded."""

from __future__ import annotations

import pytest

from persist_magic.state.seeding import GENERATORS, seeded


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["import random\nrandom.seed(0)"], {"random"}),
        (["import random as rnd", "rnd.seed(0)"], {"random"}),
        (["from random import choice, seed", "seed(1)"], {"random"}),
        (["import numpy as np\nnp.random.seed(42)"], {"numpy.random"}),
        (["from numpy import random", "random.seed(0)"], {"numpy.random"}),
        (["np.random.set_state(saved)"], {"numpy.random"}),
        (["torch.manual_seed(0); random.seed(0)"], {"torch", "random"}),
        (["import lightning as L", "L.seed_everything(1)"], GENERATORS),
        (["def set_seed(n):\n    np.random.seed(n)", "set_seed(3)"], {"numpy.random"}),
        (["# random.seed(0)"], set()),
        (["rng = np.random.default_rng(3)", "seed = 4"], set()),
        (["rng = random.Random(); rng.seed(3)"], set()),
        (
            ["from numpy.random import (\n    randn,\n    seed as fix,\n    seed)", "seed(1)"],
            {"numpy.random"},
        ),
        (["torch.cuda.manual_seed_all(0)"], {"torch"}),
        (["model.load_state_dict(x)", "torch.initial_seed()", "layer.reset_state()"], set()),
        (["tf.random.set_seed(3)"], set()),
        (["%%persist a\nrandom.seed(0)"], set()),
        (["get_ipython().run_cell_magic('persist', 'a', 'random.seed(0)\\n')\n"], set()),
    ],
)
def test_seeded_generators_are_known_from_the_cells(cells: list[str], expected: set[str]) -> None:
    assert seeded(cells) == expected
