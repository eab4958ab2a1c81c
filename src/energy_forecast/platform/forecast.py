"""The forecast and the chart that users of the public API receive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import polars as pl

from energy_forecast import tables
from energy_forecast.errors import EnergyForecastError
from energy_forecast.platform.arguments import checked
from energy_forecast.tables import UTC_TIME, Rows

if TYPE_CHECKING:
    from energy_forecast.charts.forecast import CityPicture
    from energy_forecast.pipelines import CityForecast


@dataclass(frozen=True)
class Chart:
    """A chart as one HTML page with its script and data, which needs no network. A notebook shows it as output.

    Attributes:
        html: the page, about 100 kB for a city.
    """

    html: str
    title: str

    @checked
    def save(self, path: str | Path) -> None:
        """Write the page to a file for a browser, FILE.html in an existing folder.

        Raises:
            EnergyForecastError: the file cannot be written.

        Examples:
            >>> forecast.plot().save("munich.html")
        """
        from energy_forecast.charts.pages import write_page

        path = Path(path)
        if path.suffix != ".html":
            raise EnergyForecastError(f"Cannot write `path` {path}: the chart is an HTML page.", hint="Use FILE.html.")
        if not path.parent.is_dir():
            raise EnergyForecastError(f"Cannot write `path` {path}: folder {path.parent} not found.")
        try:
            write_page(path, self.html)
        except OSError as error:
            raise EnergyForecastError(f"Cannot write `path` {path}: {error.strerror or error}.") from error

    def __repr__(self) -> str:
        return f"<Chart {self.title}; save(path) writes it for a browser>"

    def _repr_html_(self) -> str:
        """Return the page in a frame: its styles and scripts do not affect the notebook."""
        return (
            f'<iframe srcdoc="{escape(self.html)}" title="{escape(self.title)}" '
            'style="width: 100%; height: 720px; border: 0"></iframe>'
        )


@dataclass(frozen=True, eq=False, repr=False)
class Forecast(Rows):
    """An issued forecast of one city.

    It has the Arrow PyCapsule interface: `polars.DataFrame(forecast)`, `pyarrow.table(forecast)` and DuckDB read it.

    Attributes:
        city: name of the city.
        timezone: IANA zone of the city.
        model: name of the model that made it.
        version: version of the model; None for a model outside the database.
        run: id of the stored run; None if it is not stored.
        issued_at: time of issue, UTC. Only data known by then was used.
        frame: a row for each hour: `timestamp` (UTC, start of the hour), `predicted` and the quantiles `q05`, `q10` to
            `q95`, all kWh in the hour.
        history: the load of the last weeks known at the issue: `timestamp`, `consumption_kwh`.
        temperature: `timestamp`, `temperature` (degrees Celsius): observed before the issue, forecast after it. Empty
            for a city without weather.
        weather_hours: number of hours that were forecast with weather.
        fallback_level: distance of the served model from the preferred one; 0 is the preferred one.
        notes: remarks, such as missing inputs, in sentences.

    Examples:
        >>> forecast = db.forecast("Munich", horizon="48h")
        >>> forecast.frame.select("timestamp", "predicted", "q05", "q95")
    """

    city: str
    timezone: str
    model: str
    version: str | None
    run: UUID | None
    issued_at: datetime
    frame: pl.DataFrame
    history: pl.DataFrame
    temperature: pl.DataFrame
    weather_hours: int
    fallback_level: int
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        total = self.frame["predicted"].sum() / 1000
        return (
            f"<Forecast of {self.city} by {self.model}, issued at {self.issued_at:%Y-%m-%d %H:%M}Z: "
            f"{self.frame.height} hours, {total:,.1f} MWh>"
        )

    def plot(self) -> Chart:
        """Return a chart of the history, the forecast with its intervals, and the temperature.

        The last expression of a notebook cell is shown; `save` writes a file for a browser.

        Examples:
            >>> db.forecast("Munich").plot()
        """
        from energy_forecast.charts.forecast_page import forecast_page

        title = f"Energy forecast of {self.city}"
        return Chart(forecast_page([picture_of(self)], None, title=title), title)


def chart_of(table: tables.Table) -> Chart:
    """Return the chart of a table with one forecast of one city, without its history.

    Raises:
        EnergyForecastError: it is another table, or has no rows.
    """
    from energy_forecast.charts.forecast import CityPicture
    from energy_forecast.charts.forecast_page import forecast_page

    facts, frame = table.facts, table.frame
    columns = {"timestamp", "predicted"}
    if (
        not columns <= set(frame.columns)
        or not {"city", "issued_at"} <= set(facts)
        or frame["timestamp"].is_duplicated().any()
    ):
        raise EnergyForecastError(
            "Only a forecast of one city can be drawn.", hint="Draw that of `live_forecast` or `issued_forecast`."
        )
    if frame.is_empty():
        raise EnergyForecastError("The forecast has no rows to draw.", hint="Choose a longer span.")
    title = f"Energy forecast of {facts['city']}"
    picture = CityPicture(
        name=facts["city"],
        timezone=facts["timezone"],
        history=pl.DataFrame(schema={"timestamp": UTC_TIME, "consumption_kwh": pl.Float64}),
        forecast=frame.filter(pl.col("predicted").is_not_null()),
        issued_at=facts["issued_at"],
        model=f"{facts['model']} version {facts['version']}",
        notes=facts["notes"],
    )
    return Chart(forecast_page([picture], None, title=title), title)


def forecast_of(issued: CityForecast) -> Forecast:
    """Return the forecast that a pipeline issued."""
    return Forecast(
        city=issued.city,
        timezone=issued.timezone,
        model=issued.model,
        version=issued.version,
        run=issued.run_id,
        issued_at=issued.issued_at,
        frame=issued.frame,
        history=issued.history,
        temperature=issued.temperature,
        weather_hours=issued.fallback.weather_hours,
        fallback_level=issued.fallback.level,
        notes=tuple(dict.fromkeys([*issued.notes, *issued.fallback.reasons])),
    )


def picture_of(forecast: Forecast) -> CityPicture:
    """Return the input for the chart of a forecast."""
    from energy_forecast.charts.forecast import CityPicture

    return CityPicture(
        name=forecast.city,
        timezone=forecast.timezone,
        history=forecast.history,
        forecast=forecast.frame,
        issued_at=forecast.issued_at,
        model=forecast.model if forecast.version is None else f"{forecast.model} version {forecast.version}",
        weather=forecast.temperature,
        notes=forecast.notes,
    )
