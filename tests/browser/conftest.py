"""Debian's Chromium on a real server: three cities, and users who see one or all of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import polars as pl
import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright
from psycopg import sql

import energy_forecast as ef
from api.conftest import FIRST, NOW, Api, fill, started, two_users
from energy_forecast import pipelines
from energy_forecast.operations import api_keys, users
from energy_forecast.web.sign_in import cookie_name
from servers import Server
from synthetic import frames

# A name that tries to be markup, to end an attribute, to turn the direction of text, and to be more than one unit long
HOSTILE = "<script>window.broken=1</script>'\"&amp;\N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED}\N{SNOWMAN}\U0001f600"
# Policy violations come as errors of the console too, but not those of every directive
_WATCH = """addEventListener("securitypolicyviolation",
  (event) => console.error("policy: " + event.violatedDirective + " " + event.blockedURI));"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Yield a headless Chromium.

    Not for the session: an event loop of the library runs in this thread meanwhile, and other tests run their own.
    """
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--js-flags=--expose-gc", "--enable-precise-memory-info"]
        )
        yield browser
        browser.close()


@dataclass
class Viewer:
    """Opens pages, and keeps everything that went wrong on them.

    problems: errors and warnings of the console and of scripts, violations of the policy, requests to other hosts.
    """

    browser: Browser
    problems: list[str] = field(default_factory=list)
    _contexts: ExitStack = field(default_factory=ExitStack)

    def context(self, address: str, session: str | None = None, **options: Any) -> BrowserContext:
        """Return a new context, as of a user who has never been here, or with a session."""
        found = self.browser.new_context(base_url=address or None, **options)
        if session is not None:
            found.add_cookies(
                [{"name": cookie_name(has_tls=False), "value": session, "url": address, "httpOnly": True}]
            )
        self._contexts.callback(found.close)
        found.add_init_script(_WATCH)
        host = urlsplit(address).netloc

        def check(url: str) -> None:
            parts = urlsplit(url)
            if parts.scheme not in {"data", "blob", "file", "about"} and parts.netloc != host:
                self.problems.append(f"request to another host: {url}")

        found.on("request", lambda request: check(request.url))

        def keep(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                self.problems.append(f"{message.type}: {message.text}")

        found.on("console", keep)
        found.on("weberror", lambda error: self.problems.append(f"script: {error.error}"))
        return found

    def close(self) -> None:
        """Close all pages."""
        self._contexts.close()


@pytest.fixture
def viewer(chromium: Browser) -> Iterator[Viewer]:
    """Yield an opener of pages. At the end nothing may have gone wrong on one of them."""
    found = Viewer(chromium)
    yield found
    found.close()
    assert found.problems == []


Opener = Callable[..., Page]


@pytest.fixture
def look(viewer: Viewer, site: Api, sessions: dict[str, str]) -> Opener:
    """Return a function that opens a page of the server with the session of a user."""

    def opened(
        path: str,
        user: str | None = "olga",
        *,
        width: int = 1400,
        dark: bool = False,
        zone: str = "UTC",
        scripts: bool = True,
        status: int = 200,
    ) -> Page:
        context = viewer.context(
            site.address,
            None if user is None else sessions[user],
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            timezone_id=zone,
            locale="en-GB",
            java_script_enabled=scripts,
        )
        page = context.new_page()
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == status, answer.text()[:2000]
        return page

    return opened


@pytest.fixture(scope="session")
def site(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Yield a server with three cities, of which one has a hostile name. Anna sees Berlin, Bert Pune, Olga all."""
    folder = tmp_path_factory.mktemp("site")
    with server.copy_of(template) as database:
        with ef.connect(database.url) as platform:
            platform.import_cities(
                pl.DataFrame(
                    {
                        "name": [HOSTILE],
                        "latitude": [-36.85],
                        "longitude": [174.76],
                        "timezone": ["Pacific/Auckland"],
                        "country_code": ["NZ"],
                    }
                )
            )
            for dataset, frame in zip(("consumption", "weather"), frames(FIRST, NOW, ("Berlin",)), strict=True):
                platform.ingest(dataset, frame.with_columns(city=pl.lit(HOSTILE)))
        fill(database, folder)
        for hours in range(1, 24, 3):
            pipelines.forecast(database, at=NOW - timedelta(hours=hours), model="naive-24")
        pipelines.score(database)
        olga = f"olga_{uuid4().hex[:12]}"
        with two_users(database) as (anna, bert):
            users.add_user(database, olga)
            users.grant(database, olga, [])
            with started(database, folder, anna, bert) as found:
                found.keys["olga"] = api_keys.create_key(database, olga, scopes=["read"])[0]
                yield found
            users.revoke(database, olga, [])
            with psycopg.connect(database.url) as connection:
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(olga)))


@pytest.fixture(scope="session")
def sessions(site: Api) -> dict[str, str]:
    """Return a session of each user."""
    return {user: session_of(site, user) for user in site.keys}


def session_of(site: Api, user: str) -> str:
    """Sign in with the key of a user; return the id of the session."""
    form = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    answer = site.send("POST", "/sign-in", None, form, urlencode({"key": site.keys[user]}))
    found = re.search(f"{cookie_name(has_tls=False)}=([^;]+)", answer.headers.get("set-cookie", ""))
    assert found is not None, answer.data
    return found[1]


def assert_accessible(page: Page) -> None:
    """Check a page with axe-core: no violation."""
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["help"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found] == []


def assert_fits(page: Page) -> None:
    """Check that a page is not wider than its window."""
    # Marks and labels of a chart may be drawn outside their element, over the neighbours
    outside = page.evaluate(
        """[...document.querySelectorAll("svg.plot *")].filter((one) => {
          const inner = one.getBoundingClientRect(), outer = one.closest(".card, .tile, li").getBoundingClientRect();
          return inner.width && !one.closest(".wide") && (inner.right > outer.right + 1 || inner.left < outer.left - 1);
        }).slice(0, 5).map((one) => one.outerHTML.slice(0, 200))"""
    )
    assert outside == []
    # A word within a word cannot be read
    overlaps = page.evaluate(
        """[...document.querySelectorAll("svg.plot")].flatMap((plot) => {
          const texts = [...plot.querySelectorAll("text")].filter((one) => !one.querySelector("tspan"));
          texts.push(...plot.querySelectorAll("tspan"));
          const boxes = texts.map((one) => [one.textContent, one.getBoundingClientRect()]);
          const found = [];
          boxes.forEach(([text, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
            const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (width > 1 && height > 4) found.push(`${text} / ${other}`);
          }));
          return found;
        }).slice(0, 8)"""
    )
    assert overlaps == []
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, page.evaluate(
        """[...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1
          && !one.closest(".scroll")).slice(0, 5).map((one) => one.outerHTML.slice(0, 200))"""
    )
