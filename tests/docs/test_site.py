"""The documentation as a site: it builds strictly, draws its diagrams and asks no other host for anything."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site. Broken links and anchors, also of files outside docs, fail the build."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_links_of_the_readme_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)", (ROOT / "README.md").read_text("utf-8"))
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_architecture_names_existing_files() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    package = ROOT / "src" / "energy_forecast"
    named = set(re.findall(r"\b\w+/[\w/]+(?:\.py|\.sql)?", re.sub(r"\]\(.*?\)", "", page))) - {"src/energy_forecast"}
    assert len(named) > 25
    assert [name for name in sorted(named) if not (package / name).exists()] == []


class Sources(HTMLParser):
    """Collect the addresses that a browser fetches when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "link" and names.get("rel") in ("canonical", "prev", "next"):
            return
        for name in ("src", "srcset", "data", "href") if tag == "link" else ("src", "srcset", "data"):
            if names.get(name):
                self.found.append(str(names[name]))


def test_pages_fetch_from_no_other_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        sources = Sources()
        sources.feed(page.read_text("utf-8"))
        assert sources.found
        assert [source for source in sources.found if re.match(r"(\w+:)?//", source)] == [], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", style.read_text("utf-8")), style


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_diagrams_are_drawn_offline(site: Path) -> None:
    """Every Mermaid diagram of the pages in one page, as the theme loads Mermaid: from the site's own file."""
    diagrams = re.findall(
        r'<pre class="mermaid"><code>.*?</code></pre>',
        "".join(page.read_text("utf-8") for page in sorted(site.rglob("*.html"))),
        re.DOTALL,
    )
    assert len(diagrams) > 10
    page = site / "index.html"
    text = page.read_text("utf-8").replace("</article>", "".join(diagrams) + "</article>", 1)
    probe = """<script>setTimeout(() => {
      const out = document.createElement("pre");
      out.id = "found";
      out.textContent = JSON.stringify({
        drawn: document.querySelectorAll("div.mermaid").length,
        left: [...document.querySelectorAll("pre.mermaid")].map((left) => left.textContent),
        requests: performance.getEntriesByType("resource").map((entry) => entry.name),
      });
      document.body.append(out);
    }, 8000);</script>"""
    page.write_text(text.replace("</body>", probe + "</body>"), "utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--no-first-run", f"--user-data-dir={site.parent / 'profile'}", "--virtual-time-budget=20000"]
    dom = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    answer = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert answer is not None
    found = json.loads(answer[1])
    assert found["left"] == []
    assert found["drawn"] >= len(diagrams)
    assert [request for request in found["requests"] if not request.startswith("file:")] == []
