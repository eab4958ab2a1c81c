"""Compare two models on their common backtests: the same cities, issue times and hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.database import champions
from energy_forecast.database.cities import StoredCity, cities_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role, savepoint
from energy_forecast.database.vintages import issued_by
from energy_forecast.errors import EnergyForecastError, NotEnoughDataError
from energy_forecast.forecasting import QUANTILE_LEVELS
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.evaluation.significance import PairedTest, paired_test
from energy_forecast.pipelines.as_of import actual_load
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.labels import WEATHER_LABELS, different_labels
from energy_forecast.pipelines.train import check_models

FEWEST_ISSUES = 20


@dataclass(frozen=True)
class Comparison:
    """Two models at the issue times that both forecast for a city; losses are kWh in an hour.

    timezone: IANA zone of the city.
    weather, assumptions: of all compared backtests.
    versions: the versions of model_a that made its forecasts.
    losses: issued_at, hours, mae_a, mae_b, pinball_a, pinball_b; one row for each issue time.
    """

    city: str
    timezone: str
    model_a: str
    model_b: str
    weather: str
    assumptions: dict[str, Any]
    pairs: int
    versions: list[str]
    mae: PairedTest
    pinball: PairedTest
    losses: pl.DataFrame

    @property
    def issued(self) -> tuple[datetime, datetime]:
        """The first and the last issue time."""
        return self.losses["issued_at"][0], self.losses["issued_at"][-1]

    @property
    def better(self) -> str | None:
        """The model with a significantly smaller error (5 %) and no larger pinball loss; None if neither."""
        if self.mae.p_value < 0.05 and self.pinball.difference <= 0:
            return self.model_a
        if self.mae.upper_tail < 0.05 and self.pinball.difference >= 0:
            return self.model_b
        return None


@dataclass(frozen=True)
class ComparisonReport:
    """Result of a comparison. `failed` maps a city to the reason; `lacking` holds cities with too few backtests."""

    comparisons: list[Comparison]
    failed: dict[str, str] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)


def compare(
    database: Database,
    model_a: str,
    model_b: str,
    *,
    cities: Sequence[str] = (),
    weather: str | None = None,
    first: datetime | None = None,
    end: datetime | None = None,
    allow_none: bool = False,
) -> ComparisonReport:
    """Compare two models on their stored backtests, city by city.

    Args:
        weather: source of the weather of the target hours. None: the one of the last backtests of both models.
        first, end: bounds of the issue times.
        allow_none: return the report even if no city could be compared.

    Raises:
        EnergyForecastError: both names are the same model.
        UnknownModelError, UnknownCityError: a name is unknown.
        NotEnoughDataError: no city could be compared, and `allow_none` is false.
        DatabaseError: the database refused the request.
    """
    check_models([model_a, model_b])
    if model_a == model_b:
        raise EnergyForecastError(f"{model_a} cannot be compared with itself.", hint="Choose two different models.")
    found: list[Comparison] = []
    failed: dict[str, str] = {}
    lacking: set[str] = set()
    with database.transaction(Role.FORECASTER) as connection:
        for city in cities_named(connection, cities):
            compared = attempt(
                f"Compare {model_a} and {model_b} for {city.name}",
                partial(compare_city, connection, city, model_a, model_b, weather=weather, first=first, end=end),
            )
            if isinstance(compared, Failed):
                failed[city.name] = compared.message
                if compared.lacks_data:
                    lacking.add(city.name)
            else:
                found.append(compared)
    if not found and not allow_none:
        raise NotEnoughDataError(
            next(iter(failed.values())),
            hint=f"Backtest both models over the same time: {model_a}, {model_b}.",
        )
    return ComparisonReport(found, failed, lacking)


def compare_city(
    connection: Connection,
    city: StoredCity,
    model_a: str,
    model_b: str,
    *,
    weather: str | None = None,
    assumptions: dict[str, Any] | None = None,
    first: datetime | None = None,
    end: datetime | None = None,
) -> Comparison:
    """Compare two models for one city, on backtests with the same weather and assumptions.

    Args:
        weather, assumptions: None for those of the last common backtest.

    Raises:
        NotEnoughDataError: fewer than FEWEST_ISSUES issue times have forecasts of both models and actuals, or all
            backtests of one model have other conditions than those of the other.
    """
    models = [model_a, model_b]
    with savepoint(connection):
        if weather is None or assumptions is None:
            shared = champions.backtest_conditions(connection, city=city.id, models=models, weather=weather)
            if not shared:
                _refuse_unlike(connection, city, models, weather)
            weather, assumptions = shared[0] if shared else (weather or "forecast", {})
        pairs = issued_by(
            connection,
            city=city.id,
            models=models,
            purpose="backtest",
            weather=weather,
            assumptions=assumptions,
            first=first,
            end=end,
        )
        losses = _losses(pairs_with_actuals(connection, city, pairs), model_a, model_b)
        compared = pairs.filter(pl.col("model") == model_a).join(losses, on="issued_at", how="semi")
    if losses.height < FEWEST_ISSUES:
        raise NotEnoughDataError(
            f"{model_a} and {model_b} have {losses.height} common backtest issues for {city.name} "
            f"{WEATHER_LABELS[weather]}; at least {FEWEST_ISSUES} are needed."
        )
    return Comparison(
        city=city.name,
        timezone=city.timezone,
        model_a=model_a,
        model_b=model_b,
        weather=weather,
        assumptions=assumptions,
        pairs=int(losses["hours"].sum()),
        versions=compared["version"].unique().sort().to_list(),
        mae=paired_test(losses["mae_a"].to_numpy(), losses["mae_b"].to_numpy()),
        pinball=paired_test(losses["pinball_a"].to_numpy(), losses["pinball_b"].to_numpy()),
        losses=losses,
    )


def _refuse_unlike(connection: Connection, city: StoredCity, models: Sequence[str], weather: str | None) -> None:
    """Raise if both models have backtests. Call it if they have none with the same conditions."""
    last = []
    for model in models:
        own = champions.backtest_conditions(connection, city=city.id, models=[model], weather=weather)
        if not own:
            return
        last.append(own[0])
    labels = different_labels([assumptions for _, assumptions in last])
    conditions = [
        f"The last ones of {model} are {', '.join(filter(None, (WEATHER_LABELS[kind], label)))}."
        for model, (kind, _), label in zip(models, last, labels, strict=True)
    ]
    raise NotEnoughDataError(
        f"{' and '.join(models)} have no backtests for {city.name} with the same weather and assumptions. "
        + " ".join(conditions),
        hint="Backtest both with the same weather, errors and load delay.",
    )


def pairs_with_actuals(connection: Connection, city: StoredCity, pairs: pl.DataFrame) -> pl.DataFrame:
    """Return the forecasts with a known, valid observed load, and add it as `actual` (kWh in the hour)."""
    if pairs.is_empty():
        return pairs.with_columns(pl.lit(None, pl.Float64).alias("actual"))
    first, last = pairs.select(pl.col("timestamp").min(), pl.col("timestamp").max().alias("last")).row(0)
    actual = actual_load(
        connection, city, as_of=database_now(connection), first=first, end=last + timedelta(hours=1)
    ).select("timestamp", pl.col("consumption_kwh").alias("actual"))
    actual = actual.drop_nulls()
    return pairs.join(actual, on="timestamp", how="inner")


def _losses(pairs: pl.DataFrame, model_a: str, model_b: str) -> pl.DataFrame:
    """Return the mean losses by issue time over the hours that both models forecast."""
    error = pl.col("actual") - pl.col("predicted")
    # Without pairs the array would have no columns
    quantiles = np.array(pairs["quantiles"].to_list()).reshape(pairs.height, len(QUANTILE_LEVELS))
    pinball = metrics.pinball_losses(pairs["actual"].to_numpy(), quantiles).mean(axis=1)
    by_hour = pairs.select(
        "model", "issued_at", "timestamp", error.abs().alias("mae"), pl.Series("pinball", pinball, pl.Float64)
    )
    one, other = (
        by_hour.filter(pl.col("model") == model).drop("model").rename({"mae": f"mae_{x}", "pinball": f"pinball_{x}"})
        for model, x in ((model_a, "a"), (model_b, "b"))
    )
    return (
        one.join(other, on=["issued_at", "timestamp"])
        .group_by("issued_at")
        .agg(pl.len().cast(pl.Int64).alias("hours"), pl.col("mae_a", "mae_b", "pinball_a", "pinball_b").mean())
        .sort("issued_at")
    )
