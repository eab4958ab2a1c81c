"""A page in a real browser: Debian's Chromium, headless, offline."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "</script><script>window.broken = true</script>"
_WATCH = """<script>
window.seen = [];
window.addEventListener("error", (event) => seen.push("error: " + event.message));
document.addEventListener("securitypolicyviolation", (event) => seen.push("refused: " + event.blockedURI));
for (const level of ["error", "warn"]) console[level] = (...words) => seen.push(level + ": " + words.join(" "));
</script>"""


def opened(path: Path, probe: str, *, dark: bool = False) -> dict[str, Any]:
    """Return `found`, which a probe fills one second after the page was drawn. The file is changed.

    `dark`: as a reader sees it whose colour scheme is dark.

    Nothing was fetched, nothing complained and no name was run as a script.
    """
    assert CHROMIUM is not None
    last = f"""<script>setTimeout(async function () {{
      const found = {{}};
      {probe}
      found.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
      found.seen = seen;
      found.broken = window.broken === true;
      const out = document.createElement("pre");
      out.id = "found";
      out.textContent = JSON.stringify(found);
      document.body.append(out);
    }}, 1000);</script>"""
    html = path.read_text("utf-8").replace("<head>", f"<head>{_WATCH}", 1)
    path.write_text(html.replace("</body>", f"{last}</body>"), "utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--disable-component-update", "--disable-sync", "--no-first-run", "--window-size=1300,1200"]
    command += ["--blink-settings=preferredColorScheme=0"] if dark else []
    command += [
        f"--user-data-dir={path.parent / 'profile'}",
        "--virtual-time-budget=10000",
        "--dump-dom",
        path.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    answer = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert answer is not None, "the probe did not come to its end"
    found: dict[str, Any] = json.loads(unescape(answer[1]))
    assert found["requests"] == found["seen"] == []
    assert not found["broken"]
    return found
