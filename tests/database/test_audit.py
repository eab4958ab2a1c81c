"""Every change leaves an entry, nobody can forge one, and what was done to the log is found."""

# ruff: noqa: S608 - statements of these tests' own constants

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors, sql

from energy_forecast.database import Database, Role
from energy_forecast.database.migrate import upgrade
from energy_forecast.database.named_queries import queries
from energy_forecast.database.protection import faults
from energy_forecast.errors import AuditError
from energy_forecast.operations.audit import anchors_file, read_anchors, verify_audit, write_anchor
from servers import CommandLine

CITY = UUID("00000000-0000-0000-0000-000000000001")
OTHER = UUID("00000000-0000-0000-0000-00000000000a")
Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """Yield a superuser's connection to a database with two cities and their partitions."""
    with psycopg.connect(database.url) as connection:
        for city, name in ((CITY, "Pune"), (OTHER, "Berlin")):
            connection.execute(
                "INSERT INTO cities (id, name, latitude, longitude, timezone) VALUES (%s, %s, 18, 73, 'Asia/Kolkata')",
                (city, name),
            )
        for table in ("energy_consumption", "weather_data"):
            connection.execute("SELECT ensure_month_partitions(%s, '2024-01-01Z', '2024-03-01Z')", (table,))
        connection.commit()
        yield connection


def become(connection: Connection, role: Role) -> None:
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))


def load(connection: Connection, order: str = "t", hours: int = 800) -> None:
    """Hourly consumption of both cities from January into February, in some physical order."""
    connection.execute(
        "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, available_at)"
        " SELECT city, t, extract(day FROM t) + 0.5, t + interval '1 hour' FROM unnest(%s::uuid[]) city,"
        " generate_series('2024-01-10Z'::timestamptz, '2024-01-10Z'::timestamptz + make_interval(hours => %s - 1),"
        f" interval '1 hour') t ORDER BY {order}",
        ([CITY, OTHER], hours),
    )


def entries(connection: Connection, table: str, action: str) -> list[tuple[Any, ...]]:
    connection.execute("RESET ROLE")
    return connection.execute(
        "SELECT user_name, session_user_name, city_ids, old_data, new_data, timestamp = now() FROM audit_log"
        " WHERE table_name = %s AND action = %s AND transaction_id = pg_current_xact_id_if_assigned() ORDER BY number",
        (table, action),
    ).fetchall()


def test_a_controlled_row_is_kept_before_and_after(connection: Connection) -> None:
    become(connection, Role.INGEST)
    connection.execute("UPDATE cities SET latitude = 19 WHERE id = %s", (CITY,))
    [(user, login, cities, old, new, now)] = entries(connection, "cities", "UPDATE")
    assert user == Role.INGEST, "not the function's owner"
    assert login == connection.info.user
    assert (cities, now) == ([CITY], True)
    assert (old["latitude"], new["latitude"], new["name"]) == (18, 19, "Pune")
    become(connection, Role.OPERATOR)
    connection.execute("INSERT INTO user_city_access (user_id, city_id) VALUES ('anna', %s)", (CITY,))
    connection.execute("DELETE FROM user_city_access WHERE user_id = 'anna'")
    [(user, _, cities, old, new, _)] = entries(connection, "user_city_access", "DELETE")
    assert (user, cities, new) == (Role.OPERATOR, [CITY], None)
    assert old["user_id"] == "anna"
    assert len(entries(connection, "user_city_access", "INSERT")) == 1


def test_an_artifact_is_kept_by_its_digest(connection: Connection) -> None:
    connection.execute("INSERT INTO models (name, type, version, trained_until) VALUES ('x', 'trees', '1', now())")
    connection.execute(
        "INSERT INTO model_artifacts (model_id, city_id, artifact, sha256, training_digest, training_facts)"
        " SELECT id, %s, 'abc', sha256('abc'), sha256(''), '{}' FROM models",
        (CITY,),
    )
    [(_, _, cities, _, new, _)] = entries(connection, "model_artifacts", "INSERT")
    assert cities == [CITY]
    assert "artifact" not in new
    assert new["sha256"] == "\\xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def stored_sums(connection: Connection) -> dict[str, list[int]]:
    """Return the sums of energy_consumption, as `doctor audit` computes them."""
    rows = connection.execute(queries("audit")["sums_of_energy_consumption"], {"first": None, "end": None}).fetchall()
    return {block: [int(number) for number in numbers] for block, *numbers in rows}


