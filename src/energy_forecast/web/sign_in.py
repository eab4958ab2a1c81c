"""Sign in and out of the pages: with a key, a password that PostgreSQL verifies, or a link for one use."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import anyio.to_thread
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from energy_forecast.charts.pages import render
from energy_forecast.database import Database
from energy_forecast.database.sessions import (
    close_session,
    new_session,
    open_with_key,
    open_with_password,
    redeem_link,
)
from energy_forecast.errors import EnergyForecastError, describe
from energy_forecast.web.pages import html_answer

_log = logging.getLogger(__name__)

_COOKIE = "energy_forecast_session"
_WEEK = 7 * 86_400
# Wrong passwords of a user, in seconds
_MOST_FAILURES, _LOCKED = 10, 900
_MOST_USERS = 10_000
_LONGEST_BODY = 10_000
# Attempts to sign in that run at a time; others wait without a thread
_MOST_ATTEMPTS = 5


def cookie_name(*, has_tls: bool) -> str:
    """Return the name of the cookie with the id of a session. With its prefix, browsers accept it only over TLS."""
    return f"__Host-{_COOKIE}" if has_tls else _COOKIE


class LockOut:
    """Refuses the password of a user after too many wrong ones, for a quarter of an hour.

    Args:
        clock: returns seconds that only increase.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, list[float]] = {}

    def begin(self, user: str) -> bool:
        """Return whether the password of a user may be verified, and count it as wrong until `succeed` or `forgive`.

        Attempts at the same time are counted before the first of them ends.
        """
        with self._lock:
            recent = self._recent(user)
            if len(recent) >= _MOST_FAILURES:
                return False
            # At the end, so that the users who are longest without a failure are forgotten first
            self._failures.pop(user, None)
            self._failures[user] = [*recent, self._clock()]
            if len(self._failures) > _MOST_USERS:
                del self._failures[next(iter(self._failures))]
            return True

    def forgive(self, user: str) -> None:
        """Forget the last attempt, whose password could not be verified."""
        with self._lock:
            if failures := self._failures.get(user):
                failures.pop()

    def succeed(self, user: str) -> None:
        """Forget the wrong passwords of a user."""
        with self._lock:
            self._failures.pop(user, None)

    def _recent(self, user: str) -> list[float]:
        since = self._clock() - _LOCKED
        return [at for at in self._failures.get(user, []) if at > since]


