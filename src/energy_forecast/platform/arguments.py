"""Read the arguments of the public API: frames of any library, times, spans and names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import polars as pl

from energy_forecast.errors import EnergyForecastError, IngestError, describe
from energy_forecast.forecasting import hourly
from energy_forecast.time_arguments import read_horizon, read_local_time, read_moment, read_span

Given = TypeVar("Given")
Read = TypeVar("Read")
Moment: TypeAlias = "datetime | str"
Span: TypeAlias = "timedelta | str"
Names: TypeAlias = "str | Sequence[str]"
# Parameters below this package that have another name here
_OTHER_NAMES = {"`first`": "`start`", "country_code:": "`country`:"}


@runtime_checkable
class Frame(Protocol):
    """A table of any library with the Arrow PyCapsule interface: polars, pandas, pyarrow, DuckDB and others."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the table as a capsule with an Arrow stream."""
        ...


def moment(given: Moment, name: str) -> datetime:
    """Return the parameter `name`, a time, in UTC. Raises EnergyForecastError if it has no offset."""
    return _read(read_moment, given, name)


def optional_moment(given: Moment | None, name: str) -> datetime | None:
    """Return the parameter `name` as `moment` does, and None unchanged."""
    return None if given is None else moment(given, name)


def span(given: Span, name: str) -> timedelta:
    """Return the parameter `name`, a span of time such as 30d. Raises EnergyForecastError if it is none."""
    return _read(read_span, given, name)


def local_time(given: str, name: str) -> time:
    """Return the parameter `name`, a local time of day. Raises EnergyForecastError if it is none."""
    return _read(read_local_time, given, name)


def horizon(given: Span) -> timedelta:
    """Return the parameter `horizon`, whole hours up to 168h. Raises EnergyForecastError if it is another span."""
    return _read(read_horizon, given, "horizon")


def _read(read: Callable[[Given], Read], given: Given, name: str) -> Read:
    try:
        return read(given)
    except EnergyForecastError as error:
        raise EnergyForecastError(f"`{name}`: {error.message}", hint=error.hint) from None


def names(given: Names) -> list[str]:
    """Return one name or several as a list."""
    return [given] if isinstance(given, str) else list(given)


@contextmanager
def own_names() -> Iterator[None]:
    """Name the parameters of the public API in the errors of the functions that it calls."""
    try:
        yield
    except EnergyForecastError as error:
        for name, own in _OTHER_NAMES.items():
            error.message = error.message.replace(name, own)
            error.hint = error.hint and error.hint.replace(name, own)
        raise


def as_polars(frame: Frame, name: str) -> pl.DataFrame:
    """Return a frame of any library as a frame of polars. The named index of a pandas frame becomes a column.

    Raises:
        IngestError: the parameter `name` is no frame.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    is_pandas = type(frame).__module__.partition(".")[0] == "pandas"
    if not isinstance(frame, Frame) or (is_pandas and not hasattr(frame, "columns")):
        raise IngestError(
            f"`{name}` is of type {type(frame).__name__}, which is no frame.",
            hint="Use a frame of polars, pandas or pyarrow.",
        )
    try:
        return _from_pandas(frame) if is_pandas else pl.DataFrame(frame)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise IngestError(f"`{name}` cannot be read: {describe(error)}") from error


def _from_pandas(frame: Any) -> pl.DataFrame:
    """Convert a frame column by column, since the Arrow interface of pandas requires pyarrow."""
    if any(level is not None for level in frame.index.names):
        frame = frame.reset_index()
    return pl.DataFrame([_from_pandas_column(str(name), column) for name, column in frame.items()])


def _from_pandas_column(name: str, column: Any) -> pl.Series:
    kind = getattr(column.dtype, "kind", "O")
    if kind in "iuf":
        return pl.Series(name, column.to_numpy("float64", na_value=float("nan")), nan_to_null=True)
    if kind != "M":
        return pl.Series(name, column.astype(object).where(column.notna(), None).to_list())
    if column.dt.tz is None:
        return pl.Series(name, column.to_numpy("datetime64[us]"))
    return pl.Series(
        name, column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]")
    ).dt.replace_time_zone("UTC")


def hourly_load(frame: Frame, name: str) -> pl.DataFrame:
    """Return hourly load as `forecasting` requires it: timestamp (UTC, start of the hour), consumption_kwh.

    Raises:
        IngestError: the parameter `name` is no frame, lacks a column, or its times have no zone.
    """
    return hourly(_columns(frame, name, ("consumption_kwh",), ()))


def hourly_weather(frame: Frame | None, name: str) -> pl.DataFrame:
    """Return hourly weather as `forecasting` requires it. None gives an empty frame; missing columns are null.

    Raises:
        IngestError: as `hourly_load`.
    """
    if frame is None:
        frame = pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC"), "temperature": pl.Float64})
    return hourly(_columns(frame, name, ("temperature",), ("humidity", "wind_speed", "precipitation")))


def _columns(frame: Frame, name: str, required: Sequence[str], optional: Sequence[str]) -> pl.DataFrame:
    """Return the timestamps in UTC and the columns of numbers."""
    found = as_polars(frame, name)
    lacking = {"timestamp", *required} - set(found.columns)
    if lacking:
        raise IngestError(f"`{name}` has no column {', '.join(sorted(lacking))}.")
    kind = found.schema["timestamp"]
    if not isinstance(kind, pl.Datetime) or kind.time_zone is None:
        raise IngestError(
            f"The column timestamp of `{name}` is of type {kind}, without a time zone.",
            hint='Use timestamps in UTC, such as those of pl.col("timestamp").dt.replace_time_zone("UTC").',
        )
    return found.select(
        pl.col("timestamp").dt.convert_time_zone("UTC").dt.cast_time_unit("us"),
        *(pl.col(column).cast(pl.Float64) for column in required),
        *(
            pl.col(column).cast(pl.Float64) if column in found.columns else pl.lit(None, pl.Float64).alias(column)
            for column in optional
        ),
    )
