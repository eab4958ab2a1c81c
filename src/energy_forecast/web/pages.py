"""The routes of the live pages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import TypeAlias
from urllib.parse import quote

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from energy_forecast.charts.pages import STATIC, render, static_file
from energy_forecast.database.connection import Connection
from energy_forecast.errors import EnergyForecastError, KeyRefusedError, NotEnoughDataError
from energy_forecast.problems import problem_of
from energy_forecast.web.content import Content, Control, View
from energy_forecast.web.state import PageClock, State, state_of
from energy_forecast.web.views import VIEWS

Transaction: TypeAlias = Callable[[Request], AbstractContextManager[Connection]]
_TYPES = {"css": "text/css", "js": "text/javascript"}
_YEAR = 365 * 86_400
# No script or style but those of this server, and nothing of it inside a page of others
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
    "X-Frame-Options": "DENY",
}


def add_pages(app: FastAPI, transaction: Transaction, clock: PageClock | None = None) -> None:
    """Add all views, and their scripts and styles.

    Args:
        app: of the server.
        transaction: yields a connection with the rights of the signed-in user of a request.
        clock: the time of the pages, if it is not that of the database.
    """
    for view in VIEWS:
        app.add_api_route(view.path, _endpoint(view, transaction, clock), methods=["GET"], include_in_schema=False)
    for name in STATIC:
        app.add_api_route(f"/static/{name}", _static(name), methods=["GET"], include_in_schema=False)


def html_answer(html: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a page, with the policy that lets the browser run only the scripts of this server."""
    return Response(html, status, HEADERS | (headers or {}), "text/html; charset=utf-8")


def _static(name: str) -> Callable[[Request], Response]:
    async def static(request: Request) -> Response:
        # The URL of a page has the version, so the content of the URL never changes
        age = f"public, max-age={_YEAR}, immutable" if "v" in request.query_params else "no-cache"
        return Response(static_file(name), media_type=_TYPES[name.rpartition(".")[2]], headers={"Cache-Control": age})

    return static  # type: ignore[return-value]


def _endpoint(view: View, transaction: Transaction, clock: PageClock | None) -> Callable[[Request], Response]:
    def page(request: Request) -> Response:
        try:
            with transaction(request) as connection:
                return _answer(view, request, connection, clock)
        except KeyRefusedError:
            return sign_in_redirect(request)
        except EnergyForecastError as error:
            return _failed(view, request, error)

    return page


def _answer(view: View, request: Request, connection: Connection, clock: PageClock | None) -> Response:
    state = state_of(connection, dict(request.query_params), clock)
    try:
        content = view.build(connection, state)
    except NotEnoughDataError as error:
        content = Content(view.title, str(error), [])
    return html_answer(_render(view, request, state, content))


def sign_in_redirect(request: Request) -> Response:
    """Return the answer for a page that needs a session: the form, which leads back to the page."""
    query = f"?{request.url.query}" if request.url.query else ""
    goal = quote(f"{request.url.path}{query}", safe="")
    return RedirectResponse(f"/sign-in?next={goal}", 303, {"Cache-Control": "no-store"})


def _render(view: View, request: Request, state: State, content: Content) -> str:
    return render(
        "view.html",
        title=content.title,
        sentence=content.sentence,
        cards=content.cards,
        notes=[*content.notes, *_sample_notes(view, state)],
        controls=_controls(view, state, content),
        views=[
            SimpleNamespace(title=one.title, url=state.url(one.path), is_current=one.path == view.path) for one in VIEWS
        ],
        user=getattr(request.state, "user", None),
        notice=_notice(state),
        path=view.path,
        url=f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path,
        refresh=None if state.is_past else 2 if state.speed != 1 and content.refresh else content.refresh,
    )


def _controls(view: View, state: State, content: Content) -> list[Control]:
    controls = []
    if view.of_city and state.city is not None and len(state.cities) > 1:
        names = [(city.name, city.name) for city in state.cities]
        controls.append(Control("city", "City", state.city.name, names))
    return [*controls, *content.controls]


def _sample_notes(view: View, state: State) -> list[str]:
    """Return where the data of the demo is from, and what of it is not real."""
    cities = state.cities if not view.of_city else [] if state.city is None else [state.city]
    notes = []
    for city in cities:
        if "sample" in city.metadata:
            sample = city.metadata["sample"]
            moved = (
                f" Moved by {sample['weeks']} whole weeks, so that it seems to go on now." if sample["weeks"] else ""
            )
            notes.append(f"{city.name}: {sample['source']}.{moved} {sample.get('made') or ''}".strip())
    return notes


def _notice(state: State) -> str | None:
    """Return what makes this page different from the present state of live forecasts."""
    if state.speed != 1:
        return (
            f"Replay: the clock of these pages runs {state.speed:,.0f} times faster, and this page is as of "
            f"{state.clock.text(state.now)}. Its forecasts were issued afterwards, from the data known at "
            "their time of issue."
        )
    return f"As of {state.clock.text(state.now)}: only what was known then." if state.is_past else None


def _failed(view: View, request: Request, error: EnergyForecastError) -> Response:
    """Return a page for a request that cannot be answered."""
    status = problem_of(error).status
    html = render(
        "view.html",
        title=view.title,
        sentence=str(error) if status < 500 else "The page cannot be shown. Report this to the operator.",
        cards=[],
        notes=[],
        controls=[],
        views=[SimpleNamespace(title=one.title, url=one.path, is_current=one.path == view.path) for one in VIEWS],
        user=getattr(request.state, "user", None),
        notice=None,
        path=view.path,
        url=view.path,
        refresh=None,
    )
    return html_answer(html, status)
