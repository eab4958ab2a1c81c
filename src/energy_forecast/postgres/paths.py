"""Paths of the embedded server in the state folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from energy_forecast.errors import ServerError

# The size of sun_path without its final zero: 107 on Linux, 103 on macOS and the BSDs. With a longer path the server
# fails with FATAL, long after initdb has run.
LONGEST_SOCKET_PATH = 107 if os.uname().sysname == "Linux" else 103

# A comma separates two hosts for libpq. initdb runs the server in a shell, with its path in double quotes.
UNUSABLE = ',"$`\\\n'


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths below `home/postgres`. Creating this object changes nothing."""

    home: Path

    @property
    def state(self) -> Path:
        """The folder of the server. Links are resolved, because the permissions of the real folders matter."""
        return self.home.resolve() / "postgres"

    @property
    def data(self) -> Path:
        """The cluster."""
        return self.state / "data"

    @property
    def unfinished(self) -> Path:
        """An unfinished cluster; one rename makes it `data`."""
        return self.state / "data.new"

    @property
    def socket_folder(self) -> Path:
        """The folder of the Unix socket; only the user of the server and root may enter it."""
        return self.state / "run"

    def socket(self, port: int) -> Path:
        """Return the path of the Unix socket. Its name contains the port, even without TCP."""
        return self.socket_folder / f".s.PGSQL.{port}"

    @property
    def log(self) -> Path:
        """The folder of the server's log, one file for each day of the week."""
        return self.state / "log"

    @property
    def start_log(self) -> Path:
        """The output of the last start before the log was open."""
        return self.state / "start.log"

    @property
    def lock(self) -> Path:
        """The lock file for starting and stopping the server."""
        return self.state / "lock"

    @property
    def liveness_lock(self) -> Path:
        """The lock file that the processes of the server hold while one of them lives."""
        return self.state / "alive"

    @property
    def password(self) -> Path:
        """The password of the role on TCP. It exists once the server has had a port."""
        return self.state / "password"

    @property
    def archiving(self) -> Path:
        """The setting of WAL archiving. It exists once archiving was enabled."""
        return self.state / "archiving"

    @property
    def binaries(self) -> Path:
        """The private copy of the binaries, in a folder named by the versions of PostgreSQL and of the time zones."""
        return self.state / "programs"

    def check_socket_path(self, port: int) -> None:
        """Check that the socket can be created and found.

        Raises:
            ServerError: its path is too long for a socket, or PostgreSQL would misread it.
        """
        for unusable in UNUSABLE:
            if unusable in str(self.socket_folder):
                raise ServerError(
                    f"The state folder {self.home} has {unusable!r} in its path, which PostgreSQL does not support.",
                    hint="Set ENERGY_FORECAST_HOME to a path without it.",
                )
        length = len(os.fsencode(self.socket(port)))
        if length > LONGEST_SOCKET_PATH:
            raise ServerError(
                f"The state folder {self.home} has too long a path: its server socket would have "
                f"{length} bytes, and the limit is {LONGEST_SOCKET_PATH}.",
                hint=f"Set ENERGY_FORECAST_HOME to a path {length - LONGEST_SOCKET_PATH} bytes shorter.",
            )
