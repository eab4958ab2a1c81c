"""The whole workflow on real sample data: load, train, backtest, forecast, score. A second run does only the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from energy_forecast import zones
from energy_forecast.database import cities as stored_cities
from energy_forecast.database import forecasts as stored_forecasts
from energy_forecast.database import history
from energy_forecast.database import models as stored_models
from energy_forecast.database import scores as stored_scores
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.forecasting import QUANTILE_COLUMNS
from energy_forecast.ingest import load_table
from energy_forecast.pipelines.as_of import Weather
from energy_forecast.pipelines.backtest import backtest
from energy_forecast.pipelines.demo_weather import MADE, weather_forecasts
from energy_forecast.pipelines.fallback import DEFAULT_MODEL, FALLBACK_MODEL
from energy_forecast.pipelines.forecast import forecast
from energy_forecast.pipelines.load_checks import check_load
from energy_forecast.pipelines.score import score
from energy_forecast.pipelines.train import train
from energy_forecast.progress import Progress, silent
from energy_forecast.sources.sample import STEP, SampleCity, load_sample

HORIZON = timedelta(hours=48)
BACKTEST_DAYS = 21
# Weather forecasts exist for this span before now: the backtest, and some days before it
FORECASTS = timedelta(days=30)
# Maximum age of a training or a backtest; a later run repeats an older one
KEEP = timedelta(days=7)
AS_RECORDED_SUFFIX = "_as_recorded"


@dataclass(frozen=True)
class DemoCity:
    """Results of the demo for one city. Frames: timestamp (UTC) and kWh in the hour, or degrees Celsius.

    forecast, past_forecast: predicted, q05 .. q95; the past forecast was issued two days earlier.
    """

    name: str
    timezone: str
    source: str
    recorded_from: datetime
    recorded_to: datetime
    weeks: int
    used_up: bool
    issued_at: datetime
    model: str
    notes: list[str]
    history: pl.DataFrame
    weather: pl.DataFrame | None
    forecast: pl.DataFrame
    past_forecast: pl.DataFrame


@dataclass(frozen=True)
class DemoReport:
    """Result of the demo. `scores` are rows of forecast_scores of the backtests; `done` lists the work of this run."""

    cities: list[DemoCity]
    scores: list[dict[str, Any]]
    backtest_days: int
    done: list[str]


def demo(database: Database, *, as_recorded: bool, progress: Progress, announce: Callable[[str], None]) -> DemoReport:
    """Run the whole workflow.

    Args:
        as_recorded: keep the real dates of the records; otherwise they are shifted to end now.
        announce: receives a description of each stage before it starts.

    Raises:
        SampleError: the package with the sample is not installed.
        DatabaseError: the database refused the request.
    """
    done: list[str] = []
    with database.transaction(Role.FORECASTER) as connection:
        now = database_now(connection)
        weeks = {
            c.name: c.metadata["sample"]["weeks"]
            for c in stored_cities.all_cities(connection)
            if "sample" in c.metadata
        }
    sample = load_sample(now=None if as_recorded else now, weeks=weeks)
    names = [s.name + (AS_RECORDED_SUFFIX if as_recorded else "") for s in sample]
    last_hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)

    announce("Loading the sample")
    for name, part in zip(names, sample, strict=True):
        _load(database, name, part, done, progress)
    with database.transaction(Role.FORECASTER) as connection:
        cities = {city.name: city for city in stored_cities.cities_named(connection, names)}
    # A shifted record that has ended stays at its end
    at = {name: min(last_hour, part.ends_at) for name, part in zip(names, sample, strict=True)}

    announce(f"Backtesting the last {BACKTEST_DAYS} days: 48 hours ahead from each local midnight, fitted before that")
    for name in names:
        _backtest(database, cities[name], at[name], done, progress)
    announce("Training on all data known now")
    for name in names:
        if not _trained(database, cities[name], at[name]):
            train(database, models=_backtested("none"), cities=[name], until=at[name], progress=progress)
            done.append(f"trained the models of {name}")
    announce("Forecasting the next 48 hours, and the last 48 hours as of two days ago")
    for name in names:
        for moment in (at[name] - HORIZON, at[name]):
            if not _issued(database, cities[name], moment):
                forecast(database, cities=[name], at=moment, horizon=HORIZON, progress=progress)
                done.append(f"forecast {name} from {moment:%Y-%m-%d %H:%MZ}")
    announce("Scoring forecasts whose hours have passed")
    scored = score(database, progress=progress)
    if scored.new:
        done.append(f"scored {scored.new} new sets of forecasts")

    with database.transaction(Role.FORECASTER) as connection:
        shown = [_shown(connection, cities[name], part, at[name]) for name, part in zip(names, sample, strict=True)]
        rows = [
            row
            for row in stored_scores.latest_scores(connection, purpose="backtest", cities=names)
            if (row["lead_start_hours"], row["lead_end_hours"]) == (0, HORIZON // timedelta(hours=1))
        ]
    return DemoReport(shown, rows, BACKTEST_DAYS, done)


class LivingDemo:
    """The demo as time passes: what has arrived since is loaded, each hour has a forecast, and forecasts are scored.

    Args:
        database: of `demo`, which has run.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction(Role.FORECASTER) as connection:
            known = [c for c in stored_cities.all_cities(connection) if "sample" in c.metadata]
        self._weeks = {c.name: c.metadata["sample"]["weeks"] for c in known}
        self._names = [c.name for c in known if not c.name.endswith(AS_RECORDED_SUFFIX)]
        self._loaded: datetime | None = None

    def follow(self) -> datetime:
        """If a new hour has begun, load the hours since the last one and issue a live forecast; return the time."""
        with self._database.transaction(Role.FORECASTER) as connection:
            now = database_now(connection)
            cities = {c.name: c for c in stored_cities.cities_named(connection, self._names)}
        hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        if self._loaded == hour:
            return now
        # A machine that slept for days has to load all of them
        since = (self._loaded or hour) - timedelta(days=2)
        sample = [part for part in load_sample(now=now, weeks=self._weeks) if part.name in cities and not part.used_up]
        for part in sample:
            _load(self._database, part.name, part, [], silent, since=since)
            if not _issued(self._database, cities[part.name], hour):
                forecast(self._database, cities=[part.name], at=hour, horizon=HORIZON)
        score(self._database)
        self._loaded = hour
        return now

    def prepare_replay(self, first: datetime, progress: Progress) -> None:
        """Train on the data known at the first hour of a replay, so that its forecasts know nothing later."""
        models = [DEFAULT_MODEL, FALLBACK_MODEL]
        train(self._database, models=models, cities=self._names, until=first, progress=progress)

    def replay(self, hour: datetime) -> None:
        """Issue the forecasts of a past hour from the data known then, as replays. At midnight, UTC, all are scored."""
        with self._database.transaction(Role.FORECASTER) as connection:
            cities = stored_cities.cities_named(connection, self._names)
        # A live forecast of that hour does not count: the pages of a replay show replays only
        missing = [city.name for city in cities if not _issued(self._database, city, hour, "replay")]
        if missing:
            forecast(self._database, cities=missing, at=hour, horizon=HORIZON)
        if hour.hour == 0:
            score(self._database)


