"""The datasets that files can hold: their columns, and the plausible range of each value."""

from __future__ import annotations

from dataclasses import dataclass

from energy_forecast.database.forecasts import LARGEST_KWH
from energy_forecast.database.staging import LoadTarget
from energy_forecast.errors import IngestError
from energy_forecast.weather_ranges import WEATHER_RANGES

# The column for the length of the row's interval, in minutes
INTERVAL = "interval_minutes"
# Minutes of an interval if neither the rows nor the user show its length
HOUR = 60


@dataclass(frozen=True)
class ValueColumn:
    """A column of numbers.

    Args:
        name: the column, in files and in the database.
        low: the smallest plausible value.
        high: the largest plausible value.
        unit: the unit, in words.
        required: whether a row without it is rejected.
    """

    name: str
    low: float
    high: float
    unit: str
    required: bool = False

    @property
    def plausible(self) -> str:
        """Return the range in words."""
        return f"between {self.low:.12g} and {self.high:.12g} {self.unit}"


@dataclass(frozen=True)
class Dataset:
    """A dataset: its columns and its table.

    Args:
        target: its table in the database.
        times: the columns of timestamps; all but available_at are required.
        values: the columns of numbers.
    """

    target: LoadTarget
    times: tuple[str, ...]
    values: tuple[ValueColumn, ...]

    @property
    def name(self) -> str:
        """Return the name, as in DATASETS."""
        return self.target.kind

    @property
    def has_intervals(self) -> bool:
        """Return whether each row covers an interval, and may state its length."""
        return "available_at" in self.times

    @property
    def required(self) -> tuple[str, ...]:
        """Return the columns that a file must have."""
        moments = (column for column in self.times if column != "available_at")
        return ("city", *moments, *(value.name for value in self.values if value.required))

    @property
    def optional(self) -> tuple[str, ...]:
        """Return the columns that a file may have."""
        known = ("city", *self.times, *(value.name for value in self.values))
        own = (INTERVAL,) if self.has_intervals else ()
        return (*(column for column in known if column not in self.required), *own)


_WEATHER_UNITS = {
    "temperature": "degrees Celsius",
    "humidity": "percent",
    "wind_speed": "m/s",
    "precipitation": "mm",
}
_WEATHER = tuple(
    ValueColumn(name, *WEATHER_RANGES[name], unit, required=name == "temperature")
    for name, unit in _WEATHER_UNITS.items()
)


def _target(kind: str, table: str, key: str, values: tuple[ValueColumn, ...], **traits: bool) -> LoadTarget:
    subject = kind.replace("-", "_")
    return LoadTarget(kind, table, subject, key, tuple(value.name for value in values), **traits)


_CONSUMPTION = (
    ValueColumn("consumption_kwh", 0, LARGEST_KWH, "kWh", required=True),
    ValueColumn("peak_demand_kw", 0, LARGEST_KWH, "kW"),
)

_ALL = (
    Dataset(
        _target("consumption", "energy_consumption", "timestamp", _CONSUMPTION, corrects=True, adds_up=True),
        ("timestamp", "available_at"),
        _CONSUMPTION,
    ),
    Dataset(
        _target("weather", "weather_data", "timestamp", _WEATHER, corrects=True),
        ("timestamp", "available_at"),
        _WEATHER,
    ),
    Dataset(
        _target("weather-forecasts", "weather_forecasts", "timestamp and issued_at", _WEATHER),
        ("issued_at", "timestamp"),
        _WEATHER,
    ),
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}


def find_dataset(name: str) -> Dataset:
    """Return the dataset of this name.

    Raises:
        IngestError: the name is unknown.
    """
    if name not in DATASETS:
        raise IngestError(f"Dataset {name!r} not found.", hint=f"Choose from: {', '.join(DATASETS)}.")
    return DATASETS[name]
