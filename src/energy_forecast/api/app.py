"""The application: endpoints, and what applies to all requests."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import anyio
import anyio.to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from energy_forecast.api import health, pages
from energy_forecast.api.access import Access
from energy_forecast.api.connections import SLOWEST_READER, Arrivals, Turns, turn_of
from energy_forecast.api.endpoints import add_readings
from energy_forecast.api.entsoe import add_entsoe
from energy_forecast.api.limits import Limit
from energy_forecast.api.loads import add_loads
from energy_forecast.api.parameters import path_with_slashes
from energy_forecast.api.problem_answers import error_answer, problem_answer
from energy_forecast.api.runs import Runner, add_runs
from energy_forecast.api.webhooks import Sender
from energy_forecast.database import Database
from energy_forecast.errors import EnergyForecastError, TimedOutError, TooManyRequestsError
from energy_forecast.fault_log import program_fault
from energy_forecast.problems import PROBLEMS
from energy_forecast.web.pages import add_pages
from energy_forecast.web.sign_in import add_sign_in, cookie_name
from energy_forecast.web.state import PageClock

_log = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Requests that run or wait at a time; with as many threads as sessions, the others wait without a thread
_MOST_AT_ONCE = 400
_SESSIONS = 10
# Seconds to wait for a session. There are as many as threads, so a request waits only if the database is away
_SESSION_TIMEOUT = 3.0
_REQUESTS_A_MINUTE = 1200
_WRONG_KEYS_A_MINUTE = 20
_SMALLEST_COMPRESSED = 1024
# Of a body that is not loaded, bytes
_LARGEST_BODY = 1_000_000


def create_app(
    database: Database,
    platform: Database,
    home: Path,
    *,
    requests_a_minute: int = _REQUESTS_A_MINUTE,
    behind_proxy: bool = False,
    clock: PageClock | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        database: its login may take the roles of users and no other. Not pooled; the application makes its pool.
        platform: the same database with the login of the commands, for loads, requested runs and webhooks.
        home: the state folder.
        requests_a_minute: the most requests of a key.
        behind_proxy: whether browsers reach the server over TLS, so that their cookies need it.
        clock: the time of the pages, if it is not that of the database.
    """
    pooled = database.pooled(timeout=_SESSION_TIMEOUT)
    runner, sender = Runner(platform), Sender(pooled, platform)
    wrong_keys = Limit(_WRONG_KEYS_A_MINUTE)
    access = Access(pooled, Limit(requests_a_minute), wrong_keys, cookie_name(has_tls=behind_proxy))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _SESSIONS
        runner.start()
        sender.start()
        yield
        sender.stop()
        runner.stop()
        pooled.close()

    app = FastAPI(
        title="Energy Forecast",
        version=version("energy-forecast"),
        description=pages.DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    add_readings(app, access)
    add_entsoe(app, access)
    add_loads(app, access, platform, home)
    add_runs(app, access, platform, runner)
    health.add_health(app, access)
    pages.add_pages(app)
    add_pages(app, lambda request: access.transaction(request, "read"), clock)
    add_sign_in(app, pooled, database, wrong_keys.count, has_tls=behind_proxy)
    app.add_exception_handler(EnergyForecastError, _platform_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _invalid_request)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_middleware(GZipMiddleware, minimum_size=_SMALLEST_COMPRESSED, compresslevel=4)
    app.add_middleware(_Requests, cookie=access.cookie)
    return app


async def _platform_error(request: Request, error: EnergyForecastError) -> Response:
    if error_answer(error, request.state.id).status_code == 500:
        program_fault(f"Request {request.state.id}", error)
    return error_answer(error, request.state.id)


async def _invalid_request(request: Request, error: RequestValidationError) -> Response:
    """Return the first fault. The input is not repeated, since it may be anything."""
    first = error.errors()[0]
    place = [str(one) for one in first["loc"][1:]] or [str(first["loc"][0])]
    text = str(first["msg"]).removeprefix("Value error, ")
    return problem_answer(
        PROBLEMS["invalid-request"],
        request.state.id,
        detail=f"`{'.'.join(place)}`: {text.rstrip('.')}.",
        hint=f"See {request.url.path.partition('/v1')[0]}/docs for the parameters of this path.",
    )


async def _http_error(request: Request, error: HTTPException) -> Response:
    name = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "unsupported-media-type"}.get(
        error.status_code, "invalid-request"
    )
    headers = {key: value for key, value in (error.headers or {}).items() if key.lower() == "allow"}
    hint = "See /docs for all paths." if name == "not-found" else None
    return problem_answer(PROBLEMS[name], request.state.id, detail=PROBLEMS[name].title, hint=hint, headers=headers)


