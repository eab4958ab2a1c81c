"""Request runs: forecasts, training and scoring of the cities of a user, and the program that runs them."""

from __future__ import annotations

import logging
import threading
from typing import Annotated, Any, Literal

import orjson
from fastapi import Body, FastAPI, Header
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from energy_forecast.api.access import Access
from energy_forecast.api.endpoints import check_names, problem_answers
from energy_forecast.database import Database
from energy_forecast.database.backups import is_restored_copy
from energy_forecast.database.cities import cities_named
from energy_forecast.database.run_requests import request_run
from energy_forecast.errors import BackupError, EnergyForecastError
from energy_forecast.fault_log import program_fault
from energy_forecast.pipelines.run_requests import run_next
from energy_forecast.pipelines.train import check_models
from energy_forecast.time_arguments import read_horizon

_log = logging.getLogger(__name__)
# Seconds after which the runner looks for requests that another server accepted
_LOOK_EVERY = 10.0
_Name = Annotated[str, Field(min_length=1, max_length=200)]


class RunRequest(BaseModel):
    """The run that a user requests."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"kind": "forecast", "cities": ["Munich"]}})

    kind: Literal["forecast", "train", "score"] = Field(description="What to run.")
    # Their number is limited by the size of a body, and they must be cities of the user
    cities: list[_Name] = Field(
        default=[], description="Names of cities. Default: all cities granted to the user of the key."
    )
    horizon: Annotated[str, Field(max_length=10)] | None = Field(
        default=None, description="Of a forecast: the longest lead time in whole hours, up to 168h. Default: 48h."
    )
    model: _Name | None = Field(
        default=None, description="Of a forecast: the model. Default: the champion of the city."
    )
    models: Annotated[list[_Name], Field(max_length=50)] = Field(
        default=[], description="Of a training: the models. Default: all."
    )


class Runner:
    """The thread that runs requests, one at a time, each in a process of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wake = threading.Event()
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="run requests", daemon=True)

    def start(self) -> None:
        """Begin to run requests."""
        self._thread.start()

    def wake(self) -> None:
        """Look for a request now."""
        self._wake.set()

    def stop(self) -> None:
        """Begin no other run. A running one ends with this process, and counts as interrupted."""
        self._ends = True
        self._wake.set()

    def _run(self) -> None:
        while not self._ends:
            self._wake.clear()
            try:
                while not self._ends and run_next(self._database):
                    pass
            except EnergyForecastError as error:
                _log.warning("requested run failed", extra={"error": str(error)})
            except Exception as error:  # noqa: BLE001 - the next request may succeed
                program_fault("Run a request", error)
            self._wake.wait(_LOOK_EVERY)


def add_runs(app: FastAPI, access: Access, database: Database, runner: Runner) -> None:
    """Add POST /v1/runs.

    Args:
        database: the one of the runner.
        runner: is woken for each request.
    """

    def request(
        request: Request,
        wanted: Annotated[RunRequest, Body()],
        idempotency_key: Annotated[
            str | None,
            Header(pattern=r"^[!-~]{1,255}$", description="A request with the same key and body is the same request."),
        ] = None,
    ) -> Response:
        check_names(request, ())
        parameters = _parameters(wanted)
        if is_restored_copy(database):
            raise BackupError("This database is a restored copy, which can only be read.")
        with access.transaction(request, "run", read_only=False) as connection:
            cities = [city.id for city in cities_named(connection, wanted.cities)]
            number = request_run(
                connection, kind=wanted.kind, cities=cities, parameters=parameters, key=idempotency_key
            )
        runner.wake()
        path = f"/v1/run-requests/{number}"
        return Response(
            orjson.dumps({"id": str(number), "status_at": path}),
            202,
            {"Location": path, "Cache-Control": "no-store"},
            "application/json",
        )

    app.add_api_route(
        "/v1/runs",
        request,
        methods=["POST"],
        status_code=202,
        operation_id="request_run",
        summary="Request a forecast, training or scoring",
        description="The run begins when those requested before have ended. `GET` the path of `Location` for its "
        "status and result. A user may have 20 requests that are not finished.",
        response_class=Response,
        responses={
            202: {"description": "The id of the request", "content": {"application/json": {"schema": _ANSWER}}},
            **problem_answers(404, 409, 413),
        },
        tags=["runs"],
    )


_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["id", "status_at"],
    "properties": {"id": {"type": "string", "format": "uuid"}, "status_at": {"type": "string"}},
}


def _parameters(wanted: RunRequest) -> dict[str, Any]:
    """Return the stored parameters of a run.

    Raises:
        EnergyForecastError: a parameter is invalid, or of another kind of run.
        UnknownModelError: no model has this name.
    """
    for name, kind in (("horizon", "forecast"), ("model", "forecast"), ("models", "train")):
        if name in wanted.model_fields_set and wanted.kind != kind:
            raise EnergyForecastError(
                f"`{name}` is no parameter of a run of kind {wanted.kind!r}.", hint="Leave it out."
            )
    check_models([*([] if wanted.model is None else [wanted.model]), *wanted.models])
    if wanted.kind == "forecast":
        hours = int(read_horizon(wanted.horizon or "48h").total_seconds() // 3600)
        return {"horizon_hours": hours} | ({} if wanted.model is None else {"model": wanted.model})
    return {"models": list(wanted.models)} if wanted.kind == "train" else {}
