"""Import cities from a file. They are few, so they are checked one by one."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import polars as pl

from energy_forecast.city_names import composed, name_fault, name_key
from energy_forecast.database import cities as stored_cities
from energy_forecast.database.cities import CityRow, StoredCity, dependent_counts
from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.merge import record_batch
from energy_forecast.database.staging import LoadTarget, batch_transaction, copy_rejected, create_staging
from energy_forecast.database.zones import server_zones
from energy_forecast.errors import IngestError, PlaceError
from energy_forecast.ingest.readers.parquet import FrameSource, as_text
from energy_forecast.ingest.readers.source import Piece, Source, names_of
from energy_forecast.ingest.reading import open_source
from energy_forecast.ingest.report import CityReport, Quarantine, Rejected, without_values
from energy_forecast.places import country_code, place_codes
from energy_forecast.settings import settings
from energy_forecast.zones import zone_names

_REQUIRED = ("name", "latitude", "longitude", "timezone")
_OPTIONAL = ("country_code", "subdivision")
_TARGET = LoadTarget("cities", "cities", "cities", "name", ())

_DEGREES = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
# Zones of the form Area/City, as the table requires: 'EST5EDT' or 'GB' are not specific enough
_ZONE = re.compile(r"UTC|Etc/(?:UTC|GMT[+-][0-9]{1,2})|[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_-]+){1,2}")
_SIX_PLACES = Decimal("0.000001")
# Longest move that is a correction of coordinates
_SAME_PLACE_KM = 25
_MOST_MOVED = 20
_EARTH_RADIUS_KM = 6371.0


class _RowError(Exception):
    """A row that cannot be used: the column at fault and the reason."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


def import_cities(database: Database, table: Path | pl.DataFrame, *, update: bool = False) -> CityReport:
    """Add the cities of a file or a frame, and correct stored ones.

    An empty field keeps the stored value. Rows that cannot be used are kept in ops.rejected_rows; the rest is loaded.
    A row that moves a stored city to another place is rejected unless `update` is set, because the city's values,
    models and scores would move with it. Another place is another time zone or country, or more than 25 km away.

    Args:
        update: allow to move cities to another place.
        table: a frame, or a CSV, gzipped CSV or Parquet file, with columns name, latitude, longitude (degrees),
            timezone (IANA), and optionally country_code (ISO 3166-1 alpha-2) and subdivision.

    Raises:
        IngestError: the file cannot be used at all; nothing was loaded.
        DatabaseError: the database is unreachable or refused the cities; nothing was loaded.
    """
    source = (
        FrameSource(table, "frame", _REQUIRED, _OPTIONAL)
        if isinstance(table, pl.DataFrame)
        else open_source(table, names_of([table])[0], _REQUIRED, _OPTIONAL)
    )
    with batch_transaction(database, _TARGET.kind) as connection:
        rows, refused = _read(source, server_zones(connection) & zone_names())
        rows = dict(_agreeing(rows, refused))
        return _merge(connection, source, rows, refused, update=update)


def check_city(
    *,
    name: str,
    latitude: float,
    longitude: float,
    timezone: str,
    country_code: str | None = None,
    subdivision: str | None = None,
) -> dict[str, Any]:
    """Check the values of one city, as the import of a file does.

    Args:
        latitude: degrees north.
        longitude: degrees east.

    Returns:
        The values to store: trimmed, coordinates with six decimals, the country in capitals.

    Raises:
        IngestError: one of the values is invalid.
    """
    cells = {
        "name": name,
        "latitude": _plain(latitude),
        "longitude": _plain(longitude),
        "timezone": timezone,
        "country_code": country_code,
        "subdivision": subdivision,
    }
    try:
        return asdict(_city({key: (cell or "").strip() or None for key, cell in cells.items()}, zone_names()))
    except _RowError as error:
        raise IngestError(
            f"{error.column}: {error.reason.rstrip('?')}{'?' if error.reason.endswith('?') else '.'}"
        ) from error


def add_city(database: Database, checked: Mapping[str, Any]) -> UUID | None:
    """Add one city.

    Args:
        checked: as `check_city` returns it.

    Returns:
        The id of the new city; None if it is already stored with these values.

    Raises:
        IngestError: the name belongs to a stored city with other values.
        DatabaseError: the database refused.
    """
    with database.transaction(Role.INGEST) as connection:
        added = stored_cities.add_city(connection, **checked)
        if added is not None:
            return added
        stored = stored_cities.city_row(connection, checked["name"])
        new = CityRow(**checked).over(stored)
        if new == stored:
            return None
        where = _move(stored, new) or f"with {_differences(stored, new)}"
        raise IngestError(
            f"City {stored.name!r} is already stored {where}, {attached(dependent_counts(connection, stored.name))}.",
            hint="Give this city another name. To change the stored one: `import_cities`.",
        )


