"""Forecasts of the energy consumption of cities, stored and scored in PostgreSQL.

Examples:
    >>> import energy_forecast as ef
    >>> db = ef.connect()
    >>> db.add_city("Munich", latitude=48.14, longitude=11.58, timezone="Europe/Berlin", country="DE")
    >>> db.ingest("consumption", frame)
    >>> db.forecast("Munich", horizon="48h").plot()

Importing this package loads no other library; the first use of a name does.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from energy_forecast.errors import EnergyForecastError
    from energy_forecast.forecasting import City
    from energy_forecast.platform.client import Client
    from energy_forecast.platform.connecting import connect
    from energy_forecast.platform.forecast import Forecast
    from energy_forecast.platform.model import fit, load_model, models
    from energy_forecast.platform.platform import Platform

    __version__: str

__all__ = [
    "City",
    "Client",
    "EnergyForecastError",
    "Forecast",
    "Platform",
    "__version__",
    "connect",
    "fit",
    "load_model",
    "models",
]

# A program that uses the package configures the log; without this, Python would print warnings
logging.getLogger(__name__).addHandler(logging.NullHandler())

_MODULES = {
    "City": "forecasting",
    "Client": "platform.client",
    "EnergyForecastError": "errors",
    "Forecast": "platform.forecast",
    "Platform": "platform.platform",
    "connect": "platform.connecting",
    "fit": "platform.model",
    "load_model": "platform.model",
    "models": "platform.model",
}


def __getattr__(name: str) -> object:
    """Return a public name, imported at its first use (PEP 562)."""
    if name == "__version__":
        return import_module("importlib.metadata").version("energy-forecast")
    if name not in _MODULES:
        raise AttributeError(f"module 'energy_forecast' has no attribute {name!r}")
    found = getattr(import_module(f"energy_forecast.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
