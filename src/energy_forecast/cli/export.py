"""energy-forecast export."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from energy_forecast.cli.access import reading_database
from energy_forecast.cli.console import counted, emit, out, progress
from energy_forecast.cli.options import Cities, Json, output_option, time_option
from energy_forecast.cli.output_files import writing
from energy_forecast.operations.export import export

app = typer.Typer(no_args_is_help=True, help="Write stored data to files: CSV or Parquet, by the file's name.")

Output = Annotated[Path, output_option("Ends in .csv or .parquet.")]
AsOf = Annotated[datetime | None, time_option("The values known at TIME. Default: the current ones.", "--as-of")]
LiveAt = Annotated[
    datetime | None,
    time_option("The forecasts live at TIME: issued and recorded by then. Default: the current ones.", "--as-of"),
]
From = Annotated[datetime | None, time_option("Start of the first interval.", "--from")]
To = Annotated[datetime | None, time_option("Exclusive.", "--to")]


@app.command()
def consumption(
    output: Output, as_of: AsOf = None, city: Cities = None, first: From = None, end: To = None, json: Json = False
) -> None:
    """Write consumption: city, timestamp, consumption_kwh, peak_demand_kw, available_at, interval_minutes.

    `ingest consumption` can load the file again.

    Example: energy-forecast export consumption --city Berlin --output berlin.csv
    """
    _export("consumption", output, as_of, city, first, end, None, json)


@app.command()
def weather(
    output: Output, as_of: AsOf = None, city: Cities = None, first: From = None, end: To = None, json: Json = False
) -> None:
    """Write observed weather to a file.

    Columns: city, timestamp, temperature, humidity, wind_speed, precipitation, available_at, interval_minutes.
    `ingest weather` can load the file again.

    Example: energy-forecast export weather --as-of 2026-03-01T00:00Z --output weather.parquet
    """
    _export("weather", output, as_of, city, first, end, None, json)


@app.command()
def predictions(
    output: Output,
    as_of: LiveAt = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="One model. Default: all models.")
    ] = None,
    city: Cities = None,
    first: From = None,
    end: To = None,
    json: Json = False,
) -> None:
    """Write forecasts to a file.

    Columns: city, model, version, timestamp, predicted_consumption, confidence_lower, confidence_upper, issued_at,
    recorded_at.

    With --as-of, the forecasts that were live at that time: for every hour and model the latest one issued and recorded
    by then. Replays and backtests were made later and were never live.

    Example: energy-forecast export predictions --as-of 2026-03-01T06:00Z --output live.csv
    """
    from energy_forecast.pipelines.train import check_models

    check_models([] if model is None else [model])
    _export("predictions", output, as_of, city, first, end, model, json)


@app.command()
def entsoe(
    city: Annotated[str, typer.Option("--city", metavar="CITY", help="The city by name.")],
    day: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], metavar="DAY", help="A local day of the city, YYYY-MM-DD.")
    ],
    area: Annotated[str, typer.Option(metavar="EIC", help="Code of the area, whose load is that of the city.")],
    sender: Annotated[str, typer.Option(metavar="EIC", help="Code of the sending party.")],
    receiver: Annotated[str, typer.Option(metavar="EIC", help="Code of the receiving party.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="Ends in .xml.")],
    revision: Annotated[int, typer.Option(min=1, max=999, help="Higher for a later document of the same day.")] = 1,
    as_of: Annotated[datetime | None, time_option("The forecast in use at TIME. Default: now.", "--as-of")] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="The forecast of this model.")] = None,
) -> None:
    """Write the forecast of a city for a day as an ENTSO-E document: GL_MarketDocument, type A65, process A01, XML.

    The forecast in use must cover the whole local day, which has 23, 24 or 25 hours. Values are mean power in MW. The
    document follows the published description of its elements; it is not validated against the XML schema.

    Example: energy-forecast export entsoe --city Munich --day 2026-03-29 --area 10YDE-EON------1
    --sender 10XDE-EON-NETZ-C --receiver 10X1001A1001A450 --output munich.xml
    """
    from energy_forecast.readings.entsoe import gl_market_document

    if output.suffix != ".xml":
        raise typer.BadParameter(f"It must end in .xml, not {output.name!r}.", param_hint="--output")
    with reading_database().reading() as connection:
        document = gl_market_document(
            connection,
            city,
            day=day.date(),
            area=area,
            sender=sender,
            receiver=receiver,
            revision=revision,
            as_of=as_of,
            model=model,
        )
    with writing(output):
        output.write_bytes(document)
    out.print(f"Written: {output}")


def _export(
    kind: str,
    output: Path,
    as_of: datetime | None,
    cities: list[str] | None,
    first: datetime | None,
    end: datetime | None,
    model: str | None,
    json: bool,
) -> None:
    if first is not None and end is not None and end <= first:
        raise typer.BadParameter("--to must be later than --from.")
    database = reading_database()
    with progress() as report_progress:
        done = export(
            database,
            kind,
            output,
            cities=cities or (),
            as_of=as_of,
            first=first,
            end=end,
            model=model,
            progress=report_progress,
        )
    if json:
        emit(done)
    else:
        out.print(f"Wrote {counted(done.rows, 'row')} of {counted(done.cities, 'city', 'cities')} to {done.file}.")
