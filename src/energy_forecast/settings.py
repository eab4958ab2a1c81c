"""Settings from the environment, and their defaults."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import platformdirs

from energy_forecast.errors import SettingsError


def default_home() -> Path:
    """Return the default state folder.

    PostgreSQL refuses to run as root, and the home folder of root is closed to other users. So the state of root is
    in the folder for system services.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/energy-forecast")
    return Path(platformdirs.user_data_dir("energy-forecast"))


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"ENERGY_FORECAST_{name.upper()}"


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _whole_number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isdecimal() and least <= int(text) <= most):
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"{', '.join(words[:-1])} or {words[-1]}")
        return text.lower()

    return read


def _setting(description: str, read: Callable[[str], Any]) -> dict[str, Any]:
    """Return the metadata of a setting; `read` raises ValueError with a description of valid values."""
    return {"description": description, "read": read}


@dataclass(frozen=True)
class Settings:
    """Settings, read from the environment: the name in capitals after `ENERGY_FORECAST_`."""

    home: Path = field(
        default_factory=default_home,
        metadata=_setting(
            "The state folder with the embedded server, pictures and logs. "
            "Default: `/var/lib/energy-forecast` for root, the user's data folder for others.",
            _folder,
        ),
    )
    database_url: str | None = field(
        default=None,
        metadata=_setting(
            "A libpq URL of a PostgreSQL server, version 15 to 18, to use instead of the embedded server.", str
        ),
    )
    read_url: str | None = field(
        default=None,
        metadata=_setting(
            "A libpq URL of a hot standby of that server, for commands and calls that only read. "
            "They warn if it is more than 5 minutes behind, and fail if it is down. Default: none.",
            str,
        ),
    )
    api_url: str | None = field(
        default=None,
        metadata=_setting(
            "A libpq URL with the login of `serve`, `energy_forecast_api`, on a server of your own. "
            "Default: the database of the commands, with that login.",
            str,
        ),
    )
    url: str | None = field(
        default=None,
        metadata=_setting(
            "The address of a server of the HTTP API, such as `https://energy.example.org`, for Python programs: "
            "`connect()` returns a client of it instead of a database. Default: none.",
            str,
        ),
    )
    key: str | None = field(
        default=None,
        repr=False,
        metadata=_setting("The key for that server. Default: none.", str),
    )
    port: int | None = field(
        default=None,
        metadata=_setting(
            "A TCP port of 127.0.0.1 on which the embedded server also listens. "
            "Default: none; clients use a socket in the state folder.",
            _whole_number(1, 65535),
        ),
    )
    pgbackrest_stanza: str | None = field(
        default=None,
        metadata=_setting(
            "The pgBackRest stanza with the physical backups of your own server; `recovery status` reads it.", str
        ),
    )
    rejected_rows_kept: int = field(
        default=10_000,
        metadata=_setting(
            "The number of rejected rows and empty cells of one batch to store in `ops.rejected_rows`. "
            "The others are counted by reason. Default: 10,000.",
            _whole_number(10, 10_000_000),
        ),
    )
    log_level: str | None = field(
        default=None,
        metadata=_setting(
            "Print events of this level and above on standard error: `debug`, `info`, `warning` or `error`. "
            "Default: none; commands print their own messages.",
            _one_of("debug", "info", "warning", "error"),
        ),
    )
    log_format: str = field(
        default="text",
        metadata=_setting("The format of printed events: `text` or `json`. Default: `text`.", _one_of("text", "json")),
    )
    pgbackrest_config: Path | None = field(
        default=None,
        metadata=_setting("The configuration file of pgBackRest, if it is not in the default place.", Path),
    )


@functools.cache
def settings() -> Settings:
    """Return the settings of this process.

    Raises:
        SettingsError: a value in the environment is invalid.
    """
    found = {}
    for one in fields(Settings):
        # An empty variable means the default
        if text := os.environ.get(variable(one.name)):
            try:
                found[one.name] = one.metadata["read"](text)
            except ValueError as error:
                raise SettingsError(f"{variable(one.name)} is {text!r}.", hint=f"Set it to {error}.") from error
    return Settings(**found)
