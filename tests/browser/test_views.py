"""Every view in a real browser: accessible, narrow, without scripts, only the reader's cities, state in the URL."""

from __future__ import annotations

import gzip
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from api.conftest import NOW, Api
from browser.conftest import HOSTILE, Opener, assert_accessible, assert_fits
from energy_forecast.charts.pages import STATIC, static_file
from energy_forecast.web.views import VIEWS

PATHS = [one.path for one in VIEWS]
OF_CITY = [one.path for one in VIEWS if one.of_city]
# Bytes of script and style, compressed
MOST_BYTES = 60_000


def of(path: str, city: str | None = "Berlin", **parameters: str) -> str:
    """Return the URL of a view of a city, if the view is of one."""
    named = {"city": city} if city is not None and path in OF_CITY else {}
    return f"{path}?{urlencode(named | parameters)}" if named | parameters else path


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("width", "dark"), [(1400, False), (1400, True), (400, False), (400, True)])
def test_view_is_accessible_and_fits(look: Opener, path: str, width: int, dark: bool) -> None:
    page = look(of(path), width=width, dark=dark)
    page.wait_for_load_state("networkidle")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.locator("h1").count() == 1
    assert page.locator(".answer").inner_text().strip()
    assert_accessible(page)
    assert_fits(page)


@pytest.mark.parametrize("path", PATHS)
def test_view_is_readable_without_scripts(look: Opener, path: str) -> None:
    """Each chart has a table with rows, and links to the same data."""
    page = look(of(path), scripts=False)
    for card in page.locator("section.card").all():
        if card.locator(".figure").count():
            assert card.locator("tbody tr, .facts div").count() or card.locator("svg text").count()
        if card.locator(".time-chart").count():
            assert card.locator(".without-script").is_visible()
            card.locator("summary").first.click()
            assert card.locator("tbody tr").first.is_visible()
    assert page.locator("form.controls button").count() == page.locator("form.controls").count()


@pytest.mark.parametrize("path", PATHS)
def test_hostile_name_is_text(look: Opener, path: str) -> None:
    page = look(of(path, HOSTILE))
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.broken") is None
    assert HOSTILE in page.locator("body").inner_text()
    for link in page.locator("main a").all():
        query = parse_qs(urlsplit(link.get_attribute("href") or "").query)
        assert query.get("city", [HOSTILE])[0] in {HOSTILE, "Berlin", "Pune"}


@pytest.mark.parametrize("path", PATHS)
def test_reader_sees_only_their_cities(look: Opener, site: Api, path: str) -> None:
    """The URL of another city answers as that of a city that does not exist. test_view_leaks.py compares numbers."""
    for user, other, own in (("anna", "Pune", "Berlin"), ("bert", "Berlin", "Pune")):
        text = look(of(path, None), user).content()
        assert own in text
        assert other not in text.replace(f"Europe/{other}", "")
        assert "window.broken" not in text
    if path in OF_CITY:
        refused, absent = site.get(of(path, "Pune"), "anna"), site.get(of(path, "Nowhere"), "anna")
        assert refused.status == absent.status == 404
        assert refused.data.replace(b"Pune", b"Nowhere") == absent.data


@pytest.mark.parametrize("path", OF_CITY)
def test_url_holds_whole_state(look: Opener, path: str) -> None:
    """A colleague who gets the URL sees the same, also after the browser went forward and back."""
    url = of(path, as_of=f"{NOW:%Y-%m-%dT%H:%MZ}", window="3")
    first, second = look(url), look(url)
    shown = first.locator("main").inner_text()
    assert second.locator("main").inner_text() == shown
    first.reload()
    assert first.locator("main").inner_text() == shown
    first.locator("nav a").first.click()
    first.wait_for_load_state("networkidle")
    first.go_back()
    first.wait_for_load_state("networkidle")
    assert first.url.endswith(url)
    assert first.locator("main").inner_text() == shown


@pytest.mark.parametrize("path", OF_CITY)
def test_choice_of_city_changes_url_and_goes_back(look: Opener, path: str) -> None:
    page = look(of(path))
    page.locator("select[name=city]").select_option("Pune")
    page.wait_for_url("**city=Pune**")
    assert "Pune" in page.locator("main").inner_text()
    page.go_back()
    page.wait_for_url(f"**{of(path)}")
    assert "Berlin" in " ".join(page.locator("h1, .answer, .card").all_inner_texts())
    assert page.locator("select[name=city]").input_value() == "Berlin"


@pytest.mark.parametrize("path", PATHS)
def test_view_loads_few_bytes_of_this_server_only(look: Opener, site: Api, path: str) -> None:
    """The policy allows no inline script, and the page needs none."""
    page = look(of(path))
    page.wait_for_load_state("networkidle")
    loaded = page.evaluate("performance.getEntriesByType('resource').map((one) => [one.name, one.encodedBodySize])")
    assert {urlsplit(name).netloc for name, _ in loaded} <= {urlsplit(site.address).netloc}
    assert sum(size for _, size in loaded) <= MOST_BYTES
    answer = site.get(of(path), "olga")
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    assert page.locator("[style], style, [onclick], script:not([src]):not([type='application/json'])").count() == 0 or (
        page.evaluate("[...document.querySelectorAll('main [style]')].every((one) => one.closest('.uplot'))")
    )


def test_script_and_style_of_all_pages_are_small() -> None:
    assert sum(len(gzip.compress(static_file(name), 6)) for name in STATIC) <= MOST_BYTES


@pytest.mark.parametrize("path", PATHS)
def test_view_prints_without_navigation(look: Opener, path: str) -> None:
    page = look(of(path))
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert not page.locator("form.controls").first.is_visible() if page.locator("form.controls").count() else True
    assert page.locator("h1").is_visible()
    assert len(page.pdf()) > 1000
