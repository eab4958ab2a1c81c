"""Backtests: forecasts for past issue times from the data known at those times, scored and stored."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
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
from energy_forecast.database.forecasts import NewForecast, NewRun
from energy_forecast.database.history import LoadDelay, load_delay
from energy_forecast.database.models import artifact_of
from energy_forecast.errors import EnergyForecastError, NotEnoughDataError
from energy_forecast.event_log import log_run
from energy_forecast.forecasting import (
    QUANTILE_COLUMNS,
    QUANTILE_LEVELS,
    City,
    FittedForecaster,
    Forecast,
    ForecastInput,
    load_model,
)
from energy_forecast.pipelines.as_of import AsOfData, Weather, actual_load, forecasting_city, read_as_of
from energy_forecast.pipelines.forecast import check_horizon
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.parallel import Step, each
from energy_forecast.pipelines.score import evaluation, join_actuals, lead_buckets, score_pairs
from energy_forecast.pipelines.train import check_models, check_not_future, train
from energy_forecast.progress import Progress, Steps, silent
from energy_forecast.zones import daily_instants

_DELAYS_SINCE = timedelta(days=7)

NO_ACTUAL = "No observed load is known for the forecast hours."
_NO_PAIRS = pl.DataFrame(
    schema={
        "model": pl.String,
        "city": pl.String,
        "issued_at": pl.Datetime("us", "UTC"),
        "timestamp": pl.Datetime("us", "UTC"),
        "actual": pl.Float64,
        "predicted": pl.Float64,
        **dict.fromkeys(QUANTILE_COLUMNS, pl.Float64),
        "model_id": pl.String,
        "city_id": pl.String,
        "reference": pl.Float64,
        "left_out": pl.Boolean,
    }
)


@dataclass(frozen=True)
class BacktestReport:
    """Result of a backtest.

    pairs: model, city, issued_at, timestamp, actual, predicted, q05 .. q95, kWh in the hour; `actual` is null if it
        is unknown or faulty.
    scores: one row for each city and model over all lead times.
    left_out: by city, the number of forecast hours whose actual is faulty; they count in no score.
    failed: the reason by (city, model).
    imputed_weather: by city and weather column, the number of newly forecast hours for which the value was imputed.
    load_delay: by scored city, how late its load was available, from a week before the first issue time to the last.
    """

    first: datetime
    end: datetime
    weather: Weather
    pairs: pl.DataFrame
    scores: list[dict[str, Any]]
    left_out: dict[str, int] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    imputed_weather: dict[str, dict[str, int]] = field(default_factory=dict)
    load_delay: dict[str, LoadDelay] = field(default_factory=dict)


@dataclass(frozen=True)
class _CityForecast:
    """The forecast of one city by one model version at one issue time."""

    model: str
    model_id: UUID
    city: StoredCity
    issued_at: datetime
    frame: pl.DataFrame
    weather: str
    imputed_weather: dict[str, int] = field(default_factory=dict)


def issue_times(
    first: datetime, end: datetime, every: timedelta, *, at_local: time | None = None, zone: str = "UTC"
) -> list[datetime]:
    """Return the issue times of a city before `end`: `first`, `first + every`, ..., or one local time of its days.

    Args:
        every: the time between two issue times; with `at_local` a number of days.
        at_local: a local time in `zone`, as `daily_instants` defines it.

    Raises:
        EnergyForecastError: there is no issue time, or `every` is too short or not a number of days.
    """
    if at_local is not None and every % timedelta(days=1):
        raise EnergyForecastError("With `at_local`, `every` must be a number of days.")
    if every < timedelta(hours=1):
        raise EnergyForecastError("`every` must be one hour or more.")
    if end <= first:
        raise EnergyForecastError("`end` must be later than `first`.")
    if at_local is None:
        return [first + every * number for number in range(-(-(end - first) // every))]
    times = daily_instants(zone, first, end, at_local)[:: every // timedelta(days=1)]
    if not times:
        raise EnergyForecastError(
            f"No day from `first` to `end` has the local time {at_local:%H:%M} in {zone}.", hint="Choose a later `end`."
        )
    return times


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
        weather: source of the weather of the target hours. `actual` uses later observations, and is recorded as such.
        processes: number of cities to process at a time; see parallel.each. The forecasts do not depend on it.
        resume: reuse the stored forecasts of an earlier backtest with the same model versions, issue times, horizon and
            weather. After an interruption, only the rest is computed.
        allow_none: return the report even if there was nothing to forecast, or no actual to score against.

    Raises:
        UnknownModelError, UnknownCityError: a name is unknown.
        NotEnoughDataError: there was nothing to forecast or no actual to score against, and `allow_none` is false.
        DatabaseError: the database refused the request.
    """
    names = check_models(models)
    hours = check_horizon(horizon)
    with database.transaction(Role.FORECASTER) as connection:
        now = database_now(connection)
        chosen = cities_named(connection, cities)
    times: dict[str, list[datetime]] = {}
    failed: dict[tuple[str, str], str] = {}
    for city in chosen:
        what = f"Find the issue times of {city.name}"
        found_times = attempt(what, partial(issue_times, first, end, every, at_local=at_local, zone=city.timezone))
        if not isinstance(found_times, Failed):
            times[city.name] = found_times
            continue
        failed |= {(city.name, name): found_times.reason for name in names}
        if len(chosen) == len({name for name, _ in failed}):
            # Invalid arguments fail for every city
            raise EnergyForecastError(found_times.message, hint=found_times.hint)
    chosen = [city for city in chosen if city.name in times]
    check_not_future(max(each_city[-1] for each_city in times.values()), now, "The last issue time")

    started_at = datetime.now(UTC)
    made: list[_CityForecast] = []
    for segment in _segments(times, refit):
        report = train(
            database,
            models=names,
            cities=[city.name for city in chosen],
            until=min(issues[0] for issues in segment.values()),
            processes=processes,
            allow_none=True,
            progress=progress,
        )
        failed |= report.failed
        versions: dict[str, dict[str, UUID]] = defaultdict(dict)
        for one in report.trained:
            versions[one.city][one.model] = one.model_id
        with database.transaction(Role.FORECASTER) as connection:
            moments = [moment for issues in segment.values() for moment in issues]
            stored_forecasts.ensure_partitions(connection, first=min(moments), last=max(moments))
        issue = partial(_issue_all, database, hours, weather, now, resume)
        work = [
            (city, versions[city.name], segment[city.name])
            for city in chosen
            if versions[city.name] and city.name in segment
        ]
        steps = list(accumulate(len(issues) for *_, issues in work))
        report_steps = Steps(progress, "Backtesting", steps[-1] if steps else 0)
        processes_now = min(processes, len(work))
        with closing(each(issue, work, name=_work_name, processes=processes_now, steps=report_steps)) as results:
            for number, (part, found) in enumerate(zip(work, results, strict=True)):
                city = part[0]
                kept = found
                if not isinstance(found, Failed) and found[1]:
                    runs = _runs(found[1], horizon, started_at)
                    written = attempt(f"Write the backtest of {city.name}", partial(_write, database, runs))
                    kept = written if isinstance(written, Failed) else found
                if isinstance(kept, Failed):
                    failed |= {(city.name, name): kept.reason for name in versions[city.name]}
                else:
                    before, new, why = kept
                    made += before + new
                    failed |= why
                done = not isinstance(kept, Failed) and bool(kept[0] or kept[1])
                report_steps(steps[number], f"{'Backtested' if done else 'Not backtested:'} {city.name}")

    scored: list[_Scored] = []
    used: dict[tuple[str, str], str] = {(str(one.model_id), str(one.city.id)): one.weather for one in made}
    issues = {"issued_every": every, "issued_at_local": at_local, "horizon": horizon}
    score = partial(_score_city, database, (first, end + horizon), hours, now, used)
    progress("Scoring", 0, len(chosen))
    for number, city in enumerate(chosen, start=1):
        own = [one for one in made if one.city.id == city.id]
        if own:
            span = {"issued_from": times[city.name][0], "issued_until": times[city.name][-1]}
            result = attempt(f"Score the backtest of {city.name}", partial(score, city, own, issues | span))
            if isinstance(result, Failed):
                failed |= {(city.name, name): result.reason for name in {one.model for one in own}}
            else:
                scored.append(result)
                if not result.overall:
                    failed |= {(city.name, name): NO_ACTUAL for name in {one.model for one in own}}
        progress("Scoring", number, len(chosen))
    if not any(one.overall for one in scored) and not allow_none:
        raise NotEnoughDataError(
            next(iter(failed.values()), "No data of these cities was known at any issue time."),
            hint="Choose an earlier `first`." if made else "Choose a later `first`.",
        )
    by_version = [row for one in scored for row in one.by_version]
    with database.transaction(Role.FORECASTER) as connection:
        for metrics in _evaluations(by_version, hours, every):
            stored_scores.add_metrics(connection, metrics)
    if weather == "forecast" and "forecast" not in used.values():
        # No weather forecast existed: record that none was used
        weather = "none"
    pairs = pl.concat([_NO_PAIRS, *(one.pairs for one in scored)]).sort("model", "city", "issued_at", "timestamp")
    overall = sorted((row for one in scored for row in one.overall), key=lambda row: (row["model"], row["city"]))
    faulty = pairs.filter("left_out").group_by("city").agg(pl.col("timestamp").n_unique()).sort("city")
    shown = pairs.drop("reference", "left_out", "model_id", "city_id")
    begin = min(issued[0] for issued in times.values())
    left_out = dict(faulty.iter_rows())
    delays = {one.city: one.load_delay for one in scored}
    return BacktestReport(begin, end, weather, shown, overall, left_out, failed, _imputed_weather(made), delays)


