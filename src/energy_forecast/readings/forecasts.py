"""Readings of forecasts: those in use, those issued before, and those of all cities at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import polars as pl

from energy_forecast.database.cities import city_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection
from energy_forecast.database.readings import dicts_of, vintage_frame
from energy_forecast.errors import EnergyForecastError, NotEnoughDataError, NotFoundError
from energy_forecast.local_times import to_local
from energy_forecast.readings.cursors import cursor_of, position_of
from energy_forecast.readings.spans import span_of
from energy_forecast.tables import UTC_TIME, Schema, Table, quantile_column, quantile_level

_LONGEST_HORIZON = timedelta(hours=168)
_MOST_VINTAGES = 500
FORECAST: Schema = {"timestamp": UTC_TIME, "interval_end": UTC_TIME, "predicted": pl.Float64}
_RUN: Schema = {
    "run_id": pl.String,
    "issued_at": UTC_TIME,
    "recorded_at": UTC_TIME,
    **dict.fromkeys(("model", "version", "purpose"), pl.String),
}
FORECASTS: Schema = {**_RUN, "weather": pl.String, "first": UTC_TIME, "end": UTC_TIME, "interval_minutes": pl.Int32}
EVOLUTION: Schema = {**_RUN, "lead_hours": pl.Float64, "predicted": pl.Float64}
VINTAGES: Schema = {**_RUN, **FORECAST}
PEAKS: Schema = {"day": pl.Date, **FORECAST, "minutes_known": pl.Int32}
MATRIX: Schema = {
    "city": pl.String,
    **{name: kind for name, kind in _RUN.items() if name != "purpose"},
    "champion": pl.Boolean,
    **FORECAST,
}
Purpose = Literal["live", "replay", "backtest"]


def live_forecast(
    connection: Connection,
    city: str,
    *,
    as_of: datetime | None = None,
    model: str | None = None,
    purpose: Literal["live", "replay"] = "live",
    levels: Sequence[float] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    day: date | None = None,
) -> Table:
    """Return the forecast of a city that is in use, or was in use at a time. All rows are of one run.

    It is the newest live forecast of the champion, or of a model that was used in its place. Without a champion, it is
    the newest live forecast of any model. With `purpose` replay, it is the newest replay, by its time of issue: nobody
    used it at that time, because it was made later.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        NotEnoughDataError: no live forecast was issued in the eight days before.
        EnergyForecastError: a level is not stored, or the span is empty.
    """
    row = _of_city(connection, "served_forecast", city, as_of, model, purpose)
    if row["run_id"] is None:
        of_model = "" if model is None else f" of {model}"
        raise NotEnoughDataError(
            f"{row['city']} has no {purpose} forecast{of_model} of the eight days before "
            f"{row['as_of']:%Y-%m-%d %H:%M}Z.",
            hint="Issue one: energy-forecast forecast, or POST /v1/runs."
            if as_of is None
            else "Choose another `as_of`.",
        )
    facts = _facts(row) | {"as_of": row["as_of"]}
    if row["issued_before"] is not None and as_of is None:
        expected = row["issued_at"] + (row["issued_at"] - row["issued_before"])
        facts["next_issue_at"] = expected if expected > row["as_of"] else None
    return _limited(Table(_frame([row]), facts), levels, start, end, day)


def live_forecast_state(
    connection: Connection,
    city: str,
    *,
    as_of: datetime | None = None,
    model: str | None = None,
    purpose: Literal["live", "replay"] = "live",
    **_: Any,
) -> str:
    """Return the run of `live_forecast`: the same run has the same rows."""
    return str(_of_city(connection, "served_run", city, as_of, model, purpose)["run_id"])


def _of_city(
    connection: Connection, query: str, city: str, as_of: datetime | None, model: str | None, purpose: str
) -> dict[str, Any]:
    """Return the row of a query of a city, which is looked up first only if it has no row under this spelling.

    Raises:
        UnknownCityError: the reader sees no city of this name.
    """
    parameters = {"name": city.replace("\0", ""), "as_of": as_of, "model": model, "purpose": purpose}
    rows = dicts_of(connection, query, parameters)
    return (rows or dicts_of(connection, query, parameters | {"name": city_named(connection, city).name}))[0]


def issued_forecast(connection: Connection, city: str, run: UUID, *, levels: Sequence[float] | None = None) -> Table:
    """Return the forecast of a run for a city. It never changes.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        NotFoundError: the run did not forecast this city.
        EnergyForecastError: a level is not stored.
    """
    place = city_named(connection, city)
    rows = dicts_of(connection, "issued_forecast", {"city": place.id, "run": run})
    if not rows:
        raise NotFoundError(f"{place.name} has no forecast of the run {run}.", hint="`forecasts` lists them.")
    return _limited(Table(_frame(rows), _facts(rows[0] | {"timezone": place.timezone})), levels, None, None, None)


def forecasts(
    connection: Connection,
    city: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    purpose: Purpose | None = None,
    model: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Table:
    """Return the issued forecasts of a city without their values, the last issue first.

    `start` and `end` limit the time of issue. If there are more rows than `limit`, the fact `next` is the cursor of the
    following ones; otherwise it is null.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: the cursor is not one of this list.
    """
    place = city_named(connection, city)
    before, before_run = position_of(cursor, datetime.fromisoformat, UUID) if cursor is not None else (None, None)
    parameters = {
        "city": place.id,
        "purpose": purpose,
        "model": model,
        "first": start or datetime(1970, 1, 1, tzinfo=UTC),
        "end": end or database_now(connection) + timedelta(seconds=1),
        "before": before,
        "before_run": before_run,
        "limit": limit + 1,
    }
    rows = dicts_of(connection, "forecasts", parameters)
    last = rows[limit - 1] if len(rows) > limit else None
    following = None if last is None else cursor_of(last["issued_at"].isoformat(), last["run_id"])
    return Table(_listed(rows[:limit], FORECASTS), {"city": place.name, "timezone": place.timezone, "next": following})


def vintages(
    connection: Connection,
    city: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    purpose: Purpose = "live",
    model: str | None = None,
    levels: Sequence[float] | None = None,
) -> Table:
    """Return all forecasts of a city that were issued in a span, with their values, in the order of their issue.

    `start` and `end` limit the time of issue; by default it is the last three days. At most 500 forecasts are returned.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: a level is not stored, the span is empty, or it has more than 500 forecasts.
    """
    place = city_named(connection, city)
    now = database_now(connection)
    default = now - timedelta(days=3), now + timedelta(seconds=1)
    first, last = span_of(start, end, day=None, zone=place.timezone, default=default)
    given = {"city": place.id, "first": first, "end": last, "purpose": purpose, "model": model}
    rows = dicts_of(connection, "vintages", given | {"limit": _MOST_VINTAGES + 1})
    if len(rows) > _MOST_VINTAGES:
        raise EnergyForecastError(
            f"More than {_MOST_VINTAGES} forecasts were issued in the span.", hint="Choose a shorter one, or a `model`."
        )
    facts = {"city": place.name, "timezone": place.timezone, "start": first, "end": last, "purpose": purpose}
    if not rows:
        return Table(pl.DataFrame(schema=VINTAGES), facts)
    values = _values(rows).rename({"city": "run_id"})
    runs = _listed(rows, _RUN)
    frame = values.join(runs, on="run_id", how="left", maintain_order="left")
    return Table(_with_levels(frame.select(*VINTAGES, *_quantiles_of(frame)), levels), facts)


def evolution(
    connection: Connection, city: str, *, timestamp: datetime, levels: Sequence[float] | None = None
) -> Table:
    """Return all forecasts of a city for the interval that contains a time, in the order of their issue.

    Live forecasts, replays and backtests are told apart by `purpose`.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: a level is not stored.
    """
    place = city_named(connection, city)
    rows = dicts_of(connection, "evolution", {"city": place.id, "timestamp": timestamp})
    stored = sorted({level for row in rows for level in row["quantile_levels"]})
    chosen = _chosen_levels(levels, stored)
    for row in rows:
        row["run_id"] = str(row["run_id"])
        row["lead_hours"] = (timestamp - row["issued_at"]) / timedelta(hours=1)
        by_level = dict(zip(row["quantile_levels"], row["quantiles"], strict=True))
        row |= {quantile_column(level): by_level.get(level) for level in chosen}
    schema = EVOLUTION | {quantile_column(level): pl.Float64 for level in chosen}
    frame = pl.DataFrame([{name: row[name] for name in schema} for row in rows], schema=schema)
    return Table(frame, {"city": place.name, "timezone": place.timezone, "timestamp": timestamp})


def peaks(connection: Connection, city: str, *, as_of: datetime | None = None, model: str | None = None) -> Table:
    """Return, for each local day of the forecast in use, the interval with the highest forecast and its quantiles.

    The quantiles are those of the load in this interval. They are not the distribution of the highest load of the day,
    which is higher, because another interval may have the peak. `minutes_known` is the part of the day that the
    forecast covers.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        NotEnoughDataError: no live forecast was issued in the eight days before.
    """
    table = live_forecast(connection, city, as_of=as_of, model=model)
    minutes = (pl.col("interval_end") - pl.col("timestamp")).dt.total_minutes()
    days = to_local(table.frame["timestamp"], table.facts["timezone"]).dt.date().alias("day")
    frame = (
        table.frame.with_columns(days, minutes.alias("minutes_known"))
        .with_columns(pl.col("minutes_known").sum().over("day").cast(pl.Int32))
        .sort("day", "predicted", "timestamp", descending=[False, True, False])
        .unique("day", keep="first", maintain_order=True)
    )
    return Table(frame.select(*PEAKS, *_quantiles_of(frame)), table.facts)


def snapshot(connection: Connection, *, timestamp: datetime, as_of: datetime | None = None) -> Table:
    """Return the forecasts in use of all cities of the reader for the interval that contains a time.

    Cities without a forecast of this interval have no row. Each city has its own run.
    """
    known_at = as_of or database_now(connection)
    frame = _of_all_cities(connection, known_at, None)
    frame = frame.filter(pl.col("timestamp") <= timestamp, pl.col("interval_end") > timestamp)
    return Table(frame, {"timestamp": timestamp, "as_of": known_at, "purpose": "live"})


def matrix(
    connection: Connection,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    as_of: datetime | None = None,
    model: str | None = None,
    levels: Sequence[float] | None = None,
) -> Table:
    """Return the forecasts in use of all cities of the reader over a span, by default the coming week.

    Cities without a live forecast have no row. Each city has its own run.

    Raises:
        EnergyForecastError: a level is not stored, or the span is empty or too long.
    """
    known_at = as_of or database_now(connection)
    first, last = span_of(
        start, end, day=None, zone="UTC", default=(known_at - timedelta(hours=1), known_at + _LONGEST_HORIZON)
    )
    frame = _of_all_cities(connection, known_at, model)
    frame = frame.filter(pl.col("timestamp") >= first, pl.col("timestamp") < last)
    facts = {"start": first, "end": last, "as_of": known_at, "purpose": "live"}
    return Table(_with_levels(frame, levels) if frame.height else frame, facts)


def _of_all_cities(connection: Connection, known_at: datetime, model: str | None) -> pl.DataFrame:
    """Return the values of the forecasts in use at a time, with their runs, by city and time."""
    rows = dicts_of(connection, "served_forecasts", {"as_of": known_at, "model": model})
    if not rows:
        return pl.DataFrame(schema=MATRIX)
    values = _values(rows)
    # The rows of a city follow each other, so the columns of its run are repeated without a join
    counts = pl.DataFrame({"city": [row["city"] for row in rows]}).join(
        values.group_by("city").len(), on="city", maintain_order="left"
    )["len"]
    places = pl.Series(range(len(rows)), dtype=pl.UInt32).repeat_by(counts).explode()
    runs = _listed(rows, {name: kind for name, kind in MATRIX.items() if name not in FORECAST})[places]
    return pl.concat([runs, values.drop("city")], how="horizontal")


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return the values of one forecast."""
    frame = vintage_frame(rows, rows[0]["quantile_levels"])
    # `drop` is an expression, which waits for the threads of polars: up to 1 ms on a busy machine
    frame.drop_in_place("city")
    return frame