def test_a_load_has_one_entry_whose_sums_follow_from_its_rows(connection: Connection) -> None:
    """Whatever the order in which they came: else it could not be computed again from the table."""
    sums = []
    for order in ("city, t", "t DESC, city", "sha256(t::text::bytea)"):
        become(connection, Role.INGEST)
        load(connection, order)
        [(user, _, cities, old, new, now)] = entries(connection, "energy_consumption", "INSERT")
        assert (user, cities, old, now) == (Role.INGEST, [CITY, OTHER], None, True)
        assert (new["rows"], new["cities"]) == (1600, 2)
        assert (new["first"], new["last"]) == ("2024-01-10T00:00:00Z", "2024-02-12T07:00:00Z")
        sums.append(new["sums"])
        assert stored_sums(connection) == new["sums"]
        connection.rollback()
    # Not of the moment of recording, which every transaction has for itself
    assert [{block: numbers[0] for block, numbers in each.items()} for each in sums] == [
        {"2023-12-26": 720, "2024-01-25": 880}
    ] * 3


def test_the_sums_show_every_value(connection: Connection) -> None:
    load(connection, hours=3)
    [(*_, new, _)] = entries(connection, "energy_consumption", "INSERT")
    connection.commit()
    for trigger in ("energy_consumption_correct", "energy_consumption_archive_revision", "audit_update"):
        connection.execute(f"ALTER TABLE energy_consumption DISABLE TRIGGER {trigger}")
    for column, value in (("consumption_kwh", "0"), ("peak_demand_kw", "0"), ("metadata", "'{\"a\": 1}'"),
                          ("available_at", "available_at + interval '1 us'"), ("interval_minutes", "30")):  # fmt: skip
        connection.execute("SAVEPOINT one")
        connection.execute(
            f"UPDATE energy_consumption SET {column} = {value} WHERE timestamp = '2024-01-10 01:00Z' AND city_id = %s",
            (CITY,),
        )
        assert stored_sums(connection) != new["sums"], column
        connection.execute("ROLLBACK TO one")
    assert stored_sums(connection) == new["sums"]


@pytest.mark.parametrize("table", ["energy_consumption", "weather_data"])
def test_a_forged_moment_of_recording_is_refused(connection: Connection, table: str) -> None:
    value = "consumption_kwh" if table == "energy_consumption" else "temperature"
    become(connection, Role.INGEST)
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute(f"INSERT INTO {table} (city_id, timestamp, {value}, available_at, created_at)"
                           " VALUES (%s, '2024-01-01Z', 1, '2024-01-01 01:00Z', '2024-01-01Z')", (CITY,))  # fmt: skip
    connection.rollback()
    with pytest.raises(errors.IntegrityConstraintViolation, match="created_at of"):
        connection.execute(f"INSERT INTO {table} (city_id, timestamp, {value}, available_at, created_at)"
                           " VALUES (%s, '2024-01-01Z', 1, '2024-01-01 01:00Z', '2024-01-01Z')", (CITY,))  # fmt: skip


def test_corrections_and_deletions_have_entries_and_idle_statements_none(connection: Connection) -> None:
    load(connection, hours=5)
    connection.commit()
    connection.execute("UPDATE energy_consumption SET consumption_kwh = 1 WHERE city_id = %s", (CITY,))
    [(_, _, cities, _, new, _)] = entries(connection, "energy_consumption", "UPDATE")
    assert (cities, new["rows"]) == ([CITY], 5)
    connection.execute("DELETE FROM energy_consumption WHERE city_id = %s", (OTHER,))
    [(_, _, cities, old, new, _)] = entries(connection, "energy_consumption", "DELETE")
    assert (cities, old["rows"], new) == ([OTHER], 5, None)
    connection.execute("UPDATE energy_consumption SET consumption_kwh = 1 WHERE false")
    assert len(entries(connection, "energy_consumption", "UPDATE")) == 1


