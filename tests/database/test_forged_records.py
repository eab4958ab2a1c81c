"""A forecast counts as live only if the database recorded it in time, whatever role, clock or transaction wrote it."""

# ruff: noqa: S608 - statements of these tests' own constants

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors, sql

from energy_forecast.database import Database, Role
from energy_forecast.database.forecasts import to_score, vintage
from energy_forecast.database.scores import scored_forecasts
from energy_forecast.database.vintages import issued_by, scorable_values
from energy_forecast.forecasting import QUANTILE_LEVELS
from energy_forecast.operations.record_checks import check_forecast_records
from energy_forecast.pipelines import explain_score, score, wrong_scores
from servers import Server

CITY = UUID(int=1)
MODEL = UUID(int=2)
LATER_MODEL = UUID(int=3)
OLD_RUN = UUID(int=4)
OLD_REPLAY = UUID(int=5)
NEW_RUN = UUID(int=6)
LATER_RUN = UUID(int=8)
ROLES = [None, "energy_forecast_app", *Role]

Connection = psycopg.Connection[Any]

RUN = (
    "INSERT INTO forecast_runs (id, model_id, purpose, issued_at, horizon, weather, quantile_levels, status,"
    " started_at, finished_at) VALUES ('{id}', '{model}', '{purpose}', {issued}, '48 hours', 'none',"
    " '{{0.05,0.5,0.95}}', 'succeeded',"
    " now(), now())"
)
VINTAGE = (
    "INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,"
    " interval_minutes, predicted_consumption, quantiles, quantile_count) VALUES ('{id}', '{city}', '{model}',"
    " {issued}, {target}, {target}, 60, '{{100}}', '{{90,100,110}}', 3)"
)
PREDICTION = (
    "INSERT INTO predictions (city_id, model_id, timestamp, predicted_consumption, confidence_lower, confidence_upper,"
    " confidence_level, run_id, issued_at) VALUES ('{city}', '{model}', {target}, {value}, {lower}, 110, 0.9, '{id}',"
    " {issued})"
)
YESTERDAY = f"(SELECT issued_at FROM forecast_runs WHERE id = '{OLD_RUN}')"
HOUR_AGO = "date_trunc('hour', now()) - interval '1 hour'"


def run(*, id: UUID = NEW_RUN, model: UUID = MODEL, purpose: str = "live", issued: str = "now()") -> str:
    return RUN.format(id=id, model=model, purpose=purpose, issued=issued)


def of_run(*, id: UUID = NEW_RUN, issued: str = "now()", target: str = "now() + interval '5 hours'") -> str:
    return VINTAGE.format(id=id, city=CITY, model=MODEL, issued=issued, target=target)


def prediction(*, id: UUID, issued: str, target: str, value: int = 100, lower: int = 90) -> str:
    return PREDICTION.format(id=id, city=CITY, model=MODEL, issued=issued, target=target, value=value, lower=lower)


@pytest.fixture(scope="module")
def prepared(server: Server, template: str) -> Iterator[str]:
    """Make a database with a live run and a replay, both issued yesterday at noon, each with one vintage."""
    with server.copy_of(template) as database:
        with psycopg.connect(database.url) as connection:
            for statement in (
                "INSERT INTO cities (id, name, latitude, longitude, timezone)"
                f" VALUES ('{CITY}', 'Pune', 18, 73, 'UTC')",
                "SELECT ensure_month_partitions('prediction_vintages', now() - interval '40 days', now())",
                "INSERT INTO models (id, name, type, version, trained_until) VALUES"
                f" ('{MODEL}', 'naive-24', 'baseline', '1', now() - interval '9 days'),"
                f" ('{LATER_MODEL}', 'naive-24', 'baseline', '2', now())",
                "INSERT INTO model_artifacts (model_id, city_id, artifact, sha256, training_digest, training_facts)"
                f" SELECT id, '{CITY}', '', sha256(''), sha256(id::text::bytea), '{{}}' FROM models",
            ):
                connection.execute(statement)
        with _as_recorded_then(database) as connection:
            for id, purpose in ((OLD_RUN, "live"), (OLD_REPLAY, "replay")):
                issued = "date_trunc('day', now()) - interval '12 hours'"
                connection.execute(run(id=id, purpose=purpose, issued="now()"))
                connection.execute(
                    f"UPDATE forecast_runs SET issued_at = {issued}, created_at = {issued} WHERE id = '{id}'"
                )
                connection.execute(of_run(id=id, issued=issued, target=f"{issued} + interval '1 hour'"))
                connection.execute(f"UPDATE prediction_vintages SET created_at = issued_at WHERE run_id = '{id}'")
                connection.execute(
                    prediction(id=id, issued=issued, target=f"{issued} + interval '1 hour'") + " ON CONFLICT DO NOTHING"
                )
        yield database.name