def _segments(times: dict[str, list[datetime]], refit: timedelta | None) -> list[dict[str, list[datetime]]]:
    """Return the issue times of each city between two fits, which are at the first issue time of all cities."""
    if refit is None:
        return [times]
    first = min(issues[0] for issues in times.values())
    segments: dict[int, dict[str, list[datetime]]] = defaultdict(dict)
    for city, issues in times.items():
        for moment in issues:
            segments[(moment - first) // refit].setdefault(city, []).append(moment)
    return [segments[number] for number in sorted(segments)]


def _work_name(work: tuple[StoredCity, dict[str, UUID], list[datetime]]) -> str:
    return f"Backtest {work[0].name}"


def _write(database: Database, runs: list[NewRun]) -> None:
    with database.transaction(Role.FORECASTER) as connection:
        stored_forecasts.add_runs(connection, runs, interval=None)


def _load(connection: Connection, name: str, model_id: UUID, city: StoredCity) -> FittedForecaster:
    with savepoint(connection):
        stored = artifact_of(connection, model=model_id, city=city.id)
    assert stored is not None
    return load_model(name, stored.artifact)


def _issue_all(
    database: Database,
    hours: int,
    weather: Weather,
    now: datetime,
    resume: bool,
    work: tuple[StoredCity, dict[str, UUID], list[datetime]],
    step: Step,
) -> tuple[list[_CityForecast], list[_CityForecast], dict[tuple[str, str], str]]:
    """Return the forecasts of a city by all versions (by model): the stored ones, the new ones, and the failures."""
    city, versions, times = work
    new: list[_CityForecast] = []
    failed: dict[tuple[str, str], str] = {}
    fitted: dict[str, FittedForecaster] = {}
    with database.transaction(Role.FORECASTER) as connection:
        for name, model_id in versions.items():
            read = attempt(f"Read {name} of {city.name}", partial(_load, connection, name, model_id, city))
            if isinstance(read, Failed):
                failed[city.name, name] = read.reason
            else:
                fitted[name] = read
        before = _made_before(connection, city, versions, times, hours, weather) if resume else []
        done = {(one.model, one.issued_at) for one in before}
        days = max((model.history_days for model in fitted.values()), default=0)
        skipped: dict[str, list[str]] = defaultdict(list)
        with_weather: set[str] = set()
        for at in times:
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
                weather=weather,
                actual_as_of=now,
            )
            for name in wanted:
                issued = attempt(f"Backtest {name} for {city.name}", partial(_forecast, fitted[name], known, hours))
                if isinstance(issued, Failed):
                    # A gap in the history longer than the lookback of the model, or a fault
                    skipped[name].append(issued.message)
                    continue
                if issued.weather_hours:
                    with_weather.add(name)
                frame = stored_forecasts.as_stored(known.shift.to_city_hours(issued.frame))
                new.append(_CityForecast(name, versions[name], city, at, frame, weather, issued.imputed_weather))
    if weather == "forecast":
        # No weather forecast existed, or none that this model uses: record that none was used
        used = {one.weather for one in before} | {"forecast" if with_weather else "none"}
        new = [replace(one, weather="forecast" if "forecast" in used else "none") for one in new]
    failed |= {
        (city.name, name): f"No forecast at {len(reasons)} of {len(times)} issue times. {reasons[0]}"
        for name, reasons in skipped.items()
    }
    return before, new, failed


