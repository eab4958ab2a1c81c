"""Work in several processes gives what one gives, and tells how far it is."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pytest

from counted_work import FAULTS, STEPS, die_at_four, fail_at_four, lose_connection, square
from energy_forecast.errors import ConnectionLostError
from energy_forecast.fault_log import log_faults_to
from energy_forecast.pipelines.isolation import Failed
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

    assert list(each(square, ITEMS, name=str, processes=processes, steps=steps)) == [item * item for item in ITEMS]
    assert counts[-1] == len(ITEMS) * STEPS
    assert counts == sorted(counts)
    if processes == 1:
        assert words == [f"{item}, {number}" for item in ITEMS for number in range(STEPS)]


def quiet(_done: int, _words: str) -> None:
    """Report nothing."""


def test_a_killed_process_costs_only_the_item_that_kills_it() -> None:
    """A process dies when memory runs out, or by a fault in a library; nobody knows which item it had."""
    results = list(each(die_at_four, ITEMS, name=str, processes=2, steps=quiet))
    assert [one for one in results if not isinstance(one, Failed)] == [0, 1, 2, 3, 5, 6]
    (failed,) = (one for one in results if isinstance(one, Failed))
    assert results.index(failed) == 4
    assert "killed" in failed.reason


@pytest.mark.parametrize(
    ("processes", "kind"),
    [(processes, kind) for processes in (1, 2) for kind in FAULTS if (processes, kind) != (1, "result")],
)
def test_whatever_an_item_raises_costs_only_that_item(
    processes: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also what no process can send to another, and what would end the program."""
    # A message that is no text cannot be sent in a report of this test either
    with caplog.at_level(logging.CRITICAL, logger="energy_forecast"):
        results = list(each(partial(fail_at_four, kind), ITEMS, name=str, processes=processes, steps=quiet))
    assert [one for one in results if not isinstance(one, Failed)] == [0, 1, 2, 3, 5, 6]
    failed = results[4]
    assert isinstance(failed, Failed)
    assert failed.reason.isprintable()
    assert FAULTS[kind] in failed.reason


@pytest.mark.parametrize("processes", [1, 2])
def test_a_lost_connection_ends_all(processes: int) -> None:
    with pytest.raises(ConnectionLostError, match="gone"):
        list(each(lose_connection, ITEMS, name=str, processes=processes, steps=quiet))


@pytest.mark.parametrize("processes", [1, 2])
def test_the_traceback_of_a_fault_is_in_the_log(processes: int, tmp_path: Path) -> None:
    """The user gets one line with the place of it; also of a fault in another process."""
    path = tmp_path / "new" / "faults.log"
    log_faults_to(path)
    try:
        results = list(
            each(partial(fail_at_four, "value"), ITEMS, name="item {}".format, processes=processes, steps=quiet)
        )
    finally:
        logging.getLogger("energy_forecast.fault_log").handlers.pop().close()
    assert isinstance(results[4], Failed)
    assert results[4].reason.endswith(f"Details: {path}")
    text = path.read_text()
    assert "item 4" in text
    assert "Traceback" in text
    assert text.count("ValueError: bad value") == 1


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
