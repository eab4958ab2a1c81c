"""The state of a page, which is wholly in its URL: city, model, time, window and the choices of single views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Literal, Protocol
from urllib.parse import quote, urlencode
from uuid import UUID

from energy_forecast import zones
from energy_forecast.charts.clock import Clock
from energy_forecast.database.cities import StoredCity, all_cities, city_named
from energy_forecast.database.clock import database_now
from energy_forecast.database.connection import Connection
from energy_forecast.errors import EnergyForecastError, UnknownCityError

Purpose = Literal["live", "replay"]
# Kept in links from one view to another
_KEPT = ("city", "model", "as_of")
_LONGEST_WINDOW = 3660
_LONGEST_TEXT = 500


class PageClock(Protocol):
    """The time that pages show, if it is not that of the database.

    speed: how many times faster than real time it runs.
    purpose: of the forecasts that are shown.
    """

    speed: float
    purpose: Purpose

    def now(self) -> datetime:
        """Return the time."""
        ...


@dataclass(frozen=True)
class State:
    """What a page shows.

    Args:
        query: the parameters of the URL, without empty ones.
        cities: those of the reader, by name.
        city: the chosen one, or the first one; None if the reader has none.
        now: the time of the page: `as_of`, or the present.
        is_past: whether `as_of` is given.
        purpose: of the forecasts that are shown.
        speed: how many times faster than real time the clock of the page runs.
    """

    query: Mapping[str, str]
    cities: Sequence[StoredCity]
    city: StoredCity | None
    now: datetime
    is_past: bool
    purpose: Purpose = "live"
    speed: float = 1

    @property
    def place(self) -> StoredCity:
        """The chosen city.

        Raises:
            UnknownCityError: the reader has no city.
        """
        if self.city is None:
            raise UnknownCityError(
                "There is no city that you may see.",
                hint="An operator adds one, and grants it: energy-forecast city add, energy-forecast user grant.",
            )
        return self.city

    @cached_property
    def clock(self) -> Clock:
        """The local time of the chosen city; UTC without one."""
        return Clock("UTC" if self.city is None else self.city.timezone)

    @property
    def model(self) -> str | None:
        """The name of the chosen model; None for the one that serves."""
        return self.query.get("model")

    @property
    def as_of(self) -> datetime | None:
        """The time at which values had to be known, for readings: None for the present."""
        return self.now if self.is_past or self.speed != 1 else None

    @property
    def other_purpose(self) -> Purpose | None:
        """The purpose of the forecasts for the URL of a reading: None if it is the usual one."""
        return None if self.purpose == "live" else self.purpose

    def text(self, name: str, default: str, allowed: Sequence[str] | None = None) -> str:
        """Return a parameter.

        Raises:
            EnergyForecastError: it is not an allowed one.
        """
        found = self.query.get(name, default)
        if allowed is not None and found not in allowed:
            raise EnergyForecastError(f"`{name}` is {found!r}.", hint=f"Use {', '.join(allowed)}.")
        return found

    def number(self, name: str, default: float) -> float:
        """Return a number.

        Raises:
            EnergyForecastError: the text is not one.
        """
        text = self.query.get(name)
        if text is None:
            return float(default)
        try:
            found = float(text.replace(",", ""))
        except ValueError:
            raise EnergyForecastError(f"`{name}` is {text!r}, which is no number.") from None
        if not abs(found) < 1e15:
            raise EnergyForecastError(f"`{name}` is {text!r}, which is no useful number.")
        return found

    def days(self, default: int) -> int:
        """Return the window in days.

        Raises:
            EnergyForecastError: it is no such number.
        """
        found = self.number("window", default)
        if not (found.is_integer() and 1 <= found <= _LONGEST_WINDOW):
            raise EnergyForecastError(
                f"`window` is {self.query.get('window')!r}.", hint=f"Give whole days, 1 to {_LONGEST_WINDOW}."
            )
        return int(found)

    def moment(self, name: str) -> datetime | None:
        """Return a time in UTC; None if the URL has none.

        Raises:
            EnergyForecastError: it is no time.
        """
        text = self.query.get(name)
        return None if text is None else read_time(name, text, self.clock.zone)

    def day(self, name: str) -> date | None:
        """Return a day; None if the URL has none.

        Raises:
            EnergyForecastError: it is no day.
        """
        text = self.query.get(name)
        if text is None:
            return None
        try:
            found = date.fromisoformat(text)
        except ValueError:
            raise EnergyForecastError(f"`{name}` is {text!r}, which is not a day such as 2026-03-01.") from None
        if not 1970 < found.year < 9000:
            raise EnergyForecastError(f"`{name}` is {text!r}, which is not between the years 1971 and 8999.")
        return found

    def id(self, name: str) -> UUID | None:
        """Return an id; None if the URL has none.

        Raises:
            EnergyForecastError: the text is not one.
        """
        text = self.query.get(name)
        if text is None:
            return None
        try:
            return UUID(text)
        except ValueError:
            raise EnergyForecastError(f"`{name}` is {text!r}, which is no id.") from None

    def url(self, path: str, **changes: object) -> str:
        """Return a link to a view, with the city, the model and the time of this page.

        Args:
            path: of the view.
            changes: parameters of the view; None leaves one out.
        """
        kept = {name: self.query[name] for name in _KEPT if name in self.query}
        if self.city is not None and len(self.cities) > 1:
            kept["city"] = self.city.name
        texts = {name: _text(value) for name, value in (kept | changes).items() if value is not None}
        return f"{path}?{urlencode(texts)}" if texts else path

    def data(self, path: str, **parameters: object) -> str:
        """Return the URL of a reading, for the links to CSV and Arrow.

        Args:
            path: with `{city}` for the chosen city.
            parameters: under their names over HTTP; None leaves one out.
        """
        city = "" if self.city is None else quote(self.city.name, safe="")
        texts = {name: _text(value) for name, value in parameters.items() if value is not None}
        found = path.replace("{city}", city)
        return f"{found}?{urlencode(texts)}" if texts else found


def state_of(connection: Connection, given: Mapping[str, str], clock: PageClock | None = None) -> State:
    """Return the state of a page.

    Args:
        given: the parameters of the URL.
        clock: the time of the pages, if it is not that of the database.

    Raises:
        UnknownCityError: the reader sees no city of this name.
        EnergyForecastError: a time cannot be read, or is in the future.
    """
    query = {name: text for name, text in given.items() if text.strip()}
    for parameter, value in query.items():
        if not value.isprintable() or len(value) > _LONGEST_TEXT:
            raise EnergyForecastError(
                f"`{parameter}` is too long or has a character that cannot be printed.", hint="Choose it on the page."
            )
    cities = all_cities(connection)
    name = query.get("city")
    city = (cities[0] if cities else None) if name is None else city_named(connection, name)
    now = database_now(connection) if clock is None else clock.now()
    text = query.get("as_of")
    if text is None:
        return _state(query, cities, city, now, False, clock)
    moment = read_time("as_of", text, "UTC" if city is None else city.timezone)
    if moment > now:
        raise EnergyForecastError(
            f"`as_of` is in the future: {moment:%Y-%m-%dT%H:%MZ}.", hint="Leave it out for the present state."
        )
    return _state(query, cities, city, moment, True, clock)


def _state(
    query: Mapping[str, str],
    cities: Sequence[StoredCity],
    city: StoredCity | None,
    now: datetime,
    is_past: bool,
    clock: PageClock | None,
) -> State:
    if clock is None:
        return State(query, cities, city, now, is_past)
    return State(query, cities, city, now, is_past, clock.purpose, clock.speed)


def read_time(name: str, text: str, zone: str) -> datetime:
    """Return a time in UTC.

    Args:
        name: of the parameter.
        text: ISO 8601 with an offset, or a local time of the zone, as browsers send it.
        zone: the IANA zone of local times.

    Raises:
        EnergyForecastError: it is no time, or not between the years 1970 and 9000.
    """
    # A plus sign that was not encoded arrives as a space
    whole = text.strip().replace(" ", "+") if "T" in text else text.strip()
    try:
        found = datetime.fromisoformat(whole)
    except ValueError:
        raise EnergyForecastError(f"`{name}` is {text!r}, which is not a time such as 2026-03-01T14:00.") from None
    if not 1970 <= found.year < 9000:
        raise EnergyForecastError(f"`{name}` is {text!r}, which is not between the years 1970 and 9000.")
    return zones.instant_at(zone, found) if found.tzinfo is None else found.astimezone(UTC)


def _text(value: object) -> str:
    match value:
        case datetime():
            return (
                f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
                if value.second
                else f"{value.astimezone(UTC):%Y-%m-%dT%H:%MZ}"
            )
        case timedelta():
            return str(value // timedelta(days=1))
        case float():
            return f"{value:g}"
        case _:
            return str(value)
