"""Issue times of a backtest, by city."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from functools import partial

from energy_forecast.database.cities import StoredCity
from energy_forecast.errors import EnergyForecastError
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.zones import daily_instants


def issue_times(
    first: datetime, end: datetime, every: timedelta, *, at_local: time | None = None, zone: str = "UTC"
) -> list[datetime]:
    """Return the issue times of a city before `end`: `first`, `first + every`, ..., or one local time of its days.

    Args:
        every: the time between two issue times; with `at_local` a number of days.
        at_local: a local time in `zone`, as `daily_instants` defines it.

    Raises:
        EnergyForecastError: there is no issue time, or `every` is too short or not a number of days.
    """
    if at_local is not None and every % timedelta(days=1):
        raise EnergyForecastError("With `at_local`, `every` must be a number of days.")
    if every < timedelta(hours=1):
        raise EnergyForecastError("`every` must be one hour or more.")
    if end <= first:
        raise EnergyForecastError("`end` must be later than `first`.")
    if at_local is None:
        return [first + every * number for number in range(-(-(end - first) // every))]
    times = daily_instants(zone, first, end, at_local)[:: every // timedelta(days=1)]
    if not times:
        raise EnergyForecastError(
            f"No day from `first` to `end` has the local time {at_local:%H:%M} in {zone}.", hint="Choose a later `end`."
        )
    return times


def times_by_city(
    cities: Sequence[StoredCity], times_in: Callable[[str], list[datetime]]
) -> tuple[dict[str, list[datetime]], dict[str, str]]:
    """Return the issue times of each city, and the reasons of the cities without any.

    Args:
        times_in: returns the issue times in a time zone.

    Raises:
        EnergyForecastError: no city has an issue time, so the arguments are invalid.
    """
    times, failed = {}, {}
    for city in cities:
        found = attempt(f"Find the issue times of {city.name}", partial(times_in, city.timezone))
        if not isinstance(found, Failed):
            times[city.name] = found
            continue
        failed[city.name] = found.reason
        if len(failed) == len(cities):
            raise EnergyForecastError(found.message, hint=found.hint)
    return times, failed


def segments(times: dict[str, list[datetime]], refit: timedelta | None) -> list[dict[str, list[datetime]]]:
    """Return the issue times of each city between two fits, which are at the first issue time of all cities."""
    if refit is None:
        return [times]
    first = min(issues[0] for issues in times.values())
    segments: dict[int, dict[str, list[datetime]]] = defaultdict(dict)
    for city, issues in times.items():
        for moment in issues:
            segments[(moment - first) // refit].setdefault(city, []).append(moment)
    return [segments[number] for number in sorted(segments)]
