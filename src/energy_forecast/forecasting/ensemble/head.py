"""The ensemble with weather, or without: its members, how it follows them, and how wide its intervals are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_forecast.forecasting.artifact import Arrays
from energy_forecast.forecasting.contract import Floats, Ints
from energy_forecast.forecasting.ensemble.members import NAMES, Members
from energy_forecast.forecasting.ensemble.online import WINDOW_DAYS, State, follow
from energy_forecast.forecasting.features.rows import Past, Rows
from energy_forecast.forecasting.features.table import Table
from energy_forecast.forecasting.intervals import Calibration, lead_bucket, stretch

WINDOW_HOURS = 24 * WINDOW_DAYS
# Held-out forecasts are made at three times of day, since a forecast may be issued at any: hours after midnight.
PHASES = (0, 8, 16)
_SCALE_HALF_LIFE_DAYS = 10.0
_SCALE_PRIOR_DAYS = 2.0
_APART_POWER = 0.4
_APART_BOUNDS = (0.3, 3.0)
_FARTHEST_ERROR = 8.0


def apart_factor(apart: Floats, usual: Floats) -> Floats:
    """How much wider than usual an interval is for members that lie `apart`, and no more than 1.6 times."""
    return np.asarray(np.clip(apart / usual, *_APART_BOUNDS) ** _APART_POWER, float)


def recent_scale(standard: Floats) -> float:
    """How large errors have been of late, in units of the usual.

    Args:
        standard: [J, 24] errors of days in a row divided by their usual size, NaN where unknown. Their mean size with a
            half-life of ten days, to which two usual days are added.
    """
    known = np.isfinite(standard)
    size = np.minimum(np.where(known, np.abs(standard), 0.0), _FARTHEST_ERROR)
    weight = 0.5 ** (np.arange(len(standard), 0, -1) / _SCALE_HALF_LIFE_DAYS) / 24
    return float(
        (_SCALE_PRIOR_DAYS + (weight * size.sum(axis=1)).sum())
        / (_SCALE_PRIOR_DAYS + (weight * known.sum(axis=1)).sum())
    )


@dataclass(frozen=True)
class Said:
    """What a head says of n hours, as shares of the level: the forecast [n] and 19 quantiles of its error [n, 19].

    state: what the members are corrected by and how they are weighed. members: [members, n], what each says.
    """

    share: Floats
    spread: Floats
    state: State
    members: Floats
    table: Table


@dataclass(frozen=True)
class EnsembleHead:
    """See the module.

    apart: [buckets, 24], how far members usually lie apart. tail: [phases, members, WINDOW_HOURS] kWh that they said of
    the hours before `tail_until` when they had not learnt from them; of those hours they cannot be asked any more.
    only: the member that is served alone, where held-out time was too much for the combination.
    """

    members: Members
    calibration: Calibration
    apart: Floats
    tail: NDArray[np.float32]
    tail_until: int
    only: int | None

    def say(self, past: Past, origin: int, targets: Ints) -> Said:
        """Forecast `targets` (hour numbers) from `origin`, out of nothing at or after the origin."""
        begin = origin - WINDOW_HOURS
        fresh = np.arange(max(begin, self.tail_until), origin, dtype=np.int64)
        behind = origin - 24 * -(-(origin - fresh) // 24)
        rows = Rows(past, np.concatenate([behind, np.full(len(targets), origin)]), np.concatenate([fresh, targets]))
        shares, table = self.members.predict(rows)
        n = len(fresh)

        days = begin + 24 * np.arange(WINDOW_DAYS, dtype=np.int64)
        level = np.repeat(Rows(past, days, days).level, 24)
        window = np.full((len(NAMES), WINDOW_HOURS), np.nan)
        window[:, WINDOW_HOURS - n :] = shares[:, :n]
        old = self._remembered(past, origin, begin)
        window[:, : WINDOW_HOURS - n] = old[:, : WINDOW_HOURS - n] / level[: WINDOW_HOURS - n]
        actual = past.history.load[np.arange(begin, origin) - past.history.start] / level

        followed = follow(window.reshape(len(NAMES), WINDOW_DAYS, 24), actual.reshape(WINDOW_DAYS, 24), self.only)
        hour = past.calendar.hour
        then = hour[np.arange(begin, origin) - past.history.start].reshape(WINDOW_DAYS, 24)
        lead = np.tile(np.arange(24, dtype=np.int64), (WINDOW_DAYS, 1))
        size = self._size(followed.apart, lead, then)
        scale = recent_scale((actual.reshape(WINDOW_DAYS, 24) - followed.combined) / size)

        state: State = followed.states[-1]
        ahead = targets - origin
        share, apart = state.combine(shares[:, n:], ahead)
        quantiles = self.calibration.quantiles[lead_bucket(ahead)]
        size = self._size(apart, ahead, hour[targets - past.history.start])
        ask = np.arange(n, len(rows), dtype=np.int64)
        return Said(
            share,
            quantiles * (scale * size * stretch(ahead))[:, None],
            state,
            shares[:, n:],
            Table(table.names, table.values[ask]),
        )

    def _size(self, apart: Floats, lead: Ints, hour: Ints) -> Floats:
        bucket = lead_bucket(lead)
        return np.asarray(self.calibration.profile[bucket, hour] * apart_factor(apart, self.apart[bucket, hour]), float)

    def _remembered(self, past: Past, origin: int, begin: int) -> Floats:
        """What members said of the WINDOW_HOURS from `begin` on before they had learnt from them, kWh, or NaN."""
        hour = int(past.calendar.hour[origin - past.history.start])
        phase = int(np.argmin([min((hour - p) % 24, (p - hour) % 24) for p in PHASES]))
        window = np.full((len(NAMES), WINDOW_HOURS), np.nan)
        shift = begin - (self.tail_until - WINDOW_HOURS)
        if 0 <= shift < WINDOW_HOURS:
            window[:, : WINDOW_HOURS - shift] = self.tail[phase][:, shift:]
        elif -WINDOW_HOURS < shift < 0:
            window[:, -shift:] = self.tail[phase][:, :shift]
        return window

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """All that `restore` needs, as JSON and plain arrays."""
        header, arrays = self.members.state()
        arrays = {f"members/{name}": array for name, array in arrays.items()}
        arrays |= {
            "profile": self.calibration.profile,
            "quantiles": self.calibration.quantiles,
            "apart": self.apart,
            "tail": self.tail,
        }
        return {"members": header, "n": self.calibration.n, "tail_until": self.tail_until, "only": self.only}, arrays

    @staticmethod
    def restore(state: dict[str, Any], arrays: Arrays) -> EnsembleHead:
        """The head whose `state` this was."""
        own = {name.removeprefix("members/"): array for name, array in arrays.items() if name.startswith("members/")}
        return EnsembleHead(
            Members.restore(state["members"], own),
            Calibration(arrays["profile"], arrays["quantiles"], state["n"]),
            arrays["apart"],
            arrays["tail"],
            state["tail_until"],
            state["only"],
        )
