"""Health of the server for probes, and its metrics for Prometheus."""

from __future__ import annotations

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from energy_forecast.api.access import Access
from energy_forecast.database.schema import has_mark
from energy_forecast.errors import EnergyForecastError

_REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "energy_forecast_http_requests", "Answered requests", ["route", "method", "status"], registry=_REGISTRY
)
SECONDS = Histogram(
    "energy_forecast_http_request_seconds",
    "Time to answer a request",
    ["route"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
    registry=_REGISTRY,
)


def add_health(app: FastAPI, access: Access) -> None:
    """Add /healthz and /readyz, which need no key, and /metrics."""

    async def healthz() -> Response:
        """Return whether the process answers. It does not use the database."""
        return JSONResponse({"status": "ok"})

    def readyz() -> Response:
        """Return whether requests can be answered: the database is reached, and its schema is current."""
        try:
            with access.database.transaction(None, read_only=True) as connection:
                is_ready = has_mark(connection)
        except EnergyForecastError:
            is_ready = False
        return JSONResponse({"status": "ok" if is_ready else "not ready"}, 200 if is_ready else 503)

    def metrics(request: Request) -> Response:
        """Return the metrics of this process, for a key with the scope read."""
        with access.transaction(request, "read"):
            return Response(generate_latest(_REGISTRY), media_type=CONTENT_TYPE_LATEST)

    for path, endpoint in (("/healthz", healthz), ("/readyz", readyz), ("/metrics", metrics)):
        app.add_api_route(path, endpoint, methods=["GET"], include_in_schema=False)
