"""Months that do not exist yet are filled beside their table: same rows, partitions and audit, whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import polars as pl
import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from energy_forecast.database import Connection, Database, Role, staging
from energy_forecast.database.migrate import upgrade
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import DatabaseError, IngestError
from energy_forecast.ingest import Report, import_cities, load_files
from energy_forecast.ingest.bulk import coverage, strategy
from energy_forecast.ingest.readers import parquet
from energy_forecast.operations.audit import verify_audit
from energy_forecast.operations.maintenance import maintain
from energy_forecast.postgres import EmbeddedServer
from held_loads import BEFORE_COMMIT, gone, held_up
from servers import Server

CITIES = 3
HOURS = 24 * 70
START = datetime(2019, 1, 20, tzinfo=UTC)
LOAD = """
import sys
from pathlib import Path
from energy_forecast.database import Database
from energy_forecast.ingest import load_files
from energy_forecast.ingest.bulk import strategy
strategy.PARTITION_LOAD_ROWS = 0
load_files(Database(sys.argv[1]), "consumption", [Path(sys.argv[2])])
"""


@pytest.fixture(autouse=True)
def small_loads_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategy, "PARTITION_LOAD_ROWS", 0)


@pytest.fixture
def cities(database: Database, tmp_path: Path) -> Database:
    """Return a database with three cities."""
    return with_cities(database, tmp_path)


def with_cities(database: Database, folder: Path) -> Database:
    path = folder / "cities.csv"
    path.write_text(
        "name,latitude,longitude,timezone\n" + "".join(f"City {n},50,10,Europe/Berlin\n" for n in range(CITIES))
    )
    import_cities(database, path)
    return database


def rows(start: datetime = START, hours: int = HOURS, value: str = "consumption_kwh") -> pl.DataFrame:
    """Hourly rows of three cities, by city."""
    place = pl.int_range(CITIES * hours)
    return pl.select(
        pl.format("City {}", place // hours).alias("city"),
        (pl.lit(start).dt.cast_time_unit("us") + pl.duration(hours=place % hours)).alias("timestamp"),
        # A January that may be
        (place % (15 if value == "temperature" else 50)).cast(pl.Float64).alias(value),
    )


def written(frame: pl.DataFrame, folder: Path, name: str = "rows") -> Path:
    path = folder / f"{name}.parquet"
    frame.write_parquet(path)
    return path


def attached(connection: Connection) -> list[str]:
    """Return the names of the months that were filled next to the table."""
    return [name for (name,) in connection.execute("SELECT partition_name FROM ops.attached_months ORDER BY 1")]


def left_over(connection: Connection) -> list[str]:
    """Tables of months that are no partitions."""
    return [
        name
        for (name,) in connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relname ~ '_y[0-9]{4}m[0-9]{2}' AND relkind = 'r'"
            " AND NOT relispartition"
        )
    ]


SHAPE = """
    SELECT 'table', relrowsecurity::text, relforcerowsecurity::text, relowner::regrole::text, coalesce(relacl::text, '')
    FROM pg_class WHERE oid = %(name)s::regclass
    UNION ALL SELECT 'column', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
           concat_ws(' ', a.attnum::text, pg_get_expr(d.adbin, d.adrelid), a.attacl::text, a.attstorage)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = %(name)s::regclass AND a.attnum > 0
    UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid), convalidated::text,
           concat_ws(' ', conislocal::text, coninhcount::text, conparentid <> 0)
    FROM pg_constraint WHERE conrelid = %(name)s::regclass
    UNION ALL SELECT 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid::text,
           (SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = i.indexrelid)
    FROM pg_index i WHERE i.indrelid = %(name)s::regclass
    UNION ALL SELECT 'trigger', CASE WHEN tgisinternal THEN tgtype::text ELSE tgname END,
           CASE WHEN tgisinternal THEN tgfoid::regproc::text ELSE pg_get_triggerdef(oid) END, tgenabled::text,
           (tgparentid <> 0)::text
    FROM pg_trigger WHERE tgrelid = %(name)s::regclass
    UNION ALL SELECT 'policy', polname, '', '', '' FROM pg_policy WHERE polrelid = %(name)s::regclass
    ORDER BY 1, 2, 3, 4, 5
