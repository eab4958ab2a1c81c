"""Settings come from the environment, and a wrong one says which."""

from __future__ import annotations

from pathlib import Path

import pytest

from energy_forecast.errors import SettingsError
from energy_forecast.settings import default_home, settings


@pytest.fixture(autouse=True)
def fresh_settings() -> None:
    settings.cache_clear()


def test_a_home_may_begin_with_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("ENERGY_FORECAST_HOME", "~/state")
    assert settings().home == Path("/somewhere/state")


def test_roots_state_is_not_in_roots_closed_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server runs as another user there, who may not pass through /root."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_home() == Path("/var/lib/energy-forecast")


@pytest.mark.parametrize("port", ["0", "65536", "many"])
def test_a_wrong_port_is_named(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("ENERGY_FORECAST_PORT", port)
    with pytest.raises(
        SettingsError, match=f"ENERGY_FORECAST_PORT is '{port}'. Set it to a whole number from 1 to 65535"
    ):
        settings()


def test_an_empty_setting_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ENERGY_FORECAST_DATABASE_URL= command` means the embedded server."""
    monkeypatch.setenv("ENERGY_FORECAST_DATABASE_URL", "")
    assert settings().database_url is None
