"""Nobody sees what is not theirs: every role x every relation and function of the catalog, read and write.

What is tried comes from the catalog, and what may succeed from the grants, so a new relation is tried without anyone
remembering it; one that names a city and holds no row of both cities fails the first test.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import ClientCursor, errors, sql

from energy_forecast.database import Database, Role
from servers import Server

Connection = psycopg.Connection[Any]

MINE = "aaaaaaaa-0000-4000-8000-000000000001"
THEIRS = "bbbbbbbb-0000-4000-8000-000000000001"
# Whatever belongs to the other city carries one of these
MARK = re.compile(r"bbbbbbbb-|Theirs|66666\.66|44\.44", re.IGNORECASE)
WRITES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
BOUND = ("anna", "nobody", "app", "api", "stranger")
UNBOUND = (Role.INGEST, Role.FORECASTER, Role.OPERATOR, Role.AUDITOR)


@dataclass(frozen=True)
class World:
    """A database where two cities have a row of everything, and the roles that look at it."""

    connection: Connection
    roles: dict[str, str]


@dataclass(frozen=True)
class Relation:
    """A relation of the catalog; `columns` maps each name to whether it is generated."""

    name: str
    kind: str
    is_partition: bool
    columns: dict[str, bool]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(*self.name.split("."))


def fill(connection: Connection, city: str, name: str, number: str, degrees: str) -> None:
    """One row of everything for a city; `number` and `degrees` are its values."""
    letter = city[0]
    ids: dict[str, object] = {
        kind: f"{letter * 8}-0000-4000-8000-0000000000{place:02}"
        for place, kind in enumerate(("city", "model", "run", "batch", "row"), 1)
    }
    values = ids | {"name": name, "number": number, "degrees": degrees}
    for statement in (
        "INSERT INTO cities (id, name, latitude, longitude, timezone)"
        " VALUES (%(city)s, %(name)s, 50, 8, 'Europe/Berlin')",
        "INSERT INTO energy_consumption (id, city_id, timestamp, consumption_kwh, available_at)"
        " VALUES (%(row)s, %(city)s, date_trunc('hour', now()) - interval '5 hours', %(number)s, now())",
        "UPDATE energy_consumption SET peak_demand_kw = %(number)s WHERE city_id = %(city)s",
        "INSERT INTO weather_data (id, city_id, timestamp, temperature, available_at)"
        " VALUES (%(row)s, %(city)s, date_trunc('hour', now()) - interval '5 hours', %(degrees)s, now())",
        "UPDATE weather_data SET wind_speed = 1 WHERE city_id = %(city)s",
        "INSERT INTO weather_forecasts (city_id, timestamp, issued_at, temperature)"
        " VALUES (%(city)s, date_trunc('hour', now()) + interval '5 hours', now(), %(degrees)s)",
        "INSERT INTO models (id, name, type, version, trained_until, parameters)"
        " VALUES (%(model)s, 'of ' || %(name)s, 'trees', '1', now(), jsonb_build_object('city', %(name)s::text))",
        "INSERT INTO model_artifacts (model_id, city_id, artifact, sha256, training_digest, training_facts)"
        " VALUES (%(model)s, %(city)s, '', sha256(''), sha256(''), '{}')",
        "INSERT INTO model_promotions (city_id, model_id, reason, evidence, is_forced)"
        " VALUES (%(city)s, %(model)s, 'of ' || %(name)s, '[]', true)",
        "INSERT INTO forecast_runs (id, model_id, purpose, issued_at, horizon, weather, quantile_levels, status, notes,"
        " started_at, finished_at) VALUES (%(run)s, %(model)s, 'live', now(), '48 hours', 'none',"
        " '{0.05,0.5,0.95}', 'succeeded', jsonb_build_object(%(name)s::text, 'late'), now(), now())",
        # A trigger writes predictions
        "INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,"
        " interval_minutes, quantile_count, predicted_consumption, quantiles) SELECT %(run)s, %(city)s, %(model)s,"
        " now(), t, t, 60, 3, ARRAY[%(number)s::float8], array_fill(%(number)s::real, ARRAY[3])"
        " FROM (SELECT date_trunc('hour', now()) + interval '5 hours') AS h (t)",
        "INSERT INTO model_metrics (id, model_id, timestamp, rmse) VALUES (%(row)s, %(model)s, now(), %(number)s)",
        "INSERT INTO forecast_scores (id, model_id, city_id, purpose, weather, period_start, period_end,"
        " lead_start_hours, lead_end_hours, pair_count, pair_digest, mae_kwh, rmse_kwh, pinball_kwh, coverage_90,"
        " width_90_kwh, actuals_as_of) VALUES (%(row)s, %(model)s, %(city)s, 'live', 'none', now(),"
        " now() + interval '1 hour', 0, 6, 1, sha256(''), %(number)s, 1, 1, 1, 1, now())",
        "INSERT INTO ops.ingest_batches (id, kind, files, read, inserted, corrected, unchanged, rejected)"
        " VALUES (%(batch)s, 'consumption', jsonb_build_array(%(name)s::text), 1, 0, 0, 0, 1)",
        "INSERT INTO ops.rejected_rows (batch_id, file, line, reason, row_data, city_id) VALUES (%(batch)s,"
        " 'load.csv', 2, 'is empty', jsonb_build_object('city', %(name)s::text), %(city)s)",
        "INSERT INTO ops.quality_flags (city_id, series, kind, first_timestamp, last_timestamp, hours, left_out,"
        " batch_id) VALUES (%(city)s, 'consumption', 'zero', now(), now(), 1, true, %(batch)s)",
        "INSERT INTO ops.provisional_intervals (city_id, kind, first_timestamp, last_timestamp)"
        " VALUES (%(city)s, 'consumption', now(), now())",
        "INSERT INTO ops.scored_days (city_id, day, phase_minutes, actuals)"
        " VALUES (%(city)s, current_date, 0, decode(repeat('00', 384), 'hex'))",
        "INSERT INTO ops.pending_checks (city_id, series, batch_id, first_timestamp, last_timestamp)"
        " VALUES (%(city)s, 'consumption', %(batch)s, now(), now())",
        "INSERT INTO ops.http_loads (batch_id, user_name, key_prefix, request_id, request_sha256, report)"
        " VALUES (%(batch)s, 'somebody', 'efp', '1', sha256(''), jsonb_build_object('city', %(name)s::text))",
        "INSERT INTO ops.run_requests (requested_by, kind, city_ids, parameters)"
        " VALUES ('somebody', 'train', ARRAY[%(city)s::uuid], jsonb_build_object('models', %(name)s::text))",
    ):
        if statement.startswith("UPDATE"):
            # What was changed before anybody saw it is no revision
            connection.commit()
        ClientCursor(connection).execute(statement, values)


@pytest.fixture(scope="module")
def world(server: Server, template: str) -> Iterator[World]:
    """Two cities; anna was granted the first, nobody none."""
    suffix = uuid4().hex[:12]
    roles = {name: f"{name}_{suffix}" for name in ("anna", "nobody", "stranger")}
    roles |= {"app": "energy_forecast_app", "api": "energy_forecast_api"} | {role: str(role) for role in UNBOUND}
    with server.copy_of(template) as database, psycopg.connect(database.url) as connection:
        for name in ("anna", "nobody", "stranger"):
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(roles[name])))
        for name in ("anna", "nobody"):
            connection.execute(sql.SQL("GRANT energy_forecast_app TO {}").format(sql.Identifier(roles[name])))
            connection.execute(sql.SQL("GRANT {} TO energy_forecast_api").format(sql.Identifier(roles[name])))
        fill(connection, MINE, "Mine", "11111.11", "11.11")
        fill(connection, THEIRS, "Theirs", "66666.66", "44.44")
        connection.execute(
            "INSERT INTO user_city_access (user_id, city_id) VALUES (%s, %s), (%s, %s)",
            (roles["anna"], MINE, "somebody", THEIRS),
        )
        for (view,) in connection.execute("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'm'").fetchall():
            connection.execute(f"REFRESH MATERIALIZED VIEW {view}")
        connection.execute("SELECT ops.refresh_rollup()")
        # What has changed since is read from the facts, beside what was folded in
        connection.execute("UPDATE energy_consumption SET metadata = '{}'")
        connection.commit()
        yield World(connection, roles)
        connection.rollback()
        for name in ("anna", "nobody", "stranger"):
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(roles[name])))
        connection.commit()


@pytest.fixture(autouse=True)
def nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test's work is rolled back."""
    yield
    if "world" in request.fixturenames:
        request.getfixturevalue("world").connection.rollback()