"""


@pytest.mark.parametrize(
    ("kind", "table", "value"),
    [("consumption", "energy_consumption", "consumption_kwh"), ("weather", "weather_data", "temperature")],
)
def test_a_month_that_was_filled_beside_its_table_is_like_one_that_was_made_empty(
    cities: Database, tmp_path: Path, kind: str, table: str, value: str
) -> None:
    """Columns, keys, checks, indexes, triggers, owner, grants, row-level security: by name and definition."""
    report = load_files(cities, kind, [written(rows(value=value), tmp_path)])
    assert report.inserted == CITIES * HOURS
    with psycopg.connect(cities.url) as connection:
        assert attached(connection) == [f"{table}_y2019m0{month}" for month in (1, 2, 3)]
        connection.execute("SELECT ensure_month_partitions(%s, '2019-05-01Z', '2019-05-01Z')", (table,))
        shapes = [
            [
                tuple(str(cell).replace(name, "NAME") for cell in row)
                for row in connection.execute(SHAPE, {"name": name}).fetchall()
            ]
            for name in (f"{table}_y2019m02", f"{table}_y2019m05")
        ]
        bounds = connection.execute(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = %s", (f"{table}_y2019m02",)
        ).fetchone()
        assert bounds == ("FOR VALUES FROM ('2019-02-01 00:00:00+00') TO ('2019-03-01 00:00:00+00')",)
        assert left_over(connection) == []
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) > 20


def test_each_month_has_an_entry_of_the_audit_log_whose_sums_follow_from_its_rows(
    cities: Database, tmp_path: Path
) -> None:
    report = load_files(cities, "consumption", [written(rows(), tmp_path)])
    with psycopg.connect(cities.url) as connection:
        entries = connection.execute(
            "SELECT new_data, user_name, cardinality(city_ids), a.timestamp = b.created_at"
            " FROM audit_log a, ops.ingest_batches b"
            " WHERE a.table_name = 'energy_consumption' AND a.action = 'INSERT' AND b.id = %s"
            " ORDER BY new_data -> 'first'",
            (report.batch,),
        ).fetchall()
        assert [(entry["rows"], entry["first"][:7]) for entry, *_ in entries] == [
            (CITIES * 24 * 12, "2019-01"),
            (CITIES * 24 * 28, "2019-02"),
            (CITIES * 24 * 30, "2019-03"),
        ]
        for entry, user, count, is_of_the_load in entries:
            assert (user, count, entry["cities"], is_of_the_load) == (Role.INGEST, CITIES, CITIES, True)
            found = connection.execute(
                queries("audit")["sums_of_energy_consumption"],
                {"first": f"{entry['first'][:7]}-01Z", "end": entry["last"][:-4] + "59Z"},
            ).fetchall()
            assert {block: [int(number) for number in numbers] for block, *numbers in found} == entry["sums"]
        assert (
            connection.execute("SELECT DISTINCT created_at FROM energy_consumption").fetchall()
            == connection.execute("SELECT created_at FROM ops.ingest_batches WHERE id = %s", (report.batch,)).fetchall()
        )
    assert verify_audit(cities, tmp_path).findings == []


def test_months_that_exist_are_loaded_through_the_table_in_the_same_load(cities: Database, tmp_path: Path) -> None:
    with psycopg.connect(cities.url, autocommit=True) as connection:
        connection.execute("SELECT ensure_month_partitions('energy_consumption', '2019-02-01Z', '2019-02-01Z')")
        now = connection.execute("SELECT date_trunc('hour', now())").fetchone()
        # Yesterday may be in the month before, which a new database does not have
        connection.execute("SELECT ensure_month_partitions('energy_consumption', now() - interval '2 days', now())")
    assert now is not None
    recent = rows(now[0].astimezone(UTC) - timedelta(hours=30), 24)
    frame = pl.concat([rows(), recent])
    report = load_files(cities, "consumption", [written(frame, tmp_path)])
    assert (report.read, report.inserted) == (frame.height, frame.height)
    with psycopg.connect(cities.url) as connection:
        assert attached(connection) == ["energy_consumption_y2019m01", "energy_consumption_y2019m03"]
        assert connection.execute(
            "SELECT count(*), count(DISTINCT created_at), count(DISTINCT id), min(timestamp) FROM energy_consumption"
        ).fetchone() == (frame.height, 1, frame.height, START)
        assert connection.execute(
            "SELECT count(*), sum(inserted) FROM ops.ingest_batches WHERE kind = 'consumption'"
        ).fetchone() == (1, frame.height)
        entries = connection.execute(
            "SELECT sum((new_data ->> 'rows')::int) FROM audit_log WHERE table_name = 'energy_consumption'"
        ).fetchone()
        assert entries == (frame.height,)
    assert load_files(cities, "consumption", [written(frame, tmp_path)]).unchanged == frame.height


def test_records_changed_hours_of_month_that_has_just_ended(cities: Database, tmp_path: Path) -> None:
    """The hours of the last 31 days must reach the roll-up, although no statement on the table inserts them."""
    with psycopg.connect(cities.url) as connection:
        found = connection.execute("SELECT date_trunc('month', now(), 'UTC')").fetchone()
        assert found is not None
        end = found[0].astimezone(UTC)
        ended = f"energy_consumption_y{end - timedelta(days=1):%Ym%m}"
        # As in a database that was not maintained in the months before
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(ended)))
        connection.commit()
        load_files(cities, "consumption", [written(rows(end - timedelta(days=40), 24 * 40), tmp_path)])
        assert ended in attached(connection)
        changed = connection.execute(
            "SELECT city_id, min(first_hour), max(last_hour) FROM ops.changed_consumption GROUP BY 1 ORDER BY 1"
        ).fetchall()
        stored = connection.execute(
            "SELECT city_id, min(timestamp), max(timestamp) FROM energy_consumption"
            " WHERE timestamp >= (SELECT date_trunc('hour', created_at - interval '744 hours', 'UTC')"
            "  FROM ops.ingest_batches WHERE kind = 'consumption') GROUP BY 1 ORDER BY 1"
        ).fetchall()
        assert len(changed) == CITIES
        assert changed == stored


BESIDE = ("newest first", "random", "random, in parts", "own available_at", "an interval apart")
JUDGED = ("many months", "twice", "conflict", "early", "mixed", "overlap", "random, twice")


@pytest.mark.parametrize("trouble", [*BESIDE, *JUDGED])
def test_rows_that_have_to_be_judged_are_staged_with_all_others(
    cities: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """The load is the same as if nothing had been put beside the table, whatever turned up on its way."""
    frame = rows()
    last = frame.tail(1)
    monkeypatch.setattr(parquet, "ROWS_AT_ONCE", 700)
    match trouble:
        case "twice":
            frame = pl.concat([frame, last])
        case "conflict":
            frame = pl.concat([frame, last.with_columns(pl.col("consumption_kwh") + 1)])
        case "early":
            early = pl.when(pl.int_range(pl.len()) == 77).then("timestamp") + pl.duration(minutes=30)
            frame = frame.with_columns(early.alias("available_at"))
        case "overlap":
            frame = pl.concat([frame, last.with_columns(pl.col("timestamp") - pl.duration(minutes=43))])
        case "mixed":
            finer = frame.tail(HOURS).with_columns(
                (pl.lit(START) + pl.duration(minutes=10 * pl.int_range(pl.len())))
                .dt.cast_time_unit("us")
                .alias("timestamp")
            )
            frame = pl.concat([frame.head(2 * HOURS), finer, rows(datetime(2019, 6, 1, tzinfo=UTC), 100).tail(100)])
        case "many months":
            monkeypatch.setattr(staging, "_MOST_MONTHS", 2)
        case "newest first":
            frame = frame.sort("timestamp", descending=True)
        case "random":
            frame = frame.sample(fraction=1, shuffle=True, seed=5)
        case "random, twice":
            frame = pl.concat([frame, last]).sample(fraction=1, shuffle=True, seed=5)
        case "random, in parts":
            monkeypatch.setattr(coverage, "_MOST_TIMES", 2000)
            frame = frame.sample(fraction=1, shuffle=True, seed=5)
        case "an interval apart":
            # Each city has its own; the last has half of its rows missing
            step = pl.when(pl.col("city") == "City 1").then(15).otherwise(30)
            place = pl.int_range(pl.len()) % HOURS
            place = pl.when(pl.col("city") == "City 2").then(place + place // 2).otherwise(place)
            moved = (pl.lit(START) + pl.duration(minutes=step * place)).dt.cast_time_unit("us")
            frame = frame.with_columns(moved.alias("timestamp"))
        case _:
            known = pl.col("timestamp") + pl.duration(hours=pl.int_range(pl.len()) % 5 + 1)
            frame = frame.with_columns(pl.when(pl.int_range(pl.len()) % 3 > 0).then(known).alias("available_at"))
    path = written(frame, tmp_path)
    found = []
    for least in (0, 10**9):
        monkeypatch.setattr(strategy, "PARTITION_LOAD_ROWS", least)
        report = load_files(cities, "consumption", [path])
        with psycopg.connect(cities.url, autocommit=True) as connection:
            stored = connection.execute(
                "SELECT c.name, e.timestamp, e.consumption_kwh, e.available_at, e.interval_minutes"
                " FROM energy_consumption e JOIN cities c ON c.id = e.city_id ORDER BY 1, 2"
            ).fetchall()
            refused = connection.execute(
                "SELECT line, column_name, reason FROM ops.rejected_rows WHERE batch_id = %s ORDER BY line",
                (report.batch,),
            ).fetchall()
            assert bool(attached(connection)) == (trouble in BESIDE)
            assert left_over(connection) == []
            connection.execute("DELETE FROM energy_consumption")
        found.append((report.read, report.inserted, report.unchanged, report.rejected, report.notes, stored, refused))
    assert found[0] == found[1]
    assert found[0][1] > 0


def test_copies_months_while_files_are_read_and_keeps_none_if_the_last_is_refused(
    cities: Database, tmp_path: Path
) -> None:
    whole = written(rows(), tmp_path)
    later = rows(START + timedelta(hours=HOURS)).with_columns(pl.lit(-5.0).alias("consumption_kwh"))
    refused = written(later, tmp_path, "refused")
    begun = []
    locks: LiteralString = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with psycopg.connect(cities.url, autocommit=True) as connection:

        def note(what: str, _done: int, _total: int | None, _rows: int) -> None:
            begun.append((what, connection.execute(locks).fetchone()))

        with pytest.raises(IngestError, match="cannot be negative"):
            load_files(cities, "consumption", [whole, refused], progress=note)
        assert begun[0][0] == "Reading rows.parquet"
        assert begun[0][1] != (0,)
        assert connection.execute(locks).fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM energy_consumption").fetchone() == (0,)
        assert (attached(connection), left_over(connection)) == ([], [])


@contextmanager
def filling(database: Database) -> Iterator[Connection]:
    """Yield a transaction of the role that loads, in which a month was begun."""
    with psycopg.connect(database.url) as connection:
        connection.execute("SET ROLE energy_forecast_ingest")
        connection.execute(
            "CREATE TEMP TABLE begun AS SELECT ops.begin_month('energy_consumption', '2019-02-01Z') AS name"
        )
        yield connection
        connection.rollback()


def fill(connection: Connection, values: LiteralString, columns: LiteralString = "") -> None:
    name = connection.execute("SELECT name FROM begun").fetchone()
    assert name is not None
    connection.execute(
        f"INSERT INTO ops.{name[0]} (city_id, timestamp, consumption_kwh, available_at{columns}) VALUES {values}"  # noqa: S608
    )


ATTACH = "SELECT ops.attach_months('energy_consumption', '{2019-02-01Z}')"
NOBODY = "00000000-0000-4000-8000-000000000000"
CITY = "(SELECT id FROM cities ORDER BY id LIMIT 1)"


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (f"('{NOBODY}', '2019-02-01Z', 1, '2019-02-01 01:00Z')", errors.ForeignKeyViolation),
        (f"({CITY}, '2019-03-01Z', 1, '2019-03-01 01:00Z')", errors.CheckViolation),
        (
            f"({CITY}, '2019-02-01Z', 1, '2019-02-01 01:00Z'), ({CITY}, '2019-02-01Z', 2, '2019-02-01 01:00Z')",
            errors.UniqueViolation,
        ),
    ],
)  # fmt: skip
def test_a_month_with_a_row_that_the_table_would_refuse_does_not_become_one_of_its_partitions(
    cities: Database, values: LiteralString, error: type[Exception]
) -> None:
    """A city that is not there, another month, a key twice; forced row-level security must not hide them."""
    with filling(cities) as connection:
        fill(connection, values)
        with pytest.raises(error):
            connection.execute(ATTACH)


def test_a_row_is_refused_on_its_way_beside_the_table_as_in_it(cities: Database) -> None:
    with filling(cities) as connection:
        for columns, values, error in (
            ("", f"({CITY}, '2019-02-01Z', 1, '2019-02-01Z')", errors.CheckViolation),
            ("", f"({CITY}, '2019-02-01Z', 'NaN', '2019-02-01 01:00Z')", errors.CheckViolation),
            (", created_at", f"({CITY}, '2019-02-01Z', 1, '2019-02-01 01:00Z', now())", errors.InsufficientPrivilege),
        ):
            with pytest.raises(error), connection.transaction():
                fill(connection, values, columns)
        with pytest.raises(errors.IntegrityConstraintViolation, match="has no rows"):
            connection.execute(ATTACH)


def test_who_loads_can_neither_read_a_month_on_its_way_nor_attach_one_of_somebody_else(cities: Database) -> None:
    with filling(cities) as connection:
        name = connection.execute("SELECT name FROM begun").fetchone()
        assert name is not None
        with pytest.raises(errors.InsufficientPrivilege), connection.transaction():
            connection.execute(f"SELECT FROM ops.{name[0]}")
        with psycopg.connect(cities.url) as other:
            assert left_over(other) == []
            other.execute("SET ROLE energy_forecast_ingest")
            with pytest.raises(errors.InvalidParameterValue, match="has not begun"):
                other.execute(ATTACH)
    for month in ("date_trunc('month', now())", "'2019-02-02Z'", "'1960-01-01Z'", "'infinity'", "NULL"):
        with (
            psycopg.connect(cities.url) as other,
            pytest.raises(errors.InvalidParameterValue, match="cannot be filled before it is attached"),
        ):
            other.execute(f"SELECT ops.begin_month('energy_consumption', {month})")
    with psycopg.connect(cities.url) as other, pytest.raises(errors.InvalidParameterValue):
        other.execute("SELECT ops.begin_month('cities', '2019-02-01Z')")


def test_a_month_that_is_begun_and_not_attached_cannot_be_committed(cities: Database) -> None:
    """It would stay in ops, a table without row-level security; whoever may load could leave one by hand."""
    with psycopg.connect(cities.url) as connection:
        connection.execute("SET ROLE energy_forecast_ingest")
        connection.execute("SELECT ops.begin_month('energy_consumption', '2019-02-01Z')")
        connection.execute("SELECT ops.begin_month('energy_consumption', '2019-03-01Z')")
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="was begun and is not attached"):
            connection.commit()
        assert left_over(connection) == []
    with psycopg.connect(cities.url) as connection:
        connection.execute("SET ROLE energy_forecast_ingest")
        connection.execute("SELECT ops.begin_month('energy_consumption', '2019-02-01Z')")
        connection.rollback()
        connection.execute("SET ROLE energy_forecast_ingest")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("INSERT INTO ops.begun_months VALUES ('x')")
    with psycopg.connect(cities.url) as connection:
        assert connection.execute("SELECT count(*) FROM ops.begun_months").fetchone() == (0,)


def test_a_month_that_somebody_makes_meanwhile_is_loaded_through_the_table(cities: Database, tmp_path: Path) -> None:
    """And so is one that a partition made by hand covers in part."""
    with psycopg.connect(cities.url, autocommit=True) as connection:
        connection.execute("SET ROLE energy_forecast_owner")
        connection.execute(
            "CREATE TABLE by_hand PARTITION OF energy_consumption"
            " FOR VALUES FROM ('2019-02-01 00:00Z') TO ('2019-03-01 00:00Z')"
        )
        connection.execute("ALTER TABLE by_hand RENAME TO energy_consumption_y2019m02")
    with held_up(cities, STEPS["attaching"]) as held, ThreadPoolExecutor(1) as pool:
        task = pool.submit(load_files, cities, "consumption", [written(rows(), tmp_path)])
        held.waiting()
        with psycopg.connect(cities.url) as connection:
            # As ensure_month_partitions() would, but for the lock that the load has to wait for here
            connection.execute("SET ROLE energy_forecast_owner")
            connection.execute("SELECT make_month_table('energy_consumption', 'public', 'energy_consumption_y2019m03')")
            connection.execute(
                "SELECT attach_month_table('energy_consumption', 'energy_consumption_y2019m03', '2019-03-01Z')"
            )
            connection.commit()
            held.release()
        assert task.result().inserted == CITIES * HOURS
    with psycopg.connect(cities.url) as connection:
        assert connection.execute("SELECT count(*) FROM energy_consumption").fetchone() == (CITIES * HOURS,)
        assert left_over(connection) == []


def test_a_trigger_of_somebody_else_sees_every_row(cities: Database, tmp_path: Path) -> None:
    with psycopg.connect(cities.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE seen (n int); GRANT INSERT ON seen TO PUBLIC")
        connection.execute(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN INSERT INTO public.seen VALUES (1); RETURN NULL; END'"
        )
        connection.execute(
            "CREATE TRIGGER mine AFTER INSERT ON energy_consumption FOR EACH ROW EXECUTE FUNCTION note()"
        )
    load_files(cities, "consumption", [written(rows(), tmp_path)])
    with psycopg.connect(cities.url) as connection:
        assert connection.execute("SELECT count(*) FROM seen").fetchone() == (CITIES * HOURS,)
        assert attached(connection) == []


# While the files are read; before the months are attached; after all rows, before the ledger's
STEPS: dict[str, LiteralString] = {
    "filling": "SELECT pg_advisory_lock(hashtext('energy_forecast ingest consumption'))",
    "attaching": "SELECT pg_advisory_lock(hashtext('energy_forecast partitions'))",
    "attached": BEFORE_COMMIT,
}


def counts(database: Database) -> tuple[int, int, int, int]:
    """Rows, loads in the ledger, months attached, and tables of months that are no partitions."""
    with psycopg.connect(database.url) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM energy_consumption),"
            " (SELECT count(*) FROM ops.ingest_batches WHERE kind = 'consumption'),"
            " (SELECT count(*) FROM ops.attached_months)"
        ).fetchone()
        assert row is not None
        return (*row, len(left_over(connection)))


ALL = (CITIES * HOURS, 1, 3, 0)


@pytest.mark.parametrize("step", STEPS)
def test_a_loader_killed_at_any_step_leaves_nothing_and_a_second_try_loads_all(
    cities: Database, tmp_path: Path, step: str
) -> None:
    """Not even a table: they were the open transaction's."""
    path = written(rows(), tmp_path)
    with held_up(cities, STEPS[step]) as held:
        process = subprocess.Popen([sys.executable, "-c", LOAD, cities.url, str(path)], stderr=subprocess.DEVNULL)
        session = held.waiting()
        assert counts(cities) == (0, 0, 0, 0)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    gone(cities, session)
    assert counts(cities) == (0, 0, 0, 0)
    assert load_files(cities, "consumption", [path]).inserted == CITIES * HOURS
    assert counts(cities) == ALL


