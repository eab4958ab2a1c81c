"""Readings of scores, models, runs, faults and batches: a user sees the rows of their cities as the operator does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import uuid4

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from psycopg.conninfo import make_conninfo

import energy_forecast as ef
from api.conftest import NOW, fill, two_users
from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.errors import EnergyForecastError, NotFoundError, UnknownCityError, UnknownScoreError
from servers import Server

Both = tuple[ef.Platform, ef.Platform]


@pytest.fixture(scope="module")
def filled(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with server.copy_of(template) as database:
        fill(database, tmp_path_factory.mktemp("readings"))
        first = NOW - timedelta(days=20)
        with ef.connect(database.url) as platform:
            rows = {"city": ["Berlin", "Pune"], "timestamp": [first, first], "consumption_kwh": [9e6, 9e6]}
            platform.ingest("consumption", pl.DataFrame(rows), check=True)
        pipelines.promote(database, model="naive-168", force=True, reason="test")
        pipelines.forecast(
            database, at=NOW - timedelta(hours=30), horizon=timedelta(hours=24), model="naive-24", cities=["Pune"]
        )
        yield database


@pytest.fixture(scope="module")
def both(filled: Database) -> Iterator[Both]:
    """Yield the platform of Anna, who sees Berlin, and that of the operator."""
    with (
        two_users(filled) as (anna, _),
        ef.connect(make_conninfo(filled.url, user=anna)) as own,
        ef.connect(filled.url) as everything,
    ):
        yield own, everything


def test_user_sees_the_rows_of_their_cities(both: Both) -> None:
    own, everything = both
    reads: tuple[Callable[[ef.Platform], pl.DataFrame], ...] = (
        lambda db: db.scores(),
        lambda db: db.champions().frame,
    )
    for read in reads:
        all_rows = read(everything)
        assert set(all_rows["city"]) == {"Berlin", "Pune"}
        assert_frame_equal(read(own), all_rows.filter(pl.col("city") == "Berlin"))


def test_reading_of_a_city_is_that_of_the_operator(both: Both) -> None:
    own, everything = both
    score = own.scores("Berlin")["score_id"][0]
    reads: tuple[Callable[[ef.Platform], pl.DataFrame], ...] = (
        lambda db: db.pairs(score).frame,
        lambda db: db.certificate("Berlin", "naive-168", purpose="replay").frame,
        lambda db: db.quality("Berlin").frame,
        lambda db: db.weather_correlation("Berlin", days=10, as_of=NOW).frame,
    )
    for read in reads:
        assert read(own).height > 0
        assert_frame_equal(read(own), read(everything))
    refusals: tuple[Callable[[ef.Platform], object], ...] = (
        lambda db: db.certificate("Pune", "naive-168", purpose="replay"),
        lambda db: db.quality("Pune"),
        lambda db: db.weather_correlation("Pune"),
        lambda db: db.scores("Pune"),
        lambda db: db.champions("Pune"),
    )
    for refused in refusals:
        with pytest.raises(UnknownCityError):
            refused(own)


def test_pairs_of_another_city_are_missing(both: Both) -> None:
    own, everything = both
    score = everything.scores("Pune")["score_id"][0]
    assert everything.pairs(score).frame.height > 0
    with pytest.raises(UnknownScoreError):
        own.pairs(score)


def test_pairs_give_the_score_again(both: Both) -> None:
    """The mean absolute error of the pairs is that of the row."""
    own, _ = both
    for row in own.scores("Berlin").iter_rows(named=True):
        table = own.pairs(row["score_id"])
        assert table.facts["missing_pairs"] == 0
        assert len(table) == row["pair_count"]
        error = (table.frame["actual"] - table.frame["predicted"]).abs().mean()
        assert error == pytest.approx(row["mae_kwh"])


def test_certificate_is_that_of_the_pipeline(both: Both, filled: Database) -> None:
    own, _ = both
    found = pipelines.check_coverage(filled, "naive-168", purpose="replay", cities=["Berlin"])
    table = own.certificate("Berlin", "naive-168", purpose="replay")
    assert table.facts["verdict"] == found.verdict
    assert_frame_equal(table.frame, found.rows.select(table.frame.columns), check_dtypes=False)


def test_runs_and_models_of_other_cities_are_missing(both: Both) -> None:
    own, everything = both
    assert set(everything.runs().frame["model"]) == {"naive-24", "naive-168"}
    assert set(own.runs().frame["model"]) == {"naive-168"}
    assert set(own.models().frame["model"]) == {"naive-168"}
    assert own.models().frame["cities"].to_list() == [["Berlin"]]
    assert everything.models().frame.filter(model="naive-168")["cities"].to_list() == [["Berlin", "Pune"]]
    # A mean over Berlin and Pune
    assert own.models().frame["mape"].is_null().all()
    assert set(own.model_performance().frame["city_count"]) == {1}
    of_pune = everything.runs(model="naive-24").frame["run_id"][0]
    with pytest.raises(NotFoundError):
        own.run(of_pune)
    shared = own.runs().frame["run_id"][0]
    assert own.run(shared).frame["city"].to_list() == ["Berlin"]
    assert everything.run(shared).frame["city"].to_list() == ["Berlin", "Pune"]


def test_pages_of_runs_have_each_run_once(both: Both) -> None:
    _, everything = both
    pages: list[str] = []
    cursor = None
    while not pages or cursor is not None:
        table = everything.runs(limit=1, cursor=cursor)
        pages += table.frame["run_id"].to_list()
        cursor = table.facts["next"]
    assert pages == everything.runs().frame["run_id"].to_list()
    for wrong in ("x", "W10", "WzEsMiwzXQ"):
        with pytest.raises(EnergyForecastError, match="`cursor` is not one of this list"):
            everything.runs(cursor=wrong)


def test_batches_of_others_are_missing(both: Both) -> None:
    """They were not loaded over HTTP by the user, so their reports may name other cities."""
    own, everything = both
    loaded = everything.batches().frame
    assert loaded.height >= 3
    assert own.batches().frame.is_empty()
    first = loaded["batch_id"][0]
    assert everything.batch(first).facts["rejected"] == everything.rejected_rows(first).facts["rejected"] == 0
    for batch in (first, uuid4()):
        with pytest.raises(NotFoundError):
            own.batch(batch)
        with pytest.raises(NotFoundError):
            own.rejected_rows(batch)


def test_rejected_rows_are_as_sent(both: Both) -> None:
    _, everything = both
    rows = {
        "city": ["Berlin", "Berlin"],
        "timestamp": ["soon", f"{NOW - timedelta(hours=9):%Y-%m-%dT%H:%MZ}"],
        "consumption_kwh": [1.0, 5.0],
    }
    report = everything.ingest("consumption", pl.DataFrame(rows))
    table = everything.rejected_rows(report.batch)
    assert (table.facts["rejected"], table.facts["kept"]) == (1, 1)
    assert '"soon"' in table.frame["row_data"][0]
    reasons = everything.batch(report.batch)
    assert reasons.frame["count"].to_list() == [1]
    assert reasons.frame["column"].to_list() == table.frame["column"].to_list() == ["timestamp"]


def test_explanation_is_that_of_the_pipeline(both: Both, filled: Database) -> None:
    """The model of the user's city runs again, with the values known at the issue."""
    own, everything = both
    pipelines.forecast(filled, cities=["Berlin"], model="linear", horizon=timedelta(hours=48))
    found = pipelines.explain_forecast(filled, "Berlin")
    table = own.explanation("Berlin")
    assert_frame_equal(table.frame, everything.explanation("Berlin").frame)
    assert (table.facts["run_id"], table.facts["model"]) == (found.run["id"], "linear")
    assert table.facts["differing_hours"] == 0
    assert table.frame["predicted"].to_list() == found.explanation.hours["predicted"].to_list()
    effects = json.loads(table.frame["contributions"][0])
    assert sum(effects.values()) == pytest.approx(table.frame["predicted"][0])
    with pytest.raises(UnknownCityError):
        own.explanation("Pune")
