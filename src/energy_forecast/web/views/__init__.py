"""The views, one module each, and their order in the navigation."""

from __future__ import annotations

from energy_forecast.web.content import View
from energy_forecast.web.views.calibration import calibration
from energy_forecast.web.views.champions import champions
from energy_forecast.web.views.data import data
from energy_forecast.web.views.error_calendar import error_calendar
from energy_forecast.web.views.evolution import evolution
from energy_forecast.web.views.forecast import forecast
from energy_forecast.web.views.now import now
from energy_forecast.web.views.peaks import peaks
from energy_forecast.web.views.replay import replay
from energy_forecast.web.views.runs import runs
from energy_forecast.web.views.skill import skill
from energy_forecast.web.views.why import why

VIEWS = (
    View("/", "Now", now, of_city=False),
    View("/forecast", "Forecast", forecast),
    View("/peaks", "Peaks", peaks),
    View("/replay", "Replay", replay),
    View("/evolution", "Evolution", evolution),
    View("/why", "Why?", why),
    View("/skill", "Skill", skill),
    View("/calibration", "Calibration", calibration),
    View("/errors", "Errors", error_calendar),
    View("/champions", "Champions", champions),
    View("/data", "Data", data),
    View("/runs", "Runs", runs, of_city=False),
)
