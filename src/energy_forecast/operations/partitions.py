"""Partitions: list them, and give the current predictions of a city its own one."""

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
# Limits that block readers for less than a second; see docs/decisions/retention.md
SHORT_SCAN = 512 << 20
SHORT_INSERT = 3_000
_ANY = 1 << 62
# PostgreSQL truncates names after 63 bytes; this leaves room for a suffix if a name is taken
_LONGEST_SLUG = 40
# Letters that Unicode does not decompose into a plain letter and a mark
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i"})


def list_partitions(database: Database, *, exact: bool = False) -> list[Partition]:
    """Return every partition with its rows and bytes. Rows of large partitions are estimated unless `exact`."""
    with database.transaction(Role.OPERATOR) as connection:
        return stored.list_partitions(connection, exact_below=_ANY if exact else EXACT_BELOW)


def partition_name(city: StoredCity) -> str:
    """Return the name of the partition of a city: predictions_mumbai for Mumbai, predictions_sao_paulo for São Paulo.

    A name without a Latin letter or digit becomes city_ and the start of its id. The database checks whether the name
    is free.
    """
    plain = unicodedata.normalize("NFKD", city.name.casefold().translate(_LETTERS)).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:_LONGEST_SLUG].rstrip("_")
    return f"predictions_{slug or 'city_' + city.id.hex[:8]}"


def dedicate(database: Database, name: str, *, allow_wait: bool = False) -> Move:
    """Move the predictions of a city to their own partition.

    Args:
        allow_wait: accept that readers of predictions wait for more than a second.

    Raises:
        UnknownCityError: the city is unknown.
        EnergyForecastError: readers would wait too long, or block the move for too long; nothing was changed.
    """
    with database.transaction(Role.OPERATOR) as connection:
        city = city_named(connection, name)
        most = _ANY if allow_wait else SHORT_SCAN
        return _moved(stored.dedicate_partition(connection, city.id, partition_name(city), most_bytes=most), name)


def share(database: Database, name: str, *, allow_wait: bool = False) -> Move:
    """Move the predictions of a city back to the shared partition.

    Args:
        allow_wait: accept that readers of predictions wait for more than a second.

    Raises:
        UnknownCityError: the city is unknown.
        EnergyForecastError: readers would wait too long, or block the move for too long; nothing was changed.
    """
    with database.transaction(Role.OPERATOR) as connection:
        city = city_named(connection, name)
        most = _ANY if allow_wait else SHORT_INSERT
        return _moved(stored.share_partition(connection, city.id, most_rows=most), name)


def _moved(move: Move, name: str) -> Move:
    if move.outcome == "busy":
        raise EnergyForecastError(
            f"The predictions of {name} were not moved, because the table is in use.",
            hint="Run it again without a concurrent long transaction or backup.",
        )
    if move.outcome == "too large":
        raise EnergyForecastError(
            f"The predictions of {name} were not moved, because readers would wait for more than a second.",
            hint="Choose a quiet hour and set `allow_wait`.",
        )
    return move
