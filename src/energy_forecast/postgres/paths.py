"""Where everything of the embedded server lies in the state folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from energy_forecast.errors import ServerError

# The size of sun_path less its final zero: 107 on Linux, 103 on macOS and the BSDs. A longer one is a FATAL
# of the server, long after initdb has run.
LONGEST_SOCKET_PATH = 107 if os.uname().sysname == "Linux" else 103

# A comma parts two hosts for libpq. initdb calls the server by a shell, with its path in double quotes.
UNUSABLE = ',"$`\\\n'


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths below `home/postgres`. Making one touches nothing."""

    home: Path

    @property
    def state(self) -> Path:
        """The folder of the server. Links are resolved: what counts are the folders really passed through."""
        return self.home.resolve() / "postgres"

    @property
    def data(self) -> Path:
        """The cluster."""
        return self.state / "data"

    @property
    def unfinished(self) -> Path:
        """A cluster in the making; it becomes `data` by one rename."""
        return self.state / "data.new"

    @property
    def socket_folder(self) -> Path:
        """The folder of the Unix socket: closed to all but the server's account and root."""
        return self.state / "run"

    def socket(self, port: int) -> Path:
        """The Unix socket; its name has the port in it, used or not."""
        return self.socket_folder / f".s.PGSQL.{port}"

    @property
    def log(self) -> Path:
        """The folder of the server's log, one file for each day of the week."""
        return self.state / "log"

    @property
    def start_log(self) -> Path:
        """What the last start said before the log was open."""
        return self.state / "start.log"

    @property
    def lock(self) -> Path:
        """Locked by whoever starts or stops the server."""
        return self.state / "lock"

    @property
    def liveness_lock(self) -> Path:
        """Locked by the server's processes, for as long as one of them lives."""
        return self.state / "alive"

    @property
    def password(self) -> Path:
        """The password of the role on TCP. There only once the server has had a port."""
        return self.state / "password"

    @property
    def archiving(self) -> Path:
        """Where the server archives its WAL to. There only once that was enabled."""
        return self.state / "archiving"

    @property
    def binaries(self) -> Path:
        """The private copy of the binaries, in a folder named after its versions of PostgreSQL and time zones."""
        return self.state / "programs"

    def check_socket_path(self, port: int) -> None:
        """Raise where the socket could not be made, or not be found.

        Raises:
            ServerError: its path is longer than a socket's may be, or PostgreSQL would misread it.
        """
        for unusable in UNUSABLE:
            if unusable in str(self.socket_folder):
                raise ServerError(
                    f"The state folder {self.home} has {unusable!r} in its path, which PostgreSQL cannot take.",
                    hint="Set ENERGY_FORECAST_HOME to a path without it.",
                )
        length = len(os.fsencode(self.socket(port)))
        if length > LONGEST_SOCKET_PATH:
            raise ServerError(
                f"The state folder {self.home} has too long a path: the server's socket in it would have "
                f"{length} bytes, and {LONGEST_SOCKET_PATH} is the most.",
                hint=f"Set ENERGY_FORECAST_HOME to a path {length - LONGEST_SOCKET_PATH} bytes shorter.",
            )
