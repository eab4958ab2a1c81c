"""The forecast of a city as an ENTSO-E document."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from energy_forecast.api.access import Access
from energy_forecast.api.endpoints import check_names, problem_answers
from energy_forecast.api.parameters import Day, Text, Time
from energy_forecast.readings.entsoe import gl_market_document

_Code = Annotated[str, Query(min_length=16, max_length=16, pattern=r"^[0-9A-Z-]{15}[0-9A-Z]$")]


def add_entsoe(app: FastAPI, access: Access) -> None:
    """Add GET /v1/cities/{city}/forecast/entsoe."""

    def entsoe(
        request: Request,
        city: Annotated[Text, Path(description="Name of the city.")],
        day: Annotated[Day, Query(description="A local day of the city.")],
        area: Annotated[_Code, Query(description="EIC code of the area, whose load is that of the city.")],
        sender: Annotated[_Code, Query(description="EIC code of the sending party.")],
        receiver: Annotated[_Code, Query(description="EIC code of the receiving party.")],
        revision: Annotated[int, Query(ge=1, le=999, description="Revision of the document.")] = 1,
        as_of: Annotated[
            Time | None,
            Query(description="The time at which the forecast was in use. Default: now."),
        ] = None,
        model: Annotated[
            Text | None,
            Query(description="The newest live forecast of this model."),
        ] = None,
    ) -> Response:
        check_names(request, {"day", "area", "sender", "receiver", "revision", "as_of", "model"})
        with access.transaction(request, "read") as connection:
            document = gl_market_document(
                connection,
                city,
                day=day,
                area=area,
                sender=sender,
                receiver=receiver,
                revision=revision,
                as_of=as_of,
                model=model,
            )
        headers = {"Cache-Control": "private, no-store", "Vary": "Authorization, Cookie"}
        return Response(document, headers=headers, media_type="application/xml")

    app.add_api_route(
        "/v1/cities/{city}/forecast/entsoe",
        entsoe,
        methods=["GET"],
        operation_id="entsoe",
        summary="Return the forecast of a local day as an ENTSO-E document",
        description="A GL_MarketDocument of type A65 (system total load) and process A01 (day ahead), in MW. The "
        "forecast in use must cover the whole day, which has 23, 24 or 25 hours.",
        response_class=Response,
        responses={
            200: {
                "description": "The document",
                "content": {"application/xml": {"schema": {"type": "string", "format": "binary"}}},
            },
            **problem_answers(404),
        },
        tags=["forecasts"],
    )
