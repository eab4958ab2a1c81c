"""The three common reports: right where plain SQL over the tables is not, and the same in every session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from energy_forecast.database import Database, Role, reports
from energy_forecast.database.scores import scores_that_count
from energy_forecast.errors import DatabaseError
from servers import Server

Connection = psycopg.Connection[Any]

PUNE = UUID("00000000-0000-0000-0000-000000000001")
BERLIN = UUID("00000000-0000-0000-0000-000000000002")
MODEL = "00000000-0000-0000-0000-000000000009"
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def shared(server: Server, template: str) -> Iterator[Connection]:
    """Two cities without a value; tests commit nothing."""
    with server.copy_of(template) as database, psycopg.connect(database.url) as connection:
        connection.execute(
            "INSERT INTO cities (id, name, latitude, longitude, timezone) VALUES"
            " (%s, 'Pune', 18.5, 73.9, 'Asia/Kolkata'), (%s, 'Berlin', 52.5, 13.4, 'Europe/Berlin')",
            (PUNE, BERLIN),
        )
        for table in ("energy_consumption", "weather_data"):
            connection.execute("SELECT ensure_month_partitions(%s, '2025-03-01Z', '2025-11-01Z')", (table,))
        connection.commit()
        yield connection


@pytest.fixture
def connection(shared: Connection) -> Iterator[Connection]:
    yield shared
    shared.rollback()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def load(connection: Connection, city: UUID, first: datetime, kwh: list[float | None], minutes: int = 60) -> None:
    """Values of consecutive intervals; None is a gap."""
    connection.execute(
        "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, peak_demand_kw, available_at,"
        " interval_minutes) SELECT %s, t, v, v, t + make_interval(mins => %s), %s"
        " FROM unnest(%s::timestamptz[], %s::numeric[]) AS u (t, v) WHERE v IS NOT NULL",
        (city, minutes, minutes, [first + timedelta(minutes=minutes * n) for n in range(len(kwh))], kwh),
    )


def warm(connection: Connection, city: UUID, first: datetime, degrees: list[float], minutes: int = 60) -> None:
    connection.execute(
        "INSERT INTO weather_data (city_id, timestamp, temperature, available_at, interval_minutes)"
        " SELECT %s, t, v, t + make_interval(mins => %s), %s FROM unnest(%s::timestamptz[], %s::numeric[]) AS u (t, v)",
        (city, minutes, minutes, [first + timedelta(minutes=minutes * n) for n in range(len(degrees))], degrees),
    )


def test_the_hours_of_a_half_hour_zone_begin_where_its_meter_begins_them(connection: Connection) -> None:
    """Summed by the UTC hour, local hours from 10:00 would all stand at half past."""
    load(connection, PUNE, at("2025-06-01T10:00+05:30"), [float(n) for n in range(48)])
    rows = reports.recent_consumption(connection, PUNE, hours=3, until=at("2025-06-03T10:00+05:30"))
    assert [(r["hour"], r["local_hour"], r["total_consumption"], r["minutes_known"]) for r in rows] == [
        (at("2025-06-03T07:00+05:30"), "2025-06-03 07:00 +05:30", 45, 60),
        (at("2025-06-03T08:00+05:30"), "2025-06-03 08:00 +05:30", 46, 60),
        (at("2025-06-03T09:00+05:30"), "2025-06-03 09:00 +05:30", 47, 60),
    ]


def test_ten_minutes_are_summed_and_an_hour_under_way_says_so(connection: Connection) -> None:
    load(connection, BERLIN, at("2025-06-01T00:00Z"), [10.0] * 8 + [None] * 2 + [10.0] * 4, minutes=10)
    rows = reports.recent_consumption(connection, BERLIN, hours=4, until=at("2025-06-01T02:20Z"))
    assert [(r["hour"].hour, r["total_consumption"], r["peak_demand"], r["minutes_known"]) for r in rows] == [
        (23, None, None, 0),
        (0, 60, 10, 60),
        (1, 40, 10, 40),
        (2, 20, 10, 20),
    ]


def test_what_came_after_the_end_of_the_span_is_not_in_it(connection: Connection) -> None:
    load(connection, BERLIN, at("2025-06-01T00:00Z"), [10.0] * 12, minutes=10)
    rows = reports.recent_consumption(connection, BERLIN, hours=1, until=at("2025-06-01T01:20Z"))
    assert [(r["total_consumption"], r["minutes_known"]) for r in rows] == [(20, 20)]


def test_intervals_that_overlap_are_seen(connection: Connection) -> None:
    """A meter that was changed in mid-hour, loaded from both files: the sum is not the hour's."""
    load(connection, BERLIN, at("2025-06-01T00:00Z"), [60.0])
    load(connection, BERLIN, at("2025-06-01T00:30Z"), [30.0], minutes=30)
    rows = reports.recent_consumption(connection, BERLIN, hours=1, until=at("2025-06-01T01:00Z"))
    assert [r["minutes_known"] for r in rows] == [90]


