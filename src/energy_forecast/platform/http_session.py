"""Requests to the HTTP API: the address, the key, repeated attempts, and errors from problems."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from energy_forecast.errors import (
    ConnectionLostError,
    EnergyForecastError,
    KeyRefusedError,
    NotPermittedError,
    ServerFaultError,
    TooLargeError,
    UnreachableError,
    one_line,
)
from energy_forecast.problems import PROBLEMS
from energy_forecast.readings.parameters import PARAMETERS

_log = logging.getLogger(__name__)
_CONNECT_SECONDS = 10
# Longer than the server lets one statement run; a load may have to wait for others
_READ_SECONDS = 120
_LOAD_SECONDS = 1800
_CONNECTIONS = 10
# Seconds before each further attempt, if the server gives none; and the longest wait that it may ask for
_PAUSES = (0.5, 1.0, 2.0)
_LONGEST_PAUSE = 60.0
# The request was not processed, so it can be repeated
_REPEATED = frozenset({429, 502, 503, 504})
# Of answers without a problem, such as those of a proxy
_BY_STATUS: dict[int, type[EnergyForecastError]] = {
    401: KeyRefusedError,
    403: NotPermittedError,
    413: TooLargeError,
    500: ServerFaultError,
    502: ConnectionLostError,
    503: ConnectionLostError,
    504: ConnectionLostError,
}
_PYTHON_NAMES = {
    "GET /v1/cities": "Client.cities()",
    **{f"`{one.http}`": f"`{name}`" for name, one in PARAMETERS.items() if one.http is not None},
}


@dataclass(frozen=True, repr=False)
class _Secret:
    """A key that no text of this object shows."""

    text: str

    def __repr__(self) -> str:
        return "<key>"


@dataclass(frozen=True)
class Answer:
    """An answer with a status below 300."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the JSON of the body.

        Raises:
            ServerFaultError: it is not JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ServerFaultError("The answer is not JSON.", hint="Check that `url` is that of the API.") from error


