"""Who may become a user, and what the owner of the schema gains by the commands that others run: nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from energy_forecast.database import LOGIN, Database, Role, schema_is_current
from energy_forecast.database.migrate import upgrade
from energy_forecast.errors import AccessError, DatabaseError, EnergyForecastError
from energy_forecast.operations import users
from energy_forecast.operations.access import access_findings
from servers import Server

PLATFORM = sql.SQL(", ").join(
    sql.Identifier(role) for role in (Role.OWNER, Role.INGEST, Role.FORECASTER, Role.OPERATOR, Role.AUDITOR)
)


@pytest.fixture
def names(server: Server) -> Iterator[list[str]]:
    """Names of roles that no other test uses; the roles are gone at the end, the last first."""
    suffix = uuid4().hex[:12]
    found = [f"{name}_{suffix}" for name in ("daily", "anna", "other")]
    yield found
    with psycopg.connect(server.url, autocommit=True) as connection:
        for name in reversed(found):
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


@pytest.fixture
def daily(database: Database, names: list[str]) -> Iterator[Database]:
    """Yield the database for a login as docs/howto/own-server.md creates it for daily work."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        login = sql.Identifier(names[0])
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN NOINHERIT CREATEROLE").format(login))
        connection.execute(sql.SQL("GRANT {} TO {}").format(PLATFORM, login))
        connection.execute(sql.SQL("GRANT energy_forecast_app TO {} WITH ADMIN OPTION").format(login))
        connection.execute(
            "INSERT INTO cities (name, latitude, longitude, timezone)"
            " VALUES ('Munich', 48, 11, 'Europe/Berlin'), ('Pune', 18, 73, 'Asia/Kolkata')"
        )
    yield Database(database.url, login=names[0])
    with psycopg.connect(database.url, autocommit=True) as connection:
        for name in reversed(names):
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is not None:
                connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))


def superusers(database: Database) -> set[str]:
    with psycopg.connect(database.url) as connection:
        return {name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper")}


def run_every_user_command(database: Database, name: str) -> None:
    users.add_user(database, name)
    users.grant(database, name, ["Munich"])
    users.revoke(database, name, ["Munich"])
    users.list_users(database)
    access_findings(database)
    users.remove_user(database, name)


def plant(database: Database, statements: tuple[str, ...], accomplice: str) -> None:
    """Return the objects that the owner of the schema leaves for the next command."""
    with psycopg.connect(database.url) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(accomplice)))
        connection.execute("SET ROLE energy_forecast_owner")
        for statement in statements:
            connection.execute(statement.replace("ACCOMPLICE", accomplice).encode())


TAKE = "BEGIN RESET ROLE; ALTER ROLE ACCOMPLICE SUPERUSER; EXCEPTION WHEN insufficient_privilege THEN NULL; END;"
TRIGGERS = (
    f"CREATE FUNCTION public.take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {TAKE} RETURN NULL; END $$",
    "CREATE TRIGGER take AFTER INSERT OR DELETE ON user_city_access FOR EACH STATEMENT EXECUTE FUNCTION take()",
    "CREATE CONSTRAINT TRIGGER take_late AFTER INSERT OR DELETE ON user_city_access DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION take()",
)
OPERATORS = tuple(
    statement
    for left, right in (("oid", "regrole"), ("oid", "regclass"), ("oid", "regnamespace"), ("name", "varchar"))
    for statement in (
        f"CREATE FUNCTION public.take({left}, {right}) RETURNS boolean LANGUAGE plpgsql AS"
        f" $$ BEGIN {TAKE} RETURN $1::text = $2::text; END $$",
        f"CREATE OPERATOR public.= (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = public.take)",
    )
)


@pytest.mark.parametrize("trap", [TRIGGERS, OPERATORS], ids=["triggers", "operators"])
def test_the_owner_does_not_become_a_superuser_by_the_commands_of_others(
    daily: Database, names: list[str], trap: tuple[str, ...]
) -> None:
    before = superusers(daily)
    plant(daily, trap, names[2])
    run_every_user_command(daily, names[1])
    assert superusers(daily) == before


def test_the_trap_is_live_for_a_login_that_is_a_superuser(
    database: Database, daily: Database, names: list[str]
) -> None:
    """So the test above could fail; and `doctor` reports such a login."""
    plant(database, TRIGGERS, names[2])
    run_every_user_command(database, names[1])
    assert names[2] in superusers(daily)
    assert [finding.kind for finding in access_findings(database)] == ["login"]
    assert access_findings(daily) == []


