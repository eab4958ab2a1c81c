"""energy-forecast city."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from energy_forecast.cli.access import acting_database, reading_database
from energy_forecast.cli.console import counted, echo, emit, minute, out, require_complete, table
from energy_forecast.cli.options import AllowPartial, Json, delay
from energy_forecast.database import cities as stored_cities
from energy_forecast.errors import IngestError

app = typer.Typer(no_args_is_help=True, help="The cities whose consumption is forecast.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The city's name, for all commands.")],
    latitude: Annotated[float, typer.Option(help="Degrees north, -90 to 90.")],
    longitude: Annotated[float, typer.Option(help="Degrees east, -180 to 180.")],
    timezone: Annotated[str, typer.Option(help="IANA zone, such as Europe/Berlin.")],
    country: Annotated[
        str | None, typer.Option(help="ISO 3166-1 code, such as DE, or the country's name; for public holidays.")
    ] = None,
    subdivision: Annotated[
        str | None, typer.Option(help="ISO 3166-2 part, such as BY, or its name; for regional holidays.")
    ] = None,
    json: Json = False,
) -> None:
    """Add a city.

    Example: energy-forecast city add Munich --latitude 48.14 --longitude 11.58 --timezone Europe/Berlin --country DE
    """
    from energy_forecast.ingest import add_city, check_city

    checked = check_city(
        name=name,
        latitude=latitude,
        longitude=longitude,
        timezone=timezone,
        country_code=country,
        subdivision=subdivision,
    )
    added = add_city(acting_database(), checked)
    place = "-".join(checked[key] for key in ("country_code", "subdivision") if checked[key])
    if json:
        emit({"id": added, "added": added is not None, **checked})
    elif added is None:
        out.print(f"{checked['name']} is already stored with these values.")
    else:
        out.print(f"Added {checked['name']}{f' ({place})' if place else ''}.")


@app.command()
def edit(
    name: Annotated[str, typer.Argument(help="The city's name.")],
    load_delay: Annotated[
        str,
        typer.Option(
            metavar="SPAN|unknown",
            help="Time from the end of an interval until its load is known, such as 30h or 0h; for backtests.",
        ),
    ],
    json: Json = False,
) -> None:
    """Change the settings of a city.

    Example: energy-forecast city edit Munich --load-delay 30h
    """
    from energy_forecast.ingest import set_load_delay

    city = set_load_delay(acting_database(), name, None if load_delay == "unknown" else delay(load_delay))
    if json:
        emit(city)
    else:
        out.print(f"{city.name}: {_load_delay(city)}")


def _load_delay(city: stored_cities.StoredCity) -> str:
    if city.load_delay is None:
        return "the delay of the load is unknown"
    return f"load is known {city.load_delay / timedelta(hours=1):g} h after the end of its interval"


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, CSV.gz or Parquet.")],
    update: Annotated[
        bool,
        typer.Option("--update", help="Also move stored cities to another place, with all their data."),
    ] = False,
    allow_partial: AllowPartial = False,
    json: Json = False,
) -> None:
    """Add or correct cities from a file: name, latitude, longitude, timezone, country_code?, subdivision?

    A stored city is not moved to another time zone, country or place more than 25 km away without --update.

    Example: energy-forecast city import cities.csv
    """
    from energy_forecast.ingest import import_cities

    report = import_cities(acting_database(), file, update=update)
    if json:
        emit(report.as_dict())
    else:
        out.print(
            f"Read {counted(report.read, 'city', 'cities')}: {report.inserted} new, {report.updated} updated, "
            f"{report.unchanged} unchanged, {report.rejected} rejected."
        )
        for note in report.notes:
            echo(f"  Note: {note}")
        for reason in report.reasons:
            echo(f"  {reason}")
    if report.failure is not None:
        raise IngestError(report.failure)
    require_complete(
        f"{report.rejected} of {counted(report.read, 'city', 'cities')} were rejected." if report.rejected else None,
        allow_partial=allow_partial,
    )


@app.command("list")
def list_(json: Json = False) -> None:
    """List the cities.

    Example: energy-forecast city list
    """
    with reading_database().reading() as connection:
        cities = stored_cities.all_cities(connection)
    if json:
        emit(cities)
    elif not cities:
        out.print("No cities are stored. Add one: energy-forecast city add --help")
    else:
        table(
            ["city", "latitude", "longitude", "timezone", "country", "subdivision"],
            [(c.name, c.latitude, c.longitude, c.timezone, c.country_code, c.subdivision) for c in cities],
        )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The city's name.")],
    json: Json = False,
) -> None:
    """Show a city and its stored data.

    Example: energy-forecast city show Munich
    """
    with reading_database().reading() as connection:
        city = stored_cities.city_named(connection, name)
        facts = stored_cities.city_counts(connection, [city.name])[0]
    if json:
        emit({"city": city, "stored": facts})
        return
    out.print(city.name, style="bold")
    place = f"{city.latitude}, {city.longitude}; {city.timezone}; {city.country_code or 'no country'}"
    out.print(f"  {place}{f'-{city.subdivision}' if city.subdivision else ''}")
    out.print(f"  {_load_delay(city)}")
    for what in ("consumption", "weather"):
        if facts[f"{what}_rows"]:
            span = f"{minute(facts[f'{what}_first'])} to {minute(facts[f'{what}_last'])}"
            out.print(f"  {what:12} {facts[f'{what}_rows']:,} intervals, {span}")
        else:
            out.print(f"  {what:12} none")
    out.print(f"  corrections  {facts['corrections']:,}; weather forecasts {facts['weather_forecast_rows']:,}")
