"""Sign in with the password that PostgreSQL verifies, and what ends a session or refuses one."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
import pytest
import urllib3
from psycopg import sql

import energy_forecast as ef
from api.browser import Browser
from api.conftest import body, running
from energy_forecast.database import Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.operations import api_keys, users
from energy_forecast.postgres import EmbeddedServer
from servers import CommandLine
from synthetic import write_cities

COOKIE = "energy_forecast_session"
PASSWORD = "correct horse ' \\ 100%"
CITIES = {"anna": "Berlin", "bert": "Pune"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Site:
    """A server of pages on a PostgreSQL that asks for passwords. Anna sees Berlin, and Bert sees Pune.

    administrator: a superuser, over the socket.
    logins: with their passwords; none is a user.
    """

    address: str
    administrator: Database
    line: CommandLine
    logins: dict[str, str]

    def browser(self) -> Browser:
        """Return a new browser."""
        return Browser(self.address)

    def signed_in(self, user: str) -> Browser:
        """Return a browser in which a user has signed in with the password."""
        browser = self.browser()
        assert browser.post("/sign-in", user=user, password=PASSWORD).status == 303
        return browser

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Run a statement as a superuser, and return its rows."""
        with psycopg.connect(self.administrator.url) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def sessions(self, user: str) -> list[tuple[object, ...]]:
        """Return the sessions of a user."""
        return self.execute("SELECT sha256 FROM ops.sessions WHERE user_name = %s", user)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True)
class Platform:
    """A database on a server that verifies passwords, and the command line that reaches it over TCP."""

    administrator: Database
    line: CommandLine
    logins: dict[str, str]

    def site(self, address: str) -> Site:
        """Return the server at an address."""
        return Site(address, self.administrator, self.line, self.logins)


@pytest.fixture(scope="module")
def platform(open_folder: Path) -> Iterator[Platform]:
    """Yield a PostgreSQL of its own, since the one of the other tests trusts every login."""
    name = uuid4().hex[:8]
    embedded = EmbeddedServer(open_folder / f"passwords-{name}", free_port())
    status = embedded.start()
    assert status.password_file is not None
    assert status.port is not None
    try:
        database = Database(embedded.url)
        upgrade(database)
        logins = {"energy_forecast_admin": status.password_file.read_text().strip(), "energy_forecast_api": "api"}
        with psycopg.connect(database.url) as connection:
            connection.execute("ALTER ROLE energy_forecast_api PASSWORD 'api'")
        with ef.connect(database.url) as found:
            found.import_cities(write_cities(open_folder / f"cities-{name}.csv"))
        for user, city in CITIES.items():
            users.add_user(database, user, password=PASSWORD)
            users.grant(database, user, [city])
        place = f"127.0.0.1:{status.port}/energy_forecast"
        urls = {login: f"postgresql://{login}:{password}@{place}" for login, password in logins.items()}
        environment = {
            "ENERGY_FORECAST_DATABASE_URL": urls["energy_forecast_admin"],
            "ENERGY_FORECAST_API_URL": urls["energy_forecast_api"],
            "ENERGY_FORECAST_HOME": str(open_folder / f"home-{name}"),
        }
        yield Platform(database, CommandLine(environment), logins)
    finally:
        embedded.stop()


@pytest.fixture
def site(platform: Platform) -> Iterator[Site]:
    """Yield a new server, which has counted no wrong password."""
    with running(platform.line) as (address, _):
        yield platform.site(address)


@pytest.fixture(scope="module")
def shared(platform: Platform) -> Iterator[Site]:
    """Yield a server for tests without wrong passwords."""
    with running(platform.line) as (address, _):
        yield platform.site(address)


def text(answer: urllib3.BaseHTTPResponse) -> str:
    """Return the text of a page."""
    return answer.data.decode()


def is_refused(answer: urllib3.BaseHTTPResponse) -> bool:
    """Return whether a page sent the browser to the form."""
    return answer.status == 303 and answer.headers["location"].startswith("/sign-in?next=")


@pytest.mark.parametrize("user", CITIES)
def test_password_opens_pages_and_data_of_the_own_cities(shared: Site, user: str) -> None:
    """The browser does not keep them, since somebody else may use it next."""
    (other,) = set(CITIES) - {user}
    browser = shared.signed_in(user)
    for path in ("/", "/v1/cities?format=csv"):
        answer = browser.get(path)
        assert CITIES[user] in text(answer)
        assert CITIES[other] not in text(answer)
    assert answer.headers["cache-control"] == "private, no-store"
    assert "Cookie" in answer.headers["vary"]
    assert browser.send("HEAD", "/v1/cities", {}).status == 200


