"""Select a readable unit for energies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class EnergyUnit:
    """A unit: its name, the kWh in one of it, and the decimals that show about three significant figures."""

    name: str
    kwh: float
    digits: int

    def text(self, kwh: float | None) -> str:
        """Format a number without its unit, with thousands separators; a dash for an unknown one."""
        return "\N{EN DASH}" if kwh is None else f"{kwh / self.kwh:,.{self.digits}f}"

    def signed(self, kwh: float) -> str:
        """Format a difference without its unit, with its sign."""
        return ("+" if kwh >= 0 else "\N{MINUS SIGN}") + self.text(abs(kwh))

    def numbers(self, kwh: Iterable[float | None]) -> list[float | None]:
        """Return the values of a chart with six significant figures; None for unknown ones."""
        return [None if v is None or not math.isfinite(v) else float(f"{v / self.kwh:.6g}") for v in kwh]


def energy_unit(largest_kwh: float) -> EnergyUnit:
    """Return the largest unit in which an energy (kWh) is 1 or more; kWh for tiny or unknown ones."""
    size = abs(largest_kwh) if math.isfinite(largest_kwh) else 0.0
    name, kwh = next(((n, k) for n, k in (("TWh", 1e9), ("GWh", 1e6), ("MWh", 1e3)) if size >= k), ("kWh", 1.0))
    shown = size / kwh
    digits = 2 if shown == 0 else min(3, max(0, 2 - math.floor(math.log10(shown))))
    return EnergyUnit(name, kwh, digits)