def relations(connection: Connection) -> list[Relation]:
    """Every relation of the platform's schemas that can be read."""
    found = connection.execute(
        "SELECT c.relnamespace::regnamespace || '.' || c.relname, c.relkind::text, c.relispartition,"
        " jsonb_object_agg(a.attname, a.attgenerated <> '')"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
        " AND c.relnamespace::regnamespace::text !~ '^(pg_|information_)'"
        " GROUP BY c.oid ORDER BY 1"
    ).fetchall()
    return [Relation(*row) for row in found]


def become(world: World, name: str) -> str:
    role = world.roles[name]
    world.connection.execute("RESET ROLE")
    world.connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    return role


def columns_that_may(world: World, role: str, relation: Relation, privilege: str) -> list[str]:
    """Return the columns on which a role has a privilege, by the grants."""
    return [
        column
        for column in relation.columns
        if world.connection.execute(
            "SELECT has_column_privilege(%s, %s, %s, %s)", (role, relation.name, column, privilege)
        ).fetchone()
        == (True,)
    ]


def attempt(connection: Connection, statement: sql.Composable | str) -> list[str] | psycopg.Error:
    """Return the rows as text, or the error; the transaction continues."""
    try:
        with connection.transaction():
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return [str(row[0]) for row in cursor] if cursor.description else []
    except psycopg.Error as error:
        return error


