"""Select a readable unit for energies."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class EnergyUnit:
    """A unit: its name, the kWh in one of it, and the decimals that show about three significant figures."""

    name: str
    kwh: float
    digits: int

    def text(self, kwh: float) -> str:
        """Format a number without its unit, with thousands separators."""
        return f"{kwh / self.kwh:,.{self.digits}f}"


def energy_unit(largest_kwh: float) -> EnergyUnit:
    """Return the largest unit in which an energy (kWh) is 1 or more; kWh for tiny or unknown ones."""
    size = abs(largest_kwh) if math.isfinite(largest_kwh) else 0.0
    name, kwh = next(((n, k) for n, k in (("TWh", 1e9), ("GWh", 1e6), ("MWh", 1e3)) if size >= k), ("kWh", 1.0))
    shown = size / kwh
    digits = 2 if shown == 0 else min(3, max(0, 2 - math.floor(math.log10(shown))))
    return EnergyUnit(name, kwh, digits)
