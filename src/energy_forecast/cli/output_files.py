"""Output files of commands: tables and pages with charts, written whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_forecast.errors import EnergyForecastError
from energy_forecast.spreadsheets import guard_frame

if TYPE_CHECKING:
    import polars as pl

    from energy_forecast.pipelines import CityForecast


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a table as CSV or Parquet, by its suffix; the file is replaced atomically.

    In CSV, quantiles have two decimals, as `predicted`, and a text that a spreadsheet would run as a formula gets an
    apostrophe; in Parquet both are unchanged.

    Raises:
        EnergyForecastError: the file cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        if path.suffix == ".parquet":
            frame.write_parquet(part)
        else:
            import polars as pl

            quantiles = [name for name in frame.columns if re.fullmatch(r"q\d\d", name)]
            rounded = frame.with_columns(pl.col(quantiles).round(2))
            guard_frame(rounded).write_csv(part, datetime_format="%Y-%m-%dT%H:%M:%SZ")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise EnergyForecastError(f"Cannot write {path}: {error.strerror or error}.") from error


def write_forecasts(forecasts: Sequence[CityForecast], path: Path) -> None:
    """Write forecasts: model, city, issued_at, timestamp, predicted, q05 .. q95, kWh in the hour.

    Raises:
        EnergyForecastError: the file cannot be written.
    """
    import polars as pl

    frames = [
        one.frame.select(
            pl.lit(one.model).alias("model"),
            pl.lit(one.city).alias("city"),
            pl.lit(one.issued_at).cast(pl.Datetime("us", "UTC")).alias("issued_at"),
            pl.all(),
        )
        for one in forecasts
    ]
    write_frame(pl.concat(frames), path)


def _score_frame(scores: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Convert rows of forecast_scores with their `purpose` to the frame of a page, in groups that can be compared."""
    import polars as pl

    from energy_forecast.pipelines.labels import PURPOSE_LABELS

    def row(score: dict[str, Any]) -> dict[str, Any]:
        weather = "without weather" if score["weather"] == "none" else f"{score['weather']} weather"
        lead = f"{score['lead_start_hours']} to {score['lead_end_hours']} hours ahead"
        return {
            "city": f"{score['city']}: {PURPOSE_LABELS[score['purpose']]}, {lead}, {weather}",
            "model": score["model"],
            "n": score["pair_count"],
            "mape": score["mape"],
            "mae": score["mae_kwh"],
            "rmse": score["rmse_kwh"],
            "r2": score["r2_score"],
            "pinball": score["pinball_kwh"],
            "coverage_90": score["coverage_90"],
            "skill_naive_168": score["skill_naive_168"],
        }

    return pl.DataFrame([row(score) for score in scores])


def draw_forecasts(forecasts: Sequence[CityForecast], scores: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw forecasts into one page that opens without a network.

    Args:
        scores: rows of forecast_scores with their `purpose`, shown below.

    Raises:
        EnergyForecastError: the file cannot be written.
    """
    from energy_forecast.charts.forecast_page import forecast_page
    from energy_forecast.platform.forecast import forecast_of, picture_of

    pictures = [picture_of(forecast_of(one)) for one in forecasts]
    write_chart(path, forecast_page(pictures, _score_frame(scores), title="Energy forecast"))


def write_chart(path: Path, html: str) -> None:
    """Write a page with charts.

    Raises:
        EnergyForecastError: the file cannot be written.
    """
    from energy_forecast.charts.pages import write_page

    with writing(path):
        write_page(path, html)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Report an error of the file system while a file is written.

    Raises:
        EnergyForecastError: the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise EnergyForecastError(f"Cannot write {path}: {error.strerror or error}.") from error
