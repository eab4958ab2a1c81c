"""Partitions: bounds in UTC, plans that prune, and a city's own one to and back again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

import psycopg
import pytest

from energy_forecast.database import Database, Role
from energy_forecast.database import partitions as stored
from energy_forecast.database.cities import StoredCity
from energy_forecast.errors import EnergyForecastError, UnknownCityError
from energy_forecast.operations import partitions
from old_data import Connection, counts, fill_old
from servers import CommandLine, Server


@pytest.fixture(scope="module")
def old_template(server: Server, template: str) -> Iterator[str]:
    with server.copy_of(template) as database:
        fill_old(database)
        yield database.name


@pytest.fixture
def old(server: Server, old_template: str) -> Iterator[Database]:
    """Two cities with 28 months of values, and predictions."""
    with server.copy_of(old_template) as database:
        yield database


@pytest.fixture
def connection(old: Database) -> Iterator[Connection]:
    with psycopg.connect(old.url, autocommit=True) as connection:
        yield connection


def plan(connection: Connection, statement: str) -> str:
    return "\n".join(row[0] for row in connection.execute("EXPLAIN " + statement))


def predictions(connection: Connection) -> list[str]:
    """Every prediction whole, created_at too."""
    return [text for (text,) in connection.execute("SELECT p::text FROM predictions p ORDER BY 1")]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"])
def test_months_are_of_utc_whatever_the_sessions_zone(database: Database, zone: str) -> None:
    """Under New York's, bare dates would leave a hole of five hours between two months."""
    with psycopg.connect(database.url) as connection:
        connection.execute("SELECT set_config('TimeZone', %s, false)", (zone,))
        connection.execute("SELECT ensure_month_partitions('energy_consumption', '2023-12-31 23:30Z', '2024-03-01Z')")
        bounds = connection.execute(
            "SELECT partition_name, range_start, range_end FROM ops.partitions()"
            " WHERE table_name = 'energy_consumption' AND range_start < '2024-06-01Z' ORDER BY range_start"
        ).fetchall()
        assert [name for name, _, _ in bounds] == [
            f"energy_consumption_y{month}" for month in ("2023m12", "2024m01", "2024m02", "2024m03")
        ]
        starts = [datetime(2023, 12, 1, tzinfo=UTC), *(datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4))]
        assert [(start, end) for _, start, end in bounds] == list(pairwise(starts))


def test_a_new_database_takes_the_values_of_last_month(database: Database) -> None:
    """On the first of a month, yesterday is in another one."""
    with psycopg.connect(database.url) as connection:
        months = connection.execute(
            "SELECT table_name, min(range_start) = date_trunc('month', now(), 'UTC') - interval '1 month', count(*)"
            " FROM ops.partitions() WHERE range_start IS NOT NULL GROUP BY 1 ORDER BY 1"
        ).fetchall()
        tables = ("energy_consumption", "prediction_vintages", "weather_data", "weather_forecasts")
        assert months == [(table, True, 5) for table in tables]
        assert connection.execute("SELECT count(*) FROM ops.missing_partitions(3)").fetchone() == (0,)


def test_a_month_is_read_from_its_partition_alone(connection: Connection) -> None:
    for table, key in (("energy_consumption", "timestamp"), ("prediction_vintages", "issued_at")):
        month = connection.execute(
            "SELECT range_start, range_end, partition_name FROM ops.partitions() WHERE table_name = %s"
            " ORDER BY range_start OFFSET 3 LIMIT 1",
            (table,),
        ).fetchone()
        assert month is not None
        text = plan(connection, f"SELECT * FROM {table} WHERE {key} >= '{month[0]}' AND {key} < '{month[1]}'")  # noqa: S608
        assert month[2] in text
        assert text.count(f"{table}_y") == text.count(month[2])


def test_a_citys_own_partition_is_all_that_its_query_reads(connection: Connection, old: Database) -> None:
    partitions.dedicate(old, "Mumbai")
    mumbai, berlin = (
        str(id_) for (id_,) in connection.execute("SELECT id FROM cities ORDER BY name = 'Berlin'").fetchall()
    )
    own = plan(connection, f"SELECT * FROM predictions WHERE city_id = '{mumbai}'")  # noqa: S608
    assert "predictions_mumbai" in own
    assert "predictions_shared" not in own
    other = plan(connection, f"SELECT * FROM predictions WHERE city_id = '{berlin}'")  # noqa: S608
    assert "predictions_mumbai" not in other