def test_what_needs_rights_over_roles_finds_nothing_of_the_owner(daily: Database) -> None:
    with daily.transaction(None) as connection:
        assert connection.execute("SELECT current_setting('search_path'), is_superuser FROM pg_settings, "
                                  "current_setting('is_superuser') is_superuser LIMIT 1").fetchone() == (
            "pg_catalog",
            "off",
        )  # fmt: skip


NAMES = (
    *("postgres", "public", "none", "all", "default", "replication", "user", "current_user", "session_user"),
    *("current_role", "samerole", "samegroup", "sameuser", "template1", "select", "authorization"),
    *("_", "_anna", "pg_anna", "pg_monitor", "energy_forecast_owner", "energy_forecast_login", "energy_forecast"),
    *("", "Anna", "an na", 'an"na', "an'na", "anna\n", "an\tna", "anna\u200b", "an\u202ena", "jose\u0301", "josé"),
    *("a" * 64, "1anna", "-anna", "\u0430nna"),
)


def test_a_name_with_another_meaning_is_refused(daily: Database) -> None:
    for name in NAMES:
        with pytest.raises(AccessError):
            users.add_user(daily, name)
    # The others go by the list of users
    for name in ("postgres", "current_user", "energy_forecast_login", "energy_forecast_owner", "Anna", 'an"na'):
        for command in (users.grant, users.revoke):
            with pytest.raises(AccessError, match="There is no user"):
                command(daily, name, ["Munich"])
        with pytest.raises(AccessError, match="There is no user"):
            users.remove_user(daily, name)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("ALTER ROLE {0} SUPERUSER", "SUPERUSER"),
        ("ALTER ROLE {0} CREATEROLE", "CREATEROLE"),
        ("ALTER ROLE {0} CREATEDB", "CREATEDB"),
        ("ALTER ROLE {0} REPLICATION", "REPLICATION"),
        ("ALTER ROLE {0} BYPASSRLS", "BYPASSRLS"),
        ("GRANT pg_write_all_data TO {0}", "member of pg_write_all_data"),
        ("GRANT {1} TO {0}", "member of other"),
        ("GRANT energy_forecast_operator TO {1}; GRANT {1} TO {0}", "energy_forecast_operator"),
        ("CREATE SCHEMA {0} AUTHORIZATION {0}", "owns"),
    ],
)
def test_a_role_with_more_rights_is_refused_and_reported(
    daily: Database, names: list[str], statement: str, problem: str
) -> None:
    """When it becomes a user, and at the next grant if it gets the rights later."""
    _, name, other = names
    roles = [sql.Identifier(name), sql.Identifier(other)]

    def superuser(text: str) -> None:
        with psycopg.connect(daily.url, autocommit=True) as connection:
            for part in text.split("; "):
                connection.execute(sql.SQL(part).format(*roles))

    superuser("CREATE ROLE {1}")
    users.add_user(daily, name)
    users.grant(daily, name, ["Munich"])
    superuser(statement)
    with pytest.raises(AccessError, match=problem):
        users.grant(daily, name, ["Pune"])
    assert [(one.cities, problem in (one.problem or "")) for one in users.list_users(daily) if one.name == name] == [
        (["Munich"], True)
    ]
    assert ("user", True) in [(found.kind, problem in found.message) for found in access_findings(daily)]
    # What makes it less is always possible
    assert users.revoke(daily, name, ["Munich"])[0] == 1
    if problem == "SUPERUSER":
        with pytest.raises(DatabaseError, match=r"permission denied|must be superuser"):
            users.remove_user(daily, name)
        return
    users.remove_user(daily, name)
    with pytest.raises(AccessError, match=problem):
        users.add_user(daily, name)


def test_a_role_that_differs_only_in_case_is_refused(daily: Database, names: list[str]) -> None:
    with psycopg.connect(daily.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(names[1].capitalize())))
    try:
        with pytest.raises(AccessError, match="differs only in case"):
            users.add_user(daily, names[1])
    finally:
        with psycopg.connect(daily.url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(names[1].capitalize())))


def test_a_new_role_does_not_inherit_the_cities_of_one_that_was_dropped(daily: Database, names: list[str]) -> None:
    users.add_user(daily, names[1])
    users.grant(daily, names[1], [])
    with psycopg.connect(daily.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(names[1])))
    assert users.add_user(daily, names[1])
    assert [one.cities for one in users.list_users(daily) if one.name == names[1]] == [[]]


def test_a_membership_that_another_role_granted_is_not_passed_over(daily: Database, names: list[str]) -> None:
    """From 16 on REVOKE leaves it, and only warns."""
    users.add_user(daily, names[1])
    with psycopg.connect(daily.url, autocommit=True) as connection:
        is_kept = connection.info.server_version >= 160000
        connection.execute(sql.SQL("GRANT energy_forecast_app TO {}").format(sql.Identifier(names[1])))
    if is_kept:
        with pytest.raises(AccessError, match="is still a user"):
            users.remove_user(daily, names[1])
    else:
        users.remove_user(daily, names[1])


