"""Explanations that were computed a short time ago. They run a model, so only a few are computed at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from energy_forecast.errors import TooManyRequestsError

Found = TypeVar("Found")


class Explanations:
    """A number of explanations by key, each kept for some time.

    Args:
        most: explanations that are kept; the oldest are dropped.
        seconds: for which one is kept.
        at_once: explanations that are computed at a time.
        patience: seconds for which a request waits for its turn.
        clock: returns seconds that only increase.
    """

    def __init__(
        self,
        *,
        most: int = 32,
        seconds: float = 300,
        at_once: int = 2,
        patience: float = 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._seconds, self._patience, self._clock = most, seconds, patience, clock
        self._turns = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._kept: dict[Hashable, tuple[float, Any]] = {}

    def get(self, key: Hashable, compute: Callable[[], Found]) -> Found:
        """Return the explanation of a key, or compute it. Errors are not kept.

        Raises:
            TooManyRequestsError: others are being computed.
        """
        kept: tuple[Found] | None = self._find(key)
        if kept is not None:
            return kept[0]
        if not self._turns.acquire(timeout=self._patience):
            raise TooManyRequestsError("Other explanations are being computed.", hint="Load the page again.")
        try:
            kept = self._find(key)
            if kept is not None:
                return kept[0]
            found = compute()
            with self._lock:
                self._kept[key] = (self._clock(), found)
                while len(self._kept) > self._most:
                    del self._kept[next(iter(self._kept))]
            return found
        finally:
            self._turns.release()

    def _find(self, key: Hashable) -> tuple[Any] | None:
        with self._lock:
            at, found = self._kept.get(key, (None, None))
            if at is None:
                return None
            if self._clock() - at > self._seconds:
                del self._kept[key]
                return None
            return (found,)
