"""Event log: one line for each event that an operator looks for, with fields such as counts and seconds.

The package logs to loggers below "energy_forecast". The command line prints them if the settings ask for it; a program
that uses the package as a library configures `logging` itself. Values of load are never logged.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from energy_forecast.errors import describe, one_line

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def print_events(level: str, style: str) -> None:
    """Print events of at least a level on standard error, as text or as one JSON document a line."""
    handler = _StandardError()
    handler.setFormatter(_JsonFormatter() if style == "json" else _TextFormatter())
    # The levels of handler and logger are equal: a handler of a program around this one may want more
    handler.setLevel(level.upper())
    logger = logging.getLogger("energy_forecast")
    logger.addHandler(handler)
    logger.setLevel(level.upper())


def log_run(
    name: str,
    counts: Callable[[Any], Mapping[str, object]] = lambda _result: {},
    *,
    failed: Callable[[Any], Mapping[Any, str]] = lambda _result: {},
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Return a decorator that logs the begin and the end of a function, with its seconds and counts.

    Args:
        name: the name of the event, such as "train".
        counts: returns the fields of the result.
        failed: returns the reasons by the name of the failed part; each is logged as a warning.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        logger = logging.getLogger(function.__module__)

        @functools.wraps(function)
        def run(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
            logger.info("%s began", name)
            began = time.monotonic()
            try:
                result = function(*arguments, **options)
            except BaseException as error:
                seconds = round(time.monotonic() - began, 3)
                logger.error("%s failed", name, extra={"seconds": seconds, "error": describe(error)})  # noqa: TRY400
                raise
            fields = {"seconds": round(time.monotonic() - began, 3), **counts(result)}
            for part, reason in failed(result).items():
                named = " ".join(part) if isinstance(part, tuple) else part
                logger.warning("part of %s failed", name, extra={"part": named, "reason": one_line(reason)})
            logger.info("%s finished", name, extra=fields)
            return result

        return run

    return decorate


class _StandardError(logging.Handler):
    """Prints on the present standard error, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if record.exc_info and record.exc_info[1] is not None:
        fields["error"] = describe(record.exc_info[1])
    return fields


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_quoted(value)}" for name, value in _fields(record).items())
        return f"{_time(record)} {record.levelname} {record.name}: {one_line(record.getMessage())}{fields}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        head = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        return json.dumps(head | {"event": record.getMessage()} | _fields(record), default=str)


def _quoted(value: object) -> str:
    """Return a value as one word, or in quotes with escapes."""
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(' "=') else json.dumps(text)