class SignIn:
    """The routes.

    Args:
        pooled: of the login of the API.
        database: the same, without its pool: a password is verified by a login of its own.
        count_wrong: counts a wrong key or password of an address, and returns what is left.
        has_tls: whether browsers reach the server over TLS.
    """

    def __init__(
        self, pooled: Database, database: Database, count_wrong: Callable[[str], object], *, has_tls: bool
    ) -> None:
        self._pooled, self._database, self._count_wrong, self._has_tls = pooled, database, count_wrong, has_tls
        self._cookie = cookie_name(has_tls=has_tls)
        self._lock_out = LockOut()
        # Their threads are those of all requests
        self._attempts = anyio.CapacityLimiter(_MOST_ATTEMPTS)

    async def form(self, request: Request) -> Response:
        """Show the form; a link that was opened directly signs in at once."""
        link = request.query_params.get("link", "")
        goal = _local_path(request.query_params.get("next", ""))
        # Not if another page or a preview opens it
        is_direct = request.headers.get("sec-fetch-site") == "none" and "sec-purpose" not in request.headers
        if link and is_direct and request.method == "GET":
            return await self._attempt(request, {"link": link}, goal)
        return _form_page(goal, link=link)

    async def sign_in(self, request: Request) -> Response:
        """Sign in by the form."""
        if not is_same_origin(request):
            return _form_page("/", problem="The request came from another site. Sign in here.", status=403)
        body = await request.body()
        if len(body) > _LONGEST_BODY:
            return _form_page("/", problem="The form is too long.", status=413)
        given = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        return await self._attempt(request, given, _local_path(given.get("next", "")))

    async def _attempt(self, request: Request, given: dict[str, str], goal: str) -> Response:
        async with self._attempts:
            return await anyio.to_thread.run_sync(self._answer, request, given, goal)

    async def sign_out(self, request: Request) -> Response:
        """End the session of the browser."""
        if not is_same_origin(request):
            return _form_page("/", problem="The request came from another site.", status=403)
        await anyio.to_thread.run_sync(self._close, request)
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(self._cookie, secure=self._has_tls, httponly=True, samesite="lax")
        return answer

    def _answer(self, request: Request, given: dict[str, str], goal: str) -> Response:
        session = new_session()
        problem, status = self._open(request, given, session)
        if problem is not None:
            return _form_page(goal, problem=problem, status=status, user=given.get("user", ""))
        # The session before must not go on with the same browser
        self._close(request)
        answer = RedirectResponse(goal, 303, {"Cache-Control": "no-store"})
        answer.set_cookie(
            self._cookie, session, max_age=_WEEK, path="/", secure=self._has_tls, httponly=True, samesite="lax"
        )
        return answer

    def _open(self, request: Request, given: dict[str, str], session: str) -> tuple[str | None, int]:
        """Open a session; return why it cannot be opened, with the status, or None."""
        address = request.client.host if request.client is not None else ""
        link, key, user, password = (given.get(name, "").strip(" ") for name in ("link", "key", "user", "password"))
        password = given.get("password", "")
        try:
            if link or key:
                with self._pooled.transaction(None) as connection:
                    if link and redeem_link(connection, link, session) is not None:
                        return None, 200
                    found = open_with_key(connection, key, session) if key else None
                if found is not None and found[1] is None:
                    return None, 200
                wrong = "The key is not valid." if key else "The link was used, or is older than 10 minutes."
                return self._refusal(address, wrong)
            if not user or not password:
                return "Give a user and a password, or a key.", 422
            return self._open_with_password(address, user, password, session)
        except EnergyForecastError as error:
            # Its text names the server and the login
            _log.warning("sign-in failed", extra={"error": describe(error)})
            return "The database is not available, or can only be read. Try again later.", 503

    def _open_with_password(self, address: str, user: str, password: str, session: str) -> tuple[str | None, int]:
        if not self._lock_out.begin(user):
            return "Too many wrong passwords of this user. Wait 15 minutes, or sign in with a key.", 429
        try:
            is_open = open_with_password(self._database, user, password, session)
        except EnergyForecastError:
            self._lock_out.forgive(user)
            raise
        if is_open:
            self._lock_out.succeed(user)
            return None, 200
        # Equal for all reasons, since the server may verify the passwords of some logins only
        return self._refusal(
            address, "The user or the password is wrong, or the server does not verify passwords: use a link or a key."
        )

    def _refusal(self, address: str, problem: str) -> tuple[str, int]:
        _log.warning("sign-in refused", extra={"address": address})
        left = self._count_wrong(address)
        if getattr(left, "left", 0) < 0:
            return "Too many attempts from this address. Wait a minute.", 429
        return problem, 403

    def _close(self, request: Request) -> None:
        session = request.cookies.get(self._cookie)
        if session:
            with self._pooled.transaction(None) as connection:
                close_session(connection, session)


def add_sign_in(
    app: FastAPI, pooled: Database, database: Database, count_wrong: Callable[[str], object], *, has_tls: bool
) -> None:
    """Add /sign-in and /sign-out; the arguments are those of SignIn."""
    routes = SignIn(pooled, database, count_wrong, has_tls=has_tls)
    app.add_api_route("/sign-in", routes.form, methods=["GET"], include_in_schema=False)
    app.add_api_route("/sign-in", routes.sign_in, methods=["POST"], include_in_schema=False)
    app.add_api_route("/sign-out", routes.sign_out, methods=["POST"], include_in_schema=False)


def is_same_origin(request: Request) -> bool:
    """Return whether a form was sent by a page of this server. Browsers always send one of these headers."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _local_path(goal: str) -> str:
    """Return a path of this server; the start page instead of an address of another one."""
    is_local = goal.startswith("/") and not goal.startswith("//") and goal.isprintable() and "\\" not in goal
    return goal if is_local and not goal.startswith(("/sign-in", "/sign-out")) else "/"


def _form_page(goal: str, *, problem: str = "", status: int = 200, user: str = "", link: str = "") -> Response:
    return html_answer(
        render("sign_in.html", title="Sign in", goal=goal, problem=problem, name=user, link=link), status
    )
