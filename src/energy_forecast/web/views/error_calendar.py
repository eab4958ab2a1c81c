"""The error calendar: the error of the forecast of each hour, by local day and hour."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from energy_forecast.charts.clock import day_text
from energy_forecast.charts.error_calendar import ErrorCalendar, Measure, calendar_card, days_card, weekday_card
from energy_forecast.database.connection import Connection
from energy_forecast.errors import EnergyForecastError
from energy_forecast.pipelines.as_of import forecasting_city
from energy_forecast.pipelines.labels import PURPOSE_LABELS
from energy_forecast.readings.errors import Issue, errors
from energy_forecast.readings.forecasts import Purpose
from energy_forecast.readings.runs import models
from energy_forecast.readings.spans import day_span
from energy_forecast.tables import Table
from energy_forecast.web.content import Content, Control, as_of_control, model_control, window_control
from energy_forecast.web.state import State
from energy_forecast.web.views.choices import based_on, empty_card, purpose_control, read_purpose
from energy_forecast.web.views.windows import window_of

_WINDOWS = (14, 35, 63, 91)
# A cell for each hour
_LONGEST = 366
_MEASURES: dict[Measure, str] = {"signed": "with its sign", "absolute": "absolute"}
_ISSUES: dict[Issue, str] = {"day-ahead": "issued before the day", "newest": "the newest"}


def error_calendar(connection: Connection, state: State) -> Content:
    """Return the view."""
    place, days = state.place, state.days(35)
    measure = next(one for one in _MEASURES if one == state.text("measure", "signed", list(_MEASURES)))
    issue = next(one for one in _ISSUES if one == state.text("issue", "day-ahead", list(_ISSUES)))
    if days > _LONGEST:
        raise EnergyForecastError(f"`window` is {days} days.", hint=f"The calendar shows 1 to {_LONGEST} days.")
    first, end = window_of(state, days)

    def read(purpose: Purpose) -> Table:
        return errors(
            connection,
            place.name,
            model=state.model,
            purpose=purpose,
            issue=issue,
            start=first,
            end=end,
            as_of=state.as_of,
        )

    purpose, table = read_purpose(state, read, lambda found: found.frame["error_percent"].count())
    controls = [
        model_control(state, models(connection).frame["model"].to_list()),
        purpose_control(purpose),
        Control("issue", "Forecast of each hour", issue, list(_ISSUES.items())),
        Control("measure", "Error", measure, list(_MEASURES.items())),
        window_control(days, _WINDOWS),
        as_of_control(state),
    ]
    title = f"Error calendar of {place.name}"
    if table.frame["error_percent"].is_null().all():
        sentence = f"No {PURPOSE_LABELS[purpose]} of the last {days} days have observed load yet."
        empty = empty_card(state, "/errors", purpose, window=days, measure=measure, issue=issue)
        return Content(title, sentence, [empty], controls)
    calendar = ErrorCalendar(forecasting_city(place), table.frame, first, end)

    def day_url(day: date) -> str:
        _, over = day_span(day, place.timezone)
        return state.url("/forecast", as_of=min(over, state.now), window=2, model=table.facts["model"])

    def hour_url(moment: datetime) -> str:
        return state.url("/evolution", timestamp=moment)

    data = state.data(
        "/v1/cities/{city}/errors",
        **{"model": table.facts["model"], "purpose": purpose, "issue": issue},
        **{"from": first, "to": end, "as_of": state.as_of},
    )
    cards = [
        calendar_card(
            calendar,
            measure,
            title="Error by day and local hour",
            sentence=_explained(issue, measure),
            data=data,
            notes=_remarks(table),
            day_url=day_url,
        ),
        days_card(calendar, day_url=day_url, hour_url=hour_url),
        weekday_card(calendar, measure, data),
    ]
    return Content(title, f"{based_on(purpose)} {_sentence(calendar, table)}", cards, controls)


def _sentence(calendar: ErrorCalendar, table: Table) -> str:
    """Return the mean error, the bias, and the worst day."""
    frame = table.frame.drop_nulls("error_percent")
    mape = float(frame["error_percent"].abs().mean())  # type: ignore[arg-type]
    energy = 100 * float(frame["error_kwh"].sum()) / float(frame["actual"].sum())
    side = "high" if energy > 0 else "low"
    hours = calendar.hours.drop_nulls("error_percent")
    by_day = hours.group_by("day").agg(pl.col("error_percent").abs().mean().alias("size")).sort("size", "day")
    day, size = by_day["day"][-1], by_day["size"][-1]
    return (
        f"{table.facts['model']}: mean error {mape:.1f} % in {frame.height:,} hours; its energy is {abs(energy):.1f} % "
        f"too {side}. Worst day: {day_text(day)}, {size:.1f} %."
    )


def _explained(issue: Issue, measure: Measure) -> str:
    which = "newest forecast that was issued before the local day began" if issue == "day-ahead" else "newest forecast"
    sign = "Orange: too high, blue: too low." if measure == "signed" else "Stronger colour: larger."
    return (
        f"For each hour, the error of the {which}, in percent of the load. {sign} A click on an hour opens the "
        "forecast of its day."
    )


def _remarks(table: Table) -> list[str]:
    kinds = table.frame.group_by("weather").len().sort("len", descending=True).rows()
    notes = [f"Counted: {PURPOSE_LABELS[table.facts['purpose']]} by {table.facts['model']}."]
    if len(kinds) > 1:
        counts = ", ".join(f"{count:,} hours of forecasts with weather '{kind}'" for kind, count in kinds)
        notes.append(f"Each hour has the weather of its own forecast: {counts}.")
    return notes
