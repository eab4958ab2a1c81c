"""Settings from the environment, and their defaults."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from energy_forecast.errors import SettingsError


def default_home() -> Path:
    """Return the default state folder.

    PostgreSQL refuses to run as root, and the home folder of root is closed to other users. So the state of root is
    in the folder for system services.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/energy-forecast")
    return Path(platformdirs.user_data_dir("energy-forecast"))


class Settings(BaseSettings):
    """Settings, read from the environment: the name in capitals after `ENERGY_FORECAST_`."""

    model_config = SettingsConfigDict(env_prefix="ENERGY_FORECAST_", env_ignore_empty=True)

    home: Path = Field(
        default_factory=default_home,
        description="The state folder with the embedded server, pictures and logs. "
        "Default: `/var/lib/energy-forecast` for root, the user's data folder for others.",
    )
    database_url: str | None = Field(
        default=None,
        description="A libpq URL of a PostgreSQL server, version 15 to 18, to use instead of the embedded server.",
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="A TCP port of 127.0.0.1 on which the embedded server also listens. "
        "Default: none; clients use a socket in the state folder.",
    )
    pgbackrest_stanza: str | None = Field(
        default=None,
        description="The pgBackRest stanza with the physical backups of your own server; `recovery status` reads it.",
    )
    rejected_rows_kept: int = Field(
        default=10_000,
        ge=10,
        le=10_000_000,
        description="The number of rejected rows and empty cells of one file to store in `ops.rejected_rows`. "
        "The others are counted by reason. Default: 10,000.",
    )
    pgbackrest_config: Path | None = Field(
        default=None, description="The configuration file of pgBackRest, if it is not in the default place."
    )


@functools.cache
def settings() -> Settings:
    """Return the settings of this process.

    Raises:
        SettingsError: a value in the environment is invalid.
    """
    try:
        found = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "ENERGY_FORECAST_" + str(first["loc"][0]).upper() if first["loc"] else "the environment"
        raise SettingsError(f"{name}: {first['msg']}.") from error
    return found.model_copy(update={"home": found.home.expanduser().absolute()})