def test_a_rolled_back_change_has_no_entry(connection: Connection) -> None:
    before = connection.execute("SELECT count(*) FROM audit_log").fetchone()
    connection.execute("SAVEPOINT one")
    connection.execute("UPDATE cities SET latitude = 1")
    connection.execute("ROLLBACK TO one")
    connection.commit()
    assert connection.execute("SELECT count(*) FROM audit_log").fetchone() == before


ENTRY = "INSERT INTO audit_log (table_name, action, user_name) VALUES ('cities', 'UPDATE', 'anna')"


@pytest.mark.parametrize("role", list(Role))
def test_nobody_can_forge_an_entry(connection: Connection, role: Role) -> None:
    become(connection, role)
    refused = errors.IntegrityConstraintViolation if role == Role.OWNER else errors.InsufficientPrivilege
    with pytest.raises(refused):
        connection.execute(ENTRY)
    connection.rollback()
    become(connection, role)
    with pytest.raises(refused):
        connection.execute("INSERT INTO ops.audit_chain VALUES (99, gen_random_uuid(), 'a', 'b')")


def test_only_the_auditor_reads_the_log(connection: Connection) -> None:
    names = [str(role) for role in Role] + ["energy_forecast_app", "energy_forecast_api"]
    for table in ("audit_log", "ops.audit_chain"):
        readers = connection.execute(
            "SELECT role FROM unnest(%s::text[]) role WHERE has_table_privilege(role, %s, 'SELECT')"
            " AND NOT pg_has_role(role, 'pg_read_all_data', 'USAGE')",
            (names, table),
        ).fetchall()
        assert {role for (role,) in readers} == {Role.OWNER, Role.AUDITOR}


def test_a_change_of_the_schema_has_an_entry(connection: Connection) -> None:
    connection.execute("ALTER TABLE cities DISABLE TRIGGER audit_row")
    connection.execute("CREATE TABLE extra (id integer)")
    connection.execute("CREATE TEMPORARY TABLE passing (id integer)")
    connection.execute("DROP TABLE extra")
    found = connection.execute(
        "SELECT table_name, action, coalesce(old_data, new_data) ->> 'command' FROM audit_log"
        " WHERE transaction_id = pg_current_xact_id() ORDER BY number"
    ).fetchall()
    assert found == [
        ("public.cities", "DDL", "ALTER TABLE"),
        ("public.extra", "DDL", "CREATE TABLE"),
        ("public.extra", "DROP", "DROP TABLE"),
    ]


@pytest.mark.parametrize("writers", [2, 8])
def test_concurrent_writers_make_one_chain(
    connection: Connection, database: Database, tmp_path: Path, writers: int
) -> None:
    """Two that read the same end of the chain would fork it."""
    together = threading.Barrier(writers)

    def write(number: int) -> None:
        with psycopg.connect(database.url) as mine:
            for turn in range(5):
                together.wait()
                mine.execute(
                    "INSERT INTO cities (name, latitude, longitude, timezone)"
                    " VALUES (%s, 1, 1, 'UTC'), (%s, 1, 1, 'UTC')",
                    (f"{number}-{turn}-a", f"{number}-{turn}-b"),
                )
                together.wait()
                mine.commit()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verify_audit(database, tmp_path)
    assert report.findings == []
    rows = connection.execute("SELECT count(*) FROM audit_log WHERE table_name = 'cities'").fetchone()
    assert rows == (2 + writers * 10,)
    # The entries of a transaction stand together
    assert connection.execute(
        "SELECT count(*) FROM (SELECT transaction_id, lag(transaction_id) OVER (ORDER BY sequence) AS before"
        " FROM ops.audit_chain JOIN audit_log ON id = audit_id WHERE table_name = 'cities') x"
        " WHERE transaction_id IS DISTINCT FROM before"
    ).fetchone() == (1 + writers * 5,)


def test_an_open_load_keeps_nobody_waiting(connection: Connection, database: Database) -> None:
    load(connection, hours=3)
    with psycopg.connect(database.url) as other:
        other.execute("SET lock_timeout = '1s'")
        other.execute("UPDATE cities SET latitude = 2 WHERE id = %s", (OTHER,))
        other.commit()
    connection.commit()


