"""Every reading, for each user and in each format: no answer has anything of a city of another user."""

from __future__ import annotations

import inspect
import io
import re
from urllib.parse import quote, urlencode
from uuid import UUID

import polars as pl
import pytest
import urllib3

from api.conftest import NOW, Api, body
from energy_forecast.readings.catalog import READINGS, Reading
from energy_forecast.readings.parameters import http_name

CITIES = {"anna": "Berlin", "bert": "Pune"}
OTHER = {"anna": "bert", "bert": "anna"}
FORMATS = ("json", "csv", "arrow", "parquet")
USERS_AND_FORMATS = [(user, name) for user in CITIES for name in FORMATS]


def ids_of(api: Api, user: str) -> dict[str, str]:
    """Return a value for each parameter without a default: ids are those of the last rows that the user sees."""
    found = {"city": CITIES[user], "timestamp": f"{NOW:%Y-%m-%dT%H:%MZ}", "model": "naive-168"}
    for parameter, path in (
        ("run", f"/v1/cities/{CITIES[user]}/forecasts"),
        ("score", "/v1/scores"),
        ("batch", "/v1/batches"),
        ("request", "/v1/run-requests"),
    ):
        columns = body(api.get(path, user)).get("columns", {})
        ids = columns.get("run_id") if parameter == "run" else columns.get(f"{parameter}_id") or columns.get(parameter)
        found[parameter] = str(ids[0]) if ids else str(UUID(int=0))
    return found


def address_of(reading: Reading, ids: dict[str, str], format_: str) -> str:
    """Return the path and query of a reading, with the parameters that have no default."""
    path = re.sub(r"\{(\w+)\}", lambda found: quote(ids[found[1]], safe=""), reading.path)
    query = {
        http_name(name): ids[name]
        for name, one in inspect.signature(reading.read).parameters.items()
        if one.default is inspect.Parameter.empty and name != "connection" and f"{{{name}}}" not in reading.path
    }
    return f"{path}?{urlencode(query | {'format': format_})}"


def text_of(answer: urllib3.BaseHTTPResponse, format_: str) -> str:
    """Return an answer with its headers as text."""
    text = "".join(f"{name}: {value}\n" for name, value in answer.headers.items())
    if answer.status != 200 or format_ in {"json", "csv"}:
        return text + answer.data.decode()
    read = pl.read_ipc_stream if format_ == "arrow" else pl.read_parquet
    return text + str(read(io.BytesIO(answer.data)).to_dicts())


@pytest.mark.parametrize(("user", "format_"), USERS_AND_FORMATS)
@pytest.mark.parametrize("reading", READINGS.values(), ids=lambda one: str(one.name))
def test_answer_has_only_cities_of_the_user(api: Api, reading: Reading, user: str, format_: str) -> None:
    answer = api.get(address_of(reading, ids_of(api, user), format_), user)
    assert answer.status in {200, 404}, answer.data
    # A zone may be named after a city
    text = re.sub(r"Europe/Berlin", "", text_of(answer, format_)) if user == "bert" else text_of(answer, format_)
    assert CITIES[OTHER[user]] not in text


@pytest.mark.parametrize(("user", "format_"), USERS_AND_FORMATS)
@pytest.mark.parametrize(
    "reading", [one for one in READINGS.values() if "{" in one.path], ids=lambda one: str(one.name)
)
def test_object_of_another_user_is_not_found(api: Api, reading: Reading, user: str, format_: str) -> None:
    """The problem is that of an object that does not exist, or a user could probe for names and ids."""
    theirs = ids_of(api, OTHER[user])
    if not reading.path.startswith("/v1/cities/"):
        theirs = {"run": str(UUID(int=0)), **{name: one for name, one in theirs.items() if name != "run"}}
    answer = api.get(address_of(reading, theirs, format_), user)
    assert answer.status == 404, answer.data
    assert body(answer)["type"] in {"/problems/unknown-city", "/problems/not-found", "/problems/unknown-score"}