def test_to_a_partition_of_its_own_and_back_no_row_changes(connection: Connection, old: Database) -> None:
    before = predictions(connection)
    unclocked = connection.execute("SELECT to_jsonb(p) - 'created_at' FROM predictions p").fetchall()
    move = partitions.dedicate(old, "Mumbai")
    assert (move.outcome, move.partition_name, move.row_count) == ("dedicated", "predictions_mumbai", 192)
    assert predictions(connection) == before
    assert counts(connection)["predictions_mumbai"] == 192
    # New rows are routed to it, and the rules hold. Only the owner writes predictions
    connection.execute("SET ROLE energy_forecast_owner")
    connection.execute(
        "INSERT INTO predictions (city_id, model_id, timestamp, predicted_consumption, run_id, issued_at)"
        " SELECT p.city_id, p.model_id, now() + interval '9 days', 1, p.run_id, p.issued_at FROM predictions p"
        " JOIN cities c ON c.id = p.city_id WHERE c.name = 'Mumbai' LIMIT 1"
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("INSERT INTO predictions SELECT * FROM predictions LIMIT 1")
    connection.execute("RESET ROLE")
    assert counts(connection)["predictions_mumbai"] == 193
    assert partitions.dedicate(old, "Mumbai").outcome == "already"
    move = partitions.share(old, "Mumbai")
    assert (move.outcome, move.row_count) == ("shared", 193)
    # Recorded anew, so all but the moment of recording is as before
    after = connection.execute("SELECT to_jsonb(p) - 'created_at' FROM predictions p").fetchall()
    assert [row for row in unclocked if row not in after] == []
    assert "predictions_mumbai" not in counts(connection)
    assert partitions.share(old, "Mumbai").outcome == "already"


def test_the_new_partition_has_the_indexes_and_keys_of_the_others(connection: Connection, old: Database) -> None:
    """Attached to the parent's, so that the next change of those reaches it; and bound by row-level security."""
    partitions.dedicate(old, "Berlin")

    def shape(table: str) -> list[tuple[object, ...]]:
        return connection.execute(
            "SELECT 'index', i.inhparent::regclass::text FROM pg_index x"
            " JOIN pg_inherits i ON i.inhrelid = x.indexrelid WHERE x.indrelid = to_regclass(%(t)s) UNION ALL"
            " SELECT 'key', pg_get_constraintdef(oid) || (conparentid <> 0) FROM pg_constraint"
            " WHERE conrelid = to_regclass(%(t)s) AND contype IN ('f', 'c', 'u') UNION ALL"
            " SELECT 'bound', (relrowsecurity AND relforcerowsecurity)::text FROM pg_class"
            " WHERE oid = to_regclass(%(t)s) ORDER BY 1, 2",
            {"t": table},
        ).fetchall()

    assert shape("predictions_berlin") == shape("predictions_shared")
    assert len(shape("predictions_berlin")) > 10


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Mumbai", "predictions_mumbai"),
        ("São Paulo", "predictions_sao_paulo"),
        ("Łódź", "predictions_lodz"),
        ("Straße; DROP TABLE cities--", "predictions_strasse_drop_table_cities"),
        ("東京", "predictions_city_a0b1c2d3"),
        ("x" * 100, "predictions_" + "x" * 40),
    ],
)
def test_a_partition_is_named_after_its_city(name: str, expected: str) -> None:
    city = StoredCity(UUID("a0b1c2d3-0000-4000-8000-000000000000"), name, 0, 0, "UTC", None, None, {})
    assert partitions.partition_name(city) == expected


