"""Every error that this package raises on purpose.

They form one tree. The default message of an error is the docstring of its class, and `hint` is the remedy. Messages
name a parameter in backquotes; the command line shows its option instead, and maps the tree to exit statuses.
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
    """A setting has an invalid value."""


class MissingExtraError(EnergyForecastError):
    """An optional part of the package is not installed."""


class ServerError(EnergyForecastError):
    """The embedded PostgreSQL server failed."""


class DatabaseError(EnergyForecastError):
    """The database refused the request."""


class DataRefusedError(DatabaseError):
    """The database refused a data value."""


class ConnectionLostError(DatabaseError):
    """The connection to the database was lost."""


class ConnectionsInUseError(DatabaseError):
    """All connections of the program to the database are in use."""


class UnreachableError(ConnectionLostError):
    """The database cannot be reached."""


class SchemaError(DatabaseError):
    """The database schema does not match this version of the program."""


class BackupError(EnergyForecastError):
    """The backup failed, or the stored backup is damaged."""


class IngestError(EnergyForecastError):
    """The file cannot be loaded."""


class AccessError(EnergyForecastError):
    """The access of a user cannot be changed in this way."""


class AuditError(EnergyForecastError):
    """The audit log is incomplete or was changed."""


class ZoneError(EnergyForecastError):
    """A time zone is unknown, or its rules differ between this program and the database."""


class PlaceError(EnergyForecastError):
    """A country or a subdivision is unknown."""


class UnknownCityError(EnergyForecastError):
    """No city has this name."""


class UnknownModelError(EnergyForecastError):
    """No model has this name."""


class ModelFaultError(EnergyForecastError):
    """A model failed or returned an invalid forecast."""


class UnknownScoreError(EnergyForecastError):
    """The score was not found."""


class PromotionError(EnergyForecastError):
    """A model version cannot become champion in this way."""


class KeyRefusedError(EnergyForecastError):
    """The key of the HTTP API is missing or not valid."""


class SessionEndedError(KeyRefusedError):
    """The session has ended."""

    def __init__(self) -> None:
        super().__init__(hint="Sign in again.")


class NotPermittedError(EnergyForecastError):
    """The user or their key may not do this."""


class NotFoundError(EnergyForecastError):
    """There is no such object that the user may see."""


class MethodError(EnergyForecastError):
    """The path does not have this HTTP method."""


class FormatError(EnergyForecastError):
    """The requested format is not available."""


class MediaTypeError(EnergyForecastError):
    """The format of the body is not supported."""


class TooLargeError(EnergyForecastError):
    """The request is too large."""


class TimedOutError(DatabaseError):
    """The database took longer than a request may take."""


class ServerFaultError(EnergyForecastError):
    """The server failed because of a fault of its program."""


class ConflictError(EnergyForecastError):
    """The request contradicts an earlier one."""


class TooManyRequestsError(EnergyForecastError):
    """Too many requests wait or run."""


class NotEnoughDataError(EnergyForecastError):
    """There is not enough data."""


class OutOfRangeError(EnergyForecastError):
    """A value is larger than the database can store."""


class ArtifactError(EnergyForecastError):
    """A stored model cannot be read."""

    def __init__(self, message: str | None = None, *, hint: str = "Train the model again.") -> None:
        super().__init__(message, hint=hint)


class SampleError(EnergyForecastError):
    """The sample data is not installed."""


def describe(error: BaseException) -> str:
    """Return an exception in one line of printable characters: its type and its message."""
    # str(error) may fail itself
    text = one_line("".join(traceback.format_exception_only(error)))
    return text if text.endswith((".", "?", "!")) else f"{text}."


def one_line(text: str) -> str:
    """Return a text as one line of limited length, without characters that a terminal or PostgreSQL refuses."""
    printable = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return printable if len(printable) <= _LONGEST else f"{printable[: _LONGEST - 1]}…"
