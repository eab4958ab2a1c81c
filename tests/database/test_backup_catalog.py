"""A restored backup is accepted after every operation that changes the catalog, and refused after another change."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import polars as pl
import psycopg
import pytest
from psycopg import sql

from backups import values
from energy_forecast.database import Database
from energy_forecast.database.digests import object_differences, object_digests
from energy_forecast.database.migrate import upgrade
from energy_forecast.errors import BackupError
from energy_forecast.ingest import load_files
from energy_forecast.ingest.bulk import strategy
from energy_forecast.operations import partitions, users
from energy_forecast.operations.backup import Backup, BackupFolder, create_backup, restore_backup
from energy_forecast.operations.backup.restore import compare
from energy_forecast.operations.maintenance import maintain
from servers import Server

LONG = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch upon the river"


def execute(database: Database, *statements: str) -> None:
    """Run each statement in a transaction of its own, as the superuser of the test's server."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def add_history(database: Database) -> None:
    """Two cities; a month that retention removes and one that it keeps."""
    execute(
        database,
        "UPDATE ops.retention_policies SET keep = '2 years' WHERE keep IS NULL",
        "INSERT INTO cities (name, latitude, longitude, timezone) VALUES ('Mumbai', 19, 72.9, 'Asia/Kolkata'),"
        " ('Berlin', 52.5, 13.4, 'Europe/Berlin')",
        "SELECT ensure_month_partitions('energy_consumption', t, t)"
        " FROM unnest(ARRAY[now() - interval '30 months', now()]) t",
        "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)"
        " SELECT id, t, 1, now() FROM cities, unnest(ARRAY[now() - interval '30 months', now() - interval '1 day']) t",
    )


def add_cities(database: Database) -> None:
    """Cities whose partitions need a name of their own: taken, odd, empty, cut."""
    for number, name in enumerate(
        ("São Paulo", "Sao-Paulo", '"; DROP --', "東京", LONG, LONG + " 2", "pkey", "shared")
    ):
        execute(
            database,
            sql.SQL("INSERT INTO cities (name, latitude, longitude, timezone) VALUES ({}, {}, 1, 'UTC')")
            .format(name, number)
            .as_string(None),
        )


def dedicate_every_city(database: Database) -> None:
    for (name,) in values(database, "SELECT name FROM cities ORDER BY created_at"):
        partitions.dedicate(database, str(name))


def share_some(database: Database) -> None:
    for name in ("Mumbai", "Sao-Paulo", LONG):
        partitions.share(database, name)


def dedicate_again(database: Database) -> None:
    partitions.dedicate(database, LONG)
    partitions.dedicate(database, "Mumbai")


def load_a_new_month(database: Database) -> None:
    """Run a load that fills months next to their table and attaches them."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(strategy, "PARTITION_LOAD_ROWS", 0)
        frame = pl.DataFrame(
            {"city": ["Berlin"] * 3, "timestamp": [datetime(2019, n, 1, tzinfo=UTC) for n in (1, 2, 3)]}
        )
        frame.with_columns(consumption_kwh=pl.lit(1.0)).write_parquet(f"{folder}/load.parquet")
        load_files(database, "consumption", [Path(folder) / "load.parquet"])
    assert values(database, "SELECT count(*) FROM ops.attached_months") == [(3,)]


def remove_old_months(database: Database) -> None:
    before = values(database, "SELECT count(*) FROM ops.partitions()")
    assert {report.outcome for report in maintain(database)} == {"done"}
    assert values(database, "SELECT count(*) FROM ops.partitions()") < before


def detach_a_month(database: Database) -> None:
    month = str(
        values(database, "SELECT max(partition_name) FROM ops.partitions() WHERE table_name = 'weather_data'")[0][0]
    )
    execute(database, f"ALTER TABLE weather_data DETACH PARTITION {month}")


def detach_a_month_concurrently(database: Database) -> None:
    month = str(
        values(database, "SELECT min(partition_name) FROM ops.partitions() WHERE table_name = 'energy_consumption'")[0][
            0
        ]
    )
    execute(database, f"ALTER TABLE energy_consumption DETACH PARTITION {month} CONCURRENTLY")


def rename_a_city(database: Database) -> None:
    """Rename a city; its partition keeps its name."""
    execute(database, "UPDATE cities SET name = 'Oslo' WHERE name = 'pkey'")


def refresh(database: Database) -> None:
    execute(database, "CALL refresh_materialized_views()")


def add_people(database: Database) -> None:
    name = f"person_{uuid4().hex[:12]}"
    users.add_user(database, name)
    users.grant(database, name, ["Berlin", LONG])
    gone = f"person_{uuid4().hex[:12]}"
    users.add_user(database, gone)
    users.grant(database, gone, [])
    users.remove_user(database, gone)


# Groups of operations, after each of which a backup is made and restored
OPERATIONS: list[list[Callable[[Database], object]]] = [
    [upgrade, add_history],
    [add_cities, dedicate_every_city],
    [share_some, dedicate_again, rename_a_city, load_a_new_month],
    [remove_old_months, refresh, add_people, upgrade],
    [detach_a_month, detach_a_month_concurrently],
]
# What the platform does not do
HARM = {
    "a partition's constraint": "ALTER TABLE predictions_berlin ADD CHECK (predicted_consumption < 1e9)",
    "a key of a table": "ALTER TABLE predictions DROP CONSTRAINT predictions_city_id_fkey",
    "a key of a partition": "ALTER TABLE predictions_berlin ADD FOREIGN KEY (city_id) REFERENCES cities (id)",
    "a partition's index": "CREATE INDEX ON predictions_berlin (timestamp)",
    "a partition's name": "ALTER TABLE predictions_berlin RENAME TO predictions_bonn",
    "a partition's policy": "ALTER TABLE predictions_berlin NO FORCE ROW LEVEL SECURITY",
    "a partition's guard": "ALTER TABLE predictions_berlin DISABLE TRIGGER through_parent",
    "a partition's place": "ALTER TABLE predictions DETACH PARTITION predictions_berlin",
}


def test_a_backup_is_accepted_after_every_operation(server: Server, empty_database: Database, tmp_path: Path) -> None:
    """Names of constraints depend on what was done before, and a dump does not keep all of them."""
    upgrade(empty_database)
    for number, operations in enumerate(OPERATIONS):
        for operation in operations:
            operation(empty_database)
        folder = BackupFolder(tmp_path / str(number))
        copy = f"copy_{uuid4().hex[:12]}"
        backup = create_backup(empty_database, folder)
        restore_backup(empty_database, folder, backup.name, copy)
        if number == 1:
            check_refusals(server.database(copy), backup)
        execute(empty_database, f"DROP DATABASE {copy} WITH (FORCE)")


def check_refusals(copy: Database, backup: Backup) -> None:
    """Another catalog than the recorded one is refused."""
    execute(copy, "DELETE FROM ops.restored_copies")
    objects = backup.objects | {"constraint": backup.objects["constraint"] | {"public.predictions_berlin x": ""}}
    compare(copy, backup)
    with pytest.raises(BackupError, match="predictions_berlin x is missing"):
        compare(copy, replace(backup, objects=objects))
    with psycopg.connect(copy.url) as connection:
        recorded = object_digests(connection)
        for what, statement in HARM.items():
            with connection.transaction(force_rollback=True):
                connection.execute(statement.encode())
                assert object_differences(recorded, object_digests(connection), definitions=True), what
