"""The table that users of the public API receive."""

from __future__ import annotations

from dataclasses import dataclass

from energy_forecast import tables
from energy_forecast.platform.forecast import Chart, chart_of


@dataclass(frozen=True, eq=False, repr=False)
class Table(tables.Table):
    """Rows with units and facts.

    It has the Arrow PyCapsule interface: `polars.DataFrame(table)`, `pyarrow.table(table)` and DuckDB read it.

    Attributes:
        frame: the rows. Times are in UTC, and `timestamp` is the START of an interval.
        facts: values that apply to all rows, such as `city`, `issued_at`, `as_of` or `model`. Times are aware.

    Examples:
        >>> table = db.live_forecast("Munich")
        >>> table.facts["issued_at"], table.units["predicted"]
    """

    def plot(self) -> Chart:
        """Return a chart of a forecast with its intervals, which needs no network. A notebook shows it.

        Raises:
            EnergyForecastError: the rows are not a forecast of one city.

        Examples:
            >>> db.live_forecast("Munich").plot().save("munich.html")
        """
        return chart_of(self)
