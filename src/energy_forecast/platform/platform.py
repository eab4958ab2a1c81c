"""The platform as one object: the functions of the command line for Python programs and notebooks."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl

from energy_forecast import pipelines
from energy_forecast.database import Database, Role
from energy_forecast.database.cities import city_named
from energy_forecast.database.clock import database_now
from energy_forecast.errors import EnergyForecastError, IngestError
from energy_forecast.forecasting import City
from energy_forecast.ingest import CityReport, Report, add_city, check_city, import_cities
from energy_forecast.pipelines.as_of import BEGINNING, Weather, forecasting_city, read_as_of
from energy_forecast.pipelines.assumptions import weather_error_choice
from energy_forecast.pipelines.train import check_not_future
from energy_forecast.platform import arguments
from energy_forecast.platform.arguments import (
    Frame,
    Moment,
    Names,
    Source,
    Span,
    as_polars,
    checked,
    moment,
    names,
    optional_moment,
    span,
)
from energy_forecast.platform.forecast import Forecast, forecast_of
from energy_forecast.platform.opening import reading_lag, refuse_restored_copy
from energy_forecast.platform.reader import Reader
from energy_forecast.platform.table import Table

_log = logging.getLogger(__name__)
# Seconds after which the lag of the standby is looked up again
_LAG_KNOWN_FOR = 60.0


@dataclass(frozen=True)
class Backtest:
    """The result of a backtest.

    Attributes:
        pairs: each forecast with its actual: `model`, `city`, `issued_at`, `timestamp`, `actual`, `predicted`, `q05` to
            `q95`, kWh in the hour. `actual` is null if it is unknown or faulty.
        scores: the columns of `Platform.scores`, a row for each city and model.
        failed: the reason for each city and model without a complete backtest.
        assumptions: by city, the delay of the load (`load_delay_minutes`, `load_delay_source`) and the errors of
            simulated weather forecasts (`weather_errors`).
        weather_hours: by city, the number of hours that were `forecast`, and of those forecast `with_weather`.
    """

    pairs: pl.DataFrame
    scores: pl.DataFrame
    failed: dict[tuple[str, str], str]
    assumptions: dict[str, dict[str, Any]]
    weather_hours: dict[str, dict[str, int]]


class Platform(Reader):
    """A database with its cities, data, models, forecasts and scores. `connect` returns it.

    Its calls take connections from a pool of at most ten, so threads can share a platform; each process has its own
    connections. Nothing of a call stays in a connection. In a `with` statement the platform is closed at the end.

    With ENERGY_FORECAST_READ_URL, calls that only read use that standby until the first call that writes.

    Times are aware datetimes or ISO 8601 text with an offset. Spans are timedeltas or text such as 90min, 48h or 30d.
    Every method raises a subclass of EnergyForecastError.

    Examples:
        >>> with ef.connect() as db:
        ...     db.forecast("Munich").frame
    """

    def __init__(self, database: Database, standby: Database | None = None) -> None:
        self._database: Database | None = database.pooled()
        self._standby = None if standby is None else standby.pooled()
        self._lag_known_at = -_LAG_KNOWN_FOR
        # Also at the end of the program, if nobody calls `close`
        self._ends = [weakref.finalize(self, one.close) for one in (self._database, self._standby) if one is not None]

    def close(self) -> None:
        """Close the connections and end the use of this object. The database continues to run."""
        self._database = None
        for end in self._ends:
            end()

    def __enter__(self) -> Platform:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._database is None:
            return "<Platform, closed>"
        found = self._database.parameters()
        return f"<Platform on the database {self._database.name} of {found.get('host') or 'localhost'}>"

    def _primary(self) -> Database:
        if self._database is None:
            raise EnergyForecastError("This platform is closed.", hint="Call connect() again.")
        return self._database

    def _reading(self) -> Database:
        """Return the standby until the first write, so that a program reads what it has written."""
        primary = self._primary()
        # Another thread may write, and remove it, at any time
        standby = self._standby
        if standby is None:
            return primary
        if time.monotonic() - self._lag_known_at > _LAG_KNOWN_FOR:
            if (warning := reading_lag(standby).warning) is not None:
                _log.warning(warning)
            self._lag_known_at = time.monotonic()
        return standby

    def _writing(self) -> Database:
        database = self._primary()
        refuse_restored_copy(database)
        self._standby = None
        return database

    @checked
    def add_city(
        self,
        name: str,
        *,
        latitude: float,
        longitude: float,
        timezone: str,
        country: str | None = None,
        subdivision: str | None = None,
    ) -> City:
        """Add a city. To repeat the call changes nothing.

        Args:
            name: the name of the city in all calls and files.
            latitude: degrees north.
            longitude: degrees east.
            timezone: IANA zone, such as Europe/Berlin.
            country: ISO 3166-1 code such as DE, or the name of the country; for public holidays.
            subdivision: ISO 3166-2 part such as BY, or its name; for regional holidays.

        Returns:
            The city as stored.

        Raises:
            IngestError: a value is invalid, or another city has this name.

        Examples:
            >>> db.add_city("Munich", latitude=48.14, longitude=11.58, timezone="Europe/Berlin", country="DE")
        """
        given = check_city(
            name=name,
            latitude=latitude,
            longitude=longitude,
            timezone=timezone,
            country_code=country,
            subdivision=subdivision,
        )
        add_city(self._writing(), given)
        with self._reading().transaction(Role.INGEST) as connection:
            return forecasting_city(city_named(connection, given["name"]))

    @checked
    def import_cities(self, source: Frame | str | Path, *, update: bool = False) -> CityReport:
        """Add the cities of a frame or a file, and correct stored ones.

        Args:
            source: name, latitude, longitude, timezone, and optionally country_code and subdivision; as in `add_city`.
            update: also move stored cities to another time zone, country or place more than 25 km away, with all their
                data. Without it their rows are rejected.

        Returns:
            The report: counts of rows (read, inserted, updated, unchanged, rejected).

        Raises:
            IngestError: nothing could be loaded.

        Examples:
            >>> db.import_cities("cities.csv").inserted
            12
        """
        table = Path(source) if isinstance(source, str | Path) else as_polars(source, "source")
        report = import_cities(self._writing(), table, update=update)
        if report.failure is not None:
            raise IngestError(report.failure)
        return report

    def _read(self, reading: str, **parameters: Any) -> Table:
        """Return the table of a reading, with the rights of the operator, or of the login if it is a user."""
        from energy_forecast.readings.catalog import READINGS
        from energy_forecast.readings.parameters import check_bounds

        given = {name: value for name, value in parameters.items() if value is not None}
        for name, value in given.items():
            check_bounds(name, value)
        with self._reading().reading() as connection:
            found = READINGS[reading].read(connection, **given)
        return Table(found.frame, found.facts)

    @checked
    def ingest(
        self,
        dataset: str,
        source: Source,
        *,
        timezone: str | None = None,
        interval_minutes: int | None = None,
        label: str | None = None,
        units: Mapping[str, str] | None = None,
        check: bool | None = None,
    ) -> Report:
        """Load a frame or files as one batch. The same data again changes nothing; a changed value is a correction.

        Args:
            dataset: "consumption": city, timestamp, consumption_kwh, and optionally peak_demand_kw, available_at,
                interval_minutes. "weather": city, timestamp, temperature, and optionally humidity, wind_speed,
                precipitation, available_at, interval_minutes. "weather-forecasts": city, issued_at, timestamp,
                temperature, and optionally humidity, wind_speed, precipitation.
            source: a frame of polars, pandas, pyarrow or another library with the Arrow PyCapsule interface; or the
                path of a CSV, CSV.gz or Parquet file, or several.
            timezone: how to read timestamps without an offset: an IANA zone, or "city" for the zone of each city. None
                rejects their rows.
            interval_minutes: length of the intervals, a divisor of 60. None infers it from the timestamps.
            label: the end of the interval that a timestamp names, "start" or "end".
            units: other units than kWh, kW, degrees Celsius and percent, such as {"energy": "MWh"}.
            check: whether to check the loaded data for faults. None checks as many cities as a tenth of the time of
                the load allows. The others wait for the command `energy-forecast maintain checks`, as do all if False.

        Returns:
            The report: counts of rows (read, inserted, corrected, unchanged, rejected), and notes with found faults
            and the number of cities whose check waits.

        Raises:
            IngestError: nothing could be loaded.

        Examples:
            >>> report = db.ingest("consumption", frame)
            >>> report.inserted, report.rejected
            (8760, 0)
        """
        database = self._writing()
        if isinstance(source, str | Path):
            source = [source]
        report, checks = pipelines.load_and_check(
            database,
            dataset,
            [Path(path) for path in source] if isinstance(source, Sequence) else as_polars(source, "source"),
            check=check,
            timezone=timezone,
            interval_minutes=interval_minutes,
            label=label,
            units=[f"{quantity}={unit}" for quantity, unit in (units or {}).items()],
        )
        if report.failure is not None:
            raise IngestError(report.failure)
        faults = [*map(str, checks.warned), *(f"{city}: not checked: {why}" for city, why in checks.failed.items())]
        waiting = [checks.pending_note] if checks.pending else []
        return replace(report, notes=(*report.notes, *faults, *waiting))

    @checked
    def train(
        self,
        cities: Names = (),
        *,
        models: Names = (),
        until: Moment | None = None,
        processes: int = 1,
    ) -> pipelines.TrainingReport:
        """Train models and store them as new versions. Without new data, the stored version is kept.

        Args:
            cities: names; all if empty.
            models: names; all if empty.
            until: use only data available by then. None for now.
            processes: number of cities to train at a time. More than one requires a program with
                `if __name__ == "__main__"`.

        Returns:
            The report: `trained` with versions and held-out scores, and `failed` with reasons by city and model.

        Raises:
            NotEnoughDataError: no model could be trained.
            UnknownCityError: no city has this name. UnknownModelError for a model.

        Examples:
            >>> db.train("Munich", models="ensemble")
        """
        until = optional_moment(until, "until")
        return pipelines.train(
            self._writing(), models=names(models), cities=names(cities), until=until, processes=processes
        )

    @checked
    def forecast(
        self, city: str, *, horizon: Span = "48h", model: str | None = None, at: Moment | None = None
    ) -> Forecast:
        """Issue a forecast for a city, and store it. A missing model is trained first.

        Args:
            city: name of the city.
            horizon: longest lead time, whole hours up to 168h.
            model: name of the model. None for the champion of the city, or else the ensemble, or naive-168 if that was
                better on held-out data.
            at: issue as if at this time, from the data available then. None for now.

        Raises:
            UnknownCityError: no city has this name. UnknownModelError for a model.
            NotEnoughDataError: there is no load to forecast from.

        Examples:
            >>> db.forecast("Munich", horizon="48h").plot()
        """
        longest, at = arguments.horizon(horizon), optional_moment(at, "at")
        report = pipelines.forecast(self._writing(), model=model, cities=[city], at=at, horizon=longest)
        return forecast_of(report.forecasts[0])

    @checked
    def backtest(
        self,
        models: Names,
        *,
        start: Moment,
        end: Moment,
        cities: Names = (),
        every: Span = "24h",
        at_local: str | None = None,
        horizon: Span = "24h",
        refit: Span | None = None,
        weather: Weather = "forecast",
        weather_error: str | Path | None = None,
        weather_columns: Names = (),
        load_delay: Span | None = None,
        processes: int = 1,
    ) -> Backtest:
        """Forecast at past times from the data known then, and store and score the forecasts.

        Args:
            models: names of the models to compare.
            start: first issue time; models are fitted on data known then.
            end: issue times are before this.
            cities: names; all if empty.
            every: time between issues.
            at_local: issue at this local time of each city, such as "00:00"; `every` is then a number of days.
            horizon: longest lead time, whole hours up to 168h.
            refit: time between two fits. None for one fit.
            weather: weather of the target hours: "forecast" as known at the issue, "none", "actual", which looks
                ahead as if weather forecasts were perfect, or "simulated": observed weather plus random errors.
            weather_error: errors of the simulated weather forecasts by lead time: "default", "measured" (those of the
                weather forecasts known at `start`), or a CSV file with `lead_hours`, `temperature` and optionally
                `humidity`, `wind_speed` and `precipitation`. None: measured if a city has enough, otherwise default.
            weather_columns: columns of the simulated weather forecasts; all if empty.
            load_delay: time from the end of an interval until its load is known, such as "30h" or "0h". None: the
                setting of the city, otherwise `available_at` if most values have a later one than the end of their
                interval, otherwise the median age of the load in its live forecasts, otherwise an hour.
            processes: number of cities to process at a time; see `train`.

        Raises:
            NotEnoughDataError: there was nothing to forecast or to score against.
            UnknownCityError: no city has this name. UnknownModelError for a model.

        Examples:
            >>> result = db.backtest(["naive-168", "ensemble"], start="2026-05-01T00:00Z", end="2026-06-01T00:00Z")
            >>> result.scores.select("model", "mape", "coverage_90")
        """
        report = pipelines.backtest(
            self._writing(),
            models=names(models),
            first=moment(start, "start"),
            end=moment(end, "end"),
            every=span(every, "every"),
            at_local=None if at_local is None else arguments.local_time(at_local, "at_local"),
            horizon=arguments.horizon(horizon),
            refit=None if refit is None else span(refit, "refit"),
            weather=weather,
            weather_error=weather_error_choice(weather_error),
            weather_columns=names(weather_columns),
            load_delay=None if load_delay is None else arguments.delay(load_delay, "load_delay"),
            cities=names(cities),
            processes=processes,
        )
        return Backtest(
            report.pairs,
            _score_frame([row | {"purpose": "backtest"} for row in report.scores]),
            report.failed,
            {city: one.as_dict() for city, one in report.assumptions.items()},
            {city: asdict(hours) for city, hours in report.weather_hours.items()},
        )

    @checked
    def score(self, *, everything: bool = False) -> pipelines.ScoreReport:
        """Score the issued forecasts whose hours have a new or changed actual. Stored scores do not change.

        Args:
            everything: score all forecasts again, and add the scores that differ.

        Returns:
            The report: `new`, the number of new scores, and `failed` with reasons by city.

        Examples:
            >>> db.score().new
            12
        """
        return pipelines.score(self._writing(), everything=everything)

    @checked
    def history(
        self, city: str, start: Moment | None = None, end: Moment | None = None, *, as_of: Moment | None = None
    ) -> pl.DataFrame:
        """Return the hourly load and weather of a city, as known at a time.

        Args:
            city: name of the city.
            start: first hour. None for the beginning.
            end: hours are before this. None for `as_of`.
            as_of: only values available by then. None for now.

        Returns:
            A row for each hour with load or weather: `timestamp` (UTC, start of the hour), `consumption_kwh`,
            `temperature` (degrees Celsius), `humidity` (percent), `wind_speed` (m/s), `precipitation` (mm).

        Raises:
            UnknownCityError: no city has this name.
            EnergyForecastError: `as_of` is in the future, or `end` is not later than `start`.

        Examples:
            >>> db.history("Munich", "2026-05-01T00:00Z", "2026-05-02T00:00Z", as_of="2026-05-01T12:00Z")
        """
        first, last, known_by = (
            optional_moment(given, name) for given, name in ((start, "start"), (end, "end"), (as_of, "as_of"))
        )
        with self._reading().reading() as connection:
            at = check_not_future(known_by, database_now(connection), "`as_of`")
            if first is not None and last is not None and last <= first:
                raise EnergyForecastError(f"`end` must be later than `start`: {end}.")
            known = read_as_of(connection, city_named(connection, city), at=at, first=first or BEGINNING)
        both = known.load.join(known.weather, on="timestamp", how="full", coalesce=True).sort("timestamp")
        frame = known.shift.to_city_hours(both)
        return frame if last is None else frame.filter(pl.col("timestamp") < last)


_SCORES: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(("city", "model", "version", "purpose", "weather"), pl.String),
    **dict.fromkeys(("lead_start_hours", "lead_end_hours"), pl.Int64),
    **dict.fromkeys(("period_start", "period_end"), pl.Datetime("us", "UTC")),
    "pair_count": pl.Int64,
    **dict.fromkeys(("mape", "mae_kwh", "rmse_kwh", "r2_score", "pinball_kwh", "coverage_90"), pl.Float64),
    **dict.fromkeys(("width_90_kwh", "skill_naive_168"), pl.Float64),
}


def _score_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows of forecast_scores as a frame."""
    return pl.DataFrame([{name: row.get(name) for name in _SCORES} for row in rows], schema=_SCORES)
