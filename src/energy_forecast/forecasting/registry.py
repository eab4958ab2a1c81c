"""Registry of models by name: built-in models, and plugins of installed packages."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from energy_forecast.errors import UnknownModelError, describe
from energy_forecast.forecasting.conformal.training import ConformalForecaster
from energy_forecast.forecasting.ensemble.training import Ensemble
from energy_forecast.forecasting.models.gradient_boosting import GradientBoosting
from energy_forecast.forecasting.models.linear import Linear
from energy_forecast.forecasting.models.naive import NAIVE_24, NAIVE_168
from energy_forecast.forecasting.models.tao_vanilla import TaoVanilla
from energy_forecast.forecasting.plugins import PluginModel
from energy_forecast.forecasting.types import Forecaster

ENTRY_POINTS = "energy_forecast.models"
_REGRESSORS = (NAIVE_24, NAIVE_168, TaoVanilla(), Linear(), GradientBoosting())
_MODELS: tuple[Forecaster, ...] = (*map(ConformalForecaster, _REGRESSORS), Ensemble())
_BUILT_IN = {model.name: model for model in _MODELS}


def model_names() -> list[str]:
    """Return the names that `fit` accepts: built-in models, the simplest first, then plugins.

    Examples:
        >>> model_names()[:3]
        ['naive-24', 'naive-168', 'vanilla']
    """
    return [*_BUILT_IN, *sorted(_plugins())]


def model_by_name(name: str) -> Forecaster:
    """Return the model of a name.

    Args:
        name: one of `model_names()`.

    Raises:
        UnknownModelError: no model has this name, or its package cannot be imported.

    Examples:
        >>> model_by_name("linear").kind
        'regression'
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    entry = _plugins().get(name)
    if entry is None:
        raise UnknownModelError(f"Model {name!r} not found.", hint=f"Available models: {', '.join(model_names())}.")
    return _loaded(entry)


def own_model(model: Forecaster) -> Forecaster:
    """Return a model that is not registered.

    Raises:
        UnknownModelError: a built-in model of another type has its name, and would read its artifacts.
    """
    if model.name in _BUILT_IN and type(model) is not type(_BUILT_IN[model.name]):
        raise UnknownModelError(f"The name {model.name!r} belongs to a built-in model.", hint="Use another `name`.")
    return model


def _plugins() -> dict[str, EntryPoint]:
    # Built-in models take precedence: installing a package must not change the meaning of a name
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS) if entry.name not in _BUILT_IN}


@lru_cache
def _loaded(entry: EntryPoint) -> Forecaster:
    try:
        found: Any = entry.load()
        model = found() if isinstance(found, type) else found
        is_valid = isinstance(model, Forecaster) and model.name == entry.name
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise UnknownModelError(
            f"The model {entry.name!r} cannot be imported from {entry.value}: {describe(error)}",
            hint="Fix or uninstall the package that provides it.",
        ) from error
    if not is_valid:
        raise UnknownModelError(
            f"{entry.value} is not a model with the name {entry.name!r}.",
            hint="It must be a Forecaster: see docs/howto/own-model.md.",
        )
    package = "" if entry.dist is None else f" of the package {entry.dist.name}"
    return PluginModel(model, f"The model {entry.name!r}{package}")
