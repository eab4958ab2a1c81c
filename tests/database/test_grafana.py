"""The dashboards for Grafana: valid for its provisioning, and their SQL runs as the login of the data source.

Grafana itself is not here. Its macros and variables are replaced as its PostgreSQL data source does it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
import yaml
from psycopg import sql
from psycopg.conninfo import make_conninfo

import energy_forecast as ef
from api.conftest import FIRST, NOW, fill, two_users
from energy_forecast import pipelines
from energy_forecast.database import Database
from servers import Server
from synthetic import frames

FOLDER = Path(__file__).parents[2] / "deploy/grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("dashboards/*.json"))}
FROM, TO = NOW - timedelta(days=20), NOW + timedelta(days=3)


def provisioned(name: str) -> Any:
    return yaml.safe_load((FOLDER / "provisioning" / name / "energy-forecast.yaml").read_text("utf-8"))


def targets(dashboard: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the queries of a dashboard's panels, each with the title of its panel."""
    return [(panel["title"], target) for panel in dashboard["panels"] for target in panel["targets"]]


QUERIES = [
    pytest.param(target["rawSql"], id=f"{name}: {title} {target['refId']}")
    for name, dashboard in DASHBOARDS.items()
    for title, target in targets(dashboard)
]


def replaced(query: str, **variables: str) -> str:
    """Return SQL as Grafana sends it: first the variables are replaced, then the macros, which end at the first `)`."""

    def variable(found: re.Match[str]) -> str:
        assert found[2] == "sqlstring", "without this format a value could end the string and go on as SQL"
        return "'" + variables[found[1]].replace("'", "''") + "'"

    def macro(found: re.Match[str]) -> str:
        first, last = f"'{FROM:%Y-%m-%dT%H:%M:%SZ}'", f"'{TO:%Y-%m-%dT%H:%M:%SZ}'"
        macros = {
            "__timeFilter": f"{found[2]} BETWEEN {first} AND {last}",
            "__timeFrom": first,
            "__timeTo": last,
        }
        return macros[found[1]]

    query = re.sub(r"\$\{(\w+)(?::(\w+))?\}", variable, query)
    query = re.sub(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)", macro, query)
    assert "$" not in query, query
    return query


@pytest.fixture(scope="module")
def filled(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, str]]:
    """Yield a database with two cities, faults, corrections, forecasts and scores; and a user who sees Berlin."""
    with server.copy_of(template) as database:
        fill(database, tmp_path_factory.mktemp("grafana"))
        pipelines.forecast(database, at=NOW - timedelta(hours=30), horizon=timedelta(hours=72), model="naive-24")
        rows = frames(FIRST, NOW)[0]
        with ef.connect(database.url) as platform:
            for hours, factor in ((48, 100.0), (24, 1.1)):
                old = rows.filter(pl.col("timestamp") == f"{NOW - timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}")
                platform.ingest(
                    "consumption", old.with_columns(pl.col("consumption_kwh").cast(float) * factor), check=True
                )
        with two_users(database) as (anna, _):
            yield database, anna


def answers(database: Database, user: str, query: str, **variables: str) -> list[dict[str, Any]]:
    """Return the rows of a query that Grafana sends, over a connection of the user's own login."""
    with psycopg.connect(make_conninfo(database.url, user=user), row_factory=psycopg.rows.dict_row) as connection:
        connection.read_only = True
        text = sql.SQL(replaced(query, **variables))
        return connection.execute(text).fetchall()


