"""Examine the forecasts of a model: the coverage of its intervals, and its errors by weekday and hour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypedDict, TypeVar

import polars as pl

from energy_forecast.database.champions import backtest_conditions
from energy_forecast.database.cities import StoredCity, cities_named
from energy_forecast.database.connection import Connection, Database, Role, savepoint
from energy_forecast.database.vintages import issued_by
from energy_forecast.errors import EnergyForecastError, NotEnoughDataError
from energy_forecast.forecasting import QUANTILE_COLUMNS
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.evaluation.breakdown import errors_by_weekday
from energy_forecast.forecasting.evaluation.coverage import (
    FAILED,
    NOT_ENOUGH_DATA,
    PASSED,
    coverage_certificate,
    reliability,
)
from energy_forecast.pipelines.as_of import forecasting_city
from energy_forecast.pipelines.compare import pairs_with_actuals
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.train import check_models

Result = TypeVar("Result")


class Conditions(TypedDict):
    """Conditions of the backtests of a city: the weather of the target hours, and the assumptions of the runs."""

    weather: str
    assumptions: dict[str, Any]


@dataclass(frozen=True)
class CoverageReport:
    """Coverage of the intervals of one model.

    rows: as `coverage_certificate` returns them.
    reliability: the share of actuals at or below each quantile, as `reliability` returns it.
    lacking: cities without a forecast that has an actual.
    conditions: weather and assumptions of the examined backtests by city; empty for other purposes.
    failed: the reason for each city whose intervals could not be examined.
    """

    model: str
    purpose: str
    rows: pl.DataFrame
    reliability: pl.DataFrame
    lacking: list[str]
    conditions: dict[str, Conditions] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The worst verdict of all parts: failed, not enough data or passed."""
        return worst_verdict(self.rows)

    @property
    def passed(self) -> bool:
        """Whether every part passed."""
        return self.verdict == PASSED


def worst_verdict(rows: pl.DataFrame) -> str:
    """Return the worst verdict of the rows of a certificate: failed, not enough data or passed."""
    verdicts = set(rows["verdict"])
    return next(one for one in (FAILED, NOT_ENOUGH_DATA, PASSED) if one in verdicts)


