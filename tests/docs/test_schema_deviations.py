"""docs/decisions/appendix-schema.md compares the original design with the schema; the catalog decides its verdicts.

DESIGN is what the design asks for, object by object, in the catalog's own words. The page has a row for each, in this
order, and no other row. When an object lands, or changes, only the page's text has to follow:

- `same`: the catalog has the object just so.
- `corrected`: the row names what stands instead, which is there; and the design's own form is not.
- `left out`: there is no such object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.main import get_command

from energy_forecast.cli.app import app
from servers import Server

PAGE = Path(__file__).parents[2] / "docs" / "decisions" / "appendix-schema.md"
VERDICTS = ("same", "corrected", "left out")

UUID = "uuid"
TIME = "timestamp with time zone"
KEY = "uuid, not null, default gen_random_uuid()"
EMPTY = "default '{}'::jsonb"
NOW = f"{TIME}, default CURRENT_TIMESTAMP"
KWH = "numeric(12,2)"


def columns(table: str, **facts: str) -> list[tuple[str, str]]:
    return [(f"column `{table}.{name}`", fact) for name, fact in facts.items()]


# What the design asks for: kind and name, and what it says of it as the catalog would. What has a body of SQL, and a
# statement, has nothing to compare: where that differs, the page says so
DESIGN: list[tuple[str, str]] = [
    ("statement `erDiagram`", ""),
    ("table `cities`", ""),
    *columns(
        "cities",
        id=KEY,
        name="character varying(100), not null",
        latitude="numeric(9,6), not null",
        longitude="numeric(9,6), not null",
        timezone="character varying(50), not null",
        metadata=f"jsonb, {EMPTY}",
        created_at=NOW,
        updated_at=NOW,
    ),
    ("constraint `cities_pkey`", "PRIMARY KEY (id)"),
    ("constraint `unique_city_name`", "UNIQUE (name)"),
    ("index `idx_cities_location`", "cities gist (ext.ll_to_earth(latitude, longitude))"),
    ("index `idx_cities_timezone`", "cities btree (timezone)"),
    ("table `energy_consumption`", "RANGE (timestamp)"),
    *columns(
        "energy_consumption",
        id=KEY,
        city_id="uuid, not null",
        timestamp=f"{TIME}, not null",
        consumption_kwh=f"{KWH}, not null",
        peak_demand_kw=KWH,
        metadata=f"jsonb, {EMPTY}",
        created_at=NOW,
    ),
    ("constraint `energy_consumption_pkey`", "PRIMARY KEY (id)"),
    ("constraint `energy_consumption_city_id_fkey`", "FOREIGN KEY (city_id) REFERENCES cities(id)"),
    ("constraint `consumption_city_timestamp`", "UNIQUE (city_id, timestamp)"),
    ("index `idx_consumption_city_time`", "energy_consumption btree (city_id, timestamp)"),
    ("index `idx_consumption_time`", "energy_consumption brin (timestamp)"),
    ("table `weather_data`", ""),
    *columns(
        "weather_data",
        id=KEY,
        city_id="uuid, not null",
        timestamp=f"{TIME}, not null",
        temperature="numeric(5,2), not null",
        humidity="numeric(5,2)",
        wind_speed="numeric(5,2)",
        precipitation="numeric(5,2)",
        created_at=NOW,
    ),
    ("constraint `weather_data_pkey`", "PRIMARY KEY (id)"),
    ("constraint `weather_data_city_id_fkey`", "FOREIGN KEY (city_id) REFERENCES cities(id)"),
    ("constraint `weather_city_timestamp`", "UNIQUE (city_id, timestamp)"),
    ("index `idx_weather_city_time`", "weather_data btree (city_id, timestamp)"),
    ("index `idx_weather_time`", "weather_data brin (timestamp)"),
    ("table `models`", ""),
    *columns(
        "models",
        id=KEY,
        name="character varying(100), not null",
        type="character varying(50), not null",
        parameters=f"jsonb, not null, {EMPTY}",
        version="character varying(20), not null",
        is_active="boolean, default false",
        trained_at=TIME,
        created_at=NOW,
        updated_at=NOW,
    ),
    ("constraint `models_pkey`", "PRIMARY KEY (id)"),
    ("constraint `unique_model_version`", "UNIQUE (name, version)"),
    ("index `idx_models_active`", "models btree (is_active) WHERE (is_active = true)"),
    ("index `idx_models_type`", "models btree (type)"),
    ("table `predictions`", "LIST (city_id)"),
    *columns(
        "predictions",
        id=KEY,
        city_id="uuid, not null",
        model_id="uuid, not null",
        timestamp=f"{TIME}, not null",
        predicted_consumption=f"{KWH}, not null",
        confidence_lower=KWH,
        confidence_upper=KWH,
        features_used=f"jsonb, {EMPTY}",
        created_at=NOW,
    ),
    ("constraint `predictions_pkey`", "PRIMARY KEY (id)"),
    ("constraint `predictions_city_id_fkey`", "FOREIGN KEY (city_id) REFERENCES cities(id)"),
    ("constraint `predictions_model_id_fkey`", "FOREIGN KEY (model_id) REFERENCES models(id)"),
    ("constraint `prediction_city_model_time`", "UNIQUE (city_id, model_id, timestamp)"),
    ("index `idx_predictions_city_time`", "predictions btree (city_id, timestamp)"),
    ("index `idx_predictions_model`", "predictions btree (model_id)"),
    ("index `idx_predictions_time`", "predictions brin (timestamp)"),
    ("table `model_metrics`", ""),
    *columns(
        "model_metrics",
        id=KEY,
        model_id="uuid, not null",
        timestamp=f"{TIME}, not null",
        mape="numeric(8,4)",
        rmse=KWH,
        mae=KWH,
        r2_score="numeric(8,4)",
        detailed_metrics=f"jsonb, {EMPTY}",
        created_at=NOW,
    ),
    ("constraint `model_metrics_pkey`", "PRIMARY KEY (id)"),
    ("constraint `model_metrics_model_id_fkey`", "FOREIGN KEY (model_id) REFERENCES models(id)"),
    ("constraint `metrics_model_time`", "UNIQUE (model_id, timestamp)"),
    ("index `idx_metrics_model_time`", "model_metrics btree (model_id, timestamp)"),
    ("index `idx_metrics_time`", "model_metrics brin (timestamp)"),
    ("statement `Recent Energy Consumption`", ""),
    ("statement `Weather Correlation`", ""),
    ("statement `Model Performance`", ""),
    # Bounds as the design's bare dates give them to a session in UTC
    ("partition `energy_consumption_y2024m01`", "energy_consumption 2024-01-01 00:00:00+00 2024-02-01 00:00:00+00"),
    ("partition `energy_consumption_y2024m02`", "energy_consumption 2024-02-01 00:00:00+00 2024-03-01 00:00:00+00"),
    ("partition `predictions_mumbai`", "predictions"),
    ("partition `predictions_delhi`", "predictions"),
    ("statement `VACUUM ANALYZE`", ""),
    ("procedure `cleanup_old_data()`", ""),
    ("statement `pg_dump -Fc`", ""),
    ("statement `find -mtime +7 -delete`", ""),
    ("statement `ALTER SYSTEM SET wal_level`", ""),
    ("statement `ALTER SYSTEM SET archive_mode`", ""),
    ("statement `ALTER SYSTEM SET archive_command`", ""),
    ("statement `pg_create_restore_point`", ""),
    ("view `hourly_consumption`", ""),
    *columns(
        "hourly_consumption", city_id=UUID, hour=TIME, total_consumption="numeric", peak_demand="numeric"
    ),
    ("procedure `refresh_materialized_views()`", ""),
    ("index `idx_active_predictions`", "predictions btree (timestamp) WHERE (timestamp >= (now() - '24:00:00'))"),
    ("index `idx_hour_of_day`", "energy_consumption btree (EXTRACT(hour FROM timestamp))"),
    ("statement `ENABLE ROW LEVEL SECURITY`", ""),
    ("policy `energy_consumption.city_access`", "ALL TO energy_forecast_app (city_id IN (SELECT city_id))"),
    ("role `energy_forecast_app`", ""),
    ("table `user_city_access`", ""),
    # The design names these two and gives them no type
    ("column `user_city_access.user_id`", ""),
    ("column `user_city_access.city_id`", ""),
    ("table `audit_log`", ""),
    *columns(
        "audit_log",
        id=KEY,
        table_name="text, not null",
        action="text, not null",
        old_data="jsonb",
        new_data="jsonb",
        user_name="text, not null",
        timestamp=NOW,
    ),
    ("constraint `audit_log_pkey`", "PRIMARY KEY (id)"),
    ("function `audit_trigger_func()`", ""),
]  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A row of the page."""

    subject: str
    verdict: str
    stands: str
    why: str