def test_an_hour_that_the_clock_had_twice_is_told_apart(connection: Connection) -> None:
    load(connection, BERLIN, at("2025-10-25T22:00Z"), [float(n) for n in range(6)])
    rows = reports.recent_consumption(connection, BERLIN, hours=4, until=at("2025-10-26T03:00Z"))
    assert [(r["local_hour"], r["total_consumption"]) for r in rows] == [
        ("2025-10-26 01:00 +02:00", 1),
        ("2025-10-26 02:00 +02:00", 2),
        ("2025-10-26 02:00 +01:00", 3),
        ("2025-10-26 03:00 +01:00", 4),
    ]


def test_the_days_in_which_the_last_hours_lie_are_whole_days(connection: Connection) -> None:
    load(connection, BERLIN, at("2025-10-24T22:00Z"), [1.0] * 60)
    rows = reports.recent_days(connection, BERLIN, hours=30, until=at("2025-10-26T23:00Z"))
    assert [(str(r["local_date"]), r["hours"], r["total_consumption"], r["is_complete"]) for r in rows] == [
        ("2025-10-25", 24, 24, True),
        ("2025-10-26", 25, 25, True),
    ]


def test_an_hour_is_joined_to_an_hour(connection: Connection) -> None:
    """A plain join pairs each ten minutes of load with each ten minutes of weather: 36 rows an hour."""
    load(connection, BERLIN, at("2025-06-01T00:00Z"), [10.0] * 12, minutes=10)
    warm(connection, BERLIN, at("2025-06-01T00:00Z"), [20.1, 20.2, 20.3, 20.4, 20.5, 20.6] * 2, minutes=10)
    rows = reports.weather_correlation(connection, BERLIN, days=1, until=at("2025-06-01T02:00Z"))
    assert rows == [
        {"temperature": 20, "temperature_end": 21, "avg_consumption": Decimal(60), "sample_count": 2},
    ]
    exact = connection.execute(
        "SELECT sum(sample_count), max(avg_consumption) FROM ("
        " SELECT w.temperature, avg(e.consumption_kwh) AS avg_consumption, count(*) AS sample_count"
        " FROM energy_consumption e JOIN weather_data w ON e.city_id = w.city_id"
        " AND date_trunc('hour', e.timestamp) = date_trunc('hour', w.timestamp) GROUP BY 1) AS joined"
    ).fetchone()
    assert exact == (72, 10)


def test_weather_is_joined_by_the_hours_of_the_city(connection: Connection) -> None:
    """Load at half past, weather on the hour: what starts in an hour of the city belongs to it."""
    load(connection, PUNE, at("2025-06-01T00:30Z"), [100.0, 200.0, 300.0])
    warm(connection, PUNE, at("2025-06-01T01:00Z"), [21.5, 22.5, 23.5])
    rows = reports.weather_correlation(connection, PUNE, days=1, until=at("2025-06-01T03:30Z"))
    assert [(r["temperature"], r["avg_consumption"]) for r in rows] == [(21, 100), (22, 200), (23, 300)]


def test_hours_without_weather_and_parts_of_hours_are_left_out_and_counted(connection: Connection) -> None:
    load(connection, BERLIN, at("2025-06-01T00:00Z"), [30.0] * 7, minutes=30)
    warm(connection, BERLIN, at("2025-06-01T00:00Z"), [-0.5, 0.5])
    until = at("2025-06-01T04:00Z")
    rows = reports.weather_correlation(connection, BERLIN, days=1, until=until)
    assert [(r["temperature"], r["temperature_end"], r["sample_count"]) for r in rows] == [(-1, 0, 1), (0, 1, 1)]
    facts = reports.weather_correlation_inputs(connection, BERLIN, days=1, until=until)
    assert (facts["hours"], facts["part_hours"], facts["hours_without_weather"]) == (2, 1, 1)
    assert facts["coefficient"] is None, "the same load at every temperature correlates with nothing"


