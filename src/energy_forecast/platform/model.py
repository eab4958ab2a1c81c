"""Models without a database: fit, forecast, save and load."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, get_type_hints

import polars as pl

from energy_forecast import forecasting
from energy_forecast.errors import ArtifactError, EnergyForecastError
from energy_forecast.forecasting import City, FittedForecaster, Forecaster, ForecastInput, WeatherErrors, model_names
from energy_forecast.ingest import check_city
from energy_forecast.platform import arguments
from energy_forecast.platform.arguments import Frame, Moment, Span, check_type, checked, hourly_load, hourly_weather
from energy_forecast.platform.forecast import Forecast

# Length of the history shown with a forecast
_SHOWN = timedelta(days=28)


@dataclass(frozen=True, repr=False)
class Model:
    """A model that was fitted to the data of one city.

    Attributes:
        name: name of the model, one of `models()`.
        city: the city.
        trained_at: the training time, UTC.
    """

    name: str
    city: City
    trained_at: datetime
    _fitted: FittedForecaster

    @property
    def parameters(self) -> dict[str, Any]:
        """Return settings, training facts and held-out scores, as plain JSON."""
        return self._fitted.parameters

    @checked
    def predict(
        self,
        load: Frame,
        weather: Frame | None = None,
        weather_ahead: Frame | None = None,
        *,
        issued_at: Moment,
        horizon: Span = "48h",
        weather_is_observed: bool = False,
    ) -> Forecast:
        """Forecast the hours from `issued_at` on. The result depends on the arguments only.

        Args:
            load: known load: `timestamp` (UTC, start of the interval) and `consumption_kwh`. Intervals shorter than an
                hour are summed. Rows of the issue time and later are ignored.
            weather: observed weather: `timestamp`, `temperature` (degrees Celsius), optionally `humidity` (percent),
                `wind_speed` (m/s) and `precipitation` (mm). Rows of the issue time and later are ignored.
            weather_ahead: weather forecasts for the hours from the issue time on, with the same columns.
            issued_at: the time of issue, with an offset.
            horizon: longest lead time, whole hours up to 168h.
            weather_is_observed: `weather_ahead` is observed weather, in a test as if weather forecasts were perfect.

        Raises:
            NotEnoughDataError: no load is known before the issue time.
            EnergyForecastError: an argument is invalid.

        Examples:
            >>> model.predict(load, weather, weather_ahead, issued_at="2026-06-01T00:00Z", horizon="24h")
        """
        at = arguments.moment(issued_at, "issued_at")
        hours = arguments.horizon(horizon) // timedelta(hours=1)
        known = hourly_load(load, "load", self.city).filter(pl.col("timestamp") < at)
        observed = hourly_weather(weather, "weather", self.city).filter(pl.col("timestamp") < at)
        ahead = hourly_weather(weather_ahead, "weather_ahead", self.city)
        made = self._fitted.predict(ForecastInput(known, observed, ahead, at, hours, weather_is_observed))
        notes = list(made.notes)
        if at < self.trained_at:
            notes.append(
                f"The model was trained on data up to {self.trained_at:%Y-%m-%d %H:%M}Z, after the issue time."
            )
        shown = pl.col("timestamp") >= at - _SHOWN
        temperature = pl.concat([observed, ahead.filter(pl.col("timestamp") >= at)])
        return Forecast(
            city=self.city.name,
            timezone=self.city.timezone,
            model=self.name,
            version=None,
            run=None,
            issued_at=at,
            frame=made.frame,
            history=known.filter(shown),
            temperature=temperature.filter(shown).select("timestamp", "temperature"),
            weather_hours=made.weather_hours,
            fallback_level=0,
            notes=tuple(notes),
        )

    def to_bytes(self) -> bytes:
        """Return the model as bytes without code, for `load_model`. The same fit gives the same bytes."""
        header = {"name": self.name, "city": vars(self.city), "trained_at": self.trained_at.isoformat()}
        return json.dumps(header).encode() + b"\n" + self._fitted.to_bytes()

    def __repr__(self) -> str:
        return f"<Model {self.name} of {self.city.name}>"


@checked
def fit(
    model: str | Forecaster,
    city: City,
    load: Frame,
    weather: Frame | None = None,
    *,
    at: Moment,
    seed: int = 0,
    weather_errors: WeatherErrors | None = None,
) -> Model:
    """Fit a model to the data of one city, without a database. The same arguments give the same model.

    Args:
        model: one of `models()`, or a model such as `Ensemble([...])`.
        city: the city, with its time zone and country for calendar and holidays.
        load: known load: `timestamp` (UTC, start of the interval) and `consumption_kwh`. Intervals shorter than an hour
            are summed.
        weather: observed weather: `timestamp`, `temperature` (degrees Celsius), optionally `humidity` (percent),
            `wind_speed` (m/s) and `precipitation` (mm). None fits a model without weather.
        at: the training time, with an offset. Hours that had not ended by then are ignored.
        seed: of the random numbers of the models that use them.
        weather_errors: the expected errors of the weather forecasts, and the columns that they have:
            `forecasting.estimate_weather_errors` measures them. By default, of a service that gives the temperature
            only. A forecast with weather forecasts uses these columns only.

    Returns:
        The model.

    Raises:
        UnknownModelError: no model has this name.
        NotEnoughDataError: the load is too short for this model.
        EnergyForecastError: an argument is invalid.

    Examples:
        >>> city = ef.City("Munich", 48.14, 11.58, "Europe/Berlin", country_code="DE", subdivision="BY")
        >>> model = ef.fit("ensemble", city, load, weather, at="2026-06-01T00:00Z")
    """
    city = _checked_city(city)
    trained_at = arguments.moment(at, "at")
    if seed < 0:
        raise EnergyForecastError(f"`seed` is negative: {seed}.", hint="Use 0 or a larger number.")
    known, observed = hourly_load(load, "load", city), hourly_weather(weather, "weather", city)
    fitted = forecasting.fit(model, city, known, observed, at=trained_at, seed=seed, weather_errors=weather_errors)
    return Model(fitted.name, city, trained_at, fitted)


def _checked_city(city: City) -> City:
    """Return a city with the codes of its country and subdivision. Raises EnergyForecastError for an invalid value."""
    for name, annotation in get_type_hints(City).items():
        if name in vars(city):
            check_type(vars(city)[name], annotation, name)
    stored = check_city(**vars(city))
    return replace(city, country_code=stored["country_code"], subdivision=stored["subdivision"])


@checked
def load_model(data: bytes, model: Forecaster | None = None) -> Model:
    """Return the model that `Model.to_bytes` wrote. Nothing of the bytes is executed.

    Args:
        data: the bytes.
        model: the model that was fitted, if it is not registered, such as `Ensemble([...])`.

    Raises:
        ArtifactError: the bytes are damaged, or another version wrote them.
        UnknownModelError: the package of the model is not installed.

    Examples:
        >>> model = ef.load_model(pathlib.Path("munich.model").read_bytes())
    """
    header, _, artifact = data.partition(b"\n")
    try:
        stored = json.loads(header)
        name, city = str(stored["name"]), City(**stored["city"])
        trained_at = datetime.fromisoformat(stored["trained_at"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError("`data` is not a model that to_bytes() wrote.") from error
    city.check()
    return Model(name, city, trained_at, forecasting.load_model(model or name, artifact))


def models() -> tuple[str, ...]:
    """Return the names of the models: those of this package, the simplest first, then those of other packages.

    Examples:
        >>> ef.models()
        ('naive-24', 'naive-168', 'vanilla', 'linear', 'gradient-boosting', 'ensemble')
    """
    return tuple(model_names())
