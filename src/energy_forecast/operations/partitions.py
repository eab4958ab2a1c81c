"""Partitions: what there is, and a city's own one for its current predictions."""

from __future__ import annotations

import re
import unicodedata

from energy_forecast.database import partitions as stored
from energy_forecast.database.cities import StoredCity, city_named
from energy_forecast.database.connection import Database, Role
from energy_forecast.database.partitions import Move, Partition
from energy_forecast.errors import EnergyForecastError

# Bytes with indexes; about a million rows, which take 0.1 s to count
EXACT_BELOW = 256 << 20
# What keeps readers waiting for less than a second; see docs/decisions/retention.md
SHORT_SCAN = 512 << 20
SHORT_INSERT = 3_000
_ANY = 1 << 62
# PostgreSQL cuts names after 63 bytes; this leaves room for what the function adds when a name is taken
_LONGEST_SLUG = 40
# Letters that Unicode does not take apart into a plain one and a mark
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i"})


def list_partitions(database: Database, *, exact: bool = False) -> list[Partition]:
    """Every partition with its rows and bytes; rows of large ones are an estimate unless `exact`."""
    with database.transaction(Role.OPERATOR) as connection:
        return stored.list_partitions(connection, exact_below=_ANY if exact else EXACT_BELOW)


def partition_name(city: StoredCity) -> str:
    """The name of a city's own partition: predictions_mumbai for Mumbai, predictions_sao_paulo for São Paulo.

    A name without a Latin letter or digit becomes city_ and the beginning of its id. Whether the name is free is the
    database's to say.
    """
    plain = unicodedata.normalize("NFKD", city.name.casefold().translate(_LETTERS)).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:_LONGEST_SLUG].rstrip("_")
    return f"predictions_{slug or 'city_' + city.id.hex[:8]}"


def dedicate(database: Database, name: str, *, allow_wait: bool = False) -> Move:
    """Gives the predictions of a city a partition of their own.

    Args:
        allow_wait: even if so much has to be moved or read that readers of predictions wait for over a second.

    Raises:
        UnknownCityError: there is no such city.
        EnergyForecastError: readers would wait for too long, or are there for too long; nothing was changed.
    """
    with database.transaction(Role.OPERATOR) as connection:
        city = city_named(connection, name)
        most = _ANY if allow_wait else SHORT_SCAN
        return _moved(stored.dedicate_partition(connection, city.id, partition_name(city), most_bytes=most), name)


def share(database: Database, name: str, *, allow_wait: bool = False) -> Move:
    """Takes the predictions of a city back into the shared partition.

    Args:
        allow_wait: even if so much has to be moved or read that readers of predictions wait for over a second.

    Raises:
        UnknownCityError: there is no such city.
        EnergyForecastError: readers would wait for too long, or are there for too long; nothing was changed.
    """
    with database.transaction(Role.OPERATOR) as connection:
        city = city_named(connection, name)
        most = _ANY if allow_wait else SHORT_INSERT
        return _moved(stored.share_partition(connection, city.id, most_rows=most), name)


def _moved(move: Move, name: str) -> Move:
    if move.outcome == "busy":
        raise EnergyForecastError(
            f"The predictions are in use; nothing of {name} was moved.",
            hint="Run it again when no long transaction or backup is running.",
        )
    if move.outcome == "too large":
        raise EnergyForecastError(
            f"Readers of predictions would wait for over a second; nothing of {name} was moved.",
            hint="Choose a quiet hour and add --allow-wait.",
        )
    return move
