"""Score forecasts against observed load."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl

from energy_forecast.database import forecasts as stored_forecasts
from energy_forecast.database import scores as stored_scores
from energy_forecast.database.cities import StoredCity, all_cities
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role, savepoint
from energy_forecast.event_log import log_run
from energy_forecast.forecasting import QUANTILE_COLUMNS, City
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.evaluation.breakdown import scores_by_hour
from energy_forecast.forecasting.hours import REPORT_LEADS
from energy_forecast.local_times import to_local, to_utc_first
from energy_forecast.pipelines.as_of import actual_load, forecasting_city
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.progress import Progress, silent


@dataclass(frozen=True)
class ScoreReport:
    """Result of scoring.

    scores: rows as in forecast_scores with city, model and `month`, the local month as YYYY-MM.
    new: number of rows that were not stored before.
    left_out: by city, the number of forecast hours whose actual is faulty; they count in no score.
    failed: the reason by (city, model).
    """

    as_of: datetime
    scores: list[dict[str, Any]]
    new: int
    left_out: dict[str, int]
    failed: dict[tuple[str, str], str] = field(default_factory=dict)


def lead_buckets(hours: int) -> list[tuple[int, int]]:
    """Return the range of lead times up to `hours`, followed by the buckets within it: (first, end) in hours."""
    parts = [(low, min(high, hours)) for low, high in REPORT_LEADS if low < hours]
    return list(dict.fromkeys([(0, hours), *parts]))


def join_actuals(forecasts: pl.DataFrame, load: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """Return the forecasts with three more columns.

    `actual` is the observed load, and `reference` is naive-168: the load at the same local hour a week before. Both are
    kWh in the hour, null if unknown or faulty. `left_out` is true if the actual is faulty.

    Args:
        forecasts: timestamp and any other columns.
        load: as `actual_load` returns it, from 8 days before the first forecast on.
        timezone: the IANA zone of the city.
    """
    # A repeated local hour uses the load of its first occurrence; a skipped one has none
    week_before = to_utc_first(to_local(forecasts["timestamp"], timezone).dt.offset_by("-7d"), timezone)
    known = load.select("timestamp", pl.col("consumption_kwh").alias("actual"), "left_out")
    reference = known.select(pl.col("timestamp").alias("week_before"), pl.col("actual").alias("reference"))
    return (
        forecasts.with_columns(week_before.alias("week_before"))
        .join(known, on="timestamp", how="left")
        .join(reference, on="week_before", how="left")
        .drop("week_before")
        .with_columns(pl.col("left_out").fill_null(value=False))
    )


def score_pairs(pairs: pl.DataFrame, city: City) -> dict[str, Any]:
    """Return the scores of the pairs of one city, as the columns of forecast_scores.

    Args:
        pairs: issued_at, timestamp, actual, predicted, q05 .. q95, reference (naive-168; null if unknown), kWh.
    """
    actual, predicted = pairs["actual"].to_numpy(), pairs["predicted"].to_numpy()
    quantiles = pairs.select(QUANTILE_COLUMNS).to_numpy()
    lower, upper = quantiles[:, 0], quantiles[:, -1]
    both = pairs.filter(pl.col("reference").is_not_null())
    skill = math.nan
    if not both.is_empty():
        skill = metrics.skill_score(
            metrics.mae(both["actual"].to_numpy(), both["predicted"].to_numpy()),
            metrics.mae(both["actual"].to_numpy(), both["reference"].to_numpy()),
        )
    first, last = pairs.select(pl.col("timestamp").min(), pl.col("timestamp").max().alias("last")).row(0)
    return {
        "period_start": first,
        "period_end": last + timedelta(hours=1),
        "pair_count": pairs.height,
        "pair_digest": _digest(pairs),
        "mape": _known(metrics.mape(actual, predicted)),
        "mae_kwh": metrics.mae(actual, predicted),
        "rmse_kwh": metrics.rmse(actual, predicted),
        "r2_score": _known(metrics.r2(actual, predicted)),
        "pinball_kwh": metrics.pinball(actual, quantiles),
        "coverage_90": metrics.coverage(actual, lower, upper),
        "width_90_kwh": float(np.mean(upper - lower)),
        "skill_naive_168": _known(skill),
        "by_hour": scores_by_hour(pairs, city),
    }


def evaluation(model_id: object, parts: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """Return a row of model_metrics: the unweighted mean of scores of one model version."""

    def mean(name: str) -> float | None:
        values = [part[name] for part in parts if part[name] is not None]
        return float(np.mean(values)) if values else None

    def within(value: float | None, limit: float) -> float | None:
        return value if value is not None and abs(value) <= limit else None

    # DECIMAL(8,4) and DECIMAL(12,2): a value that does not fit has no meaning as a score
    of_shares, of_energies = 9_999.9999, stored_forecasts.LARGEST_KWH
    return {
        "model_id": model_id,
        "mape": within(mean("mape"), of_shares),
        "rmse": within(mean("rmse_kwh"), of_energies),
        "mae": within(mean("mae_kwh"), of_energies),
        "r2_score": within(mean("r2_score"), of_shares),
        "detailed_metrics": settings
        | {
            "purpose": parts[0]["purpose"],
            "weather": parts[0]["weather"],
            "cities": len({part["city_id"] for part in parts}),
            "pairs": sum(part["pair_count"] for part in parts),
            "period_start": min(part["period_start"] for part in parts).isoformat(),
            "period_end": max(part["period_end"] for part in parts).isoformat(),
            "pinball_kwh": mean("pinball_kwh"),
            "coverage_90": mean("coverage_90"),
            "skill_naive_168": mean("skill_naive_168"),
        },
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _digest(pairs: pl.DataFrame) -> bytes:
    digest = hashlib.sha256()
    ordered = pairs.sort("issued_at", "timestamp")
    for column in ("issued_at", "timestamp", "actual", "predicted", *QUANTILE_COLUMNS):
        digest.update(ordered[column].to_physical().to_numpy().tobytes())
    return digest.digest()


@log_run(
    "score",
    lambda report: {"scores": len(report.scores), "new": report.new, "failed": len(report.failed)},
    failed=lambda report: report.failed,
)
def score(database: Database, *, progress: Progress = silent) -> ScoreReport:
    """Score every forecast whose hour has a known actual. Stored scores do not change.

    forecast_scores gets one row for each city, model version, weather, local month and lead time bucket, with the same
    scores by weekday type and local hour. model_metrics gets one row for each model version, purpose and weather with a
    new score. A failure in one city does not affect the others: see isolation.attempt.

    Raises:
        DatabaseError: the database refused the request.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    failed: dict[tuple[str, str], str] = {}
    faulty: dict[str, set[datetime]] = defaultdict(set)
    with database.transaction(Role.FORECASTER) as connection:
        now = database_now(connection)
        cities = {city.id: city for city in all_cities(connection)}
        candidates = stored_forecasts.models_to_score(connection)
        for number, candidate in enumerate(candidates):
            task = f"Scoring {candidate['model']} for {candidate['city']}"
            progress(task, number, len(candidates))
            scored = attempt(
                task, partial(_score_version, connection, cities[candidate["city_id"]], candidate["model_id"], now)
            )
            if isinstance(scored, Failed):
                failed[candidate["city"], candidate["model"]] = scored.reason
                continue
            rows, left_out = scored
            faulty[candidate["city"]] |= left_out
            named = {key: candidate[key] for key in ("city", "city_id", "model", "version", "model_id")}
            found[candidate["city"], candidate["model"]] += [named | row for row in rows]
        progress("Scoring", len(candidates), len(candidates))
    new: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    with database.transaction(Role.FORECASTER) as connection:
        for (name, model), rows in found.items():
            added = attempt(f"Store the scores of {model} for {name}", partial(_store, connection, rows))
            if isinstance(added, Failed):
                failed[name, model] = added.reason
                continue
            kept += rows
            new += added
        # Live forecasts are never averaged with later ones, nor forecasts with different weather sources
        alike: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
        for row in new:
            alike[row["model_id"], row["purpose"], row["weather"]].append(row)
        for (model_id, _, _), rows in alike.items():
            stored_scores.add_metrics(connection, evaluation(model_id, rows, {}))
    left_out_hours = {name: len(hours) for name, hours in sorted(faulty.items()) if hours}
    return ScoreReport(now, kept, len(new), left_out_hours, failed)


