"""Pages of `--plot` with small data, for tests of their text and for tests in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl

from energy_forecast.charts.answers import answer_page
from energy_forecast.charts.certificate_page import certificate_page
from energy_forecast.charts.comparison import comparison_page
from energy_forecast.charts.errors import errors_page
from energy_forecast.charts.explanation import explanation_page
from energy_forecast.charts.forecast import CityPicture
from energy_forecast.charts.forecast_page import forecast_page
from energy_forecast.database.cities import StoredCity
from energy_forecast.forecasting import QUANTILE_LEVELS, City, ForecastInput, fit
from energy_forecast.forecasting.evaluation.breakdown import errors_by_weekday
from energy_forecast.forecasting.evaluation.coverage import coverage_certificate, reliability
from energy_forecast.forecasting.evaluation.significance import paired_test
from energy_forecast.forecasting.explain.report import explain
from energy_forecast.forecasting.explain.weather_share import weather_share
from energy_forecast.pipelines import Comparison, CoverageReport, ErrorReport, ForecastExplanation
from energy_forecast.pipelines.weather_share import explain_error
from energy_forecast.zones import zone as rules_of
from synthetic import load, temperature

ISSUED = datetime(2026, 5, 4, 12, tzinfo=UTC)
PLAIN = date(2025, 5, 10)
"""A day of 24 hours."""
BERLIN = City("Berlin", 52.52, 13.405, "Europe/Berlin", "DE", "BE")
HOUR = timedelta(hours=1)
HOSTILE = "Ham & Eggs</script><script>alert(1)</script><!--\"'\N{RIGHT-TO-LEFT OVERRIDE}\N{SNOWMAN}"


def series(column: str, values: Sequence[float | None], *, start: datetime, step: timedelta = HOUR) -> pl.DataFrame:
    times = [start + step * i for i in range(len(values))]
    stamps = pl.Series("timestamp", times, dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame([stamps, pl.Series(column, values, dtype=pl.Float64)])


def fan(hours: int = 48, start: datetime = ISSUED, size: float = 5e6) -> pl.DataFrame:
    """Return a flat forecast of `size` kWh with q05 at 0.9 and q95 at 1.1 of it."""
    quantiles = {f"q{level:02d}": [size * (0.9 + 0.2 * (level - 5) / 90)] * hours for level in range(5, 100, 5)}
    return series("predicted", [size] * hours, start=start).with_columns(
        pl.Series(name, values) for name, values in quantiles.items()
    )


def picture(**changes: Any) -> CityPicture:
    history = series("consumption_kwh", [4e6] * 24 * 14, start=ISSUED - 24 * 14 * HOUR)
    weather = series("temperature", [15.5] * 24 * 10, start=ISSUED - 24 * 10 * HOUR)
    given: dict[str, Any] = {
        "name": "Victoria",
        "timezone": "Australia/Melbourne",
        "history": history,
        "forecast": fan(),
        "issued_at": ISSUED,
        "model": "naive-168",
        "weather": weather,
    }
    return CityPicture(**(given | changes))


def scores(**changes: Any) -> pl.DataFrame:
    row = {"city": "Victoria", "model": "vanilla", "n": 1200, "mape": 3.25, "mae": 150_000.0, "rmse": 200_000.0}
    row |= {"r2": 0.91, "pinball": 50_000.0, "coverage_90": 0.885, "skill_naive_168": -0.125}
    better = row | {"model": "gradient-boosting", "mape": 2.5, "mae": 90_000.0, "coverage_90": 0.93}
    return pl.DataFrame([row | changes, better])


def pairs(city: str = HOSTILE) -> pl.DataFrame:
    """Return four weeks of forecasts that are 2 % high, on Saturdays 6 %; actuals are uniform between the quantiles."""
    first = datetime(2025, 5, 9, 22, tzinfo=UTC)
    times = [first + timedelta(hours=h) for h in range(24 * 28)]
    frame = pl.DataFrame([pl.Series("timestamp", times, pl.Datetime("us", "UTC"))])
    saturday = pl.col("timestamp").dt.convert_time_zone("Europe/Berlin").dt.weekday() == 6
    share = pl.Series("share", (np.arange(len(times)) * 0.6180339887 % 1))
    return frame.with_columns(
        share,
        issued_at=pl.col("timestamp").dt.truncate("1d"),
        city=pl.lit(city),
        predicted=pl.when(saturday).then(1060.0).otherwise(1020.0),
    ).with_columns(
        actual=pl.lit(1000.0),
        **{f"q{round(100 * level):02}": 1000 + (level - pl.col("share")) * 100 for level in QUANTILE_LEVELS},
    )


def errors_report(city: str = HOSTILE) -> ErrorReport:
    place = City(city, 52.52, 13.405, "Europe/Berlin", "DE", "BE")
    rows = errors_by_weekday(pairs(city), place).select(pl.lit(city).alias("city"), pl.all())
    return ErrorReport("ensemble", "backtest", rows, {city: 2.57}, ["Nowhere"])


def coverage_report(city: str = HOSTILE) -> CoverageReport:
    counted = coverage_certificate(pairs(city))
    return CoverageReport("ensemble", "backtest", counted, reliability(pairs(city)), [])


def comparison(city: str = HOSTILE) -> Comparison:
    """Return one of 30 daily issues, of which `ensemble` is better by 1 MWh."""
    times = pl.Series("issued_at", [ISSUED + 24 * HOUR * day for day in range(30)], pl.Datetime("us", "UTC"))
    losses = pl.DataFrame([times]).with_columns(
        hours=24, mae_a=4000.0 + pl.int_range(30), mae_b=5000.0 + pl.int_range(30), pinball_a=1.0, pinball_b=2.0
    )
    test = paired_test(losses["mae_a"], losses["mae_b"])
    return Comparison(city, "Europe/Berlin", "ensemble", "naive-168", "actual", {}, 720, ["1"], test, test, losses)


def hours(count: int = 240) -> list[dict[str, Any]]:
    """Return hours through the end of summer time in Berlin; the second is incomplete, the third is missing."""
    first = datetime(2026, 10, 24, 23, tzinfo=UTC)
    times = [first + HOUR * place for place in range(count)]
    return [
        {
            "hour": at,
            "local_hour": at.astimezone(rules_of("Europe/Berlin")).strftime("%Y-%m-%d %H:%M %z"),
            "total_consumption": None if place == 2 else Decimal(1000 * (place + 1)),
            "minutes_known": {1: 30, 2: 0}.get(place, 60),
        }
        for place, at in enumerate(times)
    ]


@cache
def explained(day: date, city: str = HOSTILE) -> ForecastExplanation:
    """Return an explained forecast of a local day, which was issued on the evening before; its load is known."""
    issued = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=4)
    times = [issued + timedelta(hours=h) for h in range(-24 * 60, 48)]
    stamps = pl.Series("timestamp", times, pl.Datetime("us", "UTC"))
    warmth = temperature(times, 0)
    weather = pl.DataFrame([stamps, pl.Series("temperature", warmth)]).with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in ("humidity", "wind_speed", "precipitation")
    )
    past = pl.col("timestamp") < issued
    actual = pl.DataFrame([stamps, pl.Series("consumption_kwh", load(times, warmth, BERLIN.timezone, 0, 50_000))])
    fitted = fit("linear", BERLIN, actual.filter(past), weather.filter(past), at=issued)
    data = ForecastInput(actual.filter(past), weather.filter(past), weather.filter(~past), issued, 48)
    one = explain(fitted, BERLIN, data, day)
    stored = one.reissued.join(actual.rename({"consumption_kwh": "actual"}), on="timestamp", how="left")
    observed = weather.filter(~past).with_columns(pl.col("temperature") - 3)
    return ForecastExplanation(
        StoredCity(uuid4(), city, 52.52, 13.405, BERLIN.timezone, "DE", "BE", {}),
        {
            "id": uuid4(),
            "model": "linear",
            "version": "1",
            "purpose": "replay",
            "issued_at": issued,
            "horizon": timedelta(hours=48),
            "weather": "forecast",
        },
        {"level": 0, "name": "full", "stale_hours": 0, "weather_hours": 48, "reasons": []},
        False,
        0,
        [city],
        stored,
        0,
        actual.filter(past).tail(240),
        one,
        explain_error(stored, "forecast", weather_share(fitted, data, observed)),
    )


def all_pages(name: str) -> dict[str, str]:
    """Return every page for a city of this name."""
    bins = [
        {"temperature": Decimal(t), "temperature_end": Decimal(t + 2), "avg_consumption": Decimal(100 + t)}
        | {"sample_count": 12}
        for t in range(-8, 30, 2)
    ]
    days = [
        {"local_date": date(2026, 10, 20) + timedelta(days=place), "hours": Decimal(24), "hours_known": Decimal(24)}
        | {"total_consumption": Decimal(90_000), "is_complete": True}
        for place in range(10)
    ]
    past = fan(24, ISSUED - 24 * HOUR)
    return {
        "forecast": forecast_page(
            [picture(name=name, past=past)],
            scores(city=name).filter(pl.col("model") == "vanilla"),
            title=name,
            notes=[name],
        ),
        "explanation": explanation_page(explained(PLAIN, name)),
        "errors": errors_page(errors_report(name)),
        "certificate": certificate_page(coverage_report(name)),
        "comparison": comparison_page([comparison(name)]),
        "hours": answer_page("hours", hours(), city=name, timezone="Europe/Berlin"),
        "days": answer_page("days", days, city=name, timezone="Europe/Berlin"),
        "temperatures": answer_page("temperatures", bins, city=name, timezone="Europe/Berlin"),
    }


PAGES = ("forecast", "explanation", "errors", "certificate", "comparison", "hours", "days", "temperatures")