def _values(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return the values of forecasts of several cities, which may have different quantile levels."""
    by_levels: dict[tuple[float, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        by_levels.setdefault(tuple(row["quantile_levels"]), []).append(row)
    parts = [vintage_frame(part, levels) for levels, part in by_levels.items()]
    if len(parts) == 1:
        return parts[0]
    order = pl.DataFrame({"city": [row["city"] for row in rows]}).with_row_index("place")
    return pl.concat(parts, how="diagonal").join(order, on="city").sort("place", "timestamp").drop("place")


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("run_id", "issued_at", "recorded_at", "model", "version", "purpose", "weather", "champion")
    more = ("fallback_level", "notes", "quantile_levels", "interval_minutes")
    return {name: row[name] for name in ("city", "timezone", *names, *more)}


def _limited(
    table: Table,
    levels: Sequence[float] | None,
    start: datetime | None,
    end: datetime | None,
    day: date | None,
) -> Table:
    frame = table.frame
    if start is not None or end is not None or day is not None:
        whole = frame["timestamp"][0], frame["interval_end"][-1]
        first, last = span_of(start, end, day=day, zone=table.facts["timezone"], default=whole)
        frame = frame.filter(pl.col("timestamp") >= first, pl.col("timestamp") < last)
    return Table(_with_levels(frame, levels), table.facts)


def _with_levels(frame: pl.DataFrame, levels: Sequence[float] | None) -> pl.DataFrame:
    """Return the frame with the quantiles of some levels only."""
    stored = [level for name in frame.columns if (level := quantile_level(name)) is not None]
    chosen = _chosen_levels(levels, stored)
    dropped = {quantile_column(level) for level in stored if level not in chosen}
    return frame[[name for name in frame.columns if name not in dropped]] if dropped else frame


def _chosen_levels(levels: Sequence[float] | None, stored: Sequence[float]) -> list[float]:
    if levels is None:
        return list(stored)
    for level in levels:
        if level not in stored:
            known = ", ".join(f"{one:g}" for one in stored) or "none"
            raise EnergyForecastError(f"`levels`: {level:g} is not stored.", hint=f"Stored levels: {known}.")
    return sorted(set(levels))


def _quantiles_of(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if quantile_level(name) is not None]


def _listed(rows: Sequence[Mapping[str, Any]], schema: Schema) -> pl.DataFrame:
    """Return some columns of rows, with ids as text."""
    values = [{name: str(row[name]) if name == "run_id" else row[name] for name in schema} for row in rows]
    return pl.DataFrame(values, schema=schema)
