"""Parameters of readings: a name has the same meaning, type and form in every reading."""

from __future__ import annotations

from dataclasses import dataclass

from energy_forecast.errors import EnergyForecastError


@dataclass(frozen=True)
class Parameter:
    """A parameter.

    Args:
        description: one or two sentences.
        example: a value, as text of a URL.
        http: its name over HTTP, if it differs.
        at_least, at_most: bounds of a number.
    """

    description: str
    example: str
    http: str | None = None
    at_least: int | None = None
    at_most: int | None = None


PARAMETERS: dict[str, Parameter] = {
    "city": Parameter("Name of the city.", "Munich"),
    "start": Parameter("Intervals that start at this time or later; with an offset.", "2026-03-01T00:00Z", "from"),
    "end": Parameter("Intervals that start before this time; with an offset.", "2026-03-02T00:00Z", "to"),
    "day": Parameter("Intervals of this local day of the city, instead of `from` and `to`.", "2026-03-01"),
    "as_of": Parameter("Only values known at this time; with an offset. Default: now.", "2026-03-01T12:00Z"),
    "resolution": Parameter("`interval` as stored, `hour`, or `day` of the city's local time.", "interval"),
    "model": Parameter("Name of the model. Default: as the description says.", "ensemble"),
    "models": Parameter("Names of models with commas. Default: all.", "ensemble,naive-168"),
    "conditions": Parameter("Id of the assumptions of backtests, as `errors_by_lead` gives it.", "44136fa355b3"),
    "issue": Parameter("Of the forecasts of an hour: `day-ahead`, `newest` or `all`.", "day-ahead"),
    "lead_start": Parameter("Shortest lead time, hours.", "0", "lead_from", at_least=0, at_most=167),
    "lead_end": Parameter("Longest lead time, hours, exclusive.", "24", "lead_to", at_least=1, at_most=169),
    "levels": Parameter("Quantile levels with commas. Default: all that are stored.", "0.05,0.5,0.95"),
    "run": Parameter("Id of a run.", "0d0b7a4e-3c1f-4d52-9a57-3a1f5c1f2b3c"),
    "cities": Parameter("Names of cities with commas. Default: all.", "Munich,Ulm", "city"),
    "score": Parameter("Id of a score.", "0d0b7a4e-3c1f-4d52-9a57-3a1f5c1f2b3c"),
    "batch": Parameter("Id of a batch.", "0d0b7a4e-3c1f-4d52-9a57-3a1f5c1f2b3c"),
    "weather": Parameter("Only forecasts with this weather of the target hours. Default: any.", "forecast"),
    "days": Parameter("Number of days of 24 hours before `as_of`.", "30", at_least=1, at_most=3660),
    "bin_width": Parameter("Width of the ranges of temperature, 0.01 to 50 degrees Celsius.", "1"),
    "thresholds": Parameter("Levels in kWh with commas. Default: about eight round numbers.", "5000,6000"),
    "timestamp": Parameter("A time in the interval; with an offset.", "2026-03-01T18:00Z"),
    "purpose": Parameter("Only runs of this purpose. Default: as the description says.", "live"),
    "limit": Parameter("Most rows of the answer.", "100", at_least=1, at_most=1000),
    "request": Parameter("Id of a requested run.", "6f9619ff-8b86-4d01-b42d-00c04fc964ff"),
    "cursor": Parameter("Rows after this position, which is `next` of the answer before.", "WyIyMDI2LTAzLTAxIl0"),
}


def check_bounds(name: str, value: object) -> None:
    """Raise if a number is out of the bounds of its parameter.

    Raises:
        EnergyForecastError: it is too small or too large.
    """
    one = PARAMETERS[name]
    bounds = one.at_least, one.at_most
    if (
        isinstance(value, int)
        and bounds[0] is not None
        and bounds[1] is not None
        and not bounds[0] <= value <= bounds[1]
    ):
        raise EnergyForecastError(f"`{name}` is {value}.", hint=f"Give {bounds[0]} to {bounds[1]}.")


def http_name(name: str) -> str:
    """Return the name of a parameter over HTTP."""
    return PARAMETERS[name].http or name
