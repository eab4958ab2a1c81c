"""The ensemble. Test the members on held-out data, fit combination and intervals, and train the members again."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_forecast.errors import EnergyForecastError, one_line
from energy_forecast.forecasting.conformal.quantiles import fit_quantiles
from energy_forecast.forecasting.ensemble.base_models import DEFAULT_MEMBERS, Member, Members, member_trainer
from energy_forecast.forecasting.ensemble.combiner import (
    ORIGIN_HOURS,
    WINDOW_HOURS,
    FittedCombiner,
    aggregated_members,
)
from energy_forecast.forecasting.ensemble.error_scale import (
    ErrorProfile,
    expected_abs_error,
    profile_at,
    recent_scale,
    spread_factor,
)
from energy_forecast.forecasting.ensemble.later_days import later_buckets, later_samples
from energy_forecast.forecasting.ensemble.online_weights import WINDOW_DAYS, aggregate_online
from energy_forecast.forecasting.ensemble.residual_correction import (
    fit_residual_correction,
    recent_residuals,
    residual_features,
)
from energy_forecast.forecasting.ensemble.unusual_days import UnusualDays
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.models.naive import Naive
from energy_forecast.forecasting.models.training_set import holdout_cuts
from energy_forecast.forecasting.models.weather_fallback import (
    WeatherFallbackForecaster,
    fit_with_fallback,
    read_forecaster,
)
from energy_forecast.forecasting.types import Floats, Forecaster, Ints, TrainingInput
from energy_forecast.time_arguments import LONGEST_HORIZON_HOURS

_YEAR = 24 * 365
_LONG_LEADS_EVERY = 3
# A year has few spells of weather: without this limit of independent days the 90 and 80 % intervals were 1 to 2 points
# too narrow beyond the first day (docs/decisions/appendix-models.md)
_MOST_DAYS = 20.0
# The members predict the days of the window with lags of up to nine weeks, which are checked for faults against the
# 4 weeks before
HISTORY_DAYS = WINDOW_DAYS + 64 + 28


@dataclass(frozen=True)
class _HeldOut:
    """Held-out predictions of one origin hour: J consecutive days from `first`, and leads to a week on every third.

    shares: [members, J, 24]; later: [members, K, 144] of the days `later_days`.
    actual [J, 24] and later_actual [K, 144]: as shares of the level at their origin.
    level: [J] kWh.
    """

    first: int
    shares: Floats
    actual: Floats
    level: Floats
    later_days: Ints
    later: Floats
    later_actual: Floats


class Ensemble(Forecaster):
    """A Forecaster that combines base models by their recent errors. It is the default model.

    Args:
        members: the base models, at least one.
        name: the name of the model, also in its artifacts.

    Raises:
        EnergyForecastError: there is no member, or one has another type.
    """

    kind = "ensemble"
    needed_hours = 18 * 24

    def __init__(self, members: Sequence[Member] = DEFAULT_MEMBERS, *, name: str = "ensemble") -> None:
        if not isinstance(members, Sequence) or not members or not all(isinstance(one, Member) for one in members):
            raise EnergyForecastError(
                f"`members` is not a list of base models: {one_line(reprlib.repr(members))}.",
                hint="Use such as [*DEFAULT_MEMBERS, TaoVanilla()].",
            )
        self.members = tuple(members)
        self.name = name

    def fit(self, data: TrainingInput) -> WeatherFallbackForecaster:
        """Fit all base models and their combination; see Forecaster.fit."""
        tested: list[Members] = []

        def fit_variant(view: HistoryView, weather: bool) -> tuple[FittedCombiner, dict[str, Any]]:
            # With weather, first for observed and then for forecast weather
            before = tuple(tested) if view.weather_errors is not None else ()
            combiner, own, facts = fit_combiner(
                self.members, view, weather=weather, seed=data.seed, tested_before=before
            )
            if weather:
                tested[:] = own
            return combiner, facts

        return fit_with_fallback(
            self.name,
            data,
            fit_variant,
            needed_hours=self.needed_hours,
            uses_weather=True,
            history_days=HISTORY_DAYS,
        )

    def from_bytes(self, data: bytes) -> WeatherFallbackForecaster:
        """Return the fitted model of an artifact; see Forecaster.from_bytes."""
        return read_forecaster(self.name, data)


def fit_combiner(
    members: Sequence[Member],
    view: HistoryView,
    *,
    weather: bool,
    seed: int,
    tested_before: Sequence[Members] = (),
) -> tuple[FittedCombiner, list[Members], dict[str, Any]]:
    """Fit the combiner with or without weather.

    Args:
        tested_before: the members that another combiner with weather tested. Their networks are trained further, which
            is a third of the work and no worse.

    Returns:
        The combiner, the members that were tested, and settings and held-out scores as plain JSON.
    """
    fit_until = member_trainer(members, view, weather=weather, seed=seed)
    cuts = _cuts(view, weather=weather)
    before: Sequence[Members | None] = tested_before or [None] * len(cuts)
    tested = [fit_until(cut, start) for cut, start in zip(cuts, before, strict=True)]
    held_out = [_held_out(view, cuts, tested, origin_hour) for origin_hour in ORIGIN_HOURS]
    only, facts = _served(tested[-1], held_out)
    later_tail = _later_tail(view, cuts, tested)
    combiner = _calibrated(view, fit_until(view.history.known_until, tested[-1]), held_out, later_tail, only)
    facts |= {"calibration_errors": combiner.errors, "held_out_from": cuts[0] - view.history.first}
    return combiner, tested, combiner.members.settings | facts


def _cuts(view: HistoryView, *, weather: bool) -> list[int]:
    """Return the hours up to which members are trained before they are tested on the part up to the next one."""
    return holdout_cuts(view.both_known(weather), 5 * _YEAR // 2, _YEAR, view.history.known_until)[:-1]


def _held_out(view: HistoryView, cuts: list[int], tested: list[Members], origin_hour: int) -> _HeldOut:
    start, end = view.history.start, view.history.known_until
    first = cuts[0] + (origin_hour - int(view.calendar.hour[cuts[0] - start])) % 24
    origins = np.arange(first, max(end, first + 24), 24, dtype=np.int64)
    later_days = np.arange(0, len(origins), _LONG_LEADS_EVERY, dtype=np.int64)
    near, far = np.arange(24, dtype=np.int64), np.arange(24, LONGEST_HORIZON_HOURS, dtype=np.int64)
    count = len(tested[0].names)
    shares = np.full((count, len(origins), len(near)), np.nan)
    later = np.full((count, len(later_days), len(far)), np.nan)
    part = np.searchsorted(np.array(cuts), origins, side="right") - 1
    for i, members in enumerate(tested):
        own, own_later = np.flatnonzero(part == i), np.flatnonzero(part[later_days] == i)
        if not len(own):
            continue
        blocks = [(origins[own], near), (origins[later_days][own_later], far)]
        samples = Samples(
            view,
            np.concatenate([np.repeat(o, len(leads)) for o, leads in blocks]),
            np.concatenate([(o[:, None] + leads).ravel() for o, leads in blocks]),
        )
        predicted = members.predict(samples)
        n = len(own) * len(near)
        shares[:, own] = predicted[:, :n].reshape(count, len(own), len(near))
        later[:, own_later] = predicted[:, n:].reshape(count, len(own_later), len(far))
    level = Samples(view, origins, origins).level
    load = view.history.load

    def actual(days: Ints, leads: Ints) -> Floats:
        return np.asarray(load[(origins[days][:, None] + leads) - start] / level[days][:, None], float)

    every_day = np.arange(len(origins), dtype=np.int64)
    return _HeldOut(first, shares, actual(every_day, near), level, later_days, later, actual(later_days, far))


def _served(tested: Members, held_out: list[_HeldOut]) -> tuple[int | None, dict[str, Any]]:
    """Return the naive model to serve alone, if one was better than the combination, and all scores as plain JSON."""
    shares = [aggregate_online(part.shares, part.actual).combined for part in held_out]
    kwh = [np.repeat(part.level, 24).reshape(-1, 24) for part in held_out]
    actual = np.concatenate([(p.actual * k).ravel() for p, k in zip(held_out, kwh, strict=True)])
    combined = np.concatenate([(s * k).ravel() for s, k in zip(shares, kwh, strict=True)])
    members = {
        name: np.concatenate([(p.shares[i] * k).ravel() for p, k in zip(held_out, kwh, strict=True)])
        for i, name in enumerate(tested.names)
    }
    both = np.isfinite(actual) & np.isfinite(combined)
    if not both.any():
        return None, {"held_out": {"hours": 0}}
    mae = {name: metrics.mae(actual[both], values[both]) for name, values in members.items()}
    naive = [one.name for one in tested.regressors if isinstance(one, Naive)]
    best = min(naive, key=lambda name: mae[name], default=None)
    own = metrics.mae(actual[both], combined[both])
    only = best if best is not None and mae[best] < own else None
    served = combined if only is None else members[only]
    numbers = {"mape": metrics.mape(actual[both], served[both]), "mae": metrics.mae(actual[both], served[both])}
    for name in naive:
        key = name.replace("-", "_")
        numbers |= {f"{key}_mape": metrics.mape(actual[both], members[name][both]), f"{key}_mae": mae[name]}
    return None if only is None else tested.names.index(only), {
        "held_out": {"hours": int(both.sum()), **{k: round(v, 6) for k, v in numbers.items() if np.isfinite(v)}},
        "held_out_mae_of_members": {name: round(v, 6) for name, v in mae.items() if np.isfinite(v)},
        "serves": only or "all members",
    }


@dataclass(frozen=True)
class _Errors:
    """Errors of the combination for one origin hour, flat: consecutive days of 24 hours, then the longer leads.

    day: [n] the number of each origin. error: [n] actual - predicted, a share of the level, before the residual
    correction.
    """

    days: int
    day: Ints
    lead: Ints
    hour: Ints
    target: Ints
    error: Floats
    spread: Floats

    def first_day(self, values: Floats) -> Floats:
        """Return the values of the first day of lead, [days, 24]."""
        return values[: 24 * self.days].reshape(self.days, 24)


def _errors(view: HistoryView, held_out: _HeldOut, only: int | None) -> _Errors:
    near, far = np.arange(24, dtype=np.int64), np.arange(24, LONGEST_HORIZON_HOURS, dtype=np.int64)
    used = aggregated_members(only)
    found = aggregate_online(held_out.shares[used], held_out.actual)
    later = [found.states[day].combine(held_out.later[used, k], far) for k, day in enumerate(held_out.later_days)]
    days = len(held_out.level)
    day = np.concatenate([np.repeat(np.arange(days), len(near)), np.repeat(held_out.later_days, len(far))])
    lead = np.concatenate([np.tile(near, days), np.tile(far, len(held_out.later_days))])
    target = held_out.first + 24 * day + lead
    predicted = np.concatenate([found.combined.ravel(), *(share for share, _ in later)])
    actual = np.concatenate([held_out.actual.ravel(), held_out.later_actual.ravel()])
    return _Errors(
        days,
        day,
        lead,
        view.calendar.hour[target - view.history.start],
        target,
        actual - predicted,
        np.concatenate([found.spread.ravel(), *(spread for _, spread in later)]),
    )


def _calibrated(
    view: HistoryView, members: Members, held_out: list[_HeldOut], later_tail: NDArray[np.float32], only: int | None
) -> FittedCombiner:
    parts = [_errors(view, part, only) for part in held_out]
    lead, hour = np.concatenate([p.lead for p in parts]), np.concatenate([p.hour for p in parts])
    spread, target = np.concatenate([p.spread for p in parts]), np.concatenate([p.target for p in parts])
    error = np.concatenate([p.error for p in parts])
    expected_spread = expected_abs_error(np.where(np.isfinite(error), spread, np.nan), lead, hour)
    factor = spread_factor(spread, profile_at(expected_spread, lead, hour))

    uncorrected = ErrorProfile(expected_abs_error(error / factor, lead, hour), expected_spread)
    sizes = [uncorrected.expected_error(p.spread, p.lead, p.hour) for p in parts]
    inputs = [
        residual_features(recent_residuals(p.first_day(p.error / size))[p.day], p.lead)
        for p, size in zip(parts, sizes, strict=True)
    ]
    near = [p.lead < 24 for p in parts]
    coefficients = fit_residual_correction(
        [own[first] for own, first in zip(inputs, near, strict=True)],
        [(p.error / size)[first] for p, size, first in zip(parts, sizes, near, strict=True)],
    )
    error = error - np.concatenate([size * (own @ coefficients) for size, own in zip(sizes, inputs, strict=True)])

    corrected = ErrorProfile(expected_abs_error(error / factor, lead, hour), expected_spread)
    standardized = error / corrected.expected_error(spread, lead, hour)
    unusual_days = UnusualDays.fit(view, target, standardized, weather=members.weather)
    standardized = standardized / unusual_days.factor(view, target)
    scale, begin = [], 0
    for p in parts:
        own = standardized[begin : begin + len(p.day)]
        scale.append(recent_scale(p.first_day(own))[p.day])
        begin += len(p.day)
    quantiles = fit_quantiles(standardized / np.concatenate(scale), target, lead, most_days=_MOST_DAYS)
    end = view.history.known_until
    tail = np.stack([_tail(part, end) for part in held_out])
    errors = int(np.isfinite(error).sum())
    return FittedCombiner(
        members,
        uncorrected,
        coefficients,
        corrected,
        unusual_days,
        quantiles,
        errors,
        tail,
        later_tail,
        end,
        only,
    )


def _tail(held_out: _HeldOut, end: int) -> NDArray[np.float32]:
    """Return the predictions of the last hours before `end`, kWh, [members, WINDOW_HOURS]; NaN where missing."""
    count = len(held_out.shares)
    tail = np.full((count, WINDOW_HOURS), np.nan, np.float32)
    hours = held_out.first + np.arange(24 * len(held_out.level))
    kwh = (held_out.shares * held_out.level[None, :, None]).reshape(count, -1)
    inside = (hours < end) & (hours >= end - WINDOW_HOURS)
    tail[:, hours[inside] - (end - WINDOW_HOURS)] = kwh[:, inside]
    return tail


def _later_tail(view: HistoryView, cuts: list[int], tested: list[Members]) -> NDArray[np.float32]:
    """Return held-out predictions of `later_samples`, kWh, [members, n]; NaN where missing."""
    samples = later_samples(view, view.history.known_until, later_buckets(LONGEST_HORIZON_HOURS))
    kwh = np.full((len(tested[0].names), len(samples)), np.nan, np.float32)
    part = np.searchsorted(np.array(cuts), samples.origins, side="right") - 1
    for i, members in enumerate(tested):
        own = np.flatnonzero(part == i)
        if len(own):
            kwh[:, own] = members.predict(samples.take(own)) * samples.level[own]
    return kwh