def test_every_relation_that_names_a_city_holds_a_row_of_both(world: World) -> None:
    """Or the other tests of this file would say nothing of it."""
    for relation in relations(world.connection):
        if "city_id" in relation.columns and relation.kind in "rpm" and not relation.is_partition:
            found = world.connection.execute(
                sql.SQL("SELECT array_agg(DISTINCT city_id::text) FROM {}").format(relation.identifier)
            ).fetchone()
            assert found is not None
            assert {MINE, THEIRS} <= set(found[0] or []), f"{relation.name}: fill() has to put a row of each city here"


def test_every_table_that_names_a_city_is_bound(world: World) -> None:
    """ENABLE and FORCE, partitions too; and no partition has a policy, since it would open it."""
    found = world.connection.execute(
        "SELECT c.oid::regclass::text, c.relrowsecurity AND c.relforcerowsecurity, c.relispartition,"
        " (SELECT array_agg(polname::text ORDER BY polname) FROM pg_policy WHERE polrelid = c.oid)"
        " FROM pg_class c WHERE c.relkind IN ('r', 'p') AND EXISTS (SELECT FROM pg_attribute a"
        " WHERE a.attrelid = c.oid AND a.attname IN ('city_id', 'city_ids') AND NOT a.attisdropped)"
    ).fetchall()
    assert len(found) > 20
    for name, is_bound, is_partition, policies in found:
        assert is_bound, name
        # Changes of the schema are written by a role of which nobody is a member
        more = ["recorder"] if name == "audit_log" else []
        assert policies == (None if is_partition else ["city_access", "platform", *more]), name


@pytest.mark.parametrize("name", BOUND)
def test_who_is_bound_reads_nothing_of_another_city(world: World, name: str) -> None:
    """Parent, partition, view, materialized view, sequence: by SELECT of every column that the grants allow."""
    seen: set[str] = set()
    for relation in relations(world.connection):
        role = world.roles[name]
        allowed = columns_that_may(world, role, relation, "SELECT")
        become(world, name)
        # A sequence has columns, but no type of a row
        row = sql.SQL("last_value" if relation.kind == "S" else "t::text")
        whole = attempt(world.connection, sql.SQL("SELECT {} FROM {} t").format(row, relation.identifier))
        if len(allowed) < len(relation.columns):
            assert isinstance(whole, errors.InsufficientPrivilege), f"{role} reads {relation.name}"
        if allowed:
            part = attempt(
                world.connection,
                sql.SQL("SELECT row({})::text FROM {}").format(
                    sql.SQL(", ").join(map(sql.Identifier, allowed)), relation.identifier
                ),
            )
            assert isinstance(part, list), f"{role} cannot read {relation.name}: {part}"
            leaked = [row for row in part if MARK.search(row)]
            assert not leaked, f"{role} reads of {relation.name}: {leaked}"
            if part:
                seen.add(relation.name)
        assert not (relation.is_partition and allowed), f"{role} may read the partition {relation.name}"
        world.connection.execute("RESET ROLE")
    expected = {
        f"public.{table}"
        for table in (
            *("cities", "energy_consumption", "energy_consumption_revisions", "weather_data"),
            *("weather_data_revisions", "weather_forecasts", "models", "model_artifacts", "model_metrics"),
            *("forecast_runs", "forecast_scores", "prediction_vintages", "predictions", "user_city_access"),
        )
    } | {"ops.rejected_rows", "public.city_hourly_consumption"}
    if name == "anna":
        assert expected <= seen, "a person must see what is hers"
    else:
        assert not {table for table in seen if table in expected}


