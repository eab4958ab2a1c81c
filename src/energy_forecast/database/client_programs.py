"""The environment that makes PostgreSQL's own programs connect as this package does."""

from __future__ import annotations

import os

from psycopg import pq
from psycopg.conninfo import make_conninfo

from energy_forecast.database.connection import Database

# What libpq looks up in the home folder: a password file, certificates
_KEPT = ("HOME", "PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR")


def client_environment(database: Database) -> dict[str, str]:
    """The environment for pg_dump and its like: the URL's parts as PG variables.

    Not on the command line, where every user of the machine could read a password in it.
    """
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("PGSSL")}
    found = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"} | kept
    if "PGPASSWORD" in os.environ:
        found["PGPASSWORD"] = os.environ["PGPASSWORD"]
    for option in pq.Conninfo.parse(make_conninfo(database.url).encode()):
        if option.val and option.envvar:
            found[option.envvar.decode()] = option.val.decode()
    return found
