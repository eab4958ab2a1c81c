"""Faulty hours are found and left out, and unusual but true loads are kept."""

from __future__ import annotations

import numpy as np
import pytest

from energy_forecast.forecasting.data.faults import find_faults, plausible_weather

DAYS = 60
DAY = 100 + 40 * np.sin(np.arange(24) / 24 * 2 * np.pi)


def usual() -> np.ndarray:
    return np.tile(DAY, DAYS)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda x: x.__setitem__(1000, 142_142.0), "spike"),
        (lambda x: x.__setitem__(1000, 0.0), "zero"),
        (lambda x: x.__setitem__(1000, -5.0), "zero"),
        (lambda x: x.__setitem__(1000, 20.0), "dip"),
        (lambda x: x.__setitem__(3, 1e6), "spike"),
    ],
    ids=["spike", "zero", "negative", "dip", "spike on the first day"],
)
def test_finds_single_faulty_hour(change, kind) -> None:  # type: ignore[no-untyped-def]
    load = usual()
    change(load)
    faults = find_faults(load)
    assert faults.count == 1
    assert faults.by_kind[kind] == 1
    assert load[faults.where] == pytest.approx(load[np.abs(load - usual()) > 1])


def test_finds_three_days_in_wrong_unit() -> None:
    load = usual()
    load[960:1032] *= 1000
    assert np.flatnonzero(find_faults(load).where).tolist() == list(range(960, 1032))


def test_accepts_site_closed_at_weekends() -> None:
    load = usual().reshape(DAYS, 24)
    load[np.arange(DAYS) % 7 >= 5] *= 0.2
    assert find_faults(load.ravel()).count == 0


def test_accepts_step_change_after_a_week() -> None:
    load = usual()
    load[720:] *= 4
    where = find_faults(load).where
    assert where[720 : 720 + 6 * 24].all()
    assert not where[720 + 9 * 24 :].any()


def test_accepts_constant_load() -> None:
    assert find_faults(np.full(1000, 7.0)).count == 0


def test_faults_do_not_depend_on_distant_hours() -> None:
    """A live history ends today, that of a backtest continues: both must find the same faults of yesterday."""
    draw = np.random.default_rng(0)
    load = usual() * draw.lognormal(0, 0.5, 24 * DAYS)
    whole = find_faults(load).where
    assert whole.any()
    assert (find_faults(load[:1200]).where == whole[:1200]).all()
    recent = find_faults(load[250:]).where
    assert (recent[24 * 28 :] == whole[250 + 24 * 28 :]).all()


def test_unknown_hours_are_not_faulty() -> None:
    load = usual()
    load[100:400] = np.nan
    assert find_faults(load).count == 0
    assert find_faults(np.full(50, np.nan)).count == 0


def test_impossible_weather_is_unknown() -> None:
    assert np.isnan(plausible_weather("temperature", np.array([999.9, -9999.0]))).all()
    assert plausible_weather("temperature", np.array([-40.0, 50.0])).tolist() == [-40.0, 50.0]
    assert plausible_weather("wind_speed", np.array([149.0])).tolist() == [149.0], "as the database stores it"


def noisy(seed: int = 0) -> np.ndarray:
    return usual() * np.random.default_rng(seed).lognormal(0, 0.03, 24 * DAYS)


def kinds(load: np.ndarray) -> dict[str, int]:
    return {name: hours for name, hours in find_faults(load).by_kind.items() if hours}


def test_finds_stuck_meter_except_first_value() -> None:
    load = noisy()
    load[1000:1012] = load[1000]
    assert np.flatnonzero(find_faults(load).where).tolist() == list(range(1001, 1012))
    assert kinds(load) == {"stuck": 11}


def test_accepts_repeats_of_coarse_meter() -> None:
    """Steps of 10 kWh: half of the hours repeat the one before, up to eight in a row."""
    load = np.round(noisy() / 10) * 10
    load.reshape(DAYS, 24)[:, 14:22] = 60.0
    assert kinds(load) == {}


def test_forty_days_of_zeros_stay_faulty() -> None:
    load = noisy()
    load[10 * 24 : 50 * 24] = 0.0
    assert kinds(load) == {"zero": 960}


@pytest.mark.parametrize("factor", [1000, 0.001], ids=["Wh for kWh", "MWh for kWh"])
def test_month_in_wrong_unit_with_outage_stays_faulty(factor: float) -> None:
    load = noisy()
    load[600:1300] *= factor
    load[900:930] = np.nan
    load[1100:1104] = 0.0
    where = find_faults(load).where
    known = np.isfinite(load[600:1300])
    assert where[600:1300][known].all()
    assert not where[:600].any()
    assert not where[1300:].any()
    assert kinds(load)["unit"] == 700 - 30 - 4


def test_unit_of_most_hours_is_correct() -> None:
    """A first month in another unit is left out, not the two correct years after it."""
    load = noisy()
    load[: 24 * 20] /= 1000
    assert np.flatnonzero(find_faults(load).where).tolist() == list(range(24 * 20))


def test_single_outlier_is_spike_if_load_is_smooth() -> None:
    load = noisy()
    load[1000] *= 1.7
    load[1100] /= 1.7
    assert kinds(load) == {"spike": 1, "dip": 1}
    assert find_faults(load).where[[1000, 1100]].all()
    rough = usual() * np.random.default_rng(0).lognormal(0, 0.25, 24 * DAYS)
    rough[1000] = 1.7 * rough[[999, 1001]].mean()
    assert not find_faults(rough).where[1000]


def test_accepts_clock_changes_and_holidays() -> None:
    """A holiday is 40 % below its weekday, and after a clock change every hour has its neighbour's load."""
    load = noisy()
    load[30 * 24 : 31 * 24] *= 0.6
    load[40 * 24 :] = np.roll(load, 1)[40 * 24 :]
    assert kinds(load) == {}