def test_wrong_password_and_unknown_user_get_equal_answers(site: Site) -> None:
    """Otherwise names of users and of other logins could be found. The last ones have the right password."""
    browser = site.browser()
    given = [("anna", "wrong"), ("nobody", "wrong"), ("Anna", PASSWORD), *site.logins.items()]
    answers = [browser.post("/sign-in", user=user, password=password) for user, password in given]
    assert {answer.status for answer in answers} == {403}
    pages = {text(answer).replace(f'value="{user}"', "") for answer, (user, _) in zip(answers, given, strict=True)}
    assert len(pages) == 1
    assert "The user or the password is wrong" in pages.pop()
    assert browser.cookies == {}


def test_hostile_fields_are_refused_and_shown_as_text(site: Site) -> None:
    """A name is a parameter of the connection, and is shown again."""
    browser = site.browser()
    for user in (
        "<script>alert(1)</script>",
        '" autofocus onfocus="alert(1)',
        f"anna host=192.0.2.1 password='{PASSWORD}'",
        "anna\0",
        "postgresql://192.0.2.1/",
        "é" * 200,
    ):
        answer = browser.post("/sign-in", user=user, password="wrong")
        assert answer.status == 403, user
        assert "<script>" not in text(answer)
        assert '" autofocus' not in text(answer)
    for password in ("", "\0", f"{PASSWORD}\0", f"{PASSWORD}' user='bert"):
        assert browser.post("/sign-in", user="anna", password=password).status in {403, 422}
    assert browser.cookies == {}
    assert browser.post("/sign-in", user="anna", password=PASSWORD).status == 303


def test_password_is_not_taken_from_the_machine_of_the_server(platform: Platform, tmp_path: Path) -> None:
    """libpq looks for passwords in the environment and in a file."""
    file = tmp_path / "passwords"
    file.write_text(f"*:*:*:anna:{PASSWORD.replace(chr(92), chr(92) * 2)}\n")
    file.chmod(0o600)
    environment = platform.line.environment | {"PGPASSFILE": str(file), "PGPASSWORD": PASSWORD}
    with running(CommandLine(environment)) as (address, _):
        browser = Browser(address)
        assert browser.post("/sign-in", user="anna", password="wrong").status == 403
        assert browser.post("/sign-in", user="anna", password="").status == 422


def test_server_without_passwords_opens_no_session(platform: Platform, tmp_path: Path) -> None:
    """Over its socket the server trusts everyone, so any password would be right. Users are not told apart."""
    with running(CommandLine.on(platform.administrator, tmp_path / "home")) as (address, _):
        site = platform.site(address)
        before = site.sessions("anna")
        answers = [site.browser().post("/sign-in", user=user, password="any") for user in ("anna", "nobody")]
        assert answers[0].status == answers[1].status == 403
        assert text(answers[0]).replace("anna", "") == text(answers[1]).replace("nobody", "")
        assert "set-cookie" not in answers[0].headers
        assert site.sessions("anna") == before


def test_database_has_no_id_of_a_session(shared: Site) -> None:
    """Whoever reads the database, its log of changes or a backup must not be able to take over a session."""
    session = shared.signed_in("anna").cookies[COOKIE]
    assert (hashlib.sha256(session.encode()).digest(),) in shared.sessions("anna")
    with psycopg.connect(shared.administrator.url) as connection:
        for table in (("ops", "sessions"), ("ops", "session_uses"), ("audit_log",)):
            query = sql.SQL("SELECT count(*) FROM {} t WHERE t::text LIKE %s").format(sql.Identifier(*table))
            assert connection.execute(query, [f"%{session}%"]).fetchone() == (0,)


def test_cookie_is_only_for_this_server(shared: Site, platform: Platform) -> None:
    """Scripts cannot read it, other sites cannot use it, and behind a proxy it needs TLS."""
    given = shared.browser().post("/sign-in", user="anna", password=PASSWORD).headers["set-cookie"]
    name, *attributes = (part.strip().lower() for part in given.split(";"))
    assert name.startswith(f"{COOKIE}=")
    assert {"httponly", "samesite=lax", "path=/"} <= set(attributes)
    assert not any(one.startswith("domain") for one in attributes)
    with running(platform.line, "--behind-proxy") as (address, _):
        browser = Browser(address)
        given = browser.post("/sign-in", user="anna", password=PASSWORD).headers["set-cookie"]
        name, *attributes = (part.strip().lower() for part in given.split(";"))
        assert name.startswith(f"__host-{COOKIE}=")
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= set(attributes)
        assert browser.get("/").status == 200
        # A neighbour of the same domain could set the name without the prefix
        assert is_refused(Browser(address, {COOKIE: browser.cookies[f"__Host-{COOKIE}"]}).get("/"))
        assert "secure" in browser.post("/sign-out").headers["set-cookie"].lower()
        assert browser.cookies == {}


