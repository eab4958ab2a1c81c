"""A fast load is the same load: in any order of the rows the key to cities, the rounding and the triggers hold."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import polars as pl
import psycopg
import pytest
from psycopg import errors

from energy_forecast.database import Connection, Database
from energy_forecast.database.named_queries import queries
from energy_forecast.database.wire import random_ids
from energy_forecast.ingest import import_cities, load_files
from energy_forecast.ingest.bulk import strategy
from energy_forecast.ingest.options import hundredths
from servers import CommandLine

CITIES = 5
STORED = """
    SELECT c.name, e.timestamp, e.consumption_kwh, e.peak_demand_kw, e.available_at, e.interval_minutes
    FROM energy_consumption e JOIN cities c ON c.id = e.city_id ORDER BY 1, 2
"""


@pytest.fixture(autouse=True, params=["staged", "new months beside"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every load both ways: what it does must not depend on its size."""
    monkeypatch.setattr(strategy, "PARTITION_LOAD_ROWS", 0 if request.param != "staged" else 10**9)


@pytest.fixture
def cities(database: Database, tmp_path: Path) -> Database:
    """Return a database with five cities."""
    path = tmp_path / "cities.csv"
    path.write_text(
        "name,latitude,longitude,timezone\n" + "".join(f"City {n},50,10,Europe/Berlin\n" for n in range(CITIES))
    )
    import_cities(database, path)
    return database


