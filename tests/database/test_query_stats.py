"""What statements cost: counted by the server, shown without values, to the operator alone.

A server keeps a bounded number of statements and forgets those that ran least, so each statement looked for runs often.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

from energy_forecast.database import Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.database.query_stats import SortKey, StatementCost, costliest_statements
from energy_forecast.errors import DatabaseError
from servers import CommandLine, Server

OFTEN = 60


@pytest.fixture(autouse=True)
def counted(server: Server) -> None:
    """Skip if the developer's server does not count statements; the embedded one and that of CI do."""
    with psycopg.connect(server.url) as connection:
        if not connection.execute("SELECT FROM pg_settings WHERE name = 'pg_stat_statements.max'").rowcount:
            pytest.skip("the server has no shared_preload_libraries = 'pg_stat_statements'")


@pytest.fixture
def marker() -> str:
    """Return a name that is in no other statement of the server."""
    return f"marker_{uuid4().hex[:12]}"


@pytest.fixture
def person(database: Database) -> Iterator[str]:
    """Yield a login that is a user of the platform."""
    name = f"anna_{uuid4().hex[:12]}"
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE energy_forecast_app").format(sql.Identifier(name)))
        yield name
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def run_often(database: Database, *statements: str) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        for _ in range(OFTEN):
            for statement in statements:
                connection.execute(statement)


def costs(database: Database, marker: str, by: SortKey = SortKey.TOTAL) -> list[StatementCost]:
    return [cost for cost in costliest_statements(database, by=by, limit=1000).statements if marker in cost.query]


def test_a_statement_is_counted_once_whatever_its_values(database: Database, marker: str) -> None:
    run_often(
        database,
        *(f"SELECT n AS {marker} FROM generate_series(1, {n}) AS n WHERE 'secret{n}' <> ''" for n in (3, 5)),  # noqa: S608
    )
    (cost,) = costs(database, marker)
    assert cost.query == f"SELECT n AS {marker} FROM generate_series($1, $2) AS n WHERE $3 <> $4"  # noqa: S608
    assert (cost.calls, cost.row_count) == (2 * OFTEN, OFTEN * 8)
    assert cost.role_names == [psycopg.conninfo.conninfo_to_dict(database.url)["user"]]
    assert 0 < cost.mean_ms <= cost.max_ms <= cost.total_ms
    assert cost.mean_ms == pytest.approx(cost.total_ms / cost.calls)
    assert cost.share is not None
    assert 0 < cost.share < 1


def test_shows_no_values(database: Database, marker: str) -> None:
    """The server keeps the values of DDL, DO, and of what was prepared before the counts were reset."""
    run_often(
        database,
        f"DO $do$ BEGIN PERFORM 'secret' AS {marker}; END $do$",
        f"COMMENT /* secret */ ON COLUMN cities.name IS 'secret {marker}' -- secret",
    )
    run_often(database, f"/* secret's */ SELECT 'secret' -- secret\n AS {marker}")
    with psycopg.connect(database.url, autocommit=True) as connection:
        earlier = f"SELECT 'secret', now() AS earlier_{marker}"
        connection.execute(earlier, prepare=True)
        connection.execute(
            "SELECT ext.pg_stat_statements_reset(s.userid, s.dbid, s.queryid) FROM ext.pg_stat_statements s"
            " JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()"
            " WHERE query LIKE '%earlier\\_%'"
        )
        for _ in range(OFTEN):
            connection.execute(earlier)
        kept = connection.execute("SELECT FROM ext.pg_stat_statements WHERE query = %s", (earlier,))
        assert kept.rowcount == 1, "the server shows the value"
    run_often(database, f"CREATE TEMP TABLE IF NOT EXISTS {marker} (x text DEFAULT 'secret', y int DEFAULT 4711)")
    shown = [cost.query for cost in costliest_statements(database, limit=1000).statements]
    assert f"SELECT $1 AS {marker}" in shown, "without its comment"
    assert not [query for query in shown if "secret" in query or "4711" in query]


@pytest.mark.parametrize("by", SortKey)
def test_the_worst_come_first(database: Database, marker: str, by: SortKey) -> None:
    run_often(
        database,
        f"SELECT count(*) AS {marker} FROM generate_series(1, 20000)",  # noqa: S608
        f"SELECT n AS {marker} FROM generate_series(1, 50) AS n",  # noqa: S608
    )
    figure = {
        SortKey.TOTAL: "total_ms",
        SortKey.MEAN: "mean_ms",
        SortKey.CALLS: "calls",
        SortKey.ROWS: "row_count",
        SortKey.READS: "blocks_read",
    }[by]
    found = costliest_statements(database, by=by, limit=1000).statements
    figures = [getattr(cost, figure) for cost in found]
    assert figures == sorted(figures, reverse=True)
    assert len(costliest_statements(database, by=by, limit=1).statements) == 1
    if by is SortKey.ROWS:
        assert [cost.row_count for cost in costs(database, marker, by)] == [50 * OFTEN, OFTEN]


