"""Issue the forecasts of a backtest for one city, and store them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeAlias
from uuid import UUID

from energy_forecast.database import forecasts as stored_forecasts
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Connection, Database, Role, savepoint
from energy_forecast.database.forecasts import NewForecast, NewRun
from energy_forecast.database.models import artifact_of
from energy_forecast.forecasting import QUANTILE_COLUMNS, QUANTILE_LEVELS, FittedForecaster, Forecast, load_model
from energy_forecast.pipelines.as_of import AsOfData, Weather, read_as_of
from energy_forecast.pipelines.assumptions import Assumptions
from energy_forecast.pipelines.backtest_scores import BacktestForecast
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.parallel import Step

# The reason by (city, model)
Failures: TypeAlias = dict[tuple[str, str], str]


@dataclass(frozen=True)
class BacktestRun:
    """Settings of all forecasts of a backtest. now: the time whose observations count as actual."""

    database: Database
    hours: int
    weather: Weather
    now: datetime
    resume: bool
    started_at: datetime


@dataclass(frozen=True)
class CityWork:
    """A city with its model versions by name, and its issue times between two fits."""

    city: StoredCity
    versions: dict[str, UUID]
    times: list[datetime]
    assumptions: Assumptions


@dataclass(frozen=True)
class CityForecasts:
    """The forecasts of a city: those stored by an earlier backtest, the new ones, and the reasons for missing ones."""

    before: list[BacktestForecast]
    new: list[BacktestForecast]
    failed: Failures


def write_forecasts(run: BacktestRun, work: CityWork, made: list[BacktestForecast]) -> None:
    """Store new forecasts of a city in one transaction, a run for each."""
    finished_at = datetime.now(UTC)
    runs = [
        NewRun(
            model_id=one.model_id,
            purpose="backtest",
            issued_at=one.issued_at,
            horizon=timedelta(hours=run.hours),
            weather=one.weather,
            quantile_levels=QUANTILE_LEVELS,
            started_at=run.started_at,
            finished_at=finished_at,
            forecasts=[NewForecast(one.city.id, one.frame)],
            assumptions=work.assumptions.as_dict(),
        )
        for one in made
    ]
    with run.database.transaction(Role.FORECASTER) as connection:
        stored_forecasts.add_runs(connection, runs)


def issue_forecasts(run: BacktestRun, work: CityWork, step: Step) -> CityForecasts:
    """Return the forecasts of a city by all its model versions."""
    city, hours = work.city, run.hours
    failed: Failures = {}
    fitted: dict[str, FittedForecaster] = {}
    new: list[BacktestForecast] = []
    skipped: dict[str, list[str]] = defaultdict(list)
    with run.database.transaction(Role.FORECASTER) as connection:
        for name, model_id in work.versions.items():
            read = attempt(f"Read {name} of {city.name}", partial(_load, connection, name, model_id, city))
            if isinstance(read, Failed):
                failed[city.name, name] = read.reason
            else:
                fitted[name] = read
        before = _made_before(connection, run, work) if run.resume else []
        done = {(one.model, one.issued_at) for one in before}
        days = max((model.history_days for model in fitted.values()), default=0)
        for at in work.times:
            wanted = [name for name in fitted if (name, at) not in done]
            step(f"Backtesting {city.name}")
            if not wanted:
                continue
            known = read_as_of(
                connection,
                city,
                at=at,
                first=at - timedelta(days=days + 1),
                horizon_hours=hours,
                weather=run.weather,
                actual_as_of=run.now,
                assumptions=work.assumptions,
            )
            for name in wanted:
                issued = attempt(f"Backtest {name} for {city.name}", partial(_forecast, fitted[name], known, hours))
                if isinstance(issued, Failed):
                    # A gap in the history longer than the lookback of the model, or a fault
                    skipped[name].append(issued.message)
                    continue
                frame = stored_forecasts.as_stored(known.shift.to_city_hours(issued.frame))
                weather = run.weather if issued.weather_hours or run.weather != "forecast" else "none"
                facts = (issued.weather_hours, issued.imputed_weather)
                new.append(BacktestForecast(name, work.versions[name], city, at, frame, weather, *facts))
    if run.weather == "forecast":
        # All forecasts of a city count as made with weather forecasts if any used one
        used = "forecast" if any(one.weather == "forecast" for one in before + new) else "none"
        new = [replace(one, weather=used) for one in new]
    failed |= {
        (city.name, name): f"No forecast at {len(reasons)} of {len(work.times)} issue times. {reasons[0]}"
        for name, reasons in skipped.items()
    }
    return CityForecasts(before, new, failed)


def _forecast(model: FittedForecaster, known: AsOfData, hours: int) -> Forecast:
    made = model.predict(known.forecast_input(hours))
    stored_forecasts.check_range(made.frame)
    return made


def _made_before(connection: Connection, run: BacktestRun, work: CityWork) -> list[BacktestForecast]:
    """Return the forecasts that an earlier backtest stored."""
    names = {model_id: name for name, model_id in work.versions.items()}
    rows = stored_forecasts.backtested(
        connection,
        city=work.city.id,
        models=list(names),
        times=work.times,
        horizon=timedelta(hours=run.hours),
        weathers=["forecast", "none"] if run.weather == "forecast" else [run.weather],
        assumptions=work.assumptions.as_dict(),
        quantile_columns=QUANTILE_COLUMNS,
    )
    return [
        BacktestForecast(names[model_id], model_id, work.city, issued_at, frame, used)
        for model_id, issued_at, used, frame in rows
    ]


def _load(connection: Connection, name: str, model_id: UUID, city: StoredCity) -> FittedForecaster:
    with savepoint(connection):
        stored = artifact_of(connection, model=model_id, city=city.id)
    assert stored is not None
    return load_model(name, stored.artifact)