def test_a_server_killed_with_the_months_attached_comes_back_without_them(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ef-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = EmbeddedServer(folder / "home")
        server.start()
        try:
            database = Database(server.url)
            upgrade(database)
            with_cities(database, tmp_path)
            path = written(rows(), tmp_path)
            pid = server.status().pid
            assert pid is not None
            # The lock's own session dies with the server
            with (
                ThreadPoolExecutor(1) as pool,
                suppress(psycopg.OperationalError),
                held_up(database, STEPS["attached"]) as held,
            ):
                task = pool.submit(load_files, database, "consumption", [path])
                held.waiting()
                os.kill(pid, signal.SIGKILL)
                with pytest.raises(DatabaseError):
                    task.result()
            server.start()
            assert counts(database) == (0, 0, 0, 0)
            assert load_files(database, "consumption", [path]).inserted == CITIES * HOURS
            assert counts(database) == ALL
        finally:
            server.stop()


@pytest.mark.parametrize("step", ["attaching", "attached"])
def test_nobody_sees_or_waits_for_months_that_are_not_whole(cities: Database, tmp_path: Path, step: str) -> None:
    """Neither a person nor the operator, who reads past every policy; and no reader of the table waits."""
    person = f"anna_{uuid4().hex[:8]}"
    with held_up(cities, STEPS[step]) as held, ThreadPoolExecutor(1) as pool:
        task = pool.submit(load_files, cities, "consumption", [written(rows(), tmp_path)])
        held.waiting()
        with psycopg.connect(cities.url, autocommit=True, options="-c lock_timeout=900ms") as connection:
            connection.execute(f"CREATE ROLE {person} IN ROLE energy_forecast_app")
            for role in (person, Role.OPERATOR, Role.INGEST):
                connection.execute(f"SET ROLE {role}")
                assert connection.execute("SELECT count(*) FROM energy_consumption").fetchone() == (0,)
                assert left_over(connection) == []
            connection.execute("RESET ROLE")
            connection.execute(f"DROP ROLE {person}")
        held.release()
        assert task.result().inserted == CITIES * HOURS


def test_a_load_of_new_and_existing_months_waits_in_one_session(cities: Database, tmp_path: Path) -> None:
    """The server detects a deadlock of one session with another, but not of two sessions of one load."""
    with psycopg.connect(cities.url, autocommit=True) as connection:
        connection.execute("SELECT ensure_month_partitions('energy_consumption', '2020-01-01Z', '2020-01-01Z')")
    frame = pl.concat([rows(), rows(datetime(2020, 1, 1, tzinfo=UTC), 10)])
    path = written(frame, tmp_path)
    lock: LiteralString = "LOCK TABLE energy_consumption IN SHARE UPDATE EXCLUSIVE MODE"
    with held_up(cities, lock) as held, ThreadPoolExecutor(1) as pool:
        task = pool.submit(load_files, cities, "consumption", [path])
        with psycopg.connect(cities.url, autocommit=True) as connection:
            for _ in range(6000):
                waits, is_open = connection.execute(
                    "SELECT count(*) FILTER (WHERE wait_event_type = 'Lock'),"
                    " count(*) FILTER (WHERE state = 'idle in transaction') FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'energy-forecast'"
                ).fetchone() or (0, 0)
                if waits and not is_open:
                    break
                time.sleep(0.01)
        held.release()
        assert task.result().inserted == frame.height
        assert (waits, is_open) == (1, 0)
    with psycopg.connect(cities.url) as connection:
        assert len(attached(connection)) == 3
        assert connection.execute("SELECT count(*) FROM energy_consumption").fetchone() == (frame.height,)


def test_the_same_file_loaded_twice_at_once_is_stored_once(cities: Database, tmp_path: Path) -> None:
    path = written(rows(), tmp_path)
    together = threading.Barrier(3)

    def once() -> Report:
        together.wait()
        return load_files(cities, "consumption", [path])

    with ThreadPoolExecutor(3) as pool:
        reports = [task.result() for task in [pool.submit(once) for _ in range(3)]]
    total = CITIES * HOURS
    assert sorted((report.inserted, report.unchanged) for report in reports) == [(0, total), (0, total), (total, 0)]
    assert counts(cities) == (total, 3, 3, 0)


def test_four_loaders_and_maintenance_at_once_lose_nothing(cities: Database, tmp_path: Path) -> None:
    """Two kinds, months in common and months of their own; maintenance vacuums them meanwhile."""
    # Younger than what retention takes away
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=400)
    loads = [
        ("consumption", written(rows(start), tmp_path, "0")),
        ("consumption", written(rows(start + timedelta(days=40)), tmp_path, "1")),
        ("weather", written(rows(start, value="temperature"), tmp_path, "2")),
        ("weather", written(rows(start + timedelta(days=200), value="temperature"), tmp_path, "3")),
    ]
    with ThreadPoolExecutor(5) as pool:
        tasks = [pool.submit(load_files, cities, kind, [path]) for kind, path in loads]
        steps = [step for _ in range(3) for step in maintain(cities)]
        reports = [task.result() for task in tasks]
    assert all(report.read == report.inserted + report.corrected + report.unchanged for report in reports)
    assert {step.outcome for step in steps} == {"done"}
    with psycopg.connect(cities.url) as connection:
        for table, kind in (("energy_consumption", "consumption"), ("weather_data", "weather")):
            stored = connection.execute(
                f"SELECT count(*), count(DISTINCT (city_id, timestamp)) FROM {table}"  # noqa: S608
            ).fetchone()
            inserted = sum(report.inserted for report in reports if report.kind == kind)
            assert stored == (inserted, inserted)
        assert left_over(connection) == []
    assert verify_audit(cities, tmp_path).findings == []


