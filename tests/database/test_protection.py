"""`doctor audit` sees every change of what protection depends on, and an upgrade repairs what it can."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from energy_forecast.database import Database, Role
from energy_forecast.database.migrate import upgrade
from energy_forecast.database.protection import expected_lines, faults, snapshot_lines
from servers import CommandLine

Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """Yield a superuser's connection to a migrated database."""
    with psycopg.connect(database.url) as connection:
        yield connection


@pytest.fixture
def anna(connection: Connection) -> Iterator[str]:
    """Yield the name of a login of this server; drop it at the end."""
    name = f"anna_{uuid4().hex[:8]}"
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    connection.commit()
    yield name
    connection.rollback()
    connection.execute("RESET ROLE")
    connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
    connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
    connection.commit()


def found(database: Database) -> list[str]:
    with database.transaction(Role.AUDITOR) as auditor:
        lines = [f"{fault.message}. {fault.remedy}" for fault in faults(auditor)]
    # Tests that run at the same time may share the server, and its roles: those of test_privileges end in 12 digits
    return [line for line in lines if not re.match(r"Role \w+_[0-9a-f]{12} ", line)]


def as_owner(connection: Connection, *statements: str) -> None:
    connection.execute("SET ROLE energy_forecast_owner")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.execute("RESET ROLE")
    connection.commit()


def test_a_new_database_is_as_expected(database: Database) -> None:
    """Whoever adds a table, a function, a policy or a grant runs `make docs`."""
    with database.transaction(Role.AUDITOR) as auditor:
        assert snapshot_lines(auditor) == expected_lines()
    assert found(database) == []


# By the owner of the schema, who needs no superuser: (statements, words of the finding)
REPAIRED = {
    "row-level security off": (
        "ALTER TABLE energy_consumption DISABLE ROW LEVEL SECURITY",
        "Partitioned table public.energy_consumption was altered: row-level security is off instead of forced",
    ),
    "row-level security not forced": (
        "ALTER TABLE ops.rejected_rows NO FORCE ROW LEVEL SECURITY",
        "Table ops.rejected_rows was altered: row-level security is on, not forced instead of forced",
    ),
    "row-level security of a partition": (
        "ALTER TABLE predictions_shared DISABLE ROW LEVEL SECURITY",
        "Partition public.predictions_shared has row-level security off",
    ),
    "row-level security where none belongs": (
        "ALTER TABLE ops.dropped_data ENABLE ROW LEVEL SECURITY",
        "Table ops.dropped_data was altered: row-level security is on, not forced instead of off",
    ),
    "a grant on a table": (
        "GRANT SELECT ON weather_data TO PUBLIC",
        "The privilege of PUBLIC on public.weather_data was granted by hand: SELECT",
    ),
    "a grant on a partition": (
        "GRANT SELECT, TRIGGER ON predictions_shared TO energy_forecast_app",
        "The privilege of energy_forecast_app on public.predictions_shared was granted by hand: SELECT, TRIGGER",
    ),
    "a grant on a column": (
        "GRANT UPDATE (created_at) ON cities TO energy_forecast_ingest",
        "The privilege of energy_forecast_ingest on public.cities is not the expected one",
    ),
    "a grant that may be passed on": (
        "GRANT SELECT ON cities TO energy_forecast_app WITH GRANT OPTION",
        "instead of SELECT",
    ),
    "a grant on a function": (
        "GRANT EXECUTE ON FUNCTION ops.digest_rows(text, text, timestamptz, timestamptz, boolean, integer)"
        " TO energy_forecast_app",
        "The privilege of energy_forecast_app on ops.digest_rows(text,text,timestamp with time zone",
    ),
    "a grant that was taken away": (
        "REVOKE SELECT ON ops.view_refreshes FROM energy_forecast_operator",
        "The privilege of energy_forecast_operator on ops.view_refreshes is missing: SELECT",
    ),
    "a grant on a schema": (
        "GRANT CREATE ON SCHEMA ops TO energy_forecast_ingest",
        "The privilege of energy_forecast_ingest on schema ops is not the expected one",
    ),
    "a policy": (
        "CREATE POLICY open ON energy_consumption TO energy_forecast_app USING (true)",
        "Policy open on public.energy_consumption does not belong to this program: command ALL, condition true",
    ),
    "the condition of a policy": (
        "ALTER POLICY platform ON cities USING (name <> 'x')",
        "Policy platform on public.cities was altered: condition is",
    ),
    "the roles of a policy": (
        "ALTER POLICY platform ON models TO PUBLIC",
        "roles is public instead of",
    ),
    "the options of a view": (
        "ALTER VIEW forecast_scores_by_hour RESET (security_invoker, security_barrier)",
        "View public.forecast_scores_by_hour was altered: options is",
    ),
    "a function": (
        "ALTER FUNCTION readable_cities() SECURITY INVOKER",
        "Function public.readable_cities() was altered: security definer is no instead of yes",
    ),
    "a trigger of a table": (
        "ALTER TABLE model_promotions DISABLE TRIGGER model_promotions_end",
        "Trigger model_promotions_end on public.model_promotions was altered: enabled is no",
    ),
}


