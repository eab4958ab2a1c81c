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
from energy_forecast.platform.arguments import Moment, Names, checked, moment, names, optional_moment
from energy_forecast.platform.table import Table

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
    def usual_load(
        self, city: str, start: Moment | None = None, end: Moment | None = None, *, as_of: Moment | None = None
    ) -> Table:
        """Return the usual range of the hourly load of a city: the middle 80 % of the load at this hour of such days.

        Such days are of the same kind (Monday to Friday, Saturday, Sunday) in the five weeks before `start` and in the
        two weeks around the same days of up to four earlier years.

        Args:
            city, start, end, as_of: as in `consumption`. By default the coming seven days, at most 62 days.

        Returns:
            A table: `timestamp`, `interval_end`, `usual_low`, `usual_load`, `usual_high` (kWh), and `hours`, the number
            of hours counted. The range is null for fewer than ten hours.

        Raises:
            UnknownCityError, EnergyForecastError: as in `consumption`.

        Examples:
            >>> db.usual_load("Munich")
        """
        return self._read("usual_load", city=city, **_span(start, end, as_of=as_of))

    @checked
    def overview(self, *, as_of: Moment | None = None, purpose: Literal["live", "replay"] = "live") -> Table:
        """Return one row for each city of the reader: load, forecast and error of the last hour, and the next peak.

        Args:
            as_of: only what was known at this time. None for now.
            purpose: purpose of the forecasts.

        Returns:
            A table: `city`, `timestamp` (the last complete hour with load), `actual`, `predicted` and its 90 % interval
            `predicted_low`, `predicted_high` (kWh), `error_percent`, `known_until`, the forecast in use (`issued_at`,
            `model`, `version`, `fallback_level`), and the highest forecast of the next 24 hours (`peak_at`, `peak_kwh`,
            `peak_low`, `peak_high`).

        Examples:
            >>> db.overview().frame
        """
        return self._read("overview", **_span(None, None, as_of=as_of), purpose=purpose)

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
        purpose: Literal["live", "replay"] = "live",
        levels: Levels = None,
    ) -> Table:
        """Return the forecast of a city that is in use, or was in use at a time. All rows are of one run.

        It is the newest live forecast of the champion, or of a model that was used in its place. Without a champion, it
        is the newest live forecast of any model.

        Args:
            city, start, end, day: as in `consumption`. Without a span, the whole forecast.
            as_of: the time at which the forecast was in use. None for now.
            model: the newest live forecast of this model instead.
            purpose: replay for the newest replay by its time of issue instead, which nobody used at that time.
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
        return self._read("live_forecast", city=city, **span, model=model, purpose=purpose, levels=levels)

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
    def vintages(
        self,
        city: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        purpose: Literal["live", "replay", "backtest"] = "live",
        model: str | None = None,
        levels: Levels = None,
    ) -> Table:
        """Return all forecasts of a city that were issued in a span, with their values, in the order of their issue.

        Args:
            city: name of the city.
            start, end: of the time of issue. By default the last three days.
            purpose: purpose of the runs.
            model: only forecasts of this model. None for all.
            levels: quantile levels. None for all that are stored.

        Returns:
            `run_id`, `issued_at`, `recorded_at`, `model`, `version`, `purpose`, `timestamp`, `interval_end`,
            `predicted` and quantiles, kWh in the interval.

        Raises:
            UnknownCityError: the reader sees no city of this name.
            EnergyForecastError: a level is not stored, the span is empty, or it has more than 500 forecasts.

        Examples:
            >>> db.vintages("Munich", "2026-05-01T00:00Z", "2026-05-02T00:00Z").frame
        """
        return self._read("vintages", city=city, **_span(start, end), purpose=purpose, model=model, levels=levels)

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
    def peak_risk(
        self,
        city: str,
        *,
        as_of: Moment | None = None,
        model: str | None = None,
        purpose: Literal["live", "replay"] = "live",
        thresholds: Sequence[float] | None = None,
    ) -> Table:
        """Return the probabilities that the highest load of each whole local day of the forecast exceeds thresholds.

        Args:
            city, as_of, model, purpose: as in `live_forecast`.
            thresholds: kWh. None for about eight round numbers.

        Returns:
            `day`, `threshold_kwh`, `probability`, its bounds `at_least` and `at_most`, and the 90 % interval and median
            of the highest load, `day_peak_low`, `day_peak`, `day_peak_high` (kWh in the interval).

        Raises:
            UnknownCityError, NotEnoughDataError: as in `live_forecast`.

        Examples:
            >>> db.peak_risk("Munich", thresholds=[900_000]).frame
        """
        return self._read(
            "peak_risk",
            city=city,
            **_span(None, None, as_of=as_of),
            model=model,
            purpose=purpose,
            thresholds=None if thresholds is None else list(thresholds),
        )

    @checked
    def peak_hours(
        self,
        city: str,
        *,
        as_of: Moment | None = None,
        model: str | None = None,
        purpose: Literal["live", "replay"] = "live",
    ) -> Table:
        """Return the probability of each interval to have the highest load of its local day.

        Args:
            city, as_of, model, purpose: as in `live_forecast`.

        Returns:
            `day`, `timestamp`, `interval_end`, `predicted` (kWh) and `probability`.

        Raises:
            UnknownCityError, NotEnoughDataError: as in `live_forecast`.

        Examples:
            >>> db.peak_hours("Munich").frame
        """
        return self._read("peak_hours", city=city, **_span(None, None, as_of=as_of), model=model, purpose=purpose)

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

    @checked
    def scores(
        self,
        cities: Names = (),
        *,
        purpose: Literal["live", "replay", "backtest"] | None = None,
        model: str | None = None,
    ) -> pl.DataFrame:
        """Return the newest stored scores.

        Args:
            cities: names; all if empty.
            purpose: purpose of the runs. None for all.
            model: only this model. None for all.

        Returns:
            A row for each city, model, weather and range of lead times: `city`, `model`, `version`, `purpose`,
            `weather` (of the target hours), `lead_start_hours`, `lead_end_hours`, `period_start`, `period_end`,
            `pair_count`, `mape` (percent), `mae_kwh`, `rmse_kwh`, `r2_score`, `pinball_kwh`, `coverage_90` (share of
            actuals in the 90 % interval), `width_90_kwh`, `skill_naive_168` (above 0: better than last week),
            `score_id`, `recorded_at`.

        Raises:
            UnknownCityError: no city has this name.

        Examples:
            >>> db.scores("Munich", purpose="backtest")
        """
        return self._read("scores", cities=list(names(cities)) or None, purpose=purpose, model=model).frame

    @checked
    def pairs(self, score: UUID | str) -> Table:
        """Return the pairs of forecast and actual behind a score, by time, with the actuals known at its time.

        Args:
            score: id of the score, such as one of `scores`.

        Returns:
            `issued_at`, `timestamp`, `interval_end`, `lead_hours`, `actual`, `predicted`, `reference` (naive-168) and
            quantiles, kWh. The facts are those of the score. `missing_pairs` is above zero if retention has removed
            some of the forecasts.

        Raises:
            UnknownScoreError: the reader sees no score of this id.

        Examples:
            >>> db.pairs(db.scores("Munich")["score_id"][0]).frame
        """
        return self._read("pairs", score=as_uuid(score, "score"))

    @checked
    def certificate(
        self,
        city: str,
        model: str,
        *,
        purpose: Literal["live", "replay", "backtest"] = "live",
        weather: Literal["actual", "simulated", "forecast", "none"] | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Table:
        """Return how often the load was inside the 90, 80 and 50 % intervals of a model, with a verdict on each.

        Args:
            city: name of the city.
            model: name of the model.
            purpose: purpose of the runs.
            weather: only forecasts with this weather of the target hours. None for any; of backtests, those with the
                conditions that were used last.
            start, end: span of the times of issue. None for all.

        Returns:
            A row for each interval of the city, of its lead times and seasons: `part`, `group`, `nominal`, `hours`,
            `days`, `coverage`, `lower`, `upper` (90 % confidence interval), `tolerance`, `margin`, `width_kwh`,
            `verdict`. The fact `verdict` is the worst one.

        Raises:
            UnknownCityError, UnknownModelError: a name is unknown.
            NotEnoughDataError: no forecast has an actual.

        Examples:
            >>> db.certificate("Munich", "ensemble", purpose="backtest").facts["verdict"]
            'passed'
        """
        return self._read("certificate", city=city, model=model, purpose=purpose, weather=weather, **_span(start, end))

    @checked
    def reliability(
        self,
        city: str,
        model: str,
        *,
        purpose: Literal["live", "replay", "backtest"] = "live",
        weather: Literal["actual", "simulated", "forecast", "none"] | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Table:
        """Return how often the load was at or below each quantile of a model.

        Args:
            city, model, purpose, weather, start, end: as in `certificate`.

        Returns:
            A row for each quantile level: `level`, `observed` (a share, which should equal the level), `lower`, `upper`
            (its 90 % confidence interval; null for fewer than 28 days), `hours`, `days`.

        Raises:
            UnknownCityError, UnknownModelError, NotEnoughDataError: as in `certificate`.

        Examples:
            >>> db.reliability("Munich", "ensemble", purpose="backtest").frame
        """
        return self._read("reliability", city=city, model=model, purpose=purpose, weather=weather, **_span(start, end))

    @checked
    def errors(
        self,
        city: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        day: Day = None,
        model: str | None = None,
        purpose: Literal["live", "replay", "backtest"] = "live",
        weather: Literal["actual", "simulated", "forecast", "none"] | None = None,
        conditions: str | None = None,
        issue: Literal["day-ahead", "newest", "all"] = "day-ahead",
        lead_start: int = 0,
        lead_end: int = 168,
        as_of: Moment | None = None,
    ) -> Table:
        """Return the errors of forecasts by hour, by default of the last 35 local days.

        Args:
            city: name of the city.
            start, end: hours in this span.
            day: hours of this local day, instead of `start` and `end`.
            model: name of the model. None for the champion, without one ensemble, or the model with most hours.
            purpose: purpose of the runs.
            weather: only forecasts with this weather of the target hours. None for any; of backtests, those with the
                conditions that were used last.
            conditions: only backtests with these assumptions, such as those of a row of `errors_by_lead`.
            issue: of the forecasts of an hour, `day-ahead` for the newest one issued before the local day of the hour
                began, `newest` for the newest one, `all` for each of them.
            lead_start, lead_end: only lead times from `lead_start` to below `lead_end` hours.
            as_of: only load known by then, live forecasts recorded by then, and others issued by then. None for now.

        Returns:
            `timestamp`, `interval_end`, `issued_at`, `lead_hours`, `model`, `version`, `weather`, `actual`,
            `predicted`, `error_kwh` (forecast minus actual), `error_percent`, `reference` (naive-168) and quantiles.
            Hours without known, valid load have no row.

        Raises:
            UnknownCityError, UnknownModelError: a name is unknown.
            EnergyForecastError: the span or the range of lead times is empty, or the span is too long.

        Examples:
            >>> db.errors("Munich", day="2026-05-01").frame["error_percent"].abs().mean()
        """
        return self._read(
            "errors",
            city=city,
            **_span(start, end, day=day, as_of=as_of),
            model=model,
            purpose=purpose,
            weather=weather,
            conditions=conditions,
            issue=issue,
            lead_start=lead_start,
            lead_end=lead_end,
        )

    @checked
    def errors_by_lead(
        self,
        city: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        day: Day = None,
        models: Names = (),
        purpose: Literal["live", "replay", "backtest"] | None = None,
        weather: Literal["actual", "simulated", "forecast", "none"] | None = None,
        as_of: Moment | None = None,
    ) -> Table:
        """Return the errors of models by lead time, by default of the hours of the last 35 local days.

        Args:
            city, start, end, day, as_of: as in `errors`.
            models: names; all if empty.
            purpose, weather: only runs with this purpose and weather. None for all.

        Returns:
            A row for each model, purpose, weather, assumptions and range of lead times, on its `own` pairs and on the
            `common` pairs of all models with the same conditions: `model`, `purpose`, `weather`, `assumptions` (JSON),
            `conditions` (their id), `pairs`, `lead_start_hours`, `lead_end_hours`, `pair_count`, `mape` (percent),
            `mae_kwh`, `rmse_kwh`,
            `bias_kwh`, `pinball_kwh`, `coverage_90`, `width_90_kwh`, `mean_consumption_kwh`, `skill_naive_168`.

        Raises:
            UnknownCityError, UnknownModelError: a name is unknown.
            EnergyForecastError: the span is empty or too long.

        Examples:
            >>> db.errors_by_lead("Munich", models=["ensemble", "naive-168"]).frame.filter(pairs="common")
        """
        return self._read(
            "errors_by_lead",
            city=city,
            models=list(names(models)) or None,
            **_span(start, end, day=day, as_of=as_of),
            purpose=purpose,
            weather=weather,
        )

    @checked
    def explanation(
        self,
        city: str,
        *,
        model: str | None = None,
        as_of: Moment | None = None,
        purpose: Literal["live", "replay", "backtest"] | None = None,
        day: Day = None,
    ) -> Table:
        """Return what the last forecast of a city that was issued by a time is based on, for one local day.

        Args:
            city: name of the city.
            model: name of the model. None for that of the last forecast.
            as_of: the time by which the forecast was issued. None for now.
            purpose: purpose of the run. None for live or replay.
            day: the local day. None for the first day with the most hours.

        Returns:
            `timestamp`, `interval_end`, `predicted`, `actual`, `temperature`, `normal_temperature`,
            `predicted_at_normal`, `contributions` (JSON: kWh by group of inputs), `weather_error_kwh` and
            `model_error_kwh` (parts of forecast minus load). The facts describe the run and the day.

        Raises:
            UnknownCityError, UnknownModelError: a name is unknown.
            NotEnoughDataError: no such forecast was issued.
            ArtifactError: the stored model cannot be read. Train it again.

        Examples:
            >>> db.explanation("Munich").frame
        """
        at = optional_moment(as_of, "as_of")
        return self._read("explanation", city=city, model=model, as_of=at, purpose=purpose, day=day)

    @checked
    def champions(self, cities: Names = (), *, as_of: Moment | None = None) -> Table:
        """Return the model version that serves each city now, or served it at a time.

        Args:
            cities: names; all if empty.
            as_of: the time. None for now.

        Returns:
            `city`, `model`, `version`, `promoted_at`, `replaced_at`, `is_forced`. A city without a champion has no row.

        Raises:
            UnknownCityError: no city has this name.

        Examples:
            >>> db.champions().frame
        """
        chosen = list(names(cities)) or None
        return self._read("champions", cities=chosen, as_of=optional_moment(as_of, "as_of"))

    @checked
    def models(self) -> Table:
        """Return the model versions that were trained for a city of the reader, the newest of each model first.

        Returns:
            `model`, `version`, `type`, `is_active`, `trained_at`, `trained_until`, `cities` and the scores of the last
            evaluation on held-out data: `mape` (percent), `mae_kwh`, `rmse_kwh`, `r2_score`.

        Examples:
            >>> db.models().frame
        """
        return self._read("models")

    @checked
    def promotions(self, cities: Names = ()) -> Table:
        """Return the present and former champions of cities, by city, the newest first.

        Args:
            cities: names of cities; all if empty.

        Returns:
            `city`, `model`, `version`, `promoted_at`, `replaced_at`, `is_forced`, `promoted_by`, `reason`, `evidence`
            (JSON). A user gets no `promoted_by` and `reason`.

        Raises:
            UnknownCityError: the reader sees no city of a name.

        Examples:
            >>> db.promotions("Munich").frame
        """
        return self._read("promotions", cities=list(names(cities)) or None)

    @checked
    def model_performance(self, *, days: int = 7, as_of: Moment | None = None) -> Table:
        """Return model versions by their scores of the last days, best first, over the cities of the reader.

        Args:
            days: number of days of 24 hours, 1 to 3660.
            as_of: end of the days. None for now.

        Returns:
            `model`, `version`, `purpose`, `weather`, `mape` (percent), `mae_kwh`, `rmse_kwh`, `coverage_90`,
            `pair_count`, `city_count`, `assumptions` (JSON).

        Raises:
            EnergyForecastError: the number of days is out of range.

        Examples:
            >>> db.model_performance(days=30).frame
        """
        return self._read("model_performance", days=days, as_of=optional_moment(as_of, "as_of"))

    @checked
    def runs(
        self,
        *,
        purpose: Literal["live", "replay", "backtest"] | None = None,
        model: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Table:
        """Return the runs that forecast a city of the reader, the last recorded first.

        Args:
            purpose, model, limit, cursor: as in `forecasts`.

        Returns:
            `run_id`, `issued_at`, `recorded_at`, `model`, `version`, `purpose`, `weather`, `horizon_hours`,
            `interval_minutes`, `status`, `started_at`, `finished_at`.

        Raises:
            EnergyForecastError: the cursor is not one of this list.

        Examples:
            >>> db.runs(purpose="live", limit=10).frame
        """
        return self._read("runs", purpose=purpose, model=model, limit=limit, cursor=cursor)

    @checked
    def run_outcomes(
        self,
        cities: Names = (),
        *,
        purpose: Literal["live", "replay", "backtest"] | None = None,
        model: str | None = None,
        limit: int = 100,
    ) -> Table:
        """Return the cities of the last runs, also those that failed, with fallback level and notes.

        Args:
            cities: names of cities; all if empty.
            purpose, model: as in `forecasts`.
            limit: most runs.

        Returns:
            `run_id`, `city`, `issued_at`, `recorded_at`, `model`, `version`, `purpose`, `weather`, `has_failed`,
            `fallback_level`, `notes`, `first`, `end` (null if the city failed), `started_at`, `finished_at`.

        Raises:
            UnknownCityError: the reader sees no city of a name.

        Examples:
            >>> db.run_outcomes(purpose="live", limit=10).frame
        """
        chosen = list(names(cities)) or None
        return self._read("run_outcomes", cities=chosen, purpose=purpose, model=model, limit=limit)

    @checked
    def run(self, run: UUID | str) -> Table:
        """Return the cities of a run that the reader may see, with the fallback level and notes of each.

        Args:
            run: id of the run, such as one of `runs`.

        Returns:
            `city`, `first`, `end`, `fallback_level`, `notes`. The facts describe the run.

        Raises:
            NotFoundError: the run forecast no city of the reader.

        Examples:
            >>> db.run(db.runs().frame["run_id"][0]).frame
        """
        return self._read("run", run=as_uuid(run, "run"))

    @checked
    def quality(self, city: str, start: Moment | None = None, end: Moment | None = None) -> Table:
        """Return the faults that the checks after loads found in a city, such as gaps, by default of the last 90 days.

        Args:
            city, start, end: as in `consumption`.

        Returns:
            `series`, `fault`, `first`, `end`, `hours`, `factor`, `left_out`, `recorded_at`.

        Raises:
            UnknownCityError, EnergyForecastError: as in `consumption`.

        Examples:
            >>> db.quality("Munich").frame
        """
        return self._read("quality", city=city, **_span(start, end))

    @checked
    def arrivals(self, city: str, start: Moment | None = None, end: Moment | None = None) -> Table:
        """Return the number of recorded rows of a city by series and hour of recording.

        Args:
            city, start, end: as in `consumption`.

        Returns:
            `series`, `recorded_hour`, `row_count`, `first`, `end`, `median_delay_hours`, `longest_delay_hours`,
            `median_availability_hours`.

        Raises:
            UnknownCityError, EnergyForecastError: as in `consumption`.

        Examples:
            >>> db.arrivals("Munich").frame
        """
        return self._read("arrivals", city=city, **_span(start, end))

    @checked
    def sources(self, cities: Names = (), *, as_of: Moment | None = None) -> Table:
        """Return when the last load, weather and weather forecasts were recorded, and whether new ones are late.

        Args:
            cities: names of cities; all if empty.
            as_of: only recordings by this time. None for now.

        Returns:
            `city`, `series`, `recorded_at`, `end`, `recording_count`, `usual_gap_hours`, `expected_by`, `is_late`.

        Raises:
            UnknownCityError: the reader sees no city of a name.

        Examples:
            >>> db.sources().frame
        """
        chosen = list(names(cities)) or None
        return self._read("sources", cities=chosen, as_of=optional_moment(as_of, "as_of"))

    @checked
    def rejections(self, city: str, *, days: int = 30, as_of: Moment | None = None) -> Table:
        """Return the quarantined rows of a city of the last days, counted by file, column and reason.

        Args:
            city: name of the city.
            days: number of days of 24 hours, 1 to 3660.
            as_of: end of the days. None for now.

        Returns:
            `file`, `column`, `reason`, `cell_only`, `count`, `recorded_at`, and `line` and `row_data` of the newest.

        Raises:
            UnknownCityError: the reader sees no city of this name.
            EnergyForecastError: the number of days is out of range.

        Examples:
            >>> db.rejections("Munich").frame
        """
        return self._read("rejections", city=city, days=days, as_of=optional_moment(as_of, "as_of"))

    @checked
    def weather_correlation(
        self, city: str, *, days: int = 30, bin_width: float = 1.0, as_of: Moment | None = None
    ) -> Table:
        """Return the mean load of a city's complete hours by temperature.

        Args:
            city: name of the city.
            days: number of days of 24 hours, 1 to 3660.
            bin_width: width of the ranges of temperature, 0.01 to 50 degrees Celsius.
            as_of: end of the days. None for now.

        Returns:
            `temperature_from`, `temperature_to`, `mean_consumption_kwh`, `hours`. Facts are `coefficient` (Pearson's)
            and the numbers of hours included and left out.

        Raises:
            UnknownCityError: the reader sees no city of this name.
            EnergyForecastError: a number is out of range.

        Examples:
            >>> db.weather_correlation("Munich", days=365).facts["coefficient"]
        """
        at = optional_moment(as_of, "as_of")
        return self._read("weather_correlation", city=city, days=days, bin_width=bin_width, as_of=at)

    @checked
    def updates(self, *, cursor: str | None = None) -> Table:
        """Return the cities with new or corrected load, weather, forecasts, champions or scores since a call.

        Args:
            cursor: the fact `next` of the call before. None returns no rows, and the present position as `next`.

        Returns:
            `city`, `changed` (consumption, weather, weather-forecasts, forecasts, champions or scores), `recorded_at`.

        Raises:
            EnergyForecastError: the cursor is not one of this reader.

        Examples:
            >>> position = db.updates().facts["next"]
            >>> db.updates(cursor=position).frame
        """
        return self._read("updates", cursor=cursor)

    @checked
    def batches(self, *, limit: int = 100, cursor: str | None = None) -> Table:
        """Return the batches that the reader loaded over HTTP, or all for the operator, the last finished first.

        Args:
            limit, cursor: as in `forecasts`.

        Returns:
            `batch_id`, `dataset`, `recorded_at`, `finished_at`, `read`, `inserted`, `corrected`, `unchanged`,
            `rejected`, `cells_left_empty`.

        Raises:
            EnergyForecastError: the cursor is not one of this list.

        Examples:
            >>> db.batches().frame
        """
        return self._read("batches", limit=limit, cursor=cursor)

    @checked
    def batch(self, batch: UUID | str) -> Table:
        """Return the reasons for which rows of a batch were rejected, or cells left empty, with their counts.

        Args:
            batch: id of the batch, such as one of `batches` or of a report.

        Returns:
            `column`, `reason`, `count`, `cell_only`. The facts are the counts of rows, the files and the notes.

        Raises:
            NotFoundError: it is not a batch of the reader.

        Examples:
            >>> db.batch(report.batch).facts["rejected"]
            0
        """
        return self._read("batch", batch=as_uuid(batch, "batch"))

    @checked
    def rejected_rows(self, batch: UUID | str) -> Table:
        """Return the rejected rows of a batch, and rows with a cell that was left empty, in the order of its files.

        Args:
            batch: as in `batch`.

        Returns:
            `file`, `line`, `column`, `reason`, `cell_only`, `row_data` (JSON). A batch stores a limited number of rows:
            the facts `rejected` and `kept` are the numbers of all rejected rows and of the rows here.

        Raises:
            NotFoundError: it is not a batch of the reader.

        Examples:
            >>> db.rejected_rows(report.batch).frame
        """
        return self._read("rejected_rows", batch=as_uuid(batch, "batch"))


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