@pytest.mark.parametrize("name", [*BOUND, *UNBOUND])
def test_who_may_write_is_what_the_grants_say(world: World, name: str) -> None:
    """Nobody who is bound writes anything; nobody at all truncates, references, or hangs a trigger on anything."""
    role = world.roles[name]
    for relation in relations(world.connection):
        for privilege in ("TRUNCATE", "REFERENCES", "TRIGGER"):
            row = world.connection.execute("SELECT has_table_privilege(%s, %s, %s)", (role, relation.name, privilege))
            assert row.fetchone() == (False,), f"{role} has {privilege} on {relation.name}"
        if relation.kind not in "rp":
            continue
        for privilege in WRITES:
            allowed = (
                columns_that_may(world, role, relation, privilege)
                if privilege in ("INSERT", "UPDATE")
                else ["*"]
                if world.connection.execute(
                    "SELECT has_table_privilege(%s, %s, %s)", (role, relation.name, privilege)
                ).fetchone()
                == (True,)
                else []
            )
            if name in BOUND or relation.is_partition:
                assert not allowed, f"{role} may {privilege} {relation.name}"
            become(world, name)
            outcome = attempt(world.connection, nothing_written(relation, privilege, allowed))
            assert isinstance(outcome, list) == bool(allowed), f"{role} {privilege} {relation.name}: {outcome}"
            world.connection.execute("RESET ROLE")


def nothing_written(relation: Relation, privilege: str, allowed: list[str]) -> sql.Composable:
    """Return a statement that needs the privilege and changes no row; on a forbidden column if there is one."""
    column = allowed[0] if allowed else next(c for c, generated in relation.columns.items() if not generated)
    names = {"table": relation.identifier, "column": sql.Identifier(column)}
    return {
        "INSERT": sql.SQL("INSERT INTO {table} ({column}) SELECT NULL WHERE false"),
        "UPDATE": sql.SQL("UPDATE {table} SET {column} = NULL WHERE false"),
        "DELETE": sql.SQL("DELETE FROM {table} WHERE false"),
        "TRUNCATE": sql.SQL("TRUNCATE {table}"),
    }[privilege].format(**names)


def test_no_role_may_write_when_a_row_was_recorded(world: World) -> None:
    for relation in relations(world.connection):
        if relation.kind in "rp" and "created_at" in relation.columns:
            for role in (*world.roles.values(), Role.INGEST):
                for privilege in ("INSERT", "UPDATE"):
                    assert "created_at" not in columns_that_may(world, role, relation, privilege), relation.name


def functions(connection: Connection) -> list[tuple[str, str, list[str], list[str]]]:
    """Every function of the platform's own: signature, kind, and its input arguments' names and types."""
    return connection.execute(
        "SELECT p.oid::regprocedure::text, p.prokind::text,"
        " coalesce(p.proargnames[1:p.pronargs], '{}'), coalesce(array_agg(t.typname::text ORDER BY place)"
        "  FILTER (WHERE t.typname IS NOT NULL), '{}')"
        " FROM pg_proc p LEFT JOIN LATERAL unnest(p.proargtypes) WITH ORDINALITY AS a (type, place) ON true"
        " LEFT JOIN pg_type t ON t.oid = a.type"
        " WHERE p.pronamespace::regnamespace::text !~ '^(pg_|information_)'"
        "   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
        " GROUP BY p.oid ORDER BY 1"
    ).fetchall()