def rows(days: int = 40) -> pl.DataFrame:
    """Ten-minute rows of five cities over two months, more than a piece of a file; a peak here and there."""
    each = days * 144
    start = pl.datetime(2024, 1, 10, time_zone="UTC")
    place = pl.int_range(CITIES * each)
    return pl.select(
        pl.format("City {}", place // each).alias("city"),
        (start + pl.duration(minutes=10 * (place % each))).alias("timestamp"),
        (place * 7919 % 1_000_003 / 1000).alias("consumption_kwh"),
        pl.when(place % 7 == 0).then(place % 100).cast(pl.Float64).alias("peak_demand_kw"),
    )


def stored(database: Database) -> list[tuple[object, ...]]:
    with psycopg.connect(database.url) as connection:
        return connection.execute(STORED).fetchall()


def test_the_order_and_the_format_of_a_file_change_nothing(cities: Database, tmp_path: Path) -> None:
    """In the order of cities or times the client tells the spans; at random the database finds them out."""
    frame = rows()
    orders = {
        "by city": frame,
        "by time": frame.sort("timestamp", "city"),
        "newest first": frame.sort("timestamp", descending=True),
        "at random": frame.sample(fraction=1, shuffle=True, seed=3),
    }
    found = []
    for name, ordered in orders.items():
        path = tmp_path / f"{name}.parquet"
        ordered.write_parquet(path)
        with emptied(cities):
            report = load_files(cities, "consumption", [path])
            assert (report.read, report.inserted) == (frame.height, frame.height), name
            found.append(stored(cities))
    plain = tmp_path / "plain.csv"
    frame.write_csv(plain, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    # All but one is there already
    missing = frame.slice(1)
    missing.write_parquet(tmp_path / "missing.parquet")
    assert load_files(cities, "consumption", [tmp_path / "missing.parquet"]).inserted == frame.height - 1
    report = load_files(cities, "consumption", [plain])
    assert (report.inserted, report.unchanged, report.corrected) == (1, frame.height - 1, 0)
    found.append(stored(cities))
    assert len(found[0]) == frame.height
    assert {row[5] for row in found[0]} == {10}
    assert all(other == found[0] for other in found[1:])


@contextmanager
def emptied(database: Database) -> Iterator[None]:
    """Delete the rows afterwards, as only retention can."""
    yield
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("DELETE FROM energy_consumption")


def test_hundredths_round_as_the_database_does(database: Database) -> None:
    """NUMERIC rounds the written digits half away from zero; a double lies beside many of them."""
    texts = ["1.005", "2.675", "-1.005", "0.005", "0.00499999999999999999999", "9999999999.99", "-0.0", "1e3", "1.5e-2"]
    texts += [
        "123456789.125",
        "1000000000.345",
        "9999999999.985",
        "12.3449999999999999999",
        "+7",
        ".5",
        "5.",
        "-89.995",
    ]
    texts += [f"{n * 37 % 100_000 / 1000:.3f}" for n in range(500)]
    series = pl.Series("value", texts)
    cents = hundredths(series, series.cast(pl.Float64))
    with psycopg.connect(database.url) as connection:
        wanted = connection.execute(
            "SELECT t::numeric::numeric(12,2) FROM unnest(%s::text[]) AS t", (texts,)
        ).fetchall()
    assert [Decimal(cent) / 100 for cent in cents] == [value for (value,) in wanted]


def test_ids_made_in_bulk_are_random_uuids(cities: Database, tmp_path: Path) -> None:
    assert len({bytes(value) for value in random_ids(10_000)}) == 10_000
    frame = rows(1)
    frame.write_parquet(tmp_path / "rows.parquet")
    load_files(cities, "consumption", [tmp_path / "rows.parquet"])
    with psycopg.connect(cities.url) as connection:
        found = connection.execute(
            "SELECT count(DISTINCT id), bool_and(id::text ~ '^.{14}4.{4}[89ab]') FROM energy_consumption"
        ).fetchone()
    assert found == (frame.height, True)


@contextmanager
def staged(database: Database, city: object) -> Iterator[Connection]:
    """Yield a session with one staged row, in a transaction, as the role that loads."""
    with psycopg.connect(database.url) as connection:
        connection.execute("SELECT ensure_month_partitions('energy_consumption', '2024-03-01Z', '2024-03-01Z')")
        connection.commit()
        connection.execute("SET ROLE energy_forecast_ingest")
        connection.execute(queries("staging")["create_staging"])
        connection.execute("INSERT INTO staged_cities VALUES (0, %s, 'x', 60)", (city,))
        connection.execute("INSERT INTO staged VALUES (0, 1, 0, '2024-03-01Z', DEFAULT, NULL, 5)")
        connection.execute("INSERT INTO spans VALUES (0, '2024-03-01Z', '2024-03-01Z', NULL, false, false)")
        yield connection
        connection.rollback()


INSERT = "SELECT ops.insert_staged('consumption', false), current_setting('session_replication_role')"


def test_the_key_to_cities_holds_though_it_is_checked_once_a_city(cities: Database) -> None:
    """A missing city is refused, and a stored one cannot be deleted before the load has ended.

    The role that loads cannot disable the trigger of the key.
    """
    with staged(cities, uuid4()) as connection, pytest.raises(errors.ForeignKeyViolation):
        connection.execute(INSERT)
    with psycopg.connect(cities.url, autocommit=True) as other:
        city = other.execute("SELECT id FROM cities LIMIT 1").fetchone()
        assert city is not None
        with staged(cities, city[0]) as connection:
            assert connection.execute(INSERT).fetchone() == (1, "origin")
            with pytest.raises(errors.LockNotAvailable):
                other.execute("SELECT FROM cities WHERE id = %s FOR UPDATE NOWAIT", city)
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute("SET session_replication_role = replica")
        keys = other.execute(
            "SELECT bool_and(convalidated), count(*) FROM pg_constraint"
            " WHERE contype = 'f' AND conrelid = 'energy_consumption'::regclass AND confrelid = 'cities'::regclass"
        ).fetchone()
    assert keys == (True, 1)


def test_a_row_of_a_city_that_the_spans_do_not_name_is_not_inserted_unchecked(cities: Database) -> None:
    with staged(cities, uuid4()) as connection:
        connection.execute("DELETE FROM spans")
        assert connection.execute(INSERT).fetchone() == (0, "origin")


@pytest.mark.parametrize(
    "trap",
    [
        "ALTER TABLE staged RENAME TO real; CREATE TEMP VIEW staged AS SELECT * FROM real",
        "ALTER TABLE spans RENAME TO real; CREATE TEMP VIEW spans AS SELECT * FROM real",
        "ALTER TABLE staged ADD CHECK (lower('a') = 'a')",
        "CREATE INDEX ON staged_cities (lower(name))",
        "CREATE TEMP TABLE more () INHERITS (staged)",
    ],
)
def test_staged_rows_that_would_run_code_are_refused(cities: Database, trap: LiteralString) -> None:
    """What reads them runs as a role that may switch triggers off."""
    with staged(cities, uuid4()) as connection:
        connection.execute(trap)
        with pytest.raises(errors.InvalidParameterValue, match="plain tables"):
            connection.execute(INSERT)


def test_a_batch_leaves_nothing_on_its_connection(
    cities: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool gives the connection to another client next, who must not become the role that loads."""
    rows(1).write_parquet(tmp_path / "rows.parquet")
    connection = cities.connect()
    left = (
        "SELECT current_user = session_user, current_setting('work_mem'), current_setting('maintenance_work_mem'),"
        " (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()),"
        " (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')"
    )
    before = connection.execute(left).fetchone()
    connection.rollback()
    with monkeypatch.context() as pool:
        pool.setattr(Database, "connect", lambda _database, **_options: connection)
        pool.setattr(connection, "close", lambda: None)
        assert load_files(cities, "consumption", [tmp_path / "rows.parquet"]).inserted == rows(1).height
        assert load_files(cities, "consumption", [tmp_path / "rows.parquet"]).unchanged == rows(1).height
    assert connection.execute(left).fetchone() == before
    connection.close()


def test_a_trigger_of_somebody_else_fires_for_every_row(cities: Database, tmp_path: Path) -> None:
    """With one on the table, all of them are left on, the key's too."""
    with psycopg.connect(cities.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE seen (n int)")
        connection.execute(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp"
            " AS 'BEGIN INSERT INTO seen VALUES (1); RETURN NULL; END'"
        )
        connection.execute(
            "CREATE TRIGGER mine AFTER INSERT ON energy_consumption FOR EACH ROW EXECUTE FUNCTION note()"
        )
    rows(1).write_parquet(tmp_path / "rows.parquet")
    load_files(cities, "consumption", [tmp_path / "rows.parquet"])
    with psycopg.connect(cities.url) as connection:
        assert connection.execute("SELECT count(*) FROM seen").fetchone() == (rows(1).height,)


def test_standard_input_is_loaded_whole_or_not_at_all(
    cities: Database, command_line: CommandLine, tmp_path: Path
) -> None:
    """Cut off by Ctrl-C while rows still come, nothing is stored and no copy is left behind."""
    text = "city,timestamp,consumption_kwh\nCity 1,2024-03-01T00:00Z,1\nCity 1,2024-03-01T01:00Z,2\n"
    output, _ = command_line.start("ingest", "consumption", "-", "--json", stdin=text).communicate()
    assert json.loads(output)["inserted"] == 2
    assert json.loads(output)["files"] == ["standard-input"]
    copies = tmp_path / "copies"
    copies.mkdir()
    command_line.environment["TMPDIR"] = str(copies)
    process = command_line.start("ingest", "consumption", "-", stdin=text.replace("2024", "2025"))
    while not list(copies.glob("*/standard-input")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    # Standard input is still open, and nothing comes
    assert process.wait(60) == 130
    assert "Traceback" not in process.communicate()[1]
    assert not list(copies.iterdir())
    assert len(stored(cities)) == 2


def test_ctrl_c_ends_a_command_whose_decoder_hangs(cities: Database, command_line: CommandLine, tmp_path: Path) -> None:
    rows(1).write_parquet(tmp_path / "rows.parquet")
    process = command_line.start("ingest", "consumption", tmp_path / "rows.parquet")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (found := [pid for pid in children.read_text().split() if b"parquet_process" in _command_of(pid)]):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(int(found[0]), signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "Traceback" not in process.communicate()[1]
    with suppress(ProcessLookupError):
        os.kill(int(found[0]), signal.SIGKILL)
    assert not stored(cities)


def _command_of(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
