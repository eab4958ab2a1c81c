"""Assumptions of a backtest about a city, which are stored with its runs and scores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias

from energy_forecast.database import history
from energy_forecast.database.cities import StoredCity
from energy_forecast.database.connection import Connection
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

    weather: the simulated weather forecasts; None if the weather is not simulated.
    """

    weather: SimulatedWeather | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON, as it is stored with runs and scores."""
        return {} if self.weather is None else {"weather_errors": self.weather.as_dict()}

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Assumptions:
        """Return the assumptions of a stored run."""
        weather = stored.get("weather_errors")
        return cls(None if weather is None else SimulatedWeather.of(weather))


NO_ASSUMPTIONS = Assumptions()


def weather_error_choice(text: str | Path | None) -> WeatherErrorChoice:
    """Return a choice by its word, or the errors in a CSV file; see `read_weather_errors`.

    Raises:
        EnergyForecastError: the file cannot be read or is not valid.
    """
    if text is None or text == "default" or text == "measured":  # noqa: PLR1714 - mypy narrows only this form
        return text  # type: ignore[return-value]
    path = Path(text)
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return read_weather_errors(lines, path.name)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise EnergyForecastError(
            f"The weather errors {path} cannot be read: {reason}.", hint="Choose a CSV file, default or measured."
        ) from error


def simulated_weather(
    connection: Connection, city: StoredCity, choice: WeatherErrorChoice, columns: tuple[str, ...], now: datetime
) -> SimulatedWeather:
    """Return the simulated weather forecasts of a city.

    Args:
        choice: see WeatherErrorChoice.
        columns: the weather columns that the forecasts have; all columns of the errors if empty.
        now: weather and weather forecasts known by then are measured.

    Raises:
        NotEnoughDataError: the errors cannot be measured.
        EnergyForecastError: a column has no errors.
    """
    source, errors = "default", DEFAULT_WEATHER_ERRORS
    if isinstance(choice, WeatherErrors):
        source, errors = "file", choice
    elif choice != "default":
        measured = _measured(connection, city, now)
        if measured is not None:
            source, errors = "measured", measured
        elif choice == "measured":
            raise NotEnoughDataError(
                f"{city.name} has weather forecasts with observed weather of fewer than {FEWEST_DAYS} days.",
                hint="Load more weather forecasts, or use the default errors.",
            )
    return SimulatedWeather(source, errors.only(columns) if columns else errors)


def _measured(connection: Connection, city: StoredCity, now: datetime) -> WeatherErrors | None:
    phase = history.phase_as_of(connection, city.id, now)
    read: dict[str, Any] = {"as_of": now, "first": now - _MEASURED_OVER, "phase": phase}
    forecasts = history.weather_vintages_as_of(connection, city.id, **read)
    if forecasts.is_empty():
        return None
    return estimate_weather_errors(forecasts, history.weather_as_of(connection, city.id, end=now, **read))