def test_an_upgrade_repairs_changes_and_records_them(connection: Connection, database: Database) -> None:
    for statement, _ in REPAIRED.values():
        as_owner(connection, statement)
    before = found(database)
    for kind, (_, words) in REPAIRED.items():
        assert [fault.endswith("Run: energy-forecast db upgrade.") for fault in before if words in fault] == [True], (
            kind
        )
    assert len(before) == len(REPAIRED)
    done = upgrade(database)
    assert [f"{repaired} Run: energy-forecast db upgrade." for repaired in done.repaired] == before
    assert (done.changed, done.remaining, found(database)) == (True, [], [])
    rows = connection.execute(
        "SELECT new_data ->> 'fault' FROM audit_log WHERE table_name = 'ops.repairs' AND action = 'INSERT'"
    ).fetchall()
    assert sorted(fault for (fault,) in rows) == sorted(repaired.removesuffix(".") for repaired in done.repaired)
    assert upgrade(database).changed is False


# What no upgrade undoes: the finding says how
REPORTED = {
    "a function of the owner": (
        "CREATE FUNCTION helper() RETURNS integer LANGUAGE sql AS 'SELECT 1';"
        " REVOKE ALL ON FUNCTION helper() FROM PUBLIC",
        [
            "Function public.helper() does not belong to this program.",
            "If it is not yours, run: DROP ROUTINE public.helper().",
        ],
    ),
    "an operator": (
        "CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = pg_catalog.oideq)",
        ["Operator public.=(pg_catalog.oid,pg_catalog.oid) does not belong to this program"],
    ),
    "a type": ("CREATE TYPE mood AS ENUM ('good')", ["Type public.mood does not belong to this program"]),
    "a table": (
        "CREATE TABLE ops.extra (id integer)",
        ["Table ops.extra does not belong to this program", "Column ops.extra.id"],
    ),
    "a table that inherits": (
        "CREATE SCHEMA hidden; CREATE TABLE hidden.more () INHERITS (cities)",
        ["Table public.cities was altered: inherited by is hidden.more instead of no"],
    ),
    "a default": (
        "ALTER TABLE cities ALTER COLUMN created_at SET DEFAULT 'epoch'",
        ["Column public.cities.created_at was altered: default is", "instead of now()"],
    ),
    "a column that may be empty": (
        "ALTER TABLE forecast_runs ALTER COLUMN issued_at DROP NOT NULL",
        ["Column public.forecast_runs.issued_at was altered: not null is no instead of yes"],
    ),
    "a constraint that is gone": (
        "ALTER TABLE forecast_runs DROP CONSTRAINT forecast_run_in_time",
        [
            "Constraint forecast_run_in_time on public.forecast_runs is missing. Run: ALTER TABLE public.forecast_runs"
            " ADD CONSTRAINT forecast_run_in_time CHECK"
        ],
    ),
    "a constraint that is not validated": (
        "ALTER TABLE forecast_runs DROP CONSTRAINT forecast_run_order;"
        " ALTER TABLE forecast_runs ADD CONSTRAINT forecast_run_order CHECK (finished_at >= started_at) NOT VALID",
        [
            "Constraint forecast_run_order on public.forecast_runs was altered: definition is",
            "validated is no instead of yes",
        ],
    ),
    "an index": (
        "DROP INDEX ops.idx_maintenance_runs_started",
        ["Index ops.idx_maintenance_runs_started is missing. Run: CREATE INDEX"],
    ),
    "default privileges": (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC",
        ["Default privileges of energy_forecast_owner for tables does not belong to this program"],
    ),
    "a trigger of a partition": (
        "CREATE TRIGGER z BEFORE INSERT ON predictions_shared FOR EACH ROW EXECUTE FUNCTION set_updated_at()",
        ["Partition public.predictions_shared has the trigger z", "Run: DROP TRIGGER z ON public.predictions_shared."],
    ),
    "a partition that a crash empties": (
        "ALTER TABLE predictions_shared SET UNLOGGED",
        ["Partition public.predictions_shared is unlogged", "Run: ALTER TABLE public.predictions_shared SET LOGGED."],
    ),
    "a view of the owner": (
        "CREATE SCHEMA aside; CREATE VIEW aside.shown AS SELECT * FROM cities; GRANT SELECT ON aside.shown TO PUBLIC",
        ["View aside.shown is in another schema, but belongs to energy_forecast_owner"],
    ),
    "a function that acts as the owner": (
        "CREATE FUNCTION aside.told() RETURNS SETOF cities LANGUAGE sql SECURITY DEFINER AS 'TABLE public.cities'",
        ["Function aside.told() is in another schema, but belongs to energy_forecast_owner"],
    ),
    "statistics": (
        "CREATE STATISTICS more ON name, timezone FROM cities",
        ["Statistics object public.more does not belong to this program"],
    ),
    "a constraint of a partition": (
        "ALTER TABLE predictions_shared ADD CHECK (issued_at > '2000-01-01')",
        ["Partition public.predictions_shared has the constraint predictions_shared_issued_at_check, which its table"],
    ),
}


