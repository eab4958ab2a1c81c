"""Cities from a file. They are few, so they are checked one by one."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from uuid import uuid4

from energy_forecast.database.connection import Database
from energy_forecast.database.ingest import CityRow, Staging, Target, staging
from energy_forecast.errors import IngestError
from energy_forecast.ingest.files import Piece, Source, names_of
from energy_forecast.ingest.opening import open_source
from energy_forecast.ingest.report import CityReport, Rejected
from energy_forecast.ingest.tables import as_text
from energy_forecast.zones import zone_names

_REQUIRED = ("name", "latitude", "longitude", "timezone")
_OPTIONAL = ("country_code", "subdivision")
_TARGET = Target("cities", "cities", "cities", "name", (), corrects=True)

_DEGREES = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
# The zones of the form Area/City, which the table demands: 'EST5EDT' or 'GB' say too little about a place
_ZONE = re.compile(r"UTC|Etc/(?:UTC|GMT[+-][0-9]{1,2})|[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_-]+){1,2}")
_SIX_PLACES = Decimal("0.000001")


class _RowError(Exception):
    """A row that cannot be taken: the column at fault and why."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


def import_cities(database: Database, path: Path) -> CityReport:
    """Adds the cities of a file, and corrects those that are there.

    An empty field says nothing: it leaves what is stored. Rows that cannot be taken are kept in ops.rejected_rows; the
    rest is loaded.

    Args:
        path: CSV, gzipped CSV or Parquet with columns name, latitude, longitude (degrees), timezone (IANA), and
            perhaps country_code (ISO 3166-1 alpha-2) and subdivision.

    Raises:
        IngestError: the file cannot be used at all; nothing was loaded.
        DatabaseError: the database could not be reached or refused; nothing was loaded.
    """
    source = open_source(path, names_of([path])[0], _REQUIRED, _OPTIONAL)
    with staging(database, _TARGET) as session:
        session.add_files([source.name])
        zones = session.zones() & zone_names()
        rows, refused = _read(source, zones)
        rows = dict(_agreeing(rows, refused))
        with session.merging():
            return _merge(session, source, rows, refused)


def check_city(
    *,
    name: str,
    latitude: float,
    longitude: float,
    timezone: str,
    country_code: str | None = None,
    subdivision: str | None = None,
) -> dict[str, Any]:
    """The same checks for one city that is named by hand.

    Args:
        latitude: degrees north.
        longitude: degrees east.

    Returns:
        The arguments as they are to be stored: trimmed, six places, the country in capitals.

    Raises:
        IngestError: one of them cannot be taken.
    """
    cells = {
        "name": name,
        "latitude": f"{latitude:.9f}",
        "longitude": f"{longitude:.9f}",
        "timezone": timezone,
        "country_code": country_code,
        "subdivision": subdivision,
    }
    try:
        return asdict(_city({key: (cell or "").strip() or None for key, cell in cells.items()}, zone_names()))
    except _RowError as error:
        raise IngestError(f"{error.column}: {error.reason}.") from error


_Refused = dict[int, tuple[str | None, str, Mapping[str, str | None]]]
_Rows = dict[int, tuple[CityRow, Mapping[str, str | None]]]


def _read(source: Source, zones: Collection[str]) -> tuple[_Rows, _Refused]:
    rows: _Rows = {}
    refused: _Refused = {}
    for piece in source.pieces():
        for line, reason, text in piece.broken.iter_rows():
            refused[line] = (None, reason, {"text": text})
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
    name, zone = str(cells["name"]), str(cells["timezone"])
    if len(name) > 100 or any(ord(sign) < 32 or ord(sign) == 127 for sign in name):
        raise _RowError("name", "is longer than 100 characters, or holds signs that do not print")
    if not _ZONE.fullmatch(zone) or zone not in zones:
        raise _RowError("timezone", f"{zone[:40]!r} is not an IANA zone such as Europe/Berlin")
    country, subdivision = cells.get("country_code"), cells.get("subdivision")
    if country is not None and not re.fullmatch(r"[A-Za-z]{2}", country):
        raise _RowError("country_code", f"{country[:40]!r} is not a code of two letters such as DE")
    if subdivision is not None and not re.fullmatch(r"[A-Za-z0-9-]{1,10}", subdivision):
        raise _RowError("subdivision", f"{subdivision[:40]!r} is not a code such as BE")
    return CityRow(
        name=name,
        latitude=_degrees(cells, "latitude", 90),
        longitude=_degrees(cells, "longitude", 180),
        timezone=zone,
        # Codes of countries are capitals by definition
        country_code=None if country is None else country.upper(),
        subdivision=subdivision,
    )


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
    """The rows whose name no other row uses for another place."""
    first: dict[str, int] = {}
    contradicted: dict[str, int] = {}
    for line, (city, _) in rows.items():
        if city.name not in first:
            first[city.name] = line
        elif rows[first[city.name]][0] != city:
            contradicted.setdefault(city.name, line)
    for line, (city, cells) in rows.items():
        if city.name in contradicted:
            other = contradicted[city.name] if line == first[city.name] else first[city.name]
            refused[line] = ("name", f"line {other} says something else of {city.name!r}", cells)
        else:
            yield line, (city, cells)


def _merge(session: Staging, source: Source, rows: _Rows, refused: _Refused) -> CityReport:
    stored = session.stored_cities()
    inserted = updated = unchanged = 0
    for city, _ in rows.values():
        old = stored.get(city.name)
        new = city if old is None else city.over(old)
        if old is None:
            session.insert_city(new)
            inserted += 1
        elif new != old:
            session.update_city(new)
            updated += 1
        else:
            unchanged += 1
        stored[city.name] = new
    session.copy_refused(_as_csv(refused))
    batch = uuid4()
    notes = [f"{source.name}: columns ignored: {', '.join(source.ignored[:20])}."] if source.ignored else []
    read = len(rows) + len(refused)
    session.record(
        batch=batch,
        files=[source.facts],
        notes=notes,
        read=read,
        inserted=inserted,
        corrected=updated,
        unchanged=unchanged,
        rejected=len(refused),
    )
    examples = [Rejected(source.name, line, column, reason) for line, (column, reason, _) in sorted(refused.items())]
    return CityReport(str(batch), read, inserted, updated, unchanged, len(refused), tuple(notes), tuple(examples[:10]))


def _as_csv(refused: _Refused) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    for line, (column, reason, cells) in refused.items():
        clean = {name: cell and cell.replace("\0", "\\0") for name, cell in cells.items()}
        writer.writerow((0, line, column, reason.replace("\0", "\\0"), json.dumps(clean, ensure_ascii=False)))
    return text.getvalue().encode()