def city_ids(database: Database) -> dict[str, str]:
    with psycopg.connect(database.url) as connection:
        return dict(connection.execute("SELECT name, id::text FROM cities").fetchall())


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboard_has_what_provisioning_needs(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert dashboard["id"] is None, "Grafana chooses the number itself"
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", dashboard["uid"])
    assert isinstance(dashboard["schemaVersion"], int)
    assert dashboard["title"]
    (source,) = provisioned("datasources")["datasources"]
    wanted = {"type": source["type"], "uid": source["uid"]}
    panels = dashboard["panels"]
    assert sorted(panel["id"] for panel in panels) == list(range(1, len(panels) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in {"timeseries", "stat", "table"}
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == wanted
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not taken & cells, "two panels overlap"
        taken |= cells
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        for target in panel["targets"]:
            assert target["datasource"] == wanted
            assert target["rawQuery"] is True
            assert target["format"] == ("time_series" if panel["type"] == "timeseries" else "table")
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert all(one["datasource"] == wanted for one in variables.values() if one["type"] == "query")
    used = re.findall(r"\$\{(\w+)", json.dumps([target["rawSql"] for _, target in targets(dashboard)]))
    assert set(used) == set(variables)


def test_uids_are_unique() -> None:
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS) == 2


def test_data_source_has_no_secret_and_checks_the_server() -> None:
    loaded = provisioned("datasources")
    assert loaded["apiVersion"] == 1
    (source,) = loaded["datasources"]
    assert source["access"] == "proxy"
    assert source["editable"] is False
    assert source["jsonData"]["sslmode"] == "verify-full"
    values = source["url"], source["user"], source["jsonData"]["database"], source["secureJsonData"]["password"]
    assert all(re.fullmatch(r"\$[A-Z_]+", value) for value in values)
    page = (FOLDER.parents[1] / "docs/howto/grafana.md").read_text("utf-8")
    assert all(value[1:] in page for value in values)


def test_provider_shows_the_dashboards_to_the_organisation_of_the_data_source() -> None:
    loaded = provisioned("dashboards")
    assert loaded["apiVersion"] == 1
    (provider,) = loaded["providers"]
    assert provider["type"] == "file"
    assert provider["orgId"] == provisioned("datasources")["datasources"][0]["orgId"]
    page = (FOLDER.parents[1] / "docs/howto/grafana.md").read_text("utf-8")
    assert provider["options"]["path"] in page


@pytest.mark.parametrize("query", QUERIES)
def test_query_shows_the_own_city_and_no_other(filled: tuple[Database, str], query: str) -> None:
    """Each query has rows of Berlin, live or replayed; with the id of Pune, which Anna may not read, no value."""
    database, anna = filled
    ids = city_ids(database)
    found = [
        row
        for purpose in ("live", "replay")
        for row in answers(database, anna, query, city=ids["Berlin"], purpose=purpose)
    ]
    assert found
    assert any(value is not None for row in found for value in row.values())
    assert "Pune" not in str(found)
    assert {row.get("City", "Berlin") for row in found} == {"Berlin"}
    if "${city" in query:
        for purpose in ("live", "replay"):
            others = answers(database, anna, query, city=ids["Pune"], purpose=purpose)
            assert all(value is None for row in others for value in row.values())


def test_variable_lists_the_own_cities(filled: tuple[Database, str]) -> None:
    database, anna = filled
    (variable,) = (one for one in DASHBOARDS["city"]["templating"]["list"] if one["type"] == "query")
    berlin = city_ids(database)["Berlin"]
    assert answers(database, anna, variable["query"]) == [{"__text": "Berlin", "__value": berlin}]


def test_chart_draws_load_and_forecast_as_stored(filled: tuple[Database, str]) -> None:
    """Hourly values in kWh are numerically the mean power in kW, and the quantiles are in order."""
    database, anna = filled
    berlin = city_ids(database)["Berlin"]
    load, current, before = (
        target["rawSql"] for title, target in targets(DASHBOARDS["city"]) if title.startswith("Load")
    )
    with psycopg.connect(make_conninfo(database.url, user=anna)) as connection:
        stored: dict[datetime, float] = dict(
            connection.execute("SELECT timestamp, consumption_kwh::float8 FROM energy_consumption").fetchall()
        )
        served = connection.execute(
            "SELECT first_timestamp, predicted FROM served_forecast(%s, now())", [berlin]
        ).fetchone()
    drawn = answers(database, anna, load, city=berlin)
    assert {row["time"]: row["Load"] for row in drawn} == {time: kwh for time, kwh in stored.items() if time >= FROM}
    assert served is not None
    rows = answers(database, anna, current, city=berlin, purpose="live")
    assert [row["Forecast"] for row in rows] == served[1]
    assert rows[0]["time"] == served[0]
    for row in rows:
        assert row["5 %"] <= row["25 %"] <= row["75 %"] <= row["95 %"]
        assert row["5 %"] < row["95 %"]
    assert not answers(database, anna, before, city=berlin, purpose="live"), "the live forecast was issued just now"
    assert len(answers(database, anna, before, city=berlin, purpose="replay")) >= 24


def test_viewer_can_undo_the_limits_as_the_page_warns(filled: tuple[Database, str]) -> None:
    """A viewer can change the password of the login, and undo its limits; tables cannot be written."""
    database, anna = filled
    page = (FOLDER.parents[1] / "docs/howto/grafana.md").read_text("utf-8")
    with psycopg.connect(database.url, autocommit=True) as connection:
        for statement in re.findall(r"^ *(ALTER ROLE .*;)$", page, re.MULTILINE):
            assert "grafana_munich" in statement
            connection.execute(statement.replace("grafana_munich", anna))
    with psycopg.connect(make_conninfo(database.url, user=anna), autocommit=True) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("30s",)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("SELECT ops.request_run('score', (SELECT array_agg(id) FROM cities), '{}', NULL)")
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("SELECT ops.request_run('score', (SELECT array_agg(id) FROM cities), '{}', NULL)")
        connection.execute("ALTER ROLE CURRENT_USER PASSWORD 'changed by a viewer'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE energy_consumption SET consumption_kwh = 0")