def end_by_age(site: Site) -> None:
    """Let seven days pass in which the session was used."""
    site.execute("UPDATE ops.sessions SET opened_at = now() - interval '7 days', expires_at = now()")
    site.execute("INSERT INTO ops.session_uses SELECT sha256, now() FROM ops.sessions ON CONFLICT DO NOTHING")


def end_by_silence(site: Site) -> None:
    """Let twelve hours pass since the last request."""
    site.execute("DELETE FROM ops.session_uses")
    site.execute("UPDATE ops.sessions SET opened_at = now() - interval '1 day', expires_at = now() + interval '6 days'")
    site.execute("INSERT INTO ops.session_uses SELECT sha256, now() - interval '12 hours 1 s' FROM ops.sessions")


def end_by_removal(site: Site) -> None:
    """Remove the user and add another person of the same name."""
    users.remove_user(site.administrator, "anna")
    users.add_user(site.administrator, "anna")
    users.grant(site.administrator, "anna", ["Berlin"])


@pytest.mark.parametrize("end", [end_by_age, end_by_silence, end_by_removal])
def test_ended_session_shows_nothing(shared: Site, end: Callable[[Site], None]) -> None:
    browser = shared.signed_in("anna")
    assert browser.get("/").status == 200
    end(shared)
    assert is_refused(browser.get("/"))
    assert browser.get("/v1/cities").status == 401
    assert shared.signed_in("anna").get("/").status == 200


def test_session_in_use_stays_open(shared: Site) -> None:
    """The twelve hours begin again with each request."""
    browser = shared.signed_in("anna")
    for hours in (11, 22):
        shared.execute(
            "UPDATE ops.sessions SET opened_at = now() - make_interval(hours => %s),"
            " expires_at = now() + interval '6 days' WHERE user_name = 'anna'",
            hours,
        )
        assert browser.get("/").status == 200


def test_sign_out_ends_the_session_of_this_browser_only(shared: Site) -> None:
    browser, other = shared.signed_in("anna"), shared.signed_in("anna")
    copied = Browser(shared.address, dict(browser.cookies))
    answer = browser.post("/sign-out")
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
    assert browser.cookies == {}
    assert is_refused(copied.get("/"))
    assert other.get("/").status == 200


@pytest.mark.parametrize(
    "goal",
    [
        "///example.org/",
        "\\\\example.org/",
        "/\t/example.org/",
        "\t//example.org/",
        " //example.org/",
        "/\n/example.org/",
        "/x\r\nSet-Cookie: a=b",
        "data:text/html,x",
        "example.org",
        "/sign-out",
        "/sign-in?next=/sign-in",
    ],
)
def test_sign_in_leads_to_a_page_of_this_server(shared: Site, goal: str) -> None:
    for answer in (
        shared.browser().post("/sign-in", user="anna", password=PASSWORD, next=goal),
        shared.browser().get(f"{link_of(shared)}&next={quote(goal)}"),
    ):
        assert (answer.status, answer.headers["location"]) == (303, "/")
        assert len(answer.headers.getlist("set-cookie")) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://example.org"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "null"},
    ],
)
def test_password_in_a_form_of_another_site_is_refused(shared: Site, headers: dict[str, str]) -> None:
    """It could sign a user in as somebody else, who then sees what the user enters."""
    browser = shared.browser()
    assert browser.post("/sign-in", headers | FORM, user="anna", password=PASSWORD).status == 403
    assert browser.cookies == {}


def test_form_is_accepted_by_its_origin(shared: Site) -> None:
    """Browsers send no `Sec-Fetch-Site` to an address without TLS."""
    sent = FORM | {"Origin": shared.address}
    assert shared.browser().post("/sign-in", sent, user="anna", password=PASSWORD).status == 303


def test_password_is_refused_after_ten_wrong_ones(site: Site) -> None:
    """The right one too, or an attacker would see which one it is. Another user and a key still sign in."""
    browser = site.browser()
    wrong = [browser.post("/sign-in", user="anna", password=f"wrong {number}").status for number in range(10)]
    assert wrong == [403] * 10
    answer = browser.post("/sign-in", user="anna", password=PASSWORD)
    assert answer.status == 429
    assert "15 minutes" in text(answer)
    assert browser.post("/sign-in", user=" anna ", password=PASSWORD).status == 429
    assert browser.cookies == {}
    key, _ = api_keys.create_key(site.administrator, "anna", scopes=["read"])
    assert site.browser().post("/sign-in", key=key).status == 303
    assert site.browser().post("/sign-in", user="bert", password=PASSWORD).status == 303


def test_unknown_user_is_locked_out_like_a_known_one(site: Site) -> None:
    """Otherwise names could be found by it."""
    browser = site.browser()
    found = [browser.post("/sign-in", user="nobody", password="wrong").status for _ in range(11)]
    assert found == [403] * 10 + [429]


