"""The ensemble with weather, or without: its members, how it follows them, and how wide its intervals are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.conformal.quantiles import BUCKETS, lead_bucket, stretch
from energy_forecast.forecasting.ensemble.base_models import NAMES, Members
from energy_forecast.forecasting.ensemble.error_scale import SOON_HOURS, Usual, recent_reach, running_scale, soon_scale
from energy_forecast.forecasting.ensemble.online_weights import WINDOW_DAYS, follow
from energy_forecast.forecasting.ensemble.residual_correction import COEFFICIENTS, echo_inputs, last_errors
from energy_forecast.forecasting.features.matrix import Table
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.serialization import Arrays, fact, stored_array
from energy_forecast.forecasting.types import QUANTILE_LEVELS, Floats, Ints

WINDOW_HOURS = 24 * WINDOW_DAYS
# Held-out forecasts are made at three times of day, since a forecast may be issued at any: hours after midnight.
PHASES = (0, 8, 16)
_LATER: Ints = np.array([24])
_DAY: Ints = np.arange(24, dtype=np.int64)


def followed_members(only: int | None) -> slice:
    """Which members are followed: all, or the one that is served alone."""
    return slice(None) if only is None else slice(only, only + 1)


@dataclass(frozen=True)
class Said:
    """What a head says of n hours, as shares of the level: the forecast [n] and 19 quantiles of its error [n, 19].

    members: [members, n], what each says. weights: [members, n], theirs. late: [n] what errors of late add.
    """

    share: Floats
    spread: Floats
    members: Floats
    weights: Floats
    late: Floats
    table: Table


@dataclass(frozen=True)
class EnsembleHead:
    """See the module.

    before_echo, usual: what is usual of the combination before and after `echo` [COEFFICIENTS] has corrected it.
    quantiles: [BUCKETS, 19] of the errors divided by their usual size and the scale of late; they stand on `errors`.
    tail: [phases, members, WINDOW_HOURS] kWh that they said of the hours before `tail_until` when they had not learnt
    from them; of those hours they cannot be asked any more.
    only: the member that is served alone, as it is, where held-out time was too much for the combination. Its errors
    of late move its quantiles all the same.
    """

    members: Members
    before_echo: Usual
    echo: Floats
    usual: Usual
    quantiles: Floats
    errors: int
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
        hour = past.calendar.hour
        then = hour[np.arange(begin, origin) - past.history.start].reshape(WINDOW_DAYS, 24)
        actual = (past.history.load[np.arange(begin, origin) - past.history.start] / level).reshape(WINDOW_DAYS, 24)

        asked = followed_members(self.only)
        followed = follow(window.reshape(len(NAMES), WINDOW_DAYS, 24)[asked], actual)
        lead = np.tile(_DAY, (WINDOW_DAYS, 1))
        size = self.before_echo.size(followed.apart, lead, then)
        last = last_errors((actual - followed.combined) / size)
        inputs = echo_inputs(np.repeat(last[:-1], 24, axis=0), lead.ravel())
        said = followed.combined + size * (inputs @ self.echo).reshape(WINDOW_DAYS, 24)
        standard = (actual - said) / self.usual.size(followed.apart, lead, then)
        scale = running_scale(standard)
        standard = standard / scale[:-1, None]
        soon = soon_scale(standard)
        reach = recent_reach(standard / np.where(_DAY < SOON_HOURS, soon, 1.0), self.quantiles[lead_bucket(_DAY)])

        ahead = targets - origin
        hour_ahead = hour[targets - past.history.start]
        members, state = shares[:, n:], followed.states[-1]
        corrected, apart = state.combine(members[asked], ahead)
        inputs = echo_inputs(np.repeat(last[-1:], len(ahead), axis=0), ahead)
        corrected += self.before_echo.size(apart, ahead, hour_ahead) * (inputs @ self.echo)
        width = scale[-1] * self.usual.size(apart, ahead, hour_ahead) * stretch(ahead)
        width = width * np.where(ahead < SOON_HOURS, soon, 1.0)
        weights = np.zeros_like(members)
        weights[asked] = state.weights(np.isfinite(members[asked]), ahead)
        uncorrected = (weights * np.nan_to_num(members)).sum(axis=0)
        share = corrected if self.only is None else uncorrected
        # The reach is known of the first day ahead only: it is what the days of the window were asked for
        reach = np.where(ahead[:, None] < 24, reach, 1.0)
        spread = (corrected - share)[:, None] + reach * self.quantiles[lead_bucket(ahead)] * width[:, None]
        ask = np.arange(n, len(rows), dtype=np.int64)
        return Said(share, spread, members, weights, share - uncorrected, Table(table.names, table.values[ask]))

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
            "echo": self.echo,
            "error_before_echo": self.before_echo.error,
            "error": self.usual.error,
            "apart": self.usual.apart,
            "quantiles": self.quantiles,
            "tail": self.tail,
        }
        return {"members": header, "errors": self.errors, "tail_until": self.tail_until, "only": self.only}, arrays

    @staticmethod
    def restore(state: dict[str, Any], arrays: Arrays) -> EnsembleHead:
        """The head whose `state` this was."""
        own = {name.removeprefix("members/"): array for name, array in arrays.items() if name.startswith("members/")}
        usual = {
            name: stored_array(arrays, name, "<f8", 24 + BUCKETS - int(lead_bucket(_LATER)[0]), 24)
            for name in ("error_before_echo", "error", "apart")
        }
        only = state.get("only")
        if only is not None and not 0 <= fact(state, "only", int) < len(NAMES):
            raise ArtifactError(f"The stored ensemble has no member {only}.")
        return EnsembleHead(
            Members.restore(fact(state, "members", dict), own),
            Usual(usual["error_before_echo"], usual["apart"]),
            stored_array(arrays, "echo", "<f8", COEFFICIENTS),
            Usual(usual["error"], usual["apart"]),
            stored_array(arrays, "quantiles", "<f8", BUCKETS, len(QUANTILE_LEVELS)),
            fact(state, "errors", int),
            # Hours without a prediction are NaN
            stored_array(arrays, "tail", "<f4", len(PHASES), len(NAMES), WINDOW_HOURS, finite=False),
            fact(state, "tail_until", int),
            only,
        )
