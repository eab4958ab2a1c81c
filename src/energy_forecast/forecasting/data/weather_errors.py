"""Errors of weather forecasts by lead time: the model, its estimation, and simulated weather forecasts.

An error is random in time and in space. Along the lead time, 60 % of its variance decays with 8 h and 40 % with 48 h.
Between two cities it decays with 600 km. It has no bias. Columns are independent of each other, and so are issues.

Rain is multiplied by a factor: a simulated forecast has rain in the hours with observed rain only.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.errors import EnergyForecastError
from energy_forecast.forecasting.data.history import WEATHER_COLUMNS, hour_number, hour_numbers
from energy_forecast.forecasting.serialization import Stored
from energy_forecast.forecasting.types import Floats, Ints
from energy_forecast.weather_ranges import WEATHER_RANGES

# The fewest days with issues from which the errors of a city are estimated, and the days that the default counts for
FEWEST_DAYS = 14
_PRIOR_DAYS = 30
# Shares of the variance, and the hours in which their correlation falls by a factor e
_SHARES = (0.6, 0.4)
_DECAY_HOURS = (8.0, 48.0)
_DECAY_KM = 600.0
_EARTH_KM = 6371.0
# With these waves, the correlation of 4,000 pairs of cities was 0.045 (root mean square) from that of the decay
_WAVES = 128
_WAVES_SEED = 6
# Rain below this is not compared; the largest logarithm of a factor
_LEAST_MM = 0.1
_LARGEST_LOG = math.log(10.0)


@dataclass(frozen=True)
class WeatherErrors(Stored):
    """Root mean square errors of weather forecasts by lead time, linear between the given lead times.

    leads: hours, ascending. The first and the last error also apply before and after them.
    rmse: by weather column, one error for each lead time: degrees Celsius, points of humidity, m/s; for precipitation
        the standard deviation of the natural logarithm of the factor. Columns that the service does not give are
        absent.
    """

    leads: tuple[float, ...]
    rmse: dict[str, tuple[float, ...]]

    @property
    def columns(self) -> tuple[str, ...]:
        """The weather columns of the service."""
        return tuple(self.rmse)

    def at(self, column: str, leads: Any) -> Floats:
        """Return the error of a column at a lead time in hours, or at an array of them."""
        return np.asarray(np.interp(leads, self.leads, self.rmse[column]), float)

    def only(self, columns: Sequence[str]) -> WeatherErrors:
        """Return the errors of a service that gives only these columns.

        Raises:
            EnergyForecastError: a column has no error.
        """
        for name in columns:
            if name not in self.rmse:
                raise EnergyForecastError(
                    f"The weather errors have no column {name!r}.", hint=f"Columns: {', '.join(self.rmse)}."
                )
        return WeatherErrors(self.leads, {name: values for name, values in self.rmse.items() if name in columns})

    def settings(self) -> dict[str, list[float]]:
        """Return the model as plain JSON: the columns of the file."""
        return {"lead_hours": list(self.leads)} | {name: list(values) for name, values in self.rmse.items()}

    def to_csv(self) -> str:
        """Return the model as the text of a file that `read_weather_errors` reads."""
        columns = self.settings()
        lines = [",".join(columns)]
        lines += [",".join(f"{value:g}" for value in row) for row in zip(*columns.values(), strict=True)]
        return "\n".join(lines) + "\n"


# Assumptions in the range of published verifications of global weather models; not a measurement of ours
DEFAULT_WEATHER_ERRORS = WeatherErrors(
    leads=(0.0, 24.0, 48.0, 72.0, 96.0, 120.0, 144.0, 168.0),
    rmse={
        "temperature": (1.2, 1.7, 2.0, 2.3, 2.7, 3.1, 3.5, 3.9),
        "humidity": (8.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0),
        "wind_speed": (1.2, 1.5, 1.6, 1.8, 2.0, 2.2, 2.4, 2.5),
        "precipitation": (0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.15, 1.2),
    },
)


def read_weather_errors(lines: Iterable[str], source: str) -> WeatherErrors:
    """Return the model in the lines of a CSV file with a header: lead_hours, temperature and optional columns.

    Args:
        source: name of the file, for messages.

    Raises:
        EnergyForecastError: the file is not valid. The message has the line.
    """
    hint = f"Columns: lead_hours, temperature; optional: {', '.join(WEATHER_COLUMNS[1:])}. Comma-separated."
    rows = _rows(lines, source)
    _, first = next(rows, (1, []))
    header = [name.strip().lower() for name in first]
    unknown = [name for name in header if name not in ("lead_hours", *WEATHER_COLUMNS)]
    if unknown or len(set(header)) < len(header) or not {"lead_hours", "temperature"} <= set(header):
        given = ", ".join(header) or "no line"
        raise EnergyForecastError(f"{source}, line 1: the header is not one of weather errors: {given}.", hint=hint)
    values: list[list[float]] = []
    for line, row in rows:
        if not any(field.strip() for field in row):
            continue
        where = f"{source}, line {line}:"
        if len(row) != len(header):
            raise EnergyForecastError(f"{where} {len(row)} values for {len(header)} columns.", hint=hint)
        values.append([_number(where, name, text) for name, text in zip(header, row, strict=True)])
        lead = header.index("lead_hours")
        if len(values) > 1 and values[-1][lead] <= values[-2][lead]:
            raise EnergyForecastError(
                f"{where} lead_hours {values[-1][lead]:g} is not later than {values[-2][lead]:g}.",
                hint="Sort the lines by lead_hours.",
            )
    if not values:
        raise EnergyForecastError(f"{source} has no weather errors.", hint="Write a line for each lead time.")
    columns = dict(zip(header, (tuple(column) for column in zip(*values, strict=True)), strict=True))
    return WeatherErrors(columns["lead_hours"], {name: columns[name] for name in WEATHER_COLUMNS if name in columns})


def _rows(lines: Iterable[str], source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of each line."""
    rows = csv.reader(lines)
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise EnergyForecastError(
            f"{source}, line {rows.line_num}: {error}.", hint="Choose a CSV file of weather errors."
        ) from error