def test_a_transaction_of_one_snapshot_is_refused_rather_than_forked(
    connection: Connection, database: Database
) -> None:
    """It cannot see the end of the chain that another made meanwhile; its caller repeats it."""
    with psycopg.connect(database.url) as stale:
        stale.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        stale.execute("UPDATE cities SET latitude = 2 WHERE id = %s", (OTHER,))
        connection.execute("UPDATE cities SET latitude = 3 WHERE id = %s", (CITY,))
        connection.commit()
        with pytest.raises(errors.SerializationFailure, match="repeat"):
            stale.commit()


def some_history(connection: Connection) -> int:
    """Ten transactions; returns the place where the chain ends."""
    for number in range(10):
        connection.execute("UPDATE cities SET latitude = %s WHERE id = %s", (number, CITY))
        connection.commit()
    row = connection.execute("SELECT max(sequence) FROM ops.audit_chain").fetchone()
    assert row is not None
    return int(row[0])


def tamper(connection: Connection, *statements: str) -> None:
    """As a superuser who has disabled what would refuse it, and enables it again as it was."""
    for table in ("audit_log", "ops.audit_chain"):
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        connection.commit()
    connection.execute("ALTER EVENT TRIGGER energy_forecast_audit_ddl DISABLE")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    for table in ("audit_log", "ops.audit_chain"):
        names = connection.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", (table,)
        ).fetchall()
        for (name,) in names:
            connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
        connection.commit()
    connection.execute("ALTER EVENT TRIGGER energy_forecast_audit_ddl ENABLE ALWAYS")
    connection.commit()


# {last} is the place where the chain ended before; the tampering itself leaves entries after it
TAMPERINGS = {
    "altered": ("UPDATE audit_log SET user_name = 'nobody' WHERE id = ({entry})", 0, "was altered: UPDATE on cities"),
    "removed_entry": ("DELETE FROM audit_log WHERE id = ({entry})", 0, "was removed"),
    "removed_link": ("DELETE FROM ops.audit_chain WHERE sequence = {last} - 3", 0, "has no position"),
    "rewritten": ("UPDATE ops.audit_chain SET hash = sha256('x') WHERE sequence = {last} - 3", 0, "was altered"),
    "unchained": (ENTRY.replace("UPDATE", "DDL"), None, "not in the chain"),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_the_verification_says_where_the_log_was_tampered_with(
    connection: Connection, database: Database, tmp_path: Path, kind: str
) -> None:
    last = some_history(connection)
    assert verify_audit(database, tmp_path).findings == []
    statement, offset, words = TAMPERINGS[kind]
    entry = f"SELECT audit_id FROM ops.audit_chain WHERE sequence = {last} - 3"
    tamper(connection, statement.format(entry=entry, last=last))
    report = verify_audit(database, tmp_path)
    assert report.findings, kind
    first = report.findings[0]
    assert words in first.message
    assert first.sequence == (None if offset is None else last - 3)


def cut(place: int) -> tuple[str, str]:
    return (
        f"DELETE FROM audit_log WHERE id IN (SELECT audit_id FROM ops.audit_chain WHERE sequence > {place})",
        f"DELETE FROM ops.audit_chain WHERE sequence > {place}",
    )


def quietly(connection: Connection, *statements: str) -> None:
    """Tampering that leaves no entries of its own: with no trigger firing at all."""
    connection.execute("ALTER EVENT TRIGGER energy_forecast_audit_ddl DISABLE")
    connection.commit()
    tamper_tables = ("audit_log", "ops.audit_chain")
    for table in tamper_tables:
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    for statement in statements:
        connection.execute(statement)
    for table in tamper_tables:
        names = connection.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", (table,)
        ).fetchall()
        for (name,) in names:
            connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
    connection.execute("ALTER EVENT TRIGGER energy_forecast_audit_ddl ENABLE ALWAYS")
    connection.commit()


def test_a_cut_tail_is_found_by_the_anchor_and_by_nothing_else(
    connection: Connection, database: Database, tmp_path: Path
) -> None:
    last = some_history(connection)
    write_anchor(database, tmp_path / "home")
    quietly(connection, *cut(last - 2))
    assert verify_audit(database, tmp_path / "elsewhere", compare_facts=False).findings == [], (
        "a chain alone cannot tell"
    )
    [found] = verify_audit(database, tmp_path / "home", compare_facts=False).findings
    assert (found.kind, found.sequence) == ("cut", last - 1)
    assert f"reached {last}" in found.message