def test_what_an_upgrade_does_not_undo_is_reported_with_a_remedy(connection: Connection, database: Database) -> None:
    for statement, _ in REPORTED.values():
        as_owner(connection, statement)
    said = "\n".join(found(database))
    for _, words in REPORTED.values():
        for each in words:
            assert each in said
    done = upgrade(database)
    assert (done.changed, done.repaired) == (False, [])
    assert "\n".join(done.remaining) == said


# By a superuser: (statement, words, whether an upgrade ends it); {anna} is a login, {database} this database
BY_SUPERUSERS = {
    "an owner": ("ALTER TABLE cities OWNER TO {anna}", "Table public.cities was altered: owner is anna", True),
    "an owner of a function": (
        "ALTER FUNCTION readable_cities() OWNER TO {anna}",
        "Function public.readable_cities() was altered: owner is anna",
        True,
    ),
    "an owner of a partition": (
        "ALTER TABLE predictions_shared OWNER TO {anna}",
        "Partition public.predictions_shared belongs to anna",
        True,
    ),
    "a grant to a login": (
        "GRANT SELECT ON weather_data TO {anna}",
        "on public.weather_data was granted by hand: SELECT",
        True,
    ),
    "the database": (
        "GRANT CREATE, TEMPORARY ON DATABASE {database} TO {anna}",
        "on database was granted by hand: CREATE, TEMPORARY",
        True,
    ),
    "a setting of the database": (
        "ALTER DATABASE {database} SET session_replication_role = replica",
        "The database sets session_replication_role=replica",
        True,
    ),
    "a large object": ("SELECT lo_create(4711)", "Large object 4711 does not belong to this program", False),
    "a cast": ("CREATE CAST (regrole AS json) WITH INOUT AS IMPLICIT", "Cast (pg_catalog.regrole AS ", False),
    "a publication": (
        "CREATE PUBLICATION everything FOR ALL TABLES",
        "Publication everything does not belong to",
        False,
    ),
    "a foreign server": (
        "CREATE FOREIGN DATA WRAPPER other; CREATE SERVER elsewhere FOREIGN DATA WRAPPER other",
        "Server elsewhere does not belong to this program",
        False,
    ),
    "foreign keys that are not checked": (
        "ALTER TABLE model_artifacts DISABLE TRIGGER ALL",
        "Table public.model_artifacts does not check the foreign key",
        False,
    ),
    "a function of the server": (
        "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC",
        "Everybody may call the server's function pg_advisory_lock",
        True,
    ),
    "an event trigger": (
        "ALTER EVENT TRIGGER energy_forecast_audit_rewrite DISABLE",
        "Event trigger energy_forecast_audit_rewrite was altered: enabled is no instead of always",
        True,
    ),
    "a user who is more": (
        "GRANT energy_forecast_app TO {anna}; ALTER ROLE {anna} BYPASSRLS",
        "is a user, but bypasses row-level security. Run: ALTER ROLE anna",
        False,
    ),
    "a user with another role": (
        "GRANT energy_forecast_app, pg_write_all_data TO {anna}",
        "is a user, but also a member of pg_write_all_data. Run: REVOKE pg_write_all_data FROM anna",
        False,
    ),
    "a member of the recorder": (
        "GRANT energy_forecast_recorder TO {anna}",
        "is a member of energy_forecast_recorder, which must have no members. Run: REVOKE energy_forecast_recorder",
        False,
    ),
}


