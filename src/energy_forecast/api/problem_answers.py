"""Answers for errors: problem details (RFC 9457) with a page for each type."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from energy_forecast.errors import EnergyForecastError
from energy_forecast.problems import PROBLEMS, Problem, problem_of
from energy_forecast.readings.parameters import PARAMETERS

MEDIA_TYPE = "application/problem+json"
# Seconds after which a request may be repeated
RETRY_AFTER = 5
# Names and commands of this program that a client of HTTP knows under other names
_HTTP_NAMES = {
    "energy-forecast city list": "GET /v1/cities",
    "`add_city`, or `import_cities`": "an operator adds and grants cities",
    **{f"`{name}`": f"`{one.http}`" for name, one in PARAMETERS.items() if one.http is not None},
}


def error_answer(error: EnergyForecastError, request_id: str, headers: dict[str, str] | None = None) -> Response:
    """Return the answer for an error of the platform. A fault of the program has no details, which may name data."""
    problem = problem_of(error)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR and problem.error is not type(error):
        return problem_answer(problem, request_id, detail=problem.title, hint=None, headers=headers)
    return problem_answer(
        problem, request_id, detail=http_names(error.message), hint=http_names(error.hint), headers=headers
    )


def problem_answer(
    problem: Problem,
    request_id: str,
    *,
    detail: str,
    hint: str | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    """Return the answer for a problem; `more` are members beyond those of RFC 9457."""
    body = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": _encodable(detail),
        "hint": hint and _encodable(hint),
        "request_id": request_id,
        **more,
    }
    extra = dict(headers or {})
    if problem.status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        extra.setdefault("Retry-After", str(RETRY_AFTER))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        extra.setdefault("WWW-Authenticate", "Bearer")
    extra.setdefault("Cache-Control", "no-store")
    return Response(orjson.dumps(body), problem.status, extra, MEDIA_TYPE)


def _encodable(text: str) -> str:
    # JSON in UTF-8 has no place for a lone surrogate
    return text.encode("utf-8", "replace").decode()


def http_names(value: Any) -> Any:
    """Return texts with the names that a client of HTTP knows: a text, or a document with texts."""
    match value:
        case str():
            for name, http in _HTTP_NAMES.items():
                value = value.replace(name, http)
            return value
        case dict():
            return {key: http_names(one) for key, one in value.items()}
        case list() | tuple():
            return [http_names(one) for one in value]
        case _:
            return value


def schema() -> dict[str, Any]:
    """Return the JSON schema of problems, for the description of the API."""
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail", "hint", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "enum": [one.type for one in PROBLEMS.values()]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What happened, with the value"},
            "hint": {"type": ["string", "null"], "description": "The remedy"},
            "request_id": {"type": "string", "description": "The id under which the server logged the request"},
        },
    }
