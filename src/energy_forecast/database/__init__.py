"""PostgreSQL: the only package that imports the driver."""

from energy_forecast.database.connection import LOGIN, Connection, Database, Role
from energy_forecast.database.schema import schema_is_current, schema_version

__all__ = ["LOGIN", "Connection", "Database", "Role", "schema_is_current", "schema_version"]
