"""Forecasting: issue a forecast from what was known at a moment, and keep it with that moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import polars as pl

from energy_forecast import zones
from energy_forecast.database import champions
from energy_forecast.database import forecasts as stored_forecasts
from energy_forecast.database.cities import StoredCity, cities_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection, Database, Role, savepoint
from energy_forecast.database.forecasts import NewForecast, NewRun
from energy_forecast.database.models import StoredArtifact, newest_artifact
from energy_forecast.errors import DatabaseError, EnergyForecastError, NotEnoughDataError
from energy_forecast.forecasting import QUANTILE_LEVELS, load
from energy_forecast.pipelines.as_of import AsOfData, read_as_of
from energy_forecast.pipelines.fallback import (
    DEFAULT_MODEL,
    FALLBACK_MODEL,
    LAST_RESORT_MODEL,
    PREFERRED_MODELS,
    Candidate,
    FallbackLevel,
    candidates,
    level_of,
)
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.parallel import Step, each
from energy_forecast.pipelines.train import check_models, check_not_future, train
from energy_forecast.progress import Progress, Steps, silent

INTERVAL = (0.05, 0.95)
_STALE_HOURS = 3
LONGEST_HORIZON = timedelta(hours=168)
# What is issued for an earlier moment is a replay; the database refuses it as a forecast after 3 hours
IN_TIME = timedelta(hours=2)
# How much history goes with a forecast, for who looks at it
_SHOWN = timedelta(days=28)
_CITIES_AT_ONCE = 20
LOAD_MORE = "Load more of it: energy-forecast ingest consumption FILE; or forecast an earlier moment: --at TIME."


@dataclass(frozen=True)
class CityForecast:
    """A city's forecast as issued. `fallback` says what it stands on.

    frame: timestamp (UTC), predicted, q05 .. q95, kWh in the hour.
    history: timestamp, consumption_kwh: the load that was known, of the last weeks.
    temperature: timestamp, temperature (degrees Celsius): observed up to the issue, as forecast from there on; empty
        for a city without weather.
    """

    city: str
    timezone: str
    model: str
    version: str
    run_id: UUID | None
    issued_at: datetime
    weather_hours: int
    frame: pl.DataFrame
    history: pl.DataFrame
    temperature: pl.DataFrame
    notes: list[str]
    fallback: FallbackLevel


@dataclass(frozen=True)
class ForecastReport:
    """The forecasts that were issued. `failed` maps a city to the reason."""

    issued_at: datetime
    horizon: timedelta
    forecasts: list[CityForecast]
    failed: dict[str, str] = field(default_factory=dict)


def check_horizon(horizon: timedelta) -> int:
    """The horizon in hours.

    Raises:
        EnergyForecastError: it is not a whole number of hours from 1 to 168.
    """
    hours = horizon / timedelta(hours=1)
    if hours != int(hours) or not timedelta(0) < horizon <= LONGEST_HORIZON:
        raise EnergyForecastError("--horizon has to be a whole number of hours from 1h to 168h.")
    return int(hours)


def forecast(
    database: Database,
    *,
    model: str | None = None,
    cities: Sequence[str] = (),
    at: datetime | None = None,
    horizon: timedelta = timedelta(hours=48),
    processes: int = 1,
    allow_none: bool = False,
    progress: Progress = silent,
) -> ForecastReport:
    """Issue a forecast for each city and keep run, vintage and current prediction.

    A fault in one city costs only that city: see isolation.attempt.

    Only what was available at `at` is seen, and only versions that had learned from nothing later. Where there is
    none, one is trained first. Where something is missing, the forecast is issued from the best rung of the ladder
    that is left, and says so; see pipelines/fallback.py.

    Args:
        model: a name. None: the city's champion at `at`; where it has none, the ensemble, or naive-168 where
            that was better on held-out time.
        at: the moment of issue; now when None.
        horizon: the longest lead time, whole hours up to 168.
        processes: how many cities are forecast at a time; see parallel.each. What is said does not depend on it.
        allow_none: return the report also if not one city could be forecast.

    Raises:
        UnknownModelError, UnknownCityError: a name is not known.
        NotEnoughDataError: not one city could be forecast, and `allow_none` is not set.
        DatabaseError: the database refused.
    """
    started_at = datetime.now(UTC)
    hours = check_horizon(horizon)
    if model is not None:
        check_models([model])
    with database.transaction(Role.FORECASTER) as connection:
        at = check_not_future(at, database_now(connection), "--at")
        chosen = cities_named(connection, cities)
    climb = _Climb(database, model, at, hours, processes, progress)
    climb.issue(chosen, PREFERRED_MODELS if model is None else [model])
    steps: list[tuple[Sequence[str], Sequence[str]]]
    if model is not None:
        steps = [([model], [model])]
    else:
        # The last one is trained, and asked, only where the others cannot be: it forecasts from a week of load
        steps = [
            ([FALLBACK_MODEL, DEFAULT_MODEL], PREFERRED_MODELS),
            ([], [LAST_RESORT_MODEL]),
            ([LAST_RESORT_MODEL], [LAST_RESORT_MODEL]),
        ]
    for to_train, to_ask in steps:
        said = climb.said
        lacking = [city for city in chosen if not (said[city.name].issued or said[city.name].lacks_load)]
        # What cannot be read is not learnt anew while a forecast waits: that takes minutes for each city
        damaged = [city for city in lacking if said[city.name].damaged]
        climb.train(to_train, [city for city in lacking if city not in damaged])
        climb.train([name for name in to_train if name != DEFAULT_MODEL], damaged)
        climb.issue(lacking, to_ask)
    progress("Forecasting", len(chosen), len(chosen))
    made = {name: one.issued for name, one in climb.said.items() if one.issued is not None}
    failed = {name: one.failure for name, one in climb.said.items() if one.issued is None}
    run_ids: dict[UUID, UUID] = defaultdict(uuid4)
    finished_at = datetime.now(UTC)

    def runs_of(names: Collection[str], in_time: bool) -> list[NewRun]:
        parts: dict[UUID, list[tuple[CityForecast, NewForecast]]] = defaultdict(list)
        for name in names:
            model_id, one, new = made[name]
            parts[model_id].append((one, new))
        return [
            NewRun(
                id=run_ids[model_id],
                model_id=model_id,
                purpose="forecast" if in_time else "replay",
                issued_at=at,
                horizon=horizon,
                weather="forecast" if any(one.weather_hours for one, _ in own) else "none",
                quantile_levels=QUANTILE_LEVELS,
                started_at=started_at,
                finished_at=finished_at,
                forecasts=[new for _, new in own],
                status="partial" if failed else "succeeded",
                notes={one.city: one.notes for one, _ in own if one.notes}
                | {city: [why] for city, why in failed.items()},
                rungs={one.city: one.fallback.as_dict() for one, _ in own},
            )
            for model_id, own in parts.items()
        ]

    def write(names: Collection[str], *, trial: bool = False) -> None:
        with database.transaction(Role.FORECASTER, trial=trial) as connection:
            # Now, and not when it began: a training may lie between, and the database asks when it was recorded
            in_time = database_now(connection) - at <= IN_TIME
            stored_forecasts.add_runs(connection, runs_of(names, in_time), interval=INTERVAL)

    if made:
        with database.transaction(Role.FORECASTER) as connection:
            stored_forecasts.ensure_partitions(connection, first=at, last=at)
        written = attempt("Write the forecasts", partial(write, list(made)))
        if isinstance(written, Failed):
            # All together or none, but for the cities whose forecast the database refuses
            for name in made:
                tried = attempt(f"Write the forecast of {name}", partial(write, [name], trial=True))
                if isinstance(tried, Failed):
                    failed[name] = tried.reason
            kept = [name for name in made if name not in failed]
            if len(kept) == len(made):
                raise DatabaseError(written.message, hint=written.hint)
            if kept:
                write(kept)
    if len(failed) == len(chosen) and not allow_none:
        raise NotEnoughDataError(next(iter(failed.values()), "There is no city to forecast."), hint=LOAD_MORE)
    issued = [replace(one, run_id=run_ids[model_id]) for name, (model_id, one, _) in made.items() if name not in failed]
    return ForecastReport(at, horizon, sorted(issued, key=lambda one: one.city), failed)


@dataclass
class _Said:
    """What came of one city: its forecast with the version that made it, and why there is none, or none from higher up.

    reasons: by reason, which of several alike it is: models give the same reason with other numbers.
    """

    issued: tuple[UUID, CityForecast, NewForecast] | None = None
    reasons: dict[str, str | None] = field(default_factory=dict)
    damaged: bool = False
    lacks_load: bool = False

    def because(self, reason: str, *, alike: str | None = None) -> None:
        self.reasons.setdefault(reason, alike)

    def fell(self, failed: Failed) -> None:
        """Note that a version could not forecast."""
        self.lacks_load |= failed.lacks_data
        self.damaged |= not failed.lacks_data
        alike = "lacks data" if failed.lacks_data else "out of range" if failed.out_of_range else None
        self.because(failed.message, alike=alike)

    @property
    def failure(self) -> str:
        """Why there is no forecast: of reasons alike the last, which is that of the model that needs least."""
        last = {alike: reason for reason, alike in self.reasons.items()}
        return " ".join(reason for reason, alike in self.reasons.items() if alike is None or last[alike] == reason)


class _Climb:
    """What has come of each city so far, by name."""

    def __init__(
        self, database: Database, model: str | None, at: datetime, hours: int, processes: int, progress: Progress
    ) -> None:
        self.said: dict[str, _Said] = {}
        self._database, self._model, self._at, self._hours = database, model, at, hours
        self._processes, self._progress = processes, progress

    def issue(self, cities: Sequence[StoredCity], names: Sequence[str]) -> None:
        """Forecasts each city from the highest rung that holds; those that none holds stay without.

        Args:
            names: the models to ask, the best first; where none was asked for, the city's champion comes before them.
        """
        if not cities:
            return
        lone = self._issue(cities, names, _CITIES_AT_ONCE)
        # A batch fails as a whole if its process was killed
        if lone:
            self._issue(lone, names, 1)

    def _issue(self, cities: Sequence[StoredCity], names: Sequence[str], at_once: int) -> list[StoredCity]:
        """As `issue`, in batches. Returns the cities of batches that failed."""
        work = [(city, self.said.get(city.name, _Said())) for city in cities]
        batches = [work[begin : begin + at_once] for begin in range(0, len(work), at_once)]
        issue = partial(_issue_batch, self._database, self._model, self._at, self._hours, names)
        told = Steps(self._progress, "Forecasting", len(cities))
        processes = min(self._processes, len(batches))
        failed: list[StoredCity] = []
        with closing(each(issue, batches, name=_batch_name, processes=processes, steps=told)) as results:
            for batch, said in zip(batches, results, strict=True):
                if isinstance(said, Failed):
                    failed += [city for city, _ in batch]
                    if at_once == 1:
                        self.said.setdefault(batch[0][0].name, _Said()).fell(said)
                else:
                    self.said |= said
        return failed

    def train(self, names: Sequence[str], cities: Sequence[StoredCity]) -> None:
        """Trains models for cities that no version can forecast; what could not be trained is a reason."""
        if not names or not cities:
            return
        report = train(
            self._database,
            models=names,
            cities=[city.name for city in cities],
            until=self._at,
            processes=self._processes,
            allow_none=True,
            progress=self._progress,
        )
        for (city, model), reason in report.failed.items():
            self.said[city].because(reason, alike="lacks data" if (city, model) in report.lacking else None)


def _batch_name(work: Sequence[tuple[StoredCity, _Said]]) -> str:
    return f"Forecast {', '.join(city.name for city, _ in work)}"


def _issue_batch(
    database: Database,
    model: str | None,
    at: datetime,
    hours: int,
    names: Sequence[str],
    work: Sequence[tuple[StoredCity, _Said]],
    step: Step,
) -> dict[str, _Said]:
    with database.transaction(Role.FORECASTER) as connection:
        for city, said in work:
            climbed = attempt(
                f"Forecast {city.name}", partial(_issue_city, connection, model, at, hours, names, city, said)
            )
            if isinstance(climbed, Failed):
                said.fell(climbed)
            step("Forecasting")
    return {city.name: said for city, said in work}


def _issue_city(
    connection: Connection,
    model: str | None,
    at: datetime,
    hours: int,
    names: Sequence[str],
    city: StoredCity,
    said: _Said,
) -> None:
    """Forecast a city by the first version that can; why the others could not is added to `said`."""

    def issue(read: Candidate) -> tuple[UUID, CityForecast, NewForecast] | None:
        with savepoint(connection):
            artifact = read()
            if artifact is None:
                return None
            return _best(connection, city, artifact, model, at, hours, list(said.reasons))

    with savepoint(connection):
        for read in candidates(connection, city, names, at, champion=model is None):
            found = attempt(f"Forecast {city.name}", partial(issue, read))
            if isinstance(found, Failed):
                said.fell(found)
            elif found is not None:
                said.issued = found
                return


def _best(
    connection: Connection,
    city: StoredCity,
    artifact: StoredArtifact,
    model: str | None,
    at: datetime,
    hours: int,
    fell: list[str],
) -> tuple[UUID, CityForecast, NewForecast]:
    """The forecast of a version, or of the naive model where that was better, and the version that it is of."""
    chosen = model is not None or _champion(connection, city, at)
    if not fell and not chosen and artifact.name != DEFAULT_MODEL:
        fell.append(f"{city.name} has no version of {DEFAULT_MODEL}: energy-forecast train")
    one, new = _issue(connection, city, artifact, at, hours, fell)

    def instead() -> tuple[UUID, CityForecast, NewForecast] | None:
        with savepoint(connection):
            better = _better(connection, city, artifact, one)
            if better is None:
                return None
            other, note = better
            forecast, kept = _issue(connection, city, other, at, hours, [])
        forecast.notes.append(note)
        return other.id, forecast, kept

    if model is None and not fell:
        found = attempt(f"Forecast {city.name} by {FALLBACK_MODEL}", instead)
        if found is not None and not isinstance(found, Failed):
            return found
    return artifact.id, one, new


def _champion(connection: Connection, city: StoredCity, at: datetime) -> bool:
    return champions.champion_at(connection, city.id, at) is not None


def _better(
    connection: Connection, city: StoredCity, artifact: StoredArtifact, issued: CityForecast
) -> tuple[StoredArtifact, str] | None:
    """The fallback, with a note that says why, where the default lost to it on held-out time."""
    if artifact.name == FALLBACK_MODEL:
        return None
    head = artifact.training_facts.get("weather" if issued.weather_hours else "plain", {})
    held_out = head.get("held_out", {})
    own, other = held_out.get("mae"), held_out.get("naive_168_mae")
    if own is None or other is None or own <= other:
        return None
    if _champion(connection, city, issued.issued_at):
        # It has proved itself on a backtest
        return None
    fallback = newest_artifact(connection, name=FALLBACK_MODEL, city=city.id, at=issued.issued_at)
    if fallback is None:
        return None
    share = 100 * (own / other - 1)
    return fallback, (
        f"{FALLBACK_MODEL} serves this city: on held-out time the error of {artifact.name} was {share:.0f} % larger."
    )


def _issue(
    connection: Connection, city: StoredCity, artifact: StoredArtifact, at: datetime, hours: int, fell: list[str]
) -> tuple[CityForecast, NewForecast]:
    fitted = load(artifact.name, artifact.artifact)
    known = read_as_of(connection, city, at=at, first=at - timedelta(days=fitted.history_days + 1), horizon_hours=hours)
    made = fitted.forecast(
        known.load, known.weather, known.weather_ahead, issued_at=at + known.shift.by, horizon_hours=hours
    )
    stored_forecasts.check_range(made.frame)
    frame = stored_forecasts.as_stored(known.shift.back(made.frame))
    level = level_of(artifact, weather_hours=made.weather_hours, hours=hours, fell=bool(fell))
    # Old load goes with it all the same, so that the gap can be seen
    shown = at - timedelta(hours=made.stale_hours) - _SHOWN
    notes = list(made.notes)
    if made.weather_ends is not None:
        local = (made.weather_ends - known.shift.by).astimezone(zones.zone(city.timezone))
        notes.append(
            f"From {local:%a %Y-%m-%d %H:%M} ({city.timezone}) on it is without weather: where the weather ends, the "
            "level may jump."
        )
    one = CityForecast(
        city=city.name,
        timezone=city.timezone,
        model=artifact.name,
        version=artifact.version,
        run_id=None,
        issued_at=at,
        weather_hours=made.weather_hours,
        frame=frame,
        history=known.shift.back(_late(known.load, shown)),
        temperature=known.shift.back(_temperature(known, shown)),
        notes=notes,
        fallback=FallbackLevel(
            level,
            made.stale_hours,
            made.weather_hours,
            [*fell, *(notes if level or made.stale_hours >= _STALE_HOURS else [])],
        ),
    )
    return one, NewForecast(city.id, frame, known.shift.back(made.features))


def _late(frame: pl.DataFrame, since: datetime) -> pl.DataFrame:
    """The rows from a moment on. As a part of what is sorted, not by a filter, which takes ten times as long."""
    return frame[int(frame["timestamp"].search_sorted(since)) :]


def _temperature(known: AsOfData, since: datetime) -> pl.DataFrame:
    """What was observed, and where that ends what was forecast."""
    observed = _late(known.weather.select("timestamp", "temperature"), since)
    ahead = known.weather_ahead.select("timestamp", "temperature")
    if not observed.height:
        return _late(ahead, since)
    return observed.vstack(ahead[int(ahead["timestamp"].search_sorted(observed["timestamp"][-1], side="right")) :])
