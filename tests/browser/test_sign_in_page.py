"""Signing in and out in a real browser."""

from __future__ import annotations

import pytest

from api.conftest import Api
from browser.conftest import Opener, assert_accessible, assert_fits
from energy_forecast.operations import users


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 400])
def test_form_is_accessible(look: Opener, width: int, dark: bool) -> None:
    page = look("/sign-in", None, width=width, dark=dark)
    assert_accessible(page)
    assert_fits(page)


@pytest.mark.parametrize("scripts", [True, False])
def test_key_opens_the_page_that_was_asked_for_until_sign_out(look: Opener, site: Api, scripts: bool) -> None:
    """By keyboard only, and without scripts too."""
    page = look("/forecast?window=3", None, scripts=scripts)
    assert "/sign-in" in page.url
    key = page.locator("input[name=key]")
    key.focus()
    page.keyboard.type(site.keys["anna"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/forecast?window=3")
    assert "Berlin" in page.locator("h1").inner_text()
    assert site.anna in page.locator(".account").inner_text()
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    page.locator(".account button").press("Enter")
    page.wait_for_url("**/sign-in")
    assert page.context.cookies() == []
    page.go_back()
    assert "Berlin" not in page.content(), "the page before is still in the cache"


def test_printed_link_signs_in_once(look: Opener, site: Api) -> None:
    """As `serve` prints it: the browser opens it directly."""
    link = users.sign_in_link(site.database, site.bert)
    page = look(f"/sign-in?link={link}", None)
    assert page.url == site.address.rstrip("/") + "/"
    assert "Pune" in page.locator("main").inner_text()
