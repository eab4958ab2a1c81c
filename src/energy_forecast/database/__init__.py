"""PostgreSQL: the only folder that imports the driver."""

from energy_forecast.database.connection import Connection, Database, Role
from energy_forecast.database.schema import schema_is_current, schema_version

__all__ = ["Connection", "Database", "Role", "schema_is_current", "schema_version"]
