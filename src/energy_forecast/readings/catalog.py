"""All readings with their paths over HTTP. Platform, client, API, its description and the leak tests use this list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from energy_forecast.readings import (
    arrivals,
    errors,
    explanations,
    facts,
    forecasts,
    loads,
    overview,
    peak_risk,
    run_requests,
    runs,
    scores,
    updates,
    usual_load,
)
from energy_forecast.tables import Schema, Table


@dataclass(frozen=True)
class Reading:
    """One reading.

    Args:
        path: its path over HTTP. Names in braces are parameters of `read`.
        read: takes a connection, and the other parameters by name; PARAMETERS has their meaning. Its docstring
            describes the reading. It reads with the rights of the transaction's role.
        schema: the columns, with their types.
        tag: the group in the description.
        has_quantiles: whether columns of quantiles such as q05 follow.
        state: takes the same, and returns a text that differs if the rows differ, from a much cheaper query. None: the
            version of an answer is computed from its rows.
        state_of: returns the same text from the table.
        is_immutable: whether the same parameters always give the same rows.
    """

    path: str
    read: Callable[..., Table]
    schema: Schema
    tag: str
    has_quantiles: bool = False
    state: Callable[..., str] | None = None
    state_of: Callable[[Table], str] = lambda table: str(table.facts["run_id"])
    is_immutable: bool = False

    @property
    def name(self) -> str:
        """The name, which is the method of Platform and Client, and the operation of the API."""
        return self.read.__name__


_CITY = "/v1/cities/{city}"

READINGS: dict[str, Reading] = {
    one.name: one
    for one in (
        Reading("/v1/cities", facts.cities, facts.CITIES, "data"),
        Reading(f"{_CITY}/consumption", facts.consumption, facts.CONSUMPTION, "data"),
        Reading(f"{_CITY}/consumption/revisions", facts.revisions, facts.REVISIONS, "data"),
        Reading(f"{_CITY}/weather", facts.weather, facts.WEATHER, "data"),
        Reading(f"{_CITY}/weather/forecast", facts.weather_forecast, facts.WEATHER_FORECAST, "data"),
        Reading(f"{_CITY}/usual-load", usual_load.usual_load, usual_load.USUAL, "data"),
        Reading(f"{_CITY}/history", facts.history, facts.HISTORY, "data"),
        Reading(
            f"{_CITY}/forecast",
            forecasts.live_forecast,
            forecasts.FORECAST,
            "forecasts",
            has_quantiles=True,
            state=forecasts.live_forecast_state,
        ),
        Reading(f"{_CITY}/forecasts", forecasts.forecasts, forecasts.FORECASTS, "forecasts"),
        Reading(
            f"{_CITY}/forecasts/{{run}}",
            forecasts.issued_forecast,
            forecasts.FORECAST,
            "forecasts",
            has_quantiles=True,
            is_immutable=True,
        ),
        Reading(f"{_CITY}/vintages", forecasts.vintages, forecasts.VINTAGES, "forecasts", has_quantiles=True),
        Reading(f"{_CITY}/evolution", forecasts.evolution, forecasts.EVOLUTION, "forecasts", has_quantiles=True),
        Reading(f"{_CITY}/peaks", forecasts.peaks, forecasts.PEAKS, "forecasts", has_quantiles=True),
        Reading(f"{_CITY}/peaks/risk", peak_risk.peak_risk, peak_risk.RISK, "forecasts"),
        Reading(f"{_CITY}/peaks/hours", peak_risk.peak_hours, peak_risk.HOURS, "forecasts"),
        Reading("/v1/forecasts/snapshot", forecasts.snapshot, forecasts.MATRIX, "forecasts", has_quantiles=True),
        Reading("/v1/forecasts", forecasts.matrix, forecasts.MATRIX, "forecasts", has_quantiles=True),
        Reading("/v1/overview", overview.overview, overview.OVERVIEW, "forecasts"),
        Reading("/v1/run-requests", run_requests.own_requests, run_requests.REQUESTS, "runs"),
        Reading("/v1/run-requests/{request}", run_requests.run_request, run_requests.REQUEST, "runs"),
        Reading("/v1/scores", scores.scores, scores.SCORES, "scores"),
        Reading("/v1/scores/{score}/pairs", scores.pairs, scores.PAIRS, "scores", has_quantiles=True),
        Reading(f"{_CITY}/certificate", scores.certificate, scores.CERTIFICATE, "scores"),
        Reading(f"{_CITY}/reliability", errors.reliability, errors.RELIABILITY, "scores"),
        Reading(f"{_CITY}/errors", errors.errors, errors.ERRORS, "scores", has_quantiles=True),
        Reading(f"{_CITY}/errors/by-lead", errors.errors_by_lead, errors.BY_LEAD, "scores"),
        Reading(f"{_CITY}/explanation", explanations.explanation, explanations.EXPLANATION, "forecasts"),
        Reading("/v1/champions", scores.champions, scores.CHAMPIONS, "models"),
        Reading("/v1/champions/history", scores.promotions, scores.PROMOTIONS, "models"),
        Reading("/v1/models", runs.models, runs.MODELS, "models"),
        Reading("/v1/models/performance", scores.model_performance, scores.PERFORMANCE, "models"),
        Reading("/v1/runs", runs.runs, runs.RUNS, "runs"),
        Reading("/v1/run-outcomes", runs.run_outcomes, runs.OUTCOMES, "runs"),
        Reading("/v1/runs/{run}", runs.run, runs.RUN, "runs"),
        Reading(f"{_CITY}/quality", loads.quality, loads.QUALITY, "data"),
        Reading(f"{_CITY}/arrivals", arrivals.arrivals, arrivals.ARRIVALS, "data"),
        Reading(f"{_CITY}/rejections", arrivals.rejections, arrivals.REJECTIONS, "batches"),
        Reading("/v1/sources", arrivals.sources, arrivals.SOURCES, "data"),
        Reading(f"{_CITY}/weather-correlation", loads.weather_correlation, loads.WEATHER_CORRELATION, "data"),
        Reading("/v1/updates", updates.updates, updates.UPDATES, "updates"),
        Reading("/v1/batches", loads.batches, loads.BATCHES, "batches"),
        Reading("/v1/batches/{batch}", loads.batch, loads.BATCH, "batches"),
        Reading("/v1/batches/{batch}/rejected", loads.rejected_rows, loads.REJECTED, "batches"),
    )
}