def _load(
    database: Database, name: str, part: SampleCity, done: list[str], progress: Progress, since: datetime | None = None
) -> None:
    """Load the record of a city, with weather forecasts made from it; only intervals from `since` on, if given."""
    with database.transaction(Role.INGEST) as connection:
        added = stored_cities.add_city(
            connection,
            name=name,
            latitude=part.latitude,
            longitude=part.longitude,
            timezone=part.timezone,
            country_code=part.country_code,
            subdivision=part.subdivision,
        )
        if added is not None:
            sample = {"weeks": part.weeks, "source": part.source, "made": None if part.weather is None else MADE}
            stored_cities.set_metadata(connection, added, "sample", sample)
    frames = {"consumption": part.consumption, "weather": part.weather}
    if part.weather is not None:
        end = part.consumption["timestamp"][-1] + STEP
        frames["weather-forecasts"] = weather_forecasts(part, max(since or end - FORECASTS, end - FORECASTS), end)
    for number, (kind, whole) in enumerate(frames.items()):
        progress(f"Loading {kind} of {name}", number, len(frames))
        frame = whole if whole is None or since is None else whole.filter(pl.col("timestamp") >= since)
        if frame is not None and frame.height:
            table = frame.select(pl.lit(name).alias("city"), pl.all())
            minutes = None if kind == "weather-forecasts" else 30
            report = load_table(database, kind, table, name=f"sample {name}", interval_minutes=minutes)
            check_load(database, report)
            if report.inserted or report.corrected:
                done.append(f"loaded {report.inserted:,} rows of {kind} of {name}")
    progress(f"Loading {name}", len(frames), len(frames))


