"""Countries and subdivisions as users write them."""

from __future__ import annotations

import holidays
import pytest

from energy_forecast.errors import PlaceError
from energy_forecast.places import country_code, place_codes, subdivision_code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("DE", "DE"),
        ("de", "DE"),
        ("EL", "GR"),
        ("UK", "GB"),
        ("DEU", "DE"),
        ("Germany", "DE"),
        ("United Kingdom", "GB"),
    ],
)
def test_countries_are_read(text: str, code: str) -> None:
    assert country_code(text) == code


@pytest.mark.parametrize(
    ("text", "said"), [("XX", "two letters"), ("Germny", "'DE'"), ("Holidays", "two letters"), ("", "")]
)
def test_unknown_countries_are_refused(text: str, said: str) -> None:
    with pytest.raises(PlaceError, match="is not a country") as raised:
        country_code(text)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("country", "text", "code"),
    [
        ("DE", "BY", "BY"),
        ("DE", "by", "BY"),
        ("DE", "DE-BY", "BY"),
        ("DE", "Bayern", "BY"),
        ("DE", "bavaria", "BY"),
        ("GB", "UK-SCT", "SCT"),
        ("US", "Texas", "TX"),
        ("BR", "Sao Paulo", "SP"),
        ("FR", "IDF", "IDF"),
        ("GR", "I", "I"),
    ],
)
def test_subdivisions_are_read(country: str, text: str, code: str) -> None:
    """Also those of ISO 3166-2 that have no holidays of their own, such as the Ile-de-France."""
    assert subdivision_code(country, text) == code


@pytest.mark.parametrize(
    ("country", "text", "said"),
    [
        ("DE", "XX", "BB, BE, BW, BY"),
        ("DE", "Bayrn", "'BY'"),
        ("DE", "AT-9", "Choose one of"),
        ("US", "BY", "is not a subdivision of US"),
    ],
)
def test_unknown_subdivisions_are_refused(country: str, text: str, said: str) -> None:
    with pytest.raises(PlaceError, match=f"is not a subdivision of {country}") as raised:
        subdivision_code(country, text)
    assert said in str(raised.value)


def test_a_subdivision_needs_its_country() -> None:
    assert place_codes(None, "DE-BY") == ("DE", "BY")
    assert place_codes(None, None) == (None, None)
    for text in ("BY", "Bayern", "XX-BY"):
        with pytest.raises(PlaceError, match="has no country"):
            place_codes(None, text)


def test_every_code_of_the_library_is_read_as_itself() -> None:
    """What has holidays can be stored."""
    for country, codes in holidays.list_supported_countries(include_aliases=False).items():
        assert country_code(country) == country
        for code in codes:
            if len(code) <= 10 and " " not in code:
                assert subdivision_code(country, code) == code
