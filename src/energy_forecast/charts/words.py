"""Numbers with their nouns."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 hour` or `1,200 hours`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