def lines() -> list[Line]:
    found = []
    for text in PAGE.read_text("utf-8").splitlines():
        if text.startswith("| ") and not text.startswith("| in the design"):
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", text)[1:-1]]
            found.append(Line(*cells))
    return found


LINES = lines()
FACTS = dict(DESIGN)
REFERENCE = re.compile(r"(\w+) `([^`]+)`")

CATALOG = {
    "table": "SELECT coalesce(pg_get_partkeydef(oid), '') FROM pg_class"
    " WHERE oid = to_regclass(%(name)s) AND relkind IN ('r', 'p')",
    "column": "SELECT concat_ws(', ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,"
    " 'default ' || pg_get_expr(d.adbin, d.adrelid)) FROM pg_attribute a"
    " LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)"
    " WHERE a.attrelid = to_regclass(regexp_replace(%(name)s, '\\.[^.]*$', ''))"
    " AND a.attname = substring(%(name)s FROM '[^.]*$') AND a.attnum > 0",
    "constraint": "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE conname = %(name)s AND coninhcount = 0 AND conrelid <> 0",
    "index": "SELECT regexp_replace(pg_get_indexdef(indexrelid), '^.* ON (ONLY )?public\\.(\\w+) USING ', '\\2 ')"
    " FROM pg_index WHERE indexrelid = to_regclass(%(name)s)",
    "partition": "SELECT concat_ws(' ', inhparent::regclass, (regexp_match(pg_get_expr(relpartbound, oid),"
    " $$FROM \\('(.*)'\\) TO \\('(.*)'\\)$$))[1], (regexp_match(pg_get_expr(relpartbound, oid),"
    " $$FROM \\('(.*)'\\) TO \\('(.*)'\\)$$))[2]) FROM pg_class JOIN pg_inherits ON inhrelid = oid"
    " WHERE oid = to_regclass(%(name)s)",
    "view": "SELECT CASE relkind WHEN 'm' THEN 'materialized' ELSE 'view' END FROM pg_class"
    " WHERE oid = to_regclass(%(name)s) AND relkind IN ('v', 'm')",
    "function": "SELECT l.lanname || ' ' || format_type(p.prorettype, NULL) FROM pg_proc p"
    " JOIN pg_language l ON l.oid = p.prolang WHERE p.oid = to_regprocedure(%(name)s) AND p.prokind = 'f'",
    "procedure": "SELECT l.lanname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang"
    " WHERE p.oid = to_regprocedure(%(name)s) AND p.prokind = 'p'",
    "policy": "SELECT CASE p.polcmd WHEN '*' THEN 'ALL' ELSE p.polcmd::text END || ' TO '"
    " || array_to_string(p.polroles::regrole[], ', ') || ' ' || pg_get_expr(p.polqual, p.polrelid) FROM pg_policy p"
    " WHERE p.polrelid = to_regclass(regexp_replace(%(name)s, '\\.[^.]*$', ''))"
    " AND p.polname = substring(%(name)s FROM '[^.]*$')",
    "role": "SELECT '' FROM pg_roles WHERE rolname = %(name)s",
    "trigger": "SELECT '' FROM pg_trigger WHERE tgname = %(name)s AND NOT tgisinternal LIMIT 1",
}


