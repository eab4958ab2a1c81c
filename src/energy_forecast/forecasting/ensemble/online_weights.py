"""Online aggregation of experts: weight and correct the base models by their recent errors, known at the origin.

Time is cut into days of 24 hours back from an origin. On each day every member has predicted the following 24 hours.
When they are over, its errors correct its next prediction, by two means with different memory: a slow and a fast one.
Each member takes part three times: uncorrected, with the slow correction, and with both. The recent error of each of
the three sets its weight at that hour, so corrections count as far as they recently helped. All values are shares of
the level at the day's origin. Hours are slots: slot s is the hour that begins s hours after the origin, modulo 24.

Settings were chosen on 2021 and 2022 (US cities) and on the third fifth of Tetouan's year.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_forecast.forecasting.hours import smooth_over_day
from energy_forecast.forecasting.types import Flags, Floats, Ints

# Days of the window. The slow mean still gives the last of them a seventh of the first one's weight.
WINDOW_DAYS = 42
_SLOW_HALF_LIFE = 15.0
_FAST_HALF_LIFE = 1.5
_ERROR_HALF_LIFE = 12.0
_SLOW_PRIOR = 2.0
_FAST_PRIOR = 0.5
_FAST_SHARE = 0.6
_FAST_SHARE_LATER = 0.3
_POWER = 6.0
_SMALLEST = 1e-5


@dataclass(frozen=True)
class WeightState:
    """Corrections and weights of the members at an origin.

    slow, fast: [members, 24].
    weight: [3, members, 24], of each member uncorrected, with the slow correction, and with both.
    """

    slow: Floats
    fast: Floats
    weight: Floats

    def combine(self, shares: Floats, lead: Ints) -> tuple[Floats, Floats]:
        """Return the combination [n] of the predictions, and their weighted standard deviation [n].

        Args:
            shares: [members, n] predictions; a member with NaN is left out.
            lead: [n] hours from the origin.
        """
        slot = lead % 24
        fast = np.where(lead < 24, _FAST_SHARE, _FAST_SHARE_LATER) * self.fast[:, slot]
        return _combine(shares, self.slow[:, slot], fast, self.weight[:, :, slot])

    def weights(self, known: Flags, lead: Ints) -> Floats:
        """Return the weights of the members whose prediction is known, [members, n]; they add up to 1."""
        return np.asarray(_known_weights(self.weight[:, :, lead % 24], known).sum(axis=0), float)


@dataclass(frozen=True)
class OnlineAggregation:
    """The result of an aggregation over J days.

    states: the state at each day's origin and at the end, J + 1 of them.
    combined, spread: [J, 24], combination and spread of each day as predicted at its origin.
    """

    states: list[WeightState]
    combined: Floats
    spread: Floats


def aggregate_online(shares: Floats, actual: Floats) -> OnlineAggregation:
    """Aggregate the predictions of members over J consecutive days.

    Args:
        shares: [members, J, 24] predictions at each day's origin, NaN where missing.
        actual: [J, 24] observations, NaN where unknown.
    """
    members, days, _ = shares.shape
    slow, n_slow = np.zeros((members, 24)), np.zeros((members, 24))
    fast, n_fast = np.zeros((members, 24)), np.zeros((members, 24))
    loss, n_loss = np.zeros((3, members, 24)), np.zeros((members, 24))
    decay_slow, decay_fast, decay_loss = (
        0.5 ** (1 / half) for half in (_SLOW_HALF_LIFE, _FAST_HALF_LIFE, _ERROR_HALF_LIFE)
    )
    states = []
    for day in range(days + 1):
        state = _state(slow / (_SLOW_PRIOR + n_slow), fast / (_FAST_PRIOR + n_fast), loss, n_loss)
        states.append(state)
        if day == days:
            break
        error = actual[day] - shares[:, day]
        known = np.isfinite(error)
        error = np.where(known, error, 0.0)
        after = np.where(known, _three_times(error, -state.slow, -_FAST_SHARE * state.fast), 0.0)
        slow, n_slow = slow * decay_slow + error, n_slow * decay_slow + known
        fast, n_fast = fast * decay_fast + after[1], n_fast * decay_fast + known
        loss, n_loss = loss * decay_loss + np.abs(after), n_loss * decay_loss + known
    # All days at once, which takes a quarter less CPU than each in turn
    combined, spread = _combine(
        shares.reshape(members, -1),
        np.concatenate([state.slow for state in states[:-1]], axis=1),
        _FAST_SHARE * np.concatenate([state.fast for state in states[:-1]], axis=1),
        np.concatenate([state.weight for state in states[:-1]], axis=2),
    )
    return OnlineAggregation(states, combined.reshape(days, 24), spread.reshape(days, 24))


def _combine(shares: Floats, slow: Floats, fast: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return combination and spread [n] from predictions and corrections [members, n] and weights [3, members, n]."""
    known = np.isfinite(shares)
    weight = _known_weights(weight, known)
    corrected = _three_times(np.where(known, shares, 0.0), slow, fast)
    combined = (weight * corrected).sum(axis=(0, 1))
    spread = np.sqrt((weight * (corrected - combined) ** 2).sum(axis=(0, 1)))
    return np.where(known.any(axis=0), combined, np.nan), spread


def _known_weights(weight: Floats, known: Flags) -> Floats:
    """Return weights [3, members, n] that add up to 1 over the members with a known prediction."""
    weight = np.where(known, weight, 0.0)
    return np.asarray(weight / np.maximum(weight.sum(axis=(0, 1)), 1e-300), float)


def _three_times(values: Floats, slow: Floats, fast: Floats) -> Floats:
    """Return values [members, n] as they are, with the slow correction, and with both, [3, members, n]."""
    with_slow = values + slow
    return np.stack([values, with_slow, with_slow + fast])


def _state(slow: Floats, fast: Floats, loss: Floats, n_loss: Floats) -> WeightState:
    smooth_slow, smooth_fast, n = smooth_over_day(np.stack([slow, fast, n_loss]))
    # A member without known errors gets the mean error of the others
    size = np.divide(smooth_over_day(loss), n, out=np.full_like(loss, np.nan), where=n > 0)
    seen = np.isfinite(size)
    mean = np.where(seen, size, 0.0).sum(axis=(0, 1)) / np.maximum(seen.sum(axis=(0, 1)), 1)
    size = np.maximum(np.where(seen, size, mean), _SMALLEST)
    weight = (size / size.min(axis=(0, 1))) ** -_POWER
    # Half of the fast correction is the hour's own, half the mean of the day
    return WeightState(smooth_slow, 0.5 * smooth_fast + 0.5 * fast.mean(axis=1, keepdims=True), weight)
