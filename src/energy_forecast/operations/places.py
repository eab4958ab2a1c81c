"""Check the countries and subdivisions of stored cities."""

from __future__ import annotations

from dataclasses import dataclass

from energy_forecast.database.cities import all_cities
from energy_forecast.database.connection import Database
from energy_forecast.errors import PlaceError
from energy_forecast.places import place_codes


@dataclass(frozen=True)
class PlaceFinding:
    """A city without the holidays of its place.

    problem, remedy: sentences for the user.
    """

    city: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.city}: {self.problem}. {self.remedy}"


def place_findings(database: Database) -> list[PlaceFinding]:
    """Return the cities whose country or subdivision is unknown or has another code; such cities have no holidays.

    Raises:
        DatabaseError: the database refused the request.
    """
    with database.reading() as connection:
        cities = all_cities(connection)
    findings = []
    for city in cities:
        stored = city.country_code, city.subdivision
        try:
            known = place_codes(*stored)
        except PlaceError as error:
            findings.append(PlaceFinding(city.name, error.message, error.hint or ""))
            continue
        if known != stored:
            written, right = ("-".join(filter(None, codes)) for codes in (stored, known))
            findings.append(
                PlaceFinding(city.name, f"{written} is stored for {right}", "Run: energy-forecast city import")
            )
    return findings
