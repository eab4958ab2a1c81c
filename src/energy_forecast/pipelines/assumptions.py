"""Assumptions of a backtest about a city, which are stored with its runs and scores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias

from energy_forecast.database import history
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Connection
from energy_forecast.database.forecasts import live_load_age
from energy_forecast.errors import EnergyForecastError, NotEnoughDataError
from energy_forecast.forecasting.data.weather_errors import (
    DEFAULT_WEATHER_ERRORS,
    FEWEST_DAYS,
    WeatherErrors,
    estimate_weather_errors,
    read_weather_errors,
)

# The errors of a file; the default; those of the stored weather forecasts; None: measured if possible, else the default
WeatherErrorChoice: TypeAlias = WeatherErrors | Literal["default", "measured"] | None
# System operators in the EU publish the load of an hour until the end of the next one (Regulation 543/2013); few meters
# are faster. See docs/decisions/available-at.md
ASSUMED_LOAD_DELAY = timedelta(hours=1)
_LIVE_SINCE = timedelta(days=60)
_FEWEST_LIVE_DAYS = 14
# Weather services change their models every few years
_MEASURED_OVER = timedelta(days=730)


@dataclass(frozen=True)
class SimulatedWeather:
    """Simulated weather forecasts: observed weather plus random errors.

    source: default, measured or file.
    """

    source: str
    errors: WeatherErrors
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON with everything that the errors depend on, apart from issue time and place."""
        return {"source": self.source, "seed": self.seed} | self.errors.settings()

    @classmethod
    def of(cls, stored: dict[str, Any]) -> SimulatedWeather:
        """Return the settings that `as_dict` wrote."""
        rmse = {name: tuple(values) for name, values in stored.items() if name not in ("source", "seed", "lead_hours")}
        return cls(stored["source"], WeatherErrors(tuple(stored["lead_hours"]), rmse), stored["seed"])


@dataclass(frozen=True)
class Assumptions:
    """Assumptions about a city.

    load_delay: load is known if its interval ended at least so long before the issue, and by its available_at.
    load_delay_source: option, city (its setting), stated (available_at alone), measured (live forecasts) or assumed.
    weather: the simulated weather forecasts; None if the weather is not simulated.
    """

    load_delay: timedelta = timedelta(0)
    load_delay_source: str = "stated"
    weather: SimulatedWeather | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON, as it is stored with runs and scores."""
        delay = {
            "load_delay_minutes": self.load_delay // timedelta(minutes=1),
            "load_delay_source": self.load_delay_source,
        }
        return delay if self.weather is None else delay | {"weather_errors": self.weather.as_dict()}

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Assumptions:
        """Return the assumptions of a stored run."""
        weather = stored.get("weather_errors")
        return cls(
            timedelta(minutes=stored.get("load_delay_minutes", 0)),
            stored.get("load_delay_source", "stated"),
            None if weather is None else SimulatedWeather.of(weather),
        )


NO_ASSUMPTIONS = Assumptions()


def load_delay_of(
    connection: Connection, city: StoredCity, given: timedelta | None, *, now: datetime, first: datetime, end: datetime
) -> tuple[timedelta, str]:
    """Return how late the load of a city is known, and the source of this delay; see `Assumptions`.

    Args:
        given: as requested; None for the setting of the city. Without one, available_at alone counts if it is later
            than the end of the interval for most values of the intervals in [first, end). Otherwise the delay is the
            median age of the last known load in the live forecasts of the last 60 days, if 14 days have some, or an
            hour.
    """
    if given is not None:
        return given, "option"
    if city.load_delay is not None:
        return city.load_delay, "city"
    known = history.availability(connection, city.id, as_of=now, first=first, end=end)
    if 2 * known.at_interval_end < known.values:
        return timedelta(0), "stated"
    days, age = live_load_age(connection, city=city.id, name=city.name, since=now - _LIVE_SINCE)
    if age is not None and days >= _FEWEST_LIVE_DAYS:
        return age, "measured"
    return ASSUMED_LOAD_DELAY, "assumed"


def weather_error_choice(text: str | Path | None) -> WeatherErrorChoice:
    """Return a choice by its word, or the errors in a CSV file; see `read_weather_errors`.

    Raises:
        EnergyForecastError: the file cannot be read or is not valid.
    """
    if text is None or text == "default" or text == "measured":  # noqa: PLR1714 - mypy narrows only this form
        return text  # type: ignore[return-value]
    path = Path(text)
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return read_weather_errors(lines, path.name)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise EnergyForecastError(
            f"The weather errors {path} cannot be read: {reason}.", hint="Choose a CSV file, default or measured."
        ) from error


def simulated_weather(
    connection: Connection, city: StoredCity, choice: WeatherErrorChoice, columns: tuple[str, ...], at: datetime
) -> SimulatedWeather:
    """Return the simulated weather forecasts of a city.

    Args:
        choice: see WeatherErrorChoice.
        columns: the weather columns that the forecasts have; all columns of the errors if empty.
        at: the first issue time. Weather and weather forecasts known by then are measured, so no error looks ahead.

    Raises:
        NotEnoughDataError: the errors cannot be measured.
        EnergyForecastError: a column has no errors.
    """
    source, errors = "default", DEFAULT_WEATHER_ERRORS
    if isinstance(choice, WeatherErrors):
        source, errors = "file", choice
    elif choice != "default":
        measured = measured_weather_errors(connection, city, at)
        if measured is not None:
            source, errors = "measured", measured
        elif choice == "measured":
            raise NotEnoughDataError(
                f"{city.name} has weather forecasts with observed weather of fewer than {FEWEST_DAYS} days from "
                f"{at - _MEASURED_OVER:%Y-%m-%d} to the first issue time, {at:%Y-%m-%d}.",
                hint="Choose a later `first`, load earlier weather forecasts, or use the errors of a file or the "
                "default.",
            )
    return SimulatedWeather(source, errors.only(columns) if columns else errors)


def measured_weather_errors(connection: Connection, city: StoredCity, at: datetime) -> WeatherErrors | None:
    """Return the errors of the weather forecasts of the last two years that were known at a time.

    None if a city has too few; see `estimate_weather_errors`.
    """
    phase = history.phase_as_of(connection, city.id, at)
    read: dict[str, Any] = {"as_of": at, "first": at - _MEASURED_OVER, "phase": phase}
    forecasts = history.weather_vintages_as_of(connection, city.id, **read)
    if forecasts.is_empty():
        return None
    return estimate_weather_errors(forecasts, history.weather_as_of(connection, city.id, end=at, **read))
