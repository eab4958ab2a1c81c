"""Why: the inputs behind a forecast, and whether the weather forecast caused the error of a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from energy_forecast.charts.cards import Card, Link
from energy_forecast.charts.clock import day_text
from energy_forecast.database.connection import Connection
from energy_forecast.errors import ArtifactError, EnergyForecastError, NotEnoughDataError
from energy_forecast.readings.forecasts import live_forecast
from energy_forecast.readings.runs import models
from energy_forecast.readings.spans import day_span
from energy_forecast.web.content import Content, Control, as_of_control, model_control
from energy_forecast.web.explanations import Explanations
from energy_forecast.web.state import State

if TYPE_CHECKING:
    from energy_forecast.pipelines import ForecastExplanation
    from energy_forecast.pipelines.weather_share import ExplainedError

_computed = Explanations()
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class _Part:
    """A part of the page: a sentence that answers, and its cards."""

    sentence: str
    cards: Sequence[Card] = ()
    notes: Sequence[str] = ()


def why(connection: Connection, state: State) -> Content:
    """Return the view. Without a day: the error of yesterday, and the present forecast."""
    place, today = state.place, state.clock.local(state.now).date()
    day = state.day("day")
    if day is None:
        miss = _tried(lambda: _miss(connection, state, today - _DAY))
        present = _tried(lambda: _explained(connection, state, None))
        parts = [miss, present]
    else:
        parts = [_tried(lambda: _explained(connection, state, day))]
    shown = day or today - _DAY
    links = [Link(f"{day_text(one)}", state.url("/why", day=one)) for one in (shown - _DAY, shown, shown + _DAY)]
    links.append(Link("Yesterday and the present forecast", state.url("/why")))
    controls = [
        Control("day", "Day", "" if day is None else f"{day}", kind="date"),
        model_control(state, models(connection).frame["model"].to_list()),
        as_of_control(state),
    ]
    cards = [card for part in parts for card in part.cards]
    cards.append(Card("Other days", "The error of a past day, or the forecast of a coming one.", links=links))
    notes = [note for part in parts for note in part.notes]
    sentence = " ".join(part.sentence for part in parts)
    return Content(f"Why? Forecast and error of {place.name}", sentence, cards, controls, notes)


def _tried(build: Any) -> _Part:
    """Return a part, or why it is missing: the other part of the page is shown without it."""
    try:
        return build()  # type: ignore[no-any-return]
    except ArtifactError as error:
        return _Part(f"The model of the forecast cannot be read: {error}")
    except EnergyForecastError as error:
        return _Part(str(error))


def _miss(connection: Connection, state: State, day: date) -> _Part:
    """Return the error of a past day and its causes, which takes a small part of the time of an explanation."""
    from energy_forecast.charts.error_parts import error_card, error_sentence
    from energy_forecast.pipelines.explain_forecast import explain_error_of

    begin, end = day_span(day, state.place.timezone)
    run = _served(connection, state, begin)
    key = ("error", run["id"], state.place.id, _hour(state.now))
    error = _computed.get(key, lambda: explain_error_of(connection, state.place, run, state.now))
    of_day = None if error is None else _within(error, begin, end)
    if of_day is None or of_day.hours.is_empty():
        return _Part(f"{day_text(day)}: no load is known, so the error of its forecast is not known either.")
    sentence = error_sentence(of_day, day, _holiday(state, day))
    card = error_card(
        of_day,
        state.clock,
        title=f"Error of {day_text(day)} and its causes",
        data=_data(state, begin, run, day),
        links=[
            Link(f"Explain all inputs of {day_text(day)}", state.url("/why", day=day)),
            Link("Evolution of the largest error", state.url("/evolution", timestamp=_worst(of_day))),
        ],
    )
    known, hours = of_day.hours.height, round((end - begin) / timedelta(hours=1))
    notes = [] if known == hours else [f"The load of {known} of the {hours} hours of {day_text(day)} is known."]
    return _Part(sentence, [card], notes)


def _explained(connection: Connection, state: State, day: date | None) -> _Part:
    """Return the explanation of the last forecast issued before a day, or of the present one; of its error too."""
    from energy_forecast.charts.error_parts import error_sentence
    from energy_forecast.charts.explanation import explanation_cards, explanation_notes, forecast_sentence

    begin = state.now if day is None else min(state.now, day_span(day, state.place.timezone)[0])
    run = _served(connection, state, begin)
    found = _computed.get(
        ("forecast", run["id"], state.place.id, day, _hour(state.now)),
        lambda: _explain(connection, state, run, day),
    )
    of_day = None
    if found.error is not None and day is not None:
        of_day = _within(found.error, *day_span(day, state.place.timezone))
    sentence = forecast_sentence(found)
    if of_day is not None and not of_day.hours.is_empty() and day is not None:
        sentence = f"{error_sentence(of_day, day, found.explanation.holiday)} {sentence}"
    cards = explanation_cards(
        found, data=_data(state, begin, run, found.explanation.day), error=of_day, has_error=day is not None
    )
    return _Part(sentence, cards, explanation_notes(found))


def _explain(connection: Connection, state: State, run: dict[str, Any], day: date | None) -> ForecastExplanation:
    from energy_forecast.pipelines.explain_forecast import explain_within

    return explain_within(
        connection,
        state.place.name,
        model=run["model"],
        at=run["issued_at"],
        purposes=(run["purpose"],),
        day=day,
        known_at=state.now,
    )


def _served(connection: Connection, state: State, at: datetime) -> dict[str, Any]:
    """Return the run of the forecast that was in use at a time; without live ones, of the last one issued by then.

    Raises:
        NotEnoughDataError: there was none.
    """
    from energy_forecast.pipelines.explain_forecast import ISSUED_PURPOSES, issued_run

    name, model = state.place.name, state.model
    purposes: Sequence[str] = ISSUED_PURPOSES
    try:
        served = live_forecast(connection, name, as_of=at, model=model, purpose=state.purpose).facts
        at, model, purposes = served["issued_at"], served["model"], (state.purpose,)
    except NotEnoughDataError:
        # A replay may be older, and a live forecast too
        pass
    return issued_run(connection, name, model=model, at=at, purposes=purposes)[1]


def _within(error: ExplainedError, begin: datetime, end: datetime) -> ExplainedError:
    from energy_forecast.charts.error_parts import of_hours

    times = error.hours["timestamp"]
    return of_hours(error, times.filter((times >= begin) & (times < end)))


def _worst(error: ExplainedError) -> datetime:
    """Return the hour with the largest error."""
    found: datetime = error.hours["timestamp"][error.hours["error_kwh"].abs().arg_max() or 0]
    return found


def _holiday(state: State, day: date) -> str | None:
    from energy_forecast.forecasting.features.calendar import holiday_name
    from energy_forecast.pipelines.as_of import forecasting_city

    return holiday_name(forecasting_city(state.place), day)


def _data(state: State, at: datetime, run: dict[str, Any], day: date) -> str:
    return state.data("/v1/cities/{city}/explanation", as_of=at, model=run["model"], purpose=run["purpose"], day=day)


def _hour(moment: datetime) -> int:
    return int(moment.timestamp() // 3600)
