"""Parameters of requests: their types for the description, and how their text is read."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from datetime import date, datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote, unquote

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator, StringConstraints

from energy_forecast.errors import EnergyForecastError
from energy_forecast.readings.catalog import Reading
from energy_forecast.readings.parameters import PARAMETERS
from energy_forecast.time_arguments import read_moment

_LONGEST_TEXT = 500
# In place of an encoded slash of a path: a character for private use, which no name may have
_SLASH = "\ue02f"
# A plus sign that was not encoded arrives as a space
_LOST_PLUS = re.compile(r".*[T ]\d\d:\d\d\S* \d\d:?\d\d")
_NUMBERS = r"^[0-9.]{1,12}(,[0-9.]{1,12}){0,98}$"


def path_with_slashes(raw: bytes) -> str:
    """Return a decoded path in which an encoded slash is part of a name, such as that of the city Biel/Bienne.

    Args:
        raw: the path as it was sent.
    """
    return unquote(re.sub(rb"%2[fF]", quote(_SLASH).encode(), raw))


def _read_time(text: object) -> object:
    if not isinstance(text, str):
        return text
    if _LOST_PLUS.fullmatch(text):
        raise ValueError("a + in a URL arrives as a space; write it as %2B, or give the time in UTC with Z")
    try:
        return read_moment(text)
    except EnergyForecastError as error:
        raise ValueError(str(error)) from None


def _read_day(text: object) -> object:
    if not isinstance(text, str):
        return text
    found = date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
    if found is None or not 1970 <= found.year < 9000:
        raise ValueError("not a day between the years 1970 and 9000, such as 2026-03-01")
    return found


def _read_slashes(text: object) -> object:
    return text.replace(_SLASH, "/") if isinstance(text, str) else text


def _read_text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a character cannot be printed")
    return text


def _read_numbers(text: str) -> list[float]:
    try:
        return [float(one) for one in text.split(",")]
    except ValueError:
        raise ValueError("not numbers with commas, such as 0.05,0.5,0.95") from None


def _read_texts(text: str) -> list[str]:
    return [_read_text(one.strip()) for one in text.split(",")]


Time = Annotated[datetime, BeforeValidator(_read_time)]
Day = Annotated[date, BeforeValidator(_read_day)]
Text = Annotated[str, StringConstraints(max_length=_LONGEST_TEXT), AfterValidator(_read_text)]
_READABLE: dict[Any, Any] = {
    datetime: Time,
    date: Day,
    str: Text,
    Sequence[float]: Annotated[str, StringConstraints(pattern=_NUMBERS), AfterValidator(_read_numbers)],
    # A URL of more than 64 kB is refused before it is routed, and a character may need 12 bytes
    Sequence[str]: Annotated[str, StringConstraints(max_length=4 * _LONGEST_TEXT), AfterValidator(_read_texts)],
}


def parameters_of(reading: Reading) -> list[inspect.Parameter]:
    """Return the parameters of the endpoint of a reading, under their names in Python."""
    hints = get_type_hints(reading.read)
    return [
        _parameter(name, given, hints[name], is_in_path=f"{{{name}}}" in reading.path)
        for name, given in inspect.signature(reading.read).parameters.items()
        if name != "connection"
    ]


def _parameter(name: str, given: inspect.Parameter, hint: Any, *, is_in_path: bool) -> inspect.Parameter:
    described = PARAMETERS[name]
    is_optional = get_origin(hint) in {Union, UnionType}
    kind = next(one for one in get_args(hint) if one is not NoneType) if is_optional else hint
    options: dict[str, Any] = {
        "description": described.description,
        "openapi_examples": {"example": {"value": described.example}},
    }
    if described.at_least is not None:
        options |= {"ge": described.at_least, "le": described.at_most}
    place = Path(**options) if is_in_path else Query(alias=described.http or name, **options)
    readable = _READABLE.get(kind, kind)
    if is_in_path:
        readable = Annotated[readable, BeforeValidator(_read_slashes)]
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=given.default,
        annotation=Annotated[readable | None if is_optional else readable, place],
    )