REWRITE = """
DO $$
DECLARE link record; previous bytea := (SELECT hash FROM ops.audit_chain WHERE sequence = {after});
BEGIN
    UPDATE audit_log SET user_name = 'nobody' WHERE id = (
        SELECT audit_id FROM ops.audit_chain WHERE sequence = {after} + 1);
    FOR link IN SELECT c.sequence, a.* FROM ops.audit_chain c JOIN audit_log a ON a.id = c.audit_id
                WHERE c.sequence > {after} ORDER BY c.sequence LOOP
        UPDATE ops.audit_chain SET previous_hash = previous,
            hash = sha256(previous || convert_to(jsonb_build_array(
                link.sequence, link.id, link.number, link.table_name, link.action, link.old_data, link.new_data,
                link.user_name, link.session_user_name, link.transaction_id::text, link.city_ids,
                (extract(epoch FROM link.timestamp) * 1000000)::bigint)::text, 'UTF8'))
        WHERE sequence = link.sequence RETURNING hash INTO previous;
    END LOOP;
END $$"""


def test_a_chain_made_anew_is_found_by_the_anchor(connection: Connection, database: Database, tmp_path: Path) -> None:
    last = some_history(connection)
    write_anchor(database, tmp_path)
    quietly(connection, REWRITE.format(after=last - 4))
    assert verify_audit(database, tmp_path / "elsewhere").findings == [], "it is a whole chain"
    [found] = verify_audit(database, tmp_path).findings
    assert (found.kind, found.sequence) == ("rewritten", last)


def test_a_restored_database_is_accepted_once_somebody_says_so(
    connection: Connection, database: Database, tmp_path: Path
) -> None:
    last = some_history(connection)
    write_anchor(database, tmp_path)
    quietly(connection, *cut(last - 5))
    assert [finding.kind for finding in verify_audit(database, tmp_path, compare_facts=False).findings] == ["cut"]
    write_anchor(database, tmp_path, restored=True)
    assert verify_audit(database, tmp_path, compare_facts=False).findings == []
    some_history(connection)
    write_anchor(database, tmp_path)
    assert verify_audit(database, tmp_path, compare_facts=False).findings == [], (
        "the places of the lost entries are taken by others"
    )
    assert [anchor.event for anchor in read_anchors(tmp_path)] == ["anchor", "restored", "anchor"]


def test_a_log_that_was_made_anew_is_another_chain(connection: Connection, database: Database, tmp_path: Path) -> None:
    some_history(connection)
    write_anchor(database, tmp_path)
    quietly(connection, *cut(0), "UPDATE ops.audit_chain SET hash = sha256('new')")
    assert "replaced" in {finding.kind for finding in verify_audit(database, tmp_path).findings}


def test_an_anchor_that_is_none_is_refused(database: Database, tmp_path: Path) -> None:
    write_anchor(database, tmp_path)
    with anchors_file(tmp_path).open("a") as file:
        file.write('{"recorded_at": "yesterday"}\n')
    with pytest.raises(AuditError, match="line 2"):
        verify_audit(database, tmp_path)


GUARD_FUNCTIONS = (
    *("reject_change", "audit_trigger_func", "audit_batch_func", "audit_consumption_func", "audit_weather_func"),
    *("audit_consumption_revision_func", "audit_weather_revision_func"),
    "chain_audit_entries",
    *("correct_value", "archive_consumption_revision", "archive_weather_revision", "set_updated_at"),
)


