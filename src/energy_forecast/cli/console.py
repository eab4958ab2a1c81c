"""Output for users, as tables and progress, and for programs, as one JSON document."""

from __future__ import annotations

import json
import math
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import rich.progress
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from energy_forecast.cli.option_names import with_option_names
from energy_forecast.errors import EnergyForecastError, PartialResultError
from energy_forecast.progress import Progress

# Seconds between progress lines, if no bar can be shown
_ECHO_EVERY = 15


def visible(text: str) -> str:
    r"""Return a text with escapes such as \x1b in place of control characters and unusual spaces."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode("ascii") for one in text
    )


class _Console(Console):
    """A console on which text from a file or a name is data: no terminal control, no markup and no emoji."""

    def __init__(self, **options: Any) -> None:
        # Rich would print the city `:x:` as a cross, and remove `[red]`
        super().__init__(markup=False, emoji=False, highlight=False, soft_wrap=True, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(visible(one) if isinstance(one, str) else one for one in objects), **options)


# A pipe has no width
out = _Console(width=None if sys.stdout.isatty() else 200)
err = _Console(stderr=True)


def emit(document: object) -> None:
    """Print one JSON document on standard output."""
    # print, not Rich: no wrapping and no colours. An encoding other than UTF may lack characters, which JSON can escape
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    print(json.dumps(_plain(document), indent=2, ensure_ascii=not unicode, allow_nan=False))


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date() | UUID() | Path():
            return str(value)
        case timedelta():
            return value.total_seconds()
        case float():
            return value if math.isfinite(value) else None
        case str() | int() | bool() | None:
            return value
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case _ if is_dataclass(value) and not isinstance(value, type):
            return _plain(asdict(value))
        case Sequence() | set() | frozenset():
            return [_plain(item) for item in value]
        case _ if hasattr(value, "as_tuple"):
            return float(str(value))
        case _:
            raise TypeError(f"{type(value).__name__} has no JSON form here")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table; text is aligned left, numbers right."""
    grid = Table(
        title=None if title is None else Text(title, style="bold"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for number, name in enumerate(columns):
        numeric = all(re.fullmatch(r"[-+]?[\d,.]+|-|None", str(row[number])) for row in rows)
        # Folded in a narrow terminal, never cut off
        grid.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        # Text, not markup: a city may be called [bold]
        grid.add_row(*(Text("-" if cell is None else visible(str(cell))) for cell in row))
    out.print(grid, soft_wrap=False)


def echo(text: str) -> None:
    """Print a message for users on standard error, separate from the result."""
    err.print(with_option_names(text))


def by_text(texts: dict[str, str]) -> list[str]:
    """Return the different texts by city, with the names of their cities if there are several texts."""
    cities: dict[str, list[str]] = {}
    for city, text in texts.items():
        cities.setdefault(text, []).append(city)
    return [text if len(cities) == 1 else f"{named(names)}: {text}" for text, names in cities.items()]


def require_complete(problem: str | None, *, allow_partial: bool) -> None:
    """Raise if a part of the work failed, unless the user accepts that. Call it after the result is printed.

    Args:
        problem: one sentence with counts, such as "7 of 12 cities were not forecast."; None if everything was done.
        allow_partial: the value of --allow-partial.

    Raises:
        PartialResultError: there is a problem, and it is not accepted. The exit status is 3.
    """
    if problem is not None and not allow_partial:
        raise PartialResultError(problem, hint="With --allow-partial the exit status is 0.")


def require_parts(
    done: int,
    reasons: Sequence[str],
    did: str,
    *,
    in_part: int = 0,
    parts: str = "cities",
    allow_partial: bool,
    hint: str | None = None,
) -> None:
    """Raise if parts of the work failed. Call it after the result is printed.

    Args:
        done: how many parts were done.
        reasons: why the others were not, one each.
        did: the work, such as "forecast".
        in_part: how many of the others were done in part, which counts as some work done.
        hint: the remedy if nothing was done.

    Raises:
        EnergyForecastError: nothing was done. The exit status is 1.
        PartialResultError: some parts were not done, and it is not accepted. The exit status is 3.
    """
    total = done + len(reasons)
    if reasons and not done and not in_part:
        first = reasons[0] if total == 1 else f"None of {total:,} {parts} was {did}. {reasons[0]}"
        raise EnergyForecastError(first, hint=hint)
    verb = "was" if len(reasons) == 1 else "were"
    problem = f"{len(reasons):,} of {total:,} {parts} {verb} not {did}." if reasons else None
    require_complete(problem, allow_partial=allow_partial)


def failures(failed: Mapping[str, str] | Mapping[tuple[str, str], str]) -> list[dict[str, str]]:
    """Return the cities, or models of cities, that failed and the reasons, for JSON."""
    return [
        {"city": key, "reason": why} if isinstance(key, str) else {"city": key[0], "model": key[1], "reason": why}
        for key, why in failed.items()
    ]


def echo_failures(outcome: str, failed: Mapping[str, str] | Mapping[tuple[str, str], str]) -> None:
    """Print the cities, or models of cities, that failed and the reasons; `outcome` is such as "Not scored"."""
    for key, why in failed.items():
        echo(f"{outcome}: {key if isinstance(key, str) else f'{key[1]} for {key[0]}'}: {why}")


def named(names: Sequence[str], most: int = 5) -> str:
    """Return names in one line; of many, the first few and the number of others."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def minute(moment: datetime | None) -> str | None:
    """Return a time in UTC, to the minute."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: `1 city`, `2,000 cities`. Without `many` the plural gets an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size(count: int) -> str:
    """Format a number of bytes: 12 kB, 3.4 MB, 1.2 GB."""
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count / 1024:,.0f} kB"


def below(hours: int | None) -> str | None:
    """Format an upper limit of lead times: below 24 h."""
    return None if hours is None else f"below {hours} h"


def allow_interrupt() -> None:
    """Let Ctrl-C interrupt a blocking system call.

    Call it after the import of the frame library, whose signal handler makes the system restart such a call.
    """
    signal.siginterrupt(signal.SIGINT, True)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show a bar on standard error; without a terminal, print a line for each new step and every few seconds."""
    allow_interrupt()
    if not err.is_terminal:
        last, printed_at = "", 0.0

        def line(what: str, done: int, total: int, rows: int | None = None) -> None:  # noqa: ARG001
            nonlocal last, printed_at
            now = time.monotonic()
            if done < total and (what != last or now - printed_at >= _ECHO_EVERY):
                echo(what if what != last else f"{what}: {done:,} of {total:,}")
                last, printed_at = what, now

        yield line
        return
    with rich.progress.Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[read]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    ) as bars:
        task: list[TaskID] = []

        def bar(what: str, done: int, total: int, rows: int | None = None) -> None:
            if not task:
                task.append(bars.add_task(what, total=total, read=""))
            seconds = bars.tasks[0].elapsed or 0.0
            read = f"{rows:,} rows, {rows / seconds:,.0f} a second" if rows and seconds else ""
            bars.update(task[0], description=what, completed=done, total=total, read=read)

        yield bar
