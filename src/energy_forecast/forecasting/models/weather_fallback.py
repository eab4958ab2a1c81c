"""Fallback by hour from a variant with weather to a variant without weather.

A fitted model holds one or three variants. One for weather forecasts and one for observed weather, which a backtest may
use, forecast the hours whose temperature is known; the variant without weather forecasts all others. It always exists,
since weather forecasts may be missing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.errors import ArtifactError, NotEnoughDataError
from energy_forecast.forecasting.blas import one_blas_thread
from energy_forecast.forecasting.data.history import WEATHER_COLUMNS, build_history, timestamps
from energy_forecast.forecasting.data.weather_errors import DEFAULT_WEATHER_ERRORS, WeatherErrors
from energy_forecast.forecasting.explain.contributions import WEATHER_BEFORE
from energy_forecast.forecasting.features.expected_load import feature_digest
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.features.special_days import SpecialDays
from energy_forecast.forecasting.models.training_set import prepare_history
from energy_forecast.forecasting.serialization import Stored, from_bytes, to_bytes
from energy_forecast.forecasting.types import (
    QUANTILE_COLUMNS,
    STALE_HOURS,
    City,
    FittedForecaster,
    Flags,
    Floats,
    Forecast,
    ForecastInput,
    TrainingInput,
)
from energy_forecast.time_arguments import LONGEST_HORIZON_HOURS

# Variants for weather forecasts, for observed weather of the target hours (a backtest), and without weather
FORECAST_WEATHER, OBSERVED_WEATHER, WITHOUT_WEATHER = "forecast_weather", "observed_weather", "without_weather"
VARIANTS = (FORECAST_WEATHER, OBSERVED_WEATHER, WITHOUT_WEATHER)
# Key of the parameter that explains why a model does not use the available weather
WEATHER_NOT_USED = "weather_not_used"
# After the end of the weather: ratio of so many last hours, and the hours in which it fades by a factor e. On 2022 the
# error of the first six hours after the end fell from 5.2 to 3.3 % in Chicago and from 8.3 to 6.1 % in Baltimore
_FADING = ((3, 3.0), (12, 48.0))
_LARGEST_RATIO = 2.0


@dataclass(frozen=True)
class VariantPrediction:
    """The prediction of one variant for its n hours, kWh.

    predicted: [n]. quantiles: [n, len(QUANTILE_COLUMNS)], in any order.
    """

    predicted: Floats
    quantiles: Floats


class Variant(Stored, ABC):
    """A fitted regressor or ensemble with its intervals, with weather or without; a frozen dataclass.

    Methods get the samples of ALL hours of the forecast, and a flag for each that the variant has to forecast.
    """

    @property
    @abstractmethod
    def weather(self) -> bool:
        """Return whether it uses weather."""

    @abstractmethod
    def predict(self, samples: Samples, where: Flags) -> VariantPrediction:
        """Return the prediction for the flagged hours."""

    def contributions(self, samples: Samples, where: Flags) -> pl.DataFrame | None:  # noqa: ARG002
        """Return the contributions to the flagged hours, None if they are not available."""
        return None

    def repeated_hours(self, samples: Samples, where: Flags) -> pl.DataFrame | None:  # noqa: ARG002
        """Return the hours that are repeated, None if the model does more than repeat."""
        return None

    @abstractmethod
    def notes(self, model: str, facts: dict[str, Any]) -> list[str]:
        """Return warnings about the quality of the model with this name, from the facts of its fit."""


@dataclass(frozen=True)
class WeatherFallbackForecaster(Stored, FittedForecaster):
    """A FittedForecaster with one or three variants.

    variants: WITHOUT_WEATHER; FORECAST_WEATHER and OBSERVED_WEATHER if there was enough weather to train them.
    weather_errors: the errors of weather forecasts that the variant for them was trained with. It uses these columns.
    fitted_until: the hour number up to which load was known at the time of the fit.
    special_days: the effects of holidays and similar days on the load, by name.
    features: the digest of the names of all features.
    """

    features: str
    name: str
    city: City
    variants: Mapping[str, Variant]
    weather_errors: WeatherErrors
    fitted_until: int
    special_days: SpecialDays
    parameters: dict[str, Any]
    history_days: int

    @one_blas_thread
    def predict(self, data: ForecastInput) -> Forecast:
        """Return the forecast; see FittedForecaster.predict."""
        samples, use_weather = self._samples(data)
        targets, hours = samples.targets, data.horizon_hours
        predicted = np.empty(hours)
        quantiles = np.empty((hours, len(QUANTILE_COLUMNS)))
        for variant, where in self._parts(data, use_weather):
            own = variant.predict(samples, where)
            predicted[where], quantiles[where] = own.predicted, own.quantiles
        factor = self._fading(samples, use_weather, predicted)
        predicted, quantiles = predicted * factor, quantiles * factor[:, None]
        predicted = np.maximum(predicted, 0.0)
        quantiles = np.maximum(np.sort(quantiles, axis=1), 0.0)
        frame = pl.DataFrame(
            [
                timestamps(targets),
                pl.Series("predicted", predicted),
                *(pl.Series(name, quantiles[:, i]) for i, name in enumerate(QUANTILE_COLUMNS)),
            ]
        )
        history = samples.view.history
        imputed = {name: int((flags[samples.position] & use_weather).sum()) for name, flags in history.imputed.items()}
        imputed = {name: n for name, n in imputed.items() if n}
        stale = int(targets[0]) - history.known_until
        ends = int(np.flatnonzero(use_weather)[-1]) + 1 if use_weather.any() else hours
        return Forecast(
            frame,
            int(use_weather.sum()),
            self._data_notes(samples.view, stale, use_weather, imputed)
            + self._variant_notes(self._with_weather(data) if use_weather.any() else WITHOUT_WEATHER),
            stale,
            frame["timestamp"][ends] if ends < hours else None,
            imputed,
        )

    @one_blas_thread
    def contributions(self, data: ForecastInput) -> pl.DataFrame | None:
        """Return the contributions of feature groups; see FittedForecaster.contributions."""
        samples, use_weather = self._samples(data)
        found = _concat([one.contributions(samples, where) for one, where in self._parts(data, use_weather)])
        if found is None or use_weather.all() or not use_weather.any():
            return found
        total = found.group_by("timestamp").agg(pl.col("contribution_kwh").sum()).sort("timestamp")
        predicted = total["contribution_kwh"].to_numpy()
        faded = (self._fading(samples, use_weather, predicted) - 1) * predicted
        added = total.with_columns(pl.lit(WEATHER_BEFORE).alias("input_group"), pl.Series("contribution_kwh", faded))
        return pl.concat([found, added.filter(pl.Series(~use_weather))], how="diagonal")

    def _fading(self, samples: Samples, use_weather: Flags, predicted: Floats) -> Floats:
        """Return the `fading_ratio` of a forecast, [n]."""
        if use_weather.all() or not use_weather.any():
            return np.ones(len(predicted))
        without = self.variants[WITHOUT_WEATHER].predict(samples, np.ones(len(predicted), bool)).predicted
        return fading_ratio(predicted, without, use_weather)

    def repeated_hours(self, data: ForecastInput) -> pl.DataFrame | None:
        """Return the hours whose load is repeated; see FittedForecaster.repeated_hours."""
        samples, use_weather = self._samples(data)
        return _concat([one.repeated_hours(samples, where) for one, where in self._parts(data, use_weather)])

    def _samples(self, data: ForecastInput) -> tuple[Samples, Flags]:
        """Return the samples to forecast, and for each whether the variant with weather forecasts it."""
        if not 1 <= data.horizon_hours <= LONGEST_HORIZON_HOURS:
            raise ValueError(f"horizon_hours is {data.horizon_hours}, not 1 to {LONGEST_HORIZON_HOURS}")
        issued_at, days = data.issued_at, self.history_days
        served = WEATHER_COLUMNS if data.weather_is_observed else self.weather_errors.columns
        history = build_history(
            data.load, data.weather, data.weather_ahead, issued_at=issued_at, days=days, served=served
        )
        if not np.isfinite(history.load).any():
            raise NotEnoughDataError(
                f"No usable load of {self.city.name} is known in the {days} days before "
                f"{issued_at:%Y-%m-%d %H:%M} UTC.",
                hint="Ingest the load of these days.",
            )
        begin = math.ceil(issued_at.astimezone(UTC).timestamp() / 3600)
        targets = np.arange(begin, begin + data.horizon_hours, dtype=np.int64)
        origins = np.full(data.horizon_hours, history.known_until, np.int64)
        view = HistoryView(
            self.city, history, self.special_days, None if data.weather_is_observed else self.weather_errors
        )
        samples = Samples(view, origins, targets).with_weather_of_history()
        known = np.isfinite(history.weather["temperature"][samples.position])
        return samples, known & (self._with_weather(data) in self.variants)

    @staticmethod
    def _with_weather(data: ForecastInput) -> str:
        """Return the variant that forecasts the hours with weather."""
        return OBSERVED_WEATHER if data.weather_is_observed else FORECAST_WEATHER

    def _parts(self, data: ForecastInput, use_weather: Flags) -> list[tuple[Variant, Flags]]:
        """Return the variants that forecast any hour, each with its hours."""
        both = ((self._with_weather(data), use_weather), (WITHOUT_WEATHER, ~use_weather))
        return [(self.variants[kind], where) for kind, where in both if where.any()]

    def _data_notes(self, view: HistoryView, stale: int, use_weather: Flags, imputed: Mapping[str, int]) -> list[str]:
        notes = []
        if stale >= STALE_HOURS:
            notes.append(f"The last known load is {stale} hours before the first hour forecast.")
        if FORECAST_WEATHER in self.variants and not use_weather.all():
            n = int((~use_weather).sum())
            notes.append(f"No weather is known for {n} of {len(use_weather)} hours; they are forecast without it.")
        if imputed:
            columns = ", ".join(f"{name.replace('_', ' ')} for {n}" for name, n in imputed.items())
            notes.append(
                f"Of {int(use_weather.sum())} hours with weather, these values are missing and were imputed from the "
                f"hour and the temperature: {columns}."
            )
        faults = view.history.faults
        if faults.count:
            kinds = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in faults.by_kind.items() if n)
            notes.append(
                f"{faults.count} faulty hour{'' if faults.count == 1 else 's'} of recent load left out ({kinds})."
            )
        return notes

    def _variant_notes(self, kind: str) -> list[str]:
        notes = self.variants[kind].notes(self.name, self.parameters[kind])
        if kind == WITHOUT_WEATHER and WEATHER_NOT_USED in self.parameters:
            notes.append(self.parameters[WEATHER_NOT_USED])
        return [" ".join(notes)] if notes else []

    def to_bytes(self) -> bytes:
        """Return the model as bytes; see FittedForecaster.to_bytes."""
        return to_bytes(self)

    def check(self) -> None:
        """Raise ArtifactError if the variants are not those of this version."""
        if self.features != feature_digest():
            raise ArtifactError(
                f"This {self.name} model was trained with other features than this version of the program uses."
            )
        if set(self.variants) not in ({WITHOUT_WEATHER}, set(VARIANTS)):
            raise ArtifactError("The stored model has other variants than this version's models.")
        for kind, variant in self.variants.items():
            if variant.weather == (kind == WITHOUT_WEATHER):
                raise ArtifactError(f"The stored variant {kind!r} does not match its name.")
            self._variant_notes(kind)


def read_forecaster(name: str, data: bytes) -> WeatherFallbackForecaster:
    """Return the model `name` that `to_bytes` wrote as `data`.

    Raises:
        ArtifactError: the bytes are damaged, or belong to another model or version.
    """
    model = from_bytes(WeatherFallbackForecaster, data)
    if model.name != name:
        raise ArtifactError(f"This is a {model.name} model, not {name}.")
    return model


FitVariant = Callable[[HistoryView, bool], tuple[Variant, dict[str, Any]]]


def fit_with_fallback(
    name: str, data: TrainingInput, fit: FitVariant, *, needed_hours: int, uses_weather: bool, history_days: int
) -> WeatherFallbackForecaster:
    """Fit the variants of a model, one after the other: at the same time they would take twice the memory.

    If the variants with weather have too little to train on, they are left out, and a parameter of the model says so.

    Args:
        fit: returns the variant for a history, with weather or without, and its parameters. For forecast weather the
            history has `weather_errors`; this variant is fitted after the one for observed weather.
        needed_hours: the smallest number of hours of load, and of hours with load and temperature for weather.

    Raises:
        NotEnoughDataError: the load is too short.
    """
    view, facts = prepare_history(name, needed_hours, data)
    errors = data.weather_errors or DEFAULT_WEATHER_ERRORS.only(["temperature"])
    with_weather = uses_weather and view.history.has_weather
    if with_weather:
        both = len(view.both_known(weather=True))
        if both < needed_hours:
            with_weather = False
            facts[WEATHER_NOT_USED] = (
                f"Weather is not used: load and temperature are both known for {both} hours, and {needed_hours} are "
                "needed."
            )

    def fit_with_weather() -> dict[str, tuple[Variant, dict[str, Any]]]:
        if not with_weather:
            return {}
        try:
            observed = fit(view, True)
            return {OBSERVED_WEATHER: observed, FORECAST_WEATHER: fit(view.with_forecast_weather(errors), True)}
        except NotEnoughDataError:
            facts[WEATHER_NOT_USED] = "Weather is not used: too few of its hours can be used for training."
            return {}

    without = fit(view, False)
    found = fit_with_weather() | {WITHOUT_WEATHER: without}
    facts |= {kind: own for kind, (_, own) in found.items()}
    if FORECAST_WEATHER in found:
        facts["weather_errors"] = errors.settings()
    return WeatherFallbackForecaster(
        feature_digest(),
        name,
        data.city,
        {kind: variant for kind, (variant, _) in found.items()},
        errors,
        view.history.known_until,
        view.special_days,
        facts,
        history_days,
    )


def fading_ratio(predicted: Floats, without: Floats, use_weather: Flags) -> Floats:
    """Return the factor of each hour [n] that avoids a jump where the weather forecast ends.

    A cold spell does not end with the weather forecast. So the ratio of the last hours with weather to the forecast
    without weather is continued after them, and fades. It is 1 in hours with weather.

    Args:
        predicted: [n], kWh, of the variant that forecasts each hour.
        without: [n], kWh, without weather.
    """
    factor = np.ones(len(predicted))
    hours = np.arange(len(predicted))
    last = np.maximum.accumulate(np.where(use_weather, hours, -1))

    def ratio(end: int, count: int) -> float:
        near = np.arange(max(0, end + 1 - count), end + 1)
        near = near[use_weather[near]]
        usual = without[near].sum()
        found = predicted[near].sum() / usual if usual > 0 else 1.0
        return float(np.clip(found, 1 / _LARGEST_RATIO, _LARGEST_RATIO))

    for end in np.unique(last[(last >= 0) & ~use_weather]):
        after = ~use_weather & (last == end)
        (short, short_fading), (long, long_fading) = (
            (ratio(end, count), np.exp(-(hours[after] - end) / fading)) for count, fading in _FADING
        )
        factor[after] = 1 + (long - 1) * long_fading + (short - long) * short_fading
    return factor


def _concat(frames: Sequence[pl.DataFrame | None]) -> pl.DataFrame | None:
    known = [frame for frame in frames if frame is not None]
    return pl.concat(known) if known else None
