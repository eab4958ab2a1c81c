"""Limits of requests: by key, and of wrong keys by address. Counted in this process, over windows of a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

WINDOW = 60
# Clients counted at a time; beyond, the counts of the longest unseen are dropped
_MOST_CLIENTS = 10_000


@dataclass(frozen=True)
class Quota:
    """What a client may still do in this window: requests, and the seconds until the next window."""

    limit: int
    left: int
    seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers of draft-ietf-httpapi-ratelimit-headers."""
        return {
            "RateLimit-Policy": f'"minute";q={self.limit};w={WINDOW}',
            "RateLimit": f'"minute";r={max(self.left, 0)};t={self.seconds}',
        }


class Limit:
    """A number of requests that each client may send in a minute.

    Args:
        most: the number.
        clock: returns seconds that only increase.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._clock = clock
        self._lock = threading.Lock()
        # By client: the number of the window, and the requests in it
        self._counts: dict[str, tuple[int, int]] = {}

    def count(self, client: str, requests: int = 1) -> Quota:
        """Count requests of a client, none to look only, and return what is left; below zero it exceeded the limit."""
        now = self._clock()
        window, passed = divmod(now, WINDOW)
        with self._lock:
            last, count = self._counts.pop(client, (int(window), 0))
            count = requests + (count if last == int(window) else 0)
            self._counts[client] = (int(window), count)
            if len(self._counts) > _MOST_CLIENTS:
                del self._counts[next(iter(self._counts))]
        return Quota(self.most, self.most - count, int(WINDOW - passed) + 1)
