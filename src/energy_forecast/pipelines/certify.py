"""Looking into the forecasts of a model: do its intervals cover what they say, and when does it err?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from energy_forecast.database import scores as stored_scores
from energy_forecast.database.cities import StoredCity, cities_named
from energy_forecast.database.connection import Database, Role
from energy_forecast.errors import NotEnoughDataError
from energy_forecast.forecasting import QUANTILE_COLUMNS, scores
from energy_forecast.forecasting.certificate import (
    FAILED,
    NOT_ENOUGH_DATA,
    PASSED,
    coverage_certificate,
    reliability,
)
from energy_forecast.forecasting.score_parts import errors_by_weekday
from energy_forecast.pipelines.compare import with_actuals
from energy_forecast.pipelines.known import pure_city
from energy_forecast.pipelines.train import check_models


@dataclass(frozen=True)
class Certificate:
    """Coverage of one model's intervals.

    rows: as `coverage_certificate` returns them.
    reliability: city, level, observed (share), hours: how often actuals lie at or below each quantile.
    lacking: cities without a forecast that has an actual.
    """

    model: str
    purpose: str
    rows: pl.DataFrame
    reliability: pl.DataFrame
    lacking: list[str]

    @property
    def verdict(self) -> str:
        """The worst of the verdicts on the parts: failed, not enough data or passed."""
        verdicts = set(self.rows["verdict"])
        return next(one for one in (FAILED, NOT_ENOUGH_DATA, PASSED) if one in verdicts)

    @property
    def passed(self) -> bool:
        """Whether every part passed."""
        return self.verdict == PASSED


def certify(
    database: Database,
    model: str,
    *,
    purpose: str = "forecast",
    weather: str | None = None,
    cities: Sequence[str] = (),
    first: datetime | None = None,
    end: datetime | None = None,
) -> Certificate:
    """Counts how often actuals lay inside the intervals of the forecasts that a model issued.

    Args:
        purpose: forecast (issued in time), replay or backtest; never mixed.
        weather: of the target hours; None for any.
        cities: names; every city when empty.
        first, end: bounds of the issue times.

    Raises:
        UnknownModelError, UnknownCityError: a name is not known.
        NotEnoughDataError: no forecast has an actual.
        DatabaseError: the database refused.
    """
    pairs, lacking = _matured(database, model, purpose, weather, cities, first, end)
    counted, observed = [], []
    for city, part in pairs:
        counted.append(coverage_certificate(part, timezone=city.timezone, southern=city.latitude < 0))
        observed.append(reliability(part))
    return Certificate(model, purpose, pl.concat(counted), pl.concat(observed), lacking)


@dataclass(frozen=True)
class Errors:
    """When a model errs. rows: city, weekday (or holiday), local_hour and scores, as `errors_by_weekday`.

    mape: percent over all hours, by city.
    """

    model: str
    purpose: str
    rows: pl.DataFrame
    mape: dict[str, float]
    lacking: list[str]


def errors(
    database: Database,
    model: str,
    *,
    purpose: str = "forecast",
    weather: str | None = None,
    cities: Sequence[str] = (),
    first: datetime | None = None,
    end: datetime | None = None,
) -> Errors:
    """Scores the forecasts that a model issued, by weekday and local hour.

    Args, Raises: as `certify`.
    """
    pairs, lacking = _matured(database, model, purpose, weather, cities, first, end)
    rows = [
        errors_by_weekday(part, pure_city(city)).select(pl.lit(city.name).alias("city"), pl.all())
        for city, part in pairs
    ]
    mape = {city.name: scores.mape(part["actual"].to_numpy(), part["predicted"].to_numpy()) for city, part in pairs}
    return Errors(model, purpose, pl.concat(rows), mape, lacking)


def _matured(
    database: Database,
    model: str,
    purpose: str,
    weather: str | None,
    cities: Sequence[str],
    first: datetime | None,
    end: datetime | None,
) -> tuple[list[tuple[StoredCity, pl.DataFrame]], list[str]]:
    """By city its forecasts with an actual (issued_at, timestamp, actual, predicted, q05 .. q95); cities without."""
    check_models([model])
    found: list[tuple[StoredCity, pl.DataFrame]] = []
    lacking: list[str] = []
    with database.transaction(Role.FORECASTER) as connection:
        for city in cities_named(connection, cities):
            issued = stored_scores.issued_by(
                connection, city=city.id, models=[model], purpose=purpose, weather=weather, first=first, end=end
            )
            pairs = with_actuals(connection, city, issued)
            if pairs.is_empty():
                lacking.append(city.name)
                continue
            quantiles = pl.col("quantiles").list.to_struct(fields=QUANTILE_COLUMNS).struct.unnest()
            found.append((city, pairs.with_columns(pl.lit(city.name).alias("city"), quantiles)))
    if not found:
        raise NotEnoughDataError(
            f"No {purpose} of {model} has an actual yet.",
            hint="Wait until forecasts have matured, or look at a backtest: --purpose backtest",
        )
    return found, lacking
