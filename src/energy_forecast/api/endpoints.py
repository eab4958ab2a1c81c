"""One endpoint for each reading of the catalog."""

from __future__ import annotations

import hashlib
import inspect
import random
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Query
from starlette.requests import Request
from starlette.responses import Response

from energy_forecast.api.access import Access
from energy_forecast.api.formats import FACTS_HEADER, FORMATS, Shape, chosen_format, facts_header, json_rows
from energy_forecast.api.parameters import parameters_of
from energy_forecast.api.problem_answers import MEDIA_TYPE, schema
from energy_forecast.errors import EnergyForecastError, one_line
from energy_forecast.readings.catalog import READINGS, Reading
from energy_forecast.readings.parameters import PARAMETERS, http_name
from energy_forecast.tables import Table, column_of

# Facts whose value depends on the time of the request
_MOMENTS = frozenset({"as_of"})
_FORMAT = inspect.Parameter(
    "format",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        str | None,
        Query(
            description="Format of the answer; it takes precedence over `Accept`.",
            json_schema_extra={"enum": list(FORMATS)},
        ),
    ],
)
_SHAPE = inspect.Parameter(
    "shape",
    inspect.Parameter.KEYWORD_ONLY,
    default=Shape.COLUMNS,
    annotation=Annotated[
        Shape, Query(description="JSON with an array for each column, or with an object for each row.")
    ],
)
# Not `request`, which is a parameter of readings
_REQUEST = inspect.Parameter("http_request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)


def add_readings(app: FastAPI, access: Access) -> None:
    """Add an endpoint for each reading."""
    for reading in READINGS.values():
        app.add_api_route(
            reading.path,
            _endpoint(reading, access),
            methods=["GET"],
            operation_id=reading.name,
            summary=_first_sentence(reading),
            description=_description(reading),
            response_class=Response,
            responses=_answers(reading),
            tags=[reading.tag],
        )


def _endpoint(reading: Reading, access: Access) -> Callable[..., Response]:
    parameters_given = parameters_of(reading)
    known = {"format", "shape"} | {http_name(one.name) for one in parameters_given}

    def endpoint(*, http_request: Request, format: str | None, shape: Shape, **parameters: Any) -> Response:
        request = http_request
        check_names(request, known)
        chosen = chosen_format(request.headers.get("accept"), format)
        variant = f"{chosen.name} {shape}"
        with access.transaction(request, "read") as connection:
            if reading.state is not None and "if-none-match" in request.headers:
                etag = _etag(reading.state(connection, **parameters), variant)
                if _is_known(request, etag):
                    return Response(status_code=304, headers=_headers(request, reading, etag, None))
            table = reading.read(connection, **parameters)
        body = json_rows(table) if chosen.name == "json" and shape is Shape.ROWS else chosen.encode(table)
        etag = _etag(_content(table) if reading.state is None else reading.state_of(table), variant)
        if _is_known(request, etag):
            return Response(status_code=304, headers=_headers(request, reading, etag, table))
        headers = _headers(request, reading, etag, table) | {FACTS_HEADER: facts_header(table)}
        if (cursor := table.facts.get("next")) is not None:
            headers["Link"] = f'<{_with_cursor(request, cursor)}>; rel="next"'
        if chosen.name in {"csv", "parquet"}:
            suffix = {"csv": "csv", "parquet": "parquet"}[chosen.name]
            headers["Content-Disposition"] = f'attachment; filename="{reading.name}.{suffix}"'
        return Response(body, headers=headers, media_type=chosen.media_type)

    endpoint.__signature__ = inspect.Signature([_REQUEST, *parameters_given, _FORMAT, _SHAPE])  # type: ignore[attr-defined]
    endpoint.__name__ = reading.name
    return endpoint


def _with_cursor(request: Request, cursor: str) -> str:
    """Return the path and query of a request with another cursor. The path is as it was sent: encoded."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return f"{request.scope['raw_path'].decode('ascii', 'replace')}?{urlencode([*kept, ('cursor', cursor)])}"


def check_names(request: Request, known: Collection[str]) -> None:
    """Raise if the query has a parameter that the path does not have, or one twice: nothing is ignored silently."""
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in known:
            raise EnergyForecastError(
                f"{one_line(name)!r} is not a parameter of this path.", hint=f"Choose from: {', '.join(sorted(known))}."
            )
        if names.count(name) > 1:
            raise EnergyForecastError(f"`{name}` is given more than once.", hint="Give it once.")


def _etag(state: str, variant: str) -> str:
    """Return a weak entity tag: compression changes the bytes of an answer, not its content."""
    return f'W/"{hashlib.sha256(f"{variant} {state}".encode()).hexdigest()[:32]}"'


def _content(table: Table) -> str:
    """Return a hash of the rows and facts, without those that depend on the time of the request."""
    facts = sorted((name, str(value)) for name, value in table.facts.items() if name not in _MOMENTS)
    digest = hashlib.sha256(repr(facts).encode())
    digest.update(FORMATS["arrow"].encode(table))
    return digest.hexdigest()


def _is_known(request: Request, etag: str) -> bool:
    given = request.headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return given.strip() == "*" or etag.removeprefix("W/") in tags


def _headers(request: Request, reading: Reading, etag: str, table: Table | None) -> dict[str, str]:
    seconds = 0
    if getattr(request.state, "has_session", False):
        # The next user of this browser must not find it there
        control = "private, no-store"
    elif reading.is_immutable:
        control = "private, max-age=31536000, immutable"
    else:
        following = None if table is None else table.facts.get("next_issue_at")
        if isinstance(following, datetime):
            # Spread over a minute, so that not all clients come at the same time
            seconds = max(0, int((following - datetime.now(UTC)).total_seconds())) + random.randrange(60)
        control = f"private, max-age={seconds}" if seconds else "private, no-cache"
    return {"ETag": etag, "Cache-Control": control, "Vary": "Accept, Authorization, Cookie"}


def _first_sentence(reading: Reading) -> str:
    return (inspect.getdoc(reading.read) or "").partition("\n")[0].rstrip(".")


def _description(reading: Reading) -> str:
    """Return the docstring up to its sections, with the names of parameters over HTTP, and the columns."""
    text = (inspect.getdoc(reading.read) or "").partition("\nArgs:")[0].partition("\nRaises:")[0].strip()
    for name, parameter in PARAMETERS.items():
        if parameter.http is not None:
            text = text.replace(f"`{name}`", f"`{parameter.http}`")
    rows = [f"- `{name}`: {_column_text(name)}" for name in reading.schema]
    if reading.has_quantiles:
        rows.append("- `q05`, `q10`, ...: quantiles of the forecast, kWh; in JSON under `quantiles`, by level")
    return f"{text}\n\nColumns:\n\n" + "\n".join(rows)


def _column_text(name: str) -> str:
    column = column_of(name)
    return column.description if column.unit is None else f"{column.description}, {column.unit}"


def _answers(reading: Reading) -> dict[int | str, dict[str, Any]]:
    """Return the description of all answers."""
    columns = {name: {"type": "array", "description": _column_text(name), "items": {}} for name in reading.schema}
    properties: dict[str, Any] = {
        "label": {"type": "string", "const": "start", "description": "`timestamp` is the START of its interval"},
        "interval": {
            "type": ["string", "null"],
            "description": "Length of all intervals, ISO 8601 duration; null if they differ, or the rows have none",
        },
        "unit": {"type": ["string", "null"], "description": "The main unit"},
        "units": {"type": "object", "additionalProperties": {"type": "string"}},
        "columns": {"type": "object", "properties": columns, "description": "Without `shape=rows`"},
        "rows": {"type": "array", "items": {"type": "object"}, "description": "With `shape=rows`"},
    }
    if reading.has_quantiles:
        by_level = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": ["number", "null"]}}}
        properties["quantiles"] = by_level
    body = {"type": "object", "required": ["interval", "label", "unit", "units"], "properties": properties}
    content = {
        one.media_type: {"schema": body if one.name == "json" else {"type": "string", "format": "binary"}}
        for one in FORMATS.values()
    }
    return {
        200: {"description": "The rows", "content": content},
        304: {"description": "Nothing has changed since the answer with this `ETag`"},
        **problem_answers(404, 406),
    }


_ALWAYS = (401, 403, 422, 429, 500, 503)
_TEXTS = {
    401: "The key is missing or not valid",
    403: "The key lacks the scope, or a city is not granted to its user",
    404: "No such city or object that the user may see, or no data",
    406: "The format is not available",
    409: "The idempotency key belongs to another request",
    413: "The body is too large",
    415: "The format of the body is not supported",
    422: "A parameter or the body is invalid",
    429: "Too many requests",
    500: "A fault of the server",
    503: "The database is not available, busy, or took too long",
}


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of the problems of an endpoint: those of all endpoints, and some more."""
    content = {MEDIA_TYPE: {"schema": schema()}}
    # Answered before the request reaches the application
    malformed: dict[str, Any] = {
        "description": "Not HTTP, or an address of 64 kB",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    problems = {status: {"description": _TEXTS[status], "content": content} for status in {*_ALWAYS, *statuses}}
    return {400: malformed, **dict(sorted(problems.items()))}
