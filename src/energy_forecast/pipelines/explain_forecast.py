"""Explain an issued forecast by its inputs, read again as they were known at the issue time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from energy_forecast import zones
from energy_forecast.database import forecasts as stored_forecasts
from energy_forecast.database.cities import StoredCity, city_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.models import artifact_of
from energy_forecast.errors import EnergyForecastError, NotEnoughDataError
from energy_forecast.forecasting import QUANTILE_COLUMNS, FittedForecaster, load_model
from energy_forecast.forecasting.explain.report import Explanation, explain
from energy_forecast.pipelines.as_of import AsOfData, actual_load, forecasting_city, read_as_of
from energy_forecast.pipelines.assumptions import Assumptions
from energy_forecast.pipelines.fallback import WITHOUT_WEATHER
from energy_forecast.pipelines.train import check_models
from energy_forecast.pipelines.weather_share import SAME_KWH, ExplainedError, explain_error, share_of_run
from energy_forecast.progress import Progress, silent

# Quantiles are stored in single precision
_SINGLE_PRECISION = 2e-7
ISSUED_PURPOSES = ("live", "replay")


@dataclass(frozen=True)
class ForecastExplanation:
    """Explanation of one local day of a stored forecast. Energies are kWh in the hour.

    run: id, model, version, purpose, issued_at, horizon, weather.
    fallback: the fallback level, as FallbackLevel.as_dict; None if the run stores none (a backtest).
    weather_left_out: whether weather of these hours was recorded after the issue, and therefore left out.
    late_hours: number of hours of load before the issue that were recorded or corrected after it, and left out.
    forecast: timestamp, predicted, q05 .. q95, actual (null if not yet known): all hours, as stored.
    differing_hours: number of hours in which the recomputed forecast differs by more than 0.01 kWh and the precision
        of the storage. It is above zero if the program has changed, or if data or model were changed from outside.
    history: timestamp, consumption_kwh of the ten days before the issue.
    error: the error of the hours with actuals and the part of the weather in it; None without actuals.
    """

    city: StoredCity
    run: dict[str, Any]
    fallback: dict[str, Any] | None
    weather_left_out: bool
    late_hours: int
    notes: list[str]
    forecast: pl.DataFrame
    differing_hours: int
    history: pl.DataFrame
    explanation: Explanation
    error: ExplainedError | None

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the city."""
        return zones.zone(self.city.timezone)

    @property
    def fallback_lines(self) -> list[str]:
        """Return the fallback level and its reasons; nothing if the preferred model served."""
        if self.fallback is None or not self.fallback["level"]:
            return []
        level, name = self.fallback["level"], self.fallback["name"]
        hours = self.forecast.height
        if level == WITHOUT_WEATHER and (with_weather := self.fallback["weather_hours"]):
            lines = [
                f"{with_weather} of {hours} hours were forecast with weather, the other {hours - with_weather} without "
                f"(fallback level {level})."
            ]
        else:
            lines = [f"Fallback level {level} ({name}) made this forecast; it is explained here."]
        lines += [f"  {reason}" for reason in self.fallback["reasons"]]
        if self.weather_left_out:
            lines.append("  Weather of these hours was recorded after the issue. It was not used, and is left out.")
        return lines

    @property
    def other_notes(self) -> list[str]:
        """The notes that are not reasons for the fallback."""
        reasons = self.fallback["reasons"] if self.fallback is not None and self.fallback["level"] else []
        return [note for note in self.notes if note not in reasons]


def explain_forecast(
    database: Database,
    city: str,
    *,
    model: str | None = None,
    at: datetime | None = None,
    purposes: Sequence[str] = ISSUED_PURPOSES,
    day: date | None = None,
    progress: Progress = silent,
) -> ForecastExplanation:
    """Explain the last forecast of a city that was issued by a moment.

    Args:
        model: a name; None for the model of the last forecast.
        at: the moment; None for now.
        purposes: purposes of the runs: live, replay, backtest.
        day: the local day of the forecast; None for the first day with the most forecast hours.

    Raises:
        UnknownModelError, UnknownCityError: a name is unknown.
        NotEnoughDataError: no such forecast was issued.
        EnergyForecastError: the forecast has no hour on that day.
        DatabaseError: the database refused the request.
    """
    with database.transaction(Role.FORECASTER) as connection:
        return explain_within(connection, city, model=model, at=at, purposes=purposes, day=day, progress=progress)