def _number(where: str, name: str, text: str) -> float:
    low, high = WEATHER_RANGES.get(name, (0.0, 1000.0))
    # An error is not larger than the range of the values; a factor of rain not above e to the power 3
    most = 3.0 if name == "precipitation" else float(high - low)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise EnergyForecastError(
            f"{where} {name} is {text.strip()!r}.", hint=f"Use a number from 0 to {most:g} with a decimal point."
        )
    return value


def error_paths(
    errors: WeatherErrors, *, latitude: float, longitude: float, issues: Ints, hours: int, seed: int = 0
) -> dict[str, Floats]:
    """Return simulated errors of n weather forecasts by column, [n, hours]; [i, j] is of the lead time of j hours.

    They are added to the observed weather; those of precipitation are factors with a mean of one. The error of a column
    depends only on the seed, the issue and the place: neither on the other columns, issues and cities, nor on `hours`.

    Args:
        latitude, longitude: degrees.
        issues: hour numbers of the issue times, [n].
    """
    wave = _waves_at(latitude, longitude)
    leads = np.arange(hours, dtype=float)
    paths = {}
    for name in errors.columns:
        column = WEATHER_COLUMNS.index(name)
        noise = np.empty((len(issues), hours, len(_SHARES)))
        for number, issue in enumerate(issues):
            bits = np.random.PCG64(np.random.SeedSequence([seed, int(issue), column]))
            drawn = np.random.Generator(bits).standard_normal((hours, len(_SHARES), len(wave)))
            # No matrix product, whose last bits may depend on the number of hours
            noise[number] = (drawn * wave).sum(axis=-1)
        paths[name] = _as_errors(name, _correlated(noise), errors.at(name, leads))
    return paths


def _as_errors(name: str, path: Floats, scale: Floats) -> Floats:
    """Return errors of the given scale from paths with a variance of one; for precipitation factors around one."""
    path = scale * path
    return np.exp(path - scale**2 / 2) if name == "precipitation" else path


def independent_paths(errors: WeatherErrors, *, count: int, hours: int, seed: int) -> dict[str, Floats]:
    """Return simulated errors of weather forecasts at one place by column, [count, hours]; see `error_paths`.

    They take a thousandth of the time of `error_paths`, since no other place has to be consistent with them.
    """
    leads = np.arange(hours, dtype=float)
    paths = {}
    for name in errors.columns:
        bits = np.random.PCG64(np.random.SeedSequence([seed, WEATHER_COLUMNS.index(name)]))
        noise = np.random.Generator(bits).standard_normal((count, hours, len(_SHARES)))
        paths[name] = _as_errors(name, _correlated(noise), errors.at(name, leads))
    return paths


def simulate_forecast(
    observed: pl.DataFrame,
    errors: WeatherErrors,
    *,
    latitude: float,
    longitude: float,
    issued_at: datetime,
    seed: int = 0,
) -> pl.DataFrame:
    """Return a weather forecast that is issued at `issued_at`: observed weather plus simulated errors.

    Its values are clipped to the physical range and rounded to hundredths, as the tables store them.

    Args:
        observed: timestamp and weather columns, hourly. Earlier hours than that of the issue are dropped.

    Returns:
        the columns of `observed`; those without errors are null.
    """
    issue = hour_number(issued_at)
    rows = observed.filter(hour_numbers(observed["timestamp"]) >= issue)
    if rows.is_empty():
        return rows
    leads = hour_numbers(rows["timestamp"]) - issue
    paths = error_paths(
        errors,
        latitude=latitude,
        longitude=longitude,
        issues=np.array([issue]),
        hours=int(leads.max()) + 1,
        seed=seed,
    )
    columns = {}
    for name in rows.columns[1:]:
        values = rows[name].to_numpy().astype(float)
        if name in paths:
            error = paths[name][0, leads]
            forecast = values * error if name == "precipitation" else values + error
            columns[name] = np.round(np.clip(forecast, *WEATHER_RANGES[name]), 2)
        else:
            columns[name] = np.full(len(values), np.nan)
    return rows.with_columns(pl.Series(name, values, nan_to_null=True) for name, values in columns.items())