@contextmanager
def _as_recorded_then(database: Database) -> Iterator[Connection]:
    """Open a superuser's transaction without the rules, for rows that were recorded in the past."""
    tables = ("forecast_runs", "prediction_vintages", "predictions")
    with psycopg.connect(database.url) as connection:
        switch = sql.SQL("ALTER TABLE {} {} TRIGGER USER")
        for table in tables:
            connection.execute(switch.format(sql.Identifier(table), sql.SQL("DISABLE")))
        yield connection
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        names = connection.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger"
            " WHERE tgrelid = ANY (%s::regclass[]) AND NOT tgisinternal",
            (list(tables),),
        ).fetchall()
        for table, name in names:
            connection.execute(
                sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(sql.Identifier(table), sql.Identifier(name))
            )


@pytest.fixture(scope="module")
def shared(server: Server, prepared: str) -> Iterator[Database]:
    """Make a database for attempts that the database refuses."""
    with server.copy_of(prepared) as database:
        yield database


@pytest.fixture
def database(server: Server, prepared: str) -> Iterator[Database]:
    with server.copy_of(prepared) as database:
        yield database


def attempt(database: Database, role: str | None, *transactions: tuple[str, ...]) -> None:
    """Commit transactions of statements one after another as a role; None is the superuser."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        if role is not None:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        for statements in transactions:
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement)


def counted(database: Database) -> set[tuple[UUID | None, datetime]]:
    """Return issued_at and target of every live vintage that any reader counts."""
    ever = datetime(2100, 1, 1, tzinfo=UTC)
    with database.transaction(Role.FORECASTER) as connection:
        beginning = datetime(2000, 1, 1, tzinfo=UTC)
        scored = to_score(connection, city=CITY, first=beginning, end=ever).filter(purpose="live", model_id=str(MODEL))
        certified = issued_by(connection, city=CITY, models=["naive-24"], purpose="live")
        shown = scorable_values(
            connection, city=CITY, first=beginning, end=ever, as_of=ever, levels=(0.05, 0.5, 0.95), purpose="live"
        )
        explained = scored_forecasts(
            connection,
            {
                "city_id": CITY, "model_id": MODEL, "purpose": "live", "weather": "none",
                "period_start": datetime(2000, 1, 1, tzinfo=UTC), "period_end": ever, "lead_start_hours": 0,
                "lead_end_hours": 168, "created_at": ever, "assumptions": {},
                **dict.fromkeys(("issued_from", "issued_until", "issued_every", "horizon")),
            },
        )  # fmt: skip
        served = connection.execute(
            "SELECT issued_at, timestamp FROM forecast_as_of(%s, now(), '2000-01-01Z', '2100-01-01Z', 'naive-24')",
            (CITY,),
        ).fetchall()
    found = set(scored.select("issued_at", "timestamp").iter_rows())
    assert found == set(certified.select("issued_at", "timestamp").iter_rows())
    assert found == set(shown.filter(model="naive-24").select("issued_at", "timestamp").iter_rows())
    assert found == set(explained.select("issued_at", "timestamp").iter_rows())
    assert {target for _, target in found} == {target for _, target in served}
    return found


REFUSED: dict[str, tuple[tuple[str, ...], ...]] = {
    "a vintage for a live run of yesterday": ((of_run(id=OLD_RUN, issued=YESTERDAY, target=HOUR_AGO),),),
    "a vintage for a replay of yesterday": ((of_run(id=OLD_REPLAY, issued=YESTERDAY, target=HOUR_AGO),),),
    "a vintage for a live run of the transaction before": ((run(), of_run()), (of_run(target=HOUR_AGO),)),
    "a live run that was issued yesterday": (
        (run(issued=YESTERDAY), of_run(issued=YESTERDAY, target=HOUR_AGO)),
    ),
    "a live run that was issued four hours ago": ((run(issued="now() - interval '4 hours'"),),),
    "a live run that is issued in an hour": ((run(issued="now() + interval '1 hour'"),),),
    "a run that was recorded yesterday": (
        (run().replace("finished_at)", "finished_at, created_at)")
              .replace("now(), now())", f"now(), now(), {YESTERDAY})"),),
    ),
    "a vintage that was recorded yesterday": (
        (run(), of_run().replace("quantile_count)", "quantile_count, created_at)").replace("3)", f"3, {YESTERDAY})")),
    ),
    "a run of a version that was trained later": ((run(model=LATER_MODEL, issued="now() - interval '1 hour'"),),),
    "a replay of a version that was trained later": ((run(model=LATER_MODEL, purpose="replay", issued=YESTERDAY),),),
    "a replay called live": ((f"UPDATE forecast_runs SET purpose = 'live' WHERE id = '{OLD_REPLAY}'",),),
    "a vintage with another value": (("UPDATE prediction_vintages SET predicted_consumption = '{1}'",),),
    "a vintage with another quantile": (("UPDATE prediction_vintages SET quantiles[1] = 1",),),
    "a vintage that goes further": (
        (
            "UPDATE prediction_vintages SET last_timestamp = last_timestamp + interval '1 hour',"
            " predicted_consumption = predicted_consumption || 1::float8, quantiles = quantiles || '{1,2,3}'::real[]",
        ),
    ),
    "a second vintage of a run": ((run(), of_run(), of_run()),),
    "a quantile level twice": ((run().replace("{0.05,0.5,0.95}", "{0.05,0.5,0.5}"),),),
    "a vintage of any size": (
        (run().replace("'{0.05,0.5,0.95}'", "(SELECT array_agg(n / 1001.0) FROM generate_series(1, 1000) n)"),),
    ),
    "a queue row that no program reads": (
        ("INSERT INTO ops.hours_to_score (first_hour, last_hour) VALUES ('-infinity', now())",),
    ),
    "a queue row that is never deleted": (("INSERT INTO ops.hours_to_score (known_at) VALUES ('infinity')",),),
    "a bad vintage taken away": (("DELETE FROM prediction_vintages",),),
    "a bad run taken away": (("DELETE FROM forecast_runs",),),
    "a promotion in the past": (
        (
            "INSERT INTO model_promotions (city_id, model_id, reason, evidence, is_forced, during) VALUES"
            f" ('{CITY}', '{MODEL}', 'x', '[]', true, tstzrange(now() - interval '1 day', NULL))",
        ),
    ),
    "a promotion that was recorded in the past": (
        (
            "INSERT INTO model_promotions (city_id, model_id, reason, evidence, is_forced, during, created_at) VALUES"
            f" ('{CITY}', '{MODEL}', 'x', '[]', true, tstzrange(now() - interval '1 day', NULL),"
            " now() - interval '1 day')",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role or "superuser"))
@pytest.mark.parametrize("name", REFUSED)
def test_refuses_forgery_of_every_role(shared: Database, name: str, role: str | None) -> None:
    """The rules hold for superusers too, as long as nobody disables a trigger."""
    fresh = str(uuid4())
    *honest, forgery = (tuple(s.replace(str(NEW_RUN), fresh) for s in t) for t in REFUSED[name])
    attempt(shared, Role.FORECASTER, *honest)
    before = counted(shared)
    with pytest.raises((errors.InsufficientPrivilege, errors.IntegrityError)):
        attempt(shared, role, forgery)
    assert counted(shared) == before
    assert check_forecast_records(shared) == []


@pytest.mark.parametrize(
    "change",
    [
        "predicted_consumption = 1",
        "confidence_lower = 1",
        "confidence_lower = 100, confidence_upper = 100",
        "confidence_lower = 100",
        "confidence_level = 0.99",
        "confidence_level = 0.5",
    ],
)
@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role or "superuser"))
def test_current_forecast_is_changed_by_nobody_but_the_owner(database: Database, role: str | None, change: str) -> None:
    """An interval that is narrower than its level is as wrong as another value."""
    statement = f"UPDATE predictions SET {change}, created_at = now()"
    if role == Role.OWNER:
        attempt(database, role, (statement,))
    else:
        with pytest.raises((errors.InsufficientPrivilege, errors.IntegrityError)):
            attempt(database, role, (statement,))
    assert ("differ from their vintage" in " ".join(check_forecast_records(database))) == (role == Role.OWNER)


@pytest.mark.parametrize("role", [None, Role.OWNER, Role.FORECASTER], ids=lambda role: str(role or "superuser"))
def test_current_forecast_never_returns_to_an_earlier_issue(database: Database, role: str | None) -> None:
    """Once the load is known, the issue that proved best could be called the current one."""
    issued = "(SELECT max(issued_at) FROM forecast_runs)"
    target = f"{YESTERDAY} + interval '1 hour'"
    with _as_recorded_then(database) as connection:
        later = f"{YESTERDAY} + interval '30 minutes'"
        connection.execute(run(issued="now()"))
        connection.execute(f"UPDATE forecast_runs SET issued_at = {later}, created_at = {later} WHERE id = '{NEW_RUN}'")
        connection.execute(of_run(issued=issued, target=target))
    update = "UPDATE predictions SET run_id = '{}', issued_at = {}, created_at = now()"
    attempt(database, Role.OWNER, (update.format(NEW_RUN, issued),))
    with pytest.raises((errors.IntegrityError, errors.InsufficientPrivilege)):
        attempt(database, role, (update.format(OLD_RUN, YESTERDAY),))


def test_earlier_issue_recorded_later_is_not_current(database: Database) -> None:
    """Two issues of the same minutes may be recorded in any order; the later issue stays the current forecast."""
    attempt(database, Role.FORECASTER, (run(), of_run(target="date_trunc('day', now()) + interval '2 days'")))
    issued = "now() - interval '30 minutes'"
    attempt(
        database,
        Role.FORECASTER,
        (
            run(id=LATER_RUN, issued=issued),
            of_run(id=LATER_RUN, issued=issued, target="date_trunc('day', now()) + interval '2 days'").replace(
                "{100}", "{95}"
            ),
        ),
    )
    with psycopg.connect(database.url) as connection:
        current = connection.execute(
            "SELECT run_id, predicted_consumption FROM predictions WHERE timestamp > now()"
        ).fetchall()
    assert current == [(NEW_RUN, 100)]
    assert check_forecast_records(database) == []


def test_of_two_runs_in_one_statement_readers_take_the_same(database: Database) -> None:
    """With one issue and one recording time the id decides, for the current forecast as for forecast_as_of()."""
    target = "date_trunc('hour', now()) + interval '5 hours'"
    first, second = (of_run(id=id, target=target) for id in (LATER_RUN, NEW_RUN))
    both = f"{first.replace('{100}', '{95}')}, {second.split('VALUES', 1)[1]}"
    attempt(database, Role.FORECASTER, (run(id=LATER_RUN), run(id=NEW_RUN), both))
    with psycopg.connect(database.url) as connection:
        current = connection.execute("SELECT run_id FROM predictions WHERE timestamp > now()").fetchall()
        live = connection.execute(
            "SELECT run_id FROM forecast_as_of(%s, now(), now(), '2100-01-01Z', 'naive-24')", (CITY,)
        ).fetchall()
    assert current == live == [(max(NEW_RUN, LATER_RUN),)]


@pytest.mark.parametrize("levels", ["{0.0001,0.5,0.9999}", "{0.4999,0.5,0.5001}"])
def test_level_that_rounds_to_0_or_1_has_no_bounds(database: Database, levels: str) -> None:
    """Quantile levels may be close to each other or to 0 and 1; the forecast must not be lost."""
    attempt(database, Role.FORECASTER, (run().replace("{0.05,0.5,0.95}", levels), of_run()))
    with psycopg.connect(database.url) as connection:
        current = connection.execute(
            "SELECT predicted_consumption, confidence_lower, confidence_upper, confidence_level FROM predictions"
            " WHERE timestamp > now()"
        ).fetchall()
    assert current == [(100, None, None, None)]
    assert check_forecast_records(database) == []


@pytest.fixture
def scored(database: Database) -> Database:
    """Record load and a live run of yesterday with all quantiles, and score it."""
    levels, quantiles = list(QUANTILE_LEVELS), [90 + 5 * place for place in range(len(QUANTILE_LEVELS))]
    with _as_recorded_then(database) as connection:
        issued = "date_trunc('day', now()) - interval '12 hours'"
        connection.execute("SELECT ensure_month_partitions('energy_consumption', now() - interval '20 days', now())")
        connection.execute(
            "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, interval_minutes, available_at)"
            f" SELECT '{CITY}', t, 100 + extract(hour FROM t), 60, t + interval '1 hour' FROM generate_series("
            " date_trunc('day', now()) - interval '15 days', date_trunc('hour', now()) - interval '1 hour', '1 hour') t"
        )
        connection.execute(run(issued="now()").replace("{0.05,0.5,0.95}", "{" + ",".join(map(str, levels)) + "}"))
        connection.execute(
            f"UPDATE forecast_runs SET issued_at = {issued}, created_at = {issued} WHERE id = '{NEW_RUN}'"
        )
        connection.execute(
            "INSERT INTO prediction_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp,"
            " interval_minutes, predicted_consumption, quantiles, quantile_count)"
            f" SELECT '{NEW_RUN}', '{CITY}', '{MODEL}', i, i, i + interval '11 hours', 60,"
            f" array_fill(110::float8, ARRAY[12]), '{{{','.join(map(str, quantiles * 12))}}}', {len(quantiles)}"
            f" FROM (SELECT {issued}) AS issues (i)"
        )
        connection.execute(f"UPDATE prediction_vintages SET created_at = issued_at WHERE run_id = '{NEW_RUN}'")
        connection.execute(f"DELETE FROM predictions; DELETE FROM prediction_vintages WHERE run_id = '{OLD_RUN}'")
        connection.execute(f"DELETE FROM prediction_vintages WHERE run_id = '{OLD_REPLAY}'")
    report = score(database)
    assert report.new > 0
    assert not report.failed
    return database


SCORE = (
    "INSERT INTO forecast_scores (model_id, city_id, purpose, weather, period_start, period_end, lead_start_hours,"
    " lead_end_hours, pair_count, pair_digest, mape, mae_kwh, rmse_kwh, r2_score, pinball_kwh, coverage_90,"
    " width_90_kwh, skill_naive_168, by_hour, actuals_as_of) SELECT model_id, city_id, purpose, weather, {start},"
    " {end}, lead_start_hours, lead_end_hours, {count}, '{digest}', {mape}, {mae}, rmse_kwh, r2_score, pinball_kwh,"
    " {coverage}, width_90_kwh, skill_naive_168, by_hour, actuals_as_of FROM forecast_scores"
)


def forged_score(**values: object) -> str:
    honest = {
        "start": "period_start", "end": "period_end", "count": "pair_count", "digest": uuid4(), "mape": "mape",
        "mae": "mae_kwh", "coverage": "coverage_90",
    }  # fmt: skip
    return SCORE.format(**honest | values)


@pytest.mark.parametrize(
    "values",
    [
        {"mape": 0.1},
        {"mape": "NULL"},
        {"mae": 0},
        {"coverage": 0.9},
        {"count": "pair_count - 1", "mae": 0},
        {"start": "period_start - interval '400 days'", "mae": 0},
        {"end": "period_end + interval '7 days'", "mae": 0},
        {"start": "period_start + interval '1 hour'"},
    ],
    ids=str,
)
def test_forged_score_is_found(scored: Database, values: dict[str, object]) -> None:
    """The forecaster inserts scores, so the database cannot refuse them; computing them again shows it."""
    assert wrong_scores(scored) == []
    attempt(scored, Role.FORECASTER, (forged_score(**values),))
    found = wrong_scores(scored)
    assert found
    assert all(explain_score(scored, id=one.id).differing for one in found)
    assert found[0].column in str(found[0])


@pytest.mark.parametrize("values", [{"start": "'-infinity'"}, {"end": "'infinity'"}, {"end": "'9999-12-31Z'"}], ids=str)
def test_period_that_no_program_reads_is_refused(scored: Database, values: dict[str, object]) -> None:
    """One such row would end every check of scores; one from before the rule ends none."""
    with pytest.raises(errors.IntegrityError, match="before 1970 or in the future"):
        attempt(scored, Role.FORECASTER, (forged_score(**values),))
    with psycopg.connect(scored.url) as connection:
        connection.execute("ALTER TABLE forecast_scores DISABLE TRIGGER real_period")
        connection.execute(forged_score(**values, count=1_000_000))
    assert "have more pairs" in " ".join(check_forecast_records(scored))
    assert wrong_scores(scored) == []


def test_score_from_before_a_correction_is_not_forged(scored: Database) -> None:
    """A correction makes a new score, and the earlier one is still that of the load known then."""
    attempt(
        scored,
        Role.INGEST,
        ("UPDATE energy_consumption SET consumption_kwh = consumption_kwh + 3, available_at = now()",),
    )
    assert score(scored).new > 0
    assert wrong_scores(scored) == []
    assert check_forecast_records(scored) == []


def test_score_from_before_a_late_value_is_not_forged(scored: Database) -> None:
    """Without available_at a late value counts as available since the end of its hour, before the score."""
    late = "date_trunc('day', now()) - interval '7 hours'"
    with psycopg.connect(scored.url) as connection:
        connection.execute("ALTER TABLE forecast_scores DISABLE TRIGGER USER")
        connection.execute("DELETE FROM forecast_scores")
        connection.execute(f"DELETE FROM energy_consumption WHERE timestamp = {late}")
    score(scored)
    attempt(
        scored,
        Role.INGEST,
        (
            "INSERT INTO energy_consumption (city_id, timestamp, consumption_kwh, interval_minutes, available_at)"
            f" SELECT '{CITY}', t, 900, 60, t + interval '1 hour' FROM (SELECT {late}) AS h (t)",
        ),
    )
    assert wrong_scores(scored) == []
    with scored.transaction(Role.FORECASTER) as connection:
        ids = connection.execute("SELECT id FROM forecast_scores").fetchall()
    assert all(explain_score(scored, id=id).differing == [] for (id,) in ids)


EVALUATION = (
    "INSERT INTO model_metrics (model_id, timestamp, mape, rmse, mae, r2_score, detailed_metrics) SELECT model_id,"
    " {time}, {mape}, rmse, mae, r2_score, {details} FROM model_metrics"
)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"mape": 0},
        {"mape": 0, "details": "'{}'"},
        {"mape": 0, "details": "jsonb_set(detailed_metrics, '{purpose}', '\"replay\"')"},
        {"mape": 0, "time": "now() + interval '10 years'"},
    ],
    ids=str,
)
def test_forged_evaluation_is_found(scored: Database, values: dict[str, object]) -> None:
    """An evaluation is the mean of the scores that its transaction added, and nothing else."""
    assert check_forecast_records(scored) == []
    honest = {"time": "clock_timestamp()", "mape": "mape", "details": "detailed_metrics"}
    attempt(scored, Role.FORECASTER, (EVALUATION.format(**honest | values),))
    assert [finding.partition(" are ")[0] for finding in check_forecast_records(scored)] == [
        "1 evaluations of model versions"
    ]


@pytest.mark.parametrize("value", [{"value": 1}, {"lower": 1}], ids=["value", "bound"])
@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role or "superuser"))
def test_current_forecast_has_the_values_of_its_vintage(
    database: Database, role: str | None, value: dict[str, int]
) -> None:
    """Only the owner is trusted, whose functions move rows between partitions; the check finds what they changed."""
    column, number = ("predicted_consumption", 1) if "value" in value else ("confidence_lower", 1)
    statements = (
        f"UPDATE predictions SET {column} = {number}, created_at = now()",
        prediction(id=NEW_RUN, issued=YESTERDAY, target="now() + interval '2 hours'", **value),
    )
    for statement in statements:
        if role == Role.OWNER:
            attempt(database, role, (statement,))
        else:
            with pytest.raises((errors.InsufficientPrivilege, errors.IntegrityError)):
                attempt(database, role, (statement,))
    findings = " ".join(check_forecast_records(database))
    assert ("differ from their vintage" in findings, "have no vintage" in findings) == ((role == Role.OWNER,) * 2)


def test_keeps_an_honest_forecast(database: Database) -> None:
    """Or the refusals above would prove nothing."""
    before = counted(database)
    attempt(
        database,
        Role.FORECASTER,
        (run(), of_run()),
    )
    assert len(counted(database) - before) == 1
    assert check_forecast_records(database) == []


def test_does_not_count_hours_that_had_begun(database: Database) -> None:
    """A run may be recorded three hours after its issue. By then the load of its first hours is known."""
    before = counted(database)
    issued = "now() - interval '100 minutes'"
    statements: list[str] = []
    for minutes in (100, 61, 16, 14, 0, -1):
        id = uuid4()
        target = f"now() - interval '{minutes} minutes'"
        statements += [run(id=id, issued=issued), of_run(id=id, issued=issued, target=target)]
    attempt(database, Role.FORECASTER, tuple(statements))
    now = max(target for _, target in counted(database)) - timedelta(minutes=1)
    assert sorted((now - target) / timedelta(minutes=1) for _, target in counted(database) - before) == [-1, 0, 14]
    assert check_forecast_records(database) == [], "it is late, not forged"


def test_old_forgeries_stay_readable_and_do_not_count(database: Database) -> None:
    """An upgraded database may hold vintages that were added before the rule."""
    assert len(counted(database)) == 1
    with _as_recorded_then(database) as connection:
        connection.execute(f"UPDATE prediction_vintages SET created_at = now() WHERE run_id = '{OLD_RUN}'")
    assert counted(database) == set()
    with database.transaction(Role.FORECASTER) as connection:
        ((issued_at,),) = connection.execute("SELECT issued_at FROM forecast_runs WHERE id = %s", (OLD_RUN,))
        connection.execute(
            "INSERT INTO forecast_scores (model_id, city_id, purpose, weather, period_start, period_end,"
            " lead_start_hours, lead_end_hours, pair_count, pair_digest, mae_kwh, rmse_kwh, pinball_kwh, coverage_90,"
            f" width_90_kwh, actuals_as_of) VALUES ('{MODEL}', '{CITY}', 'live', 'none', %s, now(), 0, 48, 2, 'x',"
            " 0, 0, 0, 1, 0, now())",
            (issued_at,),
        )
        assert len(vintage(connection, city=CITY, model="naive-24", issued_at=issued_at)) > 0
    assert [finding.partition(",")[0] for finding in check_forecast_records(database)] == [
        "1 vintages of 1 live runs were not recorded in time with their run",
        "1 scores of live forecasts have more pairs than forecasts that count",
    ]


@pytest.fixture
def impatient(database: Database) -> Database:
    """Shorten the time for which a transaction may stay open from minutes and hours to a fifth of a second."""
    with psycopg.connect(database.url) as connection:
        for table in ("forecast_runs", "model_promotions"):
            connection.execute(
                f"DROP TRIGGER prompt_commit ON {table};"
                f"CREATE CONSTRAINT TRIGGER prompt_commit AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION check_prompt_commit('0.2 seconds');"
                f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER prompt_commit"
            )
        connection.execute(
            "CREATE OR REPLACE TRIGGER with_their_run AFTER INSERT ON prediction_vintages"
            " REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_new_vintages('0.2 seconds')"
        )
    return database


PROMOTION = (
    "INSERT INTO model_promotions (city_id, model_id, reason, evidence, is_forced)"
    f" VALUES ('{CITY}', '{MODEL}', 'x', '[]', true)"
)
WAIT = "SELECT pg_sleep(0.3)"
WAITING = {
    "before the run": (WAIT, run(), of_run()),
    "before the vintages": (run(), WAIT, of_run()),
    "before the commit": (run(), of_run(), WAIT),
    "before the vintages, with the check done": (run(), "SET CONSTRAINTS ALL IMMEDIATE", WAIT, of_run()),
    "before the commit, with the check undone": (
        *(run(), of_run(), "SAVEPOINT early", "SET CONSTRAINTS ALL IMMEDIATE", "ROLLBACK TO early", WAIT),
    ),
    "before a promotion": (WAIT, PROMOTION),
    "after a promotion": (PROMOTION, WAIT),
}


@pytest.mark.parametrize("name", WAITING)
def test_refuses_transaction_that_waits(impatient: Database, name: str) -> None:
    """created_at is when the transaction began: it could wait for the load and commit the best candidate."""
    before = counted(impatient)
    with pytest.raises(errors.IntegrityError, match="is refused"):
        attempt(impatient, Role.FORECASTER, WAITING[name])
    assert counted(impatient) == before


@pytest.mark.parametrize(
    "other",
    [
        (run(id=UUID(int=7)), of_run(id=UUID(int=7)), "SET CONSTRAINTS ALL IMMEDIATE"),
        ("UPDATE models SET is_active = true",),
    ],
    ids=["a second candidate", "any other change"],
)
def test_waiting_after_the_check_blocks_every_other_commit(database: Database, other: tuple[str, ...]) -> None:
    """SET CONSTRAINTS runs the check early. Then nobody else can commit, so the load cannot arrive meanwhile either."""
    with psycopg.connect(database.url) as waiting:
        waiting.execute("SET ROLE energy_forecast_forecaster")
        for statement in (run(), of_run(), "SET CONSTRAINTS ALL IMMEDIATE"):
            waiting.execute(statement)
        with pytest.raises(errors.LockNotAvailable):
            attempt(database, Role.FORECASTER, ("SET LOCAL lock_timeout = '200ms'", *other))
        waiting.rollback()
    attempt(database, Role.FORECASTER, other)


def test_two_transactions_of_one_microsecond_are_two(database: Database) -> None:
    """Transactions can be begun by the thousand until two have the same moment; the second could wait for the load."""
    with psycopg.connect(database.url) as second:
        second.execute("SET ROLE energy_forecast_forecaster")
        (moment,) = second.execute("SELECT now()").fetchone() or ()
        with _as_recorded_then(database) as first:
            first.execute(run())
            first.execute(
                "UPDATE forecast_runs SET created_at = %s, issued_at = %s WHERE id = %s", (moment, moment, NEW_RUN)
            )
        with pytest.raises(errors.IntegrityError, match="in one transaction"):
            second.execute(of_run())


def test_waits_no_longer_than_it_says(database: Database) -> None:
    """The limits of the tests above are shorter than those of the platform, which are these."""
    with psycopg.connect(database.url) as connection:
        rows = connection.execute(
            "SELECT tgrelid::regclass::text, tgname, encode(tgargs, 'escape') FROM pg_trigger"
            " WHERE tgname IN ('prompt_commit', 'with_their_run') AND tgparentid = 0 ORDER BY 1"
        ).fetchall()
    assert [(table, arguments.removesuffix("\\000")) for table, _, arguments in rows] == [
        ("forecast_runs", "15 minutes"),
        ("model_promotions", "3 hours"),
        ("prediction_vintages", "15 minutes"),
    ]