def _is_large(request: Request) -> bool:
    """Return whether a request that is no load has a large body, by its header; without one, it has no body."""
    if request.url.path.startswith("/v1/ingest/"):
        return False
    length = request.headers.get("content-length", "0")
    return "transfer-encoding" in request.headers or not length.isdecimal() or int(length) > _LARGEST_BODY


class _Requests:
    """Give each request an id, refuse unknown parameters and too many requests, log and count it.

    Args:
        cookie: the name of the cookie of sessions.
    """

    def __init__(self, app: ASGIApp, cookie: str) -> None:
        self._app, self._cookie = app, cookie
        self._running = 0
        self._arrivals, self._turns = Arrivals(), Turns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The server leaves out the body of the answer to HEAD
        scope = dict(scope, method="GET") if scope["method"] == "HEAD" else scope
        if b"%2f" in (raw := scope["raw_path"]).lower():
            scope = dict(scope, path=path_with_slashes(raw))
        request = Request(scope)
        given = request.headers.get(REQUEST_ID, "")
        request.state.id = given if _REQUEST_ID_FORM.fullmatch(given) else uuid4().hex
        began = time.monotonic()
        status, has_started = 500, False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, has_started
            if message["type"] == "http.response.start":
                status = message["status"]
                quota = getattr(request.state, "quota", None)
                extra = {REQUEST_ID: request.state.id, "X-Content-Type-Options": "nosniff"}
                extra |= {} if quota is None else quota.headers
                message["headers"] = [
                    *message["headers"],
                    *((name.lower().encode(), value.encode("latin-1")) for name, value in extra.items()),
                ]
                has_started = True
            with anyio.fail_after(SLOWEST_READER):
                await send(message)

        try:
            if _is_large(request):
                limit = f"The body is larger than {_LARGEST_BODY} bytes."
                large = problem_answer(PROBLEMS["too-large"], request.state.id, detail=limit, hint="Send less.")
                await large(scope, receive, send_with_headers)
            else:
                complete = await self._arrivals.complete(request, receive)
                await self._run(request, scope, complete, send_with_headers)
        except (TimedOutError, TooManyRequestsError) as error:
            await error_answer(error, request.state.id)(scope, receive, send_with_headers)
        except TimeoutError:
            if not has_started:
                raise
            _log.warning("answer not read", extra={"request": request.state.id})
        except Exception as error:  # noqa: BLE001 - a fault of one request must not end the server
            program_fault(f"Request {request.state.id}", error)
            failed = problem_answer(
                PROBLEMS["internal-error"],
                request.state.id,
                detail=PROBLEMS["internal-error"].title,
                hint="Report the id of the request to the operator.",
            )
            await failed(scope, receive, send_with_headers)
        finally:
            _note(request, status, time.monotonic() - began)

    async def _run(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that has arrived, in its turn."""
        if self._running >= _MOST_AT_ONCE:
            busy = problem_answer(
                PROBLEMS["busy"], request.state.id, detail=f"{_MOST_AT_ONCE} requests run or wait.", hint="Repeat it."
            )
            await busy(scope, receive, send)
            return
        self._running += 1
        try:
            if (name := turn_of(request, self._cookie)) is None:
                await self._app(scope, receive, send)
                return
            async with self._turns.turn(name):
                await self._app(scope, receive, send)
        finally:
            self._running -= 1


def _note(request: Request, status: int, seconds: float) -> None:
    """Count and log a request."""
    route, method = getattr(request.scope.get("route"), "path", "other"), request.method
    health.REQUESTS.labels(route, method, status).inc()
    health.SECONDS.labels(route).observe(seconds)
    _log.info(
        "request",
        extra={
            "request": request.state.id,
            "method": method,
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 1),
            "user": getattr(request.state, "user", None),
            "key": getattr(request.state, "key", None),
        },
    )