def explain_within(
    connection: Connection,
    city: str,
    *,
    model: str | None = None,
    at: datetime | None = None,
    purposes: Sequence[str] = ISSUED_PURPOSES,
    day: date | None = None,
    known_at: datetime | None = None,
    progress: Progress = silent,
) -> ForecastExplanation:
    """Explain a forecast as `explain_forecast` does, in a transaction and with the rights of its role.

    Args:
        known_at: the time by which load and observed weather of its hours must be known; None for now.
    """
    now = known_at or database_now(connection)
    place, run = issued_run(connection, city, model=model, at=at or now, purposes=purposes)
    progress("Reading the known data", 0, 2)
    fitted = _fitted(connection, place, run)
    hours = run["horizon"] // timedelta(hours=1)
    read = _reader(connection, place, run)
    # A late value claims to be known at the end of its hour, but the forecast did not use it
    known, since = read(recorded_by=run["created_at"]), read()
    issued, actual = _issued_and_actual(connection, place, run, now)
    share = None
    if actual["consumption_kwh"].count():
        share = share_of_run(connection, place, fitted, known, weather=run["weather"], horizon_hours=hours, now=now)
    progress("Running the model", 1, 2)
    shift = known.shift
    fallback = run["fallback"]
    weather_left_out = _hours_with_weather(since) > _hours_with_weather(known)
    try:
        found = explain(fitted, forecasting_city(place), known.forecast_input(hours), day)
    except ValueError as error:
        raise EnergyForecastError(f"{str(error).capitalize()}.", hint="Choose another `day`.") from error
    progress("Running the model", 2, 2)
    stored = (
        issued.with_columns(pl.col("quantiles").list.to_struct(fields=QUANTILE_COLUMNS).struct.unnest())
        .select("timestamp", "predicted", *QUANTILE_COLUMNS)
        .join(actual.select("timestamp", actual="consumption_kwh"), on="timestamp", how="left")
    )
    again = stored.select("timestamp").join(shift.to_city_hours(found.reissued), on="timestamp", how="left")
    values = ["predicted", *QUANTILE_COLUMNS]
    same = np.isclose(
        again.select(values).to_numpy(), stored.select(values).to_numpy(), rtol=_SINGLE_PRECISION, atol=SAME_KWH
    )
    differing = int((~same.all(axis=1)).sum())
    return ForecastExplanation(
        place,
        {name: run[name] for name in ("id", "model", "version", "purpose", "issued_at", "horizon", "weather")},
        fallback,
        weather_left_out,
        _changed_rows(known.load, since.load),
        run["remarks"],
        stored,
        differing,
        shift.to_city_hours(known.load).filter(pl.col("timestamp") >= run["issued_at"] - timedelta(days=10)),
        found.moved(shift.to_city_hours),
        explain_error(stored, run["weather"], share),
    )


def explain_error_of(
    connection: Connection, place: StoredCity, run: dict[str, Any], known_at: datetime
) -> ExplainedError | None:
    """Split the error of an issued forecast into the parts of weather forecast and model; None without known load.

    It runs the model twice, a small part of a whole explanation.

    Args:
        run: of `issued_run`.
        known_at: the time by which load and observed weather of its hours must be known.

    Raises:
        NotEnoughDataError: the model or the data of the forecast is not stored any more.
        ArtifactError: the stored model cannot be read.
    """
    issued, actual = _issued_and_actual(connection, place, run, known_at)
    stored = issued.select("timestamp", "predicted").join(
        actual.select("timestamp", actual="consumption_kwh"), on="timestamp", how="left"
    )
    if not stored["actual"].count():
        return None
    fitted = _fitted(connection, place, run)
    first = run["issued_at"] - timedelta(days=fitted.history_days + 1)
    known = _reader(connection, place, run)(recorded_by=run["created_at"], first=first)
    hours = run["horizon"] // timedelta(hours=1)
    share = share_of_run(connection, place, fitted, known, weather=run["weather"], horizon_hours=hours, now=known_at)
    return explain_error(stored, run["weather"], share)


def issued_run(
    connection: Connection,
    city: str,
    *,
    model: str | None = None,
    at: datetime,
    purposes: Sequence[str] = ISSUED_PURPOSES,
) -> tuple[StoredCity, dict[str, Any]]:
    """Return a city and the last run that forecast it by a time.

    Raises:
        UnknownModelError, UnknownCityError: a name is unknown.
        NotEnoughDataError: no such forecast was issued.
    """
    if model is not None:
        check_models([model])
    place = city_named(connection, city)
    run = stored_forecasts.last_run(connection, city=place.id, at=at, purposes=purposes, model=model)
    if run is None:
        raise NotEnoughDataError(
            f"No forecast of {city}{f' by {model}' if model else ''} was issued by then.",
            hint="Issue one: energy-forecast forecast",
        )
    return place, run


def _fitted(connection: Connection, place: StoredCity, run: dict[str, Any]) -> FittedForecaster:
    artifact = artifact_of(connection, model=run["model_id"], city=place.id)
    if artifact is None:
        raise NotEnoughDataError(
            f"The version {run['version']} of {run['model']} is not stored any more.", hint="Choose another `at`."
        )
    return load_model(artifact.name, artifact.artifact)


def _reader(connection: Connection, place: StoredCity, run: dict[str, Any]) -> Callable[..., AsOfData]:
    """Return a function that reads the data known at the issue of a run."""
    return partial(
        read_as_of,
        connection,
        place,
        at=run["issued_at"],
        horizon_hours=run["horizon"] // timedelta(hours=1),
        weather=run["weather"],
        actual_as_of=run["created_at"],
        assumptions=Assumptions.of(run["assumptions"]),
    )


def _issued_and_actual(
    connection: Connection, place: StoredCity, run: dict[str, Any], now: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the stored forecast of a run, and the load of its hours as known at a time."""
    issued = stored_forecasts.run_forecast(connection, run=run["id"], issued_at=run["issued_at"], city=place.id)
    first, last = issued.select(pl.col("timestamp").min(), pl.col("timestamp").max().alias("last")).row(0)
    actual = actual_load(connection, place, as_of=now, first=first, end=last + timedelta(hours=1))
    return issued, actual


def _hours_with_weather(known: AsOfData) -> int:
    """Return the number of hours after the issue with a temperature."""
    ahead = known.weather_ahead.filter(pl.col("timestamp") >= known.at + known.shift.offset)
    return ahead["temperature"].count()


def _changed_rows(before: pl.DataFrame, after: pl.DataFrame) -> int:
    """Return the number of timestamps whose row is missing in one frame or has another value."""
    return before.vstack(after).unique(keep="none")["timestamp"].n_unique()
