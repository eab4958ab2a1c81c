"""How the files of a load are to be read, as the user says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from energy_forecast.errors import IngestError
from energy_forecast.ingest.kinds import Kind
from energy_forecast.ingest.units import Unit, units_named
from energy_forecast.zones import zone_names

# In the tz database, and no zone of any place
_NO_ZONES = {"Factory"}
# Names to which the tz database gives the clock of a place, and which others, PostgreSQL among them, read as standard
# time all year: that place, and the zone of that standard time
_AMBIGUOUS = {
    "WET": ("Europe/Lisbon", "Etc/GMT"),
    "CET": ("Europe/Paris", "Etc/GMT-1"),
    "MET": ("Europe/Paris", "Etc/GMT-1"),
    "EET": ("Europe/Athens", "Etc/GMT-2"),
}
LABELS = ("start", "end")


@dataclass(frozen=True)
class Reading:
    """Options of a load.

    Args:
        timezone: how a moment without offset is read: None refuses it, "city" takes the city's zone, else an IANA zone.
        interval_minutes: length of every interval whose row does not state its own; None finds it out for each city.
        label: the end of an interval that timestamps name, start or end; None: start, unless the file proves it wrong.
        units: by value column, the unit that the user named.
    """

    timezone: str | None = None
    interval_minutes: int | None = None
    label: str | None = None
    units: Mapping[str, Unit] = field(default_factory=dict)

    @property
    def needs_lengths(self) -> bool:
        """Whether the length of an interval changes a timestamp or a value."""
        return self.label == "end" or any(unit.is_power for unit in self.units.values())


def reading_of(
    kind: Kind,
    *,
    timezone: str | None = None,
    interval_minutes: int | None = None,
    label: str | None = None,
    units: Sequence[str] = (),
) -> Reading:
    """Return the options of a load of this kind.

    Args:
        units: each QUANTITY=UNIT, such as temperature=F.

    Raises:
        IngestError: no file of this kind could be loaded like this.
    """
    if timezone not in (None, "city") and timezone not in zone_names() - _NO_ZONES:
        raise IngestError(
            f"There is no time zone {timezone!r}.", hint="Give an IANA zone such as Europe/Berlin, or city."
        )
    if timezone in _AMBIGUOUS:
        place, fixed = _AMBIGUOUS[timezone]
        raise IngestError(
            f"Time zone {timezone} has summer time to some programs, and none to others.",
            hint=f"Give {place} for times with summer time, or {fixed} for standard time all year.",
        )
    if interval_minutes is not None:
        if not kind.has_intervals:
            raise IngestError("Weather forecasts have no interval length.", hint="Leave it out.")
        if not 1 <= interval_minutes <= 60 or 60 % interval_minutes:
            raise IngestError(f"An interval of {interval_minutes} minutes does not divide the hour.")
    if label is not None:
        if not kind.has_intervals:
            raise IngestError("Weather forecasts have no intervals with two ends.", hint="Leave the label out.")
        if label not in LABELS:
            raise IngestError(f"Label {label!r} not found.", hint="Choose from: start, end.")
    return Reading(timezone, interval_minutes, label, units_named(units, [column.name for column in kind.values]))
