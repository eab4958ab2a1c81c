"""Fault log: tracebacks go to a file, and the user gets a reason and the path of the file.

`program_fault` and `logged` write a fault. The command line sets the file. A program that uses the package as a library
can add any handler to the logger "energy_forecast" instead.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TextIO

from energy_forecast.errors import describe

_log = logging.getLogger(__name__)
# Without this, a backtest would write a traceback for each issue time
_logged: set[tuple[str, str]] = set()
_MOST = 1000


class _FaultFile(logging.FileHandler):
    """A file that is created with the first fault. If it cannot be written, the fault is not logged."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self.written = False

    def _open(self) -> TextIO:  # type: ignore[override]
        path = Path(self.baseFilename)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # Readable by its owner only, with any umask; links are not followed
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def emit(self, record: logging.LogRecord) -> None:
        self.written = True
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        self.written = False


def log_faults_to(path: Path) -> None:
    """Write later faults of this process to a file."""
    for handler in [one for one in _log.handlers if isinstance(one, _FaultFile)]:
        _log.removeHandler(handler)
        handler.close()
    _log.addHandler(_FaultFile(path))


def fault_file() -> Path | None:
    """Return the file that faults are written to, or None."""
    return next((Path(one.baseFilename) for one in _log.handlers if isinstance(one, _FaultFile)), None)


def logged(what: str, error: BaseException) -> str:
    """Write an exception to the log, unless the same task logged the same exception before.

    Args:
        what: the task that failed, for the reader of the log.

    Returns:
        The place of the traceback, to append to the reason: " Details: PATH", or an empty text without a file.
    """
    if (key := (what, describe(error))) not in _logged:
        if len(_logged) >= _MOST:
            _logged.clear()
        _logged.add(key)
        _log.error("%s", what, exc_info=error)
    written = any(isinstance(one, _FaultFile) and one.written for one in _log.handlers)
    return f" Details: {fault_file()}" if written else ""


def program_fault(what: str, error: BaseException) -> str:
    """Log an unexpected exception and return it as one line for the user.

    Args:
        what: the task that failed, for the reader of the log.
    """
    return f"Fault of the program: {describe(error)}{logged(what, error)}"
