"""Units of the numbers in a file, and their exact conversion to the units of the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import polars as pl

from energy_forecast.errors import IngestError


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
