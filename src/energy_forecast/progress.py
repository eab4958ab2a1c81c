"""How long work tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done, how many steps of it are done, how many there are, and the rows read so far."""

    def __call__(self, what: str, done: int, total: int, rows: int | None = None) -> None: ...


def silent(what: str, done: int, total: int, rows: int | None = None) -> None:
    """Tells nobody."""
