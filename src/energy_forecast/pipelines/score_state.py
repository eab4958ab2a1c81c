"""The stored state of `score`: sums of pairs by model version, purpose, weather, lead-time bucket and hour.

A row of ops.scored_days has the actuals of a UTC day, and its sums as records of one hour and bucket each.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl

from energy_forecast.forecasting.evaluation.hour_sums import HOUR_SUMS, hour_sums
from energy_forecast.forecasting.hours import REPORT_LEADS

MINUTE = 60_000_000
HOUR = 60 * MINUTE
_PURPOSES = ("live", "replay")
_WEATHERS = ("actual", "forecast", "none")
# Model version (16 bytes), index of purpose, weather and bucket: fixed length, so that equal text is equal bytes
_KEY = "S19"
# In memory: `hour` counts the hours of the city since 1970
RECORDS = np.dtype([("key", _KEY), ("hour", "<i8"), *((name, HOUR_SUMS[name]) for name in HOUR_SUMS.names or ())])
_SUMMED = ("count", "inside", "absolute", "squared", "error", "pinball", "width", "digest")
# Stored, 100 bytes: the time and the actuals are those of the day
_STORED = np.dtype([("key", _KEY), ("hour", "u1"), *((name, HOUR_SUMS[name]) for name in _SUMMED)])
Records = np.ndarray[Any, Any]
_GROUPS = ("model_id", "purpose", "weather", "bucket")


def records_of(pairs: pl.DataFrame, phase: int) -> Records:
    """Return the records of pairs, without those of lead times outside the buckets.

    Args:
        pairs: model_id, purpose, weather, and as in `hour_sums`.
        phase: the minute past the UTC hour at which the hours begin.
    """
    lead = pl.col("timestamp") - pl.col("issued_at")
    bucket = pl.lit(None, pl.Int64)
    for place, (low, high) in enumerate(REPORT_LEADS):
        inside = (lead >= timedelta(hours=low)) & (lead < timedelta(hours=high))
        bucket = pl.when(inside).then(pl.lit(place)).otherwise(bucket)
    placed = pairs.with_columns(bucket.alias("bucket")).filter(pl.col("bucket").is_not_null())
    groups, sums = hour_sums(placed, *_GROUPS)
    records = np.zeros(len(sums), RECORDS)
    records["key"] = [
        UUID(model).bytes + bytes((_PURPOSES.index(purpose), _WEATHERS.index(weather), place))
        for model, purpose, weather, place in groups.iter_rows()
    ]
    records["hour"] = (sums["timestamp"] - phase * MINUTE) // HOUR
    for name in HOUR_SUMS.names or ():
        records[name] = sums[name]
    return records


def group_of(key: bytes) -> dict[str, Any]:
    """Return model_id, purpose, weather and the bucket of lead times, as the columns of forecast_scores."""
    whole = key.ljust(19, b"\0")
    low, high = REPORT_LEADS[whole[18]]
    return {
        "model_id": UUID(bytes=whole[:16]),
        "purpose": _PURPOSES[whole[16]],
        "weather": _WEATHERS[whole[17]],
        "lead_start_hours": low,
        "lead_end_hours": high,
    }


def pack(records: Records) -> bytes:
    """Return the records of one day as they are stored."""
    stored = np.zeros(len(records), _STORED)
    ordered = records[np.argsort(records, order=("key", "hour"))] if len(records) else records
    for name in ("key", *_SUMMED):
        stored[name] = ordered[name]
    stored["hour"] = ordered["hour"] % 24
    return stored.tobytes()


def unpack(sums: bytes, day: int, phase: int, actuals: np.ndarray[Any, Any]) -> Records:
    """Return the records of one day.

    Args:
        actuals: [24, 2], actual and reference of each hour.
    """
    stored = np.frombuffer(sums, _STORED)
    records = np.zeros(len(stored), RECORDS)
    for name in ("key", *_SUMMED):
        records[name] = stored[name]
    place = stored["hour"].astype(np.int64)
    records["hour"] = 24 * day + place
    records["timestamp"] = records["hour"] * HOUR + phase * MINUTE
    records["actual"], records["reference"] = actuals[place, 0], actuals[place, 1]
    return records


def sums_of(records: Records) -> Records:
    """Return the rows of HOUR_SUMS of one group, by time."""
    ordered = records[np.argsort(records["hour"])]
    sums = np.zeros(len(ordered), HOUR_SUMS)
    for name in HOUR_SUMS.names or ():
        sums[name] = ordered[name]
    return sums