def checked_url(url: str) -> str:
    """Return the address of an API without a slash at its end.

    Raises:
        EnergyForecastError: it is not an address, has a password or a query, or would send the key without TLS.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise EnergyForecastError("`url` is not an address.", hint="Give one such as https://energy.example.org.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise EnergyForecastError(
            "`url` has a user, a query or a fragment.", hint="Give the address only, and the key as `key`."
        )
    if parts.scheme == "http" and not _is_this_machine(host):
        raise EnergyForecastError(
            f"`url`: http would send the key and the data to {host} without encryption.", hint="Use https."
        )
    return url.rstrip("/")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class HttpSession:
    """Requests to one server with one key. Threads can share it.

    The key is sent to this server only: redirects are refused. Requests that change nothing are repeated up to three
    times if the connection fails, or the server is busy; those that the server cannot process twice too.

    Args:
        url: of `checked_url`.
        key: such as efp_...
        sleep: waits for seconds.
    """

    def __init__(self, url: str, key: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        if not re.fullmatch(r"[\x21-\x7e]{1,500}", key):
            raise KeyRefusedError(
                "`key` is empty, or has a character that no key has.", hint="Give the key as `key create` printed it."
            )
        self.url = url
        self._key = _Secret(key)
        self._sleep = sleep
        self._program = f"energy-forecast/{version('energy-forecast')}"
        self._opened: tuple[int, urllib3.PoolManager] | None = None

    def __repr__(self) -> str:
        return f"<HttpSession with {self.url}>"

    def close(self) -> None:
        """Close the connections."""
        opened, self._opened = self._opened, None
        if opened is not None and opened[0] == os.getpid():
            opened[1].clear()

    def _pool(self) -> urllib3.PoolManager:
        """Return the connections of this process: those of a parent would mix the answers of both."""
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            opened = os.getpid(), _new_pool(self.url)
            self._opened = opened
        return opened[1]

    def get(self, path: str, query: Mapping[str, str], accept: str) -> Answer:
        """Return the answer to a GET request.

        Args:
            path: after the address; encoded.
            query: not encoded.
            accept: the media type of the answer.

        Raises:
            EnergyForecastError: of the problem that the server reports.
            UnreachableError: the server cannot be reached.
        """
        return self._send("GET", path, query, {"Accept": accept}, None, seconds=_READ_SECONDS, is_repeatable=True)

    def post(
        self,
        path: str,
        query: Mapping[str, str],
        body: bytes | BinaryIO,
        *,
        media_type: str,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Return the answer to a POST request. With `idempotency_key` the server processes it once at most.

        Args:
            path, query: as in `get`.
            body: bytes, or an open file, which may be read several times.
            media_type: of the body.
            idempotency_key: another one for each call. The request is then repeated as `get` repeats it.

        Raises:
            EnergyForecastError: of the problem that the server reports.
            UnreachableError: the server cannot be reached.
        """
        headers = {"Accept": "application/json", "Content-Type": media_type}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        if not isinstance(body, bytes):
            headers["Content-Length"] = str(os.fstat(body.fileno()).st_size)
        is_repeatable = idempotency_key is not None
        return self._send("POST", path, query, headers, body, seconds=_LOAD_SECONDS, is_repeatable=is_repeatable)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | BinaryIO | None,
        *,
        seconds: int,
        is_repeatable: bool,
    ) -> Answer:
        pauses = list(_PAUSES if is_repeatable else ())
        url = f"{self.url}{path}{f'?{urlencode(query)}' if query else ''}"
        while True:
            if body is not None and not isinstance(body, bytes):
                body.seek(0)
            failure, asked_for = None, None
            try:
                answer = self._pool().request(
                    method,
                    url,
                    body=body,
                    headers={
                        **headers,
                        "Authorization": f"Bearer {self._key.text}",
                        "User-Agent": self._program,
                        "Accept-Encoding": "gzip",
                    },
                    redirect=False,
                    timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=seconds),
                )
            except urllib3.exceptions.HTTPError as error:
                failure = self._unreachable(error)
                if isinstance(error, urllib3.exceptions.SSLError):
                    raise failure from None
            else:
                if answer.status < 300:
                    return Answer(answer.status, answer.headers, answer.data)
                failure = self._refused(answer)
                if answer.status not in _REPEATED:
                    raise failure
                asked_for = _seconds(answer.headers.get("Retry-After"))
            if not pauses or (asked_for is not None and asked_for > _LONGEST_PAUSE):
                raise failure from None
            pause = pauses.pop(0)
            # Not all clients at the same time
            pause = (pause if asked_for is None else asked_for) + random.uniform(0, pause / 2)
            _log.info("repeating a request", extra={"path": path, "seconds": round(pause, 1), "reason": str(failure)})
            self._sleep(pause)

    def _unreachable(self, error: urllib3.exceptions.HTTPError) -> EnergyForecastError:
        if isinstance(error, urllib3.exceptions.SSLError):
            return UnreachableError(
                f"TLS with {self.url} failed: {one_line(str(error))}.",
                hint="Check `url`, and the clock and certificates of this machine.",
            )
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            return ConnectionLostError(f"{self.url} did not answer in time.", hint="Repeat the call.")
        if isinstance(error, urllib3.exceptions.ProtocolError):
            return ConnectionLostError(f"The connection to {self.url} was lost.", hint="Repeat the call.")
        return UnreachableError(f"{self.url} cannot be reached.", hint="Check `url`, and that the server runs.")

    def _refused(self, answer: urllib3.BaseHTTPResponse) -> EnergyForecastError:
        if answer.status < 400:
            host = urlsplit(answer.headers.get("Location", "")).hostname
            return EnergyForecastError(
                f"{self.url} redirects to {one_line(host or 'another path')}, and the key is not sent there.",
                hint="Give the address of the API itself as `url`.",
            )
        try:
            return error_of(json.loads(answer.data))
        except (ValueError, TypeError, KeyError, AttributeError):
            phrase = next((one.phrase for one in HTTPStatus if one == answer.status), "")
            kind = _BY_STATUS.get(answer.status, EnergyForecastError)
            return kind(
                f"{self.url} answered with status {answer.status} {phrase}".rstrip() + ".",
                hint="Check that `url` is that of the API." if answer.status < 500 else None,
            )


def _new_pool(url: str) -> urllib3.PoolManager:
    """Return connections to a server; with TLS through the proxy of HTTPS_PROXY, unless NO_PROXY has the server."""
    parts = urlsplit(url)
    proxy = getproxies().get("https")
    # Without TLS a proxy would see the key
    if parts.scheme == "https" and proxy and not proxy_bypass(str(parts.hostname)):
        return urllib3.ProxyManager(proxy, maxsize=_CONNECTIONS, retries=False)
    return urllib3.PoolManager(maxsize=_CONNECTIONS, retries=False)


def error_of(problem: Mapping[str, Any]) -> EnergyForecastError:
    """Return the error of a problem, with the names of parameters in Python.

    Raises:
        KeyError: it lacks a member.
    """
    name = str(problem["type"]).rpartition("/")[2]
    kind = PROBLEMS[name].error if name in PROBLEMS else _BY_STATUS.get(int(problem["status"]), EnergyForecastError)
    hint = problem.get("hint")
    detail = _python_names(problem["detail"])
    if int(problem["status"]) >= 500:
        detail = f"{detail.rstrip('.')} (request {one_line(str(problem.get('request_id')))})."
    return kind(detail) if hint is None else kind(detail, hint=_python_names(hint))


def _python_names(text: str) -> str:
    for http, name in _PYTHON_NAMES.items():
        text = text.replace(http, name)
    return one_line(text)


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds of the header Retry-After, a number or a time."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        found = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (found.astimezone(UTC) - datetime.now(UTC)).total_seconds())
