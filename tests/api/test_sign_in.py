"""Signing in to the pages: links, keys, cookies, and forms of other sites."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import psycopg
import pytest
import urllib3

from api.conftest import Api
from energy_forecast.operations import api_keys, users
from energy_forecast.web.sign_in import LockOut

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}


def post(api: Api, path: str, given: dict[str, str], **headers: str) -> urllib3.BaseHTTPResponse:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.send("POST", path, None, FORM | more, urlencode(given))


def cookie(answer: urllib3.BaseHTTPResponse) -> str:
    found = re.search(r"energy_forecast_session=([A-Za-z0-9_-]{43});", answer.headers.get("set-cookie", ""))
    assert found is not None, (answer.status, answer.data)
    return f"energy_forecast_session={found[1]}"


def by_key(api: Api, user: str = "anna", goal: str = "/") -> urllib3.BaseHTTPResponse:
    return post(api, "/sign-in", {"key": api.keys[user], "next": goal})


def test_page_without_session_leads_to_the_form_and_back(api: Api) -> None:
    answer = api.get("/forecast?city=Berlin", None)
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in?next=%2Fforecast%3Fcity%3DBerlin")
    form = api.get(answer.headers["location"], None)
    assert b'value="/forecast?city=Berlin"' in form.data
    signed_in = by_key(api, goal="/forecast?city=Berlin")
    assert (signed_in.status, signed_in.headers["location"]) == (303, "/forecast?city=Berlin")
    page = api.get("/forecast?city=Berlin", None, Cookie=cookie(signed_in))
    assert page.status == 200
    assert b"Forecast of Berlin" in page.data


@pytest.mark.parametrize(
    "goal", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", ""]
)
def test_sign_in_leads_to_no_other_site(api: Api, goal: str) -> None:
    assert by_key(api, goal=goal).headers["location"] == "/"


def test_session_reads_what_its_user_may_read_and_changes_nothing(api: Api) -> None:
    own = cookie(by_key(api))
    assert api.get("/v1/cities/Berlin/forecast?format=csv", None, Cookie=own).status == 200
    assert api.get("/v1/cities/Pune/forecast", None, Cookie=own).status == 404
    assert b"Pune" not in api.get("/", None, Cookie=own).data
    run = {"Cookie": own, "Content-Type": "application/json", "Idempotency-Key": "one"}
    assert api.send("POST", "/v1/runs", None, run, b'{"kind": "forecast"}').status == 401
    assert (
        api.send("POST", "/v1/ingest/consumption", None, {"Cookie": own, "Content-Type": "text/csv"}, b"x").status
        == 401
    )
    # A key in the header counts, not the cookie
    assert api.get("/v1/cities/Pune/forecast", "bert", Cookie=own).status == 200


def test_session_has_a_new_id_and_ends_with_sign_out(api: Api) -> None:
    """A cookie that an attacker planted must not become a session, nor stay one."""
    planted = "energy_forecast_session=" + "A" * 43
    first = cookie(post(api, "/sign-in", {"key": api.keys["anna"]}, Cookie=planted))
    assert first != planted
    assert api.get("/", None, Cookie=planted).status == 303
    second = cookie(post(api, "/sign-in", {"key": api.keys["anna"]}, Cookie=first))
    assert api.get("/", None, Cookie=first).status == 303
    answer = post(api, "/sign-out", {}, Cookie=second)
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
    assert api.get("/", None, Cookie=second).status == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "", "Origin": "https://evil.example"},
        {"Sec_Fetch_Site": "", "Origin": "null"},
    ],
    ids=["cross-site", "same-site", "origin", "null"],
)
def test_forms_of_other_sites_are_refused(api: Api, headers: dict[str, str]) -> None:
    own = cookie(by_key(api))
    given = {name: value for name, value in headers.items() if value}
    plain = {name.replace("_", "-"): value for name, value in given.items()} | {"Content-Type": FORM["Content-Type"]}
    for path, body in (("/sign-in", urlencode({"key": api.keys["bert"]})), ("/sign-out", "")):
        answer = api.send("POST", path, None, plain | {"Cookie": own}, body)
        assert answer.status == 403
        assert "set-cookie" not in answer.headers
    assert api.get("/", None, Cookie=own).status == 200


def test_link_signs_in_once(api: Api) -> None:
    link = users.sign_in_link(api.database, api.anna)
    preview = api.get(f"/sign-in?link={link}", None)
    assert "set-cookie" not in preview.headers, "a preview must not use the link up"
    answer = api.get(f"/sign-in?link={link}", None, Sec_Fetch_Site="none")
    assert answer.headers["location"] == "/"
    page = api.get("/", None, Cookie=cookie(answer))
    assert api.anna.encode() in page.data
    assert api.get(f"/sign-in?link={link}", None, Sec_Fetch_Site="none").status == 403
    assert api.get("/", None, Cookie=f"energy_forecast_session={link}").status == 303, "a link is no session"


def test_session_ends_with_its_key_its_time_and_its_user(api: Api) -> None:
    key, stored = api_keys.create_key(api.database, api.anna, scopes=["read"])
    own = cookie(post(api, "/sign-in", {"key": key}))
    assert api.get("/", None, Cookie=own).status == 200
    api_keys.revoke_key(api.database, stored.prefix)
    assert api.get("/", None, Cookie=own).status == 303
    idle = cookie(by_key(api))
    with psycopg.connect(api.database.url) as connection:
        connection.execute(
            "UPDATE ops.sessions SET opened_at = now() - interval '13 hours', expires_at = now() + interval '1 day'"
        )
        connection.execute("DELETE FROM ops.session_uses")
    assert api.get("/", None, Cookie=idle).status == 303


def test_key_without_the_scope_read_opens_no_session(api: Api) -> None:
    key, _ = api_keys.create_key(api.database, api.anna, scopes=["ingest"])
    assert post(api, "/sign-in", {"key": key}).status == 403


def test_password_is_refused_if_the_server_does_not_verify_it(api: Api) -> None:
    """The test server trusts every login, so any password would do."""
    answer = post(api, "/sign-in", {"user": api.anna, "password": "any"})
    assert answer.status == 403
    assert b"does not verify passwords" in answer.data
    assert "set-cookie" not in answer.headers


def test_login_of_the_api_cannot_open_a_session_for_a_user(api: Api) -> None:
    """Also after SET ROLE: only a login of the user, whose password PostgreSQL has verified, may."""
    with psycopg.connect(api.database.url, user="energy_forecast_api", autocommit=True) as connection:
        connection.execute(f"SET ROLE {api.anna}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT ops.open_session(sha256('x'))")
        connection.execute("RESET ROLE")
        for statement in ("SELECT * FROM ops.sessions", "INSERT INTO ops.sessions VALUES (sha256('x'), 'anna')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_user_is_locked_out_after_ten_failures_for_a_quarter_of_an_hour() -> None:
    now = 0.0
    lock_out = LockOut(clock=lambda: now)
    assert all(lock_out.begin("anna") for _ in range(10))
    assert not lock_out.begin("anna")
    assert lock_out.begin("bert")
    lock_out.forgive("anna")
    assert lock_out.begin("anna")
    assert not lock_out.begin("anna")
    now = 901.0
    assert all(lock_out.begin("anna") for _ in range(10))
    lock_out.succeed("anna")
    assert lock_out.begin("anna")


def test_pages_have_a_policy_without_inline_script(api: Api) -> None:
    answer = api.get("/", None, Cookie=cookie(by_key(api)))
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "private, no-store"
    assert re.search(rb"<script(?![^>]*(src=|application/json))|<style| style=| on\w+=", answer.data) is None