def test_every_guard_is_missed_when_it_is_gone_or_disabled(
    connection: Connection, database: Database, tmp_path: Path
) -> None:
    """Found by the catalog: a trigger that is added and not watched fails here."""
    assert verify_audit(database, tmp_path).findings == []
    guards = connection.execute(
        "SELECT tgrelid::regclass::text, tgname FROM pg_trigger JOIN pg_proc p ON p.oid = tgfoid"
        " WHERE NOT tgisinternal AND tgparentid = 0 AND proname = ANY (%s)"
        " AND (tgname <> 'through_parent' OR tgrelid = 'predictions_shared'::regclass)",
        (list(GUARD_FUNCTIONS),),
    ).fetchall()
    assert len(guards) > 40
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for number, (table, name) in enumerate(guards):
        connection.execute(
            f"ALTER TABLE {table} DISABLE TRIGGER {name}" if number % 2 else f"DROP TRIGGER {name} ON {table}"
        )
    connection.commit()
    with database.transaction(Role.AUDITOR) as auditor:
        said = [fault.message for fault in faults(auditor)]
    for table, name in guards:
        named = f"rigger {name} on {table if '.' in table else f'public.{table}'} "
        assert any(named in each or ("predictions_shared" in table and table in each) for each in said), (table, name)
    upgrade(database)
    with database.transaction(Role.AUDITOR) as auditor:
        assert faults(auditor) == [], "an upgrade repairs it"


def test_a_replaced_function_is_noticed(connection: Connection, database: Database, tmp_path: Path) -> None:
    connection.execute(
        "CREATE OR REPLACE FUNCTION audit_trigger_func() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        " AS $$ BEGIN RETURN NULL; END $$"
    )
    connection.commit()
    connection.execute("ALTER FUNCTION ops.insert_staged(text, boolean) SET search_path = pg_temp, public")
    connection.commit()
    found = findings(database, tmp_path)
    assert "Function public.audit_trigger_func() was altered: body is" in found
    assert "Function ops.insert_staged(text,boolean) was altered: settings is" in found
    upgrade(database)
    assert findings(database, tmp_path) == ""


def test_the_command_tells_and_fails(connection: Connection, command_line: CommandLine) -> None:
    """First without an anchor, then with one; then broken, and exit status 1 with where."""
    last = some_history(connection)
    first = command_line.run("doctor", "audit")
    assert "There was no anchor yet" in first.stderr
    assert f"{last:,} entries" in first.stdout
    second = json.loads(command_line.run("doctor", "audit", "--json").stdout)
    assert (second["intact"], second["anchored"], second["notes"]) == (True, last, [])
    # The chain alone: the city has a value of which the log has no entry any more
    quietly(connection, *cut(last - 1))
    failed = command_line.run("doctor", "audit", "--skip-facts", status=1)
    assert f"ends at position {last - 1}" in failed.stderr
    assert "--restored" in failed.stderr
    broken = command_line.run("doctor", "audit", "--skip-facts", "--json", status=1)
    assert json.loads(broken.stdout)["findings"][0]["sequence"] == last
    assert "is intact" in command_line.run("doctor", "audit", "--restored", "--skip-facts").stdout


def test_a_login_without_any_role_writes_no_entry(connection: Connection) -> None:
    name = f"anna_{uuid4().hex[:8]}"
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    try:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(name)))
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(ENTRY)
    finally:
        connection.rollback()


def findings(database: Database, home: Path) -> str:
    return "\n".join(finding.message for finding in verify_audit(database, home).findings)