def _forecast(model: FittedForecaster, known: AsOfData, hours: int) -> Forecast:
    issued_at = known.at + known.shift.offset
    made = model.predict(ForecastInput(known.load, known.weather, known.weather_ahead, issued_at, hours))
    stored_forecasts.check_range(made.frame)
    return made


def _made_before(
    connection: Connection,
    city: StoredCity,
    versions: dict[str, UUID],
    times: list[datetime],
    hours: int,
    weather: Weather,
) -> list[_CityForecast]:
    names = {model_id: name for name, model_id in versions.items()}
    rows = stored_forecasts.backtested(
        connection,
        city=city.id,
        models=list(names),
        times=times,
        horizon=timedelta(hours=hours),
        weathers=[weather, "none"] if weather == "forecast" else [weather],
        quantile_columns=QUANTILE_COLUMNS,
    )
    return [
        _CityForecast(names[model_id], model_id, city, issued_at, frame, used)
        for model_id, issued_at, used, frame in rows
    ]


def _imputed_weather(made: list[_CityForecast]) -> dict[str, dict[str, int]]:
    """Return the imputed hours by city and column: the largest number of all models, which use the same weather."""
    by_model: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in made:
        by_model[one.city.name, one.model].update(one.imputed_weather)
    most: dict[str, dict[str, int]] = defaultdict(dict)
    for (city, _), hours in by_model.items():
        for column, n in hours.items():
            most[city][column] = max(n, most[city].get(column, 0))
    return dict(most)


