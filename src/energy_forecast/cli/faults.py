"""Faults of the program: one line for the user, and the traceback in a file of the state folder."""

from __future__ import annotations

import sys

from energy_forecast.errors import describe
from energy_forecast.fault_log import logged


def describe_fault(error: BaseException) -> str:
    """Return the error in one line with the place of its traceback, which is added to `faults.log`."""
    command = " ".join(["energy-forecast", *sys.argv[1:3]])
    return f"This is a fault of the program: {describe(error)}{logged(command, error)}"