def set_load_delay(database: Database, name: str, delay: timedelta | None) -> StoredCity:
    """Set the delay of a city's load, and return the city.

    Args:
        delay: time from the end of an interval until its load is known, for backtests; None if not known.

    Raises:
        UnknownCityError: the name is unknown.
        DatabaseError: the database refused.
    """
    with database.transaction(Role.INGEST) as connection:
        city = stored_cities.city_named(connection, name)
        stored_cities.set_load_delay(connection, city.id, delay)
        return replace(city, load_delay=delay)


def _plain(degrees: float) -> str:
    return f"{degrees:.9f}".rstrip("0").rstrip(".")


_Refused = dict[int, tuple[str | None, str, Mapping[str, str | None]]]
_Rows = dict[int, tuple[CityRow, Mapping[str, str | None]]]


def _read(source: Source, zones: Collection[str]) -> tuple[_Rows, _Refused]:
    rows: _Rows = {}
    refused: _Refused = {}
    for piece in source.pieces():
        for row in piece.broken.iter_rows(named=True):
            refused[row["line"]] = (row["column"], row["reason"], {"text": row["text"]})
        for line, cells in _cells(piece):
            try:
                rows[line] = (_city(cells, zones), cells)
            except _RowError as error:
                refused[line] = (error.column, error.reason, cells)
    return rows, refused


def _cells(piece: Piece) -> Iterator[tuple[int, dict[str, str | None]]]:
    for row in as_text(piece.rows).iter_rows(named=True):
        line = row.pop("line")
        yield line, {name: None if cell is None else cell.strip() or None for name, cell in row.items()}


def _city(cells: Mapping[str, str | None], zones: Collection[str]) -> CityRow:
    for column in _REQUIRED:
        if cells[column] is None:
            raise _RowError(column, "is empty")
    name, zone = composed(str(cells["name"])), str(cells["timezone"])
    if (fault := name_fault(name)) is not None:
        raise _RowError("name", f"{name[:40]!r} {fault}")
    if not _ZONE.fullmatch(zone) or zone not in zones:
        raise _RowError("timezone", f"{zone[:40]!r} is not the IANA zone of a place such as Europe/Berlin")
    country, subdivision = _codes(cells.get("country_code"), cells.get("subdivision"))
    return CityRow(
        name=name,
        latitude=_degrees(cells, "latitude", 90),
        longitude=_degrees(cells, "longitude", 180),
        timezone=zone,
        country_code=country,
        subdivision=subdivision,
    )


def _codes(country: str | None, subdivision: str | None) -> tuple[str | None, str | None]:
    try:
        if country is not None:
            country = country_code(country)
    except PlaceError as error:
        raise _RowError("country_code", _one_sentence(error)) from error
    try:
        return place_codes(country, subdivision)
    except PlaceError as error:
        raise _RowError("subdivision", _one_sentence(error)) from error


def _one_sentence(error: PlaceError) -> str:
    return f"{error.message}. {error.hint}".removesuffix(".")


def _degrees(cells: Mapping[str, str | None], column: str, limit: int) -> Decimal:
    text = str(cells[column])
    try:
        value = Decimal(text) if _DEGREES.fullmatch(text) and len(text) <= 40 else None
    except InvalidOperation:
        value = None
    if value is None:
        raise _RowError(column, f"{text[:40]!r} is not a number of degrees")
    if not -limit <= value <= limit:
        raise _RowError(column, f"{text[:40]!r} is not between -{limit} and {limit} degrees")
    return value.quantize(_SIX_PLACES, ROUND_HALF_UP)


def _agreeing(rows: _Rows, refused: _Refused) -> Iterator[tuple[int, tuple[CityRow, Mapping[str, str | None]]]]:
    """Yield the rows whose name no other row uses for another place."""
    first: dict[str, int] = {}
    contradicted: dict[str, int] = {}
    for line, (city, _) in rows.items():
        key = name_key(city.name)
        if key not in first:
            first[key] = line
        elif replace(rows[first[key]][0], name=city.name) != city:
            contradicted.setdefault(key, line)
    for line, (city, cells) in rows.items():
        key = name_key(city.name)
        if key in contradicted:
            other = contradicted[key] if line == first[key] else first[key]
            refused[line] = ("name", f"line {other} has other values for {city.name!r}", cells)
        else:
            yield line, (city, cells)


