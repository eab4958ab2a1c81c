r"""Take a picture of every view of a running server, at 1400 and 400 pixels, light and dark.

    .venv/bin/python docs/screenshots.py FOLDER --url http://127.0.0.1:8000 --key KEY [--city NAME] [--view /forecast]
    .venv/bin/python docs/screenshots.py --readme --url http://127.0.0.1:8000 --key KEY

`--readme` writes docs/picture.png: the forecast of a city, on the demo. Needs Debian's Chromium. Problems of the
browser's console are printed, and the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, sync_playwright

from energy_forecast.web.views import VIEWS

WIDTHS = (1400, 400)
PICTURE = Path(__file__).parent / "picture.png"


def main() -> int:
    """Take the pictures, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--city")
    parser.add_argument("--view", action="append", help="a path, which may have parameters")
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    program = shutil.which("chromium")
    if program is None:
        print("Chromium is not installed: apt-get install chromium", file=sys.stderr)
        return 1
    query = f"?{urlencode({'city': options.city})}" if options.city else ""
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        if options.readme:
            page = signed_in(browser, options.url, options.key, 1280, False, problems)
            page.set_viewport_size({"width": 1280, "height": 1025})
            path = options.view[0] if options.view else f"/forecast{query}"
            shoot(page, options.url + path, PICTURE, is_whole=False)
        elif options.folder is not None:
            options.folder.mkdir(parents=True, exist_ok=True)
            paths = options.view or [f"{view.path}{query if view.of_city else ''}" for view in VIEWS]
            for width in WIDTHS:
                for is_dark in (False, True):
                    page = signed_in(browser, options.url, options.key, width, is_dark, problems)
                    for path in paths:
                        name = path.partition("?")[0].strip("/").replace("/", "-") or "now"
                        file = options.folder / f"{name}-{width}-{'dark' if is_dark else 'light'}.png"
                        shoot(page, options.url + path, file)
        else:
            parser.error("give a folder, or --readme")
        browser.close()
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def signed_in(browser: Browser, url: str, key: str, width: int, is_dark: bool, problems: list[str]) -> Page:
    """Return a page of a signed-in user, whose problems are appended to the list."""
    context = browser.new_context(
        viewport={"width": width, "height": 1000},
        color_scheme="dark" if is_dark else "light",
        timezone_id="UTC",
        locale="en-GB",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.on("console", lambda message: problems.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
    page.goto(f"{url}/sign-in")
    page.locator("input[name=key]").fill(key)
    page.locator("input[name=key]").press("Enter")
    page.wait_for_url(f"{url}/")
    return page


def shoot(page: Page, url: str, file: Path, *, is_whole: bool = True) -> None:
    """Write the picture of a page after its charts are drawn."""
    page.goto(url)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(200)
    page.screenshot(path=file, full_page=is_whole)
    print(file)


if __name__ == "__main__":
    sys.exit(main())
