"""Pages of the API for people: the description of all paths, and of each type of problem. They load nothing else."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from energy_forecast.problems import PROBLEMS

DESCRIPTION = """Load, weather, forecasts and scores of cities.

Send the header `Authorization: Bearer KEY`. A request has the rights of the user of its key, so it sees only the cities
granted to them. Spans are half-open: from `from` to before `to`. `timestamp` is the START of an interval. Times have an
offset; answers are in UTC and end in Z. Errors are problem details (RFC 9457).

Answers are JSON, CSV, an Arrow stream or Parquet, by the header `Accept` or by `format`. Formats other than JSON have
the facts in the header `Energy-Forecast-Facts`. In CSV an apostrophe comes before a text that a spreadsheet would run
as a formula. A list with more rows has the header `Link` with `rel="next"`."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
:root { color-scheme: light dark }
code, pre { font: 0.9em/1.4 ui-monospace, monospace } pre { overflow-x: auto; padding: 0.5rem; border: 1px solid #8886 }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: 0.2rem 0.8rem 0.2rem 0 }
th { border-bottom: 1px solid #8886 }
summary { cursor: pointer; padding: 0.3rem 0 }
details { border-bottom: 1px solid #8883 }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def add_pages(app: FastAPI) -> None:
    """Add /docs, /problems and a page for each type of problem."""

    async def docs() -> Response:
        """Describe all paths, from the OpenAPI document."""
        return _page(app.title, _description(app.openapi()))

    async def problems() -> Response:
        """List the types of problems."""
        rows = [
            f'<tr><td><a href="problems/{one.name}">{one.name}</a></td>'
            f"<td>{one.status}</td><td>{escape(one.title)}</td></tr>"
            for one in PROBLEMS.values()
        ]
        return _page("Problems", f"<table><tr><th>type<th>status<th>title</tr>{''.join(rows)}</table>")

    async def problem(name: str) -> Response:
        """Describe one type of problem."""
        if name not in PROBLEMS:
            raise HTTPException(404)
        one = PROBLEMS[name]
        return _page(one.title, f"<p>Status {one.status}.</p><p>{_text(one.description)}</p>")

    for path, endpoint in (("/docs", docs), ("/problems", problems), ("/problems/{name}", problem)):
        app.add_api_route(path, endpoint, methods=["GET"], include_in_schema=False, response_class=HTMLResponse)


def _page(title: str, body: str) -> Response:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<main><h1>{escape(title)}</h1>{body}</main></html>",
        headers={
            "Content-Security-Policy": _POLICY,
            "Cache-Control": "no-cache",
        },
    )


def _description(document: dict[str, Any]) -> str:
    operations = [
        _operation(path, method, one) for path, methods in document["paths"].items() for method, one in methods.items()
    ]
    more = '<p><a href="openapi.json">OpenAPI document</a> · <a href="problems">Problems</a></p>'
    return _text(document["info"]["description"]) + more + "".join(operations)


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    rows, query = [], []
    address = path
    for one in operation.get("parameters", []):
        example = one.get("examples", {}).get("example", {}).get("value", "")
        rows.append(
            f"<tr><td><code>{escape(one['name'])}</code>{' (required)' if one.get('required') else ''}</td>"
            f"<td>{_text(one.get('description', ''))}</td><td><code>{escape(str(example))}</code></td></tr>"
        )
        if one["in"] == "path":
            address = address.replace(f"{{{one['name']}}}", str(example))
        elif one.get("required"):
            query.append(f"{one['name']}={example}")
    table = f"<table><tr><th>parameter<th>meaning<th>example</tr>{''.join(rows)}</table>" if rows else ""
    address += f"?{'&'.join(query)}" if query else ""
    option = "" if method == "get" else f"-X {method.upper()} "
    call = f"curl {option}-H 'Authorization: Bearer KEY' 'http://127.0.0.1:8000{address}'"
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><code>{method.upper()} {escape(path)}</code> '
        f"{escape(operation['summary'])}</summary>{_text(operation.get('description', ''))}{table}"
        f"<pre>{escape(call)}</pre></details>"
    )


def _text(markdown: str) -> str:
    """Return paragraphs, lists and code of a text as HTML."""
    blocks = []
    for block in re.split(r"\n\s*\n", escape(markdown, quote=False)):
        code = re.sub(r"`([^`]+)`", r"<code>\1</code>", block)
        if code.lstrip().startswith("- "):
            items = re.split(r"(?:^|\n)- ", code.strip())
            blocks.append("<ul>" + "".join(f"<li>{item}" for item in items if item) + "</ul>")
        else:
            blocks.append(f"<p>{code}</p>")
    return "".join(blocks)