def test_what_a_superuser_changed_is_reported(connection: Connection, database: Database, anna: str) -> None:
    try:
        for statement, *_ in BY_SUPERUSERS.values():
            connection.execute(statement.format(anna=anna, database=database.name))
            connection.commit()
        before = "\n".join(found(database))
        done = upgrade(database)
        repaired, remaining = "\n".join(done.repaired), "\n".join(done.remaining)
        for kind, (_, template, is_repaired) in BY_SUPERUSERS.items():
            words = template.replace("anna", anna)
            assert words in before, kind
            assert words in (repaired if is_repaired else remaining), kind
    finally:
        connection.rollback()
        connection.execute(f"ALTER ROLE {anna} NOBYPASSRLS")
        connection.execute(f"REVOKE energy_forecast_app, energy_forecast_recorder, pg_write_all_data FROM {anna}")
        connection.commit()


def test_changes_of_the_platforms_roles_are_reported_and_repaired(connection: Connection, database: Database) -> None:
    """Roles have no event triggers: only the comparison shows what was done to them."""
    connection.execute("ALTER ROLE energy_forecast_ingest LOGIN CREATEROLE")
    connection.execute("ALTER ROLE energy_forecast_forecaster SET row_security = off")
    connection.execute("GRANT energy_forecast_owner TO energy_forecast_app")
    connection.commit()
    try:
        said = "\n".join(found(database))
        assert "Role energy_forecast_ingest was altered: createrole is yes instead of no; login is yes" in said
        assert "Role energy_forecast_forecaster was altered: settings is row_security=off instead of no" in said
        assert "Role energy_forecast_app was made a member of energy_forecast_owner" in said
        assert len(upgrade(database).repaired) == 3
        assert found(database) == []
    finally:
        connection.execute("ALTER ROLE energy_forecast_ingest NOLOGIN NOCREATEROLE")
        connection.execute("ALTER ROLE energy_forecast_forecaster RESET ALL")
        connection.execute("REVOKE energy_forecast_owner FROM energy_forecast_app")
        connection.commit()


def test_months_dedicated_partitions_and_users_are_no_differences(
    connection: Connection, database: Database, anna: str
) -> None:
    connection.execute("SELECT ensure_month_partitions('energy_consumption', '2020-01-01Z', '2020-05-01Z')")
    [(city,)] = connection.execute(
        "INSERT INTO cities (name, latitude, longitude, timezone) VALUES ('Pune', 18, 73, 'UTC') RETURNING id"
    ).fetchall()
    connection.execute("SELECT ops.dedicate_partition(%s, 'predictions_pune')", (city,))
    connection.execute(f"GRANT energy_forecast_app TO {anna}")
    connection.execute("CREATE SCHEMA mine")
    connection.execute("CREATE TABLE mine.notes (id integer)")
    connection.commit()
    assert found(database) == []


def test_the_command_reports_repairs_and_remedies(connection: Connection, command_line: CommandLine) -> None:
    as_owner(
        connection,
        "ALTER TABLE weather_data DISABLE ROW LEVEL SECURITY",
        "CREATE TABLE ops.extra (id integer)",
    )
    failed = command_line.run("doctor", "audit", status=1).stderr
    assert "row-level security is off instead of forced. Run: energy-forecast db upgrade." in failed
    assert "If it is not yours, run: DROP TABLE ops.extra." in failed
    done = command_line.run("db", "upgrade")
    assert "were applied again" in done.stdout
    assert "Repaired: Partitioned table public.weather_data was altered" in done.stderr
    assert "Not repaired: Table ops.extra does not belong to this program" in done.stderr
    again = command_line.run("db", "upgrade")
    assert "no change was necessary" in again.stdout
    assert "Not repaired: Table ops.extra" in again.stderr


def test_a_statement_is_kept_whole(connection: Connection) -> None:
    """What matters may stand behind many blanks, or late in a long script."""
    connection.execute("CREATE TABLE extra (id integer)")
    connection.execute(f"ALTER TABLE extra {' ' * 400} ALTER id TYPE bigint USING id + 1")
    rows = connection.execute(
        "SELECT new_data ->> 'command', new_data ->> 'query', length(new_data ->> 'query_sha256') FROM audit_log"
        " WHERE table_name = 'public.extra' AND transaction_id = pg_current_xact_id() ORDER BY number"
    ).fetchall()
    assert rows == [
        ("CREATE TABLE", "CREATE TABLE extra (id integer)", 64),
        (
            "ALTER TABLE: every row is written again",
            "ALTER TABLE extra ALTER id TYPE bigint USING id + 1",
            64,
        ),
        # The same statement: its text is in the entry before
        ("ALTER TABLE", None, 64),
    ]
