"""The log of faults: tracebacks go to a file, and the user gets a reason and the path of the file.

Code anywhere writes a fault with `logged`. The command line sets the file; a program that uses the package as a
library may add any handler to the logger "energy_forecast" instead.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

_log = logging.getLogger("energy_forecast")
_log.addHandler(logging.NullHandler())
_LONGEST = 400
# A backtest would write a traceback an issue time
_logged: set[tuple[str, str]] = set()
_MOST = 1000


class _FaultFile(logging.FileHandler):
    """A file that is made when the first fault is written. If it cannot be written, the fault is not logged."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace", delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self.written = False

    def emit(self, record: logging.LogRecord) -> None:
        self.written = True
        try:
            Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        self.written = False


def log_faults_to(path: Path) -> None:
    """Write faults of this process to a file from now on."""
    for handler in [one for one in _log.handlers if isinstance(one, _FaultFile)]:
        _log.removeHandler(handler)
        handler.close()
    _log.addHandler(_FaultFile(path))


def fault_file() -> Path | None:
    """Return the file that faults are written to, or None."""
    return next((Path(one.baseFilename) for one in _log.handlers if isinstance(one, _FaultFile)), None)


def logged(what: str, error: BaseException) -> str:
    """Write an exception to the log, unless the same work wrote the same one before.

    Args:
        what: the work that failed, for the reader of the log.

    Returns:
        Where the traceback is, to be put after the reason: " Details: PATH", or nothing if there is no file.
    """
    if (key := (what, describe(error))) not in _logged:
        if len(_logged) >= _MOST:
            _logged.clear()
        _logged.add(key)
        _log.error("%s", what, exc_info=error)
    written = any(isinstance(one, _FaultFile) and one.written for one in _log.handlers)
    return f" Details: {fault_file()}" if written else ""


def describe(error: BaseException) -> str:
    """Return an exception in one line of printable characters: its type and its message."""
    # Not str(error), which may fail itself
    text = one_line("".join(traceback.format_exception_only(error)))
    return text if text.endswith((".", "?", "!")) else f"{text}."


def one_line(text: str) -> str:
    """Return a text in one line, without characters that a terminal or PostgreSQL refuses, and not endless."""
    printable = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return printable if len(printable) <= _LONGEST else f"{printable[: _LONGEST - 1]}…"