def estimate_weather_errors(forecasts: pl.DataFrame, observed: pl.DataFrame) -> WeatherErrors | None:
    """Return the errors of the weather forecasts of a city; None with less than `FEWEST_DAYS` days of issues.

    The mean square error at each lead time of the default is taken from the nearby lead times. It is shrunk towards
    that of all lead times, and this one towards the default, which counts for 30 days. Bias is part of the error.

    Args:
        forecasts: issued_at, timestamp and weather columns.
        observed: timestamp and weather columns.
    """
    pairs = forecasts.join(observed, on="timestamp", how="inner", suffix="_observed")
    lead = pairs.select(_hours_between("issued_at", "timestamp")).to_series().to_numpy()
    default = DEFAULT_WEATHER_ERRORS
    day = pairs["issued_at"].dt.epoch("d").to_numpy()
    found: dict[str, tuple[float, ...]] = {}
    for name in WEATHER_COLUMNS:
        if name not in forecasts.columns or pairs[name].null_count() == pairs.height:
            continue
        true = pairs[f"{name}_observed"] if name in observed.columns else pl.repeat(None, pairs.height, eager=True)
        error = _errors(name, pairs[name], true)
        known = np.isfinite(error) & (lead >= 0) & (lead <= default.leads[-1])
        if name == "temperature" and len(np.unique(day[known])) < FEWEST_DAYS:
            return None
        square = (error[known] / default.at(name, lead[known])) ** 2
        ratio = _shrunken(square, lead[known], day[known], np.asarray(default.leads))
        found[name] = tuple(np.round(np.asarray(default.rmse[name]) * np.sqrt(ratio), 4).tolist())
    return WeatherErrors(default.leads, found) if found else None


def _errors(name: str, forecast: pl.Series, observed: pl.Series) -> Floats:
    """Return the errors, NaN if unknown: differences, or logarithms of the factor if both values are rain."""
    expected, true = (series.to_numpy().astype(float) for series in (forecast, observed))
    if name != "precipitation":
        return np.asarray(expected - true, float)
    rain = (expected >= _LEAST_MM) & (true >= _LEAST_MM)
    ratio = np.divide(expected, true, out=np.full(len(true), np.nan), where=rain)
    return np.asarray(np.clip(np.log(ratio), -_LARGEST_LOG, _LARGEST_LOG), float)


def _shrunken(square: Floats, lead: Floats, day: Ints, knots: Floats) -> Floats:
    """Return the mean square of relative errors at each knot, shrunk by the number of days."""

    def shrink(days: Any, mean: Any, prior: Any) -> Any:
        return (days * mean + _PRIOR_DAYS * prior) / (days + _PRIOR_DAYS)

    if not len(square):
        return np.ones(len(knots))
    overall = shrink(len(np.unique(day)), square.mean(), 1.0)
    ratio = np.full(len(knots), overall)
    for knot, hat in enumerate(np.eye(len(knots))):
        weight = np.interp(lead, knots, hat)
        if (near := weight > 0).any():
            ratio[knot] = shrink(len(np.unique(day[near])), np.average(square, weights=weight), overall)
    return ratio


def _hours_between(first: str, last: str) -> pl.Expr:
    return (pl.col(last) - pl.col(first)).dt.total_seconds() / 3600


def _correlated(noise: Floats) -> Floats:
    """Return paths with a variance of one from independent noise, [n, hours, parts of the variance]."""
    decay = np.exp(-1 / np.asarray(_DECAY_HOURS))
    step = np.sqrt(1 - decay**2)
    state = noise.copy()
    for hour in range(1, noise.shape[1]):
        state[:, hour] = decay * state[:, hour - 1] + step * noise[:, hour]
    return np.asarray((np.sqrt(_SHARES) * state).sum(axis=-1), float)


@cache
def _waves() -> Floats:
    """Return wave vectors in 1/km, [waves, 3], whose waves have the correlation exp(-distance / 600 km)."""
    drawn = np.random.Generator(np.random.PCG64(_WAVES_SEED)).standard_normal((_WAVES, 4))
    # A Cauchy distribution in space is the spectrum of an exponential decay
    return np.asarray(drawn[:, :3] / np.abs(drawn[:, 3:]) / _DECAY_KM, float)


def _waves_at(latitude: float, longitude: float) -> Floats:
    """Return the waves at a place, [2 * waves], with a sum of squares of one: a field at several places is their sum.

    The distance is the chord through the earth, which has no seam at the date line.
    """
    lat, lon = math.radians(latitude), math.radians(longitude)
    place = _EARTH_KM * np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])
    phase = (_waves() * place).sum(axis=1)
    return np.concatenate([np.cos(phase), np.sin(phase)]) / math.sqrt(_WAVES)