@dataclass(frozen=True)
class _Scored:
    """The forecasts of a city with their actuals and scores, by model and by version and lead time bucket.

    load_delay: how late the load was available, from a week before the first issue time to the last.
    """

    city: str
    load_delay: LoadDelay
    pairs: pl.DataFrame
    overall: list[dict[str, Any]]
    by_version: list[dict[str, Any]]


def _score_city(
    database: Database,
    span: tuple[datetime, datetime],
    hours: int,
    now: datetime,
    weathers: dict[tuple[str, str], str],
    city: StoredCity,
    made: list[_CityForecast],
    issues: dict[str, Any],
) -> _Scored:
    """Score the forecasts of a city, and store the scores.

    Args:
        span: from the first issue time to the last forecast hour.
        weathers: the weather source used for the target hours, by version and city.
    """
    first, end = span
    delays_since = issues["issued_from"] - _DELAYS_SINCE
    with database.transaction(Role.FORECASTER) as connection:
        # From a week earlier, for the reference
        load = actual_load(connection, city, as_of=now, first=first - timedelta(days=8), end=end + timedelta(hours=1))
        pairs = _pairs(made, load, city)
        delay = load_delay(connection, city.id, as_of=now, first=delays_since, end=issues["issued_until"])
        overall, by_version = _scores(pairs, forecasting_city(city), weathers, hours, now)
        stored_scores.add_scores(connection, [score | issues for score in by_version])
    return _Scored(city.name, delay, pairs, overall, by_version)


def _pairs(made: list[_CityForecast], load: pl.DataFrame, city: StoredCity) -> pl.DataFrame:
    """Return the forecasts of a city with actuals (null if unknown) and with naive-168 as a reference."""
    forecasts = pl.concat(
        one.frame.select(
            pl.lit(one.model).alias("model"),
            pl.lit(one.city.name).alias("city"),
            pl.lit(one.issued_at).cast(pl.Datetime("us", "UTC")).alias("issued_at"),
            "timestamp",
            "predicted",
            *QUANTILE_COLUMNS,
            pl.lit(str(one.model_id)).alias("model_id"),
            pl.lit(str(one.city.id)).alias("city_id"),
        )
        for one in made
    )
    pairs = join_actuals(forecasts, load, city.timezone)
    return pairs.select(_NO_PAIRS.columns).sort("model", "city", "issued_at", "timestamp")


def _scores(
    pairs: pl.DataFrame, city: City, weathers: dict[tuple[str, str], str], hours: int, now: datetime
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the scores of the whole backtest by model, and the scores to store by version and lead time bucket."""
    known = pairs.filter(pl.col("actual").is_not_null())
    facts = {"purpose": "backtest", "actuals_as_of": now}
    overall = [
        {"city": city.name, "model": model, **score_pairs(part, city)}
        for (model,), part in known.group_by("model", maintain_order=True)
    ]
    kept = []
    for (model_id, city_id), part in known.group_by("model_id", "city_id", maintain_order=True):
        for low, high in lead_buckets(hours):
            bucket = part.filter(pl.col("timestamp") - pl.col("issued_at") >= timedelta(hours=low)).filter(
                pl.col("timestamp") - pl.col("issued_at") < timedelta(hours=high)
            )
            if not bucket.is_empty():
                kept.append(
                    {"model_id": model_id, "city_id": city_id, "lead_start_hours": low, "lead_end_hours": high}
                    | facts
                    | {"weather": weathers[model_id, city_id]}
                    | score_pairs(bucket, city)
                )
    return overall, kept


def _evaluations(scores: list[dict[str, Any]], hours: int, every: timedelta) -> list[dict[str, Any]]:
    by_model: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for score in scores:
        if (score["lead_start_hours"], score["lead_end_hours"]) == (0, hours):
            by_model[score["model_id"]].append(score)
    settings = {"every_hours": every / timedelta(hours=1), "horizon_hours": hours}
    return [evaluation(model_id, parts, settings) for model_id, parts in by_model.items()]


def _runs(made: list[_CityForecast], horizon: timedelta, started_at: datetime) -> list[NewRun]:
    finished_at = datetime.now(UTC)
    return [
        NewRun(
            model_id=one.model_id,
            purpose="backtest",
            issued_at=one.issued_at,
            horizon=horizon,
            weather=one.weather,
            quantile_levels=QUANTILE_LEVELS,
            started_at=started_at,
            finished_at=finished_at,
            forecasts=[NewForecast(one.city.id, one.frame)],
        )
        for one in made
    ]
