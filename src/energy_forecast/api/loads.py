"""Load a body as one batch, as `ingest` loads files."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
import orjson
from fastapi import FastAPI, Header, Query
from fastapi import Path as PathParameter
from starlette.requests import Request
from starlette.responses import Response

from energy_forecast import pipelines
from energy_forecast.api.access import Access
from energy_forecast.api.bodies import KINDS, Kind, kind_of, receive
from energy_forecast.api.endpoints import check_names, problem_answers
from energy_forecast.api.problem_answers import http_names, problem_answer
from energy_forecast.database import Database
from energy_forecast.database.backups import is_restored_copy
from energy_forecast.database.cities import all_cities
from energy_forecast.database.http_loads import Author, earlier_report
from energy_forecast.errors import (
    BackupError,
    ConnectionsInUseError,
    DataRefusedError,
)
from energy_forecast.problems import PROBLEMS

LARGEST_BODY = 2 * 1024**3
# JSON and Arrow are read as a whole
LARGEST_IN_MEMORY = 256 * 1024**2
# Loads of one dataset run one at a time anyway; the others would hold memory
_LOADS_AT_ONCE, _LOADS_WAITING = 2, 8
_KEY_FORM = r"^[!-~]{1,255}$"
_FOLDER = "http-loads"


class _Dataset(StrEnum):
    CONSUMPTION = "consumption"
    WEATHER = "weather"
    WEATHER_FORECASTS = "weather-forecasts"


def remove_left_files(home: Path) -> None:
    """Remove the bodies of servers that were killed."""
    for folder in (home / _FOLDER).glob("*"):
        if not (folder.name.isdecimal() and Path(f"/proc/{folder.name}").exists()):
            shutil.rmtree(folder, ignore_errors=True)


def add_loads(app: FastAPI, access: Access, database: Database, home: Path) -> None:
    """Add POST /v1/ingest/{dataset}.

    Args:
        database: with a login that may load data; `access` may not.
        home: the state folder, in which bodies are stored while they are loaded.
    """
    remove_left_files(home)
    loads = anyio.CapacityLimiter(_LOADS_AT_ONCE)

    async def ingest(
        request: Request,
        dataset: Annotated[_Dataset, PathParameter(description="The kind of the rows.")],
        timezone: Annotated[
            str | None,
            Query(max_length=100, description="How to read times without an offset: an IANA zone, or `city`."),
        ] = None,
        interval_minutes: Annotated[
            int | None, Query(ge=1, le=60, description="Length of the intervals. Default: inferred.")
        ] = None,
        label: Annotated[
            Literal["start", "end"] | None, Query(description="The end of an interval that a timestamp names.")
        ] = None,
        units: Annotated[
            str | None,
            Query(max_length=200, description="Other units, each QUANTITY=UNIT, with commas: `energy=MWh`."),
        ] = None,
        idempotency_key: Annotated[
            str | None,
            Header(pattern=_KEY_FORM, description="The same key and body again load nothing, and get the same answer."),
        ] = None,
    ) -> Response:
        check_names(request, {"timezone", "interval_minutes", "label", "units"})
        options: dict[str, Any] = {"timezone": timezone, "interval_minutes": interval_minutes, "label": label}
        kind = kind_of(request)
        await anyio.to_thread.run_sync(_check_permission, request, access)
        if loads.statistics().tasks_waiting >= _LOADS_WAITING:
            raise ConnectionsInUseError(
                f"{_LOADS_AT_ONCE} loads run, and {_LOADS_WAITING} wait.", hint="Try again later."
            )
        with tempfile.TemporaryDirectory(dir=_own_folder(home)) as folder:
            path = Path(folder) / f"{dataset}{kind.suffix}"
            digest = hashlib.sha256(repr((str(dataset), options, units, kind.suffix)).encode())
            await receive(request, path, digest, LARGEST_BODY if kind.read is None else LARGEST_IN_MEMORY)
            load = _Load(
                request, access, database, dataset, options | {"units": (units or "").split(",") if units else []}
            )
            return await anyio.to_thread.run_sync(load.run, path, kind, digest.digest(), idempotency_key, limiter=loads)

    app.add_api_route(
        "/v1/ingest/{dataset}",
        ingest,
        methods=["POST"],
        status_code=201,
        operation_id="ingest",
        summary="Load rows as one batch",
        description=_DESCRIPTION,
        response_class=Response,
        responses={
            201: {"description": "The report of the batch", "content": {"application/json": {"schema": _REPORT}}},
            **problem_answers(409, 413, 415),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    name: {"schema": _BODY if name == "application/json" else {"type": "string", "format": "binary"}}
                    for name in KINDS
                },
            }
        },
        tags=["loads"],
    )


_DESCRIPTION = """Load the rows of the body as one batch, with the checks of files. The same data again changes nothing;
a changed value is a correction. Rows that cannot be used are counted by reason and stored in the quarantine, and the
others are loaded: `read = inserted + corrected + unchanged + rejected`. Rows of cities that are not granted to the user
of the key are rejected as rows of unknown cities. If no row can be used, the answer is a problem with the report as
`report`.

