"""Isolation of failures: a failure in one city does not affect the others.

Every loop over cities calls `attempt` for each city. An exception becomes a reason in the report, its traceback goes
to the fault log, and the loop continues.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from energy_forecast.errors import (
    ConnectionLostError,
    EnergyForecastError,
    ModelFaultError,
    NotEnoughDataError,
    OutOfRangeError,
    one_line,
)
from energy_forecast.fault_log import logged, program_fault

Result = TypeVar("Result")


@dataclass(frozen=True)
class Failed:
    """A failed part of the work, with its reason and its remedy in one line each.

    lacks_data: whether more data would help.
    out_of_range: whether a value is larger than the database can store.
    """

    message: str
    hint: str | None = None
    lacks_data: bool = False
    out_of_range: bool = False

    @property
    def reason(self) -> str:
        """The message and the hint."""
        return f"{self.message} {self.hint}" if self.hint else self.message


def attempt(what: str, work: Callable[[], Result]) -> Result | Failed:
    """Return the result of `work`, or the failure.

    Args:
        what: a description of the task, such as "Train linear for Berlin"; for the log.

    Raises:
        KeyboardInterrupt: the user stopped the command.
        ConnectionLostError: the connection to the database was lost, which affects all cities.
    """
    try:
        return work()
    except (KeyboardInterrupt, ConnectionLostError):
        raise
    except EnergyForecastError as error:
        message = one_line(error.message)
        if isinstance(error, ModelFaultError) and error.__cause__ is not None:
            message += logged(what, error.__cause__)
        hint = None if error.hint is None else one_line(error.hint)
        lacks_data, out_of_range = isinstance(error, NotEnoughDataError), isinstance(error, OutOfRangeError)
        return Failed(message, hint, lacks_data, out_of_range)
    except BaseException as error:  # noqa: BLE001 - includes a SystemExit of a third-party model and a panic of polars
        return Failed(program_fault(what, error))