def test_statements_of_another_database_are_not_shown(
    database: Database, server: Server, template: str, marker: str
) -> None:
    with server.copy_of(template) as other:
        run_often(other, f"SELECT 1 AS {marker}")
        assert not costs(database, marker)
        assert len(costs(other, marker)) == 1


def test_a_person_sees_nothing_of_it(database: Database, command_line: CommandLine, person: str, marker: str) -> None:
    run_often(database, f"SELECT 1 AS {marker}")
    with psycopg.connect(database.url, user=person, autocommit=True) as connection:
        for statement in (
            "SELECT query FROM ext.pg_stat_statements",
            "SELECT query FROM ext.pg_stat_statements(true)",
            "SELECT * FROM ext.pg_stat_statements_info",
            "SELECT * FROM ext.pg_stat_statements_info()",
            "SELECT ext.pg_stat_statements_reset()",
            "SELECT * FROM ops.statement_costs()",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)
    admin = psycopg.conninfo.conninfo_to_dict(database.url)["user"]
    url = command_line.environment["ENERGY_FORECAST_DATABASE_URL"].replace(f"{admin}@", f"{person}@")
    bound = CommandLine(command_line.environment | {"ENERGY_FORECAST_DATABASE_URL": url})
    done = bound.run("doctor", "queries", status=1)
    assert "permission denied" in done.stderr
    assert not done.stdout


def test_doctor_queries_prints_a_table_and_a_document(
    database: Database, command_line: CommandLine, marker: str
) -> None:
    long = f"SELECT {', '.join(f'{n} AS {marker}_{n}' for n in range(40))}"
    run_often(database, long)
    shown = command_line.run("doctor", "queries", "--by", "calls", "--limit", "300").stdout
    (row,) = (line for line in shown.splitlines() if f"{marker}_0" in line)
    assert row.rstrip().endswith("…")
    assert f" {OFTEN} " in row
    document: dict[str, Any] = json.loads(
        command_line.run("doctor", "queries", "--by", "calls", "--limit", "300", "--json").stdout
    )
    (whole,) = (cost for cost in document["statements"] if f"{marker}_0" in cost["query"])
    assert f"{marker}_39" in whole["query"]
    assert whole["calls"] == OFTEN
    assert len(json.loads(command_line.run("doctor", "queries", "--limit", "3", "--json").stdout)["statements"]) == 3


def test_without_the_extension_it_says_what_to_do_and_an_upgrade_makes_it(
    database: Database, command_line: CommandLine
) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute("DROP EXTENSION pg_stat_statements")
    assert "energy-forecast db upgrade" in command_line.run("doctor", "queries", status=1).stderr
    upgrade(database)
    assert command_line.run("doctor", "queries").stdout


def test_an_extension_that_a_dba_made_elsewhere_is_used_and_closed(
    database: Database, person: str, marker: str
) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute('DROP EXTENSION pg_stat_statements; CREATE SCHEMA "a DBA\'s"')
        connection.execute('CREATE EXTENSION pg_stat_statements SCHEMA "a DBA\'s"')
        connection.execute('GRANT USAGE ON SCHEMA "a DBA\'s" TO PUBLIC')
    upgrade(database)
    run_often(database, f"SELECT 1 AS {marker}")
    assert len(costs(database, marker)) == 1
    with (
        psycopg.connect(database.url, user=person) as connection,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        connection.execute('SELECT query FROM "a DBA\'s".pg_stat_statements')


def test_a_login_that_may_not_make_the_extension_upgrades_without_it(empty_database: Database, server: Server) -> None:
    """As a DBA prepares a database for a login that is no superuser."""
    name = f"platform_{uuid4().hex[:12]}"
    admin = Database(server.url)
    with psycopg.connect(admin.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(sql.Identifier(name)))
        connection.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(empty_database.name), sql.Identifier(name))
        )
    own = Database(psycopg.conninfo.make_conninfo(empty_database.url, user=name))
    try:
        with psycopg.connect(empty_database.url) as connection:
            connection.execute("CREATE SCHEMA ext; GRANT USAGE ON SCHEMA ext TO PUBLIC")
            connection.execute("CREATE EXTENSION earthdistance SCHEMA ext CASCADE")
            for role in ("owner", "app", "ingest", "forecaster", "operator", "auditor", "api"):
                connection.execute(
                    sql.SQL("GRANT {} TO {}").format(sql.Identifier(f"energy_forecast_{role}"), sql.Identifier(name))
                )
        upgrade(own)
        with pytest.raises(DatabaseError, match="Let a superuser run: energy-forecast db upgrade"):
            costliest_statements(own)
        with psycopg.connect(empty_database.url) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements SCHEMA ext")
        # What a superuser made, a superuser's upgrade closes to all but the operator
        upgrade(Database(empty_database.url))
        assert costliest_statements(own).statements
        with psycopg.connect(own.url) as connection:
            connection.execute("SET ROLE energy_forecast_app")
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute("SELECT query FROM ext.pg_stat_statements")
    finally:
        with psycopg.connect(empty_database.url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("REASSIGN OWNED BY {0} TO CURRENT_USER; DROP OWNED BY {0}").format(sql.Identifier(name))
            )
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
