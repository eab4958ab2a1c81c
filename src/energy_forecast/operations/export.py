"""Export data to files in the format that `ingest` reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from energy_forecast.database import Database, Role
from energy_forecast.database import export as stored
from energy_forecast.database.cities import cities_named
from energy_forecast.errors import EnergyForecastError
from energy_forecast.progress import Progress, silent
from energy_forecast.spreadsheets import guard_text

_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)
_TIMES = ("timestamp", "available_at", "issued_at", "recorded_at")
_TEXTS = ("city", "model", "version")
_ROWS_A_GROUP = 200_000


@dataclass(frozen=True)
class ExportedFile:
    """A written file."""

    file: Path
    rows: int
    cities: int


def export(
    database: Database,
    kind: str,
    path: Path,
    *,
    cities: Sequence[str] = (),
    as_of: datetime | None = None,
    first: datetime | None = None,
    end: datetime | None = None,
    model: str | None = None,
    progress: Progress = silent,
) -> ExportedFile:
    """Write consumption, weather or predictions to a file, completely or not at all, ordered by city and time.

    All rows are from one snapshot of the database. The memory does not depend on the number of rows.

    Args:
        database: the source.
        kind: consumption, weather or predictions.
        path: a path that ends in .csv or .parquet.
        cities: names; all if empty.
        as_of: export the data known at this moment, and the predictions live at it; None for the current data.
        first: start of the first interval.
        end: exclusive.
        model: one model by name, for predictions; None for all.
        progress: receives the number of finished cities.

    Raises:
        UnknownCityError: a name is unknown.
        EnergyForecastError: the file cannot be written.
    """
    query = kind if as_of is None else f"{kind}_as_of"
    # The forecaster role can read history as of a moment only; the ingest role reads current data
    role = Role.FORECASTER if as_of is not None or kind == "predictions" else Role.INGEST
    text = path.with_name(path.name + ".part")
    try:
        with text.open("wb") as stream, database.reading(role, one_snapshot=True) as connection:
            chosen = cities_named(connection, cities)
            rows = 0
            for number, city in enumerate(chosen):
                progress(f"Exporting {kind}", number, len(chosen))
                parameters = {
                    "name": guard_text(city.name) if path.suffix == ".csv" else city.name,
                    "city": city.id,
                    "as_of": as_of,
                    "first": first or _EARLIEST,
                    "end": end or _LATEST,
                    "model": model,
                }
                if number == 0:
                    stream.write((",".join(stored.columns_of(connection, query, parameters)) + "\n").encode())
                for piece in stored.csv_rows(connection, query, parameters):
                    rows += piece.count(b"\n")
                    stream.write(piece)
            progress(f"Exporting {kind}", len(chosen), len(chosen))
        if path.suffix == ".parquet":
            _as_parquet(text, path)
        else:
            text.replace(path)
    except OSError as error:
        raise EnergyForecastError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        text.unlink(missing_ok=True)
    return ExportedFile(path, rows, len(chosen))


def _as_parquet(text: Path, path: Path) -> None:
    """Write the rows with types to a Parquet file, in pieces."""
    import polars as pl

    scan = pl.scan_csv(text, infer_schema=False)
    columns = scan.collect_schema().names()
    typed = scan.select(
        pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us").dt.replace_time_zone("UTC")
        if name in _TIMES
        else pl.col(name)
        if name in _TEXTS
        else pl.col(name).cast(pl.Int16 if name == "interval_minutes" else pl.Float64)
        for name in columns
    )
    part = path.with_name(path.name + ".parquet.part")
    try:
        typed.sink_parquet(part, row_group_size=_ROWS_A_GROUP)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
