"""Optional parts of the package, and the error if one is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from energy_forecast.errors import MissingExtraError

# By extra of pyproject.toml: the part that requires it
EXTRAS: dict[str, str] = {
    "training": "Training of models with trees",
    "server": "A server, of PostgreSQL or of the HTTP API,",
}


def missing(extra: str) -> MissingExtraError:
    """Return the error for an extra that is not installed."""
    return MissingExtraError(
        f"{EXTRAS[extra]} requires the extra {extra!r}, which is not installed.",
        hint=f'Install it: pip install "energy-forecast[{extra}]"',
    )


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Import packages of an extra.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("energy_forecast"):
            raise
        raise missing(extra) from error
