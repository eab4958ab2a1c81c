"""Fitting the ensemble: its members are tried on held-out time, followed through it, and learnt once more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_forecast.forecasting import scores
from energy_forecast.forecasting.contract import LONGEST_HORIZON_HOURS, Floats, Ints
from energy_forecast.forecasting.ensemble.head import (
    PHASES,
    WINDOW_HOURS,
    EnsembleHead,
    apart_factor,
    recent_scale,
)
from energy_forecast.forecasting.ensemble.members import NAMES, Members, member_lessons
from energy_forecast.forecasting.ensemble.online import WINDOW_DAYS, follow
from energy_forecast.forecasting.features.rows import Past, Rows
from energy_forecast.forecasting.intervals import calibrate, error_profile, lead_bucket
from energy_forecast.forecasting.models.naive import NAIVE_24, NAIVE_168

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
    cuts = _cuts(past)
    tried = [learn(cut, None) for cut in cuts]
    phases = [_held_out(past, cuts, tried, phase) for phase in PHASES]
    only, facts = _served(phases)
    head = _calibrated(past, learn(past.history.known_until, tried[-1]), phases, only)
    return head, {**facts, "calibration_errors": head.calibration.n, "held_out_from": cuts[0] - past.history.first}


def _cuts(past: Past) -> list[int]:
    """The hours up to which members learn before they are tried on what follows, to the next of them."""
    first, end = past.history.first, past.history.known_until
    known = past.history.start + np.flatnonzero(np.isfinite(past.history.load))
    if end - first >= 5 * _YEAR // 2 and len(known) >= (end - first) // 2:
        return [end - _YEAR]
    # By known hours, not by the calendar: a stray value of a year before must not leave a part without a lesson
    return [int(known[int(len(known) * share)]) for share in (0.55, 0.775)]


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
    mae = {name: scores.mae(actual[both], values[both]) for name, values in members.items()}
    best = min(NAIVES, key=lambda i: mae[NAMES[i]])
    own = scores.mae(actual[both], combined[both])
    only = best if mae[NAMES[best]] < own else None
    served = members[NAMES[best]] if only is not None else combined
    numbers = {"mape": scores.mape(actual[both], served[both]), "mae": scores.mae(actual[both], served[both])}
    for i in NAIVES:
        key = NAMES[i].replace("-", "_")
        numbers[f"{key}_mape"] = scores.mape(actual[both], members[NAMES[i]][both])
        numbers[f"{key}_mae"] = mae[NAMES[i]]
    return only, {
        "held_out": {"hours": int(both.sum()), **{k: round(v, 6) for k, v in numbers.items() if np.isfinite(v)}},
        "held_out_mae_of_members": {name: round(v, 6) for name, v in mae.items() if np.isfinite(v)},
        "serves": NAMES[only] if only is not None else "all members",
    }


def _calibrated(past: Past, members: Members, phases: list[_Phase], only: int | None) -> EnsembleHead:
    errors, apart, lead, hour, targets, owner = [], [], [], [], [], []
    near, far = np.arange(24, dtype=np.int64), np.arange(24, LONGEST_HORIZON_HOURS, dtype=np.int64)
    followed = [follow(phase.shares, phase.actual, only) for phase in phases]
    for number, (phase, found) in enumerate(zip(phases, followed, strict=True)):
        origins = phase.first + 24 * np.arange(len(phase.level), dtype=np.int64)
        blocks = [(origins, near, phase.actual - found.combined, found.apart)]
        later = [found.states[day].combine(phase.later[:, k], far) for k, day in enumerate(phase.later_days)]
        blocks.append(
            (
                origins[phase.later_days],
                far,
                phase.later_actual - np.stack([share for share, _ in later]),
                np.stack([width for _, width in later]),
            )
        )
        for origin, leads, error, width in blocks:
            at = origin[:, None] + leads
            errors.append(error.ravel())
            apart.append(width.ravel())
            lead.append(np.tile(leads, len(origin)))
            targets.append(at.ravel())
            hour.append(past.calendar.hour[at - past.history.start].ravel())
            owner.append(np.repeat(number * 1_000_000 + (origin - phase.first) // 24, len(leads)))
    error, width = np.concatenate(errors), np.concatenate(apart)
    leads, hours = np.concatenate(lead), np.concatenate(hour)
    known = np.isfinite(error)
    usual = error_profile(np.where(known, width, np.nan), leads, hours)
    factor = apart_factor(width, usual[lead_bucket(leads), hours])
    profile = error_profile(error / factor, leads, hours)

    scales = {}
    for number, (phase, found) in enumerate(zip(phases, followed, strict=True)):
        at = phase.first + 24 * np.arange(len(phase.level), dtype=np.int64)[:, None] + near
        then, bucket = past.calendar.hour[at - past.history.start], lead_bucket(near)[None, :]
        size = profile[bucket, then] * apart_factor(found.apart, usual[bucket, then])
        standard = (phase.actual - found.combined) / size
        for day in range(len(phase.level)):
            scales[number * 1_000_000 + day] = recent_scale(standard[max(0, day - WINDOW_DAYS) : day])
    owners, back = np.unique(np.concatenate(owner), return_inverse=True)
    scale = np.array([scales[int(one)] for one in owners])[back]
    calibration = calibrate(error / factor, np.concatenate(targets), leads, hours, np.zeros(len(error)), scale, profile)
    end = past.history.known_until
    return EnsembleHead(members, calibration, usual, np.stack([_tail(p, end) for p in phases]), end, only)


def _tail(phase: _Phase, end: int) -> NDArray[np.float32]:
    """What members said of the last hours before `end`, kWh, [members, WINDOW_HOURS]; NaN where nothing."""
    tail = np.full((len(NAMES), WINDOW_HOURS), np.nan, np.float32)
    hours = phase.first + np.arange(24 * len(phase.level))
    kwh = (phase.shares * phase.level[None, :, None]).reshape(len(NAMES), -1)
    inside = (hours < end) & (hours >= end - WINDOW_HOURS)
    tail[:, hours[inside] - (end - WINDOW_HOURS)] = kwh[:, inside]
    return tail
