"""Measure the cost of keeping the hours current, compared with a REFRESH of the whole view, and per row of a load.

    .venv/bin/python benchmarks/hourly.py [--cities 1000] [--days 32] [--repeats 5]

keep     one new hour of ten-minute values for all cities, recorded by the triggers and folded in, compared with REFRESH
         MATERIALIZED VIEW CONCURRENTLY of hourly_consumption with the same hour. The hours that users read are compared
         with the facts, and the roll-up with the view.
recent   INSERT ... SELECT of rows that count as recent, with and without the recording triggers.
history  the same for rows of a year ago.
single   a thousand values of one coming hour, one statement each, likewise.

Prints wall-clock time and CPU time of the server process: on a shared machine only CPU time is comparable.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import measuring
import psycopg
import rows
from measuring import Took, timed

from energy_forecast.database import Connection

GOAL = 0.05
TRIGGERS = ("record_changed_insert", "record_changed_update", "record_changed_delete")
INSERT = """
    INSERT INTO energy_consumption (id, city_id, timestamp, consumption_kwh, peak_demand_kw, available_at,
        interval_minutes)
    SELECT id, id, t, 7, 7, t + interval '10 minutes', 10
    FROM (SELECT id FROM cities ORDER BY id) c,
    generate_series(%(first)s::timestamptz, %(end)s::timestamptz - interval '10 minutes', '10 minutes') t"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cities", type=int, default=1000)
    parser.add_argument("--days", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=300_000, help="rows of each load")
    options = parser.parse_args()
    with measuring.server() as server, measuring.database(server) as url:
        rows.fill(url, cities=options.cities, minutes=10, days=options.days, forecast_cities=0)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET timezone = 'UTC'")
            found = keep(connection, options.repeats)
            found += load(connection, options.cities, options.rows, options.repeats)
    facts = {"cities": options.cities, "days": options.days, "repeats": options.repeats}
    heads = ("wall s", "CPU s", "reference wall", "CPU", "wall ratio", "CPU ratio")
    print(f"{'what':24} {'{:>10} {:>10} {:>15} {:>10} {:>11} {:>10}'.format(*heads)}")
    for row in found:
        print(
            f"{row['what']:24} {row['wall']:10} {row['cpu']:10} {row['reference wall']:>15} {row['reference cpu']:>10}"
            f" {row['wall ratio']:>11} {row['cpu ratio']:>10}"
        )
    measuring.record("hourly", [facts | row for row in found])


def keep(connection: Connection, repeats: int) -> list[dict[str, object]]:
    """Record and fold one new hour per repeat, then refresh the whole view with it."""
    noted, folded, refreshed = [], [], []
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for number in range(repeats):
        span = {"first": hour + timedelta(hours=number), "end": hour + timedelta(hours=number + 1)}
        plain = _undone(connection, lambda span=span: connection.execute(INSERT, span), noting=False)
        # Not rolled back; the cost of recording is the difference to the insert without the triggers
        with_notes = timed(connection, lambda span=span: connection.execute(INSERT, span))
        noted.append(Took(max(0, with_notes.wall - plain.wall), max(0, with_notes.cpu - plain.cpu)))
        folded.append(timed(connection, lambda: connection.execute("SELECT ops.refresh_rollup()")))
        refreshed.append(timed(connection, lambda: connection.execute("CALL refresh_materialized_views()")))
        wrong = connection.execute(
            "SELECT (SELECT count(*) FROM ops.hourly_differences()), (SELECT count(*) FROM (TABLE hourly_consumption"
            " EXCEPT SELECT city_id, hour, total_consumption, peak_demand, covered_minutes"
            " FROM hourly_consumption_rollup) x), (SELECT count(*) FROM hourly_consumption)"
        ).fetchone()
        if wrong is None or wrong[:2] != (0, 0) or not wrong[2]:
            sys.exit(f"The roll-up differs from the facts or the view, or the view is empty: {wrong}")
    kept = [Took(n.wall + f.wall, n.cpu + f.cpu) for n, f in zip(noted, folded, strict=True)]
    return [_row("keep one hour", kept, refreshed, GOAL), _row("of which folding", folded, refreshed, "")]


def load(connection: Connection, cities: int, rows_at_least: int, repeats: int) -> list[dict[str, object]]:
    """Time loads of rows a week ahead, which count as recent, and of a year ago, with and without triggers."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    days = -(-rows_at_least // (cities * 144))
    found = []
    for what, first in (("load recent rows", end + timedelta(days=7)), ("load history", end - timedelta(days=365))):
        span = {"first": first, "end": first + timedelta(days=days)}
        connection.execute("SELECT ensure_month_partitions('energy_consumption', %(first)s, %(end)s)", span)
        times: dict[bool, list[Took]] = {False: [], True: []}
        for _ in range(repeats):
            for noting in (False, True):
                times[noting].append(
                    _undone(connection, lambda span=span: connection.execute(INSERT, span), noting=noting)
                )
        found.append(_row(what, times[True], times[False], "") | {"rows": cities * days * 144})
    times = {False: [], True: []}
    for _ in range(repeats):
        for noting in (False, True):
            times[noting].append(_undone(connection, lambda: _singles(connection, end), noting=noting))
    return [*found, _row("thousand single values", times[True], times[False], "") | {"rows": 1000}]


def _singles(connection: Connection, hour: datetime) -> None:
    cities = [row[0] for row in connection.execute("SELECT id FROM cities ORDER BY id LIMIT 200")]
    for number in range(1000):
        moment = hour + timedelta(hours=2, minutes=10 * (number // len(cities)))
        connection.execute(
            "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at, interval_minutes)"
            " VALUES (%s, %s, 1, %s, 10) ON CONFLICT (city_id, timestamp) DO UPDATE"
            " SET consumption_kwh = excluded.consumption_kwh, available_at = excluded.available_at",
            (cities[number % len(cities)], moment, moment + timedelta(minutes=10)),
        )


def _undone(connection: Connection, work: Callable[[], object], *, noting: bool) -> Took:
    """Time the work, then roll it back."""
    with connection.transaction(force_rollback=True):
        if not noting:
            for trigger in TRIGGERS:
                connection.execute(f"ALTER TABLE energy_consumption DISABLE TRIGGER {trigger}")  # type: ignore[arg-type]
        return timed(connection, work)


def _row(what: str, took: list[Took], reference: list[Took], goal: object) -> dict[str, object]:
    """Compute medians."""
    wall, cpu, reference_wall, reference_cpu = (
        statistics.median(getattr(each, name) for each in measured)
        for measured in (took, reference)
        for name in ("wall", "cpu")
    )
    return {
        "what": what,
        "rows": "",
        "wall": f"{wall:.4f}",
        "cpu": f"{cpu:.4f}",
        "reference wall": f"{reference_wall:.4f}",
        "reference cpu": f"{reference_cpu:.4f}",
        "wall ratio": f"{wall / reference_wall:.4f}",
        "cpu ratio": f"{cpu / reference_cpu:.4f}",
        "goal": goal,
    }


if __name__ == "__main__":
    main()
