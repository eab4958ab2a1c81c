"""Requests that schemathesis makes from the OpenAPI document, valid and invalid, with the keys of two users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from api.conftest import Api, fill, started, two_users
from energy_forecast.readings.catalog import READINGS
from servers import Server


@pytest.fixture(scope="module")
def own_api(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Yield a server on a database of its own, since some requests write."""
    folder = tmp_path_factory.mktemp("schema")
    with server.copy_of(template) as database:
        fill(database, folder)
        with two_users(database) as (anna, bert), started(database, folder, anna, bert) as found:
            yield found


@pytest.mark.parametrize("name", [*READINGS, "entsoe", "ingest", "request_run"])
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: str(mode.value))
def test_answers_are_those_of_the_document(own_api: Api, name: str, mode: GenerationMode) -> None:
    """No 5xx, no undocumented status or body, and nothing of the other user."""
    schema = schemathesis.openapi.from_url(f"{own_api.address}/openapi.json")
    operations = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
    operation = next(one for one in operations if one.definition.raw["operationId"] == name)

    @given(operation.as_strategy(generation_mode=mode))
    @settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case[Any]) -> None:
        for user, other in (("anna", b"Pune"), ("bert", b"Berlin")):
            headers = {"Authorization": f"Bearer {own_api.keys[user]}"}
            if mode is GenerationMode.POSITIVE and "city" in case.path_parameters:
                case.path_parameters["city"] = "Berlin" if user == "anna" else "Pune"
            # The document cannot express that a city exists, or that `day` excludes `from`
            answer = case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])
            # A hint names a zone
            assert other not in answer.content.replace(b"Europe/Berlin", b"")

    check()
