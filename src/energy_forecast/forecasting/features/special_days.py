"""Special days: how much the load of a city differs on holidays and on days close to them, by the name of the day.

The library `holidays` lists days, and not how much of a city is closed on them: Columbus Day is a workday for most
loads, and the Friday after Thanksgiving is a holiday. The effects are measured on the history of the city, and the
feature matrix and the kinds of day use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import numpy as np

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.data.history import History
from energy_forecast.forecasting.features.calendar import (
    Calendar,
    day_names,
    holiday_shares,
    weekend_of,
    with_holidays,
)
from energy_forecast.forecasting.serialization import Shape, Stored
from energy_forecast.forecasting.types import City, Flags, Floats, Ints

# With less history each name occurs once
_NEEDED_DAYS = 400
_HALF_YEAR_DAYS = 180
# The prior of a name, in occurrences, and that of a role (towards no effect), in names
_NAME_PRIOR, _ROLE_PRIOR = 1.0, 2.0
# Effect at a weekend as a share of that on a weekday
_WEEKEND_SHARE = 0.5
# A day of rest has at least this share of the effect of the last day of the weekend
_REST_SHARE = 0.5
_LEAST_REST_EFFECT = 0.01
_FARTHEST = 0.4
# Of the logarithm of a day's load: others are faults, or a load that may be negative
_FARTHEST_FROM_MEDIAN = 1.5
_FULL_DAY_HOURS = 22
_NEIGHBOUR_DAYS = 14
_PENALTY = 5.0
_KNOTS = (0, 5, 10, 14, 18, 22, 26, 30)


@dataclass(frozen=True)
class SpecialDays(Stored):
    """Measured effects on the load: differences of the logarithm of the mean load of a day from that of other days.

    names: of the measured days, with their role (`eve of Thanksgiving Day`).
    roles: the shrunk mean effect of each role, for a name that was not measured.
    rest: the effect of the last day of the weekend.
    day, name, effect: [n] each measured day (since 1970-01-01), the index of its name, and its effect.
    """

    names: tuple[str, ...]
    roles: Mapping[str, float]
    rest: float
    day: Annotated[Ints, Shape(None)]
    name: Annotated[Ints, Shape(None)]
    effect: Annotated[Floats, Shape(None)]

    @staticmethod
    def none() -> SpecialDays:
        """Return special days without any measured effect."""
        return SpecialDays((), {}, 0.0, np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))

    def check(self) -> None:
        """Raise ArtifactError if the arrays do not fit together."""
        lengths = {len(self.day), len(self.name), len(self.effect)}
        if len(lengths) > 1 or set(self.name.tolist()) != set(range(len(self.names))):
            raise ArtifactError("The stored special days do not fit together.")

    @cached_property
    def _occurrences(self) -> dict[str, list[tuple[int, float]]]:
        found: dict[str, list[tuple[int, float]]] = {name: [] for name in self.names}
        for day, name, effect in zip(self.day.tolist(), self.name.tolist(), self.effect.tolist(), strict=True):
            found[self.names[name]].append((day, effect))
        return found

    def expected(self, city: City, first: int, last: int) -> tuple[Floats, Flags, Floats]:
        """Return the effects that the other days of the same name lead to expect, for the days from `first` to `last`.

        Measured days within half a year do not count, so a model that is trained with these effects sees them as it
        will see those of a future day. Holidays of two days, and those observed on another day too, repeat a name.

        Returns:
            the expected effect of each day, 0 for days that are not special; whether another day of its name was
            measured; and the effect if the day were a weekday.
        """
        expected, on_weekday = np.zeros(last - first + 1), np.zeros(last - first + 1)
        measured = np.zeros(last - first + 1, bool)
        weekend = weekend_of(city.country_code)
        for day, (name, role) in day_names(city, first, last).items():
            total, weight = 0.0, 0.0
            for other, effect in self._occurrences.get(name, ()):
                if abs(other - day) > _HALF_YEAR_DAYS:
                    share = _share(weekend, other)
                    total += share * effect
                    weight += share * share
            own = (total + _NAME_PRIOR * self.roles.get(role, 0.0)) / (weight + _NAME_PRIOR)
            on_weekday[day - first], measured[day - first] = own, weight > 0
            expected[day - first] = _share(weekend, day) * own
        return expected, measured, on_weekday

    def applied(self, calendar: Calendar, city: City) -> Calendar:
        """Return the calendar with these effects: a measured day is a holiday if the load is that of a day of rest."""
        if not self.names:
            return calendar
        first, last = int(calendar.day[0]) - 1, int(calendar.day[-1]) + 1
        effect, measured, on_weekday = self.expected(city, first, last)
        resting = on_weekday <= -max(_LEAST_REST_EFFECT, -_REST_SHARE * self.rest)
        share = np.where(measured, resting.astype(float), holiday_shares(city, first, last))
        return replace(with_holidays(calendar, city, share), special_day_effect=effect[calendar.day - first])


def _share(weekend: tuple[int, ...], day: int) -> float:
    return _WEEKEND_SHARE if (day + 3) % 7 in weekend else 1.0


def measure_special_days(city: City, calendar: Calendar, history: History) -> SpecialDays:
    """Return the effects of the special days of the history.

    The load of each day is compared with the load that weekday, season and temperature explain, and with the
    difference from it on the other days within two weeks.
    """
    known = slice(history.first - history.start, history.known_until - history.start)
    day = calendar.day[known]
    if not len(day) or int(day[-1]) - int(day[0]) < _NEEDED_DAYS:
        return SpecialDays.none()
    first, last = int(day[0]), int(day[-1])
    days = np.arange(first, last + 1)
    load = np.log(np.maximum(_daily(history.load[known], day - first, _FULL_DAY_HOURS), 1e-9))
    temperature = _daily(history.weather["temperature"][known], day - first, _FULL_DAY_HOURS // 2)
    named = day_names(city, first, last)
    special = np.isin(days, list(named))
    weekday, weekend_days = (days + 3) % 7, weekend_of(city.country_code)
    rest, weekend = weekday == weekend_days[-1], np.isin(weekday, weekend_days)
    if np.isfinite(temperature).mean() < 0.5:
        temperature = np.zeros(len(days))
    load[~np.isfinite(temperature)] = np.nan
    if (np.isfinite(load) & ~special).sum() < _NEEDED_DAYS // 2:
        return SpecialDays.none()
    load[np.abs(load - np.nanmedian(load)) > _FARTHEST_FROM_MEDIAN] = np.nan
    normal = np.isfinite(load) & ~special
    residual = load - _explained(_design(days, weekend, temperature), load, normal)
    residual -= _neighbour_mean(np.where(normal, residual, np.nan))
    effect = np.clip(residual, -_FARTHEST, _FARTHEST)
    measured = [d for d in named if np.isfinite(effect[d - first])]
    names = tuple(dict.fromkeys(named[d][0] for d in measured))
    found = SpecialDays(
        names,
        {},
        float(np.mean(load[normal & rest]) - np.mean(load[normal & ~weekend])),
        np.array(measured, np.int64),
        np.array([names.index(named[d][0]) for d in measured], np.int64),
        np.array([effect[d - first] for d in measured], float),
    )
    return replace(found, roles=_role_means(found, city, dict(named.values())))


def _role_means(found: SpecialDays, city: City, role_of: Mapping[str, str]) -> dict[str, float]:
    means: dict[str, list[float]] = {}
    weekend = weekend_of(city.country_code)
    for name, days in found._occurrences.items():
        shares = [_share(weekend, day) for day, _ in days]
        total = sum(share * effect for share, (_, effect) in zip(shares, days, strict=True))
        means.setdefault(role_of[name], []).append(total / sum(share * share for share in shares))
    return {role: float(sum(own) / (len(own) + _ROLE_PRIOR)) for role, own in means.items()}


def _daily(values: Floats, day: Ints, fewest: int) -> Floats:
    """Return the mean of each day, NaN if fewer than `fewest` of its hours are known."""
    known = np.isfinite(values)
    count = np.bincount(day[known], minlength=int(day[-1]) + 1)
    total = np.bincount(day[known], values[known], int(day[-1]) + 1)
    return np.where(count >= fewest, total / np.maximum(count, 1), np.nan)


def _design(days: Ints, weekend: Flags, temperature: Floats) -> Floats:
    year = 2 * np.pi * days / 365.25
    waves = [wave(k * year) for k in (1, 2) for wave in (np.sin, np.cos)]
    filled = np.where(np.isfinite(temperature), temperature, np.nanmean(temperature))
    columns = [((days + 3) % 7 == k).astype(float) for k in range(7)] + waves + [weekend * wave for wave in waves]
    for lag in range(3):
        lagged = np.concatenate([filled[:1].repeat(lag), filled[: len(filled) - lag]])
        columns += [lagged, *(np.maximum(lagged - knot, 0) for knot in _KNOTS)]
    return np.stack(columns, axis=1)


def _explained(design: Floats, load: Floats, normal: Flags) -> Floats:
    centred = design - design[normal].mean(axis=0)
    deviation = centred[normal].std(axis=0)
    centred /= np.where(deviation > 1e-9, deviation, np.inf)
    mean, own = load[normal].mean(), centred[normal]
    gram = own.T @ own + _PENALTY * np.eye(own.shape[1])
    return np.asarray(mean + centred @ np.linalg.solve(gram, own.T @ (load[normal] - mean)), float)


def _neighbour_mean(residual: Floats) -> Floats:
    """Return the mean of the known residuals within two weeks of each day, 0 without any."""
    known = np.isfinite(residual)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, residual, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    at = np.arange(len(residual))
    begin, end = np.maximum(at - _NEIGHBOUR_DAYS, 0), np.minimum(at + _NEIGHBOUR_DAYS + 1, len(residual))
    return np.asarray((total[end] - total[begin]) / np.maximum(count[end] - count[begin], 1), float)
