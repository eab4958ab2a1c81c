"""Score the forecasts of a backtest against observed load."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl

from energy_forecast.database import scores as stored_scores
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Database, Role
from energy_forecast.database.history import Availability, availability
from energy_forecast.forecasting import QUANTILE_COLUMNS, City
from energy_forecast.pipelines.as_of import actual_load, forecasting_city
from energy_forecast.pipelines.pairs import join_actuals, lead_buckets, score_pairs
from energy_forecast.pipelines.score import evaluation

AVAILABILITY_SINCE = timedelta(days=7)
NO_PAIRS = pl.DataFrame(
    schema={
        "model": pl.String,
        "city": pl.String,
        "issued_at": pl.Datetime("us", "UTC"),
        "timestamp": pl.Datetime("us", "UTC"),
        "actual": pl.Float64,
        "predicted": pl.Float64,
        **dict.fromkeys(QUANTILE_COLUMNS, pl.Float64),
        "model_id": pl.String,
        "city_id": pl.String,
        "reference": pl.Float64,
        "left_out": pl.Boolean,
    }
)


@dataclass(frozen=True)
class BacktestForecast:
    """The forecast of one city by one model version at one issue time.

    weather_hours: number of hours that were forecast with weather; None for a forecast of an earlier backtest.
    """

    model: str
    model_id: UUID
    city: StoredCity
    issued_at: datetime
    frame: pl.DataFrame
    weather: str
    weather_hours: int | None = None
    imputed_weather: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CityScores:
    """The forecasts of a city with their actuals and scores, by model and by version and lead time bucket.

    availability: of the load, from a week before the first issue time to the last.
    """

    city: str
    availability: Availability
    pairs: pl.DataFrame
    overall: list[dict[str, Any]]
    by_version: list[dict[str, Any]]


def score_city(
    database: Database,
    city: StoredCity,
    made: list[BacktestForecast],
    *,
    span: tuple[datetime, datetime],
    hours: int,
    now: datetime,
    issues: dict[str, Any],
) -> CityScores:
    """Score the forecasts of a city, and store the scores.

    Args:
        span: from the first issue time to the last forecast hour.
        issues: issued_from, issued_until, issued_every, issued_at_local, horizon and assumptions, as stored with the
            scores.
    """
    first, end = span
    with database.transaction(Role.FORECASTER) as connection:
        # From a week earlier, for the reference
        load = actual_load(connection, city, as_of=now, first=first - timedelta(days=8), end=end + timedelta(hours=1))
        pairs = _pairs(made, load, city)
        since = issues["issued_from"] - AVAILABILITY_SINCE
        available = availability(connection, city.id, as_of=now, first=since, end=issues["issued_until"])
        weathers = {(str(one.model_id), str(one.city.id)): one.weather for one in made}
        overall, by_version = _scores(pairs, forecasting_city(city), weathers, hours, now)
        stored_scores.add_scores(connection, [score | issues for score in by_version])
    return CityScores(city.name, available, pairs, overall, by_version)


def _pairs(made: list[BacktestForecast], load: pl.DataFrame, city: StoredCity) -> pl.DataFrame:
    """Return the forecasts of a city with actuals (null if unknown) and with naive-168 as a reference."""
    forecasts = pl.concat(
        one.frame.select(
            pl.lit(one.model).alias("model"),
            pl.lit(one.city.name).alias("city"),
            pl.lit(one.issued_at).cast(pl.Datetime("us", "UTC")).alias("issued_at"),
            "timestamp",
            "predicted",
            *QUANTILE_COLUMNS,
            pl.lit(str(one.model_id)).alias("model_id"),
            pl.lit(str(one.city.id)).alias("city_id"),
        )
        for one in made
    )
    pairs = join_actuals(forecasts, load, city.timezone)
    return pairs.select(NO_PAIRS.columns).sort("model", "city", "issued_at", "timestamp")


def _scores(
    pairs: pl.DataFrame, city: City, weathers: dict[tuple[str, str], str], hours: int, now: datetime
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the scores of the whole backtest by model, and the scores to store by version and lead time bucket."""
    known = pairs.filter(pl.col("actual").is_not_null())
    facts = {"purpose": "backtest", "actuals_as_of": now}
    overall = [
        {"city": city.name, "model": model, **score_pairs(part, city)}
        for (model,), part in known.group_by("model", maintain_order=True)
    ]
    kept = []
    for (model_id, city_id), part in known.group_by("model_id", "city_id", maintain_order=True):
        for low, high in lead_buckets(hours):
            bucket = part.filter(pl.col("timestamp") - pl.col("issued_at") >= timedelta(hours=low)).filter(
                pl.col("timestamp") - pl.col("issued_at") < timedelta(hours=high)
            )
            if not bucket.is_empty():
                kept.append(
                    {"model_id": model_id, "city_id": city_id, "lead_start_hours": low, "lead_end_hours": high}
                    | facts
                    | {"weather": weathers[model_id, city_id]}
                    | score_pairs(bucket, city)
                )
    return overall, kept


def version_metrics(scores: list[dict[str, Any]], hours: int, every: timedelta) -> list[dict[str, Any]]:
    """Return a row of model_metrics for each model version, from its scores over all lead times."""
    by_model: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for score in scores:
        if (score["lead_start_hours"], score["lead_end_hours"]) == (0, hours):
            by_model[score["model_id"]].append(score)
    settings = {"every_hours": every / timedelta(hours=1), "horizon_hours": hours}
    return [evaluation(model_id, parts, settings) for model_id, parts in by_model.items()]