def committed(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(statement)
    connection.commit()


LOGS = ("audit_log", "ops.audit_chain")


@pytest.mark.parametrize("table", LOGS)
@pytest.mark.parametrize("action", ["INSTEAD NOTHING", "ALSO SELECT 1"])
def test_no_rule_silences_the_log(connection: Connection, table: str, action: str) -> None:
    become(connection, Role.OWNER)
    with pytest.raises(errors.IntegrityConstraintViolation, match="rule"):
        connection.execute(f"CREATE RULE silence AS ON INSERT TO {table} DO {action}")


# By the owner, who needs no superuser for any of them: each is an entry, and each is seen in the catalog
ALTERED_GUARDS = {
    "rule": ("CREATE RULE r AS ON DELETE TO cities DO INSTEAD NOTHING", "Rule r on public.cities does not belong to"),
    "rule of a ledger": (
        "CREATE RULE r AS ON INSERT TO ops.dropped_data DO INSTEAD NOTHING",
        "Rule r on ops.dropped_data does not belong to",
    ),
    "policy": (
        "CREATE POLICY p ON audit_log AS RESTRICTIVE FOR SELECT TO energy_forecast_auditor USING (action <> 'DELETE')",
        "Policy p on public.audit_log does not belong to",
    ),
    "policy altered": (
        "ALTER POLICY platform ON audit_log USING (action <> 'DELETE') WITH CHECK (true)",
        "Policy platform on public.audit_log was altered: check",
    ),
    "trigger": (
        "CREATE TRIGGER z AFTER INSERT ON ops.audit_chain FOR EACH ROW WHEN (false)"
        " EXECUTE FUNCTION reject_change('x')",
        "Trigger z on ops.audit_chain does not belong to",
    ),
    "trigger of a partition": (
        "CREATE TRIGGER z BEFORE INSERT ON predictions_shared FOR EACH ROW EXECUTE FUNCTION set_updated_at()",
        "Partition public.predictions_shared has the trigger z",
    ),
    "condition": (
        "CREATE OR REPLACE TRIGGER audit_row AFTER INSERT OR UPDATE OR DELETE ON cities FOR EACH ROW WHEN (false)"
        " EXECUTE FUNCTION audit_trigger_func()",
        "Trigger audit_row on public.cities was altered: definition",
    ),
    "events": (
        "CREATE OR REPLACE TRIGGER append_only BEFORE TRUNCATE ON forecast_runs"
        " EXECUTE FUNCTION reject_change('rows here are never changed')",
        "Trigger append_only on public.forecast_runs was altered: definition",
    ),
    "arguments": (
        "CREATE OR REPLACE TRIGGER audit_row AFTER INSERT OR UPDATE OR DELETE ON models FOR EACH ROW"
        " EXECUTE FUNCTION audit_trigger_func('name')",
        "Trigger audit_row on public.models was altered: definition",
    ),
    "setting": (
        "ALTER FUNCTION audit_trigger_func() SET search_path = pg_temp, public",
        "Function public.audit_trigger_func() was altered: settings",
    ),
}


@pytest.mark.parametrize("kind", ALTERED_GUARDS)
def test_an_altered_guard_is_told_and_has_an_entry(
    connection: Connection, database: Database, tmp_path: Path, kind: str
) -> None:
    assert findings(database, tmp_path) == ""
    statement, words = ALTERED_GUARDS[kind]
    become(connection, Role.OWNER)
    if "OR REPLACE TRIGGER" in statement:
        # As an attacker would: the replaced trigger stays enabled always, as it was
        table = statement.split(" ON ")[1].split()[0]
        connection.execute(statement)
        name = statement.split()[4]
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
    else:
        connection.execute(statement)
    assert connection.execute(
        "SELECT count(*) > 0 FROM audit_log WHERE transaction_id = pg_current_xact_id() AND action = 'DDL'"
    ).fetchone() == (True,)
    connection.commit()
    assert words in findings(database, tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER SCHEMA ops RENAME TO aside",
        "ALTER TABLE audit_log RENAME TO aside",
        "ALTER TABLE ops.audit_chain RENAME TO aside",
        "ALTER TABLE audit_log SET SCHEMA ext",
        "DROP TABLE ops.audit_chain",
    ],
)
def test_the_log_cannot_be_put_aside(connection: Connection, statement: str) -> None:
    # As the first migration gives it; a copy of a database does not carry it
    connection.execute(
        sql.SQL("GRANT CREATE ON DATABASE {} TO energy_forecast_owner").format(sql.Identifier(connection.info.dbname))
    )
    connection.commit()
    become(connection, Role.OWNER)
    with pytest.raises(errors.IntegrityConstraintViolation, match="nothing can be audited"):
        connection.execute(statement)


def test_a_trigger_that_swallows_or_alters_an_entry_is_refused(connection: Connection) -> None:
    become(connection, Role.OWNER)
    for body in ("RETURN NULL;", "NEW.table_name := 'x'; RETURN NEW;"):
        connection.execute(
            f"CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;"
            " SET CONSTRAINTS ALL IMMEDIATE"
        )
        with pytest.raises(errors.IntegrityConstraintViolation, match="was not written to the audit log"):
            connection.execute("CREATE TRIGGER z BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION quiet()")
        connection.rollback()
        become(connection, Role.OWNER)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE OR REPLACE FUNCTION audit_ddl_func() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$",
        "ALTER FUNCTION audit_ddl_func() RENAME TO aside",
        "DROP FUNCTION audit_ddl_func() CASCADE",
        "SET ROLE energy_forecast_recorder",
    ],
)
def test_the_owner_cannot_replace_what_audits_changes_of_the_schema(connection: Connection, statement: str) -> None:
    name = f"owner_{uuid4().hex[:8]}"
    connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE energy_forecast_owner")
    connection.execute(f"SET SESSION AUTHORIZATION {name}")
    if not statement.startswith("SET ROLE"):
        become(connection, Role.OWNER)
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)


