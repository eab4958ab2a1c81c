"""Positions in a list: opaque texts, so that a page begins after the last row of the one before."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from energy_forecast.errors import EnergyForecastError


def cursor_of(*position: Any) -> str:
    """Return a position as a text for a URL."""
    text = json.dumps(position, separators=(",", ":"), default=str)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position_of(cursor: str, *kinds: Any) -> list[Any]:
    """Return the position of a cursor, each part converted by its kind.

    Raises:
        EnergyForecastError: the text is not a cursor of this list.
    """
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(parts, list):
            raise TypeError("not a list")
        return [kind(part) for kind, part in zip(kinds, parts, strict=True)]
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise EnergyForecastError("`cursor` is not one of this list.", hint="Use that of `next`.") from error
