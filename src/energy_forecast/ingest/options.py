"""Options for reading the files of a batch, and their checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from energy_forecast.errors import IngestError
from energy_forecast.ingest.datasets import Dataset
from energy_forecast.ingest.units import Unit, parse_units
from energy_forecast.zones import zone_names

# In the tz database, but not the zone of any place
_NO_ZONES = {"Factory"}
# The tz database gives these names the clock of a place; other programs, such as PostgreSQL, read them as standard time
# all year. Each has that place, and the zone of that standard time
_AMBIGUOUS = {
    "WET": ("Europe/Lisbon", "Etc/GMT"),
    "CET": ("Europe/Paris", "Etc/GMT-1"),
    "MET": ("Europe/Paris", "Etc/GMT-1"),
    "EET": ("Europe/Athens", "Etc/GMT-2"),
}
LABELS = ("start", "end")


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading a batch.

    Args:
        timezone: how to read a timestamp without an offset: None rejects it, "city" uses the city's zone, or an IANA
            zone.
        interval_minutes: length of every interval whose row does not state it; None infers it for each city.
        label: the end of an interval that a timestamp names, start or end; None is start, unless the file disproves it.
        units: the given units by value column.
    """

    timezone: str | None = None
    interval_minutes: int | None = None
    label: str | None = None
    units: Mapping[str, Unit] = field(default_factory=dict)

    @property
    def needs_lengths(self) -> bool:
        """Return whether the length of an interval changes a timestamp or a value."""
        return self.label == "end" or any(unit.is_power for unit in self.units.values())


def read_options(
    dataset: Dataset,
    *,
    timezone: str | None = None,
    interval_minutes: int | None = None,
    label: str | None = None,
    units: Sequence[str] = (),
) -> ReadOptions:
    """Return the checked options of a batch.

    Args:
        units: each QUANTITY=UNIT, such as temperature=F.

    Raises:
        IngestError: a value is invalid, or does not apply to the dataset.
    """
    if timezone not in (None, "city") and timezone not in zone_names() - _NO_ZONES:
        raise IngestError(f"Time zone {timezone!r} not found.", hint="Use an IANA zone such as Europe/Berlin, or city.")
    if timezone in _AMBIGUOUS:
        place, fixed = _AMBIGUOUS[timezone]
        raise IngestError(
            f"Time zone {timezone!r} is ambiguous: some programs use summer time for it, others do not.",
            hint=f"Use {place} for times with summer time, or {fixed} for standard time all year.",
        )
    if interval_minutes is not None:
        if not dataset.has_intervals:
            raise IngestError("Weather forecasts have no interval length.", hint="Leave out `interval_minutes`.")
        if not 1 <= interval_minutes <= 60 or 60 % interval_minutes:
            raise IngestError(f"An interval of {interval_minutes} minutes does not divide the hour.")
    if label is not None:
        if not dataset.has_intervals:
            raise IngestError("Weather forecasts have no intervals with two ends.", hint="Leave out `label`.")
        if label not in LABELS:
            raise IngestError(f"Label {label!r} not found.", hint="Choose from: start, end.")
    return ReadOptions(
        timezone, interval_minutes, label, parse_units(units, [column.name for column in dataset.values])
    )
