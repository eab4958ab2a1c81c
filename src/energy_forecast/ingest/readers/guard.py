"""The boundary around the libraries that decode files: any fault becomes an IngestError, and none is printed."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import polars as pl

from energy_forecast.errors import IngestError

# File descriptor 2 and the environment belong to the whole process
_ONE_AT_A_TIME = threading.RLock()
_STANDARD_ERROR = 2
# polars refuses a Parquet file whose zone is an offset such as +05:45. Its moments are UTC, so the zone is not needed
_ANY_ZONE = "POLARS_IGNORE_TIMEZONE_PARSE_ERROR"


@contextmanager
def decoding(file: str, what: str) -> Iterator[None]:
    """Run a decoder on untrusted bytes.

    A Rust library panics with an exception that is not an `Exception`, after a backtrace written to file descriptor 2.
    Both end here: the text is dropped if anything fails, and passed on if nothing does.

    Args:
        file: name of the file, for the message.
        what: what it should be, such as "a whole Parquet file".

    Raises:
        IngestError: the decoder failed, or memory was short.
    """
    try:
        with _ONE_AT_A_TIME, _zones_unchecked(), _standard_error_aside():
            yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, ArithmeticError) as error:
        words = str(error).strip().splitlines() or ["unknown fault"]
        raise IngestError(f"{file}: this is not {what} ({words[0][:120]}).", hint="Write the file again.") from error
    except MemoryError as error:
        raise IngestError(f"{file}: there is not enough memory to read it.", hint="Split the file.") from error


@contextmanager
def _zones_unchecked() -> Iterator[None]:
    before = os.environ.get(_ANY_ZONE)
    os.environ[_ANY_ZONE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_ANY_ZONE, None)
        else:
            os.environ[_ANY_ZONE] = before


@contextmanager
def _standard_error_aside() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, also by other threads, until it is known that nothing failed."""
    try:
        real = os.dup(_STANDARD_ERROR)
    except OSError:
        # It is closed: nothing can be printed
        yield
        return
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), _STANDARD_ERROR)
            try:
                yield
            finally:
                os.dup2(real, _STANDARD_ERROR)
            held.seek(0)
            with suppress(OSError):
                while text := held.read(1 << 16):
                    os.write(real, text)
    finally:
        os.close(real)
