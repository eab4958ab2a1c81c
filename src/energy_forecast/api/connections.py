"""Clients that are slow or many: unfinished requests, answers that nobody reads, turns of each key or session."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from starlette.requests import Request
from starlette.types import Message, Receive
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from energy_forecast.errors import TimedOutError, TooManyRequestsError

# Seconds until the headers of the next request, and for a piece of an answer to be read
SLOWEST_HEADERS = 10.0
SLOWEST_READER = 60.0
# Requests of one key that run at a time, half of the sessions, so that others find one; and those that wait
_AT_ONCE, _MOST_WAITING = 5, 32
# Seconds until the whole body of a request that is no load; bodies that arrive at a time
_SLOWEST_BODY = 10
_MOST_ARRIVING = 200
# Answered without the database, so that they wait for nobody. Sign-ins have turns of their own, once a form has arrived
_WITHOUT_TURN = ("/healthz", "/docs", "/openapi.json", "/problems", "/static/", "/sign-in")
_MOST_FILES = 65_536


class ImpatientProtocol(HttpToolsProtocol):
    """HTTP that closes a connection whose next request does not come in time. The server itself waits forever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._waits_since = self.loop.time()
        self._timer = self.loop.call_later(SLOWEST_HEADERS, self._close_if_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._waits_since = self.loop.time()
        super().on_response_complete()

    def _close_if_late(self) -> None:
        is_waiting = self.cycle is None or self.cycle.response_complete
        left = self._waits_since + SLOWEST_HEADERS - self.loop.time() if is_waiting else SLOWEST_HEADERS
        if left <= 0:
            self.transport.abort()
            return
        self._timer = self.loop.call_later(left, self._close_if_late)


def allow_many_connections() -> None:
    """Raise the limit of open files of this process, as far as the system allows: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Arrivals:
    """Bodies that arrive. A request runs when its body is complete, so one that never ends keeps no place of others."""

    def __init__(self) -> None:
        self._arriving = 0

    async def complete(self, request: Request, receive: Receive) -> Receive:
        """Wait for the body of a request, and return its messages. A load reads its body by itself.

        Args:
            request: its body is not large.

        Raises:
            TimedOutError: it is incomplete after ten seconds.
            TooManyRequestsError: too many bodies arrive.
        """
        has_body = request.headers.get("content-length", "0") != "0"
        if not has_body or request.url.path.startswith("/v1/ingest/"):
            return receive
        if self._arriving >= _MOST_ARRIVING:
            raise TooManyRequestsError(f"{_MOST_ARRIVING} requests are incomplete.", hint="Repeat it.")
        self._arriving += 1
        messages: list[Message] = []
        try:
            with anyio.fail_after(_SLOWEST_BODY):
                while not messages or messages[-1].get("more_body", False):
                    messages.append(await receive())
        except TimeoutError:
            raise TimedOutError(f"The body is incomplete after {_SLOWEST_BODY} seconds.", hint="Repeat it.") from None
        finally:
            self._arriving -= 1
        messages.reverse()

        async def again() -> Message:
            return messages.pop() if messages else await receive()

        return again


def turn_of(request: Request, cookie: str) -> str | None:
    """Return whose turn a request takes: that of its key or session as sent, since only the database knows the user.

    Args:
        cookie: the name of the cookie of sessions. Other cookies would give a user more turns.

    Returns:
        None if it needs no turn.
    """
    if request.url.path.startswith(_WITHOUT_TURN):
        return None
    if request.url.path == "/readyz":
        return "/readyz"
    return request.headers.get("authorization") or request.cookies.get(cookie, "")


@dataclass
class _Client:
    """The requests of a client: those that run have a turn, and the others wait for one."""

    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    requests: int = 0


class Turns:
    """Turns of requests: a client has a few at a time, so that it cannot keep all sessions from the others."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for a turn of a client, and keep it for the block.

        Raises:
            TooManyRequestsError: too many of its requests wait.
        """
        client = self._clients.setdefault(name, _Client())
        if client.requests >= _AT_ONCE + _MOST_WAITING:
            raise TooManyRequestsError(
                f"{_AT_ONCE} requests with this key run, and {_MOST_WAITING} wait.", hint="Send fewer at a time."
            )
        client.requests += 1
        try:
            async with client.turns:
                yield
        finally:
            client.requests -= 1
            if not client.requests:
                del self._clients[name]