def test_an_older_file_after_a_newer_one_does_not_replace_it(cities: Database, tmp_path: Path) -> None:
    known = rows().with_columns((pl.col("timestamp") + pl.duration(days=9)).alias("available_at"))
    older = known.with_columns(pl.col("available_at") - pl.duration(days=1), pl.col("consumption_kwh") + 1)
    assert load_files(cities, "consumption", [written(known, tmp_path)]).inserted == CITIES * HOURS
    report = load_files(cities, "consumption", [written(older, tmp_path, "older")])
    assert (report.inserted, report.corrected, report.unchanged) == (0, 0, CITIES * HOURS)
    with psycopg.connect(cities.url) as connection:
        assert connection.execute(
            "SELECT (SELECT max(consumption_kwh) FROM energy_consumption),"
            " (SELECT count(*) FROM energy_consumption_revisions)"
        ).fetchone() == (49, CITIES * HOURS)


def test_a_login_that_is_no_superuser_loads_new_months_as_well(open_folder: Path, tmp_path: Path) -> None:
    """As docs/howto/own-server.md says. On a server of its own: roles belong to a server, not to a database."""
    embedded = EmbeddedServer(open_folder / "loader")
    own = Server(embedded.start().url, embedded.tool)
    try:
        with psycopg.connect(own.url, autocommit=True) as connection:
            connection.execute("CREATE ROLE plain LOGIN CREATEROLE")
            connection.execute("CREATE DATABASE plain OWNER plain")
        with psycopg.connect(own.database("plain").url) as connection:
            connection.execute("CREATE SCHEMA ext")
            connection.execute("GRANT USAGE ON SCHEMA ext TO PUBLIC")
            connection.execute("CREATE EXTENSION earthdistance SCHEMA ext CASCADE")
        database = Database(make_conninfo(own.url, dbname="plain", user="plain"))
        upgrade(database)
        with_cities(database, tmp_path)
        assert load_files(database, "consumption", [written(rows(), tmp_path)]).inserted == CITIES * HOURS
        with database.transaction(Role.INGEST) as connection:
            assert connection.execute("SELECT count(*) FROM energy_consumption").fetchone() == (CITIES * HOURS,)
        with psycopg.connect(own.database("plain").url) as connection:
            assert len(attached(connection)) == 3
    finally:
        embedded.stop()
