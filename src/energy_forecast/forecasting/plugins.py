"""Models that other packages bring: asked as ours are, and checked, so that a fault of theirs is told as theirs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.errors import ArtifactError, ModelFaultError, NotEnoughDataError, describe
from energy_forecast.forecasting.data.history import timestamps
from energy_forecast.forecasting.models.protocol import Model, Say
from energy_forecast.forecasting.types import QUANTILE_COLUMNS, City, Explaining, FittedModel, Forecast, Repeating

_COLUMNS = ("predicted", *QUANTILE_COLUMNS)


@contextmanager
def _blamed(source: str, doing: str) -> Iterator[None]:
    """Turn any exception inside into a fault of `source`, also SystemExit, but for those that the contract names."""
    try:
        yield
    except (KeyboardInterrupt, NotEnoughDataError, ArtifactError):
        raise
    except BaseException as error:
        raise ModelFaultError(
            f"{source} failed in {doing}: {describe(error)}", hint="Fix or uninstall that package."
        ) from error


@dataclass(frozen=True)
class BroughtModel:
    """A Model of another package. source: its name, and where it comes from."""

    model: Model
    source: str

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def kind(self) -> str:
        return self.model.kind

    def fit(
        self,
        city: City,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        *,
        at: datetime,
        seed: int = 0,
        progress: Say | None = None,
    ) -> BroughtFit:
        """See Model.fit. Raises ModelFaultError too."""
        with _blamed(self.source, "fit"):
            fitted = self.model.fit(city, load, weather, at=at, seed=seed, progress=progress)
            text = json.dumps(fitted.parameters, allow_nan=False)
            if "\\u0000" in text:
                raise ValueError("parameters hold a NUL character")
            return BroughtFit(fitted, self.source, fitted.name, json.loads(text), fitted.history_days)

    def load(self, data: bytes) -> BroughtFit:
        """See Model.load. Raises ModelFaultError too."""
        with _blamed(self.source, "load"):
            fitted = self.model.load(data)
            return BroughtFit(fitted, self.source, fitted.name, fitted.parameters, fitted.history_days)


@dataclass(frozen=True)
class BroughtFit:
    """A FittedModel of another package, whose forecasts are looked at before they are taken."""

    fitted: FittedModel
    source: str
    name: str
    parameters: dict[str, Any]
    history_days: int

    def forecast(
        self,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        weather_ahead: pl.DataFrame,
        *,
        issued_at: datetime,
        horizon_hours: int,
    ) -> Forecast:
        """See FittedModel.forecast. Raises ModelFaultError too."""
        with _blamed(self.source, "forecast"):
            made = self.fitted.forecast(load, weather, weather_ahead, issued_at=issued_at, horizon_hours=horizon_hours)
            begin = math.ceil(issued_at.astimezone(UTC).timestamp() / 3600)
            fault = _fault(made, timestamps(np.arange(begin, begin + horizon_hours, dtype=np.int64)))
        if fault is not None:
            raise ModelFaultError(
                f"{self.source} made a forecast that is none: {fault}.", hint="See docs/howto/own-model.md."
            )
        return made

    def drivers(
        self,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        weather_ahead: pl.DataFrame,
        *,
        issued_at: datetime,
        horizon_hours: int,
    ) -> pl.DataFrame | None:
        """See Explaining.drivers. Raises ModelFaultError too."""
        if not isinstance(self.fitted, Explaining):
            return None
        with _blamed(self.source, "drivers"):
            return self.fitted.drivers(load, weather, weather_ahead, issued_at=issued_at, horizon_hours=horizon_hours)

    def repeats(
        self,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        weather_ahead: pl.DataFrame,
        *,
        issued_at: datetime,
        horizon_hours: int,
    ) -> pl.DataFrame | None:
        """See Repeating.repeats. Raises ModelFaultError too."""
        if not isinstance(self.fitted, Repeating):
            return None
        with _blamed(self.source, "repeats"):
            return self.fitted.repeats(load, weather, weather_ahead, issued_at=issued_at, horizon_hours=horizon_hours)

    def save(self) -> bytes:
        """See FittedModel.save. Raises ModelFaultError too."""
        with _blamed(self.source, "save"):
            return bytes(memoryview(self.fitted.save()))


def _fault(made: Forecast, hours: pl.Series) -> str | None:
    """What of the contract a forecast of these hours breaks; None where it keeps all of it."""
    frame = made.frame
    lacking = [name for name in ("timestamp", *_COLUMNS) if name not in frame.columns]
    if lacking:
        return f"the frame has no column {', '.join(lacking)}"
    for name, own in (("frame", frame), ("features", made.features)):
        if own["timestamp"].dtype != hours.dtype or own["timestamp"].to_list() != hours.to_list():
            return f"the timestamps of {name} are not the {len(hours)} hours that were asked for, in order, in UTC"
    values = frame.select(pl.col(_COLUMNS).cast(pl.Float64)).to_numpy()
    if not np.isfinite(values).all():
        return "a value is null, NaN or infinite"
    if (values < 0).any():
        return "a value is negative"
    if (np.diff(values[:, 1:], axis=1) < 0).any():
        return "the quantiles of an hour are not in order"
    return None