def check_coverage(
    database: Database,
    model: str,
    *,
    purpose: str = "live",
    weather: str | None = None,
    cities: Sequence[str] = (),
    first: datetime | None = None,
    end: datetime | None = None,
) -> CoverageReport:
    """Count how often the observed load was inside the intervals of the forecasts of a model.

    A failure in one city does not affect the others: see isolation.attempt.

    Args:
        purpose: live (issued in time), replay or backtest; one at a time.
        weather: source of the weather of the target hours. None for any; of backtests, those with the weather and the
            assumptions that were used last are examined.
        cities: names; every city if empty.
        first, end: bounds of the issue times.

    Raises:
        UnknownModelError, UnknownCityError: a name is unknown.
        NotEnoughDataError: no forecast has an actual.
        EnergyForecastError: no city could be examined.
        DatabaseError: the database refused the request.
    """

    def examine(city: StoredCity, pairs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        return coverage_certificate(pairs, timezone=city.timezone, southern=city.latitude < 0), reliability(
            pairs, timezone=city.timezone
        )

    found, lacking, conditions, failed = _each_city(database, model, purpose, weather, cities, first, end, examine)
    counted, observed = (pl.concat(frames) for frames in zip(*found.values(), strict=True))
    return CoverageReport(model, purpose, counted, observed, lacking, conditions, failed)


def pairs_of_model(
    connection: Connection,
    city: StoredCity,
    model: str,
    *,
    purpose: str,
    weather: str | None,
    first: datetime | None,
    end: datetime | None,
) -> tuple[pl.DataFrame, Conditions | None]:
    """Return the forecasts of a model for a city that have an actual, and the conditions of backtests.

    Of backtests, these are the conditions that were used last among those with pairs.

    Args:
        purpose, weather, first, end: as in `check_coverage`.

    Returns:
        city, issued_at, timestamp, actual, predicted, q05 .. q95 (kWh in the hour); no rows if none has an actual.
    """
    candidates: list[tuple[str | None, dict[str, Any] | None]] = [(weather, None)]
    if purpose == "backtest":
        candidates = [*backtest_conditions(connection, city=city.id, models=[model], weather=weather)]
    for kind, assumptions in candidates:
        issued = issued_by(
            connection,
            city=city.id,
            models=[model],
            purpose=purpose,
            weather=kind,
            assumptions=assumptions,
            first=first,
            end=end,
        )
        pairs = pairs_with_actuals(connection, city, issued)
        if not pairs.is_empty():
            quantiles = pl.col("quantiles").list.to_struct(fields=QUANTILE_COLUMNS).struct.unnest()
            conditions: Conditions | None = None
            if kind is not None and assumptions is not None:
                conditions = {"weather": kind, "assumptions": assumptions}
            return pairs.with_columns(pl.lit(city.name).alias("city"), quantiles), conditions
    return pl.DataFrame(), None


@dataclass(frozen=True)
class ErrorReport:
    """Errors of a model by weekday and hour.

    rows: city, weekday (or holiday), local_hour and scores, as `errors_by_weekday` returns them.
    mape: percent over all hours, by city.
    lacking, conditions, failed: as in CoverageReport.
    """

    model: str
    purpose: str
    rows: pl.DataFrame
    mape: dict[str, float]
    lacking: list[str]
    conditions: dict[str, Conditions] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def report_errors(
    database: Database,
    model: str,
    *,
    purpose: str = "live",
    weather: str | None = None,
    cities: Sequence[str] = (),
    first: datetime | None = None,
    end: datetime | None = None,
) -> ErrorReport:
    """Score the forecasts that a model issued, by weekday and local hour.

    For arguments and errors see `check_coverage`.
    """

    def examine(city: StoredCity, pairs: pl.DataFrame) -> tuple[pl.DataFrame, float]:
        rows = errors_by_weekday(pairs, forecasting_city(city)).select(pl.lit(city.name).alias("city"), pl.all())
        return rows, metrics.mape(pairs["actual"].to_numpy(), pairs["predicted"].to_numpy())

    found, lacking, conditions, failed = _each_city(database, model, purpose, weather, cities, first, end, examine)
    mape = {name: share for name, (_, share) in found.items()}
    rows = pl.concat(rows for rows, _ in found.values())
    return ErrorReport(model, purpose, rows, mape, lacking, conditions, failed)


def _each_city(
    database: Database,
    model: str,
    purpose: str,
    weather: str | None,
    cities: Sequence[str],
    first: datetime | None,
    end: datetime | None,
    examine: Callable[[StoredCity, pl.DataFrame], Result],
) -> tuple[dict[str, Result], list[str], dict[str, Conditions], dict[str, str]]:
    """Examine the forecasts of each city that have an actual (issued_at, timestamp, actual, predicted, q05 .. q95).

    Returns:
        The results by city, the cities without such a forecast, the conditions of the examined backtests by city, and
        the reason for each city that failed.
    """
    check_models([model])
    found: dict[str, Result] = {}
    lacking: list[str] = []
    used: dict[str, Conditions] = {}
    failed: dict[str, str] = {}

    def work(city: StoredCity) -> Result | None:
        with savepoint(connection):
            pairs, conditions = pairs_of_model(
                connection, city, model, purpose=purpose, weather=weather, first=first, end=end
            )
        if conditions is not None:
            used[city.name] = conditions
        return None if pairs.is_empty() else examine(city, pairs)

    with database.transaction(Role.FORECASTER) as connection:
        for city in cities_named(connection, cities):
            result = attempt(f"Examine the forecasts of {city.name} by {model}", partial(work, city))
            if isinstance(result, Failed):
                failed[city.name] = result.reason
            elif result is None:
                lacking.append(city.name)
            else:
                found[city.name] = result
    if not found and failed:
        raise EnergyForecastError(next(iter(failed.values())))
    if not found:
        raise NotEnoughDataError(
            f"No forecast of {model} with purpose {purpose!r} has observed load yet.",
            hint="Wait until the hours of the forecasts have passed, or set `purpose` to backtest.",
        )
    return found, lacking, used, failed
