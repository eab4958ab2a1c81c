"""The ensemble as a model: fit, forecast, save, load."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.conformal.model import WITHOUT_WEATHER, check_heads
from energy_forecast.forecasting.conformal.training import head_kinds, learn_heads, prepare, read_artifact
from energy_forecast.forecasting.ensemble.base_models import NAMES, READ_TABLE
from energy_forecast.forecasting.ensemble.combiner import PHASES, EnsembleHead
from energy_forecast.forecasting.ensemble.online_weights import WINDOW_DAYS
from energy_forecast.forecasting.ensemble.training import fit_head
from energy_forecast.forecasting.explain.contributions import Parts, drivers_of
from energy_forecast.forecasting.features.expected_load import feature_set
from energy_forecast.forecasting.features.matrix import Table
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.models.protocol import Say
from energy_forecast.forecasting.models.weather_fallback import Said, forecast_with_heads, lay_out
from energy_forecast.forecasting.serialization import Arrays, fact, pack
from energy_forecast.forecasting.types import City, Flags, Floats, Forecast, Ints

# Members are asked about the days of the window, look nine weeks further back, and 4 weeks more say what is faulty.
HISTORY_DAYS = WINDOW_DAYS + 64 + 28
# Fewer held-out days than these say little of how far an hour may be off
_FEW_DAYS = 21


@dataclass(frozen=True)
class FittedEnsemble:
    """A FittedModel: see contract.py.

    heads: "weather" for hours whose weather is known, when it could be learnt, and "plain" for all others.
    """

    name: str
    city: City
    heads: dict[str, EnsembleHead]
    fitted_until: int
    parameters: dict[str, Any]

    @property
    def history_days(self) -> int:
        return HISTORY_DAYS

    def forecast(
        self,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        weather_ahead: pl.DataFrame,
        *,
        issued_at: datetime,
        horizon_hours: int,
    ) -> Forecast:
        """See FittedModel.forecast."""
        return forecast_with_heads(
            self.city,
            self.heads,
            load,
            weather,
            weather_ahead,
            issued_at=issued_at,
            horizon_hours=horizon_hours,
            history_days=HISTORY_DAYS,
            say=self._say,
            remark=self._remark,
        )

    def _say(self, kind: str, past: Past, rows: Rows, where: Flags) -> Said:
        head = self.heads[kind]
        # All hours, also those that the other head serves: what is said of one must not hang on how many there are
        said = head.say(past, past.history.known_until, rows.targets)
        return Said(
            (said.share * rows.level)[where],
            ((said.share[:, None] + said.spread) * rows.level[:, None])[where],
            {name: values[where] for name, values in head.members.boosted.leading_of(said.table, rows).items()},
        )

    def drivers(
        self,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        weather_ahead: pl.DataFrame,
        *,
        issued_at: datetime,
        horizon_hours: int,
    ) -> pl.DataFrame | None:
        """See Explaining.drivers."""
        laid = lay_out(
            self.city,
            self.heads,
            load,
            weather,
            weather_ahead,
            issued_at=issued_at,
            horizon_hours=horizon_hours,
            history_days=HISTORY_DAYS,
        )
        return laid.each_part(self._drivers)

    def _drivers(self, kind: str, past: Past, rows: Rows, where: Flags) -> pl.DataFrame | None:
        head = self.heads[kind]
        said = head.say(past, past.history.known_until, rows.targets)
        own = rows.take(where)
        weight = said.weights[:, where]

        def of_table(table: Table, hour: Ints) -> Floats:
            spoken = np.nan_to_num(head.members.of_changed(table))
            return np.asarray((weight[:READ_TABLE, hour] * spoken).sum(axis=0), float)

        def of_load(rows: Rows) -> Floats:
            spoken = np.nan_to_num(head.members.of_load(rows))
            return np.asarray((weight[READ_TABLE:] * spoken).sum(axis=0), float)

        return drivers_of(Parts(own, head.members.table_of, of_table, of_load, said.late[where]))

    def _remark(self, kind: str) -> str | None:
        only = self.heads[kind].only
        remarks = []
        if only is not None:
            remarks.append(f"{NAMES[only]} is served: on held-out time it was better than all that was learnt.")
        # Each hour was tried once from each time of day
        days = round(self.parameters[kind]["held_out"]["hours"] / 24 / len(PHASES))
        if days < _FEW_DAYS:
            remarks.append(f"Intervals rest on the errors of {days} days, and may be much too wide or too narrow.")
        if kind == "plain" and WITHOUT_WEATHER in self.parameters:
            remarks.append(self.parameters[WITHOUT_WEATHER])
        return " ".join(remarks) or None

    def save(self) -> bytes:
        """See FittedModel.save."""
        arrays: Arrays = {}
        heads: dict[str, dict[str, Any]] = {}
        for kind, head in self.heads.items():
            heads[kind], own = head.state()
            arrays |= {f"{kind}/{name}": array for name, array in own.items()}
        header = {
            "name": self.name,
            "features": feature_set(),
            "city": vars(self.city),
            "fitted_until": self.fitted_until,
            "parameters": self.parameters,
            "heads": heads,
        }
        return pack(header, arrays)


class Ensemble:
    """A Model: see models/protocol.py. What `forecast` uses when no model is named."""

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
        progress: Say | None = None,
    ) -> FittedEnsemble:
        """See Model.fit."""
        say = progress or (lambda _words: None)
        past, parameters = prepare(self.name, self.needed_hours, city, load, weather, at=at, seed=seed)
        say(f"{self.name}: learning from {parameters['load_hours']} hours")
        kinds, parameters = head_kinds(past, self.needed_hours, parameters)

        def learn(weather: bool) -> tuple[EnsembleHead, dict[str, Any]]:
            found = fit_head(past, weather=weather, seed=seed)
            say(f"{self.name}: learnt{' with weather' if weather else ''}")
            return found

        found, parameters = learn_heads(learn, kinds, parameters)
        heads = {}
        for kind, (head, facts) in found.items():
            heads[kind] = head
            parameters[kind] = {**head.members.settings, **facts}
        return FittedEnsemble(self.name, city, heads, past.history.known_until, parameters)

    def load(self, data: bytes) -> FittedEnsemble:
        """See Model.load."""
        header, arrays = read_artifact(self.name, data)
        heads = {}
        for kind, stored in fact(header, "heads", dict).items():
            own = {name[len(kind) + 1 :]: array for name, array in arrays.items() if name.startswith(f"{kind}/")}
            heads[kind] = EnsembleHead.restore(stored, own)
            if heads[kind].members.boosted.weather != (kind == "weather"):
                raise ArtifactError(f"The stored head {kind!r} is another one.")
        check_heads(heads)
        fitted = FittedEnsemble(
            fact(header, "name", str),
            City.restore(header.get("city")),
            heads,
            fact(header, "fitted_until", int),
            fact(header, "parameters", dict),
        )
        for kind in heads:
            fitted._remark(kind)
        return fitted
