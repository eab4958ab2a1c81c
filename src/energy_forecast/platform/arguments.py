"""Check and read the arguments of the public API: frames of any library, times, spans and names."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from functools import cache, wraps
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)
from uuid import UUID

import polars as pl

from energy_forecast.city_names import name_key
from energy_forecast.errors import EnergyForecastError, IngestError, describe, one_line
from energy_forecast.forecasting import City, Forecaster, WeatherErrors, hourly
from energy_forecast.time_arguments import read_delay, read_horizon, read_local_time, read_moment, read_span

Given = TypeVar("Given")
Read = TypeVar("Read")
Parameters = ParamSpec("Parameters")
Moment: TypeAlias = datetime | str
Span: TypeAlias = timedelta | str
Names: TypeAlias = str | Sequence[str]
# Names of parameters and commands below this package that differ here
_OTHER_NAMES = {
    "`first`": "`start`",
    "country_code:": "`country`:",
    "energy-forecast city list": "Platform.cities()",
}


@runtime_checkable
class Frame(Protocol):
    """A table of any library with the Arrow PyCapsule interface: polars, pandas, pyarrow, DuckDB and others."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the table as a capsule with an Arrow stream."""
        ...


Source: TypeAlias = Frame | str | Path | Sequence[str | Path]
# By annotation: the kind of the argument, and an example
_KINDS: dict[Any, tuple[str, str]] = {
    str: ("text", "one text"),
    bool: ("truth value", "True or False"),
    int: ("whole number", "a number such as 60"),
    float: ("number", "a number such as 48.14"),
    date: ("day", "a day such as datetime.date(2026, 3, 1)"),
    UUID | str: ("id", "the id of a run, as a table shows it"),
    Sequence[float]: ("list of numbers", "a list such as [0.05, 0.95]"),
    bytes: ("bytes", "the bytes of a file, such as those of pathlib.Path.read_bytes()"),
    City: ("City", "one of Platform.cities(), or a City of your own"),
    WeatherErrors: ("WeatherErrors", "the result of forecasting.estimate_weather_errors"),
    Forecaster: ("model", "a model such as Ensemble([...])"),
    str | Forecaster: ("name of a model and no model", "one of models()"),
    Moment: ("time", "a time with an offset, such as 2026-03-01T00:00Z"),
    Span: ("span of time", "text such as 48h, or a timedelta"),
    Names: ("name or list of names", 'a name, or a list such as ["Munich", "Ulm"]'),
    Mapping[str, str]: ("mapping of texts", 'a dict such as {"energy": "MWh"}'),
    Frame: ("frame", "a frame of polars, pandas or pyarrow"),
    str | Path: ("path", "the path of a file or folder"),
    Frame | str | Path: ("frame and no path", "a frame of polars, pandas or pyarrow, or a path"),
    Source: ("frame, path or list of paths", "a frame of polars, pandas or pyarrow, or paths"),
}


def checked(function: Callable[Parameters, Read]) -> Callable[Parameters, Read]:
    """Return a public function that checks each argument against its annotation. Its errors name its own parameters.

    The function raises EnergyForecastError for an argument of another type, and IngestError if it must be a frame.
    """
    signature = inspect.signature(function)

    # Read once, at the first call: many functions are imported and never called
    @cache
    def hints() -> dict[str, Any]:
        return get_type_hints(function)

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Read:
        for name, given in signature.bind(*args, **kwargs).arguments.items():
            if name in hints():
                check_type(given, hints()[name], name)
        with own_names():
            return function(*args, **kwargs)

    return call


def check_type(given: object, annotation: Any, name: str) -> None:
    """Raise if the parameter `name` does not have the type of its annotation.

    Raises:
        EnergyForecastError: it has another type. IngestError if it must be a frame.
    """
    if _fits(given, annotation):
        return
    choices = [one for one in get_args(annotation) if one is not NoneType]
    words = annotation if get_origin(annotation) is Literal else choices[0] if len(choices) == 1 else None
    if get_origin(words) is Literal:
        raise EnergyForecastError(
            f"`{name}`: {one_line(reprlib.repr(given))} not found.", hint=f"Choose from: {', '.join(get_args(words))}."
        )
    required = annotation
    if get_origin(annotation) in {Union, UnionType} and NoneType in get_args(annotation):
        required = Union[tuple(choices)]  # noqa: UP007 - a union of a list of types
    kind, example = _KINDS[required]
    is_frame = required is Frame or Frame in choices
    raise (IngestError if is_frame else EnergyForecastError)(
        f"`{name}` is of type {type(given).__name__}, which is no {kind}: {one_line(reprlib.repr(given))}.",
        hint="Call .collect() first." if is_frame and isinstance(given, pl.LazyFrame) else f"Give {example}.",
    )


