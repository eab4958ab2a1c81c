"""Backtests: forecasts for past issue times from the data known at those times, scored and stored."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import partial
from itertools import accumulate
from typing import Any
from uuid import UUID

import polars as pl

from energy_forecast.database import forecasts as stored_forecasts
from energy_forecast.database import scores as stored_scores
from energy_forecast.database.cities import StoredCity, cities_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role, savepoint
from energy_forecast.database.history import Availability
from energy_forecast.errors import NotEnoughDataError
from energy_forecast.event_log import log_run
from energy_forecast.pipelines.as_of import Weather
from energy_forecast.pipelines.assumptions import Assumptions, WeatherErrorChoice, load_delay_of, simulated_weather
from energy_forecast.pipelines.backtest_forecasts import (
    BacktestRun,
    CityWork,
    Failures,
    issue_forecasts,
    write_forecasts,
)
from energy_forecast.pipelines.backtest_scores import (
    AVAILABILITY_SINCE,
    NO_PAIRS,
    BacktestForecast,
    CityScores,
    score_city,
    version_metrics,
)
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.issue_times import issue_times, segments, times_by_city
from energy_forecast.pipelines.parallel import each
from energy_forecast.pipelines.train import check_models, check_not_future, train
from energy_forecast.progress import Progress, Steps, silent
from energy_forecast.time_arguments import read_horizon

NO_ACTUAL = "No observed load is known for the forecast hours."


@dataclass(frozen=True)
class WeatherHours:
    """Number of hours forecast, and of those for which the model had weather: known at the issue, or observed.

    If several models forecast an hour, the one with the most hours with weather counts: all have the same weather.
    """

    forecast: int
    with_weather: int


@dataclass(frozen=True)
class BacktestReport:
    """Result of a backtest.

    pairs: model, city, issued_at, timestamp, actual, predicted, q05 .. q95, kWh in the hour; `actual` is null if it
        is unknown or faulty.
    scores: one row for each city and model over all lead times.
    left_out: by city, the number of forecast hours whose actual is faulty; they count in no score.
    failed: the reason by (city, model).
    imputed_weather: by city and weather column, the number of newly forecast hours for which the value was imputed.
    assumptions: by city, as stored with the runs.
    availability: by scored city, the available_at of its load, from a week before the first issue time to the last.
    weather_hours: by city, the hours that were newly forecast, and those with weather.
    """

    first: datetime
    end: datetime
    weather: Weather
    pairs: pl.DataFrame
    scores: list[dict[str, Any]]
    left_out: dict[str, int] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    imputed_weather: dict[str, dict[str, int]] = field(default_factory=dict)
    availability: dict[str, Availability] = field(default_factory=dict)
    assumptions: dict[str, Assumptions] = field(default_factory=dict)
    weather_hours: dict[str, WeatherHours] = field(default_factory=dict)


@log_run(
    "backtest",
    lambda report: {"pairs": report.pairs.height, "scores": len(report.scores), "failed": len(report.failed)},
    failed=lambda report: report.failed,
)
def backtest(
    database: Database,
    *,
    models: Sequence[str],
    first: datetime,
    end: datetime,
    every: timedelta = timedelta(hours=24),
    at_local: time | None = None,
    horizon: timedelta = timedelta(hours=24),
    refit: timedelta | None = None,
    weather: Weather = "forecast",
    weather_error: WeatherErrorChoice = None,
    weather_columns: Sequence[str] = (),
    load_delay: timedelta | None = None,
    cities: Sequence[str] = (),
    processes: int = 1,
    resume: bool = False,
    allow_none: bool = False,
    progress: Progress = silent,
) -> BacktestReport:
    """Forecast for the issue times `first`, `first + every`, ... before `end`; store runs, vintages and scores.

    Finished forecasts are stored city by city and after each refit; the scores follow at the end. A failure in one city
    does not affect the others: see isolation.attempt.

    Args:
        models: names; each model is fitted on the data available at `first`.
        at_local: issue at this local time of each city; `every` is then a number of days. Models are still fitted for
            all cities at one moment, the first issue time.
        refit: time between two fits, each on the data available then; None for one fit.
        weather: source of the weather of the target hours. `actual` uses later observations, and `simulated` adds
            random errors to them; both are recorded as such.
        weather_error: for `simulated`, the errors; see `simulated_weather`.
        weather_columns: for `simulated`, the weather columns that are forecast; all if empty.
        load_delay: load counts as known if its interval ended so long before the issue, and by its available_at. None:
            see `load_delay_of`. It also applies to training.
        processes: number of cities to process at a time; see parallel.each. The forecasts do not depend on it.
        resume: reuse the stored forecasts of an earlier backtest with the same model versions, issue times, horizon,
            weather and assumptions. After an interruption, only the rest is computed.
        allow_none: return the report even if there was nothing to forecast, or no actual to score against.

    Raises:
        UnknownModelError, UnknownCityError: a name is unknown.
        NotEnoughDataError: there was nothing to forecast or no actual to score against, and `allow_none` is false.
        DatabaseError: the database refused the request.
    """
    names = check_models(models)
    hours = read_horizon(horizon) // timedelta(hours=1)
    with database.transaction(Role.FORECASTER) as connection:
        now = database_now(connection)
        chosen = cities_named(connection, cities)
    times, without = times_by_city(chosen, lambda zone: issue_times(first, end, every, at_local=at_local, zone=zone))
    failed: Failures = {(city, name): reason for city, reason in without.items() for name in names}
    chosen = [city for city in chosen if city.name in times]
    check_not_future(max(each_city[-1] for each_city in times.values()), now, "The last issue time")

    assumed: dict[str, Assumptions] = {}
    with database.transaction(Role.FORECASTER) as connection:
        for city in chosen:
            assume = partial(
                _assume, connection, city, times[city.name], load_delay, weather, weather_error, weather_columns, now
            )
            known = attempt(f"Choose the assumptions of {city.name}", assume)
            if isinstance(known, Failed):
                failed |= {(city.name, name): known.reason for name in names}
            else:
                assumed[city.name] = known
    chosen = [city for city in chosen if city.name in assumed]
    times = {name: issues for name, issues in times.items() if name in assumed}

    run = BacktestRun(database, hours, weather, now, resume, started_at=datetime.now(UTC))
    made: list[BacktestForecast] = []
    for segment in segments(times, refit) if chosen else ():
        report = train(
            database,
            models=names,
            cities=[city.name for city in chosen],
            until=min(issues[0] for issues in segment.values()),
            assumptions=assumed,
            processes=processes,
            allow_none=True,
            progress=progress,
        )
        failed |= report.failed
        versions: dict[str, dict[str, UUID]] = defaultdict(dict)
        for one in report.trained:
            versions[one.city][one.model] = one.model_id
        work = [
            CityWork(city, versions[city.name], segment[city.name], assumed[city.name])
            for city in chosen
            if city.name in segment
        ]
        made += _issue_and_store(run, [part for part in work if part.versions], failed, processes, progress)

    scored: list[CityScores] = []
    issues = {"issued_every": every, "issued_at_local": at_local, "horizon": horizon}
    progress("Scoring", 0, len(chosen))
    for number, city in enumerate(chosen, start=1):
        own = [one for one in made if one.city.id == city.id]
        if own:
            of_city = issues | {
                "issued_from": times[city.name][0],
                "issued_until": times[city.name][-1],
                "assumptions": assumed[city.name].as_dict(),
            }
            score = partial(score_city, database, city, own, span=(first, end + horizon), hours=hours, now=now)
            found = attempt(f"Score the backtest of {city.name}", partial(score, issues=of_city))
            if not isinstance(found, Failed):
                scored.append(found)
            if isinstance(found, Failed) or not found.overall:
                reason = found.reason if isinstance(found, Failed) else NO_ACTUAL
                failed |= {(city.name, one.model): reason for one in own}
        progress("Scoring", number, len(chosen))
    if not any(one.overall for one in scored) and not allow_none:
        raise NotEnoughDataError(
            next(iter(failed.values()), "No data of these cities was known at any issue time."),
            hint="Choose an earlier `first`." if made else "Choose a later `first`.",
        )
    with database.transaction(Role.FORECASTER) as connection:
        for metrics in version_metrics([row for one in scored for row in one.by_version], hours, every):
            stored_scores.add_metrics(connection, metrics)
    # Without any weather forecast, report that none was used
    used: Weather = "none" if weather == "forecast" and all(one.weather == "none" for one in made) else weather
    pairs = pl.concat([NO_PAIRS, *(one.pairs for one in scored)]).sort("model", "city", "issued_at", "timestamp")
    faulty = pairs.filter("left_out").group_by("city").agg(pl.col("timestamp").n_unique()).sort("city")
    return BacktestReport(
        first=min((issued[0] for issued in times.values()), default=first),
        end=end,
        weather=used,
        pairs=pairs.drop("reference", "left_out", "model_id", "city_id"),
        scores=sorted((row for one in scored for row in one.overall), key=lambda row: (row["model"], row["city"])),
        left_out=dict(faulty.iter_rows()),
        failed=failed,
        imputed_weather=_imputed_weather(made),
        availability={one.city: one.availability for one in scored},
        weather_hours=_weather_hours(made) if weather != "none" else {},
        assumptions={one.city: assumed[one.city] for one in scored},
    )


def _assume(
    connection: Connection,
    city: StoredCity,
    times: Sequence[datetime],
    load_delay: timedelta | None,
    weather: Weather,
    weather_error: WeatherErrorChoice,
    weather_columns: Sequence[str],
    now: datetime,
) -> Assumptions:
    """Return the assumptions about a city with these issue times."""
    simulated = None
    with savepoint(connection):
        since = times[0] - AVAILABILITY_SINCE
        delay, source = load_delay_of(connection, city, load_delay, now=now, first=since, end=times[-1])
        if weather == "simulated":
            simulated = simulated_weather(connection, city, weather_error, tuple(weather_columns), times[0])
    return Assumptions(delay, source, simulated)


def _issue_and_store(
    run: BacktestRun, work: Sequence[CityWork], failed: Failures, processes: int, progress: Progress
) -> list[BacktestForecast]:
    """Forecast the cities and store each when it is finished. Failures are added to `failed`."""
    if not work:
        return []
    moments = [moment for part in work for moment in part.times]
    with run.database.transaction(Role.FORECASTER) as connection:
        stored_forecasts.ensure_partitions(connection, first=min(moments), last=max(moments))
    steps = list(accumulate(len(part.times) for part in work))
    report_steps = Steps(progress, "Backtesting", steps[-1])
    made: list[BacktestForecast] = []
    issue = partial(issue_forecasts, run)
    with closing(
        each(issue, work, name=_work_name, processes=min(processes, len(work)), steps=report_steps)
    ) as results:
        for step, part, issued in zip(steps, work, results, strict=True):
            city, found = part.city.name, issued
            if not isinstance(found, Failed) and found.new:
                written = attempt(f"Write the backtest of {city}", partial(write_forecasts, run, part, found.new))
                found = written if isinstance(written, Failed) else found
            if isinstance(found, Failed):
                failed |= {(city, name): found.reason for name in part.versions}
            else:
                made += found.before + found.new
                failed |= found.failed
            done = not isinstance(found, Failed) and bool(found.before or found.new)
            report_steps(step, f"{'Backtested' if done else 'Not backtested:'} {city}")
    return made


def _work_name(work: CityWork) -> str:
    return f"Backtest {work.city.name}"


def _weather_hours(made: list[BacktestForecast]) -> dict[str, WeatherHours]:
    """Return the newly forecast hours by city, and those with weather."""
    by_model: dict[tuple[str, str], WeatherHours] = {}
    for one in made:
        if one.weather_hours is not None:
            key = (one.city.name, one.model)
            before = by_model.get(key, WeatherHours(0, 0))
            by_model[key] = WeatherHours(before.forecast + one.frame.height, before.with_weather + one.weather_hours)
    most: dict[str, WeatherHours] = {}
    for (city, _), hours in by_model.items():
        if city not in most or hours.with_weather > most[city].with_weather:
            most[city] = hours
    return most


def _imputed_weather(made: list[BacktestForecast]) -> dict[str, dict[str, int]]:
    """Return the imputed hours by city and column: the largest number of all models, which use the same weather."""
    by_model: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in made:
        by_model[one.city.name, one.model].update(one.imputed_weather)
    most: dict[str, dict[str, int]] = defaultdict(dict)
    for (city, _), hours in by_model.items():
        for column, n in hours.items():
            most[city][column] = max(n, most[city].get(column, 0))
    return dict(most)
