"""Messages from below the command line name parameters; the command line shows its own options."""

import sys

import pytest

from energy_forecast.cli import option_names


@pytest.mark.parametrize(
    ("command", "text", "shown"),
    [
        (["backtest", "--from", "x"], "`end` must be later than `first`.", "--to must be later than --from."),
        (["recovery", "restore"], "Choose another `into`.", "Choose another --into."),
        (["partition", "share", "Berlin"], "Set `allow_wait`.", "Set --allow-wait."),
        (
            ["train"],
            "`horizon` is no parameter here, and `city` is one.",
            "`horizon` is no parameter here, and --city is one.",
        ),
        (["ingest", "consumption"], "Set `interval_minutes` or `units`.", "Set --interval or --unit."),
        (["ingest", "weather"], "Add it: `add_city`.", "Add it: energy-forecast city add."),
        ([], "See `model due`.", "See `model due`."),
    ],
)
def test_replaces_parameters_of_the_running_command(
    monkeypatch: pytest.MonkeyPatch, command: list[str], text: str, shown: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["energy-forecast", *command])
    assert option_names.with_option_names(text) == shown


def test_replaces_parameters_of_a_named_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ingest rejected` lists the reasons of loads, which have more options than it has itself."""
    monkeypatch.setattr(sys, "argv", ["energy-forecast", "ingest", "rejected"])
    assert option_names.with_option_names("Set `timezone`.", "ingest", "consumption") == "Set --timezone."
