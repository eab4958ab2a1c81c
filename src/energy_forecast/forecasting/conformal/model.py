"""A fitted regressor with conformal intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import polars as pl

from energy_forecast.forecasting.conformal.quantiles import (
    RECENT_HOURS,
    Calibration,
    recent_bias_and_scale,
)
from energy_forecast.forecasting.data.history import timestamps
from energy_forecast.forecasting.explain.contributions import ModelTerms, contributions_of
from energy_forecast.forecasting.features.matrix import feature_matrix
from energy_forecast.forecasting.features.samples import HistoryView, Samples
from energy_forecast.forecasting.hours import CALIBRATION_LEADS
from energy_forecast.forecasting.models.naive import NAIVE_168, Naive
from energy_forecast.forecasting.models.regressor import FittedRegressor, MatrixRegressor
from energy_forecast.forecasting.models.weather_fallback import Variant, VariantPrediction
from energy_forecast.forecasting.serialization import Shape
from energy_forecast.forecasting.types import Flags, Floats, Ints

# 28 days of errors, whose lags go back 5 more weeks, which are checked for faults against the 4 weeks before
HISTORY_DAYS = 28 + 36 + 28


def standardized_errors(errors: Floats, lead: Ints, hour: Ints, profile: Floats) -> Floats:
    """Return errors divided by the expected absolute error of their lead time and local hour."""
    return np.asarray(errors / profile[CALIBRATION_LEADS.bucket(lead), hour], float)


def blend_with_naive(predicted: Floats, samples: Samples, naive_share: float) -> Floats:
    """Return a prediction (kWh) in which naive-168 has the weight `naive_share`."""
    if naive_share == 0:
        return predicted
    return np.asarray((1 - naive_share) * predicted + naive_share * NAIVE_168.predict(samples), float)


@dataclass(frozen=True)
class ConformalVariant(Variant):
    """A fitted regressor and the calibration of its intervals; a Variant.

    recent: standardized errors of the RECENT_HOURS hours before hour number `recent_until`, made on held-out data. The
        regressor was trained on those hours afterwards, so its errors on them can no longer be measured.
    naive_share: the weight of naive-168 in the prediction.
    adapts: whether the recent bias corrects the prediction.
    """

    regressor: FittedRegressor
    calibration: Calibration
    recent_until: int
    recent: Annotated[Floats, Shape(RECENT_HOURS, finite=False)]
    naive_share: float
    adapts: bool

    @property
    def weather(self) -> bool:
        """Return whether it uses weather."""
        return self.regressor.weather

    def predict(self, samples: Samples, where: Flags) -> VariantPrediction:
        """Return prediction and quantiles of the flagged hours, kWh."""
        own, view = samples.take(where), samples.view
        predicted = self.predict_load(own)
        bias, scale = self.recent_errors(view, view.history.known_until)
        hour = view.calendar.hour[own.position]
        correction = self.calibration.bias_correction(own.lead, hour, bias) * own.level
        errors = self.calibration.error_quantiles(own.lead, hour, bias, scale)
        return VariantPrediction(
            predicted + correction if self.adapts else predicted,
            predicted[:, None] + errors * own.level[:, None],
        )

    def predict_load(self, samples: Samples) -> Floats:
        """Return the load of each target without the correction by the recent bias, kWh."""
        return blend_with_naive(self.regressor.predict(samples), samples, self.naive_share)

    def recent_errors(self, view: HistoryView, origin: int) -> tuple[float, float]:
        """Return bias and scale of the errors of the 28 days before `origin`; see recent_bias_and_scale."""
        window = np.full(RECENT_HOURS, np.nan)
        begin = origin - RECENT_HOURS
        stored = self.recent[max(0, begin - self.recent_until + RECENT_HOURS) :]
        if begin < self.recent_until:
            at = max(0, self.recent_until - RECENT_HOURS - begin)
            # Negative if load of the last weeks before the fit was removed since
            n = max(0, min(len(stored), RECENT_HOURS - at))
            window[at : at + n] = stored[:n]
        targets = np.arange(max(begin, self.recent_until), origin, dtype=np.int64)
        if len(targets):
            origins = origin - 24 * -(-(origin - targets) // 24)
            samples = Samples(view, origins, targets)
            samples = samples.take(np.isfinite(samples.actual) & np.isfinite(samples.level))
            if len(samples):
                errors = (samples.actual - self.predict_load(samples)) / samples.level
                hour = view.calendar.hour[samples.position]
                standardized = standardized_errors(errors, samples.lead, hour, self.calibration.profile)
                window[samples.targets - begin] = standardized
        return recent_bias_and_scale(window, np.arange(RECENT_HOURS, 0, -1, dtype=np.int64))

    def contributions(self, samples: Samples, where: Flags) -> pl.DataFrame | None:
        """Return the contributions of feature groups; None for a regressor that does not use the feature matrix."""
        regressor, own, view = self.regressor, samples.take(where), samples.view
        if not isinstance(regressor, MatrixRegressor):
            return None
        bias, _ = self.recent_errors(view, view.history.known_until)
        correction = self.calibration.bias_correction(own.lead, view.calendar.hour[own.position], bias)
        naive = self.naive_share
        return contributions_of(
            ModelTerms(
                own,
                partial(feature_matrix, weather=regressor.weather),
                lambda matrix, _: (1 - naive) * regressor.share(matrix),
                lambda samples: naive * NAIVE_168.predict(samples) / samples.level,
                correction if self.adapts else np.zeros(len(own)),
            )
        )

    def repeated_hours(self, samples: Samples, where: Flags) -> pl.DataFrame | None:
        """Return the hour that each forecast hour repeats; None for a regressor that is not naive."""
        regressor, own = self.regressor, samples.take(where)
        if not isinstance(regressor, Naive):
            return None
        days = regressor.repeated(own)[1]
        source = timestamps(own.days_before(days)).alias("repeated_from")
        frame = pl.DataFrame([timestamps(own.targets), source, pl.Series("days", days)])
        return frame.select("timestamp", pl.when(pl.col("days") > 0).then("repeated_from"))

    def notes(self, model: str, facts: dict[str, Any]) -> list[str]:
        """Return a warning if naive-168 was better on held-out data."""
        held_out = facts.get("held_out", {})
        if held_out.get("mape", 0.0) <= held_out.get("naive_168_mape", math.inf):
            return []
        return [
            f"On held-out data {model} was worse than naive-168: "
            f"MAPE {held_out['mape']:.2f} against {held_out['naive_168_mape']:.2f} %."
        ]