def _merge(connection: Connection, source: Source, rows: _Rows, refused: _Refused, *, update: bool) -> CityReport:
    stored = {name_key(name): city for name, city in stored_cities.city_rows(connection).items()}
    read = len(rows) + len(refused)
    moved: list[str] = []
    inserted = updated = unchanged = 0
    for line, (city, cells) in rows.items():
        old = stored.get(name_key(city.name))
        new = city if old is None else city.over(old)
        move = None if old is None else _move(old, new)
        if old is not None and move is not None and not update:
            reason = (
                f"{old.name!r} is stored as another place: {move}, {attached(dependent_counts(connection, old.name))}; "
                "give this city another name, or set `update` to move the stored one"
            )
            refused[line] = ("name", reason, cells)
            continue
        if old is not None and move is not None:
            moved.append(
                f"{old.name} was moved from another place, {move}, {attached(dependent_counts(connection, old.name))}."
            )
        if old is None and stored_cities.add_city(connection, **asdict(new)) is None:
            # PostgreSQL's lower() may treat some letters differently than Python's
            reason = f"for the database {new.name!r} is the name of another city; give this city another name"
            refused[line] = ("name", reason, cells)
            continue
        if old is None:
            inserted += 1
        elif new != old:
            stored_cities.update_city(connection, new)
            updated += 1
        else:
            unchanged += 1
        stored[name_key(city.name)] = new
    quarantine = Quarantine(settings().rejected_rows_kept)
    quarantine.add((column, without_values(reason), 1, reason) for column, reason, _ in refused.values())
    create_staging(connection, _TARGET, [source.name])
    copy_rejected(connection, [_as_csv(dict(itertools.islice(sorted(refused.items()), quarantine.most)))])
    batch = uuid4()
    notes = [f"{source.name}: columns ignored: {', '.join(source.ignored[:20])}."] if source.ignored else []
    notes += moved[:_MOST_MOVED]
    record_batch(
        connection,
        _TARGET.kind,
        batch=batch,
        files=[source.facts],
        notes=notes,
        reasons=[reason.as_counted() for reason in quarantine.reasons()],
        most_kept=quarantine.most,
        cells_left_empty=0,
        read=read,
        inserted=inserted,
        corrected=updated,
        unchanged=unchanged,
        rejected=len(refused),
    )
    examples = [Rejected(source.name, line, column, reason) for line, (column, reason, _) in sorted(refused.items())]
    return CityReport(str(batch), read, inserted, updated, unchanged, len(refused), tuple(notes), tuple(examples[:10]))


def _move(stored: CityRow, new: CityRow) -> str | None:
    """Return how the new place differs from the stored one; None if it is the same place with corrections."""
    km = distance_km(stored, new)
    other_country = new.country_code != stored.country_code and _is_known(stored.country_code)
    if km <= _SAME_PLACE_KM and new.timezone == stored.timezone and not other_country:
        return None
    country = f", {stored.country_code}" if stored.country_code else ""
    return f"{km:,.0f} km away ({stored.timezone}{country})"


def _differences(stored: CityRow, new: CityRow) -> str:
    """Return the stored values that a new row would change, in words."""
    old = asdict(stored)
    changed = [column for column, value in asdict(new).items() if value != old[column]]
    return ", ".join(f"no {column}" if old[column] is None else f"{column} {old[column]}" for column in changed)


def _is_known(country: str | None) -> bool:
    """Return whether a stored code is a valid country; an unknown one, or EL for Greece, is only corrected."""
    try:
        return country is not None and country_code(country) == country
    except PlaceError:
        return False


def distance_km(a: CityRow, b: CityRow) -> float:
    """Return the distance between two cities in km, on a sphere."""
    south, north = math.radians(a.latitude), math.radians(b.latitude)
    east = math.radians(b.longitude - a.longitude)
    half = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * math.sin(east / 2) ** 2
    return 2 * _EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(half)))


def attached(counts: Mapping[str, int]) -> str:
    """Return the numbers of a city's values, models and scores in words."""
    words = [f"{count:,} {noun if count != 1 else noun.removesuffix('s')}" for noun, count in counts.items()]
    return f"with {', '.join(words[:-1])} and {words[-1]}"


def _as_csv(refused: _Refused) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    for line, (column, reason, cells) in refused.items():
        clean = {name: cell and cell.replace("\0", "\\0") for name, cell in cells.items()}
        row = json.dumps(clean, ensure_ascii=False)
        writer.writerow((0, line, column, reason.replace("\0", "\\0"), row, False, True))
    return text.getvalue().encode()