# What runs in a session, and becomes a superuser if that session can
PAYLOAD = (
    "BEGIN RESET ROLE; ALTER ROLE {login} SUPERUSER; RETURN {result}; EXCEPTION WHEN OTHERS THEN RETURN {result}; END"
)
PLANTED = {
    "a trigger on the version": (
        "CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql AS $$ {trigger} $$",
        "CREATE TRIGGER planted AFTER INSERT OR UPDATE OR DELETE ON ops.schema_migrations"
        " FOR EACH STATEMENT EXECUTE FUNCTION planted()",
        "ALTER TABLE ops.schema_migrations DISABLE TRIGGER append_only",
        "DELETE FROM ops.schema_migrations WHERE version > '0001'",
    ),
    "a trigger on the baselines": (
        "CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql AS $$ {trigger} $$",
        "CREATE TRIGGER planted AFTER INSERT ON ops.fact_baselines FOR EACH STATEMENT EXECUTE FUNCTION planted()",
    ),
    "a deferred trigger on the log": (
        "CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql AS $$ {trigger} $$",
        "CREATE CONSTRAINT TRIGGER planted AFTER INSERT ON audit_log DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION planted()",
    ),
    "an operator": (
        "CREATE FUNCTION public.planted(oid, regrole) RETURNS boolean LANGUAGE plpgsql AS $$ {boolean} $$",
        "CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = regrole, FUNCTION = planted)",
    ),
    "a view in place of the version": (
        "CREATE FUNCTION public.planted() RETURNS boolean LANGUAGE plpgsql AS $$ {boolean} $$",
        "ALTER TABLE ops.schema_migrations RENAME TO real_migrations",
        "CREATE VIEW ops.schema_migrations AS SELECT * FROM ops.real_migrations WHERE public.planted() IS NOT NULL",
        "GRANT SELECT ON ops.schema_migrations TO PUBLIC",
    ),
}


@pytest.fixture
def embedded(database: Database) -> Database:
    """Return the database as daily commands of the embedded server connect to it."""
    with psycopg.connect(database.url) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (LOGIN,)).fetchone() is None:
            pytest.skip("Only the embedded server has the login of daily commands.")
    return Database(database.url, login=LOGIN)


@pytest.mark.parametrize("kind", PLANTED)
def test_an_upgrade_that_the_owner_causes_runs_nothing_as_a_superuser(
    database: Database, embedded: Database, server: Server, kind: str
) -> None:
    upgrade(embedded)
    before = superusers(database)
    payload = {
        result: PAYLOAD.format(login=LOGIN, result=value)
        for result, value in (("trigger", "NULL"), ("boolean", "true"))
    }
    # Not in a session that could become a superuser: what is planted runs in this one, too
    with psycopg.connect(database.url, user=LOGIN, autocommit=True) as connection:
        connection.execute("SET ROLE energy_forecast_owner")
        for statement in PLANTED[kind]:
            connection.execute(
                statement.replace("{trigger}", payload["trigger"]).replace("{boolean}", payload["boolean"])
            )
        connection.execute("COMMENT ON SCHEMA ops IS 'Upgrade, please'")
    try:
        with contextlib.suppress(EnergyForecastError):
            upgrade(embedded)
        assert superusers(database) == before
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER ROLE {} NOSUPERUSER").format(sql.Identifier(LOGIN)))


def test_an_upgrade_beside_the_login_applies_everything(database: Database, embedded: Database) -> None:
    """In two sessions: what the owner changed is as in a new database, and a second upgrade finds nothing to do."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("COMMENT ON SCHEMA ops IS 'Of an earlier version'")
        connection.execute("DROP FUNCTION ops.insert_staged(text, boolean)")
        connection.execute("SET ROLE energy_forecast_owner")
        connection.execute("ALTER TABLE cities NO FORCE ROW LEVEL SECURITY")
        connection.execute("DROP FUNCTION scorable_from(text, timestamptz, timestamptz, timestamptz)")
    assert not schema_is_current(embedded)
    done = upgrade(embedded)
    assert done.changed
    assert done.remaining == []
    assert schema_is_current(embedded)
    assert not upgrade(embedded).changed
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("GRANT SELECT ON cities TO PUBLIC")
    done = upgrade(embedded)
    assert [("cities" in each and "PUBLIC" in each) or each for each in done.repaired] == [True]
    assert not upgrade(embedded).changed
