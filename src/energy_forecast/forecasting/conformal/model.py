"""A fitted model with its intervals: what `fit` returns, and what makes forecasts."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting.conformal.quantiles import (
    BUCKETS,
    RECENT_HOURS,
    Calibration,
    lead_bucket,
    recent_state,
)
from energy_forecast.forecasting.data.history import timestamps
from energy_forecast.forecasting.explain.contributions import Parts, drivers_of
from energy_forecast.forecasting.features.expected_load import feature_set
from energy_forecast.forecasting.features.matrix import feature_table
from energy_forecast.forecasting.features.samples import Past, Rows
from energy_forecast.forecasting.models.naive import NAIVE_168, Naive
from energy_forecast.forecasting.models.protocol import Method, PointModel, TablePoint
from energy_forecast.forecasting.models.weather_fallback import Said, forecast_with_heads, lay_out
from energy_forecast.forecasting.serialization import Arrays, fact, pack, stored_array
from energy_forecast.forecasting.types import (
    QUANTILE_LEVELS,
    City,
    Flags,
    Floats,
    Forecast,
    Ints,
)

# Name of the fact that says why a model does not use the weather that there is
WITHOUT_WEATHER = "without_weather"
# 28 days of errors looked back at, whose lags reach 5 weeks further, found faulty or not by the 4 weeks before.
HISTORY_DAYS = 28 + 36 + 28


def standard_errors(errors: Floats, lead: Ints, hour: Ints, profile: Floats) -> Floats:
    """Errors divided by what is usual for their lead and local hour."""
    return np.asarray(errors / profile[lead_bucket(lead), hour], float)


def mixed(point: Floats, rows: Rows, naive_share: float) -> Floats:
    """A model's prediction with that share of naive-168 in it; kWh."""
    if naive_share == 0:
        return point
    return np.asarray((1 - naive_share) * point + naive_share * NAIVE_168.predict(rows), float)


