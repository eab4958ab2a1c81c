"""The platform over HTTP: the methods of a local database that need no more than the rights of a key."""

from __future__ import annotations

import io
import json
import re
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

import polars as pl

from energy_forecast.errors import EnergyForecastError, IngestError, KeyRefusedError, ServerFaultError, describe
from energy_forecast.ingest import Report, find_dataset
from energy_forecast.pipelines.as_of import BEGINNING
from energy_forecast.platform.arguments import Frame, Moment, as_polars, checked, optional_moment
from energy_forecast.platform.client_runs import RequestedRuns
from energy_forecast.platform.http_session import Answer, HttpSession, checked_url
from energy_forecast.platform.table import Table
from energy_forecast.readings.catalog import READINGS
from energy_forecast.readings.parameters import http_name
from energy_forecast.readings.spans import LONGEST_SPAN

_PARQUET, _GZIP = "application/vnd.apache.parquet", "application/gzip"
_ARROW = "application/vnd.apache.arrow.stream"
_FACTS = "Energy-Forecast-Facts"
# Facts that are times, days or ids; JSON has no type for them
_TIME = re.compile(r".*_at|(actuals_)?as_of|period_(start|end)|start|end|timestamp|first|last")
_DAY = re.compile(r"day|.*_day")
_ID = re.compile(r".*_id|run|batch")


class Client(RequestedRuns):
    """A server of the HTTP API, with the rights of the user of a key. `connect` returns it.

    It has the methods of `Platform` that read, and `ingest`, `forecast`, `train` and `score`, which the server runs. A
    call that reads is one request. Threads can share a client; nothing
    of a call stays in it. If the connection fails or the server is busy, a request is repeated up to three times.

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

    @checked
    def history(
        self, city: str, start: Moment | None = None, end: Moment | None = None, *, as_of: Moment | None = None
    ) -> pl.DataFrame:
        """Return the hourly load and weather of a city as the models see them, known at a time.

        A long history is read in parts, all as known at the same time.

        Args:
            city: name of the city.
            start: first hour. None for the beginning.
            end: hours are before this. None for `as_of`.
            as_of: only values available by then. None for now.

        Returns:
            The columns of `Platform.history`.

        Raises:
            UnknownCityError: the user sees no city of this name.
            EnergyForecastError: `as_of` is in the future, or `end` is not later than `start`.

        Examples:
            >>> remote.history("Munich", "2026-05-01T00:00Z", "2026-05-02T00:00Z")
        """
        first, last, known_by = (
            optional_moment(given, name) for given, name in ((start, "start"), (end, "end"), (as_of, "as_of"))
        )
        if first is not None and (last or known_by or datetime.now(UTC)) - first < LONGEST_SPAN:
            return self._read("history", city=city, start=first, end=last, as_of=known_by).frame
        newest = self._read("history", city=city, end=last, as_of=known_by).facts
        parts, at = [], first or BEGINNING
        while at < newest["end"]:
            until = min(at + LONGEST_SPAN, newest["end"])
            part = self._read("history", city=city, start=at, end=until, as_of=newest["as_of"]).frame
            # The hour before may end in this part
            parts.append(part if at == first else part.filter(pl.col("timestamp") >= at))
            at = until
        return pl.concat(parts)

    @checked
    def ingest(
        self,
        dataset: str,
        source: Frame | str | Path,
        *,
        timezone: str | None = None,
        interval_minutes: int | None = None,
        label: str | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Report:
        """Load a frame or a file as one batch, as `Platform.ingest` does. The key must have the scope `ingest`.

        A request whose connection was lost is repeated, and loaded once.

        Args:
            dataset, timezone, interval_minutes, label, units: as in `Platform.ingest`.
            source: a frame of polars, pandas, pyarrow or another library with the Arrow PyCapsule interface; or the
                path of a CSV, CSV.gz or Parquet file.

        Returns:
            The report: counts of rows (read, inserted, corrected, unchanged, rejected), and notes. Rows of cities that
            are not granted to the user are rejected, like those of unknown cities.

        Raises:
            IngestError: nothing could be loaded.
            NotPermittedError: the key lacks the scope.

        Examples:
            >>> report = remote.ingest("consumption", frame)
            >>> report.inserted, report.rejected
            (8760, 0)
        """
        find_dataset(dataset)
        options = {
            "timezone": timezone,
            "interval_minutes": interval_minutes,
            "label": label,
            "units": ",".join(f"{quantity}={unit}" for quantity, unit in (units or {}).items()) or None,
        }
        query = {name: text_of(value) for name, value in options.items() if value is not None}
        with _body(source) as (body, media_type):
            answer = self._session().post(
                f"/v1/ingest/{dataset}", query, body, media_type=media_type, idempotency_key=uuid4().hex
            )
        try:
            return Report.from_dict(answer.json())
        except (KeyError, TypeError, ValueError) as error:
            raise ServerFaultError("The answer is not a report of a load.") from error

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


@contextmanager
def _body(source: Frame | str | Path) -> Iterator[tuple[BinaryIO, str]]:
    """Yield the open file of a source and its media type. A frame is written to a temporary one."""
    if not isinstance(source, str | Path):
        with tempfile.TemporaryFile() as file:
            try:
                as_polars(source, "source").write_parquet(file)
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError) as error:
                raise IngestError(f"`source` cannot be sent: {describe(error)}") from error
            file.flush()
            yield file, _PARQUET
        return
    try:
        with Path(source).open("rb") as file:
            start = file.read(4)
            yield file, _PARQUET if start == b"PAR1" else _GZIP if start[:2] == b"\x1f\x8b" else "text/csv"
    except OSError as error:
        raise IngestError(f"Cannot read `source` {source}: {error.strerror or error}.") from error


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
