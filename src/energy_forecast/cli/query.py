"""energy-forecast query."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_forecast.cli.access import reading_database
from energy_forecast.cli.console import echo, emit, minute, out, table
from energy_forecast.cli.options import Json, plot_option, time_option
from energy_forecast.cli.output_files import write_chart
from energy_forecast.database import reports
from energy_forecast.database.cities import StoredCity, city_named

if TYPE_CHECKING:
    from energy_forecast.charts.answers import AnswerKind

app = typer.Typer(no_args_is_help=True, help="Three common queries. Users get results for the cities granted to them.")

City = Annotated[str, typer.Option("--city", metavar="CITY", help="A city by name.")]
Until = Annotated[datetime | None, time_option("The end of the span. Default: now.")]
Plot = Annotated[Path | None, plot_option("Draw the result into FILE.html, for a browser.")]


class By(StrEnum):
    """The period of a row of `query recent`."""

    HOUR = "hour"
    DAY = "day"


@app.command()
def recent(
    city: City,
    hours: Annotated[int, typer.Option(min=1, max=87840, metavar="N", help="Number of hours.")] = 24,
    by: Annotated[By, typer.Option(help="One row for each hour, or for each local day.")] = By.HOUR,
    until: Until = None,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Show a city's recent consumption by hour or by day, in local time.

    The current hour and hours with missing values are shown as parts. A day has 23, 24 or 25 hours.

    Example: energy-forecast query recent --city Munich --hours 168 --by day
    """
    with reading_database().reading() as connection:
        place = city_named(connection, city)
        if by is By.DAY:
            rows = reports.recent_days(connection, place.id, hours=hours, until=until)
        else:
            rows = reports.recent_consumption(connection, place.id, hours=hours, until=until)
        last = reports.last_known(connection, place.id, until=until)
    if json:
        emit({"city": place.name, "timezone": place.timezone, "until": until, "rows": rows})
    elif by is By.DAY:
        table(
            ["day", "hours", "kWh", "peak kW", "known"],
            [
                (f"{r['local_date']:%Y-%m-%d %a}", f"{r['hours'].normalize():f}", *_amounts(r), _known_of_day(r))
                for r in rows
            ],
            title=f"{place.name}, days of {place.timezone}",
        )
    else:
        table(
            ["hour", "kWh", "peak kW", "known"],
            [(r["local_hour"], *_amounts(r), _known_of_hour(r)) for r in rows],
            title=f"{place.name}, on the clock of {place.timezone}",
        )
    if all(r["total_consumption"] is None for r in rows):
        _print_no_data(place, last)
    if plot is not None:
        _draw("days" if by is By.DAY else "hours", place, rows, plot)