def test_a_name_that_is_taken_gets_the_citys_id(connection: Connection, old: Database) -> None:
    """Another city of the same letters, an index, or the shared partition itself."""
    connection.execute(
        "INSERT INTO cities (name, latitude, longitude, timezone) VALUES ('mumbai!', 0, 0, 'UTC'),"
        " ('Shared', 0, 0, 'UTC'), ('x' || repeat('y', 99), 0, 0, 'UTC'), ('x' || repeat('y', 98), 0, 0, 'UTC')"
    )
    names = {}
    for city, id_ in connection.execute('SELECT name, id::text FROM cities ORDER BY name COLLATE "C"').fetchall():
        names[city] = (partitions.dedicate(old, city).partition_name, id_[:8])
    assert names["Mumbai"][0] == "predictions_mumbai"
    assert names["mumbai!"][0] == "predictions_mumbai_" + names["mumbai!"][1]
    assert names["Shared"][0] == "predictions_shared_" + names["Shared"][1]
    assert len({name for name, _ in names.values()}) == 6


def test_a_reader_that_stays_stops_the_move_and_nothing_is_changed(connection: Connection, old: Database) -> None:
    before = counts(connection)
    with psycopg.connect(old.url) as reader:
        reader.execute("SELECT count(*) FROM predictions")
        with pytest.raises(EnergyForecastError, match="in use"):
            partitions.dedicate(old, "Mumbai")
    assert counts(connection) == before
    partitions.dedicate(old, "Mumbai")
    before = counts(connection)
    with psycopg.connect(old.url) as reader:
        reader.execute("SELECT count(*) FROM predictions")
        with pytest.raises(EnergyForecastError, match="in use"):
            partitions.share(old, "Mumbai")
    assert counts(connection) == before


def test_what_would_keep_readers_waiting_is_refused_unless_allowed(connection: Connection, old: Database) -> None:
    city = connection.execute("SELECT id FROM cities WHERE name = 'Mumbai'").fetchone()
    assert city is not None
    before = counts(connection)
    with old.transaction(Role.OPERATOR) as operator:
        assert stored.dedicate_partition(operator, city[0], "predictions_m", most_bytes=1).outcome == "too large"
    partitions.dedicate(old, "Berlin", allow_wait=True)
    with old.transaction(Role.OPERATOR) as operator:
        berlin = operator.execute("SELECT id FROM cities WHERE name = 'Berlin'").fetchone()
        assert berlin is not None
        assert stored.share_partition(operator, berlin[0], most_rows=191).outcome == "too large"
    assert partitions.share(old, "Berlin", allow_wait=True).row_count == 192
    after = counts(connection)
    # To and fro is audited, and nothing else is more or less
    audited = {name: after.pop(name) - before.pop(name) for name in ("audit_log", "ops.audit_chain")}
    assert min(audited.values()) > 0
    assert after == before


def test_the_list_has_every_partition_with_its_rows(connection: Connection, old: Database) -> None:
    found = partitions.list_partitions(old)
    assert {part.partition_name: part.row_count for part in found} == {
        name: count for name, count in counts(connection).items() if name in {part.partition_name for part in found}
    }
    assert all(part.is_exact and part.byte_count > 0 for part in found)
    partition_count = connection.execute("SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'")
    assert partition_count.fetchone() == (len(found),)
    connection.execute("ANALYZE")
    with old.transaction(Role.OPERATOR) as operator:
        estimated = stored.list_partitions(operator, exact_below=0)
    assert not any(part.is_exact for part in estimated)
    assert sum(part.row_count or 0 for part in estimated) == sum(part.row_count or 0 for part in found)


def test_the_commands_say_what_they_did(old: Database, tmp_path_factory: pytest.TempPathFactory) -> None:
    shell = CommandLine.on(old, tmp_path_factory.mktemp("home"))
    assert "192 predictions of Mumbai into predictions_mumbai" in shell.run("partition", "dedicate", "Mumbai").stdout
    assert "already has a separate partition: predictions_mumbai" in shell.run("partition", "dedicate", "Mumbai").stdout
    rows = json.loads(shell.run("partition", "list", "--json").stdout)
    assert [row["row_count"] for row in rows if row["city"] == "Mumbai"] == [192]
    assert "Mumbai" in shell.run("partition", "list").stdout
    assert "192 predictions of Mumbai back" in shell.run("partition", "share", "Mumbai").stdout
    assert "no city 'Atlantis'" in shell.run("partition", "dedicate", "Atlantis", status=1).stderr
    with pytest.raises(UnknownCityError):
        partitions.share(old, "Atlantis")
