"""Progress reports of long tasks."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A callback that receives the task, the number of finished steps, the total, and the rows read so far."""

    def __call__(self, what: str, done: int, total: int, rows: int | None = None) -> None:
        """Receive the state of a task."""


def silent(what: str, done: int, total: int, rows: int | None = None) -> None:
    """Ignore the progress."""


class Steps:
    """A counter of finished steps out of a total. The reported number never decreases, in any order of the calls."""

    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress, self._what, self._total = progress, what, total
        self._done = 0
        progress(what, 0, total)

    def __call__(self, done: int, label: str = "") -> None:
        """Report the number of finished steps; `label` describes the last step if it is known."""
        # Repeated work counts once
        self._done = min(self._total, max(self._done, done))
        self._progress(label or self._what, self._done, self._total)