def _fits(given: object, annotation: Any) -> bool:
    origin, choices = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        return any(_fits(given, one) for one in choices)
    if origin is Literal:
        return isinstance(given, str) and given in choices
    if origin is Mapping:
        return isinstance(given, Mapping) and all(
            _fits(key, choices[0]) and _fits(value, choices[1]) for key, value in given.items()
        )
    if origin is Sequence:
        if not isinstance(given, Sequence) or isinstance(given, str | bytes):
            return False
        return all(_fits(one, choices[0]) for one in given)
    if annotation in {int, float}:
        return isinstance(given, Integral if annotation is int else Real) and not isinstance(given, bool)
    if annotation is Frame:
        # A series of pandas has the interface of a frame too
        return isinstance(given, Frame) and (not _is_pandas(given) or hasattr(given, "columns"))
    return isinstance(given, annotation)


def _is_pandas(given: object) -> bool:
    return type(given).__module__.partition(".")[0] == "pandas"


def moment(given: Moment, name: str) -> datetime:
    """Return the parameter `name`, a time, in UTC. Raises EnergyForecastError if it has no offset."""
    return _read(read_moment, given, name)


def optional_moment(given: Moment | None, name: str) -> datetime | None:
    """Return the parameter `name` as `moment` does, and None unchanged."""
    return None if given is None else moment(given, name)


def span(given: Span, name: str) -> timedelta:
    """Return the parameter `name`, a span of time such as 30d. Raises EnergyForecastError for other text."""
    return _read(read_span, given, name)


def delay(given: Span, name: str) -> timedelta:
    """Return the parameter `name`, a delay such as 30h or 0h. Raises EnergyForecastError for other text."""
    return _read(read_delay, given, name)


def local_time(given: str, name: str) -> time:
    """Return the parameter `name`, a local time of day. Raises EnergyForecastError for other text."""
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
        IngestError: the parameter `name` cannot be read.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    try:
        return _from_pandas(frame) if _is_pandas(frame) else pl.DataFrame(frame)
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


def hourly_load(frame: Frame, name: str, city: City) -> pl.DataFrame:
    """Return hourly load as `forecasting` requires it: timestamp (UTC, start of the hour), consumption_kwh.

    Raises:
        IngestError: the parameter `name` lacks a column, has rows of another city, or its times have no zone or repeat.
    """
    return hourly(_columns(frame, name, city, ("consumption_kwh",), ()))


def hourly_weather(frame: Frame | None, name: str, city: City) -> pl.DataFrame:
    """Return hourly weather as `forecasting` requires it. None gives an empty frame; missing columns are null.

    Raises:
        IngestError: as `hourly_load`.
    """
    if frame is None:
        frame = pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC"), "temperature": pl.Float64})
    return hourly(_columns(frame, name, city, ("temperature",), ("humidity", "wind_speed", "precipitation")))


def _columns(frame: Frame, name: str, city: City, required: Sequence[str], optional: Sequence[str]) -> pl.DataFrame:
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
    _check_rows(found, name, city)
    try:
        return found.select(
            pl.col("timestamp").dt.convert_time_zone("UTC").dt.cast_time_unit("us"),
            *(pl.col(column).cast(pl.Float64) for column in required),
            *(
                pl.col(column).cast(pl.Float64) if column in found.columns else pl.lit(None, pl.Float64).alias(column)
                for column in optional
            ),
        )
    except pl.exceptions.PolarsError as error:
        raise IngestError(f"A column of `{name}` is not numeric: {describe(error)}") from error


def _check_rows(frame: pl.DataFrame, name: str, city: City) -> None:
    """Raise IngestError if the rows are not of one city, or two have one time."""
    if "city" in frame.columns:
        others = {str(one) for one in frame["city"].unique() if name_key(str(one)) != name_key(city.name)}
        if others:
            raise IngestError(
                f"`{name}` has rows of {min(others)!r}, and the model is of {city.name!r}.",
                hint=f'Keep the rows of one city: filter(pl.col("city") == {city.name!r}).',
            )
    seconds = frame["timestamp"].dt.truncate("1s")
    if seconds.null_count():
        raise IngestError(f"`{name}` has {seconds.null_count()} rows without a timestamp.", hint="Remove them.")
    twice = seconds.filter(seconds.is_duplicated())
    if len(twice):
        raise IngestError(
            f"`{name}` has more than one row of {twice[0].isoformat()}.", hint="Keep one row for each timestamp."
        )