@dataclass(frozen=True)
class Head:
    """A point model and its calibration.

    `recent` holds the standard errors of the RECENT_HOURS hours before hour number `recent_until`, made on held-out
    time. Once the model has learnt from those hours it cannot judge itself on them any more. `naive_share` is the
    share of naive-168 in the prediction, and `adapts` says whether the bias of late corrects it.
    """

    point: PointModel
    calibration: Calibration
    recent_until: int
    recent: Floats
    naive_share: float
    adapts: bool

    def predict(self, rows: Rows) -> Floats:
        """Load of each target, kWh."""
        return mixed(self.point.predict(rows), rows, self.naive_share)

    def state_at(self, past: Past, origin: int) -> tuple[float, float]:
        """Bias and scale of the errors of the last 28 days before `origin`, see recent_state."""
        window = np.full(RECENT_HOURS, np.nan)
        begin = origin - RECENT_HOURS
        kept = self.recent[max(0, begin - self.recent_until + RECENT_HOURS) :]
        if begin < self.recent_until:
            at = max(0, self.recent_until - RECENT_HOURS - begin)
            n = min(len(kept), RECENT_HOURS - at)
            window[at : at + n] = kept[:n]
        targets = np.arange(max(begin, self.recent_until), origin, dtype=np.int64)
        if len(targets):
            origins = origin - 24 * -(-(origin - targets) // 24)
            rows = Rows(past, origins, targets)
            rows = rows.take(np.isfinite(rows.actual) & np.isfinite(rows.level))
            if len(rows):
                errors = (rows.actual - self.predict(rows)) / rows.level
                hour = past.calendar.hour[rows.position]
                window[rows.targets - begin] = standard_errors(errors, rows.lead, hour, self.calibration.profile)
        return recent_state(window, np.arange(RECENT_HOURS, 0, -1, dtype=np.int64))


@dataclass(frozen=True)
class CalibratedModel:
    """A FittedModel: see contract.py.

    heads: "weather" for hours whose weather is known, when it could be learnt, and "plain" for all others.
    fitted_until: the hour number up to which load was known when it was fitted.
    """

    name: str
    city: City
    heads: dict[str, Head]
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
        head, part = self.heads[kind], rows.take(where)
        point = head.predict(part)
        bias, scale = head.state_at(past, past.history.known_until)
        hour = past.calendar.hour[part.position]
        drift = head.calibration.drift(part.lead, hour, bias) * part.level
        spread = head.calibration.spread(part.lead, hour, bias, scale)
        return Said(
            point + drift if head.adapts else point,
            point[:, None] + spread * part.level[:, None],
            head.point.leading(part),
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
        head, own = self.heads[kind], rows.take(where)
        point = head.point
        if not isinstance(point, TablePoint):
            return None
        bias, _ = head.state_at(past, past.history.known_until)
        drift = head.calibration.drift(own.lead, past.calendar.hour[own.position], bias)
        naive = head.naive_share
        return drivers_of(
            Parts(
                own,
                partial(feature_table, weather=point.weather),
                lambda table, _: (1 - naive) * point.share(table),
                lambda rows: naive * NAIVE_168.predict(rows) / rows.level,
                drift if head.adapts else np.zeros(len(own)),
            )
        )

    def repeats(
        self,
        load: pl.DataFrame,
        weather: pl.DataFrame,
        weather_ahead: pl.DataFrame,
        *,
        issued_at: datetime,
        horizon_hours: int,
    ) -> pl.DataFrame | None:
        """See Repeating.repeats."""
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
        return laid.each_part(self._repeats)

    def _repeats(self, kind: str, past: Past, rows: Rows, where: Flags) -> pl.DataFrame | None:  # noqa: ARG002
        point, own = self.heads[kind].point, rows.take(where)
        if not isinstance(point, Naive):
            return None
        days = point.repeated(own)[1]
        source = timestamps(own.days_before(days)).alias("repeated_from")
        frame = pl.DataFrame([timestamps(own.targets), source, pl.Series("days", days)])
        return frame.select("timestamp", pl.when(pl.col("days") > 0).then("repeated_from"))

    def _remark(self, kind: str) -> str | None:
        held_out = self.parameters[kind].get("held_out", {})
        remarks = []
        if held_out.get("mape", 0.0) > held_out.get("naive_168_mape", math.inf):
            remarks.append(
                f"On held-out time {self.name} was worse than naive-168: "
                f"MAPE {held_out['mape']:.2f} against {held_out['naive_168_mape']:.2f} %."
            )
        if kind == "plain" and WITHOUT_WEATHER in self.parameters:
            remarks.append(self.parameters[WITHOUT_WEATHER])
        return " ".join(remarks) or None

    def save(self) -> bytes:
        """See FittedModel.save."""
        return pack(*self.state())

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """All of it as JSON and arrays."""
        arrays: Arrays = {}
        heads: dict[str, dict[str, Any]] = {}
        for kind, head in self.heads.items():
            state, own = head.point.state()
            heads[kind] = {"point": state, "recent_until": head.recent_until, "n": head.calibration.n}
            heads[kind].update(naive_share=head.naive_share, adapts=head.adapts)
            arrays.update({f"{kind}/point/{name}": array for name, array in own.items()})
            arrays[f"{kind}/profile"] = head.calibration.profile
            arrays[f"{kind}/quantiles"] = head.calibration.quantiles
            arrays[f"{kind}/recent"] = head.recent
        header = {
            "name": self.name,
            "features": feature_set(),
            "city": vars(self.city),
            "fitted_until": self.fitted_until,
            "parameters": self.parameters,
            "heads": heads,
        }
        return header, arrays

    @staticmethod
    def restore(header: dict[str, Any], arrays: Arrays, method: Method) -> CalibratedModel:
        """The model whose `state` this was. Raises ArtifactError."""
        heads = {}
        parameters = fact(header, "parameters", dict)
        for kind, stored in fact(header, "heads", dict).items():
            prefix = f"{kind}/point/"
            own = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
            calibration = Calibration(
                stored_array(arrays, f"{kind}/profile", "<f8", BUCKETS, 24),
                stored_array(arrays, f"{kind}/quantiles", "<f8", BUCKETS, len(QUANTILE_LEVELS)),
                fact(stored, "n", int),
            )
            point = method.restore(fact(stored, "point", dict), own)
            if isinstance(point, TablePoint) and point.weather != (kind == "weather"):
                raise ArtifactError(f"The stored head {kind!r} is another one.")
            heads[kind] = Head(
                point,
                calibration,
                fact(stored, "recent_until", int),
                # Unknown hours are NaN
                stored_array(arrays, f"{kind}/recent", "<f8", RECENT_HOURS, finite=False),
                fact(stored, "naive_share", float),
                fact(stored, "adapts", bool),
            )
        check_heads(heads)
        model = CalibratedModel(
            fact(header, "name", str),
            City.restore(header.get("city")),
            heads,
            fact(header, "fitted_until", int),
            parameters,
        )
        for kind in heads:
            fact(parameters, kind, dict)
            model._remark(kind)
        return model


def check_heads(heads: Collection[str]) -> None:
    """Raise ArtifactError if the heads are not "plain", or "plain" and "weather"."""
    if "plain" not in heads or not set(heads) <= {"plain", "weather"}:
        raise ArtifactError("The stored model has other heads than this version's models.")
