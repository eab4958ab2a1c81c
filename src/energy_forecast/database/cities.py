"""Cities in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from energy_forecast.city_names import composed, name_key, named_in, possible_names
from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import dict_rows, object_rows, queries
from energy_forecast.errors import UnknownCityError


@dataclass(frozen=True)
class StoredCity:
    """A row of `cities`: degrees north and east, an IANA time zone."""

    id: UUID
    name: str
    latitude: float
    longitude: float
    timezone: str
    country_code: str | None
    subdivision: str | None
    metadata: dict[str, Any]


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


def nearest_name(wanted: str, names: Sequence[str]) -> str | None:
    """Return the most similar name, or None if no name is similar."""
    names_there = {name_key(name): name for name in names}
    near = get_close_matches(name_key(wanted), names_there, n=1)
    return names_there[near[0]] if near else None


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


def city_counts(connection: Connection, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the row counts and the first and last interval stored for each city."""
    return dict_rows(connection, queries("cities")["city_counts"], {"names": list(names)})
