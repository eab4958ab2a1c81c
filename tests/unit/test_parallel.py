"""Work in several processes gives what one gives, and tells how far it is."""

from __future__ import annotations

import pytest

from counted_work import STEPS, die_at_four, square, too_late
from energy_forecast.errors import EnergyForecastError
from energy_forecast.pipelines.parallel import each
from energy_forecast.progress import Steps

ITEMS = list(range(7))


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order_and_every_step_is_counted(processes: int) -> None:
    counts: list[int] = []
    words: list[str] = []

    def steps(done: int, last: str) -> None:
        counts.append(done)
        words.append(last)

    assert list(each(square, ITEMS, processes=processes, steps=steps)) == [item * item for item in ITEMS]
    assert counts[-1] == len(ITEMS) * STEPS
    assert counts == sorted(counts)
    if processes == 1:
        assert words == [f"{item}, {number}" for item in ITEMS for number in range(STEPS)]


def test_a_killed_process_is_told_and_ends_the_work() -> None:
    with pytest.raises(EnergyForecastError, match="killed"):
        list(each(die_at_four, ITEMS, processes=2, steps=lambda _done, _words: None))


def test_a_timeout_of_the_work_is_no_reason_to_wait() -> None:
    with pytest.raises(TimeoutError, match="own"):
        list(each(too_late, ITEMS, processes=2, steps=lambda _done, _words: None))


def test_steps_never_go_back() -> None:
    told: list[tuple[str, int, int]] = []

    def progress(what: str, done: int, total: int, rows: int | None = None) -> None:
        assert rows is None
        told.append((what, done, total))

    steps = Steps(progress, "Learning", 4)
    steps(3, "learnt linear")
    steps(2)
    steps(4)
    assert told == [("Learning", 0, 4), ("learnt linear", 3, 4), ("Learning", 3, 4), ("Learning", 4, 4)]
