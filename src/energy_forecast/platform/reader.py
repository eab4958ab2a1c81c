"""Readings as methods, which a local database and a server over HTTP share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import date
from typing import Any, Literal
from uuid import UUID

import polars as pl

from energy_forecast.errors import EnergyForecastError
from energy_forecast.forecasting import City
from energy_forecast.platform.arguments import Moment, checked, moment, optional_moment
from energy_forecast.tables import Table

Levels = Sequence[float] | None
Day = date | None


class Reader(ABC):
    """The questions about stored data that need no more than the rights of the reader.

    Times are aware datetimes or ISO 8601 text with an offset. Spans are half-open: from `start` to before `end`.
    Each method returns a `Table`, unless it says otherwise, with the columns that `energy_forecast.tables` describes.
    """

    @abstractmethod
    def _read(self, reading: str, **parameters: Any) -> Table:
        """Return the table of a reading; parameters that are None have their default."""

    @checked
    def cities(self) -> list[City]:
        """Return the cities that the reader may see, sorted by name.

        Examples:
            >>> [city.name for city in db.cities()]
            ['Munich']
        """
        rows = self._read("cities").frame.rename({"city": "name"}).to_dicts()
        return [City(**row) for row in rows]

    @checked
    def consumption(
        self,
        city: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        day: Day = None,
        as_of: Moment | None = None,
        resolution: Literal["interval", "hour", "day"] = "interval",
    ) -> Table:
        """Return the load of a city as known at a time, by default of the last seven days.

        Args:
            city: name of the city.
            start: intervals that start at this time or later.
            end: intervals that start before this time.
            day: a local day of the city, instead of both.
            as_of: only values known at this time. None for now.
            resolution: intervals as stored, hours, or local days.

        Returns:
            `timestamp`, `interval_end`, `consumption_kwh`, `peak_demand_kw`, `interval_minutes`, `minutes_known` (below
            `interval_minutes`, values are missing), `available_at`.

        Raises:
            UnknownCityError: the reader sees no city of this name.
            EnergyForecastError: the span is empty or too long.

        Examples:
            >>> db.consumption("Munich", "2026-05-01T00:00Z", "2026-06-01T00:00Z", resolution="day").frame
        """
        span = _span(start, end, day=day, as_of=as_of)
        return self._read("consumption", city=city, **span, resolution=resolution)

    @checked
    def revisions(self, city: str, start: Moment | None = None, end: Moment | None = None, *, day: Day = None) -> Table:
        """Return all versions of the load of a city whose values were corrected.

        Args:
            city, start, end, day: as in `consumption`.

        Returns:
            `timestamp`, `consumption_kwh`, `peak_demand_kw`, `interval_minutes`, `available_at`, `recorded_at`,
            `superseded_at` (null for the present version).

        Raises:
            UnknownCityError, EnergyForecastError: as in `consumption`.

        Examples:
            >>> db.revisions("Munich", "2026-05-01T00:00Z", "2026-06-01T00:00Z").frame
        """
        return self._read("revisions", city=city, **_span(start, end, day=day))

    @checked
    def weather(
        self,
        city: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        day: Day = None,
        as_of: Moment | None = None,
    ) -> Table:
        """Return the observed weather of a city as known at a time, by default of the last seven days.

        Args:
            city, start, end, day, as_of: as in `consumption`.

        Returns:
            `timestamp`, `interval_end`, `temperature` (degrees Celsius), `humidity` (percent), `wind_speed` (m/s),
            `precipitation` (mm), `interval_minutes`, `available_at`.

        Raises:
            UnknownCityError, EnergyForecastError: as in `consumption`.

        Examples:
            >>> db.weather("Munich").frame
        """
        return self._read("weather", city=city, **_span(start, end, day=day, as_of=as_of))

    @checked
    def weather_forecast(
        self,
        city: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        day: Day = None,
        as_of: Moment | None = None,
    ) -> Table:
        """Return the last weather forecast issued by a time for each hour, by default for the seven days after it.

        Args:
            city, start, end, day: as in `consumption`.
            as_of: the time by which the weather forecast was issued. None for now.

        Returns:
            `timestamp`, `interval_end`, `issued_at`, and the quantities of `weather`.

        Raises:
            UnknownCityError, EnergyForecastError: as in `consumption`.

        Examples:
            >>> db.weather_forecast("Munich").frame
        """
        return self._read("weather_forecast", city=city, **_span(start, end, day=day, as_of=as_of))

    @checked
    def history(
        self, city: str, start: Moment | None = None, end: Moment | None = None, *, as_of: Moment | None = None
    ) -> pl.DataFrame:
        """Return the hourly load and weather of a city as the models see them, known at a time.

        Args:
            city, start, end, as_of: as in `consumption`.

        Returns:
            A frame: `timestamp` (UTC, start of the hour), `consumption_kwh`, `temperature` (degrees Celsius),
            `humidity` (percent), `wind_speed` (m/s), `precipitation` (mm).

        Raises:
            UnknownCityError, EnergyForecastError: as in `consumption`.

        Examples:
            >>> db.history("Munich", "2026-05-01T00:00Z", "2026-05-02T00:00Z", as_of="2026-05-01T12:00Z")
        """
        return self._read("history", city=city, **_span(start, end, as_of=as_of)).frame

    @checked
    def live_forecast(
        self,
        city: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        day: Day = None,
        as_of: Moment | None = None,
        model: str | None = None,
        levels: Levels = None,
    ) -> Table:
        """Return the forecast of a city that is in use, or was in use at a time. All rows are of one run.

        It is the newest live forecast of the champion, or of a model that was used in its place. Without a champion, it
        is the newest live forecast of any model.

        Args:
            city, start, end, day: as in `consumption`. Without a span, the whole forecast.
            as_of: the time at which the forecast was in use. None for now.
            model: the newest live forecast of this model instead.
            levels: quantile levels. None for all that are stored.

        Returns:
            `timestamp`, `interval_end`, `predicted` and quantiles such as `q05`, kWh in the interval. Facts are
            `issued_at`, `recorded_at`, `as_of`, `model`, `version`, `run_id`, `purpose`, `champion`, `fallback_level`,
            `notes`, `quantile_levels` and others.

        Raises:
            UnknownCityError: the reader sees no city of this name.
            NotEnoughDataError: no live forecast was issued in the eight days before.
            EnergyForecastError: a level is not stored, or the span is empty.

        Examples:
            >>> db.live_forecast("Munich", levels=[0.05, 0.95]).frame
        """
        span = _span(start, end, day=day, as_of=as_of)
        return self._read("live_forecast", city=city, **span, model=model, levels=levels)

    @checked
    def forecasts(
        self,
        city: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        purpose: Literal["live", "replay", "backtest"] | None = None,
        model: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Table:
        """Return the issued forecasts of a city without their values, the last issue first.

        Args:
            city: name of the city.
            start, end: span of the times of issue.
            purpose: only runs of this purpose. None for all.
            model: only this model. None for all.
            limit: most rows, 1 to 1000.
            cursor: rows after this position: the fact `next` of the table before. It is None in the last table.

        Returns:
            `run_id`, `issued_at`, `recorded_at`, `model`, `version`, `purpose`, `weather`, `first`, `end`,
            `interval_minutes`.

        Raises:
            UnknownCityError: the reader sees no city of this name.
            EnergyForecastError: the cursor is not one of this list.

        Examples:
            >>> db.forecasts("Munich", purpose="live").frame
        """
        span = _span(start, end)
        return self._read("forecasts", city=city, **span, purpose=purpose, model=model, limit=limit, cursor=cursor)

    @checked
    def issued_forecast(self, city: str, run: UUID | str, *, levels: Levels = None) -> Table:
        """Return the forecast of a run for a city. It never changes.

        Args:
            city: name of the city.
            run: id of the run, such as one of `forecasts`.
            levels: quantile levels. None for all that are stored.

        Returns:
            The columns and facts of `live_forecast`.

        Raises:
            UnknownCityError: the reader sees no city of this name.
            NotFoundError: the run did not forecast this city.

        Examples:
            >>> db.issued_forecast("Munich", db.forecasts("Munich").frame["run_id"][0]).frame
        """
        return self._read("issued_forecast", city=city, run=as_uuid(run, "run"), levels=levels)

    @checked
    def evolution(self, city: str, timestamp: Moment, *, levels: Levels = None) -> Table:
        """Return all forecasts of a city for the interval that contains a time, in the order of their issue.

        Args:
            city: name of the city.
            timestamp: a time in the interval.
            levels: quantile levels. None for all that are stored.

        Returns:
            `run_id`, `issued_at`, `recorded_at`, `model`, `version`, `purpose`, `lead_hours`, `predicted`, quantiles.

        Raises:
            UnknownCityError: the reader sees no city of this name.
            EnergyForecastError: a level is not stored.

        Examples:
            >>> db.evolution("Munich", "2026-05-01T18:00Z").frame
        """
        return self._read("evolution", city=city, timestamp=moment(timestamp, "timestamp"), levels=levels)

    @checked
    def peaks(self, city: str, *, as_of: Moment | None = None, model: str | None = None) -> Table:
        """Return, for each local day of the forecast in use, the interval with the highest forecast and its quantiles.

        The quantiles are those of the load in this interval. They are not the distribution of the highest load of the
        day, which is higher, because another interval may have the peak.

        Args:
            city, as_of, model: as in `live_forecast`.

        Returns:
            `day`, `timestamp`, `interval_end`, `predicted`, `minutes_known` (the part of the day that the forecast
            covers), and quantiles. The facts are those of `live_forecast`.

        Raises:
            UnknownCityError, NotEnoughDataError: as in `live_forecast`.

        Examples:
            >>> db.peaks("Munich").frame
        """
        return self._read("peaks", city=city, as_of=optional_moment(as_of, "as_of"), model=model)

    @checked
    def snapshot(self, timestamp: Moment, *, as_of: Moment | None = None) -> Table:
        """Return the forecasts in use of all cities of the reader for the interval that contains a time.

        Args:
            timestamp: a time in the interval.
            as_of: the time at which the forecasts were in use. None for now.

        Returns:
            A row for each city: `city`, `run_id`, `issued_at`, `recorded_at`, `model`, `version`, `champion`, and the
            columns of `live_forecast`.

        Examples:
            >>> db.snapshot("2026-05-01T18:00Z").frame
        """
        at = moment(timestamp, "timestamp")
        return self._read("snapshot", timestamp=at, as_of=optional_moment(as_of, "as_of"))

    @checked
    def matrix(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        as_of: Moment | None = None,
        model: str | None = None,
        levels: Levels = None,
    ) -> Table:
        """Return the forecasts in use of all cities of the reader over a span, by default the coming week.

        Args:
            start, end: intervals that start in this span.
            as_of, model, levels: as in `live_forecast`.

        Returns:
            The columns of `snapshot`.

        Raises:
            EnergyForecastError: a level is not stored, or the span is empty or too long.

        Examples:
            >>> db.matrix(levels=[0.5]).frame
        """
        return self._read("matrix", **_span(start, end, as_of=as_of), model=model, levels=levels)

    @checked
    def run_request(self, request: UUID | str) -> Table:
        """Return a run that the reader requested over HTTP.

        Args:
            request: id of the request.

        Returns:
            A row for each city: `city`, and `failure`, the reason if the run failed for it. The fact `status` is
            waiting, running, succeeded, partial or failed; `result` has the ids of the stored `runs`, the `trained`
            versions, or the `error`.

        Raises:
            NotFoundError: the reader requested no such run.

        Examples:
            >>> db.run_request("6f9619ff-8b86-4d01-b42d-00c04fc964ff").facts["status"]
            'succeeded'
        """
        return self._read("run_request", request=as_uuid(request, "request"))

    @checked
    def own_requests(self, *, limit: int = 100) -> Table:
        """Return the last runs that the reader requested over HTTP, the newest first.

        Args:
            limit: most rows, 1 to 1000.

        Returns:
            `request`, `kind`, `status`, `requested_at`, `started_at`, `finished_at`.

        Examples:
            >>> db.own_requests().frame
        """
        return self._read("own_requests", limit=limit)


def as_uuid(given: UUID | str, name: str) -> UUID:
    """Return the parameter `name`, an id. Raises EnergyForecastError for another text."""
    try:
        return given if isinstance(given, UUID) else UUID(given)
    except ValueError as error:
        raise EnergyForecastError(f"`{name}`: {given!r} is not an id.", hint="Give one that a table shows.") from error


def _span(start: Moment | None, end: Moment | None, *, day: Day = None, as_of: Moment | None = None) -> dict[str, Any]:
    """Return the parameters of a span, without those that are None."""
    found = {
        "start": optional_moment(start, "start"),
        "end": optional_moment(end, "end"),
        "as_of": optional_moment(as_of, "as_of"),
        "day": day,
    }
    return {name: value for name, value in found.items() if value is not None}
