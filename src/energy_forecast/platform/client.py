"""The platform over HTTP: the methods of a local database that need no more than the rights of a key."""

from __future__ import annotations

import io
import json
import re
import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import polars as pl

from energy_forecast.errors import EnergyForecastError, KeyRefusedError, ServerFaultError
from energy_forecast.platform.http_session import Answer, HttpSession, checked_url
from energy_forecast.platform.reader import Reader
from energy_forecast.readings.catalog import READINGS
from energy_forecast.readings.parameters import http_name
from energy_forecast.tables import Table

_ARROW = "application/vnd.apache.arrow.stream"
_FACTS = "Energy-Forecast-Facts"
# Facts that are times, days or ids; JSON has no type for them
_TIME = re.compile(r".*_at|as_of|start|end|timestamp|first|last")
_DAY = re.compile(r"day|.*_day")
_ID = re.compile(r".*_id|run|batch")


class Client(Reader):
    """A server of the HTTP API, with the rights of the user of a key. `connect` returns it.

    It has the methods of `Platform` that read. A call is one request. Threads can share a client; nothing of a call
    stays in it. If the connection fails or the server is busy, a request is repeated up to three times.

    Every method raises a subclass of EnergyForecastError, the one that a local database would raise.

    Examples:
        >>> with ef.connect("https://energy.example.org", key="efp_...") as db:
        ...     db.live_forecast("Munich").frame
    """

    def __init__(self, url: str, key: str | None) -> None:
        address = checked_url(url)
        if not key:
            raise KeyRefusedError(
                f"The key for {address} is missing.",
                hint="Give it as `key`, or set ENERGY_FORECAST_KEY. `energy-forecast key create` creates one.",
            )
        self._opened: HttpSession | None = HttpSession(address, key)
        self._end = weakref.finalize(self, self._opened.close)

    def close(self) -> None:
        """Close the connections and end the use of this object."""
        self._opened = None
        self._end()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<Client, closed>" if self._opened is None else f"<Client of {self._opened.url}>"

    def _session(self) -> HttpSession:
        if self._opened is None:
            raise EnergyForecastError("This client is closed.", hint="Call connect() again.")
        return self._opened

    def _read(self, reading: str, **parameters: Any) -> Table:
        return table_of(self._session().get(*self._path(reading, **parameters), _ARROW))

    def _path(self, reading: str, **parameters: Any) -> tuple[str, dict[str, str]]:
        """Return the path and the query of a reading."""
        path, query = READINGS[reading].path, {}
        for name, value in parameters.items():
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", _segment(text_of(value)))
            elif value is not None:
                query[http_name(name)] = text_of(value)
        return path, query


def same_server(url: str, other: str) -> bool:
    """Return whether two addresses are of one server."""
    return urlsplit(url)[:2] == urlsplit(other)[:2]


def text_of(value: object) -> str:
    """Return a parameter as text of a URL, not encoded."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case bool():
            return str(value).lower()
        case str() | date() | UUID() | int() | float():
            return str(value)
        case Sequence():
            return ",".join(text_of(one) for one in value)
        case _:
            raise TypeError(f"a parameter of type {type(value).__name__}")


def _segment(text: str) -> str:
    """Return a text as a part of a path. Two dots would mean the part above."""
    return text.replace(".", "%2E") if text in {".", ".."} else quote(text, safe="")


def table_of(answer: Answer) -> Table:
    """Return the table of an answer with an Arrow stream and the facts in a header.

    Raises:
        ServerFaultError: it is another answer.
    """
    try:
        if answer.headers.get("Content-Type") != _ARROW:
            raise ValueError("another format")
        frame = pl.read_ipc_stream(io.BytesIO(answer.body))
        facts = json.loads(answer.headers[_FACTS])
    except (pl.exceptions.PolarsError, OSError, ValueError, KeyError) as error:
        raise ServerFaultError(
            "The answer is not a table of the API.", hint="Check that `url` is that of the API."
        ) from error
    facts.pop("units", None)
    return Table(frame, _typed(facts))


def _typed(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _fact(name, value) for name, value in facts.items()}


def _fact(name: str, value: Any) -> Any:
    """Return a fact with the type that it has in a local database."""
    if isinstance(value, Mapping):
        return _typed(value)
    if isinstance(value, list):
        return [_fact(name, one) for one in value]
    if not isinstance(value, str):
        return value
    try:
        if _TIME.fullmatch(name) and value.endswith("Z"):
            return datetime.fromisoformat(value)
        if _DAY.fullmatch(name):
            return date.fromisoformat(value)
        return UUID(value) if _ID.fullmatch(name) else value
    except ValueError:
        return value
