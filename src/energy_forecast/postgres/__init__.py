"""The embedded PostgreSQL from a wheel: create, start, adopt, recover and stop it in the state folder."""

from energy_forecast.postgres.archiving import Archive
from energy_forecast.postgres.server import EmbeddedServer
from energy_forecast.postgres.status import ServerStatus

__all__ = ["Archive", "EmbeddedServer", "ServerStatus"]