def _score_version(
    connection: Connection, city: StoredCity, model_id: UUID, now: datetime
) -> tuple[list[dict[str, Any]], set[datetime]]:
    """Return the scores of the forecasts of a city by one version, and their hours with a faulty actual."""
    with savepoint(connection):
        issued = stored_forecasts.to_score(connection, city=city.id, model=model_id, by=now)
        if issued.is_empty():
            return [], set()
        first, last = issued.select(pl.col("timestamp").min(), pl.col("timestamp").max().alias("last")).row(0)
        load = actual_load(connection, city, as_of=now, first=first - timedelta(days=8), end=last + timedelta(hours=1))
    pairs = matured(issued, load, city.timezone)
    left_out = set(issued.join(load.filter("left_out"), on="timestamp", how="semi")["timestamp"])
    return scores_by_month_and_lead(pairs, city, now), left_out


def _store(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Store the scores of the forecasts of a city by one model, and return the new ones."""
    with savepoint(connection):
        return [row for row in rows if stored_scores.add_scores(connection, [row])]


def scores_to_show(database: Database, cities: Sequence[str]) -> list[dict[str, Any]]:
    """Return the newest scores of cities to show with a forecast: rows of forecast_scores with their `purpose`.

    For each city these are the scores of live forecasts, or of replays if there are none, and the scores of backtests
    over all lead times.
    """
    with database.transaction(Role.FORECASTER) as connection:
        found = {
            purpose: stored_scores.latest_scores(connection, purpose=purpose, cities=cities)
            for purpose in ("live", "replay", "backtest")
        }
    return worth_showing(found)


def worth_showing(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Select from the newest scores of each purpose; see scores_to_show."""
    in_time = {row["city"] for row in found["live"]}
    shown = [
        row | {"purpose": purpose}
        for purpose, rows in found.items()
        for row in rows
        if purpose != "replay" or row["city"] not in in_time
    ]
    longest: dict[tuple[Any, ...], int] = defaultdict(int)
    for row in shown:
        key = row["city"], row["model"], row["weather"]
        if row["purpose"] == "backtest" and row["lead_start_hours"] == 0:
            longest[key] = max(longest[key], row["lead_end_hours"])
    return [
        row
        for row in shown
        if row["purpose"] != "backtest"
        or (row["lead_start_hours"], row["lead_end_hours"]) == (0, longest[row["city"], row["model"], row["weather"]])
    ]


def matured(issued: pl.DataFrame, load: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """Return the forecasts with a valid actual. Of several for one issue time and hour, the last recorded one counts.

    Args:
        issued: purpose, weather, issued_at, timestamp, predicted, quantiles (kWh), in the order of recording.
        load, timezone: as in `join_actuals`.
    """
    forecasts = (
        issued.unique(["purpose", "weather", "issued_at", "timestamp"], keep="last", maintain_order=True)
        .with_columns(pl.col("quantiles").list.to_struct(fields=QUANTILE_COLUMNS).struct.unnest())
        .drop("quantiles")
    )
    return join_actuals(forecasts, load, timezone).filter(pl.col("actual").is_not_null()).drop("left_out")


def local_month(times: pl.Series, timezone: str) -> pl.Series:
    """Return the first local moment of the month of each time.

    In UTC, November 2020 in Havana would be two months: it began at a midnight that occurs twice.
    """
    return to_local(times, timezone).dt.truncate("1mo")


def scores_by_month_and_lead(pairs: pl.DataFrame, city: StoredCity, now: datetime) -> list[dict[str, Any]]:
    """Return the scores of the pairs of a city by purpose, weather, local month and lead-time bucket."""
    lead = pl.col("timestamp") - pl.col("issued_at")
    rows = []
    month = local_month(pairs["timestamp"], city.timezone)
    for (purpose, weather, begins), part in pairs.group_by("purpose", "weather", month, maintain_order=True):
        for low, high in REPORT_LEADS:
            bucket = part.filter((lead >= timedelta(hours=low)) & (lead < timedelta(hours=high)))
            if not bucket.is_empty():
                rows.append(
                    {
                        "purpose": purpose,
                        "weather": weather,
                        "month": f"{begins:%Y-%m}",
                        "lead_start_hours": low,
                        "lead_end_hours": high,
                        "actuals_as_of": now,
                    }
                    | score_pairs(bucket, forecasting_city(city))
                )
    return rows
