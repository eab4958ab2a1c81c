"""Readings of errors: of issued forecasts by hour and by lead time, and of the quantiles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import polars as pl

from energy_forecast.database.champions import backtest_conditions
from energy_forecast.database.cities import StoredCity, city_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection
from energy_forecast.database.readings import dicts_of
from energy_forecast.errors import EnergyForecastError
from energy_forecast.forecasting import QUANTILE_COLUMNS
from energy_forecast.local_times import to_local
from energy_forecast.readings.forecasts import Purpose
from energy_forecast.readings.scores import Weather, found_pairs
from energy_forecast.readings.spans import day_span, span_of
from energy_forecast.tables import UTC_TIME, Schema, Table

Issue = Literal["day-ahead", "newest", "all"]
ERRORS: Schema = {
    **dict.fromkeys(("timestamp", "interval_end", "issued_at"), UTC_TIME),
    "lead_hours": pl.Float64,
    **dict.fromkeys(("model", "version", "weather"), pl.String),
    **dict.fromkeys(("actual", "predicted", "error_kwh", "error_percent", "reference"), pl.Float64),
}
BY_LEAD: Schema = {
    **dict.fromkeys(("model", "purpose", "weather", "assumptions", "conditions", "pairs"), pl.String),
    **dict.fromkeys(("lead_start_hours", "lead_end_hours", "pair_count"), pl.Int64),
    **dict.fromkeys(("mape", "mae_kwh", "rmse_kwh", "bias_kwh", "pinball_kwh", "coverage_90"), pl.Float64),
    **dict.fromkeys(("width_90_kwh", "mean_consumption_kwh", "skill_naive_168"), pl.Float64),
}
RELIABILITY: Schema = {
    **dict.fromkeys(("level", "observed", "lower", "upper"), pl.Float64),
    **dict.fromkeys(("hours", "days"), pl.Int64),
}
# Five weeks: each weekday five times
_DEFAULT_DAYS = 35


def errors(
    connection: Connection,
    city: str,
    *,
    model: str | None = None,
    purpose: Purpose = "live",
    weather: Weather | None = None,
    conditions: str | None = None,
    issue: Issue = "day-ahead",
    lead_start: int = 0,
    lead_end: int = 168,
    start: datetime | None = None,
    end: datetime | None = None,
    day: date | None = None,
    as_of: datetime | None = None,
) -> Table:
    """Return the errors of the forecasts of a city by hour, forecast minus actual.

    By default these are the hours of the last 35 local days. `issue` selects one of the forecasts of an hour:
    `day-ahead` is the newest one that was issued before the local day of the hour began, and `newest` the newest one
    with a lead time from `lead_start` to below `lead_end` hours. `all` returns each of them. Hours without a known,
    valid load have no row. The default of `model` is the champion, without one ensemble, and the model with the most
    hours if that has none. Without `weather`, each row names its own; of backtests, only those with the weather and
    assumptions that were used last are counted, or with those of `conditions`.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        UnknownModelError: no model has this name.
        EnergyForecastError: the span or the range of lead times is empty, or the span is too long.
    """
    from energy_forecast.pipelines.issued_errors import issued_pairs, one_issue
    from energy_forecast.pipelines.train import check_models

    if lead_end <= lead_start:
        raise EnergyForecastError(
            f"`lead_end` must be greater than `lead_start`, and {lead_end} is not greater than {lead_start}."
        )
    if model is not None:
        check_models([model])
    place, known_at, first, last = _asked(connection, city, start, end, day, as_of)
    chosen = None if model is None else [model]
    found = issued_pairs(
        connection, place, first=first, end=last, as_of=known_at, models=chosen, purpose=purpose, weather=weather
    )
    lead = pl.col("timestamp") - pl.col("issued_at")
    if conditions is not None:
        found = found.filter(_with_id(found)["conditions"] == conditions)
    found = found.filter(lead >= timedelta(hours=lead_start), lead < timedelta(hours=lead_end))
    facts: dict[str, Any] = {
        **{"city": place.name, "timezone": place.timezone, "start": first, "end": last, "as_of": known_at},
        **{"model": model, "purpose": purpose, "weather": weather, "issue": issue},
        **{"lead_start": lead_start, "lead_end": lead_end},
    }
    if found.is_empty():
        return Table(pl.DataFrame(schema=ERRORS | dict.fromkeys(QUANTILE_COLUMNS, pl.Float64)), facts)
    name = model or _main_model(connection, place, found, known_at)
    found = found.filter(model=name)
    facts["model"] = name
    if purpose == "backtest" and conditions is None:
        found, used = _last_conditions(connection, place, name, weather, found)
        facts |= used
    error = pl.col("predicted") - pl.col("actual")
    frame = one_issue(found, issue, place.timezone).with_columns(
        (pl.col("timestamp") + timedelta(hours=1)).alias("interval_end"),
        (lead.dt.total_seconds() / 3600).alias("lead_hours"),
        error.alias("error_kwh"),
        pl.when(pl.col("actual") != 0).then(100 * error / pl.col("actual").abs()).alias("error_percent"),
    )
    return Table(frame.select(*ERRORS, *QUANTILE_COLUMNS), facts)


def errors_by_lead(
    connection: Connection,
    city: str,
    *,
    models: Sequence[str] | None = None,
    purpose: Purpose | None = None,
    weather: Weather | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    day: date | None = None,
    as_of: datetime | None = None,
) -> Table:
    """Return the errors of models for a city by lead time, by default of the hours of the last 35 local days.

    Purposes, kinds of weather and assumptions of backtests are never mixed. Rows with `pairs` own are of all pairs of
    the model; those with `pairs` common are of the issue times and hours for which all models with the same conditions
    have a forecast. Only the latter are a fair comparison of models. They are missing if there are none.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        UnknownModelError: no model has a name.
        EnergyForecastError: the span is empty or too long.
    """
    from energy_forecast.forecasting.evaluation.leads import errors_by_lead as by_lead
    from energy_forecast.pipelines.issued_errors import issued_pairs
    from energy_forecast.pipelines.train import check_models

    if models is not None:
        check_models(list(models))
    place, known_at, first, last = _asked(connection, city, start, end, day, as_of)
    found = issued_pairs(
        connection, place, first=first, end=last, as_of=known_at, models=models, purpose=purpose, weather=weather
    )
    frame = pl.DataFrame(schema=BY_LEAD) if found.is_empty() else _with_id(by_lead(found)).select(*BY_LEAD)
    facts = {"city": place.name, "timezone": place.timezone, "start": first, "end": last, "as_of": known_at}
    return Table(frame, facts)


def reliability(
    connection: Connection,
    city: str,
    *,
    model: str,
    purpose: Purpose = "live",
    weather: Weather | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Table:
    """Return how often the load of a city was at or below each quantile of a model: `observed` should equal `level`.

    `lower` and `upper` are the 90 % confidence interval of `observed`, with weeks as independent observations. `start`
    and `end` limit the time of issue.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        UnknownModelError: no model has this name.
        NotEnoughDataError: no forecast has an actual.
    """
    from energy_forecast.forecasting.evaluation import coverage

    found, place, facts = found_pairs(connection, city, model, purpose, weather, start, end)
    rows = coverage.reliability(found, timezone=place.timezone)
    return Table(rows.select(*RELIABILITY), facts)


def _with_id(frame: pl.DataFrame) -> pl.DataFrame:
    """Add a short id of the assumptions: their JSON is too long for a URL."""
    ids = {one: hashlib.sha256(one.encode()).hexdigest()[:12] for one in frame["assumptions"].unique()}
    return frame.with_columns(pl.col("assumptions").replace_strict(ids, return_dtype=pl.String).alias("conditions"))


def _main_model(connection: Connection, city: StoredCity, found: pl.DataFrame, at: datetime) -> str:
    """Return the champion of a city or the default model, or the one with the most hours if that has none."""
    from energy_forecast.pipelines.fallback import DEFAULT_MODEL

    champions = [str(row["model"]) for row in dicts_of(connection, "champions", {"cities": [city.id], "at": at})]
    for name in champions or [DEFAULT_MODEL]:
        if found["model"].eq(name).any():
            return name
    return str(found.group_by("model").agg(pl.col("timestamp").n_unique()).sort("timestamp", "model")["model"][-1])


def _last_conditions(
    connection: Connection, city: StoredCity, model: str, weather: str | None, found: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the backtests with the conditions that were used last among those with pairs, and the conditions."""
    for kind, assumptions in backtest_conditions(connection, city=city.id, models=[model], weather=weather):
        part = found.filter(weather=kind, assumptions=json.dumps(assumptions, sort_keys=True))
        if not part.is_empty():
            return part, {"weather": kind, "assumptions": assumptions}
    return found, {}


def _asked(
    connection: Connection,
    city: str,
    start: datetime | None,
    end: datetime | None,
    day: date | None,
    as_of: datetime | None,
) -> tuple[StoredCity, datetime, datetime, datetime]:
    """Return the city, the time by which values must be known, and the span of hours."""
    place = city_named(connection, city)
    now = database_now(connection)
    known_at = as_of or now
    if known_at > now:
        raise EnergyForecastError(
            f"`as_of` is in the future: {known_at:%Y-%m-%dT%H:%MZ}.", hint="Leave it out for the present state."
        )
    today = to_local(pl.Series([known_at.astimezone(UTC)]), place.timezone).dt.date()[0]
    begin, _ = day_span(today - timedelta(days=_DEFAULT_DAYS - 1), place.timezone)
    return place, known_at, *span_of(start, end, day=day, zone=place.timezone, default=(begin, known_at))