Columns of `consumption`: `city`, `timestamp`, `consumption_kwh`, and optionally `peak_demand_kw`, `available_at`,
`interval_minutes`.

Columns of `weather`: `city`, `timestamp`, `temperature`, and optionally `humidity`, `wind_speed`, `precipitation`,
`available_at`, `interval_minutes`.

Columns of `weather-forecasts`: `city`, `issued_at`, `timestamp`, `temperature`, and optionally `humidity`,
`wind_speed`, `precipitation`."""
_BODY: dict[str, Any] = {
    "type": "object",
    "required": ["columns"],
    "properties": {"columns": {"type": "object", "additionalProperties": {"type": "array"}}},
    "example": {
        "columns": {"city": ["Munich"], "timestamp": ["2026-03-01T00:00Z"], "consumption_kwh": [512.5]},
    },
}
_REPORT: dict[str, Any] = {
    "type": "object",
    "required": ["batch", "read", "inserted", "corrected", "unchanged", "rejected", "notes"],
    "properties": {
        "batch": {"type": "string", "format": "uuid"},
        **{
            name: {"type": "integer", "description": f"Rows {name}"}
            for name in ("read", "inserted", "corrected", "unchanged", "rejected")
        },
        "notes": {"type": "array", "items": {"type": "string"}, "description": "Remarks on the batch"},
    },
}


@dataclass(frozen=True)
class _Load:
    """The load of a received body, in a thread."""

    request: Request
    access: Access
    database: Database
    dataset: str
    options: dict[str, Any]

    def run(self, path: Path, kind: Kind, sha256: bytes, key: str | None) -> Response:
        """Load the body, or return the answer of the same request before."""
        with self.access.transaction(self.request, "ingest", count=False) as connection:
            if key is not None and (earlier := earlier_report(connection, key, sha256)) is not None:
                return self._answer(earlier, is_repeated=True)
            cities = frozenset(city.id for city in all_cities(connection))
        if is_restored_copy(self.database):
            raise BackupError("This database is a restored copy, which can only be read.")
        state = self.request.state
        author = Author(state.user, cities, state.key, state.id, key, sha256)
        source = [path] if kind.read is None else kind.read(path)
        try:
            report, checks = pipelines.load_and_check(
                self.database, self.dataset, source, name="body", author=author, **self.options
            )
        except DataRefusedError:
            # The same request may have been loaded at the same time
            with self.access.transaction(self.request, "ingest", count=False) as connection:
                earlier = None if key is None else earlier_report(connection, key, sha256)
            if earlier is None:
                raise
            return self._answer(earlier, is_repeated=True)
        faults = [*map(str, checks.warned), *(f"{city}: not checked: {why}" for city, why in checks.failed.items())]
        found = report.as_dict()
        return self._answer(found | {"notes": [*found["notes"], *faults]}, is_repeated=False)

    def _answer(self, report: dict[str, Any], *, is_repeated: bool) -> Response:
        report = http_names(report)
        headers = {"Location": f"/v1/batches/{report['batch']}", "Cache-Control": "no-store"}
        if is_repeated:
            headers["Idempotency-Replayed"] = "true"
        if report["read"] and report["rejected"] == report["read"]:
            first = report["rejected_examples"][0]
            place = f"row {first['line']}, column {first['column']}" if first["column"] else f"row {first['line']}"
            return problem_answer(
                PROBLEMS["data-refused"],
                self.request.state.id,
                detail=f"No row can be used. The first: {place}: {first['reason']}.",
                hint="`report` counts the reasons. The rows are in the quarantine of the batch.",
                headers=headers,
                report=report,
            )
        return Response(orjson.dumps(report), 201, headers, "application/json")


def _check_permission(request: Request, access: Access) -> None:
    """Check the key before the body is received."""
    with access.transaction(request, "ingest"):
        pass


def _own_folder(home: Path) -> Path:
    folder = home / _FOLDER / str(os.getpid())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
