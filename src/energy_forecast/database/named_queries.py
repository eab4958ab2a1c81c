"""Named queries: blocks in `queries/*.sql`, each with a contract of one line."""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import LiteralString, cast

_BLOCK = re.compile(r"^-- name: (?P<name>\w+)\n-- (?P<contract>.+)\n(?P<text>(?:(?!^-- name:).*\n)+)", re.MULTILINE)


@functools.cache
def queries(subject: str) -> dict[str, LiteralString]:
    """Return the queries of one subject by name.

    The text belongs to this package, so it is a literal for the driver's type checks.
    """
    folder = resources.files("energy_forecast.database") / "sql" / "queries"
    source = (folder / f"{subject}.sql").read_text("utf-8")
    found = {block["name"]: cast(LiteralString, block["text"].strip()) for block in _BLOCK.finditer(source)}
    if len(found) != source.count("-- name:"):
        raise AssertionError(f"queries/{subject}.sql has a block without a line of contract")
    return found
