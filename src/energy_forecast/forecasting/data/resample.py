"""Resampling of records with intervals of up to an hour to hours."""

from __future__ import annotations

import polars as pl


def hourly(frame: pl.DataFrame) -> pl.DataFrame:
    """Resample records of at most an hour each to UTC hours: energy and precipitation are summed, the rest averaged.

    Args:
        frame: `timestamp` (UTC, START of the interval) and either `consumption_kwh` or columns of weather. The
            interval is the most common distance between two rows.

    Returns:
        The same columns, one row per hour. An hour of load with a missing interval or an unknown value is left out,
        since the sum of the other intervals would be too small.

    Examples:
        >>> from datetime import UTC, datetime
        >>> quarters = [datetime(2026, 1, 1, 0, minute, tzinfo=UTC) for minute in (0, 15, 30, 45)]
        >>> hourly(pl.DataFrame({"timestamp": quarters, "consumption_kwh": [1.0, 2.0, 3.0, 4.0]}))["consumption_kwh"][0]
        10.0
    """
    if frame.height < 2:
        return frame.sort("timestamp")
    frame = frame.sort("timestamp")
    steps = frame["timestamp"].dt.epoch("s").diff().drop_nulls().mode().sort()
    grouped = frame.group_by(pl.col("timestamp").dt.truncate("1h"), maintain_order=True)
    if "consumption_kwh" not in frame.columns:
        rain = pl.col("^precipitation$")
        return grouped.agg(
            pl.exclude("timestamp", "precipitation").mean(), pl.when(rain.count() > 0).then(rain.sum())
        ).select(frame.columns)
    complete = max(1, round(3600 / int(steps[0])))
    load = pl.col("consumption_kwh").cast(pl.Float64)
    return (
        grouped.agg(load.sum(), pl.col("consumption_kwh").count().alias("_parts"))
        .filter(pl.col("_parts") >= complete)
        .drop("_parts")
    )
