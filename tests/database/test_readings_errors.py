"""Readings of errors: the pairs of issued forecasts by hour and lead time, for users and as of a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from psycopg.conninfo import make_conninfo

import energy_forecast as ef
from api.conftest import NOW, fill, two_users
from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.errors import EnergyForecastError, UnknownCityError, UnknownModelError
from servers import Server

Both = tuple[ef.Platform, ef.Platform]


@pytest.fixture(scope="module")
def filled(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Issue forecasts of two models: naive-168 two days ago, both a day ago, in other runs again at the same time."""
    with server.copy_of(template) as database:
        fill(database, tmp_path_factory.mktemp("readings"))
        for hours in (24, 24, 36):
            pipelines.forecast(database, at=NOW - timedelta(hours=hours), horizon=timedelta(hours=48), model="naive-24")
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


def test_user_reads_errors_of_their_cities(both: Both) -> None:
    own, everything = both
    reads: tuple[Callable[[ef.Platform, str], pl.DataFrame], ...] = (
        lambda db, city: db.errors(city, purpose="replay", issue="all").frame,
        lambda db, city: db.errors_by_lead(city).frame,
        lambda db, city: db.reliability(city, "naive-168", purpose="replay").frame,
    )
    for read in reads:
        assert read(own, "Berlin").height > 0
        assert_frame_equal(read(own, "Berlin"), read(everything, "Berlin"))
        assert read(everything, "Pune").height > 0
        with pytest.raises(UnknownCityError):
            read(own, "Pune")


def test_errors_are_the_pairs_of_the_scores(both: Both) -> None:
    """The pairs of the months' scores are those of the reading with all issues."""
    own, _ = both
    score = own.scores("Berlin", purpose="replay", model="naive-168").filter(lead_start_hours=6, lead_end_hours=24)
    first, last = min(score["period_start"].to_list()), max(score["period_end"].to_list())
    scored = pl.concat([own.pairs(one).frame for one in score["score_id"]])
    assert scored.height > 0
    found = own.errors(
        "Berlin", first, last, model="naive-168", purpose="replay", issue="all", lead_start=6, lead_end=24
    )
    key = ["issued_at", "timestamp"]
    joined = scored.join(found.frame, on=key, suffix="_found")
    assert joined.height == scored.height
    for name in ("predicted", "actual", "reference", "q05", "q95"):
        assert joined[name].to_list() == joined[f"{name}_found"].to_list()
    error = joined["predicted"] - joined["actual"]
    assert joined["error_kwh"].to_list() == pytest.approx(error.to_list())
    assert joined["error_percent"].to_list() == pytest.approx((100 * error / joined["actual"]).to_list())


def test_run_repeated_at_the_same_time_counts_once(both: Both) -> None:
    own, _ = both
    frame = own.errors("Berlin", model="naive-24", purpose="replay", issue="all").frame
    assert frame.select("issued_at", "timestamp").is_duplicated().sum() == 0
    assert set(frame["issued_at"]) == {NOW - timedelta(hours=24), NOW - timedelta(hours=36)}


def test_one_forecast_of_each_hour_is_shown(both: Both) -> None:
    own, _ = both
    for issue in ("day-ahead", "newest"):
        frame = own.errors("Berlin", model="naive-168", purpose="replay", issue=issue).frame
        assert frame.height > 0
        assert frame["timestamp"].is_unique().all()
    newest = own.errors("Berlin", model="naive-168", purpose="replay", issue="newest").frame
    late = own.errors("Berlin", model="naive-168", purpose="replay", issue="newest", lead_start=24).frame
    assert max(newest["lead_hours"].to_list()) < 24 <= min(late["lead_hours"].to_list())


def test_model_with_most_hours_is_shown_without_a_champion(both: Both) -> None:
    own, _ = both
    assert own.errors("Berlin", purpose="replay").facts["model"] == "naive-168"
    assert own.errors("Berlin", purpose="live").frame.height == 0
    assert own.errors("Berlin", purpose="live").facts["model"] is None


def test_common_pairs_are_those_of_both_models(both: Both) -> None:
    own, _ = both
    frame = own.errors_by_lead("Berlin", models=["naive-24", "naive-168"]).frame
    assert set(frame["purpose"]) == {"replay"}
    common = frame.filter(pairs="common").group_by("model").agg(pl.col("pair_count").sum())
    # Both issued 24 hours ago
    assert dict(common.iter_rows()) == {"naive-24": 24, "naive-168": 24}
    of_one = own.errors_by_lead("Berlin", models="naive-24").frame
    assert set(of_one["pairs"]) == {"own"}
    assert of_one["pair_count"].sum() == 24 + 36
    assert own.errors_by_lead("Berlin", purpose="live").frame.height == 0


def test_later_load_and_forecasts_are_left_out(both: Both) -> None:
    own, _ = both
    at = NOW - timedelta(hours=12)
    frame = own.errors("Berlin", purpose="replay", issue="all", as_of=at).frame
    assert frame.height > 0
    assert max(frame["interval_end"].to_list()) <= at
    assert own.errors("Berlin", purpose="replay", issue="all", as_of=NOW - timedelta(days=5)).frame.height == 0


def test_reliability_is_that_of_the_pipeline(both: Both, filled: Database) -> None:
    own, _ = both
    found = pipelines.check_coverage(filled, "naive-168", purpose="replay", cities=["Berlin"])
    table = own.reliability("Berlin", "naive-168", purpose="replay")
    assert_frame_equal(table.frame, found.reliability.drop("city"))
    assert table.frame["level"].to_list() == [round(0.05 * i, 2) for i in range(1, 20)]


def test_refuses_wrong_arguments(both: Both) -> None:
    own, _ = both
    with pytest.raises(EnergyForecastError, match="`lead_end` must be greater than `lead_start`"):
        own.errors("Berlin", lead_start=6, lead_end=6)
    with pytest.raises(EnergyForecastError, match="`as_of` is in the future"):
        own.errors("Berlin", as_of=NOW + timedelta(days=1))
    with pytest.raises(UnknownModelError):
        own.errors("Berlin", model="wrong")
    with pytest.raises(UnknownModelError):
        own.errors_by_lead("Berlin", models=["naive-24", "wrong"])
