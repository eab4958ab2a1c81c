"""The browser of the tests: it reports what goes wrong on a page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from browser.conftest import Opener, Viewer, assert_accessible, assert_fits


def test_description_of_api_is_accessible(look: Opener) -> None:
    """The page of the API has no script, so it is the first proof of the fixtures."""
    page = look("/docs", user=None)
    assert page.title()
    assert_accessible(page)
    assert_fits(page)


def test_reports_errors_and_foreign_requests(chromium: Browser, tmp_path: Path) -> None:
    """A check that finds nothing on a broken page proves nothing on a good one."""
    path = tmp_path / "broken.html"
    path.write_text(
        "<!doctype html><meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src *\">"
        "<script>1</script><img src='http://127.0.0.2:9/x.png'>"
    )
    viewer = Viewer(chromium)
    page = viewer.context("").new_page()
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    viewer.close()
    assert any("policy: script-src-elem inline" in one for one in viewer.problems)
    assert "request to another host: http://127.0.0.2:9/x.png" in viewer.problems
