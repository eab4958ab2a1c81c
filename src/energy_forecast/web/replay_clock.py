"""The clock of a replay: past hours go by faster than they did."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from energy_forecast.web.state import Purpose


class ReplayClock:
    """A clock that begins in the past, runs faster than real time, and waits for the work of each hour.

    Args:
        first: its first time.
        speed: how many times faster than real time it runs.
        clock: returns seconds that only increase.
    """

    purpose: Purpose = "replay"

    def __init__(self, first: datetime, speed: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.speed = speed
        self._clock = clock
        self._lock = threading.Lock()
        self._reached, self._since, self._until = first, clock(), first

    def now(self) -> datetime:
        """Return the time."""
        with self._lock:
            return self._now()

    def go_on(self, until: datetime) -> None:
        """Let it run until a time, at which it waits."""
        with self._lock:
            self._reached, self._since = self._now(), self._clock()
            self._until = until

    def seconds_left(self) -> float:
        """Return the seconds until it waits."""
        with self._lock:
            return max(0.0, (self._until - self._now()) / timedelta(seconds=1) / self.speed)

    def _now(self) -> datetime:
        passed = timedelta(seconds=(self._clock() - self._since) * self.speed)
        return min(self._reached + passed, self._until)
