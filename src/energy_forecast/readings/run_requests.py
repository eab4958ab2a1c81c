"""Readings of requested runs."""

from __future__ import annotations

from uuid import UUID

import polars as pl

from energy_forecast.database import run_requests
from energy_forecast.database.connection import Connection
from energy_forecast.errors import NotFoundError
from energy_forecast.tables import UTC_TIME, Schema, Table

REQUEST: Schema = {"city": pl.String, "failure": pl.String}
REQUESTS: Schema = {
    "request": pl.String,
    "kind": pl.String,
    "status": pl.String,
    "requested_at": UTC_TIME,
    "started_at": UTC_TIME,
    "finished_at": UTC_TIME,
}


def run_request(connection: Connection, request: UUID) -> Table:
    """Return a run that the reader requested: a row for each city, and its status and result as facts.

    The fact `status` is waiting, running, succeeded, partial or failed. `result` has the ids of the stored `runs`, the
    `trained` versions, or the `error`. `failure` is why a city failed.

    Raises:
        NotFoundError: the reader requested no such run.
    """
    found = run_requests.run_request(connection, request)
    if found is None:
        raise NotFoundError(f"There is no requested run {request}.", hint="`run_requests` lists yours.")
    result = found["result"] or {}
    failed = result.get("failed", {})
    rows = [(city, failed.get(city)) for city in found["cities"]]
    facts = {
        "request": str(request),
        "kind": found["kind"],
        "parameters": found["parameters"],
        "status": found["status"],
        "requested_at": found["created_at"],
        "started_at": found["started_at"],
        "finished_at": found["finished_at"],
        "result": result,
    }
    return Table(pl.DataFrame(rows, schema=REQUEST, orient="row"), facts)


def own_requests(connection: Connection, *, limit: int = 100) -> Table:
    """Return the last runs that the reader requested, the newest first."""
    rows = [
        (str(one["id"]), one["kind"], one["status"], one["created_at"], one["started_at"], one["finished_at"])
        for one in run_requests.own_requests(connection, limit)
    ]
    return Table(pl.DataFrame(rows, schema=REQUESTS, orient="row"))
