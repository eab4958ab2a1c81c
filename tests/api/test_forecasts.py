"""Forecasts over HTTP: those in use, those issued before, one interval over all issues, and all cities at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest

import energy_forecast as ef
from api.conftest import NOW, Api, body
from energy_forecast import pipelines
from energy_forecast.readings.catalog import READINGS

BERLIN = "/v1/cities/Berlin"
FORECAST_FACTS = {
    *("issued_at", "recorded_at", "as_of", "model", "version", "run_id", "purpose", "champion"),
    *("quantile_levels", "notes", "label", "unit", "units", "interval_minutes"),
}


def stored(api: Api, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(api.database.url) as connection:
        connection.execute("SET timezone = 'UTC'")
        return connection.execute(statement.encode(), parameters).fetchall()


def test_live_forecast_is_the_stored_one(api: Api) -> None:
    found = body(api.get(f"{BERLIN}/forecast"))
    assert set(found) >= FORECAST_FACTS
    assert (found["interval"], found["unit"], found["label"]) == ("PT60M", "kWh", "start")
    rows = stored(
        api,
        'SELECT to_char(v.timestamp, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\'), v.predicted_consumption, v.quantiles::float8[]'
        " FROM vintage_values v JOIN cities c ON c.id = v.city_id JOIN forecast_runs r ON r.id = v.run_id"
        " WHERE c.name = 'Berlin' AND r.id = %s AND r.purpose = 'live' ORDER BY 1",
        found["run_id"],
    )
    assert len(rows) == 48
    assert [(when, value) for when, value, _ in rows] == list(
        zip(found["columns"]["timestamp"], found["columns"]["predicted"], strict=True)
    )
    assert found["quantiles"]["0.95"] == [quantiles[-1] for *_, quantiles in rows]
    assert list(found["quantiles"]) == [f"{level:g}" for level in found["quantile_levels"]]


def test_forecast_as_of_a_time_before_the_first_issue_is_missing(api: Api) -> None:
    """The forecasts of the past are replays: nobody could use them then."""
    at = f"{NOW - timedelta(hours=20):%Y-%m-%dT%H:%MZ}"
    answer = api.get(f"{BERLIN}/forecast?as_of={at}")
    assert (answer.status, body(answer)["type"]) == (404, "/problems/not-enough-data")


def test_some_levels_and_a_span_limit_the_forecast(api: Api) -> None:
    first = NOW + timedelta(hours=3)
    span = f"from={first:%Y-%m-%dT%H:%MZ}&to={first + timedelta(hours=2):%Y-%m-%dT%H:%MZ}"
    found = body(api.get(f"{BERLIN}/forecast?levels=0.95,0.05&{span}"))
    assert list(found["quantiles"]) == ["0.05", "0.95"]
    assert found["columns"]["timestamp"][0] == f"{first:%Y-%m-%dT%H:%M:%SZ}"
    assert len(found["columns"]["timestamp"]) == 2
    for levels in ("0.51", "x", "0.05,,0.5", "nan", "1e400"):
        assert api.get(f"{BERLIN}/forecast?levels={levels}").status == 422


def test_known_forecast_is_not_sent_again(api: Api) -> None:
    first = api.get(f"{BERLIN}/forecast")
    assert api.get(f"{BERLIN}/forecast", If_None_Match=first.headers["ETag"]).status == 304
    pipelines.forecast(api.database, cities=["Berlin"], model="naive-24", horizon=timedelta(hours=24))
    assert api.get(f"{BERLIN}/forecast", If_None_Match=first.headers["ETag"]).status == 200


def test_pages_of_forecasts_have_each_issue_once(api: Api) -> None:
    everything = body(api.get(f"{BERLIN}/forecasts?limit=1000"))
    assert everything["next"] is None
    runs, path = [], f"{BERLIN}/forecasts?limit=1"
    while path:
        answer = api.get(path)
        runs += body(answer)["columns"]["run_id"]
        link = answer.headers.get("Link", "")
        path = link.partition("<")[2].partition(">")[0].removeprefix(api.address)
    assert runs == everything["columns"]["run_id"]
    assert len(runs) >= 3
    for cursor in ("x", "WzFd", "e30", "W251bGwsbnVsbF0", "%00"):
        assert api.get(f"{BERLIN}/forecasts?cursor={cursor}").status == 422


def test_issued_forecast_never_changes(api: Api) -> None:
    run = body(api.get(f"{BERLIN}/forecasts"))["columns"]["run_id"][-1]
    answer = api.get(f"{BERLIN}/forecasts/{run}")
    assert "immutable" in answer.headers["Cache-Control"]
    assert body(answer)["purpose"] == "replay"
    for path in (f"/v1/cities/Pune/forecasts/{run}", f"{BERLIN}/forecasts/00000000-0000-4000-8000-000000000000"):
        assert api.get(path).status == 404
    assert api.get(f"{BERLIN}/forecasts/x").status == 422


def test_evolution_has_all_issues_of_an_interval(api: Api) -> None:
    at = NOW + timedelta(hours=1, minutes=30)
    found = body(api.get(f"{BERLIN}/evolution?timestamp={at:%Y-%m-%dT%H:%MZ}&levels=0.5"))
    assert {"replay", "live"} <= set(found["columns"]["purpose"])
    assert found["columns"]["issued_at"] == sorted(found["columns"]["issued_at"])
    assert found["columns"]["lead_hours"][0] == pytest.approx(25.5)
    assert len(found["quantiles"]["0.5"]) == len(found["columns"]["predicted"])


def test_peak_of_each_day_is_its_highest_forecast(api: Api) -> None:
    found = body(api.get(f"{BERLIN}/peaks"))["columns"]
    forecast = body(api.get(f"{BERLIN}/forecast"))["columns"]
    assert max(found["predicted"]) == max(forecast["predicted"])
    assert len(found["day"]) == len(set(found["day"])) >= 2
    assert sum(found["minutes_known"]) == 60 * len(forecast["timestamp"])


def test_matrix_and_snapshot_have_the_readers_cities(api: Api) -> None:
    answer = api.get("/v1/forecasts?format=arrow", "bert")
    matrix = pl.read_ipc_stream(answer.data)
    assert matrix["city"].unique().to_list() == ["Pune"]
    single = pl.read_ipc_stream(api.get("/v1/cities/Pune/forecast?format=arrow", "bert").data)
    assert matrix.select(single.columns).equals(single)
    at = NOW + timedelta(hours=5, minutes=10)
    snapshot = pl.read_ipc_stream(
        api.get(f"/v1/forecasts/snapshot?timestamp={at:%Y-%m-%dT%H:%MZ}&format=arrow", "bert").data
    )
    assert snapshot.equals(matrix.filter(pl.col("timestamp") == NOW + timedelta(hours=5)))


def test_columns_are_those_of_the_catalog(api: Api) -> None:
    """Or the description of the API would be wrong."""
    run = body(api.get(f"{BERLIN}/forecasts"))["columns"]["run_id"][0]
    for reading in READINGS.values():
        if reading.tag not in {"data", "forecasts"}:
            continue
        path = reading.path.replace("{city}", "Berlin").replace("{run}", run)
        query = f"&timestamp={NOW:%Y-%m-%dT%H:%MZ}" if reading.name in {"evolution", "snapshot"} else ""
        frame = pl.read_ipc_stream(api.get(f"{path}?format=arrow{query}").data)
        names = [name for name in frame.columns if not (name[0] == "q" and name[1:].isdigit())]
        assert names == list(reading.schema), reading.name
        assert (len(names) < len(frame.columns)) == reading.has_quantiles, reading.name
        found = {name: frame.schema[name] for name in names}
        assert found == dict(pl.DataFrame(schema=reading.schema).schema), reading.name


def test_resolutions_add_up(api: Api) -> None:
    """Days of the city's zone; each interval is in one hour and one day."""
    span = f"from={NOW - timedelta(days=20):%Y-%m-%dT%H:%MZ}"
    totals = []
    for resolution in ("interval", "hour", "day"):
        found = body(api.get(f"{BERLIN}/consumption?{span}&resolution={resolution}"))["columns"]
        totals.append(round(sum(found["consumption_kwh"]), 2))
        assert sum(found["minutes_known"]) == 20 * 24 * 60
    assert len(set(totals)) == 1
    assert len(found["timestamp"]) in {20, 21}


def test_local_day_of_a_clock_change_has_25_hours(api: Api) -> None:
    first = datetime(2025, 10, 25, tzinfo=UTC)
    hours = pl.datetime_range(first, first + timedelta(days=3), "1h", eager=True)
    with ef.connect(api.database.url) as platform:
        load = pl.DataFrame({"timestamp": hours}).with_columns(city=pl.lit("Berlin"), consumption_kwh=pl.lit(1.0))
        platform.ingest("consumption", load, check=False)
    found = body(api.get(f"{BERLIN}/consumption?day=2025-10-26&resolution=day"))["columns"]
    assert (found["consumption_kwh"], found["interval_minutes"]) == ([25.0], [1500])
    assert found["timestamp"] == ["2025-10-25T22:00:00Z"]
    assert len(body(api.get(f"{BERLIN}/consumption?day=2025-10-26"))["columns"]["timestamp"]) == 25
    for day in ("2025-13-01", "2025-10-26&from=2025-10-26T00:00Z", "1969-01-01", "2025-1-1"):
        assert api.get(f"{BERLIN}/consumption?day={day}").status == 422
