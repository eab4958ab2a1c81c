"""Faults of the program: one line for the user, and the traceback in a file of the state folder."""

from __future__ import annotations

import traceback

from energy_forecast.errors import EnergyForecastError
from energy_forecast.postgres.private_files import make_folder, private
from energy_forecast.settings import settings


def describe_fault(error: BaseException) -> str:
    """Return the error in one line with the place of its traceback, which is added to `faults.log`."""
    text = f"This is a fault of the program: {type(error).__name__}: {error}"
    try:
        home = settings().home
        make_folder(home)
        with open(home / "faults.log", "a", encoding="utf-8", opener=private) as log:
            traceback.print_exception(error, file=log)
    except (OSError, EnergyForecastError):
        return text
    return f"{text}. Details are in {home / 'faults.log'}."
