"""Tables that readers receive, in this process or over HTTP, and the meaning and unit of every column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import polars as pl

from energy_forecast.errors import EnergyForecastError

UTC_TIME = pl.Datetime("us", "UTC")
Schema: TypeAlias = dict[str, pl.DataType | type[pl.DataType]]
# A column with the quantile of a level: q05 is level 0.05, q50 is 0.5, q975 is 0.975
_QUANTILE = re.compile(r"q(\d{2,})")


@dataclass(frozen=True)
class Column:
    """The meaning of a column and its unit. A name has the same meaning and unit in every table.

    Args:
        description: one sentence without its full stop.
        unit: such as kWh; None for times, names and counts.
    """

    description: str
    unit: str | None = None


COLUMNS: dict[str, Column] = {
    "city": Column("Name of the city"),
    "latitude": Column("Degrees north", "°"),
    "longitude": Column("Degrees east", "°"),
    "timezone": Column("IANA time zone of the city"),
    "country_code": Column("ISO 3166-1 code of the country"),
    "subdivision": Column("ISO 3166-2 part after the country"),
    "timestamp": Column("START of the interval, UTC"),
    "interval_end": Column("End of the interval, UTC"),
    "interval_minutes": Column("Length of the interval", "min"),
    "consumption_kwh": Column("Load in the interval", "kWh"),
    "peak_demand_kw": Column("Highest power in the interval", "kW"),
    "minutes_known": Column("Minutes of the interval or day with a value", "min"),
    "recorded_hour": Column("START of the hour of the recording, UTC"),
    "row_count": Column("Number of rows"),
    "median_delay_hours": Column("Median time from the end of the interval to the recording", "h"),
    "longest_delay_hours": Column("Longest time from the end of the interval to the recording", "h"),
    "median_availability_hours": Column("Median time from the end of the interval to `available_at`", "h"),
    "recording_count": Column("Number of recordings in the last 14 days with values"),
    "usual_gap_hours": Column("Time between two recordings that 90 of 100 do not exceed", "h"),
    "expected_by": Column("Time by which the next rows are usually recorded, UTC"),
    "is_late": Column("Whether that time has passed; null if the series has no rhythm yet"),
    "has_failed": Column("Whether the run could not forecast the city; `notes` has the reason"),
    "promoted_by": Column("Login that promoted the version; null for a reader who may not see it"),
    "evidence": Column("Paired tests behind the promotion, JSON"),
    "superseded_at": Column("Time at which a correction replaced the value, UTC"),
    "available_at": Column("Time at which the value could first be known, UTC"),
    "recorded_at": Column("Time at which this database recorded the row, UTC"),
    "issued_at": Column("Time of issue of the forecast, UTC; only data known by then was used"),
    "run_id": Column("Id of the run"),
    "model": Column("Name of the model"),
    "version": Column("Version of the model"),
    "purpose": Column("live, replay (issued later from the data known then) or backtest"),
    "weather": Column("Weather that the forecast used"),
    "champion": Column("Whether the version is the champion of the city at that time"),
    "first": Column("START of the first interval, UTC"),
    "end": Column("End of the last interval, UTC"),
    "lead_hours": Column("Time from the issue to the interval", "h"),
    "day": Column("Local day of the city"),
    "failure": Column("Why the run failed for the city; null if it did not"),
    "request": Column("Id of the requested run"),
    "kind": Column("Kind of the run or the data"),
    "status": Column("waiting, running, succeeded, partial or failed"),
    "requested_at": Column("Time of the request, UTC"),
    "started_at": Column("Time of the start, UTC"),
    "finished_at": Column("Time of the end, UTC"),
    "predicted": Column("Forecast of the load in the interval", "kWh"),
    "temperature": Column("Air temperature", "°C"),
    "humidity": Column("Relative humidity", "%"),
    "wind_speed": Column("Wind speed", "m/s"),
    "precipitation": Column("Precipitation in the interval", "mm"),
    "lead_start_hours": Column("Shortest lead time counted", "h"),
    "lead_end_hours": Column("Longest lead time counted, exclusive", "h"),
    "period_start": Column("START of the first interval counted, UTC"),
    "period_end": Column("End of the last interval counted, UTC"),
    "pair_count": Column("Number of pairs of forecast and actual"),
    "mape": Column("Mean absolute percentage error", "%"),
    "mae_kwh": Column("Mean absolute error in an hour", "kWh"),
    "rmse_kwh": Column("Root mean squared error in an hour", "kWh"),
    "r2_score": Column("Coefficient of determination"),
    "pinball_kwh": Column("Pinball loss, mean over the quantile levels, in an hour", "kWh"),
    "coverage_90": Column("Share of actuals inside the 90 % interval"),
    "width_90_kwh": Column("Mean width of the 90 % interval in an hour", "kWh"),
    "skill_naive_168": Column("1 - MAE / MAE of naive-168; above 0 is better than last week"),
    "score_id": Column("Id of the score"),
    "actual": Column("Observed load in the interval", "kWh"),
    "reference": Column("Load at the same local hour a week before", "kWh"),
    "conditions": Column("Id of the assumptions of backtests"),
    "error_kwh": Column("Forecast minus observed load", "kWh"),
    "bias_kwh": Column("Mean of forecast minus observed load in an hour", "kWh"),
    "pairs": Column("own: all pairs of the model; common: those that all models with the same conditions have"),
    "level": Column("Level of the quantile, a share"),
    "observed": Column("Share of actuals at or below the quantile"),
    "width_kwh": Column("Mean width of the interval in an hour", "kWh"),
    "part": Column("city, lead (of lead times) or season"),
    "group": Column("Name of the city, the lead times or the season"),
    "nominal": Column("Nominal coverage of the interval, a share"),
    "hours": Column("Number of hours"),
    "days": Column("Number of days"),
    "coverage": Column("Share of actuals inside the interval"),
    "lower": Column("Lower end of the 90 % confidence interval of the share; null for fewer than 28 days"),
    "upper": Column("Upper end of the 90 % confidence interval of the share; null for fewer than 28 days"),
    "tolerance": Column("Largest difference of the coverage from the nominal one that passes"),
    "margin": Column("Largest difference of the confidence interval from the nominal coverage that passes"),
    "verdict": Column("passed, failed or not enough data"),
    "promoted_at": Column("Time since which the version is or was the champion, UTC"),
    "replaced_at": Column("Time at which another version became the champion, UTC"),
    "is_forced": Column("Whether the version was promoted without the required evidence"),
    "city_count": Column("Number of cities"),
    "assumptions": Column("Load delay and weather errors of a backtest, JSON"),
    "type": Column("Type of the model"),
    "is_active": Column("Whether the version is used if a city has no champion"),
    "trained_at": Column("Time of the training, UTC"),
    "trained_until": Column("Time by which the data of the training was known, UTC"),
    "cities": Column("Names of the cities"),
    "horizon_hours": Column("Longest lead time requested", "h"),
    "fallback_level": Column("How far the used model is from the preferred one; 0 is the preferred one"),
    "notes": Column("Remarks of the run on the city"),
    "error_percent": Column("Forecast minus actual, in percent of the actual", "%"),
    "predicted_low": Column("Lower end of the 90 % interval of the forecast", "kWh"),
    "predicted_high": Column("Upper end of the 90 % interval of the forecast", "kWh"),
    "known_until": Column("End of the last interval with a load, UTC"),
    "peak_at": Column("START of the interval with the highest forecast of the next 24 hours, UTC"),
    "peak_kwh": Column("Highest forecast of the next 24 hours", "kWh"),
    "peak_low": Column("Lower end of the 90 % interval of the highest forecast", "kWh"),
    "peak_high": Column("Upper end of the 90 % interval of the highest forecast", "kWh"),
    "threshold_kwh": Column("Level that the highest load of the day may exceed", "kWh"),
    "probability": Column("Probability; null if past forecasts do not tell how the errors of hours are related"),
    "at_least": Column("Lower bound of the probability, for any relation of the errors"),
    "at_most": Column("Upper bound of the probability, for any relation of the errors"),
    "day_peak_low": Column("Level that the highest load of the day exceeds with 95 % probability", "kWh"),
    "day_peak": Column("Median of the highest load of the day", "kWh"),
    "day_peak_high": Column("Level that the highest load of the day exceeds with 5 % probability", "kWh"),
    "usual_low": Column("Level that 10 % of the usual loads are below", "kWh"),
    "usual_load": Column("Median of the usual loads", "kWh"),
    "usual_high": Column("Level that 90 % of the usual loads are below", "kWh"),
    "series": Column("consumption or weather"),
    "fault": Column("Kind of the fault, such as gap, spike or stuck"),
    "factor": Column("Ratio to the expected value"),
    "left_out": Column("Whether training and scores leave the hours out"),
    "temperature_from": Column("Lower end of the range of temperature", "°C"),
    "temperature_to": Column("Upper end of the range of temperature, exclusive", "°C"),
    "mean_consumption_kwh": Column("Mean load in an hour", "kWh"),
    "changed": Column("What to read again: consumption, weather, weather-forecasts, forecasts, champions or scores"),
    "normal_temperature": Column("Climatological temperature of the hour", "°C"),
    "predicted_at_normal": Column("Forecast at the climatological temperature", "kWh"),
    "contributions": Column("Effects of the groups of inputs on the forecast in kWh, JSON; null if there are none"),
    "weather_error_kwh": Column("Part of the error of the weather forecast in the forecast minus the load", "kWh"),
    "model_error_kwh": Column("Part of the model in the forecast minus the load", "kWh"),
    "batch_id": Column("Id of the batch"),
    "dataset": Column("consumption, weather, weather-forecasts or cities"),
    "read": Column("Number of rows read"),
    "inserted": Column("Number of rows whose city and time were not stored"),
    "corrected": Column("Number of rows that replaced a stored value"),
    "unchanged": Column("Number of rows that changed no current value"),
    "rejected": Column("Number of rows that could not be used"),
    "cells_left_empty": Column("Number of optional cells with an implausible value, which were left empty"),
    "column": Column("Name of the faulty column; null for the whole row"),
    "reason": Column("Reason for the rejection"),
    "count": Column("Number of rows, or of cells"),
    "cell_only": Column("Whether only the cell was left empty"),
    "file": Column("Name of the file"),
    "line": Column("Line of a CSV file (the header is line 1), or row from 1"),
    "row_data": Column("The row as it was sent, JSON"),
}


def quantile_column(level: float) -> str:
    """Return the column of a quantile level: q05 for 0.05, q975 for 0.975."""
    digits = f"{level:.6f}"[2:].rstrip("0")
    return f"q{digits.ljust(2, '0')}"


def quantile_level(column: str) -> float | None:
    """Return the level of a quantile column; None for another column."""
    found = _QUANTILE.fullmatch(column)
    return None if found is None else float(f"0.{found[1]}")


def column_of(name: str) -> Column:
    """Return the meaning of a column.

    Raises:
        KeyError: no table has this column.
    """
    level = quantile_level(name)
    return COLUMNS[name] if level is None else Column(f"Quantile of the forecast at level {level:g}", "kWh")


class Rows:
    """A frame for the libraries of others.

    Attributes:
        frame: the rows, with times in UTC.
    """

    frame: pl.DataFrame

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the rows as an Arrow stream, for other libraries."""
        return self.frame.__arrow_c_stream__(requested_schema)

    def to_polars(self) -> pl.DataFrame:
        """Return `frame`."""
        return self.frame

    def to_pandas(self) -> Any:
        """Return the rows as a pandas.DataFrame, with times in UTC.

        Raises:
            EnergyForecastError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise EnergyForecastError("pandas is not installed.", hint="Install it: pip install pandas") from error
        return pd.DataFrame({one.name: _pandas_values(pd, one) for one in self.frame.iter_columns()})

    def to_arrow(self) -> Any:
        """Return the rows as a pyarrow.Table.

        Raises:
            EnergyForecastError: pyarrow is not installed.
        """
        try:
            return self.frame.to_arrow()
        except ImportError as error:
            raise EnergyForecastError("pyarrow is not installed.", hint="Install it: pip install pyarrow") from error


@dataclass(frozen=True, eq=False, repr=False)
class Table(Rows):
    """Rows with units and facts. Users receive a `platform.table.Table`, which can also be drawn.

    It has the Arrow PyCapsule interface: `polars.DataFrame(table)`, `pyarrow.table(table)` and DuckDB read it.

    Attributes:
        frame: the rows. Times are in UTC, and `timestamp` is the START of an interval.
        facts: values that apply to all rows, such as `city`, `issued_at`, `as_of` or `model`. Times are aware.

    Examples:
        >>> table = db.live_forecast("Munich")
        >>> table.facts["issued_at"], table.units["predicted"]
    """

    frame: pl.DataFrame
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def units(self) -> dict[str, str]:
        """The units of the columns that have one."""
        return {name: unit for name in self.frame.columns if (unit := column_of(name).unit) is not None}

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={value}" for name, value in self.facts.items() if isinstance(value, str))
        return f"<Table of {self.frame.height} rows: {', '.join(self.frame.columns)}{'; ' + facts if facts else ''}>"

    def _repr_html_(self) -> str:
        """Return the rows for a notebook."""
        return self.frame._repr_html_()


def _pandas_values(pd: Any, column: pl.Series) -> Any:
    """Return a column for pandas without pyarrow, which polars would require."""
    if isinstance(column.dtype, pl.Datetime):
        return pd.DatetimeIndex(column.dt.replace_time_zone(None).to_numpy()).tz_localize("UTC")
    return column.to_numpy() if column.dtype.is_float() else pd.Series(column.to_list(), dtype=object).infer_objects()
