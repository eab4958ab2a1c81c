"""Problems of the HTTP API: the one table from errors to statuses and types (RFC 9457), for the API and its clients."""

from __future__ import annotations

from dataclasses import dataclass

from energy_forecast import errors
from energy_forecast.errors import EnergyForecastError


@dataclass(frozen=True)
class Problem:
    """A kind of problem.

    Args:
        name: the last part of its type, /problems/NAME, which is a page of the API.
        status: the HTTP status.
        error: the error that a client raises. The API reports this error, and its subclasses without an entry, so.
        description: a sentence with the cause, and one with the remedy.
    """

    name: str
    status: int
    title: str
    error: type[EnergyForecastError]
    description: str

    @property
    def type(self) -> str:
        """Its type, a URI reference."""
        return f"/problems/{self.name}"


PROBLEMS: dict[str, Problem] = {
    one.name: one
    for one in (
        Problem(
            "invalid-request",
            422,
            "The request is invalid.",
            EnergyForecastError,
            "A parameter is missing, unknown, or has an invalid value. `detail` names it; `hint` is the remedy.",
        ),
        Problem(
            "key-refused",
            401,
            "The key is missing or not valid.",
            errors.KeyRefusedError,
            "Send `Authorization: Bearer KEY` with a key that is neither revoked nor expired. "
            "An operator creates one: `energy-forecast key create`.",
        ),
        Problem(
            "not-permitted",
            403,
            "The key may not do this.",
            errors.NotPermittedError,
            "The scope of the key does not include this operation, or a city is not granted to its user. "
            "An operator creates keys and grants cities.",
        ),
        Problem(
            "not-found",
            404,
            "Not found.",
            errors.NotFoundError,
            "No such path, or no such object that the user of the key may see.",
        ),
        Problem(
            "unknown-city",
            404,
            "The city was not found.",
            errors.UnknownCityError,
            "No city of this name is granted to the user of the key. `GET /v1/cities` lists the others.",
        ),
        Problem(
            "unknown-model",
            404,
            "The model was not found.",
            errors.UnknownModelError,
            "No model has this name. `GET /v1/models` lists the models.",
        ),
        Problem(
            "unknown-score",
            404,
            "The score was not found.",
            errors.UnknownScoreError,
            "No score that the user of the key may see has this id. `GET /v1/scores` lists the scores.",
        ),
        Problem(
            "not-enough-data",
            404,
            "There is not enough data.",
            errors.NotEnoughDataError,
            "The values that the answer requires are not stored. `detail` names them.",
        ),
        Problem(
            "method-not-allowed", 405, "The method is not allowed.", errors.MethodError, "`Allow` has the methods."
        ),
        Problem(
            "not-acceptable",
            406,
            "The format is not available.",
            errors.FormatError,
            "Answers are JSON, CSV, an Arrow stream or Parquet. Choose one with `Accept` or `format`.",
        ),
        Problem(
            "conflict",
            409,
            "The request contradicts an earlier one.",
            errors.ConflictError,
            "Another request was sent with this `Idempotency-Key`. Use a new key for each request.",
        ),
        Problem(
            "too-large",
            413,
            "The request is too large.",
            errors.TooLargeError,
            "Send the data in several requests.",
        ),
        Problem(
            "unsupported-media-type",
            415,
            "The format of the body is not supported.",
            errors.MediaTypeError,
            "`Content-Type` must name a supported format.",
        ),
        Problem(
            "data-refused",
            422,
            "The data cannot be loaded.",
            errors.IngestError,
            "The body cannot be read as the dataset, or no row of it can be used. `detail` has the reason.",
        ),
        Problem(
            "too-many-requests",
            429,
            "Too many requests.",
            errors.TooManyRequestsError,
            "Wait for the seconds of `Retry-After` before the next request.",
        ),
        Problem(
            "internal-error",
            500,
            "The server failed.",
            errors.ServerFaultError,
            "A fault of the program. The log of the server has the details under the id of the request.",
        ),
        Problem(
            "unreadable-model",
            500,
            "A stored model cannot be read.",
            errors.ArtifactError,
            "An operator trains the model again.",
        ),
        Problem(
            "read-only",
            503,
            "The database is read-only.",
            errors.BackupError,
            "The server uses a restored copy, which can only be read until it is activated.",
        ),
        Problem(
            "unavailable",
            503,
            "The database is not available.",
            errors.ConnectionLostError,
            "The database cannot be reached. Repeat the request after `Retry-After`.",
        ),
        Problem(
            "busy",
            503,
            "The server is busy.",
            errors.ConnectionsInUseError,
            "Too many requests run at this time. Repeat the request after `Retry-After`.",
        ),
        Problem(
            "timeout",
            503,
            "The request took too long.",
            errors.TimedOutError,
            "Ask for a shorter span, or for fewer cities.",
        ),
    )
}


def problem_of(error: EnergyForecastError) -> Problem:
    """Return the kind of problem of an error: that of its class, or of the nearest class above."""
    by_class = {one.error: one for one in PROBLEMS.values()}
    kind = next(by_class[one] for one in type(error).__mro__ if one in by_class)
    # Another error of the database, or of the embedded server, is no mistake of the client
    if kind.error is EnergyForecastError and isinstance(error, errors.DatabaseError | errors.ServerError):
        return PROBLEMS["internal-error"]
    return kind
