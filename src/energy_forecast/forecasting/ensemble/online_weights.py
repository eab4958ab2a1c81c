"""Weighing and correcting members by how they did of late, from nothing but what was known.

Time is cut into days of 24 hours back from an origin. On each day every member had said the 24 hours that followed;
once they are over, its errors correct what it says next, by two means of different memory, and weigh it against the
others at that hour. Everything is a share of the level at the day's origin, and hours are slots: slot s is the hour
that begins s hours after the origin, modulo 24.

Settings were chosen on 2022 (US cities) and on the third fifth of Tetouan's year; the optimum is flat: see
docs/decisions/models.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_forecast.forecasting.types import Flags, Floats, Ints

# How many days are looked back at. The slow mean still gives the last of them a seventh of the first one's weight.
WINDOW_DAYS = 42
_SLOW_HALF_LIFE = 15.0
_FAST_HALF_LIFE = 1.5
_ERROR_HALF_LIFE = 12.0
_SLOW_PRIOR = 4.0
_FAST_PRIOR = 0.5
_FAST_SHARE = 0.4
_FAST_SHARE_LATER = 0.25
_POWER = 6.0
_SMALLEST = 1e-5


@dataclass(frozen=True)
class State:
    """What is known of the members at an origin, each [members, 24]: two corrections and the weight."""

    slow: Floats
    fast: Floats
    weight: Floats

    def combine(self, shares: Floats, lead: Ints) -> tuple[Floats, Floats]:
        """The combination [n] of what members say, `shares` [members, n], of hours `lead` [n] after the origin.

        Also how far the members lie apart, [n]. A member that says nothing (NaN) is left out.
        """
        corrected = shares + self.corrections(lead)
        said = np.isfinite(corrected)
        weight = self.weights(said, lead)
        corrected = np.where(said, corrected, 0.0)
        combined = (weight * corrected).sum(axis=0)
        apart = np.sqrt((weight * (corrected - combined) ** 2).sum(axis=0))
        return np.where(said.any(axis=0), combined, np.nan), apart

    def corrections(self, lead: Ints) -> Floats:
        """What is added to each member, [members, n]."""
        slot = lead % 24
        later = np.where(lead < 24, _FAST_SHARE, _FAST_SHARE_LATER)
        return np.asarray(self.slow[:, slot] + later * self.fast[:, slot], float)

    def weights(self, said: Flags, lead: Ints) -> Floats:
        """The weights of the members that say something, [members, n]; they add up to 1."""
        weight = np.where(said, self.weight[:, lead % 24], 0.0)
        return np.asarray(weight / np.maximum(weight.sum(axis=0), 1e-300), float)


@dataclass(frozen=True)
class Followed:
    """What following the members over J days gives.

    states: the state at each day's origin and at the end, J + 1 of them. combined, apart: [J, 24], of each day as it
    would have been said at its origin.
    """

    states: list[State]
    combined: Floats
    apart: Floats


def follow(shares: Floats, actual: Floats) -> Followed:
    """Follow members over J days in a row.

    Args:
        shares: [members, J, 24] what each said at each day's origin, NaN where nothing.
        actual: [J, 24] what came, NaN where unknown.
    """
    members, days, _ = shares.shape
    slow, n_slow = np.zeros((members, 24)), np.zeros((members, 24))
    fast, n_fast = np.zeros((members, 24)), np.zeros((members, 24))
    loss, n_loss = np.zeros((members, 24)), np.zeros((members, 24))
    keep_slow, keep_fast, keep_loss = (
        0.5 ** (1 / half) for half in (_SLOW_HALF_LIFE, _FAST_HALF_LIFE, _ERROR_HALF_LIFE)
    )
    states = []
    combined, apart = np.full((days, 24), np.nan), np.full((days, 24), np.nan)
    slots = np.arange(24)
    for day in range(days + 1):
        state = _state(slow / (_SLOW_PRIOR + n_slow), fast / (_FAST_PRIOR + n_fast), loss, n_loss)
        states.append(state)
        if day == days:
            break
        combined[day], apart[day] = state.combine(shares[:, day], slots)
        error = actual[day] - shares[:, day]
        known = np.isfinite(error)
        error = np.where(known, error, 0.0)
        after_slow = np.where(known, error - state.slow, 0.0)
        after_both = np.where(known, np.abs(error - state.slow - _FAST_SHARE * state.fast), 0.0)
        slow, n_slow = slow * keep_slow + error, n_slow * keep_slow + known
        fast, n_fast = fast * keep_fast + after_slow, n_fast * keep_fast + known
        loss, n_loss = loss * keep_loss + after_both, n_loss * keep_loss + known
    return Followed(states, combined, apart)


def _state(slow: Floats, fast: Floats, loss: Floats, n_loss: Floats) -> State:
    members = len(slow)
    n = _smooth(n_loss)
    # A member of which nothing is known yet is taken to err as the others do on average
    size = np.divide(_smooth(loss), n, out=np.full_like(loss, np.nan), where=n > 0)
    seen = np.isfinite(size)
    mean = np.where(seen, size, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    size = np.maximum(np.where(seen, size, mean), _SMALLEST)
    weight = (size / size.min(axis=0)) ** -_POWER if members else size
    # Half of the fast correction is the hour's own, half the whole day's
    return State(_smooth(slow), 0.5 * _smooth(fast) + 0.5 * fast.mean(axis=1, keepdims=True), weight)


# Over each hour and the two beside it
_BESIDE = (np.roll(np.eye(24), 1, axis=1) + 2 * np.eye(24) + np.roll(np.eye(24), -1, axis=1)) / 4


def _smooth(values: Floats) -> Floats:
    return np.asarray(values @ _BESIDE, float)
