"""Fitting the ensemble: its members are tried on held-out time, followed through it, and learnt once more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_forecast.forecasting.conformal.quantiles import learn_quantiles
from energy_forecast.forecasting.conformal.training import cuts_of
from energy_forecast.forecasting.ensemble.base_models import NAMES, Members, member_lessons
from energy_forecast.forecasting.ensemble.combiner import PHASES, WINDOW_HOURS, EnsembleHead, followed_members
from energy_forecast.forecasting.ensemble.error_scale import Usual, apart_factor, running_scale, usual_of, usual_sizes
from energy_forecast.forecasting.ensemble.online_weights import follow
from energy_forecast.forecasting.ensemble.residual_correction import echo_inputs, last_errors, learn_echo
from energy_forecast.forecasting.evaluation import metrics
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.models.naive import NAIVE_24, NAIVE_168
from energy_forecast.forecasting.types import LONGEST_HORIZON_HOURS, Floats, Ints

_YEAR = 24 * 365
_LONG_LEADS_EVERY = 3
NAIVES = (NAMES.index(NAIVE_24.name), NAMES.index(NAIVE_168.name))


@dataclass(frozen=True)
class _Phase:
    """Held-out forecasts of one time of day: J days in a row from `first`, and leads to a week on every third.

    shares: [members, J, 24]; later: [members, K, 144] of the days `later_days`. actual [J, 24] and
    later_actual [K, 144] as shares of the level at their origin. level: [J] kWh.
    """

    first: int
    shares: Floats
    actual: Floats
    level: Floats
    later_days: Ints
    later: Floats
    later_actual: Floats


def fit_head(past: Past, *, weather: bool, seed: int) -> tuple[EnsembleHead, dict[str, Any]]:
    """The ensemble with weather or without, and how it did on held-out time, as plain JSON."""
    learn = member_lessons(past, weather=weather, seed=seed)
    cuts = _cuts(past, weather=weather)
    tried = [learn(cut, None) for cut in cuts]
    phases = [_held_out(past, cuts, tried, phase) for phase in PHASES]
    only, facts = _served(phases)
    head = _calibrated(past, learn(past.history.known_until, tried[-1]), phases, only)
    return head, {**facts, "calibration_errors": head.errors, "held_out_from": cuts[0] - past.history.first}


def _cuts(past: Past, *, weather: bool) -> list[int]:
    """The hours up to which members learn before they are tried on what follows, to the next of them."""
    return cuts_of(past.both_known(weather), 5 * _YEAR // 2, _YEAR, past.history.known_until)[:-1]


def _held_out(past: Past, cuts: list[int], tried: list[Members], phase: int) -> _Phase:
    start, end = past.history.start, past.history.known_until
    first = cuts[0] + (phase - int(past.calendar.hour[cuts[0] - start])) % 24
    origins = np.arange(first, max(end, first + 24), 24, dtype=np.int64)
    later_days = np.arange(0, len(origins), _LONG_LEADS_EVERY, dtype=np.int64)
    near, far = np.arange(24, dtype=np.int64), np.arange(24, LONGEST_HORIZON_HOURS, dtype=np.int64)
    shares = np.full((len(NAMES), len(origins), len(near)), np.nan)
    later = np.full((len(NAMES), len(later_days), len(far)), np.nan)
    part = np.searchsorted(np.array(cuts), origins, side="right") - 1
    for i, members in enumerate(tried):
        mine, mine_later = np.flatnonzero(part == i), np.flatnonzero(part[later_days] == i)
        if not len(mine):
            continue
        blocks = [(origins[mine], near), (origins[later_days][mine_later], far)]
        rows = Rows(
            past,
            np.concatenate([np.repeat(o, len(leads)) for o, leads in blocks]),
            np.concatenate([(o[:, None] + leads).ravel() for o, leads in blocks]),
        )
        said, _ = members.predict(rows)
        n = len(mine) * len(near)
        shares[:, mine] = said[:, :n].reshape(len(NAMES), len(mine), len(near))
        later[:, mine_later] = said[:, n:].reshape(len(NAMES), len(mine_later), len(far))
    level = Rows(past, origins, origins).level
    load = past.history.load

    def actual(days: Ints, leads: Ints) -> Floats:
        return np.asarray(load[(origins[days][:, None] + leads) - start] / level[days][:, None], float)

    everyday = np.arange(len(origins), dtype=np.int64)
    return _Phase(first, shares, actual(everyday, near), level, later_days, later, actual(later_days, far))


def _served(phases: list[_Phase]) -> tuple[int | None, dict[str, Any]]:
    """The naive model to serve alone, if one was better than the combination; and the scores of all, as plain JSON."""
    said = [follow(phase.shares, phase.actual).combined for phase in phases]
    kwh = [np.repeat(phase.level, 24).reshape(-1, 24) for phase in phases]
    actual = np.concatenate([(p.actual * k).ravel() for p, k in zip(phases, kwh, strict=True)])
    combined = np.concatenate([(s * k).ravel() for s, k in zip(said, kwh, strict=True)])
    members = {
        name: np.concatenate([(p.shares[i] * k).ravel() for p, k in zip(phases, kwh, strict=True)])
        for i, name in enumerate(NAMES)
    }
    both = np.isfinite(actual) & np.isfinite(combined)
    if not both.any():
        return None, {"held_out": {"hours": 0}}
    mae = {name: metrics.mae(actual[both], values[both]) for name, values in members.items()}
    best = min(NAIVES, key=lambda i: mae[NAMES[i]])
    own = metrics.mae(actual[both], combined[both])
    only = best if mae[NAMES[best]] < own else None
    served = members[NAMES[best]] if only is not None else combined
    numbers = {"mape": metrics.mape(actual[both], served[both]), "mae": metrics.mae(actual[both], served[both])}
    for i in NAIVES:
        key = NAMES[i].replace("-", "_")
        numbers[f"{key}_mape"] = metrics.mape(actual[both], members[NAMES[i]][both])
        numbers[f"{key}_mae"] = mae[NAMES[i]]
    return only, {
        "held_out": {"hours": int(both.sum()), **{k: round(v, 6) for k, v in numbers.items() if np.isfinite(v)}},
        "held_out_mae_of_members": {name: round(v, 6) for name, v in mae.items() if np.isfinite(v)},
        "serves": NAMES[only] if only is not None else "all members",
    }


@dataclass(frozen=True)
class _Followed:
    """What the combination said of a phase, flat: its days in a row, 24 hours each, then the longer leads.

    day: [n] the number of each origin. error: [n] actual - said, a share of the level, before the echo.
    """

    days: int
    day: Ints
    lead: Ints
    hour: Ints
    target: Ints
    error: Floats
    apart: Floats

    def in_days(self, values: Floats) -> Floats:
        """Those of the first day of lead, [days, 24]."""
        return values[: 24 * self.days].reshape(self.days, 24)


def _followed(past: Past, phase: _Phase, only: int | None) -> _Followed:
    near, far = np.arange(24, dtype=np.int64), np.arange(24, LONGEST_HORIZON_HOURS, dtype=np.int64)
    asked = followed_members(only)
    found = follow(phase.shares[asked], phase.actual)
    later = [found.states[day].combine(phase.later[asked, k], far) for k, day in enumerate(phase.later_days)]
    days = len(phase.level)
    day = np.concatenate([np.repeat(np.arange(days), len(near)), np.repeat(phase.later_days, len(far))])
    lead = np.concatenate([np.tile(near, days), np.tile(far, len(phase.later_days))])
    target = phase.first + 24 * day + lead
    said = np.concatenate([found.combined.ravel(), *(share for share, _ in later)])
    actual = np.concatenate([phase.actual.ravel(), phase.later_actual.ravel()])
    return _Followed(
        days,
        day,
        lead,
        past.calendar.hour[target - past.history.start],
        target,
        actual - said,
        np.concatenate([found.apart.ravel(), *(apart for _, apart in later)]),
    )


def _calibrated(past: Past, members: Members, phases: list[_Phase], only: int | None) -> EnsembleHead:
    parts = [_followed(past, phase, only) for phase in phases]
    lead, hour = np.concatenate([p.lead for p in parts]), np.concatenate([p.hour for p in parts])
    width, target = np.concatenate([p.apart for p in parts]), np.concatenate([p.target for p in parts])
    error = np.concatenate([p.error for p in parts])
    usual_apart = usual_sizes(np.where(np.isfinite(error), width, np.nan), lead, hour)
    factor = apart_factor(width, usual_of(usual_apart, lead, hour))

    before = Usual(usual_sizes(error / factor, lead, hour), usual_apart)
    sizes = [before.size(p.apart, p.lead, p.hour) for p in parts]
    seen = [
        echo_inputs(last_errors(p.in_days(p.error / size))[p.day], p.lead) for p, size in zip(parts, sizes, strict=True)
    ]
    near = [p.lead < 24 for p in parts]
    echo = learn_echo(
        [own[first] for own, first in zip(seen, near, strict=True)],
        [(p.error / size)[first] for p, size, first in zip(parts, sizes, near, strict=True)],
    )
    error = error - np.concatenate([size * (own @ echo) for size, own in zip(sizes, seen, strict=True)])

    usual = Usual(usual_sizes(error / factor, lead, hour), usual_apart)
    standard = error / usual.size(width, lead, hour)
    scale, begin = [], 0
    for p in parts:
        own = standard[begin : begin + len(p.day)]
        scale.append(running_scale(p.in_days(own))[p.day])
        begin += len(p.day)
    quantiles = learn_quantiles(standard / np.concatenate(scale), target, lead)
    end = past.history.known_until
    tail = np.stack([_tail(phase, end) for phase in phases])
    return EnsembleHead(members, before, echo, usual, quantiles, int(np.isfinite(error).sum()), tail, end, only)


def _tail(phase: _Phase, end: int) -> NDArray[np.float32]:
    """What members said of the last hours before `end`, kWh, [members, WINDOW_HOURS]; NaN where nothing."""
    tail = np.full((len(NAMES), WINDOW_HOURS), np.nan, np.float32)
    hours = phase.first + np.arange(24 * len(phase.level))
    kwh = (phase.shares * phase.level[None, :, None]).reshape(len(NAMES), -1)
    inside = (hours < end) & (hours >= end - WINDOW_HOURS)
    tail[:, hours[inside] - (end - WINDOW_HOURS)] = kwh[:, inside]
    return tail