@pytest.mark.parametrize(
    ("width", "edges"), [("0.25", ["20.00", "20.25"]), ("1", ["20"]), ("5", ["20"])], ids=["fine", "one", "wide"]
)
def test_temperatures_stand_in_bins(connection: Connection, width: str, edges: list[str]) -> None:
    load(connection, BERLIN, at("2025-06-01T00:00Z"), [1.0, 2.0, 3.0])
    warm(connection, BERLIN, at("2025-06-01T00:00Z"), [20.01, 20.24, 20.25])
    rows = reports.weather_correlation(
        connection, BERLIN, days=1, bin_width=Decimal(width), until=at("2025-06-01T03:00Z")
    )
    assert [r["temperature"] for r in rows] == [Decimal(edge) for edge in edges]
    assert sum(r["sample_count"] for r in rows) == 3


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York", "Pacific/Apia", "Europe/Berlin"])
def test_the_zone_of_the_session_changes_no_answer(connection: Connection, zone: str) -> None:
    """Two changes of the clock lie in the 200 days: a day added in the session's zone would be an hour off."""
    load(connection, PUNE, at("2025-03-20T00:30Z"), [float(n % 7) for n in range(24 * 215)])
    warm(connection, PUNE, at("2025-03-20T00:00Z"), [float(n % 11) for n in range(24 * 215)])
    until = at("2025-10-21T00:30Z")

    def answers() -> list[object]:
        return [
            reports.recent_consumption(connection, PUNE, hours=48, until=until),
            reports.recent_days(connection, PUNE, hours=48, until=until),
            reports.weather_correlation(connection, PUNE, days=200, until=until),
            reports.weather_correlation_inputs(connection, PUNE, days=200, until=until),
        ]

    in_utc = answers()
    connection.execute("SELECT set_config('timezone', %s, true)", (zone,))
    assert answers() == in_utc


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT * FROM recent_consumption(%s, 0)", "between 1 and 87840"),
        ("SELECT * FROM recent_consumption(%s, 1000000000)", "between 1 and 87840"),
        ("SELECT * FROM weather_correlation(%s, 30, 0)", "0.01 and 50"),
        ("SELECT * FROM weather_correlation(%s, 30, 'NaN')", "0.01 and 50"),
        ("SELECT * FROM weather_correlation(%s, NULL)", "1 and 3660"),
        ("SELECT * FROM daily_consumption(%s, '2025-01-02', '2025-01-01')", "not between 1 and 36525"),
        ("SELECT * FROM daily_consumption(%s, '2025-01-02', 'infinity')", "not between|out of range|infinite"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(connection: Connection, statement: str, says: str) -> None:
    with pytest.raises((errors.InvalidParameterValue, errors.DatetimeFieldOverflow), match=says):
        connection.execute(statement, (BERLIN,))


def test_a_city_that_is_not_there_has_no_answer(connection: Connection) -> None:
    nowhere = UUID(int=7)
    assert reports.recent_consumption(connection, nowhere) == []
    assert reports.recent_days(connection, nowhere) == []
    assert reports.weather_correlation(connection, nowhere) == []


def score(connection: Connection, **values: Any) -> None:
    """Return a row of forecast_scores, correct except for the given columns."""
    row = {
        "purpose": "live",
        "city_id": BERLIN,
        "period_start": "2025-06-01T00:00Z",
        "period_end": "2025-06-03T00:00Z",
        "lead_start_hours": 0,
        "lead_end_hours": 6,
        "pair_count": 10,
        "mape": 4.0,
        "rmse_kwh": 3.0,
        "coverage_90": 0.9,
        "digest": "a",
        "assumptions": "{}",
        "ago": "1 hour",
    } | values
    connection.execute(
        "INSERT INTO models (id, name, type, version, trained_until) VALUES (%s, 'naive-24', 'baseline', '1',"
        " '2025-01-01Z') ON CONFLICT DO NOTHING",
        (MODEL,),
    )
    # Scores of days ago: nobody could write them but for this
    connection.execute("ALTER TABLE forecast_scores DISABLE TRIGGER created_at_is_now")
    connection.execute(
        "INSERT INTO forecast_scores (model_id, city_id, purpose, weather, period_start, period_end, lead_start_hours,"
        " lead_end_hours, pair_count, pair_digest, mape, mae_kwh, rmse_kwh, pinball_kwh, coverage_90, width_90_kwh,"
        " actuals_as_of, assumptions, created_at) VALUES (%(model)s, %(city_id)s, %(purpose)s, 'none',"
        " %(period_start)s, %(period_end)s, %(lead_start_hours)s, %(lead_end_hours)s, %(pair_count)s,"
        " %(digest)s::text::bytea, %(mape)s, 1, %(rmse_kwh)s, 1, %(coverage_90)s, 1, now(), %(assumptions)s,"
        " now() - %(ago)s::interval)",
        row | {"model": MODEL},
    )


def test_scores_count_by_their_pairs_and_unlike_ones_are_not_mixed(connection: Connection) -> None:
    score(connection)
    score(connection, city_id=PUNE, pair_count=30, mape=8.0, rmse_kwh=5.0, coverage_90=0.5)
    score(connection, purpose="replay", mape=1.0)
    score(connection, period_start="2025-01-01T00:00Z", period_end="2025-02-01T00:00Z", mape=99.0, ago="8 days")
    rows = reports.model_performance(connection)
    assert [(r["purpose"], r["prediction_count"], r["city_count"]) for r in rows] == [
        ("replay", 10, 1),
        ("live", 40, 2),
    ]
    # (10 x 4 + 30 x 8) / 40; the root of (10 x 9 + 30 x 25) / 40; (10 x 0.9 + 30 x 0.5) / 40
    assert rows[1]["avg_mape"] == pytest.approx(7.0)
    assert rows[1]["avg_rmse"] == pytest.approx(21**0.5)
    assert rows[1]["coverage_90"] == pytest.approx(0.6)


def test_doctor_recomputes_a_score_of_each_local_month(connection: Connection) -> None:
    """March in Berlin begins in February by UTC, and must not hide a score of February that began later."""
    score(connection, period_start="2025-02-10T00:00Z", period_end="2025-02-28T23:00Z", ago="2 hours")
    score(connection, period_start="2025-02-28T23:00Z", period_end="2025-03-10T00:00Z")
    assert [f"{row['period_start']:%m-%d}" for row in scores_that_count(connection)] == ["02-10", "02-28"]


def test_what_was_scored_again_counts_once(connection: Connection) -> None:
    """A month is scored anew each day as it fills up, a correction scores it again, and a backtest has spans within."""
    score(connection, period_end="2025-06-02T00:00Z", mape=50.0, ago="3 days")
    score(connection, mape=50.0, digest="old", ago="2 days")
    score(connection)
    score(connection, lead_start_hours=6, lead_end_hours=24, mape=6.0)
    score(connection, purpose="backtest", lead_end_hours=24)
    score(connection, purpose="backtest", lead_end_hours=6, mape=60.0)
    rows = {r["purpose"]: r for r in reports.model_performance(connection)}
    assert (rows["live"]["prediction_count"], rows["live"]["avg_mape"]) == (20, pytest.approx(5.0))
    assert (rows["backtest"]["prediction_count"], rows["backtest"]["avg_mape"]) == (10, pytest.approx(4.0))


def test_backtests_with_other_assumptions_count_separately(connection: Connection) -> None:
    """A backtest with a shorter delay of the load neither hides one with a longer delay nor is averaged with it."""
    delays = [json.dumps({"load_delay_minutes": minutes, "load_delay_source": "option"}) for minutes in (60, 1800)]
    score(connection, purpose="backtest", assumptions=delays[0])
    score(connection, purpose="backtest", assumptions=delays[1], mape=6.0, ago="2 hours")
    score(connection, purpose="backtest", assumptions=delays[1], mape=9.0, lead_end_hours=3, ago="2 hours")
    rows = reports.model_performance(connection)
    assert [(r["assumptions"], r["avg_mape"]) for r in rows] == [
        (json.loads(delays[0]), pytest.approx(4.0)),
        (json.loads(delays[1]), pytest.approx(6.0)),
    ]


def test_plain_statements_run_over_the_tables(connection: Connection) -> None:
    """Statements written for tables of these names and columns need no change; their limits are in the documents."""
    connection.execute(
        "SELECT ensure_month_partitions(t, now() - interval '2 days', now()) FROM unnest(ARRAY['energy_consumption',"
        " 'weather_data']) AS t"
    )
    now = connection.execute("SELECT date_trunc('hour', now(), 'UTC')").fetchone()[0]  # type: ignore[index]
    load(connection, BERLIN, now - 3 * HOUR, [5.0] * 12, minutes=10)
    warm(connection, BERLIN, now - 3 * HOUR, [11.25, 11.75])
    recent = connection.execute(
        "SELECT sum(consumption_kwh), max(peak_demand_kw) FROM energy_consumption WHERE city_id = %s"
        " AND timestamp >= now() - interval '24 hours' GROUP BY date_trunc('hour', timestamp)",
        (BERLIN,),
    ).fetchall()
    assert recent == [(30, 5), (30, 5)]
    weather = connection.execute(
        "SELECT w.temperature, avg(e.consumption_kwh), count(*) FROM energy_consumption e JOIN weather_data w"
        " ON e.city_id = w.city_id AND date_trunc('hour', e.timestamp) = date_trunc('hour', w.timestamp)"
        " WHERE e.city_id = %s AND e.timestamp >= now() - interval '30 days' GROUP BY 1 ORDER BY 1",
        (BERLIN,),
    ).fetchall()
    assert weather == [(Decimal("11.25"), 5, 6), (Decimal("11.75"), 5, 6)]
    score(connection)
    connection.execute(
        "INSERT INTO model_metrics (model_id, timestamp, mape, rmse) VALUES (%s, now(), 3, 30), (%s, now() - interval"
        " '1 hour', 5, 50), (%s, now() - interval '8 days', 90, 90)",
        (MODEL, MODEL, MODEL),
    )
    performance = connection.execute(
        "SELECT m.name, avg(mm.mape), avg(mm.rmse), count(*) FROM models m JOIN model_metrics mm ON m.id = mm.model_id"
        " WHERE mm.timestamp >= now() - interval '7 days' GROUP BY m.name, m.version"
    ).fetchall()
    assert performance == [("naive-24", 4, 40, 2)]


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
def test_a_question_looks_at_the_months_of_its_span_alone(connection: Connection, mode: str) -> None:
    """By an index, and whatever the plan: with two years of months the others would cost more than the answer."""

    def scans() -> dict[str, tuple[int, int]]:
        return {
            name: (whole, by_index)
            for name, whole, by_index in connection.execute(
                "SELECT relname, seq_scan, coalesce(idx_scan, 0) FROM pg_stat_xact_all_tables"
                " WHERE relname ~ '^(energy_consumption|weather_data)_y'"
            )
        }

    load(connection, BERLIN, at("2025-05-20T00:00Z"), [float(n % 7) for n in range(6 * 24 * 20)], minutes=10)
    # So many others that the rows of one city are few among those of a month
    for (other,) in connection.execute(
        "INSERT INTO cities (name, latitude, longitude, timezone) SELECT 'Other ' || n, 0, 0, 'UTC'"
        " FROM generate_series(1, 12) AS n RETURNING id"
    ).fetchall():
        load(connection, other, at("2025-05-20T00:00Z"), [float(n % 7) for n in range(6 * 24 * 20)], minutes=10)
    warm(connection, BERLIN, at("2025-05-20T00:00Z"), [float(n % 11) for n in range(24 * 20)])
    connection.execute("ANALYZE energy_consumption")
    connection.execute("ANALYZE weather_data")
    connection.execute("SELECT set_config('plan_cache_mode', %s, true)", (mode,))
    before = scans()
    assert len(reports.recent_consumption(connection, BERLIN, until=at("2025-06-05T00:00Z"))) == 24
    assert len(reports.weather_correlation(connection, BERLIN, days=10, until=at("2025-06-05T00:00Z"))) == 11
    used = {name: found for name, found in scans().items() if found != before.get(name)}
    assert set(used) == {f"{table}_y2025m0{m}" for table in ("energy_consumption", "weather_data") for m in (5, 6)}
    for table in ("energy_consumption_y2025m05", "energy_consumption_y2025m06"):
        assert used[table][0] == before.get(table, (0, 0))[0], f"{table} is read whole"


def test_the_temperature_is_read_from_the_key_alone(connection: Connection) -> None:
    """Weather arrives hour by hour for all cities: each value of one lies on a page of its own."""
    connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    plan = connection.execute(
        "EXPLAIN (COSTS OFF) SELECT avg(temperature) FROM weather_data WHERE city_id = %s"
        " AND timestamp >= '2025-05-20Z' AND timestamp < '2025-06-10Z'",
        (BERLIN,),
    ).fetchall()
    scans = [line.strip() for (line,) in plan if "Scan" in line]
    assert len(scans) == 2
    assert all("Index Only Scan using weather_data_y2025m0" in scan for scan in scans), scans


def test_what_went_while_one_looked_at_it_is_said_in_words(database: Database) -> None:
    """As a partition goes that retention drops between two looks at the catalog."""
    with (
        pytest.raises(DatabaseError, match=r"Another session dropped a table.*Run it again"),
        database.reading() as connection,
    ):
        connection.execute("SELECT array_in('{1}', 4294967295, -1)")


def test_reading_writes_nothing_even_where_the_role_may(database: Database) -> None:
    with pytest.raises(DatabaseError, match="read-only"), database.reading() as connection:
        connection.execute("CREATE SCHEMA anything")
    with database.reading() as connection:
        assert connection.execute("SELECT current_user").fetchone() == (Role.OPERATOR,)
