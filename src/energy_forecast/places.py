"""Codes of countries and their subdivisions, as users and files write them.

The library `holidays` lists the countries, and the subdivisions with their own holidays. Other subdivisions of
ISO 3166-2 are accepted too; they have the holidays of the country.
"""

from __future__ import annotations

import importlib.resources
import re
import unicodedata
from difflib import get_close_matches
from functools import cache

from energy_forecast.errors import PlaceError

# Used in addition to ISO 3166-1: the European Union code of Greece
_OTHER_CODES = {"EL": "GR"}
# Codes that fit the column of the table
_STORABLE = re.compile(r"[A-Za-z0-9-]{1,10}")
_MOST_NAMED = 20


def country_code(text: str) -> str:
    """Return the code (ISO 3166-1 alpha-2) of a country, given as a code or an English name.

    Raises:
        PlaceError: the country is unknown.
    """
    known = _countries()
    code = known.get(_plain(text))
    if code is not None:
        return code
    near = get_close_matches(_plain(text), known, n=1, cutoff=0.75) if len(text.strip()) > 3 else []
    raise PlaceError(
        f"{text.strip()[:40]!r} is not a country with known holidays",
        hint=f"Did you mean {known[near[0]]!r}?" if near else "Give a code of two letters (ISO 3166-1) such as DE.",
    )


def subdivision_code(country: str, text: str) -> str:
    """Return the code of a subdivision, given as a code (BY, DE-BY) or a name (Bavaria, Bayern).

    Args:
        country: its code, as `country_code` returns it.
        text: the subdivision.

    Raises:
        PlaceError: the country has no such subdivision.
    """
    text = text.strip()
    known = _subdivisions(country)
    prefix, _, rest = text.partition("-")
    if rest and _countries().get(_plain(prefix)) == country and (code := known.get(_plain(rest))) is not None:
        return code
    code = known.get(_plain(text))
    if code is not None:
        return code
    near = get_close_matches(_plain(text), known, n=1, cutoff=0.7) if len(text) > 3 else []
    codes = sorted(set(_own_holidays(country)) or set(known.values()))
    listed = f"Choose one of {', '.join(codes[:_MOST_NAMED])}{', ...' if len(codes) > _MOST_NAMED else ''}."
    raise PlaceError(
        f"{text[:40]!r} is not a subdivision of {country}",
        hint=f"Did you mean {known[near[0]]!r}?" if near else listed if codes else "Leave it out.",
    )


def place_codes(country: str | None, subdivision: str | None) -> tuple[str | None, str | None]:
    """Return the codes of a country and its subdivision; a subdivision such as DE-BY includes its country.

    Raises:
        PlaceError: one of them is unknown, or a subdivision has no country.
    """
    if subdivision is None:
        return None if country is None else country_code(country), None
    if country is None:
        prefix, _, rest = subdivision.strip().partition("-")
        if not rest or len(prefix) != 2 or (found := _countries().get(_plain(prefix))) is None:
            raise PlaceError(f"Subdivision {subdivision.strip()[:40]!r} has no country", hint="Give its country too.")
        return found, subdivision_code(found, subdivision)
    code = country_code(country)
    return code, subdivision_code(code, subdivision)


def _plain(text: str) -> str:
    """Return a text in lower case without accents, spaces and punctuation."""
    parts = unicodedata.normalize("NFKD", text.lower())
    return "".join(sign for sign in parts if sign.isalnum())


@cache
def _countries() -> dict[str, str]:
    """Return the codes of countries by every accepted spelling."""
    from holidays.registry import COUNTRIES

    known: dict[str, str] = {}
    for name, (_, code, *others) in COUNTRIES.items():
        written = (name, code, *(other for other in others if not other.startswith("Holidays")))
        known |= dict.fromkeys(map(_plain, written), code)
    return known | {_plain(other): code for other, code in _OTHER_CODES.items()}


@cache
def _own_holidays(country: str) -> tuple[str, ...]:
    """Return the subdivisions with their own holidays in the library, if the code fits the table."""
    import holidays

    supported = holidays.list_supported_countries().get(country, [])
    return tuple(code for code in supported if _STORABLE.fullmatch(code))


@cache
def _subdivisions(country: str) -> dict[str, str]:
    """Return the codes of the subdivisions of a country by every unambiguous spelling."""
    import holidays

    codes = {_plain(code): code for code in _own_holidays(country)}
    names: dict[str, set[str]] = {}
    for text, code in getattr(holidays.country_holidays(country), "subdivisions_aliases", {}).items():
        if _plain(code) in codes:
            names.setdefault(_plain(text), set()).add(codes[_plain(code)])
    table = (importlib.resources.files("energy_forecast") / "subdivisions.tsv").read_text("utf-8")
    for line in table.splitlines():
        if line.startswith(f"{country}\t"):
            _, code, name = line.split("\t")
            code = codes.setdefault(_plain(code), code)
            names.setdefault(_plain(name), set()).add(code)
    # A code takes precedence over a name; a name shared by two subdivisions is left out
    return {name: next(iter(found)) for name, found in names.items() if len(found) == 1} | codes
