"""The part of the weather forecast's error in the error of an issued forecast."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from energy_forecast.database import history
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Connection
from energy_forecast.database.forecasts import last_run
from energy_forecast.database.models import artifact_of
from energy_forecast.errors import ArtifactError, NotEnoughDataError
from energy_forecast.forecasting import FittedForecaster, load_model
from energy_forecast.forecasting.explain.weather_share import (
    ErrorParts,
    WeatherShare,
    error_parts,
    split_error,
    weather_share,
)
from energy_forecast.pipelines.as_of import AsOfData, read_as_of
from energy_forecast.pipelines.assumptions import Assumptions

OBSERVED = "The forecast used observed weather, so no part of its error is caused by a weather forecast."
NOT_USED = "The forecast did not use weather, so no part of its error is caused by a weather forecast."
NOT_OBSERVED = (
    "The part of the weather in the error is unknown, because no observed weather of the hours with load is stored. "
    "Load it: energy-forecast ingest weather FILE"
)
# Why a pair of a score has no part of the weather, by the kind of weather of its run
WEATHER_PART_UNKNOWN = {
    "actual": "no part is caused by a weather forecast, because the forecast used observed weather.",
    "none": "no part is caused by a weather forecast, because the forecast did not use weather.",
    "forecast": "the part of the weather is unknown or none. The model does not use weather, or for these hours no "
    "weather was forecast, none is observed, or the inputs of the forecast are not stored any more.",
}
# The last bits of a matrix product depend on the memory alignment of its arrays
SAME_KWH = 0.01
_NO_SHARES = pl.DataFrame(
    schema={
        "timestamp": pl.Datetime("us", "UTC"),
        "predicted": pl.Float64,
        "weather_kwh": pl.Float64,
        "temperature_error": pl.Float64,
    }
)
# Kinds of weather of a run that have an error
_WITH_ERROR = ("forecast", "simulated")


@dataclass(frozen=True)
class ExplainedError:
    """The error of a forecast's hours whose load is known, and the part of the weather in it.

    hours: timestamp, actual, predicted, error_kwh (forecast minus actual), weather_kwh and model_kwh, which add up to
        it, weather_percent (100 * weather_kwh / error_kwh), temperature_error (weather forecast minus observation,
        degrees Celsius). The last four are null in hours that cannot be split.
    parts: of the hours that can be split; None without any.
    statement: why there are no parts; None if there are.
    notes: on hours that cannot be split, and on columns that the weather forecast did not have.
    """

    hours: pl.DataFrame
    parts: ErrorParts | None
    statement: str | None
    notes: list[str]


def explain_error(issued: pl.DataFrame, weather: str, share: WeatherShare | None) -> ExplainedError | None:
    """Return the explained error of a forecast; None if the load of none of its hours is known.

    Args:
        issued: timestamp, predicted, actual (null if unknown).
        weather: the kind of weather of the run.
        share: of this forecast; None if the run used no weather forecast.
    """
    known = issued.drop_nulls("actual").select("timestamp", "actual", "predicted")
    if known.is_empty():
        return None
    columns = ("timestamp", "weather_kwh", "temperature_error")
    shares = _NO_SHARES if share is None else share.hours
    hours = split_error(known.join(shares.select(columns), on="timestamp", how="left", maintain_order="left"))
    parts = error_parts(hours)
    if parts is not None and share is not None:
        return ExplainedError(hours, parts, None, _notes(hours, share))
    if share is not None and share.used:
        return ExplainedError(hours, None, NOT_OBSERVED, [])
    return ExplainedError(hours, None, OBSERVED if weather == "actual" else NOT_USED, [])


def _notes(hours: pl.DataFrame, share: WeatherShare) -> list[str]:
    notes = []
    lacking = hours["weather_kwh"].null_count()
    if lacking:
        notes.append(
            f"{lacking} of {hours.height} hours with load are left out: no weather was forecast for them, or none is "
            "observed."
        )
    if share.added:
        columns = ", ".join(name.replace("_", " ") for name in share.added)
        notes.append(
            f"Missing in the weather forecast, but observed: {columns}. The part of the weather includes their absence."
        )
    return notes


def share_of_run(
    connection: Connection,
    city: StoredCity,
    fitted: FittedForecaster,
    known: AsOfData,
    *,
    weather: str,
    horizon_hours: int,
    now: datetime,
) -> WeatherShare | None:
    """Return the part of the weather in the error of a run's forecast; None if it used no weather forecast.

    Args:
        known: the data that the run used.
        weather: the kind of weather of the run.
        now: the time by which observed weather was available.
    """
    if weather not in _WITH_ERROR:
        return None
    end = known.at + timedelta(hours=horizon_hours + 1)
    observed = history.weather_as_of(
        connection, city.id, as_of=now, first=known.at - timedelta(hours=1), end=end, phase=known.shift.phase
    )
    share = weather_share(fitted, known.forecast_input(horizon_hours), known.shift.to_full_hours(observed))
    return share.moved(known.shift.to_city_hours)


def with_weather_share(
    connection: Connection, city: StoredCity, score: dict[str, Any], pairs: pl.DataFrame, now: datetime
) -> pl.DataFrame:
    """Return pairs of a score with the part of the weather in their errors, in the columns of ExplainedError.hours.

    They are null if the part is unknown. Each issue time costs two forecasts.

    Args:
        score: the stored score.
        pairs: issued_at, timestamp, actual, predicted and other columns.
    """
    moment = pairs.schema["issued_at"]
    shares = [_NO_SHARES.with_columns(issued_at=pl.lit(None, moment))]
    if score["weather"] in _WITH_ERROR:
        try:
            artifact = artifact_of(connection, model=score["model_id"], city=city.id)
            assert artifact is not None
            fitted = load_model(artifact.name, artifact.artifact)
            for at in pairs["issued_at"].unique().sort():
                share = _share_of_issue(connection, city, score, fitted, at, now)
                if share is not None:
                    shares.append(share.hours.with_columns(issued_at=pl.lit(at).cast(moment)))
        except ArtifactError:
            # The model was trained by another version of the program
            shares = shares[:1]
    key = ["issued_at", "timestamp"]
    both = pairs.join(pl.concat(shares), on=key, how="left", maintain_order="left", suffix="_again")
    # Another run of the same issue time has other values
    same = (pl.col("predicted_again") - pl.col("predicted")).abs() <= SAME_KWH
    return split_error(
        both.with_columns(pl.when(same).then(name).alias(name) for name in ("weather_kwh", "temperature_error")).drop(
            "predicted_again"
        )
    )


def _share_of_issue(
    connection: Connection,
    city: StoredCity,
    score: dict[str, Any],
    fitted: FittedForecaster,
    at: datetime,
    now: datetime,
) -> WeatherShare | None:
    """Return the part of the weather in the error of one scored forecast; None if it cannot be computed."""
    run = last_run(
        connection,
        city=city.id,
        at=at,
        purposes=[score["purpose"]],
        model_id=score["model_id"],
        recorded_by=score["created_at"],
    )
    if run is None or run["issued_at"] != at:
        return None
    hours = run["horizon"] // timedelta(hours=1)
    try:
        known = read_as_of(
            connection,
            city,
            at=at,
            first=at - timedelta(days=fitted.history_days + 1),
            horizon_hours=hours,
            weather=run["weather"],
            actual_as_of=run["created_at"],
            recorded_by=run["created_at"],
            assumptions=Assumptions.of(run["assumptions"]),
        )
        return share_of_run(connection, city, fitted, known, weather=run["weather"], horizon_hours=hours, now=now)
    except NotEnoughDataError:
        # Retention removed the load or the weather forecasts
        return None
