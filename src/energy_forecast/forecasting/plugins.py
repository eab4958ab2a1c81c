"""Third-party models. Wraps a plugin so that its errors are reported under the plugin's name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.errors import ArtifactError, ModelFaultError, NotEnoughDataError, describe
from energy_forecast.forecasting.data.history import timestamps
from energy_forecast.forecasting.types import (
    QUANTILE_COLUMNS,
    FittedForecaster,
    Forecast,
    Forecaster,
    ForecastInput,
    TrainingInput,
)

_COLUMNS = ("predicted", *QUANTILE_COLUMNS)


@contextmanager
def plugin_errors(source: str, doing: str) -> Iterator[None]:
    """Turn any exception inside into a ModelFaultError of `source`, SystemExit too.

    KeyboardInterrupt and the errors that the protocol allows pass through.
    """
    try:
        yield
    except (KeyboardInterrupt, NotEnoughDataError, ArtifactError):
        raise
    except BaseException as error:
        raise ModelFaultError(
            f"{source} failed in {doing}: {describe(error)}", hint="Fix or uninstall that package."
        ) from error


class PluginModel(Forecaster):
    """A Forecaster of another package. source: its name and its package, for messages."""

    def __init__(self, model: Forecaster, source: str) -> None:
        self.model, self.source = model, source
        self.name, self.kind = model.name, model.kind

    def fit(self, data: TrainingInput) -> PluginForecaster:
        """Fit the plugin; see Forecaster.fit. Raises ModelFaultError too."""
        with plugin_errors(self.source, "fit"):
            fitted = _checked(self.model.fit(data))
            text = json.dumps(fitted.parameters, allow_nan=False)
            if "\\u0000" in text:
                raise ValueError("parameters hold a NUL character")
            return PluginForecaster(fitted, self.source, fitted.name, json.loads(text), fitted.history_days)

    def from_bytes(self, data: bytes) -> PluginForecaster:
        """Read a fitted plugin; see Forecaster.from_bytes. Raises ModelFaultError too."""
        with plugin_errors(self.source, "from_bytes"):
            fitted = _checked(self.model.from_bytes(data))
            return PluginForecaster(fitted, self.source, fitted.name, fitted.parameters, fitted.history_days)


def _checked(fitted: object) -> FittedForecaster:
    if not isinstance(fitted, FittedForecaster):
        raise TypeError(f"it returned a {type(fitted).__name__}, not a FittedForecaster")
    return fitted


@dataclass(frozen=True)
class PluginForecaster(FittedForecaster):
    """A FittedForecaster of another package, whose forecasts are checked before they are used."""

    fitted: FittedForecaster
    source: str
    name: str
    parameters: dict[str, Any]
    history_days: int

    def predict(self, data: ForecastInput) -> Forecast:
        """Return the checked forecast; see FittedForecaster.predict. Raises ModelFaultError too."""
        with plugin_errors(self.source, "predict"):
            made = self.fitted.predict(data)
            begin = math.ceil(data.issued_at.astimezone(UTC).timestamp() / 3600)
            fault = _fault(made, timestamps(np.arange(begin, begin + data.horizon_hours, dtype=np.int64)))
        if fault is not None:
            raise ModelFaultError(
                f"{self.source} returned an invalid forecast: {fault}.", hint="See docs/howto/own-model.md."
            )
        return made

    def contributions(self, data: ForecastInput) -> pl.DataFrame | None:
        """Return the plugin's contributions. Raises ModelFaultError too."""
        with plugin_errors(self.source, "contributions"):
            return self.fitted.contributions(data)

    def repeated_hours(self, data: ForecastInput) -> pl.DataFrame | None:
        """Return the hours that the plugin repeats. Raises ModelFaultError too."""
        with plugin_errors(self.source, "repeated_hours"):
            return self.fitted.repeated_hours(data)

    def to_bytes(self) -> bytes:
        """Return the plugin as bytes; see FittedForecaster.to_bytes. Raises ModelFaultError too."""
        with plugin_errors(self.source, "to_bytes"):
            return bytes(memoryview(self.fitted.to_bytes()))


def _fault(made: Forecast, hours: pl.Series) -> str | None:
    """Return the first rule that a forecast of these hours breaks, None if it breaks none."""
    frame = made.frame
    missing = [name for name in ("timestamp", *_COLUMNS) if name not in frame.columns]
    if missing:
        return f"the frame has no column {', '.join(missing)}"
    if frame["timestamp"].dtype != hours.dtype or frame["timestamp"].to_list() != hours.to_list():
        return f"the timestamps are not the {len(hours)} requested hours, in order, in UTC"
    values = frame.select(pl.col(_COLUMNS).cast(pl.Float64)).to_numpy()
    if not np.isfinite(values).all():
        return "a value is null, NaN or infinite"
    if (values < 0).any():
        return "a value is negative"
    if (np.diff(values[:, 1:], axis=1) < 0).any():
        return "the quantiles of an hour are not in order"
    for name in ("weather_hours", "stale_hours"):
        count = getattr(made, name)
        if not isinstance(count, int) or count < 0:
            return f"{name} is {count!r}, not a number of hours (int)"
    if not isinstance(made.notes, list) or not all(isinstance(note, str) for note in made.notes):
        return "notes is not a list of texts"
    return None
