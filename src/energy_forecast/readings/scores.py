"""Readings of scores: their pairs, the coverage of intervals, champions, and the performance of models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import polars as pl

from energy_forecast.database import champions as stored_champions
from energy_forecast.database import reports
from energy_forecast.database.cities import StoredCity, cities_named, city_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection
from energy_forecast.database.readings import dicts_of, framed
from energy_forecast.database.scores import find_scores, latest_scores
from energy_forecast.errors import NotEnoughDataError, UnknownScoreError
from energy_forecast.forecasting import QUANTILE_COLUMNS
from energy_forecast.readings.forecasts import Purpose
from energy_forecast.tables import UTC_TIME, Schema, Table

Weather = Literal["actual", "simulated", "forecast", "none"]
SCORES: Schema = {
    **dict.fromkeys(("city", "model", "version", "purpose", "weather"), pl.String),
    **dict.fromkeys(("lead_start_hours", "lead_end_hours"), pl.Int64),
    **dict.fromkeys(("period_start", "period_end"), UTC_TIME),
    "pair_count": pl.Int64,
    **dict.fromkeys(("mape", "mae_kwh", "rmse_kwh", "r2_score", "pinball_kwh", "coverage_90"), pl.Float64),
    **dict.fromkeys(("width_90_kwh", "skill_naive_168"), pl.Float64),
    "score_id": pl.String,
    "recorded_at": UTC_TIME,
}
PAIRS: Schema = {
    **dict.fromkeys(("issued_at", "timestamp", "interval_end"), UTC_TIME),
    **dict.fromkeys(("lead_hours", "actual", "predicted", "reference"), pl.Float64),
}
CERTIFICATE: Schema = {
    **dict.fromkeys(("part", "group"), pl.String),
    "nominal": pl.Float64,
    **dict.fromkeys(("hours", "days"), pl.Int64),
    **dict.fromkeys(("coverage", "lower", "upper", "tolerance", "margin", "width_kwh"), pl.Float64),
    "verdict": pl.String,
}
CHAMPIONS: Schema = {
    **dict.fromkeys(("city", "model", "version"), pl.String),
    "promoted_at": UTC_TIME,
    "replaced_at": UTC_TIME,
    "is_forced": pl.Boolean,
}
PROMOTIONS: Schema = {
    **CHAMPIONS,
    **dict.fromkeys(("promoted_by", "reason", "evidence"), pl.String),
}
PERFORMANCE: Schema = {
    **dict.fromkeys(("model", "version", "purpose", "weather"), pl.String),
    **dict.fromkeys(("mape", "mae_kwh", "rmse_kwh", "coverage_90"), pl.Float64),
    **dict.fromkeys(("pair_count", "city_count"), pl.Int64),
    "assumptions": pl.String,
}
_PURPOSES: tuple[Purpose, ...] = ("live", "replay", "backtest")


def scores(
    connection: Connection,
    *,
    cities: Sequence[str] | None = None,
    purpose: Purpose | None = None,
    model: str | None = None,
) -> Table:
    """Return the newest score of each city, model, purpose, kind of weather and range of lead times.

    A score is of one local month of live forecasts or replays, or of one backtest.

    Raises:
        UnknownCityError: the reader sees no city of a name.
    """
    chosen = [city.name for city in cities_named(connection, cities or ())]
    rows = [
        row | {"purpose": one, "score_id": str(row["id"]), "recorded_at": row["created_at"]}
        for one in (_PURPOSES if purpose is None else (purpose,))
        for row in latest_scores(connection, purpose=one, cities=chosen)
        if model is None or row["model"] == model
    ]
    return Table(framed(rows, SCORES))


def pairs(connection: Connection, *, score: UUID) -> Table:
    """Return the pairs of forecast and actual behind a score, by time, with the actuals that were known at its time.

    `reference` is the load at the same local hour a week before. If retention has removed some of the forecasts, the
    fact `missing_pairs` is above zero.

    Raises:
        UnknownScoreError: the reader sees no score of this id.
    """
    from energy_forecast.pipelines.explain_score import pairs_of

    found = find_scores(connection, id=score, limit=1)
    if not found:
        raise UnknownScoreError(f"No score has the id {score}.", hint="`scores` lists them.")
    stored = found[0]
    place = city_named(connection, stored["city"])
    frame = pairs_of(connection, place, stored)
    hour = timedelta(hours=1)
    frame = frame.with_columns(
        (pl.col("timestamp") + hour).alias("interval_end"),
        ((pl.col("timestamp") - pl.col("issued_at")).dt.total_seconds() / 3600).alias("lead_hours"),
    ).select(*PAIRS, *QUANTILE_COLUMNS)
    of_score = [name for name in SCORES if name not in {"score_id", "recorded_at"}]
    facts = {name: stored[name] for name in of_score} | {
        "score_id": stored["id"],
        "recorded_at": stored["created_at"],
        "actuals_as_of": stored["actuals_as_of"],
        "assumptions": stored["assumptions"],
        "timezone": place.timezone,
        "missing_pairs": stored["pair_count"] - frame.height,
    }
    return Table(frame, facts)


def certificate(
    connection: Connection,
    city: str,
    *,
    model: str,
    purpose: Purpose = "live",
    weather: Weather | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Table:
    """Return how often the load of a city was inside the 90, 80 and 50 % intervals of a model, with a verdict on each.

    There are rows for the city, for lead times and for seasons: `part` and `group`. `lower` and `upper` are the 90 %
    confidence interval of the coverage. `start` and `end` limit the time of issue. The fact `verdict` is the worst one:
    failed, not enough data or passed.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        UnknownModelError: no model has this name.
        NotEnoughDataError: no forecast has an actual.
    """
    from energy_forecast.forecasting.evaluation.coverage import coverage_certificate
    from energy_forecast.pipelines.coverage import worst_verdict

    found, place, facts = found_pairs(connection, city, model, purpose, weather, start, end)
    rows = coverage_certificate(found, timezone=place.timezone, southern=place.latitude < 0)
    return Table(rows.select(*CERTIFICATE).cast(CERTIFICATE), facts | {"verdict": worst_verdict(rows)})  # type: ignore[arg-type]


def found_pairs(
    connection: Connection,
    city: str,
    model: str,
    purpose: Purpose,
    weather: Weather | None,
    start: datetime | None,
    end: datetime | None,
) -> tuple[pl.DataFrame, StoredCity, dict[str, Any]]:
    """Return the pairs of a model for a city, the city, and the facts of a reading of them.

    Raises:
        UnknownCityError, UnknownModelError, NotEnoughDataError: as in `certificate`.
    """
    from energy_forecast.pipelines.coverage import pairs_of_model
    from energy_forecast.pipelines.train import check_models

    check_models([model])
    place = city_named(connection, city)
    found, used = pairs_of_model(connection, place, model, purpose=purpose, weather=weather, first=start, end=end)
    if found.is_empty():
        raise NotEnoughDataError(
            f"No forecast of {place.name} by {model} with purpose {purpose!r} has observed load yet.",
            hint="Wait until the hours of the forecasts have passed, or set `purpose` to backtest.",
        )
    facts: dict[str, Any] = {
        "city": place.name,
        "timezone": place.timezone,
        "model": model,
        "purpose": purpose,
        "weather": weather,
    }
    return found, place, facts | (used or {})


def champions(connection: Connection, *, cities: Sequence[str] | None = None, as_of: datetime | None = None) -> Table:
    """Return the model version that serves each city now, or served it at a time.

    Cities without a champion have no row.

    Raises:
        UnknownCityError: the reader sees no city of a name.
    """
    known_at = as_of or database_now(connection)
    chosen = [city.id for city in cities_named(connection, cities or ())]
    rows = dicts_of(connection, "champions", {"cities": chosen, "at": known_at})
    return Table(framed(rows, CHAMPIONS), {"as_of": known_at})


def promotions(connection: Connection, *, cities: Sequence[str] | None = None) -> Table:
    """Return the present and former champions of cities, by city, the newest first.

    `evidence` is JSON with the paired tests against the rivals. `promoted_by` and `reason` are null for users: a reason
    is free text, and may mention cities of others.

    Raises:
        UnknownCityError: the reader sees no city of a name.
    """
    chosen = [city.name for city in cities_named(connection, cities or ())]
    found = stored_champions.promotions(connection, chosen, None)
    return Table(framed([row | {"promoted_at": row["first"], "replaced_at": row["end"]} for row in found], PROMOTIONS))


def model_performance(connection: Connection, *, days: int = 7, as_of: datetime | None = None) -> Table:
    """Return model versions by their scores of the last days, best first, over the cities that the reader may see.

    Each score is a mean over the pairs of forecast and actual. Live runs, replays, backtests, kinds of weather and
    assumptions are never mixed.
    """
    known_at = as_of or database_now(connection)
    rows = reports.model_performance(connection, days=days, until=known_at)
    names = {"name": "model", "avg_mape": "mape", "avg_mae": "mae_kwh", "avg_rmse": "rmse_kwh"}
    names["prediction_count"] = "pair_count"
    renamed = [{names.get(name, name): value for name, value in row.items()} for row in rows]
    return Table(framed(renamed, PERFORMANCE), {"days": days, "as_of": known_at})
