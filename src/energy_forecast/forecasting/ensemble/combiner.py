"""The fitted combiner of an ensemble, with weather or without: members, weights, corrections and intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.conformal.quantiles import long_lead_factor
from energy_forecast.forecasting.ensemble.base_models import Members
from energy_forecast.forecasting.ensemble.error_scale import (
    SHORT_LEAD_HOURS,
    ErrorProfile,
    coverage_adjustment,
    coverage_weights,
    recent_scale,
    short_lead_scale,
)
from energy_forecast.forecasting.ensemble.later_days import (
    later_buckets,
    later_samples,
    later_weights,
    same_samples,
)
from energy_forecast.forecasting.ensemble.online_weights import (
    WINDOW_DAYS,
    OnlineAggregation,
    WeightState,
    aggregate_online,
)
from energy_forecast.forecasting.ensemble.residual_correction import COEFFICIENTS, recent_residuals, residual_features
from energy_forecast.forecasting.ensemble.unusual_days import UnusualDays
from energy_forecast.forecasting.explain.contributions import ModelTerms, contributions_of
from energy_forecast.forecasting.features.matrix import FeatureMatrix
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.hours import CALIBRATION_LEADS
from energy_forecast.forecasting.models.weather_fallback import Variant, VariantPrediction
from energy_forecast.forecasting.serialization import Shape
from energy_forecast.forecasting.types import QUANTILE_LEVELS, Flags, Floats, Ints
from energy_forecast.time_arguments import LONGEST_HORIZON_HOURS

WINDOW_HOURS = 24 * WINDOW_DAYS
# Local hours of the day at which held-out forecasts are issued: three, since a forecast may be issued at any hour
ORIGIN_HOURS = (0, 8, 16)
# With fewer held-out days the size of errors is uncertain
_FEW_DAYS = 21
_DAY: Ints = np.arange(24, dtype=np.int64)


def aggregated_members(only: int | None) -> slice:
    """Return the members that are aggregated: all, or the one that is served alone."""
    return slice(None) if only is None else slice(only, only + 1)


@dataclass(frozen=True)
class CombinedPrediction:
    """The prediction for n hours, as shares of the level.

    share: [n]. error_quantiles: [n, 19].
    members: [members, n] predictions. weights: [members, n].
    correction: [n], the part of `share` that corrects recent errors.
    """

    share: Floats
    error_quantiles: Floats
    members: Floats
    weights: Floats
    correction: Floats


@dataclass(frozen=True)
class _RecentErrors:
    """Errors of the days before an origin, and the state of the members there.

    residuals: [4], see recent_residuals. scale, short_lead_scale: relative to the expected errors.
    adjustment: [buckets, 19], the factor of each quantile.
    """

    state: WeightState
    residuals: Floats
    scale: float
    short_lead_scale: float
    adjustment: Floats


@dataclass(frozen=True)
class FittedCombiner(Variant):
    """A fitted ensemble, with weather or without.

    uncorrected, corrected: the error profile of the combination before and after the residual correction.
    residual_coefficients: [COEFFICIENTS].
    unusual_days: the increase of `corrected` on special, hot and cold days.
    quantiles: [buckets, 19] of `errors` errors, divided by their expected size and recent scale.
    tail: [origin hours, members, WINDOW_HOURS] kWh, held-out predictions of the hours before `tail_until`. The members
        were trained on those hours afterwards, so they can no longer be tested on them.
    later_tail: [members, n] kWh, the same for `later_samples` before `tail_until`.
    only: the member that is served alone, without correction, because the combination was worse on held-out data. Its
        recent errors still move its quantiles.
    """

    members: Members
    uncorrected: ErrorProfile
    residual_coefficients: Annotated[Floats, Shape(COEFFICIENTS)]
    corrected: ErrorProfile
    unusual_days: UnusualDays
    quantiles: Annotated[Floats, Shape(len(CALIBRATION_LEADS), len(QUANTILE_LEVELS))]
    errors: int
    tail: Annotated[NDArray[np.float32], Shape(len(ORIGIN_HOURS), None, WINDOW_HOURS, finite=False)]
    later_tail: Annotated[NDArray[np.float32], Shape(None, None, finite=False)]
    tail_until: int
    only: int | None

    @property
    def weather(self) -> bool:
        """Return whether it uses weather."""
        return self.members.weather

    def predict(self, samples: Samples, where: Flags) -> VariantPrediction:
        """Return prediction and quantiles of the flagged hours, kWh."""
        # For all hours, and not the flagged ones: the forecast of an hour must not depend on the other hours
        own = self.predict_shares(samples)
        return VariantPrediction(
            (own.share * samples.level)[where],
            ((own.share[:, None] + own.error_quantiles) * samples.level[:, None])[where],
        )

    def predict_shares(self, samples: Samples) -> CombinedPrediction:
        """Return the prediction of samples with one common origin, from data before the origin only."""
        view, origin, targets = samples.view, int(samples.origins[0]), samples.targets
        ahead = targets - origin
        # The hours of the window that were not predicted during training, each from the last origin before it
        fresh = np.arange(max(origin - WINDOW_HOURS, self.tail_until), origin, dtype=np.int64)
        origins = origin - 24 * -(-(origin - fresh) // 24)
        later = later_samples(view, origin, later_buckets(int(ahead.max())))
        fresh_later = later.targets >= self.tail_until
        n, again = len(fresh), len(fresh) + int(fresh_later.sum())
        shares = self.members.predict(
            Samples(
                view,
                np.concatenate([origins, later.origins[fresh_later], samples.origins]),
                np.concatenate([fresh, later.targets[fresh_later], targets]),
                # Recent forecasts are made again with errors of their weather forecasts
                np.arange(again + len(targets)) < again,
            )
        )
        of_window, of_later, members = np.split(shares, [n, again], axis=1)
        later_shares = self._stored_later(later)
        later_shares[:, fresh_later] = of_later
        recent = self._recent_errors(view, origin, of_window, later, later_shares)
        used = aggregated_members(self.only)

        hour = view.calendar.hour[targets - view.history.start]
        corrected, spread = recent.state.combine(members[used], ahead)
        inputs = residual_features(np.repeat(recent.residuals[None], len(ahead), axis=0), ahead)
        size = self.uncorrected.expected_error(spread, ahead, hour)
        corrected += size * (inputs @ self.residual_coefficients)
        width = recent.scale * self.corrected.expected_error(spread, ahead, hour) * long_lead_factor(ahead)
        width = width * self.unusual_days.factor(view, targets)
        width = width * np.where(ahead < SHORT_LEAD_HOURS, recent.short_lead_scale, 1.0)
        weights = np.zeros_like(members)
        weights[used] = recent.state.weights(np.isfinite(members[used]), ahead)
        uncorrected = (weights * np.nan_to_num(members)).sum(axis=0)
        share = corrected if self.only is None else uncorrected
        quantiles = (recent.adjustment * self.quantiles)[CALIBRATION_LEADS.bucket(ahead)] * width[:, None]
        return CombinedPrediction(
            share,
            (corrected - share)[:, None] + quantiles,
            members,
            weights,
            share - uncorrected,
        )

    def _recent_errors(
        self, view: HistoryView, origin: int, fresh: Floats, later: Samples, later_shares: Floats
    ) -> _RecentErrors:
        """Aggregate the members over the WINDOW_DAYS days before `origin`, and measure the errors there.

        Args:
            fresh: [members, n], the predictions of the last n hours of the window, shares of the level. The earlier
                ones were stored during training.
            later: forecasts for days two to seven, from `later_samples`.
            later_shares: [members, len(later)], their predictions, shares of the level.
        """
        members, n = fresh.shape
        begin = origin - WINDOW_HOURS
        days = begin + 24 * np.arange(WINDOW_DAYS, dtype=np.int64)
        level = np.repeat(Samples(view, days, days).level, 24)
        window = np.full((members, WINDOW_HOURS), np.nan)
        window[:, WINDOW_HOURS - n :] = fresh
        old = self._stored_predictions(view, origin, begin)
        window[:, : WINDOW_HOURS - n] = old[:, : WINDOW_HOURS - n] / level[: WINDOW_HOURS - n]
        at = np.arange(begin, origin) - view.history.start
        hour = view.calendar.hour[at].reshape(WINDOW_DAYS, 24)
        actual = (view.history.load[at] / level).reshape(WINDOW_DAYS, 24)

        used = aggregated_members(self.only)
        aggregation = aggregate_online(window.reshape(members, WINDOW_DAYS, 24)[used], actual)
        lead = np.tile(_DAY, (WINDOW_DAYS, 1))
        size = self.uncorrected.expected_error(aggregation.spread, lead, hour)
        residuals = recent_residuals((actual - aggregation.combined) / size)
        inputs = residual_features(np.repeat(residuals[:-1], 24, axis=0), lead.ravel())
        predicted = aggregation.combined + size * (inputs @ self.residual_coefficients).reshape(WINDOW_DAYS, 24)
        unusual = self.unusual_days.factor(view, np.arange(begin, origin)).reshape(WINDOW_DAYS, 24)
        standardized = (actual - predicted) / (self.corrected.expected_error(aggregation.spread, lead, hour) * unusual)
        scale = recent_scale(standardized)
        standardized = standardized / scale[:-1, None]
        short = short_lead_scale(standardized)
        fitted = self.quantiles[CALIBRATION_LEADS.bucket(lead.ravel())]
        first_day = standardized / np.where(_DAY < SHORT_LEAD_HOURS, short, 1.0)
        adjustment = np.ones_like(self.quantiles)
        adjustment[: later_buckets(24).start] = coverage_adjustment(
            first_day.ravel(), coverage_weights(WINDOW_DAYS).ravel(), fitted
        )
        error = self._later_errors(later, later_shares[used], begin, aggregation, scale)
        weight, bucket = later_weights(later, origin), CALIBRATION_LEADS.bucket(later.lead)
        for own in np.unique(bucket):
            at = bucket == own
            adjustment[own] = coverage_adjustment(error[at], weight[at], self.quantiles[bucket[at]])
        return _RecentErrors(aggregation.states[-1], residuals[-1], float(scale[-1]), short, adjustment)

    def _later_errors(
        self, later: Samples, shares: Floats, begin: int, aggregation: OnlineAggregation, scale: Floats
    ) -> Floats:
        """Return the errors of forecasts for days two to seven, divided by expected size and scale, [n].

        They are combined by the state at the last day of the window before their origin, without residual correction,
        which has faded by then.

        Args:
            begin, aggregation, scale: of the window of days before the issue.
        """
        day = (later.origins - begin) // 24
        combined, spread = np.full(len(later), np.nan), np.full(len(later), np.nan)
        for own in np.unique(day):
            at = day == own
            ahead = later.targets[at] - (begin + 24 * int(own))
            combined[at], spread[at] = aggregation.states[own].combine(shares[:, at], ahead)
        hour = later.view.calendar.hour[later.position]
        size = self.corrected.expected_error(spread, later.lead, hour) * scale[day]
        size = size * self.unusual_days.factor(later.view, later.targets)
        return np.asarray((later.actual / later.level - combined) / size, float)

    def _stored_later(self, later: Samples) -> Floats:
        """Return held-out predictions of `later`, shares of the level, [members, n]; NaN where missing."""
        shares = np.full((len(self.members.names), len(later)), np.nan)
        stored = later_samples(later.view, self.tail_until, later_buckets(LONGEST_HORIZON_HOURS))
        here, there = same_samples(later, stored)
        shares[:, here] = self.later_tail[:, there] / later.level[here]
        return shares

    def _stored_predictions(self, view: HistoryView, origin: int, begin: int) -> Floats:
        """Return held-out predictions of the WINDOW_HOURS from `begin` on, kWh, NaN where missing.

        They are those of the origin hour that is nearest to the one of `origin`.
        """
        hour = int(view.calendar.hour[origin - view.history.start])
        nearest = int(np.argmin([min((hour - own) % 24, (own - hour) % 24) for own in ORIGIN_HOURS]))
        window = np.full((len(self.members.names), WINDOW_HOURS), np.nan)
        shift = begin - (self.tail_until - WINDOW_HOURS)
        if 0 <= shift < WINDOW_HOURS:
            window[:, : WINDOW_HOURS - shift] = self.tail[nearest][:, shift:]
        elif -WINDOW_HOURS < shift < 0:
            window[:, -shift:] = self.tail[nearest][:, :shift]
        return window

    def contributions(self, samples: Samples, where: Flags) -> pl.DataFrame | None:
        """Return the contributions of feature groups to the flagged hours."""
        own = self.predict_shares(samples)
        weight = own.weights[:, where]
        of_matrix = len(self.members.of_matrix)

        def from_matrix(matrix: FeatureMatrix, hour: Ints) -> Floats:
            predicted = np.nan_to_num(self.members.predict_from_changed(matrix))
            return np.asarray((weight[:of_matrix, hour] * predicted).sum(axis=0), float)

        def from_load(samples: Samples) -> Floats:
            predicted = np.nan_to_num(self.members.predict_from_load(samples))
            return np.asarray((weight[of_matrix:] * predicted).sum(axis=0), float)

        terms = ModelTerms(samples.take(where), self.members.matrix_of, from_matrix, from_load, own.correction[where])
        return contributions_of(terms)

    def notes(self, model: str, facts: dict[str, Any]) -> list[str]:  # noqa: ARG002
        """Return a note if a naive model is served, and a warning if the intervals are based on few days."""
        notes = []
        if self.only is not None:
            notes.append(
                f"{self.members.names[self.only]} is served: on held-out data it was better than the combination."
            )
        # Each hour was predicted once from each origin hour
        days = round(facts["held_out"]["hours"] / 24 / len(ORIGIN_HOURS))
        if days < _FEW_DAYS:
            notes.append(f"Intervals are based on the errors of {days} days, and may be much too wide or too narrow.")
        return notes

    def check(self) -> None:
        """Raise ArtifactError if the arrays are not those of the members."""
        count = len(self.members.names)
        if {self.tail.shape[1], len(self.later_tail)} != {count} or not (self.only is None or 0 <= self.only < count):
            raise ArtifactError("The stored ensemble has other members than its combination.")
