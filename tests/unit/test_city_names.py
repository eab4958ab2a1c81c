"""Names of cities: what users read as one name is one city, and nothing hides in a name."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_forecast.city_names import composed, name_fault, name_key, named_in, possible_names


@pytest.mark.parametrize(
    "name",
    [
        "Berlin",
        "São Paulo",
        "Washington, D.C.",
        "Saint-Denis",
        "İstanbul",
        "東京",
        "القاهرة",
        "N'Djamena",
        "[bold]",
        "6th of October",
    ],
)
def test_names_of_real_cities_are_accepted(name: str) -> None:
    assert name_fault(composed(name)) is None
    assert name_fault(composed(unicodedata.normalize("NFD", name))) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Mu\u200bnich", "U+200B, zero width space"),
        ("Mun\u202eich", "right-to-left override"),
        ("Mun\u00adich", "soft hyphen"),
        ("Mun\ufeffich", "U+FEFF"),
        ("Mun\u00a0ich", "no-break space"),
        ("Mun\u3164ich", "hangul filler"),
        ("Mun\ufe0fich", "variation selector"),
        ("Mun\tich", "U+0009, a control character"),
        ("Mun\x00ich", "U+0000"),
        ("Mun  ich", "space"),
        ("=1+1", "formula"),
        ("+1", "formula"),
        ("-1", "formula"),
        ("@sum", "formula"),
        ("\uff1dcmd", "formula"),
        ("x" * 101, "101 characters"),
    ],
)
def test_what_hides_in_a_name_is_refused(name: str, said: str) -> None:
    fault = name_fault(name)
    assert fault is not None
    assert said in fault


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_name_is_the_same_in_every_spelling(name: str) -> None:
    for other in (unicodedata.normalize("NFD", name), unicodedata.normalize("NFC", name), name.swapcase().swapcase()):
        if unicodedata.normalize("NFC", other).lower() == unicodedata.normalize("NFC", name).lower():
            assert name_key(composed(other)) == name_key(composed(name))


def test_every_letter_is_lowered_to_one_letter() -> None:
    assert name_key("ΒΟΛΟΣ") == name_key("βολοσ") == "βολοσ"
    assert name_key("İzmir") == name_key("IZMIR") == "izmir"


KNOWN = {name_key(name): name for name in ("Munich", "Berlin", "Washington, D.C.", "Düsseldorf", "Washington")}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["Munich"], ["Munich"]),
        (["munich", "BERLIN"], ["Munich", "Berlin"]),
        (["munich, berlin ,Munich"], ["Munich", "Berlin"]),
        (["Washington, D.C."], ["Washington, D.C."]),
        (["Munich,washington, d.c.,Berlin"], ["Munich", "Washington, D.C.", "Berlin"]),
        (["Washington,Munich"], ["Washington", "Munich"]),
        ([unicodedata.normalize("NFD", "DÜSSELDORF")], ["Düsseldorf"]),
    ],
)
def test_a_list_with_commas_is_split_into_names(wanted: list[str], found: list[str]) -> None:
    assert named_in(wanted, KNOWN) == (found, [])
    assert {name_key(name) for name in found} <= {name_key(name) for name in possible_names(wanted)}


@pytest.mark.parametrize(
    ("wanted", "missing"), [(["Munch"], ["Munch"]), (["Munich,Rome"], ["Rome"]), ([""], [""]), (["Munich,"], [""])]
)
def test_what_is_no_name_is_returned(wanted: list[str], missing: list[str]) -> None:
    assert named_in(wanted, KNOWN)[1] == missing
