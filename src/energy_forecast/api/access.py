"""The user of a request: their key, and a transaction with their rights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import Request

from energy_forecast.api.limits import Limit, Quota
from energy_forecast.database import Database
from energy_forecast.database.api_keys import Holder, holder_of
from energy_forecast.database.connection import Connection
from energy_forecast.database.sessions import user_of_session
from energy_forecast.errors import KeyRefusedError, NotPermittedError, SessionEndedError, TooManyRequestsError

# Seconds that one statement of a request may take
_SECONDS = 30


@dataclass(frozen=True)
class Access:
    """The database of the API, and its limits.

    Args:
        database: pooled; its login may take the roles of users and no other.
        requests: of a key in a minute.
        wrong_keys: of an address in a minute.
        cookie: the name of the cookie with the session of a signed-in browser. Such requests may only read.
    """

    database: Database
    requests: Limit
    wrong_keys: Limit
    cookie: str

    @contextmanager
    def transaction(
        self, request: Request, scope: str, *, read_only: bool = True, count: bool = True
    ) -> Iterator[Connection]:
        """Run one transaction of a request with the rights of the user of its key, and note the user in the request.

        Args:
            scope: the scope that the key must have: read, ingest or run.
            read_only: let the server reject writes.
            count: whether it counts as a request; False for a later transaction of the same request.

        Raises:
            KeyRefusedError: the key is missing or not valid.
            NotPermittedError: the key lacks the scope.
            TooManyRequestsError: of this key, or wrong keys of this address.
        """
        if scope == "read" and request.method == "GET" and "authorization" not in request.headers:
            session = request.cookies.get(self.cookie)
            if session is not None:
                with self._of_session(request, session, count=count) as connection:
                    yield connection
                return
        key = _key_of(request)
        address = request.client.host if request.client is not None else ""

        def find_user(connection: Connection) -> str:
            holder = holder_of(connection, key)
            if holder is None:
                # Valid keys are not refused for it: all clients of a proxy have one address
                _refuse_beyond(request, self.wrong_keys.count(address))
                raise KeyRefusedError("No such key.", hint="Check the key, or create one: energy-forecast key create")
            return self._checked(request, holder, scope, count=count)

        with self.database.request(
            find_user, name=f"energy-forecast {request.state.id}", seconds=_SECONDS, read_only=read_only
        ) as connection:
            yield connection

    @contextmanager
    def _of_session(self, request: Request, session: str, *, count: bool) -> Iterator[Connection]:
        """Run one read-only transaction with the rights of the user of a session."""

        def find_user(connection: Connection) -> str:
            user = user_of_session(connection, session)
            if user is None:
                raise SessionEndedError
            request.state.user, request.state.has_session = user, True
            _refuse_beyond(request, self.requests.count(f"session of {user}", int(count)))
            return user

        with self.database.request(
            find_user, name=f"energy-forecast {request.state.id}", seconds=_SECONDS, read_only=True
        ) as connection:
            yield connection

    def _checked(self, request: Request, holder: Holder, scope: str, *, count: bool) -> str:
        if holder.problem is not None:
            raise KeyRefusedError(
                f"The key {holder.prefix} is {holder.problem}.", hint="Create a new one: energy-forecast key create"
            )
        request.state.user, request.state.key = holder.user_name, holder.prefix
        _refuse_beyond(request, self.requests.count(holder.prefix, int(count)))
        if scope not in holder.scopes:
            raise NotPermittedError(
                f"The key {holder.prefix} lacks the scope {scope!r}.",
                hint=f"Create a key with it: energy-forecast key create {holder.user_name}",
            )
        return holder.user_name


def _refuse_beyond(request: Request, quota: Quota) -> None:
    request.state.quota = quota
    if quota.left < 0:
        raise TooManyRequestsError(
            f"More than {quota.limit} in a minute.", hint=f"Wait {quota.seconds} seconds before the next request."
        )


def _key_of(request: Request) -> str:
    given = request.headers.getlist("authorization")
    if not given:
        raise KeyRefusedError("The request has no key.", hint="Send the header Authorization: Bearer KEY.")
    if len(given) > 1:
        raise KeyRefusedError("The request has more than one key.", hint="Send one header Authorization.")
    scheme, _, key = given[0].partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise KeyRefusedError("The key is no bearer token.", hint="Send the header Authorization: Bearer KEY.")
    return key.strip()
