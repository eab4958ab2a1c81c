"""Score the hours of one city whose load or forecasts changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.database import forecasts as stored_forecasts
from energy_forecast.database import history
from energy_forecast.database import scores as stored_scores
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Connection
from energy_forecast.database.scores import HoursToScore, ScoredDay
from energy_forecast.forecasting.types import Flags, Floats, Ints
from energy_forecast.pipelines.as_of import forecasting_city, load_of_year, read_for_year
from energy_forecast.pipelines.pairs import last_recorded, local_month, score_hours, week_before
from energy_forecast.pipelines.score_state import (
    HOUR,
    MINUTE,
    RECORDS,
    Records,
    group_of,
    pack,
    records_of,
    sums_of,
    unpack,
)

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = pl.Datetime("us", "UTC")
# A local month and the week before its first hours, on both sides of the changed years
_MARGIN_DAYS = 40
# The reference of an hour is this long before it, and a day more for changes of the clock
_REFERENCE_HOURS = 24 * 8
# Forecasts of hours that are closer together are read in one query, of a month at most
_LONGEST_GAP = 24
_LONGEST_RUN = 24 * 31
# A faulty actual, which differs from an unknown one
_FAULTY = np.inf


@dataclass(frozen=True)
class MonthScores:
    """The changed scores of a local month of a city.

    period: start and end of the month.
    """

    period: tuple[datetime, datetime]
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class CityScores:
    """The changed scores of a city, and the state to store with them.

    finished: the ids of the hours to score that were used.
    hours: number of hours with new or changed pairs.
    left_out: number of these hours whose actual is faulty.
    days: the state of the days that changed.
    replace: whether the state of all other days is removed.
    """

    city: StoredCity
    finished: list[int]
    hours: int = 0
    left_out: int = 0
    months: list[MonthScores] = field(default_factory=list)
    days: list[ScoredDay] = field(default_factory=list)
    replace: bool = False


def sums_kept_from(now: datetime) -> int:
    """Return the first day whose sums are kept (UTC, since 1970): those of this and the previous month."""
    previous = (now.astimezone(UTC).replace(day=1) - timedelta(days=1)).replace(day=1)
    # A local month can begin a day earlier
    return (previous - _UNIX).days - 2


def score_city(
    connection: Connection,
    city: StoredCity,
    changes: Sequence[HoursToScore],
    *,
    now: datetime,
    removed_until: datetime | None,
) -> CityScores:
    """Return the scores of a city that the changes affect.

    An hour is scored again if its actual or reference differs from the stored one, or if it has new forecasts. One new
    value can change which hours are faulty in all of its calendar year, so the actuals of that year are compared.

    Args:
        changes: the hours to score of the city.
        removed_until: retention removed load or forecasts before; scores that depend on them stay as they are.
    """
    nothing = CityScores(city, [change.id for change in changes])
    phase = history.phase_as_of(connection, city.id, now)
    whole = any(change.first_hour is None for change in changes)
    if not whole:
        hours = _Hours(connection, city, changes, phase, now, removed_until)
        # With another phase, every hour has other actuals
        whole = hours.is_shifted
    if whole:
        first = stored_scores.first_issue(connection, city.id)
        if first is None:
            return CityScores(city, nothing.finished, replace=True)
        everything = HoursToScore(0, city.id, first, now, has_new_forecasts=True)
        hours = _Hours(connection, city, [everything], phase, now, removed_until, empty=True)
    if not hours.examined.any():
        return nothing
    hours.read_actuals()
    hours.choose()
    months = [one for one in (hours.score_month(month) for month in hours.months_to_score()) if one.rows]
    return CityScores(
        city,
        nothing.finished,
        hours=hours.scored_hours,
        left_out=hours.left_out,
        months=months,
        days=hours.days_to_store(),
        replace=whole,
    )


class _Hours:
    """Hours of a city in a dense range of UTC days: [hours], or [hours, 2] for the actual and the reference.

    An hour is numbered since 1970; index 0 is the first hour of the day `first_day`.
    """

    def __init__(
        self,
        connection: Connection,
        city: StoredCity,
        changes: Sequence[HoursToScore],
        phase: int,
        now: datetime,
        removed_until: datetime | None,
        *,
        empty: bool = False,
    ) -> None:
        self._connection, self._city, self._phase, self._now = connection, city, phase, now
        ranges = [(self._hour(one.first_hour), self._hour(one.last_hour), one.has_new_forecasts) for one in changes]
        self._years = sorted({year for first, last, _ in ranges for year in self._years_of(first, last)})
        begin = min(datetime(year, 1, 1, tzinfo=UTC) for year in self._years) if self._years else now
        self.first_day = (begin - _UNIX).days - _MARGIN_DAYS
        until = min(datetime(self._years[-1] + 1, 1, 1, tzinfo=UTC), now) if self._years else now
        days = (until - _UNIX).days + 2 - self.first_day
        self._first = 24 * self.first_day
        count = 24 * days
        self._numbers: Ints = self._first + np.arange(count)
        times = pl.Series("timestamp", self._numbers * HOUR + phase * MINUTE).cast(_TIME)
        # Microseconds of the first local moment
        self._month: Ints = local_month(times, city.timezone).to_physical().to_numpy()
        self._week_before = week_before(times, city.timezone)

        stored = stored_scores.scored_days(connection, city.id, self.first_day, self.first_day + days - 1)
        self.is_shifted = not empty and bool((stored.phases != phase).any())
        places = stored.days - self.first_day
        within = (places >= 0) & (places < days) & (not empty)
        places = places[within]
        self._is_stored: Flags = np.zeros(days, bool)
        self._is_stored[places] = True
        self._has_sums: Flags = np.zeros(days, bool)
        self._has_sums[places] = stored.has_sums[within]
        self._old: Floats = np.full((count, 2), np.nan)
        self._old.reshape(days, 24, 2)[places] = stored.actuals[within]
        self._new = self._old.copy()

        in_stored_day = np.repeat(self._is_stored, 24)
        self._added: Flags = np.zeros(count, bool)
        unstored: Flags = np.zeros(count, bool)
        for first, last, has_new_forecasts in ranges:
            low, high = (min(max(one - self._first, 0), count) for one in (first, last + 1))
            if has_new_forecasts:
                self._added[low:high] = True
            # Whole days, because the state is stored by day
            unstored[low // 24 * 24 : -(-high // 24) * 24] |= low < high
        unstored &= ~in_stored_day
        if unstored.any():
            first_issue = stored_scores.first_issue(connection, city.id)
            unstored &= first_issue is not None and self._numbers >= self._hour(first_issue) // 24 * 24
        # Hours of days without state, which may have forecasts
        self._unstored = unstored
        self.examined: Flags = in_stored_day | unstored
        if removed_until is not None:
            # Whole months, because a month is scored as a whole
            complete = self._numbers >= self._hour(removed_until) + _REFERENCE_HOURS
            self.examined &= complete & ~np.isin(self._month, self._month[~complete])
            self._unstored &= self.examined
        self._added &= self.examined

    def _hour(self, moment: datetime | None) -> int:
        assert moment is not None
        return ((moment - _UNIX) // timedelta(microseconds=1) - self._phase * MINUTE) // HOUR

    def _moment(self, hour: int) -> datetime:
        return _UNIX + timedelta(hours=int(hour), minutes=self._phase)

    def _years_of(self, first: int, last: int) -> Iterator[int]:
        """Return the calendar years whose actuals depend on the load of these hours."""
        for year in range(self._moment(first).year - 1, min(self._moment(last).year + 1, self._now.year) + 1):
            begin, end = read_for_year(year)
            if self._moment(last) >= begin - timedelta(hours=1) and self._moment(first) < end:
                yield year

    def read_actuals(self) -> None:
        """Read the actuals of the changed years, and set the reference of each examined hour."""
        year_of = pl.Series(self._numbers * HOUR).cast(_TIME).dt.year().to_numpy()
        needed = {int(year) for year in np.unique(year_of[self.examined])} & set(self._years)
        early = self.examined & (
            pl.Series((self._numbers - _REFERENCE_HOURS) * HOUR).cast(_TIME).dt.year().to_numpy() < year_of
        )
        needed |= {int(year) - 1 for year in np.unique(year_of[early])} & set(self._years)
        actual: Floats = np.full(len(self._numbers), np.nan)
        read: Flags = np.isin(year_of, list(needed))
        for year in sorted(needed):
            load = load_of_year(self._connection, self._city, year, as_of=self._now, phase=self._phase)
            place = (load["timestamp"].to_physical().to_numpy() - self._phase * MINUTE) // HOUR - self._first
            inside = (place >= 0) & (place < len(actual))
            values = np.where(
                load["left_out"].to_numpy(), _FAULTY, load["consumption_kwh"].fill_null(np.nan).to_numpy()
            )
            actual[place[inside]] = values[inside]
        self._is_read = read & self.examined
        self._new[self._is_read, 0] = actual[self._is_read]
        moments = self._week_before.to_physical().fill_null(-1).to_numpy()
        place = (moments - self._phase * MINUTE) // HOUR - self._first
        whole = (moments >= 0) & ((moments - self._phase * MINUTE) % HOUR == 0) & (place >= 0) & (place < len(actual))
        place = np.where(whole, place, 0)
        # In another year that did not change, the reference did not change either
        known = self._is_read & (~whole | read[place])
        reference = np.where(whole & np.isfinite(actual[place]), actual[place], np.nan)
        self._new[known, 1] = reference[known]

    def choose(self) -> None:
        """Choose the hours to score again, and read their forecasts."""
        same = (self._old == self._new) | (np.isnan(self._old) & np.isnan(self._new))
        changed = self._is_read & ~same.all(axis=1)
        known = ~np.isnan(self._new[:, 0])
        self._touched: Flags = changed | (self._added & known)
        # A month that does not keep its sums is computed from all its forecasts
        days_month = self._month.reshape(-1, 24)
        lacking = self._is_stored & ~self._has_sums
        months = np.unique(self._month[self._touched])
        self._rebuilt = np.intersect1d(months, np.unique(days_month[lacking]))
        rebuilt = np.isin(self._month, self._rebuilt) & self.examined
        self._redone: Flags = self._touched | rebuilt | self._unstored
        self._has_forecasts: Flags = np.zeros(len(self._is_stored), bool)
        self.left_out = 0
        parts = [np.zeros(0, RECORDS)]
        parts += [self._records(first, end) for first, end in self._runs(self._redone & known)]
        self._records_new: Records = np.concatenate(parts)

    def _runs(self, chosen: Flags) -> Iterator[tuple[int, int]]:
        """Return ranges of hours [first, end) that contain all chosen hours, without long gaps."""
        first: int | None = None
        last = 0
        for hour in (np.flatnonzero(chosen) + self._first).tolist():
            if first is not None and (hour - last > _LONGEST_GAP or hour - first >= _LONGEST_RUN):
                yield first, last + 1
                first = None
            first, last = hour if first is None else first, hour
        if first is not None:
            yield first, last + 1

    def _records(self, first: int, end: int) -> Records:
        """Return the records of the hours to score again in [first, end)."""
        issued = stored_forecasts.to_score(
            self._connection, city=self._city.id, first=self._moment(first), end=self._moment(end)
        )
        start = issued["timestamp"].to_physical().to_numpy() - self._phase * MINUTE
        place = start // HOUR - self._first
        chosen = (start % HOUR == 0) & self._redone[place]
        issued, place = issued.filter(chosen), place[chosen]
        self._has_forecasts[place // 24] = True
        faulty = np.isinf(self._new[place, 0]) & self._touched[place]
        self.left_out += len(np.unique(place[faulty]))
        forecasts = last_recorded(issued)
        place = (forecasts["timestamp"].to_physical().to_numpy() - self._phase * MINUTE) // HOUR - self._first
        pairs = forecasts.with_columns(
            pl.Series("actual", self._new[place, 0]), pl.Series("reference", self._new[place, 1])
        )
        return records_of(pairs.filter(pl.col("actual").is_finite()), self._phase)

    def months_to_score(self) -> list[int]:
        """Return the local months of the touched hours, after reading the sums of their other hours."""
        months = np.unique(self._month[self._touched])
        days = np.unique((np.flatnonzero(np.isin(self._month, months) | self._redone)) // 24)
        stored = (
            stored_scores.sums_of_days(self._connection, self._city.id, self.first_day + days[self._has_sums[days]])
            if self._has_sums[days].any()
            else {}
        )
        old = [
            unpack(sums, day, self._phase, self._old[24 * (day - self.first_day) :][:24])
            for day, sums in sorted(stored.items())
        ]
        self._records_old: Records = np.concatenate([np.zeros(0, RECORDS), *old])
        kept = self._records_old[~self._redone[self._records_old["hour"] - self._first]]
        self._records_all: Records = np.concatenate([kept, self._records_new])
        both = np.concatenate([self._records_old["hour"], self._records_new["hour"]]) - self._first
        self.scored_hours = len(np.unique(both[self._touched[both]]))
        return [int(month) for month in months]

    def score_month(self, month: int) -> MonthScores:
        """Return the scores of a local month whose pairs changed."""
        hours = np.flatnonzero(self._month == month) + self._first
        old = {} if month in self._rebuilt else _by_group(self._of_month(self._records_old, month))
        rows = []
        for key, records in _by_group(self._of_month(self._records_all, month)).items():
            sums = sums_of(records)
            if key in old and sums.tobytes() == sums_of(old[key]).tobytes():
                continue
            rows.append(
                {"city": self._city.name, "city_id": self._city.id}
                | group_of(key)
                | {"month": f"{_UNIX + timedelta(microseconds=month):%Y-%m}", "actuals_as_of": self._now}
                | score_hours(sums, forecasting_city(self._city))
            )
        return MonthScores((self._moment(hours[0]), self._moment(hours[-1] + 1)), rows)

    def _of_month(self, records: Records, month: int) -> Records:
        chosen: Records = records[self._month[records["hour"] - self._first] == month]
        return chosen

    def days_to_store(self) -> list[ScoredDay]:
        """Return the state of the days that changed and have forecasts."""
        redone = self._redone.reshape(-1, 24).any(axis=1)
        kept_from = sums_kept_from(self._now)
        by_day = self._records_all["hour"] // 24
        stored = []
        for place in np.flatnonzero(redone & (self._is_stored | self._has_forecasts)):
            day = self.first_day + int(place)
            sums = pack(self._records_all[by_day == day]) if day >= kept_from else None
            actuals = self._new[24 * place : 24 * place + 24].astype("<f8").tobytes()
            stored.append(ScoredDay(day, self._phase, actuals, sums))
        return stored


def _by_group(records: Records) -> dict[bytes, Records]:
    return {bytes(key): records[records["key"] == key] for key in np.unique(records["key"])}