def test_wrong_attempts_of_an_address_are_limited(site: Site) -> None:
    """One password tried for many names, and keys."""
    browser = site.browser()
    found = [browser.post("/sign-in", user=f"user{number}", password="winter").status for number in range(20)]
    found += [browser.post("/sign-in", key="efp_abcdefgh_" + "a" * 43).status for _ in range(20)]
    # A minute may end in between
    assert found.count(429) >= 10


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_session_changes_nothing_over_http(shared: Site, method: str) -> None:
    """A form of another site carries no key, but it may carry a cookie."""
    browser = shared.signed_in("anna")
    for path in ("/v1/runs", "/v1/ingest/consumption", "/v1/cities"):
        for media_type, sent in (("application/json", '{"kind": "forecast"}'), ("text/csv", "city,timestamp\n")):
            headers = {"Content-Type": media_type, "Sec-Fetch-Site": "same-origin", "Origin": shared.address}
            answer = browser.send(method, path, headers, sent)
            assert answer.status in {401, 405, 422}, answer.data
    assert shared.execute("SELECT count(*) FROM ops.run_requests") == [(0,)]


def test_wrong_key_is_not_replaced_by_the_session(shared: Site) -> None:
    """A program that sends a key must notice that it is wrong."""
    browser = shared.signed_in("anna")
    for sent in ("Bearer efp_abcdefgh_" + "a" * 43, "Basic YTpi", "Bearer"):
        assert browser.get("/v1/cities", Authorization=sent).status == 401


@pytest.mark.parametrize("session", [None, "a" * 43, "x", "", "\xe9", '"', "a" * 5000])
def test_api_without_session_answers_with_a_problem(shared: Site, session: str | None) -> None:
    """Programs need a problem document, not a form."""
    answer = Browser(shared.address, {} if session is None else {COOKIE: session}).get("/v1/cities")
    assert answer.status == 401
    assert body(answer)["type"] == "/problems/key-refused"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_limit_of_requests_applies_to_all_sessions_of_a_user(platform: Platform) -> None:
    with running(platform.line, "--requests-per-minute", "3") as (address, _):
        site = platform.site(address)
        browsers = [site.signed_in("anna"), site.signed_in("anna")]
        found = [browsers[number % 2].get("/v1/cities").status for number in range(8)]
        # A minute may end in between
        assert set(found) == {200, 429}
        assert site.signed_in("bert").get("/v1/cities").status == 200


def link_of(site: Site, user: str = "anna") -> str:
    """Return the path of a link that the command line prints."""
    parts = urlsplit(site.line.run("user", "link", user, "--url", site.address).stdout.strip())
    assert f"{parts.scheme}://{parts.netloc}" == site.address
    return f"{parts.path}?{parts.query}"


def test_link_of_another_page_needs_a_click(shared: Site) -> None:
    """A page or a preview that opens the link signs nobody in, and does not use the link up."""
    browser, link = shared.browser(), link_of(shared)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "none", "Sec-Purpose": "prefetch"}, {}):
        answer = browser.send("GET", link, headers)
        assert (answer.status, browser.cookies) == (200, {}), headers
    secret = link.partition("link=")[2]
    assert f'value="{secret}"' in text(browser.send("GET", link, {}))
    assert browser.post("/sign-in", link=secret).status == 303
    assert "Berlin" in text(browser.get("/"))
    assert browser.post("/sign-in", link=secret).status == 403


def test_old_link_and_session_are_no_links(shared: Site) -> None:
    link = link_of(shared)
    shared.execute(
        "UPDATE ops.sessions SET opened_at = now() - interval '10 minutes', expires_at = now() WHERE is_link"
    )
    assert shared.browser().get(link).status == 403
    session = shared.signed_in("anna").cookies[COOKIE]
    assert shared.browser().get(f"/sign-in?link={session}").status == 403


def test_forms_that_never_end_stop_nobody(shared: Site) -> None:
    """More than the requests that may run at a time; each is closed, and nobody has signed in yet."""
    host, port = shared.address.removeprefix("http://").split(":")
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in range(450)]
        for number, one in enumerate(slow):
            path = "/sign-in" if number % 2 else "/v1/runs"
            one.sendall(
                b"POST %s HTTP/1.1\r\nHost: x\r\nCookie: a=%d\r\nContent-Length: 50\r\n\r\nuser="
                % (path.encode(), number)
            )
        for path in ("/sign-in", "/healthz", "/readyz", "/v1/problems"):
            assert shared.browser().get(path).status in {200, 404}
        for one in slow:
            assert one.recv(1000).startswith((b"HTTP/1.1 429", b"HTTP/1.1 503"))
        assert shared.signed_in("anna").get("/").status == 200
