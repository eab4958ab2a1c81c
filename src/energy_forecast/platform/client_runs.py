"""Runs that a client requests from a server: forecasts, training and scoring."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from energy_forecast.errors import EnergyForecastError, ServerFaultError, TimedOutError
from energy_forecast.platform import arguments
from energy_forecast.platform.arguments import Names, Span, checked, names, span
from energy_forecast.platform.http_session import HttpSession
from energy_forecast.platform.reader import Reader, as_uuid
from energy_forecast.platform.table import Table

# Seconds between two looks at a run: short at first
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class RequestedRuns(Reader):
    """Runs of the server for the cities of the user. The key must have the scope `run`."""

    def _session(self) -> HttpSession:
        raise NotImplementedError

    @checked
    def forecast(
        self, city: str, *, horizon: Span = "48h", model: str | None = None, timeout: Span | None = None
    ) -> Table:
        """Let the server issue and store a forecast for a city, wait for it, and return it.

        Args:
            city: name of the city.
            horizon: longest lead time, whole hours up to 168h.
            model: name of the model. None for that of `Platform.forecast`.
            timeout: longest time to wait. None for as long as it takes.

        Returns:
            The columns and facts of `issued_forecast`.

        Raises:
            UnknownCityError: the user sees no city of this name. UnknownModelError for a model.
            NotPermittedError: the key lacks the scope.
            TimedOutError: the run has not ended in time. It continues.
            EnergyForecastError: the run failed, as for a city without load.

        Examples:
            >>> remote.forecast("Munich", horizon="48h").frame
        """
        hours = arguments.horizon(horizon) // timedelta(hours=1)
        wanted = {"cities": [city], "horizon": f"{hours}h"} | ({} if model is None else {"model": model})
        ended = self.wait(self._request("forecast", wanted), timeout=timeout)
        for found, failure in ended.frame.rows():
            if failure is not None:
                raise EnergyForecastError(f"The forecast of {found} failed: {failure}")
        return self.issued_forecast(city, ended.facts["result"]["runs"][0])

    @checked
    def train(self, cities: Names = (), *, models: Names = (), timeout: Span | None = None) -> Table:
        """Let the server train models, wait for it, and return the request with its result.

        Args:
            cities: names; all of the user if empty.
            models: names; all if empty.
            timeout: as in `forecast`.

        Returns:
            The table of `run_request`. The fact `result` has `failed`, and `trained` with `city`, `model`, `version`.

        Raises:
            UnknownCityError, UnknownModelError, NotPermittedError, TimedOutError: as in `forecast`.
            EnergyForecastError: the run failed.

        Examples:
            >>> remote.train("Munich", models="ensemble").facts["result"]["trained"]
        """
        wanted = {"cities": names(cities), "models": names(models)}
        return self.wait(self._request("train", wanted), timeout=timeout)

    @checked
    def score(self, cities: Names = (), *, timeout: Span | None = None) -> Table:
        """Let the server score the issued forecasts, wait for it, and return the request with its result.

        Args:
            cities: names; all of the user if empty.
            timeout: as in `forecast`.

        Returns:
            The table of `run_request`. The fact `result` has `new_scores`, their number, and `failed`.

        Raises:
            UnknownCityError, NotPermittedError, TimedOutError, EnergyForecastError: as in `forecast`.

        Examples:
            >>> remote.score().facts["result"]["new_scores"]
        """
        return self.wait(self._request("score", {"cities": names(cities)}), timeout=timeout)

    @checked
    def wait(self, request: UUID | str, *, timeout: Span | None = None) -> Table:
        """Wait for the end of a requested run, and return the table of `run_request`.

        Args:
            request: id of the request, such as one of `own_requests`.
            timeout: as in `forecast`.

        Raises:
            NotFoundError: the user requested no such run.
            TimedOutError: the run has not ended in time. It continues.
            EnergyForecastError: the run failed for all cities.

        Examples:
            >>> remote.wait(remote.own_requests().frame["request"][0], timeout="10min")
        """
        number = as_uuid(request, "request")
        longest = None if timeout is None else span(timeout, "timeout")
        found = _poll(lambda: self.run_request(number), longest)
        if found.facts["status"] == "failed":
            raise EnergyForecastError(f"The run failed: {found.facts['result'].get('error', 'for all cities')}")
        return found

    def _request(self, kind: str, wanted: dict[str, Any]) -> UUID:
        """Request a run, and return the id of the request."""
        body = json.dumps({"kind": kind, **wanted}).encode()
        answer = self._session().post("/v1/runs", {}, body, media_type="application/json", idempotency_key=uuid4().hex)
        try:
            return UUID(answer.json()["id"])
        except (KeyError, TypeError, ValueError) as error:
            raise ServerFaultError("The answer is not that of a requested run.") from error


def _poll(look: Callable[[], Table], longest: timedelta | None) -> Table:
    """Return the table of a run that has ended."""
    began, pause = time.monotonic(), _FIRST_PAUSE
    while (found := look()).facts["finished_at"] is None:
        left = None if longest is None else longest.total_seconds() - (time.monotonic() - began)
        if left is not None and left <= 0:
            raise TimedOutError(
                f"The run {found.facts['request']} is {found.facts['status']}.",
                hint="It continues on the server. Call `wait` with its id.",
            )
        time.sleep(pause if left is None else min(pause, left))
        pause = min(1.5 * pause, _LONGEST_PAUSE)
    return found
