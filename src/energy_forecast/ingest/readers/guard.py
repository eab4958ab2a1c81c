"""A guard around the libraries that decode files: every fault becomes an IngestError, and none is printed."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import polars as pl

from energy_forecast.errors import IngestError

# File descriptor 2 and the environment belong to the whole process
_DECODER_LOCK = threading.RLock()
_STANDARD_ERROR = 2
# polars refuses a Parquet file whose zone is an offset such as +05:45. Its times are UTC, so the zone is not needed
_ANY_ZONE = "POLARS_IGNORE_TIMEZONE_PARSE_ERROR"


@contextmanager
def decoding(file: str, what: str) -> Iterator[None]:
    """Run a decoder on untrusted bytes.

    A Rust library writes a backtrace to file descriptor 2 and panics with an exception that is not an `Exception`. Both
    are caught here: the text is dropped if the decoder fails, and passed on otherwise.

    Args:
        file: name of the file, for the message.
        what: the expected format, such as "a whole Parquet file".

    Raises:
        IngestError: the decoder failed, or there was not enough memory.
    """
    try:
        with _DECODER_LOCK, _zones_unchecked(), _standard_error_held():
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
def _standard_error_held() -> Iterator[None]:
    """Hold the output to file descriptor 2, also of other threads, until the decoder has succeeded."""
    try:
        real = os.dup(_STANDARD_ERROR)
    except OSError:
        # It is closed, so nothing can be printed
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
