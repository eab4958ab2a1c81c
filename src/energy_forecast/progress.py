"""How long work tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done, how many steps of it are done, how many there are, and the rows read so far."""

    def __call__(self, what: str, done: int, total: int, rows: int | None = None) -> None: ...


def silent(what: str, done: int, total: int, rows: int | None = None) -> None:
    """Tells nobody."""


class Steps:
    """Tells of steps out of a total: never of fewer than before, by whom and in what order they are counted."""

    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress, self._what, self._total = progress, what, total
        self._done = 0
        progress(what, 0, total)

    def __call__(self, done: int, words: str = "") -> None:
        """So many are done; `words` say what the last one was, where that is known."""
        # Work that is done again is counted once
        self._done = min(self._total, max(self._done, done))
        self._progress(words or self._what, self._done, self._total)
