"""The models by name: the platform's own, and those that installed packages bring."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from energy_forecast.errors import UnknownModelError, describe
from energy_forecast.forecasting.conformal.training import Calibrated
from energy_forecast.forecasting.ensemble.model import Ensemble
from energy_forecast.forecasting.models.gradient_boosting import GradientBoosting
from energy_forecast.forecasting.models.linear import Linear
from energy_forecast.forecasting.models.naive import NAIVE_24, NAIVE_168
from energy_forecast.forecasting.models.protocol import Model
from energy_forecast.forecasting.models.tao_vanilla import Vanilla
from energy_forecast.forecasting.plugins import BroughtModel

ENTRY_POINTS = "energy_forecast.models"
_METHODS = (NAIVE_24, NAIVE_168, Vanilla(), Linear(), GradientBoosting())
_OWN: dict[str, Model] = {**{method.name: Calibrated(method) for method in _METHODS}, Ensemble.name: Ensemble()}


def model_names() -> list[str]:
    """The names that `fit` takes: our own, the simplest first, then those of other packages."""
    return [*_OWN, *sorted(_brought())]


def model_by_name(name: str) -> Model:
    """The model of this name. Raises UnknownModelError when there is none, or when it cannot be loaded."""
    if name in _OWN:
        return _OWN[name]
    entry = _brought().get(name)
    if entry is None:
        raise UnknownModelError(f"There is no model {name!r}.", hint=f"There are {', '.join(model_names())}.")
    return _loaded(entry)


def _brought() -> dict[str, EntryPoint]:
    # Ours come first: installing a package must not change what a name meant yesterday
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS) if entry.name not in _OWN}


@lru_cache
def _loaded(entry: EntryPoint) -> Model:
    try:
        found: Any = entry.load()
        model = found() if isinstance(found, type) else found
        fits = isinstance(model, Model) and model.name == entry.name
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise UnknownModelError(
            f"The model {entry.name!r} cannot be loaded from {entry.value}: {describe(error)}",
            hint="Fix or uninstall the package that brings it.",
        ) from error
    if not fits:
        raise UnknownModelError(
            f"{entry.value} is not a model of the name {entry.name!r}.",
            hint="It needs name, kind, fit and load: see docs/howto/own-model.md.",
        )
    package = "" if entry.dist is None else f" of the package {entry.dist.name}"
    return BroughtModel(model, f"The model {entry.name!r}{package}")
