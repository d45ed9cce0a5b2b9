"""Settings of libraries that may not be installed: each function runs only where its own is.

Values are plain Python, so that reading them in a job imports no library.
"""

from __future__ import annotations

import sys
from typing import Any

from persist_magic.state.setting import Setting, carried

# ---- numpy


def _take_numpy_random() -> object:
    return _plain(sys.modules["numpy.random"].get_state(legacy=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def _give_numpy_random(value: Any) -> None:
    sys.modules["numpy.random"].set_state(value)


# https://numpy.org/doc/stable/reference/generated/numpy.set_printoptions.html
_PRINT = {
    **{"edgeitems": 3, "threshold": 1000, "floatmode": "maxprec", "precision": 8},
    **{"suppress": False, "linewidth": 75, "nanstr": "nan", "infstr": "inf", "sign": "-"},
    **{"formatter": None, "legacy": False, "override_repr": None},
}
# https://numpy.org/doc/stable/reference/generated/numpy.seterr.html
_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


def _differing(present: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any] | None:
    """What of *present* is not as in *fresh*, as far as it can be carried."""
    missing = object()
    found = {
        name: value
        for name, value in present.items()
        if not _same(value, fresh.get(name, missing)) and carried(value)
    }
    return found or None


def _same(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # arrays, and whatever else does not compare to one answer
        return False


def _take_print() -> object | None:
    return _differing(sys.modules["numpy"].get_printoptions(), _PRINT)


def _give_print(value: Any) -> None:
    sys.modules["numpy"].set_printoptions(**value)


def _take_errors() -> object | None:
    return _differing(sys.modules["numpy"].geterr(), _ERRORS)


def _give_errors(value: Any) -> None:
    sys.modules["numpy"].seterr(**value)


# ---- pandas


def _take_pandas() -> object | None:
    # By its own tables: `get_option` warns of options that are deprecated, touched or not.
    config = sys.modules["pandas._config.config"]
    present = {}
    for name in config._registered_options:
        value: Any = config._global_config
        for part in name.split("."):
            value = value[part]
        present[name] = value
    fresh = {name: option.defval for name, option in config._registered_options.items()}
    return _differing(present, fresh)


def _give_pandas(value: Any) -> None:
    import warnings

    pandas = sys.modules["pandas"]
    with warnings.catch_warnings():
        # The user has seen it where the option was set.
        warnings.simplefilter("ignore")
        for name, given in value.items():
            pandas.set_option(name, given)


# ---- matplotlib

# Set by the backend when it starts, in a job as in a notebook.
_BACKEND = ("backend", "backend_fallback", "interactive")
_CYCLE = "axes.prop_cycle"


def _take_matplotlib() -> object | None:
    matplotlib = sys.modules["matplotlib"]
    # As dicts: reading `backend` by its name would choose one.
    present, fresh = (
        {name: _cycle(value) for name, value in dict.items(params) if name not in _BACKEND}
        for params in (matplotlib.rcParams, matplotlib.rcParamsOrig)
    )
    return _differing(present, fresh)


def _cycle(value: Any) -> Any:
    return value.by_key() if type(value).__name__ == "Cycler" else value


def _give_matplotlib(value: Any) -> None:
    params = sys.modules["matplotlib"].rcParams
    for name, given in value.items():
        params[name] = sys.modules["cycler"].cycler(**given) if name == _CYCLE else given


# ---- polars

# The other options are environment variables, which a job inherits.
_POLARS = {
    **{"set_fmt_float": "mixed", "set_float_precision": None, "set_thousands_separator": ""},
    **{"set_decimal_separator": ".", "set_trim_decimal_zeros": False},
}


def _take_polars() -> object | None:
    state = sys.modules["polars"].Config.state(if_set=True)
    return _differing({name: state[name] for name in _POLARS if name in state}, _POLARS)


def _give_polars(value: Any) -> None:
    for name, given in value.items():
        getattr(sys.modules["polars"].Config, name)(given)


# ---- torch


def _take_torch_random() -> object:
    torch = sys.modules["torch"]
    return {"seed": torch.initial_seed(), "state": bytes(torch.get_rng_state().tolist())}


def _give_torch_random(value: Any) -> None:
    torch = sys.modules["torch"]
    # The seed is for the generators of other devices, which start with it.
    torch.manual_seed(value["seed"])
    torch.set_rng_state(torch.tensor(list(value["state"]), dtype=torch.uint8))


def _take_dtype() -> object | None:
    name = str(sys.modules["torch"].get_default_dtype())
    return name if name != "torch.float32" else None


def _give_dtype(value: Any) -> None:
    torch = sys.modules["torch"]
    torch.set_default_dtype(getattr(torch, value.removeprefix("torch.")))


SETTINGS = (
    Setting("numpy.random", "numpy.random", _take_numpy_random, _give_numpy_random, generator=True),
    Setting("numpy print options", "numpy", _take_print, _give_print),
    Setting("numpy errors", "numpy", _take_errors, _give_errors),
    Setting("pandas", "pandas", _take_pandas, _give_pandas),
    Setting("matplotlib", "matplotlib", _take_matplotlib, _give_matplotlib),
    Setting("polars", "polars", _take_polars, _give_polars),
    Setting("torch", "torch", _take_torch_random, _give_torch_random, generator=True),
    Setting("torch default dtype", "torch", _take_dtype, _give_dtype),
)
