"""Issue forecasts from the data known at a moment, and store them with that moment."""

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
from energy_forecast.forecasting import QUANTILE_LEVELS, ForecastInput, load_model
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
# A forecast issued later than this is a replay; the database refuses it as a live forecast after 3 hours
IN_TIME = timedelta(hours=2)
# Length of the history shown with a forecast
_SHOWN = timedelta(days=28)
_CITIES_AT_ONCE = 20
LOAD_MORE = "Load more consumption (energy-forecast ingest consumption FILE), or choose an earlier `at`."


@dataclass(frozen=True)
class CityForecast:
    """The issued forecast of a city.

    fallback: the model level and the inputs it was made from.
    frame: timestamp (UTC), predicted, q05 .. q95, kWh in the hour.
    history: timestamp, consumption_kwh: the known load of the last weeks.
    temperature: timestamp, temperature (degrees Celsius): observed up to the issue time, forecast after it;
        empty for a city without weather.
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
    """The issued forecasts. `failed` maps a city to the reason."""

    issued_at: datetime
    horizon: timedelta
    forecasts: list[CityForecast]
    failed: dict[str, str] = field(default_factory=dict)


def check_horizon(horizon: timedelta) -> int:
    """Return the horizon in hours.

    Raises:
        EnergyForecastError: the horizon is not a whole number of hours from 1 to 168.
    """
    hours = horizon / timedelta(hours=1)
    if hours != int(hours) or not timedelta(0) < horizon <= LONGEST_HORIZON:
        raise EnergyForecastError("`horizon` must be a whole number of hours from 1h to 168h.")
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
    """Issue a forecast for each city and store the run, the vintage and the current prediction.

    A failure in one city does not affect the others: see isolation.attempt.

    Only data available at `at` is used, and only model versions trained on such data. A missing model is trained first.
    If an input is missing, the best remaining fallback level issues the forecast and reports it; see fallback.py.

    Args:
        model: a name. None: the champion of the city at `at`; without a champion, the ensemble, or naive-168 if it was
            better on held-out data.
        at: the issue time; None for now.
        horizon: the longest lead time, whole hours up to 168.
        processes: number of cities to forecast at a time; see parallel.each. The forecasts do not depend on it.
        allow_none: return the report even if no city could be forecast.

    Raises:
        UnknownModelError, UnknownCityError: a name is unknown.
        NotEnoughDataError: no city could be forecast, and `allow_none` is false.
        DatabaseError: the database refused the request.
    """
    started_at = datetime.now(UTC)
    hours = check_horizon(horizon)
    if model is not None:
        check_models([model])
    with database.transaction(Role.FORECASTER) as connection:
        at = check_not_future(at, database_now(connection), "`at`")
        chosen = cities_named(connection, cities)
    run = _FallbackRun(database, model, at, hours, processes, progress)
    run.issue(chosen, PREFERRED_MODELS if model is None else [model])
    steps: list[tuple[Sequence[str], Sequence[str]]]
    if model is not None:
        steps = [([model], [model])]
    else:
        # The last-resort model is trained and used only if the others cannot be: it needs a week of load
        steps = [
            ([FALLBACK_MODEL, DEFAULT_MODEL], PREFERRED_MODELS),
            ([], [LAST_RESORT_MODEL]),
            ([LAST_RESORT_MODEL], [LAST_RESORT_MODEL]),
        ]
    for to_train, to_try in steps:
        outcomes = run.outcomes
        lacking = [city for city in chosen if not (outcomes[city.name].issued or outcomes[city.name].lacks_load)]
        # An unreadable model is not trained again while a forecast waits: that takes minutes for each city
        damaged = [city for city in lacking if outcomes[city.name].damaged]
        run.train(to_train, [city for city in lacking if city not in damaged])
        run.train([name for name in to_train if name != DEFAULT_MODEL], damaged)
        run.issue(lacking, to_try)
    progress("Forecasting", len(chosen), len(chosen))
    made = {name: one.issued for name, one in run.outcomes.items() if one.issued is not None}
    failed = {name: one.failure for name, one in run.outcomes.items() if one.issued is None}
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
                purpose="live" if in_time else "replay",
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
                fallback_levels={one.city: one.fallback.as_dict() for one, _ in own},
            )
            for model_id, own in parts.items()
        ]

    def write(names: Collection[str], *, trial: bool = False) -> None:
        with database.transaction(Role.FORECASTER, trial=trial) as connection:
            # At the time of writing: training may have taken long, and the database compares the recording time
            in_time = database_now(connection) - at <= IN_TIME
            stored_forecasts.add_runs(connection, runs_of(names, in_time), interval=INTERVAL)

    if made:
        with database.transaction(Role.FORECASTER) as connection:
            stored_forecasts.ensure_partitions(connection, first=at, last=at)
        written = attempt("Write the forecasts", partial(write, list(made)))
        if isinstance(written, Failed):
            # One transaction for all, without the cities whose forecast the database refuses
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
        raise NotEnoughDataError(next(iter(failed.values()), "No city to forecast."), hint=LOAD_MORE)
    issued = [replace(one, run_id=run_ids[model_id]) for name, (model_id, one, _) in made.items() if name not in failed]
    return ForecastReport(at, horizon, sorted(issued, key=lambda one: one.city), failed)


@dataclass
class _CityOutcome:
    """Outcome for one city: its forecast with the model version, and the reasons against better levels.

    reasons: maps each reason to its group: models give the same reason with different numbers.
    """

    issued: tuple[UUID, CityForecast, NewForecast] | None = None
    reasons: dict[str, str | None] = field(default_factory=dict)
    damaged: bool = False
    lacks_load: bool = False

    def add_reason(self, reason: str, *, group: str | None = None) -> None:
        """Add the reason why a level could not be used."""
        self.reasons.setdefault(reason, group)

    def add_failure(self, failed: Failed) -> None:
        """Add the failure of a version."""
        self.lacks_load |= failed.lacks_data
        self.damaged |= not failed.lacks_data
        group = "lacks data" if failed.lacks_data else "out of range" if failed.out_of_range else None
        self.add_reason(failed.message, group=group)

    @property
    def failure(self) -> str:
        """The reasons for a missing forecast. Of each group only the last, from the model that needs the least data."""
        last = {group: reason for reason, group in self.reasons.items()}
        return " ".join(reason for reason, group in self.reasons.items() if group is None or last[group] == reason)


class _FallbackRun:
    """One pass through the fallback levels for many cities, with the outcome of each city so far."""

    def __init__(
        self, database: Database, model: str | None, at: datetime, hours: int, processes: int, progress: Progress
    ) -> None:
        self.outcomes: dict[str, _CityOutcome] = {}
        self._database, self._model, self._at, self._hours = database, model, at, hours
        self._processes, self._progress = processes, progress

    def issue(self, cities: Sequence[StoredCity], names: Sequence[str]) -> None:
        """Forecast each city from the best level that works.

        Args:
            names: the models to try, the best first. Without a requested model, the champion of the city comes first.
        """
        if not cities:
            return
        lone = self._issue(cities, names, _CITIES_AT_ONCE)
        # A batch fails as a whole if its process was killed
        if lone:
            self._issue(lone, names, 1)

    def _issue(self, cities: Sequence[StoredCity], names: Sequence[str], at_once: int) -> list[StoredCity]:
        """Issue forecasts in batches, and return the cities of failed batches."""
        work = [(city, self.outcomes.get(city.name, _CityOutcome())) for city in cities]
        batches = [work[begin : begin + at_once] for begin in range(0, len(work), at_once)]
        issue = partial(_issue_batch, self._database, self._model, self._at, self._hours, names)
        steps = Steps(self._progress, "Forecasting", len(cities))
        processes = min(self._processes, len(batches))
        failed: list[StoredCity] = []
        with closing(each(issue, batches, name=_batch_name, processes=processes, steps=steps)) as results:
            for batch, outcomes in zip(batches, results, strict=True):
                if isinstance(outcomes, Failed):
                    failed += [city for city, _ in batch]
                    if at_once == 1:
                        self.outcomes.setdefault(batch[0][0].name, _CityOutcome()).add_failure(outcomes)
                else:
                    self.outcomes |= outcomes
        return failed

    def train(self, names: Sequence[str], cities: Sequence[StoredCity]) -> None:
        """Train models for cities without a usable version. A failed training becomes a reason."""
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
            self.outcomes[city].add_reason(reason, group="lacks data" if (city, model) in report.lacking else None)


def _batch_name(work: Sequence[tuple[StoredCity, _CityOutcome]]) -> str:
    return f"Forecast {', '.join(city.name for city, _ in work)}"


def _issue_batch(
    database: Database,
    model: str | None,
    at: datetime,
    hours: int,
    names: Sequence[str],
    work: Sequence[tuple[StoredCity, _CityOutcome]],
    step: Step,
) -> dict[str, _CityOutcome]:
    with database.transaction(Role.FORECASTER) as connection:
        for city, outcome in work:
            done = attempt(
                f"Forecast {city.name}", partial(_issue_city, connection, model, at, hours, names, city, outcome)
            )
            if isinstance(done, Failed):
                outcome.add_failure(done)
            step("Forecasting")
    return {city.name: outcome for city, outcome in work}


def _issue_city(
    connection: Connection,
    model: str | None,
    at: datetime,
    hours: int,
    names: Sequence[str],
    city: StoredCity,
    outcome: _CityOutcome,
) -> None:
    """Forecast a city with the first usable version, and add the failures of the others to `outcome`."""

    def issue(read: Candidate) -> tuple[UUID, CityForecast, NewForecast] | None:
        with savepoint(connection):
            artifact = read()
            if artifact is None:
                return None
            return _best(connection, city, artifact, model, at, hours, list(outcome.reasons))

    with savepoint(connection):
        for read in candidates(connection, city, names, at, champion=model is None):
            found = attempt(f"Forecast {city.name}", partial(issue, read))
            if isinstance(found, Failed):
                outcome.add_failure(found)
            elif found is not None:
                outcome.issued = found
                return


def _best(
    connection: Connection,
    city: StoredCity,
    artifact: StoredArtifact,
    model: str | None,
    at: datetime,
    hours: int,
    reasons: list[str],
) -> tuple[UUID, CityForecast, NewForecast]:
    """Return the forecast of a version, or of the naive model if that was better, with the id of its version."""
    chosen = model is not None or _champion(connection, city, at)
    if not reasons and not chosen and artifact.name != DEFAULT_MODEL:
        reasons.append(f"{city.name} has no version of {DEFAULT_MODEL}: energy-forecast train")
    one, new = _issue(connection, city, artifact, at, hours, reasons)

    def instead() -> tuple[UUID, CityForecast, NewForecast] | None:
        with savepoint(connection):
            better = _better(connection, city, artifact, one)
            if better is None:
                return None
            other, note = better
            forecast, kept = _issue(connection, city, other, at, hours, [])
        forecast.notes.append(note)
        return other.id, forecast, kept

    if model is None and not reasons:
        found = attempt(f"Forecast {city.name} by {FALLBACK_MODEL}", instead)
        if found is not None and not isinstance(found, Failed):
            return found
    return artifact.id, one, new


def _champion(connection: Connection, city: StoredCity, at: datetime) -> bool:
    return champions.champion_at(connection, city.id, at) is not None


def _better(
    connection: Connection, city: StoredCity, artifact: StoredArtifact, issued: CityForecast
) -> tuple[StoredArtifact, str] | None:
    """Return the fallback model with a note if the given model was worse than it on held-out data, else None."""
    if artifact.name == FALLBACK_MODEL:
        return None
    variant = artifact.training_facts.get("with_weather" if issued.weather_hours else "without_weather", {})
    held_out = variant.get("held_out", {})
    own, other = held_out.get("mae"), held_out.get("naive_168_mae")
    if own is None or other is None or own <= other:
        return None
    if _champion(connection, city, issued.issued_at):
        # A champion has already won on a backtest
        return None
    fallback = newest_artifact(connection, name=FALLBACK_MODEL, city=city.id, at=issued.issued_at)
    if fallback is None:
        return None
    share = 100 * (own / other - 1)
    return fallback, (
        f"{FALLBACK_MODEL} serves this city: on held-out data the error of {artifact.name} was {share:.0f} % larger."
    )


def _issue(
    connection: Connection, city: StoredCity, artifact: StoredArtifact, at: datetime, hours: int, reasons: list[str]
) -> tuple[CityForecast, NewForecast]:
    fitted = load_model(artifact.name, artifact.artifact)
    known = read_as_of(connection, city, at=at, first=at - timedelta(days=fitted.history_days + 1), horizon_hours=hours)
    data = ForecastInput(known.load, known.weather, known.weather_ahead, at + known.shift.offset, hours)
    made = fitted.predict(data)
    stored_forecasts.check_range(made.frame)
    frame = stored_forecasts.as_stored(known.shift.to_city_hours(made.frame))
    level = level_of(artifact, weather_hours=made.weather_hours, hours=hours, fell_back=bool(reasons))
    # Old load is included, so that the gap is visible
    shown = at - timedelta(hours=made.stale_hours) - _SHOWN
    notes = list(made.notes)
    if made.weather_ends is not None:
        local = (made.weather_ends - known.shift.offset).astimezone(zones.zone(city.timezone))
        notes.append(
            f"From {local:%a %Y-%m-%d %H:%M} ({city.timezone}) on, the forecast does not use weather. Its "
            "level may change abruptly there."
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
        history=known.shift.to_city_hours(_late(known.load, shown)),
        temperature=known.shift.to_city_hours(_temperature(known, shown)),
        notes=notes,
        fallback=FallbackLevel(
            level,
            made.stale_hours,
            made.weather_hours,
            [*reasons, *(notes if level or made.stale_hours >= _STALE_HOURS else [])],
        ),
    )
    return one, NewForecast(city.id, frame, known.shift.to_city_hours(made.features))


def _late(frame: pl.DataFrame, since: datetime) -> pl.DataFrame:
    """Return the rows from a time on. A binary search of the sorted frame is ten times as fast as a filter."""
    return frame[int(frame["timestamp"].search_sorted(since)) :]


def _temperature(known: AsOfData, since: datetime) -> pl.DataFrame:
    """Return the observed temperature, followed by the forecast temperature."""
    observed = _late(known.weather.select("timestamp", "temperature"), since)
    ahead = known.weather_ahead.select("timestamp", "temperature")
    if not observed.height:
        return _late(ahead, since)
    return observed.vstack(ahead[int(ahead["timestamp"].search_sorted(observed["timestamp"][-1], side="right")) :])
