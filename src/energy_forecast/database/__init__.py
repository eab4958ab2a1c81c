"""PostgreSQL: the only package that imports the driver."""

from energy_forecast.database.connection import API_LOGIN, LOGIN, Connection, Database, Role
from energy_forecast.database.schema import schema_is_current, schema_version

__all__ = ["API_LOGIN", "LOGIN", "Connection", "Database", "Role", "schema_is_current", "schema_version"]
