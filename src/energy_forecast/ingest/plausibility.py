"""Detect valid numbers with another meaning: another unit, readings of a meter's register, net load.

A single row cannot show it; the rows of a city together can. Each finding refuses the whole batch once, with advice,
instead of some of its rows: the other rows would be stored with a wrong value, or their sum would be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from energy_forecast.database.cities import StoredCity
from energy_forecast.database.forecasts import LARGEST_KWH
from energy_forecast.database.judging import StoredMean
from energy_forecast.errors import IngestError
from energy_forecast.ingest.climate import hottest_day
from energy_forecast.ingest.datasets import INTERVAL, Dataset
from energy_forecast.ingest.options import ReadOptions

# A meter fault is rare and small, and only its row is rejected; a city that feeds power in does so for hours
_MOST_NEGATIVE = 0.001
_MOST_FED_IN = 0.1
# Of the loads of nine US cities and Tetouan, none rises for more than 18 hours without a fall; of all changes within
# two days at least 28 % are falls. A register falls only where it is set back, to less than half, once a day at most
_MOST_FALLS = 0.01
_MOST_RESETS = 0.1
# A daily reset of a register is at one time of the day, except for the hour of a clock change (minutes)
_RESET_BAND = 60
_MOST_ROLLOVERS = 2
# Least span and rises of a register that is far above its gain per interval; that starts near 0; that is set back
_FAR_ABOVE, _GAIN = (timedelta(hours=23), 20), 0.005
_NEAR_ZERO = (timedelta(hours=71), 60)
_SET_BACK = (timedelta(days=6), 130)
# Orders of magnitude between a file and the city's stored values that mean another unit, not growth of the city
_UNIT_STEPS = (3, 6)
_UNIT_TOLERANCE = 0.6
_LEAST_ROWS = 24
# Degrees Celsius above the hottest day; single hours are hotter than their day
_DAY_MARGIN, _HOUR_MARGIN = 2.0, 12.0
_DAY = timedelta(hours=20)
# Between the mean of a file and the one stored of the same weeks
_LARGE_STEP = 20.0
# A faulty sensor sometimes reports 85 degrees; a file in Fahrenheit has many values above 60 in summer
_MANY_HOT = 0.2
_MANY_KELVIN = 0.5
# Share of a value that rounding to two decimals may change without a note
_MOST_ROUNDED = 0.1
_MOST_NAMED = 5


@dataclass(frozen=True)
class Negative:
    """The first negative value of a city, with its file and line."""

    file: str
    line: int
    value: float


class PlausibilityChecks:
    """Facts about the values of a batch, collected piece by piece, and the checks on them."""

    def __init__(self, dataset: Dataset, cities: Sequence[StoredCity], options: ReadOptions) -> None:
        self._dataset = dataset
        self._cities = cities
        self._options = options
        self._column = dataset.values[0].name
        self._facts: list[pl.DataFrame] = []
        self._negative: dict[int, Negative] = {}

    def add(self, file: str, rows: pl.DataFrame) -> None:
        """Add the facts of some rows.

        Args:
            file: the file's name.
            rows: line, city_no, timestamp, interval_minutes (null if not stated), and value: the first value column in
                the stored unit, which may be out of range; for weather also humidity.
        """
        if not rows.height:
            return
        facts = _load_facts(rows) if self._column == "consumption_kwh" else _weather_facts(rows)
        self._facts.append(facts)
        if len(self._facts) > 20:
            self._facts = [self._summed()]
        if self._column == "consumption_kwh" and facts["negative"].sum():
            for city, line, value in (
                rows.filter(pl.col("value") < 0)
                .group_by("city_no")
                .agg(pl.col("line").first(), pl.col("value").first())
                .iter_rows()
            ):
                self._negative.setdefault(city, Negative(file, line, value))

    def refuse(self) -> None:
        """Refuse a batch whose values show another meaning without a comparison.

        Raises:
            IngestError: the finding, the city, and the remedy.
        """
        for facts in self._by_city():
            if self._column == "consumption_kwh":
                self._refuse_negative(facts)
                self._refuse_register(facts)
            else:
                self._refuse_temperature(facts)
                self._refuse_humidity(facts)

    def refuse_other_level(self, stored: Mapping[int, StoredMean], minutes: Mapping[int, int]) -> None:
        """Refuse a batch whose values are in another unit than the stored ones of the city.

        Args:
            stored: the level of the stored values near the first values of the batch, by city.
            minutes: the length of the intervals whose rows do not state it, by city.

        Raises:
            IngestError: the values of a city differ by a factor between units.
        """
        if self._column in self._options.units:
            return
        for facts in self._by_city():
            level = stored.get(facts["city_no"])
            if level is None or level.row_count < _LEAST_ROWS:
                continue
            if self._column == "consumption_kwh":
                self._refuse_factor(facts, level, minutes.get(facts["city_no"], 60))
            else:
                self._refuse_step(facts, level)

    def spans(self) -> list[tuple[int, datetime]]:
        """Return city and first timestamp for each city with enough values to compare with stored neighbours."""
        if self._column in self._options.units:
            return []
        return [(facts["city_no"], facts["first"]) for facts in self._by_city() if self._are_enough(facts)]

    def _are_enough(self, facts: Mapping[str, Any]) -> bool:
        if self._column == "consumption_kwh":
            return bool(facts["positive"] >= _LEAST_ROWS)
        return bool(facts["n"] >= _LEAST_ROWS // 2)

    def notes(self, minutes: Mapping[int, int]) -> Iterator[str]:
        """Yield the findings that refuse nothing, in sentences.

        Args:
            minutes: the length of the intervals whose rows do not state it, by city.
        """
        if self._column != "consumption_kwh":
            return
        rounded, large = [], []
        for facts in self._by_city():
            name = self._cities[facts["city_no"]].name
            if facts["rounded"]:
                rounded.append(f"{name} ({facts['rounded']:,}, of which {facts['zeroed']:,} are stored as 0.00)")
            hourly = max(facts["highest_a_minute"] * 60, facts["highest"] * 60 / minutes.get(facts["city_no"], 60))
            if hourly > LARGEST_KWH:
                large.append(f"{name} ({hourly:,.0f} kWh)")
        if rounded:
            yield (
                f"Values below 0.05 kWh that two decimals change by more than a tenth: {_named(rounded)}. "
                "If the numbers are in a larger unit, load the file again with `units`, for example energy=MWh."
            )
        if large:
            yield (
                f"Values of more than {LARGEST_KWH:,.2f} kWh an hour, which no forecast can store: {_named(large)}. "
                "If the numbers are in a smaller unit, load the file again with `units`, for example energy=Wh."
            )

    def _refuse_negative(self, facts: Mapping[str, Any]) -> None:
        is_often = facts["negative"] > max(_MOST_NEGATIVE * facts["n"], 1)
        is_large = facts["n"] > 1 and facts["fed_in"] > _MOST_FED_IN * facts["used"]
        if not (is_often or is_large):
            return
        first = self._negative[facts["city_no"]]
        name = self._cities[facts["city_no"]].name
        if facts["negative"] > 1 and facts["lowest_negative"] == facts["highest_negative"]:
            raise IngestError(
                f"{first.file}: {facts['negative']:,} of {facts['n']:,} values of {name} are {first.value:g} kWh, "
                f"the first in line {first.line:,}. Consumption cannot be negative.",
                hint="Nothing was loaded. If the number stands for a missing value, remove these rows.",
            )
        raise IngestError(
            f"{first.file}: {facts['negative']:,} of {facts['n']:,} values of {name} are negative, the first in line "
            f"{first.line:,} ({first.value:g} kWh). Net load is not supported.",
            hint="Nothing was loaded. Load gross consumption: net load plus the generation behind the meters.",
        )

    def _refuse_register(self, facts: Mapping[str, Any]) -> None:
        rises, falls, resets = facts["rises"], facts["falls"], facts["resets"]
        unit = self._options.units.get("consumption_kwh")
        # A mean power is no register, and a user who names the stored unit has answered this question
        if unit is not None and (unit.is_power or unit.name == "kWh"):
            return
        if rises and facts["gain"] / rises <= _GAIN * max(facts["peak"], 0.01):
            span, least = _FAR_ABOVE
        else:
            span, least = _SET_BACK if resets else _NEAR_ZERO
        is_long = facts["last"] - facts["first"] >= span and rises >= least
        bands = (("reset_first", "reset_last"), ("reset_first_noon", "reset_last_noon"))
        band = min(facts[last] - facts[first] for first, last in bands) if resets else 0
        is_regular = resets <= _MOST_ROLLOVERS or (resets <= _MOST_RESETS * rises and band <= _RESET_BAND)
        if is_long and falls <= _MOST_FALLS * rises and is_regular:
            name = self._cities[facts["city_no"]].name
            first, last = (f"{facts[side]:%Y-%m-%d %H:%M}" for side in ("first", "last"))
            convert = "" if unit is None else "convert the values to kWh and "
            raise IngestError(
                f"The values of {name} look like readings of a meter's register: from {first} to {last} UTC they rise "
                f"{rises:,} times, fall {falls:,} times, and are set back {resets:,} times.",
                hint="Nothing was loaded. Load the differences between the readings. If each value is the consumption "
                f"of its interval, {convert}set `units` to energy=kWh.",
            )

    def _refuse_temperature(self, facts: Mapping[str, Any]) -> None:
        if "temperature" in self._options.units:
            return
        city = self._cities[facts["city_no"]]
        if facts["kelvin"] > _MANY_KELVIN * facts["n"]:
            raise self._other_unit(facts, "K", f"{facts['kelvin']:,} of {facts['n']:,} are between 180 and 335")
        if facts["hot"] > max(_MANY_HOT * facts["n"], 2):
            raise self._other_unit(facts, "F", f"{facts['hot']:,} of {facts['n']:,} are between 60 and 135")
        for month in facts["months"]:
            if month["known"]:
                bound = hottest_day(city.latitude, month["middle"])
                tight = month["known"] >= _LEAST_ROWS // 2 and month["last"] - month["first"] >= _DAY
                if month["mean"] > bound + (_DAY_MARGIN if tight else _HOUR_MARGIN):
                    where = f"{abs(city.latitude):.1f} degrees {'north' if city.latitude >= 0 else 'south'}"
                    first, last = (f"{month[side]:%Y-%m-%d}" for side in ("first", "last"))
                    raise self._other_unit(
                        facts,
                        "F",
                        f"their mean from {first} to {last} is {month['mean']:.1f}, but at {where} no day of that "
                        f"season is warmer than {bound:.0f} degrees Celsius",
                    )

    def _refuse_humidity(self, facts: Mapping[str, Any]) -> None:
        if "humidity" in self._options.units:
            return
        # No desert is as dry as 1 percent for hours
        if facts["humidities"] >= _LEAST_ROWS // 2 and 0 < facts["highest_humidity"] <= 1:
            raise IngestError(
                f"The humidities of {self._cities[facts['city_no']].name} look like fractions: none of "
                f"{facts['humidities']:,} is above 1.",
                hint="Nothing was loaded. If they are, set `units` to humidity=fraction; if not, to humidity=%.",
            )

    def _refuse_step(self, facts: Mapping[str, Any], level: StoredMean) -> None:
        """Refuse temperatures that are near the stored ones of the same weeks only if read in Fahrenheit."""
        near = [month for month in facts["months"] if month["known"]][:1]
        if not near:
            return
        mean, stored = near[0]["mean"], level.mean
        if mean - stored > _LARGE_STEP and abs(mean - (1.8 * stored + 32)) < abs(mean - stored) / 2:
            raise self._other_unit(
                facts, "F", f"their mean is {mean:.1f}, and {stored:.1f} is stored of the same weeks"
            )

    def _other_unit(self, facts: Mapping[str, Any], unit: str, reason: str) -> IngestError:
        name = self._cities[facts["city_no"]].name
        words = {"F": "degrees Fahrenheit", "K": "kelvins"}[unit]
        return IngestError(
            f"The temperatures of {name} look like {words}: {reason}.",
            hint=f"Nothing was loaded. If they are, set `units` to temperature={unit}; if not, to temperature=C.",
        )

    def _refuse_factor(self, facts: Mapping[str, Any], level: StoredMean, minutes: int) -> None:
        mean = (facts["log_sum"] - facts["unstated"] * math.log10(minutes)) / facts["positive"]
        steps = mean - level.mean
        for size in _UNIT_STEPS:
            if abs(abs(steps) - size) <= _UNIT_TOLERANCE:
                name = self._cities[facts["city_no"]].name
                factor = f"{10**steps:,.0f} times" if steps > 0 else f"1/{10**-steps:,.0f} of"
                unit = {3: "Wh", -3: "MWh", -6: "GWh"}.get(int(math.copysign(size, steps)), "Wh")
                raise IngestError(
                    f"The values of {name} are about {factor} the stored ones. They may be in another unit.",
                    hint=f"Nothing was loaded. If so, set `units`, for example to energy={unit}; if they are right, to "
                    "energy=kWh.",
                )

    def _summed(self) -> pl.DataFrame:
        facts = pl.concat(self._facts)
        keys = [name for name in ("city_no", "month") if name in facts.columns]
        lowest = ("first", "lowest_negative", "reset_first", "reset_first_noon")
        most = (
            *("last", "peak", "highest", "highest_a_minute", "highest_negative", "highest_humidity"),
            *("reset_last", "reset_last_noon"),
        )
        how = dict.fromkeys(lowest, pl.Expr.min) | dict.fromkeys(most, pl.Expr.max)
        return facts.group_by(keys).agg(
            how.get(name, pl.Expr.sum)(pl.col(name)) for name in facts.columns if name not in keys
        )

    def _by_city(self) -> Iterator[dict[str, Any]]:
        if not self._facts:
            return
        self._facts = [self._summed()]
        if self._column == "consumption_kwh":
            yield from self._facts[0].sort("city_no").iter_rows(named=True)
            return
        months = self._facts[0].with_columns(
            (pl.col("sum") / pl.col("known")).alias("mean"),
            (pl.col("first") + (pl.col("last") - pl.col("first")) / 2).alias("middle"),
        )
        for (city,), part in months.sort("city_no", "month").group_by("city_no", maintain_order=True):
            totals = part.select(
                pl.col("n", "hot", "kelvin", "humidities").sum(),
                pl.col("first").min(),
                pl.col("last", "highest_humidity").max(),
            )
            yield {"city_no": city, **totals.row(0, named=True), "months": part.rows(named=True)}


def _load_facts(rows: pl.DataFrame) -> pl.DataFrame:
    value, minutes = pl.col("value"), pl.col(INTERVAL)
    step = pl.when(pl.col("city_no") == pl.col("city_no").shift(1)).then(value.diff())
    positive = value > 0
    rounded = positive & (value < 0.05) & (((value * 100 + 0.5).floor() / 100 - value).abs() > _MOST_ROUNDED * value)
    is_reset = (pl.col("step") < 0) & (value < -pl.col("step"))
    of_day = pl.when(is_reset).then((pl.col("timestamp").to_physical() // 60_000_000 % 1440).cast(pl.Int32))
    band = pl.col("of_day")
    ordered = rows.select("city_no", "timestamp", "value", INTERVAL).sort("city_no", "timestamp")
    return (
        ordered.with_columns(step.alias("step"))
        .with_columns(of_day.alias("of_day"))
        .group_by("city_no")
        .agg(
            pl.len().alias("n"),
            (value < 0).sum().alias("negative"),
            pl.when(value < 0).then(value).min().alias("lowest_negative"),
            pl.when(value < 0).then(value).max().alias("highest_negative"),
            (-pl.when(value < 0).then(value)).sum().alias("fed_in"),
            pl.when(positive).then(value).sum().alias("used"),
            rounded.sum().alias("rounded"),
            (positive & (value < 0.005)).sum().alias("zeroed"),
            pl.when(minutes.is_null()).then(value).max().fill_null(0.0).alias("highest"),
            (value / minutes).max().fill_null(0.0).alias("highest_a_minute"),
            value.max().fill_null(0.0).alias("peak"),
            (pl.col("step") > 0).sum().alias("rises"),
            pl.when(pl.col("step") > 0).then(pl.col("step")).sum().alias("gain"),
            ((pl.col("step") < 0) & (value >= -pl.col("step"))).sum().alias("falls"),
            is_reset.sum().alias("resets"),
            band.min().alias("reset_first"),
            band.max().alias("reset_last"),
            ((band + 720) % 1440).min().alias("reset_first_noon"),
            ((band + 720) % 1440).max().alias("reset_last_noon"),
            pl.col("timestamp").min().alias("first"),
            pl.col("timestamp").max().alias("last"),
            positive.sum().alias("positive"),
            pl.when(positive).then(value.log10() - minutes.fill_null(1).log10()).sum().alias("log_sum"),
            (positive & minutes.is_null()).sum().alias("unstated"),
        )
    )


def _weather_facts(rows: pl.DataFrame) -> pl.DataFrame:
    value = pl.col("value")
    known = value.is_between(-90, 60)
    return rows.group_by("city_no", pl.col("timestamp").dt.truncate("1mo").alias("month")).agg(
        pl.len().alias("n"),
        known.sum().alias("known"),
        pl.when(known).then(value).sum().alias("sum"),
        (value.is_between(60, 135, closed="right")).sum().alias("hot"),
        value.is_between(180, 335).sum().alias("kelvin"),
        pl.col("humidity").is_finite().sum().alias("humidities"),
        pl.col("humidity").fill_nan(None).max().alias("highest_humidity"),
        pl.col("timestamp").min().alias("first"),
        pl.col("timestamp").max().alias("last"),
    )


def _named(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return ", ".join(texts[:_MOST_NAMED]) + more