_BY_NAME = {"as_of": "now()", "first_time": "now() - interval '10 days'", "end_time": "now() + interval '10 days'"}
_BY_NAME["zone"] = "'Europe/Berlin'"
_BY_TYPE = {
    "uuid": f"'{THEIRS}'",
    "timestamptz": "now() - interval '10 days'",
    "date": "current_date - 10",
    "interval": "interval '30 days'",
    "int4": "30",
    "int8": "30",
    "int2": "30",
    "text": "'Theirs'",
    "name": "'Theirs'",
    "varchar": "'Theirs'",
    "numeric": "10",
    "float8": "10",
    "_uuid": f"ARRAY['{THEIRS}'::uuid]",
    "_float8": "'{1}'",
    "_float4": "'{1}'",
    "jsonb": "'{}'",
    "bytea": "''",
    "bool": "true",
}


@pytest.mark.parametrize("name", BOUND)
def test_no_function_tells_who_is_bound_of_another_city(world: World, name: str) -> None:
    """Each is called, with the other city as its argument, whether it may be or not."""
    role = world.roles[name]
    for signature, kind, names, types in functions(world.connection):
        arguments = [_BY_NAME.get(n) or _BY_TYPE.get(t) for n, t in zip(names or [""] * len(types), types, strict=True)]
        may = world.connection.execute("SELECT has_function_privilege(%s, %s, 'EXECUTE')", (role, signature)).fetchone()
        become(world, name)
        assert None not in arguments or may == (False,), f"{signature}: _BY_TYPE has to say what to call it with"
        call = f"{signature.partition('(')[0]}({', '.join(a or 'NULL' for a in arguments)})"
        outcome = attempt(world.connection, f"CALL {call}" if kind == "p" else f"SELECT f::text FROM {call} f")  # noqa: S608
        if may == (False,):
            assert isinstance(outcome, psycopg.Error), f"{role} calls {signature}"
        # Of an error all but the LINE, which is what was asked
        texts = (
            outcome if isinstance(outcome, list) else [f"{outcome.diag.message_primary} {outcome.diag.message_detail}"]
        )
        assert not [text for text in texts if MARK.search(text.replace(THEIRS, "") if kind == "p" else text)], signature
        world.connection.execute("RESET ROLE")


def test_a_person_reads_her_own_city_through_the_functions(world: World) -> None:
    become(world, "anna")
    span = "now(), now() - interval '10 days', now() + interval '10 days'"
    for function in ("consumption_as_of", "weather_as_of", "weather_forecast_as_of"):
        rows = world.connection.execute(f"SELECT * FROM {function}('{MINE}', {span})").fetchall()  # noqa: S608
        assert len(rows) == 1, function


def test_functions_that_run_as_the_owner_cannot_be_led_astray(world: World) -> None:
    """A fixed search path that ends in pg_temp; and PUBLIC may call nothing that reads a table."""
    for signature, config, is_definer, is_public in world.connection.execute(
        "SELECT p.oid::regprocedure::text, p.proconfig, p.prosecdef, p.proacl IS NULL OR EXISTS ("
        "  SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0)"
        " FROM pg_proc p WHERE p.pronamespace IN ('public'::regnamespace, 'ops'::regnamespace)"
    ).fetchall():
        if is_definer:
            path = next(c for c in config if c.startswith("search_path="))
            assert path.endswith(("pg_temp", '=""')), f"{signature}: {path}"
            assert not is_public, signature