@app.command("weather-correlation")
def weather_correlation(
    city: City,
    days: Annotated[int, typer.Option(min=1, max=3660, metavar="N", help="Number of days, of 24 hours each.")] = 30,
    bin_width: Annotated[
        float, typer.Option("--bin", min=0.01, max=50, metavar="DEGREES", help="Width of a temperature bin.")
    ] = 1.0,
    until: Until = None,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Show a city's consumption by temperature: the mean of its complete hours in each temperature bin.

    Example: energy-forecast query weather-correlation --city Munich --days 90 --plot weather.html
    """
    width = Decimal(str(round(bin_width, 4)))
    with reading_database().reading() as connection:
        place = city_named(connection, city)
        rows = reports.weather_correlation(connection, place.id, days=days, bin_width=width, until=until)
        facts = reports.weather_correlation_inputs(connection, place.id, days=days, until=until)
        last = reports.last_known(connection, place.id, until=until)
    if json:
        emit({"city": place.name, "until": until, "days": days, **facts, "rows": rows})
    else:
        table(
            ["from °C", "to °C", "mean kWh in an hour", "hours"],
            [
                (
                    f"{r['temperature'].normalize():f}",
                    f"{r['temperature_end'].normalize():f}",
                    _kwh(r["avg_consumption"]),
                    f"{r['sample_count']:,}",
                )
                for r in rows
            ],
            title=f"{place.name}, {days} days",
        )
        _print_correlation(facts)
    if not rows:
        _print_no_data(place, last)
    if plot is not None:
        _draw("temperatures", place, rows, plot)


@app.command("model-performance")
def model_performance(
    days: Annotated[int, typer.Option(min=1, max=3660, metavar="N", help="Scored in the last N days.")] = 7,
    until: Until = None,
    json: Json = False,
) -> None:
    """Compare model versions by their scores of the last days, best first.

    Forecasts issued in time, forecasts made later (replays) and backtests have separate rows, as have the kinds of
    weather that they used, and backtests with different assumptions (load delay and weather errors).

    Example: energy-forecast query model-performance --days 30
    """
    with reading_database().reading() as connection:
        rows = reports.model_performance(connection, days=days, until=until)
    if json:
        emit({"until": until, "days": days, "rows": rows})
    elif not rows:
        out.print(f"Nothing was scored in these {days} days. Run: energy-forecast score")
    else:
        from energy_forecast.pipelines.labels import different_labels

        documents: list[dict[str, Any]] = []
        for r in rows:
            if r["assumptions"] and r["assumptions"] not in documents:
                documents.append(r["assumptions"])
        table(
            [
                *("model", "version", "purpose", "weather", "assumptions"),
                *("MAPE %", "RMSE kWh", "MAE kWh", "cover %", "pairs", "cities"),
            ],
            [
                (
                    r["name"],
                    r["version"],
                    r["purpose"],
                    r["weather"],
                    documents.index(r["assumptions"]) + 1 if r["assumptions"] else None,
                    _score(r["avg_mape"]),
                    _kwh(r["avg_rmse"]),
                    _kwh(r["avg_mae"]),
                    _score(100 * r["coverage_90"]),
                    f"{r['prediction_count']:,}",
                    r["city_count"],
                )
                for r in rows
            ],
        )
        for number, label in enumerate(different_labels(documents), start=1):
            out.print(f"Assumptions {number}: {label}.")


def _draw(kind: AnswerKind, city: StoredCity, rows: list[dict[str, Any]], path: Path) -> None:
    from energy_forecast.charts.answers import answer_page

    write_chart(path, answer_page(kind, rows, city=city.name, timezone=city.timezone))
    echo(f"Drawn: {path}")


def _kwh(value: Any) -> str | None:
    return None if value is None else f"{value:,.2f}"


def _score(value: Any) -> str | None:
    return None if value is None else f"{value:.2f}"


def _amounts(row: dict[str, Any]) -> tuple[str | None, str | None]:
    return _kwh(row["total_consumption"]), _kwh(row["peak_demand"])


def _known_of_hour(row: dict[str, Any]) -> str:
    minutes = row["minutes_known"]
    if minutes > 60:
        return f"intervals overlap: {minutes} of 60 min"
    return {60: "whole", 0: "nothing"}.get(minutes, f"part: {minutes} of 60 min")


def _known_of_day(row: dict[str, Any]) -> str:
    if row["is_complete"]:
        return "whole"
    known = row["hours_known"]
    return f"part: {known.normalize():f} h" if known else "nothing"


def _print_correlation(facts: dict[str, Any]) -> None:
    if facts["coefficient"] is not None:
        out.print(
            f"Pearson's coefficient of {facts['hours']:,} hours: {facts['coefficient']:.2f}. "
            "It measures linear dependence only: heating and cooling may cancel out."
        )
    for key, why in (("part_hours", "are not complete"), ("hours_without_weather", "have no weather")):
        if facts[key]:
            echo(f"{facts[key]:,} hours are left out: they {why}.")


def _print_no_data(city: StoredCity, last: datetime | None) -> None:
    if last is None:
        echo(f"{city.name} has no consumption data. To load some: energy-forecast ingest consumption --help")
    else:
        after = (last + timedelta(hours=1)).astimezone(UTC)
        echo(f"Nothing to show; the last known interval starts at {minute(last)}. See: --until {after:%Y-%m-%dT%H:%MZ}")
