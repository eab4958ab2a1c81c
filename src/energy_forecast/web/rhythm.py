"""The rhythm of past issues, and when the next one is expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

# Issues of which the rhythm is taken, and the least number that shows one
_MOST, _FEWEST = 10, 3
# A next issue is late after this part of the usual time between two issues
_LATE = 0.5


@dataclass(frozen=True)
class Rhythm:
    """The rhythm of the issues of a city.

    Args:
        last: the last issue.
        every: median time between two of the last issues; None with too few of them.
        expected: the next issue; None without a rhythm.
        is_late: whether it is late; None without a rhythm.
    """

    last: datetime
    every: timedelta | None
    expected: datetime | None
    is_late: bool | None


def rhythm(issues: Sequence[datetime], now: datetime) -> Rhythm:
    """Return the rhythm of issues.

    Args:
        issues: at least one, in any order; those at the same time count once.
        now: the time at which lateness is judged.
    """
    times = sorted(set(issues))[-_MOST:]
    if len(times) < _FEWEST:
        return Rhythm(times[-1], None, None, None)
    every = timedelta(seconds=median((b - a).total_seconds() for a, b in pairwise(times)))
    expected = times[-1] + every
    return Rhythm(times[-1], every, expected, now > expected + _LATE * every)
