"""Options for reading the files of a batch: time zone, interval, label, and units with their exact conversion."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import numpy as np
import polars as pl

from energy_forecast.errors import IngestError
from energy_forecast.ingest.datasets import Dataset
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
# A double of 12 digits, times a hundred, is off by less than this; nearer to a half, the text decides
_UNSURE = 1e-3


@dataclass(frozen=True)
class Unit:
    """A unit: stored value = factor * value + offset.

    Args:
        name: the spelling for users.
        factor: stored units in one of this unit; for a mean power, in one hour of it.
        offset: in the stored unit.
        is_power: whether energy is given as mean power, so that the conversion needs the length of the interval.
    """

    name: str
    factor: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    is_power: bool = False

    def convert(self, number: pl.Series, minutes: pl.Series) -> pl.Series:
        """Return numbers in the stored unit.

        Args:
            number: doubles, null if missing.
            minutes: the length of each row's interval.
        """
        return number * float(self.factor) * (minutes / 60 if self.is_power else 1.0) + float(self.offset)

    def exactly(self, minutes: pl.Series) -> Callable[[int, Fraction], Fraction]:
        """Return a function that converts the number of a row, given by its index, without rounding."""

        def converted(place: int, number: Fraction) -> Fraction:
            hours = Fraction(minutes[place], 60) if self.is_power else Fraction(1)
            return number * self.factor * hours + self.offset

        return converted


_PREFIXES = {"W": Fraction(1, 1000), "kW": Fraction(1), "MW": Fraction(1000), "GW": Fraction(1_000_000)}
_POWERS = tuple(Unit(name, factor) for name, factor in _PREFIXES.items())

# Units by quantity, the stored one first
QUANTITIES: Mapping[str, tuple[Unit, ...]] = {
    "temperature": (
        Unit("C"),
        Unit("F", Fraction(5, 9), Fraction(-160, 9)),
        Unit("K", offset=Fraction(-27315, 100)),
    ),
    "humidity": (Unit("%"), Unit("fraction", Fraction(100))),
    "energy": (
        Unit("kWh"),
        *(Unit(f"{name}h", factor) for name, factor in _PREFIXES.items() if name != "kW"),
        *(Unit(name, factor, is_power=True) for name, factor in _PREFIXES.items()),
    ),
    "power": (Unit("kW"), *(unit for unit in _POWERS if unit.name != "kW")),
}
# The column of each quantity
COLUMNS = {"temperature": "temperature", "humidity": "humidity", "energy": "consumption_kwh", "power": "peak_demand_kw"}


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


def parse_units(texts: Sequence[str], columns: Sequence[str]) -> dict[str, Unit]:
    """Parse units, and return them by column.

    Args:
        texts: each QUANTITY=UNIT, such as temperature=F, in upper or lower case.
        columns: the value columns of the dataset.

    Raises:
        IngestError: a quantity or unit is unknown, or a quantity is given twice.
    """
    known = {quantity: units for quantity, units in QUANTITIES.items() if COLUMNS[quantity] in columns}
    choices = "; ".join(f"{quantity}={'|'.join(unit.name for unit in units)}" for quantity, units in known.items())
    found: dict[str, Unit] = {}
    for text in texts:
        quantity, _, name = (part.strip() for part in text.partition("="))
        units = {unit.name.lower(): unit for unit in known.get(quantity.lower(), ())}
        if name.lower() not in units:
            raise IngestError(f"Unit {text!r} not found.", hint=f"Choose from: {choices}.")
        column = COLUMNS[quantity.lower()]
        if column in found:
            raise IngestError(f"The unit of {quantity} is given twice.", hint="Give it once.")
        found[column] = units[name.lower()]
    return found


def hundredths(
    text: pl.Series, number: pl.Series, exactly: Callable[[int, Fraction], Fraction] | None = None
) -> pl.Series:
    """Convert numbers to whole hundredths, rounded half away from zero as NUMERIC(12,2) rounds the text.

    Args:
        text: the numbers as written, n rows; null or empty if missing.
        number: the same as doubles in the stored unit, null if missing; magnitudes below 1e10.
        exactly: converts a number as written to the stored unit, by its row; None if it is written in that unit.

    Returns:
        n whole numbers, null if missing.
    """
    if number.null_count() == len(number):
        return number.cast(pl.Int64)
    scaled = np.nan_to_num(np.abs(number.to_numpy()) * 100)
    whole = np.floor(scaled + 0.5)
    unsure = np.abs(scaled + 0.5 - np.rint(scaled + 0.5)) < _UNSURE
    cents = np.where(np.signbit(number.to_numpy()), -whole, whole).astype(np.int64)
    places = np.flatnonzero(unsure)
    if len(places):
        written = text.gather(places).cast(pl.String)
        if exactly is None:
            cents[places] = [
                int((Decimal(number) * 100).to_integral_value(ROUND_HALF_UP)) if number else 0 for number in written
            ]
        else:
            cents[places] = [
                _rounded(exactly(int(place), Fraction(Decimal(number))) * 100) if number else 0
                for place, number in zip(places, written, strict=True)
            ]
    return pl.Series(number.name, cents).to_frame().select(pl.when(number.is_not_null()).then(pl.first())).to_series()


def _rounded(number: Fraction) -> int:
    """Round half away from zero."""
    size = math.floor(abs(number) + Fraction(1, 2))
    return size if number >= 0 else -size
