"""Cities in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from energy_forecast.city_names import composed, name_key, named_in, nearest_name, possible_names
from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import dict_rows, object_rows, one_row, queries
from energy_forecast.errors import UnknownCityError


@dataclass(frozen=True)
class StoredCity:
    """A row of `cities`: degrees north and east, an IANA time zone.

    load_delay: time from the end of an interval until its load is known; None if not known.
    """

    id: UUID
    name: str
    latitude: float
    longitude: float
    timezone: str
    country_code: str | None
    subdivision: str | None
    metadata: dict[str, Any]
    load_delay: timedelta | None = None


def all_cities(connection: Connection) -> list[StoredCity]:
    """Return every city, sorted by name."""
    return object_rows(connection, StoredCity, queries("cities")["all_cities"])


def cities_named(connection: Connection, names: Sequence[str]) -> list[StoredCity]:
    """Return the cities with these names, or every city if `names` is empty, sorted by name.

    Names are compared without regard to case and Unicode normalisation. A text that is not a name may be a
    comma-separated list of names.

    Raises:
        UnknownCityError: a name is unknown, or no city is stored.
    """
    if not names:
        found = all_cities(connection)
        if not found:
            raise UnknownCityError("There are no cities yet.", hint="Add one: `add_city`.")
        return found
    possible = possible_names(names)
    # If lower() of the server handles only ASCII, two names may have one key. The exact spelling wins
    alike = sorted(_cities_of(connection, possible), key=lambda city: city.name in possible)
    known = {name_key(city.name): city for city in alike}
    chosen, missing = named_in(names, {key: city.name for key, city in known.items()})
    if missing:
        raise _unknown_city(connection, missing[0])
    return sorted((known[name_key(name)] for name in chosen), key=lambda city: city.name)


def city_named(connection: Connection, name: str) -> StoredCity:
    """Return the city with a name, compared without regard to case and Unicode normalisation.

    Raises:
        UnknownCityError: the name is unknown.
    """
    found = _cities_of(connection, [composed(name)])
    if not found:
        raise _unknown_city(connection, name)
    return next((city for city in found if city.name == composed(name)), found[0])


def _cities_of(connection: Connection, names: Sequence[str]) -> list[StoredCity]:
    with connection.cursor(row_factory=class_row(StoredCity)) as cursor:
        # PostgreSQL's text cannot hold a NUL
        parameters = {"names": [name for name in names if "\0" not in name]}
        return cursor.execute(queries("cities")["some_cities"], parameters).fetchall()


def _unknown_city(connection: Connection, name: str) -> UnknownCityError:
    near = nearest_name(name, [city.name for city in all_cities(connection)])
    hint = f"Did you mean {near!r}?" if near else "See: energy-forecast city list"
    return UnknownCityError(f"There is no city {name!r}.", hint=hint)


def add_city(
    connection: Connection,
    *,
    name: str,
    latitude: float,
    longitude: float,
    timezone: str,
    country_code: str | None,
    subdivision: str | None,
) -> UUID | None:
    """Add a city and return its id; None if the name is already in use."""
    parameters = {
        "name": name,
        "latitude": latitude,
        "longitude": longitude,
        "timezone": timezone,
        "country_code": country_code,
        "subdivision": subdivision,
    }
    row = connection.execute(queries("cities")["add_city"], parameters).fetchone()
    return None if row is None else UUID(str(row[0]))


def set_metadata(connection: Connection, city: UUID, key: str, value: object) -> None:
    """Replace one key of a city's metadata."""
    connection.execute(queries("cities")["set_metadata"], {"city": city, "key": key, "value": Jsonb(value)})


def set_load_delay(connection: Connection, city: UUID, delay: timedelta | None) -> None:
    """Set the delay of a city's load; None if not known."""
    connection.execute(queries("cities")["set_load_delay"], {"city": city, "delay": delay})


def city_counts(connection: Connection, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the row counts and the first and last interval stored for each city."""
    return dict_rows(connection, queries("cities")["city_counts"], {"names": list(names)})


@dataclass(frozen=True)
class CityRow:
    """A city of a file or of the table: degrees north and east with six decimals, an IANA zone, codes or None."""

    name: str
    latitude: Decimal
    longitude: Decimal
    timezone: str
    country_code: str | None
    subdivision: str | None

    def over(self, stored: CityRow) -> CityRow:
        """Return this city, with missing values taken from the stored city."""
        return replace(
            self,
            name=stored.name,
            country_code=self.country_code or stored.country_code,
            # A subdivision of another country does not apply to this one
            subdivision=self.subdivision
            or (stored.subdivision if self.country_code in (None, stored.country_code) else None),
        )


def city_rows(connection: Connection) -> dict[str, CityRow]:
    """Return every stored city by name."""
    return {row[0]: CityRow(*row) for row in connection.execute(queries("cities")["stored_cities"])}


def city_row(connection: Connection, name: str) -> CityRow:
    """Return the stored city with a name."""
    return CityRow(*one_row(connection, queries("cities")["stored_city"], {"name": name}))


def update_city(connection: Connection, city: CityRow) -> None:
    """Correct a city."""
    connection.execute(queries("cities")["update_city"], asdict(city))


def dependent_counts(connection: Connection, name: str) -> dict[str, int]:
    """Return the numbers of values, models and scores of a city."""
    row = one_row(connection, queries("cities")["dependent_counts"], {"name": name})
    return dict(zip(("values", "models", "scores"), row, strict=True))
