"""The reading of an explanation: the inputs of an issued forecast and their effect."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import polars as pl

from energy_forecast.database.connection import Connection
from energy_forecast.readings.forecasts import Purpose
from energy_forecast.tables import UTC_TIME, Schema, Table

ERROR_PARTS = "weather_error_kwh", "model_error_kwh"
EXPLANATION: Schema = {
    **dict.fromkeys(("timestamp", "interval_end"), UTC_TIME),
    **dict.fromkeys(("predicted", "actual", "temperature", "normal_temperature", "predicted_at_normal"), pl.Float64),
    "contributions": pl.String,
    **dict.fromkeys(ERROR_PARTS, pl.Float64),
}
_NO_ERROR = pl.DataFrame(schema={"timestamp": UTC_TIME, "weather_kwh": pl.Float64, "model_kwh": pl.Float64})


def explanation(
    connection: Connection,
    city: str,
    *,
    model: str | None = None,
    as_of: datetime | None = None,
    purpose: Purpose | None = None,
    day: date | None = None,
) -> Table:
    """Return what the last forecast of a city that was issued by a time is based on, for the hours of one local day.

    The stored model runs again with the data that was known at the issue. `contributions` is JSON with the effect of
    each group of inputs on the hour (kWh); with the baseline they add up to the forecast. It is null if the model has
    none. `weather_error_kwh` and `model_error_kwh` add up to the forecast minus the load; they are null if load or
    weather is not known, or the forecast used no weather forecast. Default: the last live forecast or replay, and its
    first day with the most hours.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        UnknownModelError: no model has this name.
        NotEnoughDataError: no such forecast was issued.
        ArtifactError: the stored model cannot be read. Train it again.
        EnergyForecastError: the forecast has no hour on that day.
    """
    from energy_forecast.pipelines.explain_forecast import ISSUED_PURPOSES, explain_within

    purposes = ISSUED_PURPOSES if purpose is None else (purpose,)
    found = explain_within(connection, city, model=model, at=as_of, purposes=purposes, day=day)
    one = found.explanation
    hours = one.hours.with_columns(
        (pl.col("timestamp") + pl.duration(hours=1)).alias("interval_end"),
        pl.Series("contributions", _contributions(one.hours["timestamp"], one.contributions), pl.String),
    ).join(found.forecast.select("timestamp", "actual"), on="timestamp", how="left")
    parts = ("weather_kwh", "model_kwh")
    error = _NO_ERROR if found.error is None else found.error.hours.select("timestamp", *parts)
    hours = hours.join(error, on="timestamp", how="left").rename(dict(zip(parts, ERROR_PARTS, strict=True)))
    frame = hours.sort("timestamp").select(pl.col(name).cast(kind) for name, kind in EXPLANATION.items())
    facts: dict[str, Any] = {name: value for name, value in found.run.items() if name not in {"id", "horizon"}}
    return Table(
        frame,
        {
            "city": found.city.name,
            "timezone": found.city.timezone,
            "run_id": found.run["id"],
            **facts,
            "day": one.day,
            "day_kind": one.kind_label,
            "total_kwh": one.total_kwh,
            "differing_hours": found.differing_hours,
            "late_hours": found.late_hours,
            "weather_left_out": found.weather_left_out,
            "fallback_level": None if found.fallback is None else found.fallback["level"],
            "notes": [*found.fallback_lines, *found.other_notes],
        },
    )


def _contributions(hours: pl.Series, contributions: pl.DataFrame | None) -> list[str | None]:
    if contributions is None:
        return [None] * len(hours)
    by_hour: dict[datetime, dict[str, float]] = {}
    for hour, group, effect in contributions.select("timestamp", "input_group", "contribution_kwh").iter_rows():
        by_hour.setdefault(hour, {})[group] = effect
    return [json.dumps(by_hour[hour]) if hour in by_hour else None for hour in hours]
