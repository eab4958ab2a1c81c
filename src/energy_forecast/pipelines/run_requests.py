"""Run the requests of users: forecasts, training and scoring of their cities, one request at a time."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import timedelta
from typing import Any

from energy_forecast.database import run_requests
from energy_forecast.database.connection import Database, Role
from energy_forecast.database.run_requests import RunRequest
from energy_forecast.pipelines.forecast import forecast
from energy_forecast.pipelines.isolation import Failed
from energy_forecast.pipelines.parallel import Step, each
from energy_forecast.pipelines.score import score
from energy_forecast.pipelines.train import train

_log = logging.getLogger(__name__)


def run_next(database: Database) -> bool:
    """Run the oldest waiting request in a process of its own, and record its result.

    Returns:
        Whether there was one. False as well if another program runs requests.

    Raises:
        DatabaseError: the database cannot be reached. The request counts as interrupted.
    """
    with run_requests.runner_lock(database) as is_free:
        if not is_free:
            return False
        with database.transaction(Role.FORECASTER) as connection:
            request = run_requests.start_next(connection)
        if request is None:
            return False
        status, result = _outcome(database, request)
        with database.transaction(Role.FORECASTER) as connection:
            run_requests.finish(connection, request.id, status, result)
    _log.info(
        "requested run",
        extra={"request": str(request.id), "kind": request.kind, "user": request.requested_by, "status": status},
    )
    return True


def _outcome(database: Database, request: RunRequest) -> tuple[str, dict[str, Any]]:
    """Return the status of a run and its result."""
    if not request.cities:
        return "failed", {"error": "None of the requested cities is granted to the user any more."}
    work = _Work(database)
    # Two processes: this one, which continues to serve, and that of the run, whose memory ends with it
    with closing(each(work, [request], name=_name, processes=2, steps=lambda *_: None)) as results:
        found = next(results)
    if isinstance(found, Failed):
        return "failed", {"error": found.reason}
    return ("partial" if found["failed"] else "succeeded"), found


def _name(request: RunRequest) -> str:
    return f"Run the {request.kind} request {request.id}"


class _Work:
    """The work on a request, for another process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __call__(self, request: RunRequest, step: Step) -> dict[str, Any]:  # noqa: ARG002
        return getattr(self, request.kind)(request)  # type: ignore[no-any-return]

    def forecast(self, request: RunRequest) -> dict[str, Any]:
        hours = timedelta(hours=request.parameters["horizon_hours"])
        model = request.parameters.get("model")
        report = forecast(self._database, cities=request.cities, horizon=hours, model=model)
        runs = sorted({str(one.run_id) for one in report.forecasts})
        return {"runs": runs, "issued_at": report.issued_at.isoformat(), "failed": report.failed}

    def train(self, request: RunRequest) -> dict[str, Any]:
        report = train(self._database, cities=request.cities, models=request.parameters.get("models", []))
        trained = [{"city": one.city, "model": one.model, "version": one.version} for one in report.trained]
        failed: dict[str, str] = {}
        for (city, name), why in report.failed.items():
            failed[city] = f"{failed[city]} {name}: {why}" if city in failed else f"{name}: {why}"
        return {"trained": trained, "failed": failed}

    def score(self, request: RunRequest) -> dict[str, Any]:
        report = score(self._database, cities=request.cities)
        return {"new_scores": report.new, "hours": report.hours, "failed": report.failed}
