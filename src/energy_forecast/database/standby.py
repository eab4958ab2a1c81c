"""A hot standby from which data are read, and how far it is behind its primary."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from energy_forecast.database.connection import Connection, Database
from energy_forecast.database.named_queries import one_row, queries
from energy_forecast.errors import DatabaseError, UnreachableError

# A reader is warned of an older state
MOST_LAG = timedelta(minutes=5)


@dataclass(frozen=True)
class Replay:
    """The state of a standby.

    Args:
        lsn: the end of the replayed WAL.
        until: time of the last replayed commit; None if there was none since its start.
        age: seconds since then, by the clock of the standby.
    """

    lsn: str
    until: datetime | None
    age: float | None


@dataclass(frozen=True)
class Lag:
    """How far a standby is behind its primary.

    Args:
        host: the address of the standby.
        replayed_until: time of the last replayed commit; None if there was none since its start.
        lag_seconds: 0 if everything is replayed, otherwise the seconds since then; None if unknown.
        lag_bytes: WAL of the primary that is not replayed yet; None if the primary cannot be reached.
    """

    host: str
    replayed_until: datetime | None
    lag_seconds: float | None
    lag_bytes: int | None

    def __str__(self) -> str:
        behind = "an unknown distance" if self.lag_bytes is None else f"{self.lag_bytes:,} bytes"
        if self.lag_seconds is not None:
            behind += f" and {self.lag_seconds:.1f} s"
        return f"{self.host}, {behind} behind"

    @property
    def warning(self) -> str | None:
        """A sentence if readers should know, otherwise None."""
        if self.lag_bytes == 0 or (self.lag_seconds is not None and self.lag_seconds <= MOST_LAG.total_seconds()):
            return None
        until = "an unknown time" if self.replayed_until is None else f"{self.replayed_until:%Y-%m-%d %H:%M:%S} UTC"
        distance = (
            "; the primary cannot be reached to compare"
            if self.lag_bytes is None
            else f", {max(self.lag_bytes >> 10, 1):,} kB behind the primary"
        )
        return f"The standby shows the data of {until}{distance}."


def replayed(connection: Connection) -> Replay:
    """Return the state of the standby of a connection.

    Raises:
        DatabaseError: the server is not a standby.
    """
    recovering, lsn, until, age = one_row(connection, queries("standby")["replayed"])
    if not recovering:
        raise DatabaseError(
            "The server of ENERGY_FORECAST_READ_URL is not a standby.",
            hint="Set it to a hot standby of the primary, or unset it to read from the primary.",
        )
    return Replay(lsn, None if until is None else until.astimezone(UTC), age)


def lag(standby: Database, replay: Replay, primary: Database | None) -> Lag:
    """Return how far a standby is behind; `primary` is None if it does not run."""
    behind: int | None = None
    if primary is not None:
        try:
            with primary.transaction(None) as connection:
                (behind,) = one_row(connection, queries("standby")["bytes_behind"], {"lsn": replay.lsn})
        except UnreachableError:
            pass
    parameters = standby.parameters()
    return Lag(
        host=parameters.get("host") or "localhost",
        replayed_until=replay.until,
        lag_seconds=0.0 if behind == 0 else replay.age,
        lag_bytes=behind,
    )


def standby_lag(standby: Database, primary: Database | None) -> Lag:
    """Return how far a standby is behind.

    Raises:
        DatabaseError: it cannot be reached, or is not a standby.
    """
    with standby.transaction(None) as connection:
        replay = replayed(connection)
    return lag(standby, replay, primary)
