"""Detect the format of a file by its first bytes, and open it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from energy_forecast.errors import IngestError
from energy_forecast.ingest.readers.csv import CsvSource
from energy_forecast.ingest.readers.parquet_process import ParquetSource
from energy_forecast.ingest.readers.source import Source


def digest(path: Path, name: str) -> dict[str, Any]:
    """Return name, size in bytes and SHA-256 of a file.

    Raises:
        IngestError: it is missing, not a file, empty, or not readable.
    """
    try:
        if path.is_dir():
            raise IngestError(f"{name}: this is a folder.", hint="Give the files in it.")
        if path.exists() and not path.is_file():
            raise IngestError(f"{name}: this is not a file.", hint="Write the data to a file first.")
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256")
            size = stream.tell()
    except FileNotFoundError as error:
        raise IngestError(f"{name}: file not found.", hint="Check the name.") from error
    except (OSError, ValueError) as error:
        raise IngestError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    if size == 0:
        raise IngestError(f"{name}: the file is empty.", hint="Nothing was loaded.")
    return {"name": name, "bytes": size, "sha256": sha256.hexdigest()}


def open_source(path: Path, name: str, required: Sequence[str], optional: Sequence[str]) -> Source:
    """Open a file as CSV, gzipped CSV or Parquet, depending on its first bytes.

    Args:
        path: the file.
        name: its name in messages and in the ledger.
        required: columns that it must have.
        optional: columns that it may have.

    Raises:
        IngestError: it cannot be read, has another format, or lacks a required column.
    """
    facts = digest(path, name)
    with path.open("rb") as stream:
        start = stream.read(8)
    if start.startswith(b"PAR1") or path.suffix == ".parquet":
        return ParquetSource(path, facts, required, optional)
    if start.startswith(b"PK\x03\x04"):
        raise IngestError(f"{name}: this is a ZIP archive or a workbook.", hint="Export it as CSV.")
    return CsvSource(path, facts, required, optional, gzipped=start.startswith(b"\x1f\x8b"))