def test_what_the_owner_hangs_on_the_log_does_not_run_as_a_superuser(connection: Connection) -> None:
    """The event triggers write where the owner may have a trigger, also in a session of a superuser."""
    row = connection.execute(
        "SELECT rolsuper OR rolcreaterole OR rolbypassrls, pg_get_userbyid(proowner) FROM pg_proc JOIN pg_roles r"
        " ON r.oid = proowner WHERE proname = 'audit_ddl_func' AND prosecdef"
    ).fetchone()
    assert row == (False, "energy_forecast_recorder")


def test_event_triggers_that_are_gone_are_missed(connection: Connection, database: Database, tmp_path: Path) -> None:
    for name in ("energy_forecast_audit_ddl", "energy_forecast_audit_drop"):
        committed(connection, f"DROP EVENT TRIGGER {name}")
    assert "Event trigger energy_forecast_audit_drop is missing" in findings(database, tmp_path)
    upgrade(database)
    assert findings(database, tmp_path) == ""


def test_no_table_can_be_truncated(connection: Connection) -> None:
    """Neither by a superuser nor by the owner: it would not be audited."""
    tables = connection.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND relnamespace IN ('public'::regnamespace, 'ops'::regnamespace)"
    ).fetchall()
    assert ("ops.schema_migrations",) in tables
    connection.commit()
    for (table,), owner in product(tables, (False, True)):
        if owner:
            become(connection, Role.OWNER)
        with pytest.raises(errors.IntegrityConstraintViolation, match="TRUNCATE"):
            connection.execute(f"TRUNCATE {table} CASCADE")
        connection.rollback()


def test_a_finished_run_of_maintenance_stays_as_it_is(connection: Connection) -> None:
    committed(connection, "INSERT INTO ops.maintenance_runs (step) VALUES ('vacuum')")
    finish = "UPDATE ops.maintenance_runs SET finished_at = clock_timestamp(), outcome = 'failed'"
    committed(connection, finish)
    with pytest.raises(errors.IntegrityConstraintViolation, match="finished"):
        connection.execute(finish.replace("failed", "done"))


def test_the_owner_writes_no_change_of_the_schema_into_the_log(connection: Connection) -> None:
    for action in ("DDL", "DROP"):
        become(connection, Role.OWNER)
        with pytest.raises(errors.IntegrityConstraintViolation):
            connection.execute(ENTRY.replace("UPDATE", action))
        connection.rollback()


def test_who_wrote_an_entry_and_when_is_stamped(connection: Connection) -> None:
    """Also where the owner goes around by a trigger of a temporary table, which stays possible."""
    become(connection, Role.OWNER)
    connection.execute("CREATE TEMPORARY TABLE lever (id integer)")
    connection.execute(
        "CREATE FUNCTION pg_temp.forge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO public.audit_log (table_name, action, user_name, session_user_name, timestamp, transaction_id)"
        " VALUES ('forged', 'UPDATE', 'anna', 'anna', 'epoch', '3'); RETURN NULL; END $$"
    )
    connection.execute("CREATE TRIGGER t AFTER INSERT ON lever EXECUTE FUNCTION pg_temp.forge()")
    connection.execute("INSERT INTO lever VALUES (1)")
    [(user, login, *_, now)] = entries(connection, "forged", "UPDATE")
    assert (user, login, now) == (Role.OWNER, connection.info.user, True)


def test_an_upgrade_of_what_is_current_writes_nothing(connection: Connection, database: Database) -> None:
    count = "SELECT count(*) FROM audit_log"
    before = connection.execute(count).fetchone()
    connection.commit()
    assert upgrade(database).changed is False
    assert connection.execute(count).fetchone() == before
