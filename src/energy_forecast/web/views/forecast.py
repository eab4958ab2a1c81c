"""The forecast of a city: observed load, the forecast in use, the one of a day ago, the usual range, temperature."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from energy_forecast.charts.cards import Fact, Link
from energy_forecast.charts.clock import age_text
from energy_forecast.charts.forecast import CityPicture, Drawing, forecast_card
from energy_forecast.database.connection import Connection
from energy_forecast.errors import NotEnoughDataError
from energy_forecast.readings.facts import consumption, weather, weather_forecast
from energy_forecast.readings.forecasts import live_forecast
from energy_forecast.readings.runs import models
from energy_forecast.readings.usual_load import usual_load
from energy_forecast.tables import Table
from energy_forecast.web.content import Content, as_of_control, model_control, window_control
from energy_forecast.web.state import State

_WINDOWS = (1, 2, 3, 7, 14, 28)


def forecast(connection: Connection, state: State) -> Content:
    """Return the view."""
    place, now = state.place, state.now
    days = state.days(2)
    first = now - timedelta(days=days)
    controls = [
        model_control(state, models(connection).frame["model"].to_list()),
        window_control(days, _WINDOWS),
        as_of_control(state),
    ]
    observed = consumption(connection, place.name, start=first, end=now, as_of=state.as_of, resolution="hour").frame
    observed = observed.filter(pl.col("minutes_known") == pl.col("interval_minutes"))
    try:
        served = live_forecast(connection, place.name, as_of=state.as_of, model=state.model, purpose=state.purpose)
    except NotEnoughDataError as error:
        return Content(f"Forecast of {place.name}", str(error), [], controls, refresh=60)
    earlier = _earlier(connection, state)
    end = served.frame["interval_end"][-1]
    usual = usual_load(connection, place.name, start=first, end=end, as_of=state.as_of)
    picture = CityPicture(
        name=place.name,
        timezone=place.timezone,
        history=observed.select("timestamp", "consumption_kwh"),
        forecast=served.frame,
        issued_at=served.facts["issued_at"],
        model=f"{served.facts['model']} {served.facts['version']}",
        weather=_temperature(connection, state, first, end),
        past=None if earlier is None else earlier.frame.filter(pl.col("timestamp") < served.frame["timestamp"][0]),
        past_name="forecast of a day ago",
        usual=usual.frame.select("timestamp", pl.col("usual_low").alias("low"), pl.col("usual_high").alias("high")),
        span=timedelta(days=days),
        now=now,
    )
    drawing = Drawing(picture)
    card = forecast_card(
        drawing,
        title="Load, forecast and temperature",
        sentence=_chart_sentence(picture, days),
        data=state.data(
            "/v1/cities/{city}/forecast", as_of=state.as_of, model=state.model, purpose=state.other_purpose
        ),
        facts=_past_facts(observed, earlier, state),
        notes=[*dict.fromkeys(served.facts["notes"]), usual.facts["description"]],
        links=[
            Link("Replay", state.url("/replay")),
            Link("Peaks", state.url("/peaks")),
            Link("Why this forecast?", state.url("/why")),
        ],
        urls=[state.url("/evolution", timestamp=moment) for moment in served.frame["timestamp"]],
    )
    return Content(f"Forecast of {place.name}", _sentence(observed, earlier, drawing), [card], controls, refresh=60)


def _sentence(observed: pl.DataFrame, earlier: Table | None, drawing: Drawing) -> str:
    """Return where the load is, and where it goes."""
    if observed.is_empty():
        return drawing.sentence()
    last = observed.row(-1, named=True)
    text = f"Load {drawing.unit.text(last['consumption_kwh'])} {drawing.unit.name} in the hour from "
    text += drawing.clock.text(last["timestamp"])
    if earlier is not None and last["consumption_kwh"]:
        then = earlier.frame.filter(pl.col("timestamp") == last["timestamp"])
        if then.height:
            share = 100 * (last["consumption_kwh"] / then["predicted"][0] - 1)
            text += f", {abs(share):.1f} % {'above' if share >= 0 else 'below'} the forecast of a day ago"
    following = drawing.sentence().removeprefix(f"{drawing.city.name}: ")
    return f"{text}. {following[0].upper()}{following[1:]}"


def _chart_sentence(picture: CityPicture, days: int) -> str:
    """Return what the chart shows."""
    shown = "the last day" if days == 1 else f"the last {days} days"
    earlier = "" if picture.past is None else ", the forecast of a day ago"
    return (
        f"Observed load of {shown}, the forecast in use with its 50, 80 and 90 % intervals{earlier}, the usual range "
        "of the season, and below the temperature: observed, and forecast after the last observation."
    )


def _earlier(connection: Connection, state: State) -> Table | None:
    """Return the forecast that was in use a day before; None without one."""
    try:
        return live_forecast(
            connection,
            state.place.name,
            as_of=state.now - timedelta(days=1),
            model=state.model,
            purpose=state.purpose,
            levels=[0.05, 0.95],
        )
    except NotEnoughDataError:
        return None


def _temperature(connection: Connection, state: State, first: object, end: object) -> pl.DataFrame:
    """Return the observed temperature, and the forecast one after it."""
    name = state.place.name
    seen = weather(connection, name, start=first, end=state.now, as_of=state.as_of).frame  # type: ignore[arg-type]
    minutes = seen["timestamp"].dt.minute()
    # One value an hour, also if the hours of the city do not begin at a full hour of UTC
    kept = 0 if minutes.is_empty() or (minutes == 0).any() else minutes.min()
    seen = seen.select("timestamp", "temperature").filter(minutes == kept)
    ahead = weather_forecast(connection, name, start=first, end=end, as_of=state.as_of).frame  # type: ignore[arg-type]
    hour = pl.col("timestamp").dt.truncate("1h")
    ahead = ahead.select("timestamp", "temperature").join(seen.drop_nulls(), on=hour, how="anti")
    return pl.concat([seen, ahead]).sort("timestamp").unique("timestamp", keep="first", maintain_order=True)


def _past_facts(observed: pl.DataFrame, earlier: Table | None, state: State) -> list[Fact]:
    """Return how well the forecast of a day ago has done, and the age of the load."""
    facts = []
    if earlier is not None:
        both = earlier.frame.join(observed.select("timestamp", "consumption_kwh"), on="timestamp").drop_nulls()
        if both.height:
            actual, predicted = both["consumption_kwh"], both["predicted"]
            mape = float((((predicted - actual) / actual).abs().filter(actual > 0)).mean() or 0) * 100  # type: ignore[arg-type]
            inside = both.filter(pl.col("consumption_kwh").is_between("q05", "q95")).height
            facts.append(
                Fact(
                    "Forecast of a day ago",
                    f"MAPE {mape:.1f} %",
                    f"{inside} of {both.height} hours inside its 90 % interval",
                )
            )
    if observed.height:
        end = observed["interval_end"][-1]
        level = "warning" if state.now - end > timedelta(hours=6) else None
        facts.append(Fact("Load known until", state.clock.short(end), f"{age_text(state.now - end)} ago", level))
    else:
        facts.append(Fact("Load", "none in the window", "Choose a longer window.", "warning"))
    return facts
