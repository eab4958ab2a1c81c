"""The ensemble as a Forecaster."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from energy_forecast.forecasting.ensemble.combiner import FittedCombiner
from energy_forecast.forecasting.ensemble.online_weights import WINDOW_DAYS
from energy_forecast.forecasting.ensemble.training import fit_combiner
from energy_forecast.forecasting.models.protocol import Progress
from energy_forecast.forecasting.models.training_set import prepare_history
from energy_forecast.forecasting.models.weather_fallback import (
    WeatherFallbackForecaster,
    available_variants,
    fit_variants,
    read_forecaster,
)
from energy_forecast.forecasting.types import City

# The members predict the days of the window with lags of up to nine weeks, which are checked for faults against the
# 4 weeks before
HISTORY_DAYS = WINDOW_DAYS + 64 + 28

FittedEnsemble = WeatherFallbackForecaster[FittedCombiner]


class Ensemble:
    """A Forecaster that combines all base models. It is the default model."""

    name = "ensemble"
    kind = "ensemble"
    needed_hours = 18 * 24

    def fit(
        self,
        city: City,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        *,
        at: datetime,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> FittedEnsemble:
        """Fit all base models and their combination; see Forecaster.fit."""
        report = progress or (lambda _text: None)
        view, facts = prepare_history(self.name, self.needed_hours, city, load, weather, at=at, seed=seed)
        report(f"{self.name}: training on {facts['load_hours']} hours")
        kinds, facts = available_variants(view, self.needed_hours, facts)

        def fit_variant(weather: bool) -> tuple[FittedCombiner, dict[str, Any]]:
            found = fit_combiner(view, weather=weather, seed=seed)
            report(f"{self.name}: trained{' with weather' if weather else ''}")
            return found

        found, facts = fit_variants(fit_variant, kinds, facts)
        variants = {kind: combiner for kind, (combiner, _) in found.items()}
        parameters = facts | {kind: {**one.members.settings, **own} for kind, (one, own) in found.items()}
        return FittedEnsemble(self.name, city, variants, view.history.known_until, parameters, HISTORY_DAYS)

    def from_bytes(self, data: bytes) -> FittedEnsemble:
        """Return the fitted model of an artifact; see Forecaster.from_bytes."""
        return read_forecaster(self.name, data, FittedCombiner.restore, HISTORY_DAYS)
