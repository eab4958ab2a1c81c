"""Issue forecasts from the data known at a moment, and store them with that moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

from energy_forecast.database import forecasts as stored_forecasts
from energy_forecast.database.cities import StoredCity, cities_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Database, Role
from energy_forecast.database.forecasts import NewForecast, NewRun
from energy_forecast.errors import DatabaseError, NotEnoughDataError
from energy_forecast.event_log import log_run
from energy_forecast.forecasting import QUANTILE_LEVELS
from energy_forecast.pipelines.fallback import (
    DEFAULT_MODEL,
    FALLBACK_MODEL,
    LAST_RESORT_MODEL,
    PREFERRED_MODELS,
    CityForecast,
    CityOutcome,
    ForecastRequest,
    issue_batch,
)
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.pipelines.parallel import each
from energy_forecast.pipelines.train import check_models, check_not_future, train
from energy_forecast.progress import Progress, Steps, silent
from energy_forecast.time_arguments import read_horizon

# A forecast issued later than this is a replay; the database refuses it as a live forecast after 3 hours
IN_TIME = timedelta(hours=2)
_CITIES_AT_ONCE = 20


@dataclass(frozen=True)
class ForecastReport:
    """The issued forecasts. `failed` maps a city to the reason."""

    issued_at: datetime
    horizon: timedelta
    forecasts: list[CityForecast]
    failed: dict[str, str] = field(default_factory=dict)


@log_run(
    "forecast",
    lambda report: {
        "issued_at": report.issued_at.isoformat(),
        "forecasts": len(report.forecasts),
        "failed": len(report.failed),
    },
    failed=lambda report: report.failed,
)
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
    hours = read_horizon(horizon) // timedelta(hours=1)
    if model is not None:
        check_models([model])
    with database.transaction(Role.FORECASTER) as connection:
        at = check_not_future(at, database_now(connection), "`at`")
        chosen = cities_named(connection, cities)
    outcomes = _issue_all(database, ForecastRequest(model, at, hours), chosen, processes, progress)
    progress("Forecasting", len(chosen), len(chosen))
    made = [one.issued for one in outcomes if one.issued is not None]
    failed = {one.city.name: one.failure for one in outcomes if one.issued is None}
    written, refused = _write(database, made, failed, horizon, started_at) if made else ([], {})
    failed |= refused
    if len(failed) == len(chosen) and not allow_none:
        raise NotEnoughDataError(next(iter(failed.values()), "No city to forecast."))
    return ForecastReport(at, horizon, sorted(written, key=lambda one: one.city), failed)


def _issue_all(
    database: Database, request: ForecastRequest, cities: Sequence[StoredCity], processes: int, progress: Progress
) -> list[CityOutcome]:
    """Forecast each city from the best fallback level that works; train missing models in between."""
    outcomes = {city.name: CityOutcome(city) for city in cities}
    issue = partial(_issue, database, request, outcomes, processes, progress)

    def train_models(names: Sequence[str], untrained: Sequence[CityOutcome]) -> None:
        if not names or not untrained:
            return
        report = train(
            database,
            models=names,
            cities=[one.city.name for one in untrained],
            until=request.at,
            processes=processes,
            allow_none=True,
            progress=progress,
        )
        for (city, name), reason in report.failed.items():
            outcomes[city].add_reason(reason, group="lacks data" if (city, name) in report.lacking else None)

    # Pairs of models to train and models to try
    steps: list[tuple[Sequence[str], Sequence[str]]]
    if request.model is not None:
        steps = [([], [request.model]), ([request.model], [request.model])]
    else:
        # The last-resort model is trained and used only if the others cannot be: it needs a week of load
        steps = [
            ([], PREFERRED_MODELS),
            ([FALLBACK_MODEL, DEFAULT_MODEL], PREFERRED_MODELS),
            ([], [LAST_RESORT_MODEL]),
            ([LAST_RESORT_MODEL], [LAST_RESORT_MODEL]),
        ]
    for to_train, to_try in steps:
        lacking = [one for one in outcomes.values() if one.issued is None and not one.lacks_load]
        # An unreadable model is not trained again while a forecast waits: that takes minutes for each city
        train_models(to_train, [one for one in lacking if not one.damaged])
        train_models([name for name in to_train if name != DEFAULT_MODEL], [one for one in lacking if one.damaged])
        issue(to_try, [one.city.name for one in lacking])
    return list(outcomes.values())


def _issue(
    database: Database,
    request: ForecastRequest,
    outcomes: dict[str, CityOutcome],
    processes: int,
    progress: Progress,
    names: Sequence[str],
    cities: Sequence[str],
) -> None:
    """Forecast cities in batches, and update their outcomes. A batch whose process was killed is repeated by city."""
    for at_once in (_CITIES_AT_ONCE, 1):
        if not cities:
            return
        batches = [[outcomes[name] for name in cities[i : i + at_once]] for i in range(0, len(cities), at_once)]
        steps = Steps(progress, "Forecasting", len(cities))
        issue = partial(issue_batch, database, request, names)
        killed: list[str] = []
        with closing(
            each(issue, batches, name=_batch_name, processes=min(processes, len(batches)), steps=steps)
        ) as results:
            for batch, found in zip(batches, results, strict=True):
                if not isinstance(found, Failed):
                    outcomes |= {one.city.name: one for one in found}
                elif at_once == 1:
                    batch[0].add_failure(found)
                else:
                    killed += [one.city.name for one in batch]
        cities = killed


def _batch_name(batch: Sequence[CityOutcome]) -> str:
    return f"Forecast {', '.join(one.city.name for one in batch)}"


def _write(
    database: Database,
    made: Sequence[CityForecast],
    failed: dict[str, str],
    horizon: timedelta,
    started_at: datetime,
) -> tuple[list[CityForecast], dict[str, str]]:
    """Store the forecasts in one transaction, without the cities whose forecast the database refuses.

    Returns:
        The stored forecasts, and the reason of each refused city.

    Raises:
        DatabaseError: the database refused them all.
    """
    at, finished_at = made[0].issued_at, datetime.now(UTC)
    run_ids: dict[UUID, UUID] = defaultdict(uuid4)

    def run(model_id: UUID, part: Sequence[CityForecast], purpose: str) -> NewRun:
        lacking = failed | refused
        return NewRun(
            id=run_ids[model_id],
            model_id=model_id,
            purpose=purpose,
            issued_at=at,
            horizon=horizon,
            weather="forecast" if any(one.fallback.weather_hours for one in part) else "none",
            quantile_levels=QUANTILE_LEVELS,
            started_at=started_at,
            finished_at=finished_at,
            forecasts=[NewForecast(one.city_id, one.frame) for one in part],
            status="partial" if lacking else "succeeded",
            notes={one.city: one.notes for one in part if one.notes} | {city: [why] for city, why in lacking.items()},
            fallback_levels={one.city: one.fallback.as_dict() for one in part},
        )

    def write(part: Sequence[CityForecast], *, trial: bool = False) -> list[CityForecast]:
        by_version: dict[UUID, list[CityForecast]] = defaultdict(list)
        for one in part:
            by_version[one.model_id].append(one)
        with database.transaction(Role.FORECASTER, trial=trial) as connection:
            # At the time of writing: training may have taken long, and the database compares the recording time
            purpose = "live" if database_now(connection) - at <= IN_TIME else "replay"
            runs = [run(model_id, own, purpose) for model_id, own in by_version.items()]
            stored_forecasts.add_runs(connection, runs)
        return [replace(one, run_id=run_ids[one.model_id]) for one in part]

    refused: dict[str, str] = {}
    with database.transaction(Role.FORECASTER) as connection:
        stored_forecasts.ensure_partitions(connection, first=at, last=at)
    written = attempt("Write the forecasts", partial(write, made))
    if not isinstance(written, Failed):
        return written, refused
    for one in made:
        tried = attempt(f"Write the forecast of {one.city}", partial(write, [one], trial=True))
        if isinstance(tried, Failed):
            refused[one.city] = tried.reason
    kept = [one for one in made if one.city not in refused]
    if len(kept) == len(made):
        raise DatabaseError(written.message, hint=written.hint)
    return write(kept) if kept else [], refused
