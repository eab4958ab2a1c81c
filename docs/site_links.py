"""Hook of mkdocs: add the files outside docs that pages link to, so that these links are checked and work in the site.

The pages are read in the repository too, where `../CHANGELOG.md` is right. In the site, docs is the root, and each such
file is next to it: CHANGELOG.md becomes a page, and benchmarks/results/x.csv a file.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
LINK = re.compile(r"(?<=\]\()\s*([^)#\s:]+)")


def on_files(files: Files, config: Any) -> Files:
    """Return the files of the site: those of docs, and the others that a page links to."""
    for name in PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for page in list(files.documentation_pages()):
        for link in LINK.findall(page.content_string):
            target = _target(page, link)
            if not target.startswith("docs/") and (ROOT / target).is_file() and target not in files.src_uris:
                files.append(File.generated(config, target, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Return a page's text with its links as they are in the site."""
    del config, files
    here = posixpath.dirname(page.file.src_uri) or "."

    def rewritten(match: re.Match[str]) -> str:
        return posixpath.relpath(_target(page.file, match[1]).removeprefix("docs/"), here)

    return LINK.sub(rewritten, markdown)


def _target(page: File, link: str) -> str:
    """Return the path of a link's target in the repository."""
    folder = posixpath.dirname(page.src_uri if page.src_uri in PAGES else f"docs/{page.src_uri}")
    return posixpath.normpath(posixpath.join(folder, link))
