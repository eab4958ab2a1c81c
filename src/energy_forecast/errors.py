"""Every error that this package raises on purpose.

One tree: the message of an error is its class's docstring unless a better one is given, what is known
stands in its fields, and `hint` says what to do. The command line maps the tree to exit statuses in one place.
"""

from __future__ import annotations

import inspect
import traceback

_LONGEST = 400


class EnergyForecastError(Exception):
    """The operation failed."""

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        self.message = message or inspect.cleandoc(type(self).__doc__ or "").splitlines()[0]
        self.hint = hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class PartialResultError(EnergyForecastError):
    """Some of the requested cities, rows or steps could not be processed; the rest is done. Exit status 3."""


class SettingsError(EnergyForecastError):
    """A setting has a value that cannot be used."""


class ServerError(EnergyForecastError):
    """The embedded PostgreSQL could not do what was asked."""


class DatabaseError(EnergyForecastError):
    """The database refused what was asked."""


class DataRefusedError(DatabaseError):
    """The database refused a value of the data."""


class ConnectionLostError(DatabaseError):
    """The connection to the database was lost."""


class UnreachableError(ConnectionLostError):
    """The database cannot be reached."""


class SchemaError(DatabaseError):
    """The database's schema is not the one that this version needs."""


class BackupError(EnergyForecastError):
    """The backup could not be made, or is not as it was made."""


class IngestError(EnergyForecastError):
    """The file cannot be loaded at all."""


class AccessError(EnergyForecastError):
    """What a person may see cannot be changed like this."""


class AuditError(EnergyForecastError):
    """The audit log is not whole."""


class ZoneError(EnergyForecastError):
    """A time zone is not known, or its rules differ between this program and the database."""


class PlaceError(EnergyForecastError):
    """A country or a subdivision is not known."""


class UnknownCityError(EnergyForecastError):
    """There is no city of this name."""


class UnknownModelError(EnergyForecastError):
    """There is no model of this name."""


class ModelFaultError(EnergyForecastError):
    """A model failed, or did not make a valid forecast."""


class UnknownScoreError(EnergyForecastError):
    """There is no such score."""


class PromotionError(EnergyForecastError):
    """A model version cannot be made champion like this."""


class NotEnoughDataError(EnergyForecastError):
    """There is too little data to do this."""


class OutOfRangeError(EnergyForecastError):
    """A value is larger than the database can store."""


class ArtifactError(EnergyForecastError):
    """A stored model cannot be read back as it was written."""


class SampleError(EnergyForecastError):
    """The sample data is not at hand."""


def describe(error: BaseException) -> str:
    """Return an exception in one line of printable characters: its type and its message."""
    # Not str(error), which may fail itself
    text = one_line("".join(traceback.format_exception_only(error)))
    return text if text.endswith((".", "?", "!")) else f"{text}."


def one_line(text: str) -> str:
    """Return a text in one line, without characters that a terminal or PostgreSQL refuses, and not endless."""
    printable = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return printable if len(printable) <= _LONGEST else f"{printable[: _LONGEST - 1]}…"
