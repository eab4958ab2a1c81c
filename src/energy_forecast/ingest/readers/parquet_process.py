"""Decode Parquet files in a separate process, because a damaged file can abort the process that decodes it.

polars allocates memory by counts inside compressed pages. A damaged count can request more memory than available, and
Rust then aborts the process: no exception reaches Python. One process decodes all files in turn.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from energy_forecast.errors import EnergyForecastError, IngestError
from energy_forecast.ingest.readers import parquet
from energy_forecast.ingest.readers.parquet import ParquetFile
from energy_forecast.ingest.readers.source import Piece


class ParquetSource:
    """A Parquet file. Memory is bounded by its largest row group, which is refused if it is too large."""

    def __init__(self, path: Path, facts: Mapping[str, Any], required: Sequence[str], optional: Sequence[str]) -> None:
        self.name = str(facts["name"])
        self.facts = facts
        # The other process may have another working directory
        self._arguments = (path.absolute(), self.name, tuple(required), tuple(optional), parquet.ROWS_AT_ONCE)
        self.columns: tuple[str, ...]
        self.ignored: tuple[str, ...]
        self.columns, self.ignored, self.size, self._count = _PROCESS.request(self._arguments, None)

    def pieces(self) -> Iterator[Piece]:
        """Yield the rows in pieces; the first row is line 1."""
        for number in range(self._count):
            yield _PROCESS.request(self._arguments, number)


class _Process:
    """The decoding process: started for the first file, and again when it has ended.

    It ends when its standard input is closed, so it also ends with this process in any case.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None

    def request(self, arguments: tuple[Path, str, Sequence[str], Sequence[str], int], piece: int | None) -> Any:
        """Return what `_handle` returns in the other process.

        Raises:
            IngestError: the file is refused, or ended the process.
            EnergyForecastError: the process cannot be started.
        """
        with self._lock:
            if self._running is not None and self._running.poll() is not None:
                # It was killed while it was idle: no fault of this file
                self.stop()
            running = self._running or self._start()
            assert running.stdin is not None
            try:
                pickle.dump((arguments, piece), running.stdin)
                running.stdin.flush()
                answer = _received(running)
            except (EOFError, OSError, pickle.UnpicklingError):
                raise _refusal(arguments[1], self.stop()) from None
            except BaseException:
                # Ctrl-C: half an answer may be in the pipe
                self.stop()
                raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        # -P: a file in the working directory must not replace a module. Not -m, which warns about a module that its
        # own package has imported; a user may have turned warnings into errors
        command = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"]
        try:
            # A Rust library writes a backtrace to standard error before it panics or aborts
            self._running = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            _received(self._running)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            reason = f"it {_ending(self.stop())}" if self._running else str(error)
            raise EnergyForecastError(
                f"The process that decodes Parquet files did not start: {reason}.",
                hint="If memory is short, stop other programs and run the command again; or load the file as CSV.",
            ) from error
        except BaseException:
            self.stop()
            raise
        return self._running

    def interrupt(self) -> None:
        """End the process while another thread waits for its answer."""
        if (running := self._running) is not None:
            running.kill()

    def stop(self) -> int:
        """End the process and return its exit status; the next file starts another."""
        running, self._running = self._running, None
        if running is None:
            return 0
        for pipe in (running.stdin, running.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        try:
            # It has usually ended by itself; otherwise it is busy
            return running.wait(1)
        except subprocess.TimeoutExpired:
            running.kill()
            return running.wait()


_PROCESS = _Process()
atexit.register(_PROCESS.stop)


def stop_decoding() -> None:
    """End the decoding for which another thread waits, because the user has stopped the command."""
    _PROCESS.interrupt()


def _received(running: subprocess.Popen[bytes]) -> Any:
    assert running.stdout is not None
    return pickle.load(running.stdout)  # of this program's own process


def _refusal(name: str, status: int) -> IngestError:
    if status == -signal.SIGKILL:
        return IngestError(
            f"{name}: its decoder was ended by signal 9, perhaps because memory ran out.",
            hint="Write smaller row groups, such as 200,000 rows, or stop other programs.",
        )
    return IngestError(
        f"{name}: this is not a whole Parquet file (its decoder {_ending(status)}).", hint="Write the file again."
    )


def _ending(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"


def _handle(request: tuple[Any, int | None], opened: dict[Any, ParquetFile]) -> Any:
    """Return a file's columns, ignored columns, number of rows and of pieces; or one of its pieces."""
    arguments, number = request
    try:
        if number is None or arguments not in opened:
            opened.clear()
            opened[arguments] = ParquetFile(*arguments)
        file = opened[arguments]
        return (file.columns, file.ignored, file.size, file.count) if number is None else file.piece(number)
    except IngestError as error:
        # Its cause may not be picklable
        return error.with_traceback(None)
    except Exception:  # noqa: BLE001 - the parent raises it
        return RuntimeError(traceback.format_exc())


def serve() -> None:
    """Answer requests from standard input on standard output until it is closed."""
    # Ctrl-C reaches all processes of a terminal, and SIGTERM all of a service; the parent handles them
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Prints must not go into the answers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    opened: dict[Any, ParquetFile] = {}
    with suppress(EOFError, BrokenPipeError):
        pickle.dump("ready", answers)
        answers.flush()
        while True:
            pickle.dump(_handle(pickle.load(sys.stdin.buffer), opened), answers)  # of the parent
            answers.flush()