def _backtest(database: Database, city: StoredCity, at: datetime, done: list[str], progress: Progress) -> None:
    local = at.astimezone(zones.zone(city.timezone))
    last_midnight = local.replace(hour=0)
    end = (last_midnight - HORIZON).astimezone(UTC)
    with database.transaction(Role.FORECASTER) as connection:
        rows = stored_scores.latest_scores(connection, purpose="backtest", cities=[city.name])
        has_weather = _last_weather(connection, city, at) is not None
    for weather in ("none", "forecast", "actual") if has_weather else ("none",):
        ends = [row["period_end"] for row in rows if row["weather"] == weather]
        if ends and max(ends) > end - KEEP:
            continue
        backtest(
            database,
            # Models without weather inputs were already scored without weather
            models=_backtested(weather),
            first=end - timedelta(days=BACKTEST_DAYS),
            end=end,
            horizon=HORIZON,
            weather=weather,
            cities=[city.name],
            progress=progress,
        )
        done.append(f"backtested {city.name}, weather of the target hours: {weather}")


def _backtested(weather: Weather) -> Sequence[str]:
    if weather == "forecast":
        return [DEFAULT_MODEL]
    learning = ["vanilla", DEFAULT_MODEL]
    return learning if weather == "actual" else ["naive-24", "naive-168", *learning]


def _last_weather(connection: Connection, city: StoredCity, at: datetime) -> datetime | None:
    frame = history.weather_as_of(
        connection, city.id, as_of=at, first=at - timedelta(days=BACKTEST_DAYS), end=at, phase=0
    )
    return None if frame.is_empty() else frame["timestamp"][-1]


def _trained(database: Database, city: StoredCity, at: datetime) -> bool:
    with database.transaction(Role.FORECASTER) as connection:
        newest = stored_models.newest_artifact(connection, name=DEFAULT_MODEL, city=city.id, at=at)
    return newest is not None and newest.trained_until > at - KEEP


def _issued(database: Database, city: StoredCity, moment: datetime, purpose: str | None = None) -> bool:
    with database.transaction(Role.FORECASTER) as connection:
        return any(
            stored_forecasts.vintage(connection, city=city.id, model=name, issued_at=moment, purpose=purpose)
            for name in (DEFAULT_MODEL, FALLBACK_MODEL)
        )


def _shown(connection: Connection, city: StoredCity, part: SampleCity, at: datetime) -> DemoCity:
    def vintage(moment: datetime) -> list[dict[str, Any]]:
        for name in (DEFAULT_MODEL, FALLBACK_MODEL):
            rows = stored_forecasts.vintage(connection, city=city.id, model=name, issued_at=moment)
            if rows:
                return rows
        return []

    def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
        return pl.DataFrame(
            [[row["timestamp"], row["predicted"], *row["quantiles"]] for row in rows],
            schema=["timestamp", "predicted", *QUANTILE_COLUMNS],
            orient="row",
        ).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))

    now_rows = vintage(at)
    first = at - timedelta(days=14)
    load = history.load_as_of(connection, city.id, as_of=at, first=first, end=at, phase=0)
    weather = history.weather_as_of(connection, city.id, as_of=at, first=first, end=at, phase=0)
    return DemoCity(
        name=city.name,
        timezone=city.timezone,
        source=part.source,
        recorded_from=part.recorded_from,
        recorded_to=part.recorded_to,
        weeks=part.weeks,
        used_up=part.used_up,
        issued_at=at,
        model=f"{now_rows[0]['model']} version {now_rows[0]['version']}",
        notes=now_rows[0]["notes"].get(city.name, []),
        history=load,
        weather=None if weather.is_empty() else weather.select("timestamp", "temperature"),
        forecast=frame(now_rows),
        past_forecast=frame(vintage(at - HORIZON)),
    )