@pytest.mark.parametrize("name", BOUND)
def test_who_is_bound_can_make_nothing_and_become_nobody_else(world: World, name: str) -> None:
    become(world, name)
    attempts = [
        "CREATE TABLE public.mine (x int)",
        "CREATE TEMP TABLE mine (x int)",
        "CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "CREATE FUNCTION public.leak(text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "CREATE SCHEMA mine",
        f"INSERT INTO user_city_access (user_id, city_id) VALUES (current_user, '{THEIRS}')",  # noqa: S608
        "ALTER TABLE energy_consumption DISABLE ROW LEVEL SECURITY",
        "DROP POLICY city_access ON energy_consumption",
        "SET session_replication_role = replica",
        "COPY energy_consumption FROM STDIN",
        # Or she could keep the platform waiting, or fill its disk
        "SELECT pg_advisory_lock(hashtext('energy_forecast schema'))",
        "SELECT pg_try_advisory_xact_lock(1, 2)",
        "SELECT lo_from_bytea(0, 'abc')",
        "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000))",
        "SELECT pg_export_snapshot()",
    ]
    for statement in attempts:
        outcome = attempt(world.connection, statement)
        assert isinstance(outcome, errors.InsufficientPrivilege | errors.FeatureNotSupported), f"{statement}: {outcome}"


def test_policies_for_users_let_them_read_only(world: World) -> None:
    """A user who has a right to write from elsewhere is refused by the policies."""
    found = world.connection.execute(
        "SELECT polrelid::regclass || '.' || polname, polcmd::text FROM pg_policy"
        " WHERE 'energy_forecast_app'::regrole = ANY (polroles) OR 0 = ANY (polroles)"
    ).fetchall()
    assert len(found) > 10
    assert not [name for name, command in found if command != "r"]


def test_a_user_who_may_write_everything_grants_themself_no_city(world: World) -> None:
    writer = sql.Identifier(f"writer_{uuid4().hex[:12]}")
    world.connection.execute(sql.SQL("CREATE ROLE {}").format(writer))
    world.connection.execute(sql.SQL("GRANT energy_forecast_app, pg_write_all_data TO {}").format(writer))
    world.connection.execute(
        sql.SQL("INSERT INTO user_city_access (user_id, city_id) VALUES ({}, {})").format(
            sql.Literal(writer.as_string().strip('"')), sql.Literal(MINE)
        )
    )
    world.connection.execute(sql.SQL("SET ROLE {}").format(writer))
    assert attempt(world.connection, "SELECT name FROM cities") == ["Mine"]
    for statement in (
        f"INSERT INTO user_city_access (user_id, city_id) VALUES (current_user, '{THEIRS}')",  # noqa: S608
        f"INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)"  # noqa: S608
        f" VALUES ('{MINE}', date_trunc('hour', now()) - interval '9 hours', 1, now())",
    ):
        assert isinstance(attempt(world.connection, statement), errors.InsufficientPrivilege)
    for table in ("energy_consumption", "weather_data", "cities", "user_city_access"):
        assert attempt(world.connection, f"UPDATE {table} SET created_at = now() RETURNING 1") == []  # noqa: S608


@pytest.mark.parametrize("name", ["anna", "nobody", "stranger"])
def test_a_login_takes_no_role_of_the_platform(server: Server, world: World, name: str) -> None:
    url = Database(server.url).url
    with psycopg.connect(url, user=world.roles[name], dbname=world.connection.info.dbname) as connection:
        for role in (Role.OWNER, *UNBOUND, "energy_forecast_api", world.roles["anna" if name != "anna" else "nobody"]):
            outcome = attempt(connection, sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            assert isinstance(outcome, errors.InsufficientPrivilege), role


def test_neither_a_cheap_function_nor_explain_nor_statistics_tell(world: World) -> None:
    """A function in WHERE must see her own rows only; pg_stats shows nothing of a table whose policy binds her."""
    world.connection.execute("ANALYZE energy_consumption, predictions, cities, prediction_vintages")
    world.connection.execute(
        "CREATE FUNCTION public.shout(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001"
        " AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$"
    )
    world.connection.execute("GRANT EXECUTE ON FUNCTION public.shout(text) TO PUBLIC")
    heard: list[str] = []
    world.connection.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
    world.connection.execute("SET LOCAL client_min_messages = notice")
    every = relations(world.connection)
    may = {r.name: columns_that_may(world, world.roles["anna"], r, "SELECT") for r in every}
    become(world, "anna")
    for relation in every:
        if not may[relation.name]:
            continue
        row = sql.SQL(", ").join(map(sql.Identifier, may[relation.name]))
        names = {"row": row, "table": relation.identifier}
        # A condition on one column can be tried earlier than one on all
        for heard_of in (row, *map(sql.Identifier, may[relation.name])):
            for switch in ("on", "off"):
                for setting in ("enable_indexscan", "enable_bitmapscan", "enable_nestloop"):
                    world.connection.execute(sql.SQL("SET LOCAL {} = {}").format(sql.SQL(setting), sql.SQL(switch)))
                shouted = attempt(
                    world.connection,
                    sql.SQL("SELECT 1 FROM {} WHERE public.shout(row({})::text)").format(relation.identifier, heard_of),
                )
                assert isinstance(shouted, list), shouted
        plan = attempt(
            world.connection, sql.SQL("EXPLAIN (ANALYZE, VERBOSE) SELECT {row} FROM {table}").format(**names)
        )
        assert isinstance(plan, list)
        assert not [line for line in plan if MARK.search(line)]
    assert any("aaaaaaaa-" in text for text in heard), "the function must have heard something"
    assert not [text for text in heard if MARK.search(text)]
    shown = attempt(
        world.connection,
        "SELECT tablename || ' ' || coalesce(most_common_vals::text, '') || coalesce(histogram_bounds::text, '')"
        " FROM pg_stats WHERE schemaname IN ('public', 'ops')",
    )
    assert isinstance(shown, list)
    assert not [text for text in shown if MARK.search(text) or text.startswith(("energy", "predict", "cities"))]


EXPLAIN: LiteralString = "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT 1 FROM {} t WHERE {}"
CONDITION = re.compile(
    r"^\s*(Filter|Join Filter|Index Cond|Recheck Cond|TID Cond|One-Time Filter|Output|Index Searches):?"
)

# By type or category of type: a value that no row has; {} is one that a row of another city has
_ABSENT: dict[str, LiteralString] = {
    "N": "({} + 7)",
    "S": "({} || '?')",
    "A": "({0} || {0})",
    "uuid": "'bbbbbbbb-0000-4000-8000-ffffffffffff'::uuid",
    "jsonb": """'{{"nobody": 1}}'::jsonb""",
    "bytea": "'nobody'::bytea",
    "T": "({} + interval '7 days')",
    "tstzrange": "tstzrange(lower({}) + interval '7 days', NULL)",
}


def counts_of_plan(world: World, table: sql.Composable, condition: sql.Composable) -> list[str]:
    """Return the plan of a condition without its text: nodes, estimates and removed rows."""
    plan = attempt(world.connection, sql.SQL(EXPLAIN).format(table, condition))
    assert isinstance(plan, list), plan
    return [line for line in plan if not CONDITION.match(line)]


def many_more_cities(connection: Connection) -> None:
    """Enough rows of others that the planner has statistics to estimate by."""
    for statement in (
        "INSERT INTO cities (name, latitude, longitude, timezone) SELECT 'Theirs ' || n, 50, n / 10.0, 'Europe/Berlin'"
        " FROM generate_series(1, 300) n",
        "INSERT INTO models (name, type, version, trained_until) SELECT 'of Theirs ' || n, 'trees', '1', now()"
        " FROM generate_series(1, 300) n",
        "INSERT INTO forecast_scores (model_id, city_id, purpose, weather, period_start, period_end, lead_start_hours,"
        " lead_end_hours, pair_count, pair_digest, mape, mae_kwh, rmse_kwh, pinball_kwh, coverage_90, width_90_kwh,"
        " actuals_as_of) SELECT s.model_id, c.id, s.purpose, s.weather, s.period_start, s.period_end, 0, 6, 1,"
        " sha256(''), c.longitude, c.longitude, c.longitude, c.longitude, 1, c.longitude, now()"
        " FROM forecast_scores s, cities c WHERE c.name LIKE 'Theirs %'",
        "ANALYZE cities, models, forecast_scores, energy_consumption, predictions, prediction_vintages",
    ):
        connection.execute(statement)


@pytest.mark.parametrize("no_sequential_scan", [False, True])
def test_explain_does_not_tell_whether_another_city_has_a_value(world: World, no_sequential_scan: bool) -> None:
    """Neither an estimate nor the number of removed rows shows them.

    Times, and ids of cities that a user already knows, are out of scope; see docs/decisions/access.md.
    """
    if world.connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = session_user").fetchone() == (False,):
        pytest.skip("needs an upgrade by a superuser")
    many_more_cities(world.connection)
    if no_sequential_scan:
        world.connection.execute("SET LOCAL enable_seqscan = off")
    probes = []
    for relation in relations(world.connection):
        for column in columns_that_may(world, world.roles["anna"], relation, "SELECT"):
            value = sql.SQL("t.{}").format(sql.Identifier(column))
            found = world.connection.execute(
                sql.SQL(
                    "SELECT {0}::text, pg_typeof({0})::text FROM {1} t"
                    " WHERE t::text ~* 'bbbbbbbb|theirs' AND {0} IS NOT NULL"
                    " AND {0}::text NOT IN (SELECT {0}::text FROM {1} t WHERE t::text !~* 'bbbbbbbb|theirs'"
                    " AND {0} IS NOT NULL) ORDER BY {0}::text LIMIT 1"
                ).format(value, relation.identifier)
            ).fetchone()
            if found is not None and found[1] not in ("timestamp with time zone", "boolean", "json"):
                probes.append((relation, value, *found))
    assert len(probes) > 50
    categories = dict(
        world.connection.execute("SELECT format_type(oid, NULL), typcategory::text FROM pg_type").fetchall()
    )
    for relation, value, there, type_name in probes:
        form = _ABSENT.get(type_name) or _ABSENT.get(categories[type_name])
        assert form is not None, f"_ABSENT needs a value of the type {type_name}"
        cast = sql.SQL(type_name)
        world.connection.execute("RESET ROLE")
        one = sql.SQL("{}::{}").format(sql.Literal(there), cast)
        absent = world.connection.execute(sql.SQL("SELECT ({})::text").format(sql.SQL(form).format(one))).fetchone()
        assert absent is not None
        other = sql.SQL("{}::{}").format(sql.Literal(absent[0]), cast)
        become(world, "anna")
        for comparison in ("{0} >= {1} AND {0} <= {1}", *(["{0} = {1}"] if type_name != "uuid" else [])):
            plans = [
                counts_of_plan(world, relation.identifier, sql.SQL(comparison).format(value, probe))
                for probe in (one, other)
            ]
            assert plans[0] == plans[1], f"{relation.name}: {value.as_string(world.connection)} {comparison} {there}"


def test_copy_gives_a_person_her_own_rows(world: World) -> None:
    become(world, "anna")
    with world.connection.cursor() as cursor, cursor.copy("COPY (SELECT * FROM predictions) TO STDOUT") as copy:
        text = b"".join(copy).decode()
    assert MINE in text
    assert not MARK.search(text)


def test_the_api_sees_nothing_as_itself_and_takes_a_person_for_one_transaction(server: Server, world: World) -> None:
    """Also when a request fails, or goes back to a savepoint."""
    with psycopg.connect(server.url, user="energy_forecast_api", dbname=world.connection.info.dbname) as connection:
        assert isinstance(attempt(connection, "SELECT name FROM cities"), errors.InsufficientPrivilege)
        connection.rollback()
        take = sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(world.roles["anna"]))
        with connection.transaction():
            connection.execute(take)
            assert attempt(connection, "SELECT name FROM cities") == ["Mine"]
            assert isinstance(attempt(connection, "SELECT 1 / 0"), errors.DivisionByZero)
            assert attempt(connection, "SELECT name FROM cities") == ["Mine"]
        assert connection.execute("SELECT current_user").fetchone() == ("energy_forecast_api",)
        connection.rollback()
        with contextlib.suppress(errors.DivisionByZero), connection.transaction():
            connection.execute(take)
            connection.execute("SELECT 1 / 0")
        assert connection.execute("SELECT current_user").fetchone() == ("energy_forecast_api",)


def test_what_was_taken_back_is_gone_with_the_next_statement(world: World) -> None:
    become(world, "anna")
    assert attempt(world.connection, "SELECT name FROM cities") == ["Mine"]
    become(world, Role.OPERATOR)
    world.connection.execute("DELETE FROM user_city_access WHERE user_id = %s", (world.roles["anna"],))
    become(world, "anna")
    for table in ("cities", "energy_consumption", "predictions", "models", "forecast_runs", "model_metrics"):
        assert attempt(world.connection, f"SELECT 1 FROM {table}") == []  # noqa: S608


def test_a_persons_query_reads_only_her_citys_part_of_an_index(world: World) -> None:
    """The list of her cities is worked out once, as an array that an index takes; not looked up row by row."""
    world.connection.execute("SET LOCAL enable_seqscan = off")
    become(world, "anna")
    plan = attempt(
        world.connection, "EXPLAIN SELECT * FROM energy_consumption WHERE timestamp > now() - interval '1 day'"
    )
    assert isinstance(plan, list)
    text = "\n".join(plan)
    assert "InitPlan" in text
    assert "SubPlan" not in text
    assert re.search(r"Index Cond: .*city_id = ANY", text), text