@pytest.fixture(scope="module")
def connection(server: Server, template: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a migrated database into which January and February of 2024 were loaded."""
    with server.copy_of(template) as database, psycopg.connect(database.url) as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute("SELECT ensure_month_partitions('energy_consumption', '2024-01-15Z', '2024-02-15Z')")
        yield connection


def in_catalog(connection: psycopg.Connection[Any], kind: str, name: str) -> str | None:
    """Return the catalog's definition of an object in the form of DESIGN, or None."""
    row = connection.execute(CATALOG[kind], {"name": name}).fetchone()
    return None if row is None else str(row[0]).replace('"', "")


def has_command(path: str) -> bool:
    command: Any = get_command(app)
    for word in path.removeprefix("energy-forecast ").split():
        command = getattr(command, "commands", {}).get(word)
    return command is not None


def test_the_page_has_a_row_for_every_object_of_the_design() -> None:
    assert [line.subject for line in LINES] == [subject for subject, _ in DESIGN]
    assert {line.verdict for line in LINES} <= set(VERDICTS)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.subject)
def test_a_verdict_is_what_the_catalog_says(connection: psycopg.Connection[Any], line: Line) -> None:
    found = REFERENCE.fullmatch(line.subject)
    assert found is not None
    kind, name = found[1], found[2]
    # What stands instead has to be there, and every row but `same` says why
    assert line.why or line.verdict == "same"
    references = REFERENCE.findall(line.stands)
    for other, what in references:
        there = has_command(what) if other == "command" else in_catalog(connection, other, what) is not None
        assert there, f"{other} {what} is not there"
    if kind == "statement":
        assert line.verdict != "same" or not references
        assert line.verdict != "corrected" or references, "a corrected statement names what stands instead"
        return
    stands = in_catalog(connection, kind, name)
    match line.verdict:
        case "same":
            assert stands is not None, f"there is no {line.subject}"
            if FACTS[line.subject] or kind in ("table", "role"):
                assert stands == FACTS[line.subject]
        case "corrected":
            assert references, "a corrected row names what stands in the catalog"
            assert stands is None or not FACTS[line.subject] or stands != FACTS[line.subject], (
                "just as the design has it"
            )
        case _:
            assert stands is None, f"there is a {line.subject}: {stands}"


@pytest.mark.parametrize("verdict", ["corrected", "left out"])
def test_a_wrong_verdict_is_found(connection: psycopg.Connection[Any], verdict: str) -> None:
    """The test must not pass whatever the page says."""
    for line in LINES:
        kind = line.subject.partition(" ")[0]
        if line.verdict == "same" and kind != "statement" and FACTS[line.subject]:
            wrong = Line(line.subject, verdict, "table `cities`", "because")
            with pytest.raises(AssertionError):
                test_a_verdict_is_what_the_catalog_says(connection, wrong)
