"""A pooler in front of a test's server, and the state that a client can leave in a session."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from energy_forecast.database import Database

PGBOUNCER = Path("/usr/sbin/pgbouncer")

# Empty for a new session. A pooler sets these four for each client itself
_STATE = """
SELECT 'role ' || current_user FROM pg_roles WHERE rolname = current_user AND current_user <> session_user
UNION ALL
SELECT name || ' = ' || setting FROM pg_settings
WHERE source = 'session' AND name NOT IN ('application_name', 'client_encoding', 'standard_conforming_strings')
  AND NOT (name IN ('DateStyle', 'TimeZone') AND setting = reset_val)
UNION ALL
SELECT 'temporary ' || relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
UNION ALL
SELECT 'lock ' || locktype FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
UNION ALL
SELECT 'prepared ' || name FROM pg_prepared_statements
UNION ALL
SELECT 'cursor ' || name FROM pg_cursors WHERE is_holdable
UNION ALL
SELECT 'channel ' || c FROM pg_listening_channels() c
"""


def left_behind(connection: psycopg.Connection[Any]) -> list[str]:
    """Return everything in a session that a new one does not have."""
    return [row[0] for row in connection.execute(_STATE).fetchall()]


@contextmanager
def pooler(database: Database, *, sessions: int, users: tuple[str, ...] = ()) -> Iterator[Database]:
    """Start PgBouncer in transaction mode in front of a server; yield the database as its clients reach it.

    Args:
        sessions: the number of server sessions for each user and database.
        users: other logins than that of the database.
    """
    if not PGBOUNCER.is_file():
        pytest.skip("needs Debian's package pgbouncer")
    parts = conninfo_to_dict(database.url)
    owner = Path(str(parts["host"])).stat().st_uid
    folder = Path(tempfile.mkdtemp(prefix="ef-bouncer-"))
    folder.chmod(0o755)
    (folder / "users").write_text("".join(f'"{name}" ""\n' for name in (parts["user"], *users)))
    (folder / "bouncer.ini").write_text(
        f"[databases]\n* = host={parts['host']} port={parts.get('port') or 5432}\n"
        "[pgbouncer]\npool_mode = transaction\n"
        f"unix_socket_dir = {folder}\nlisten_addr =\nauth_type = trust\nauth_file = {folder / 'users'}\n"
        f"default_pool_size = {sessions}\nquery_wait_timeout = 15\n"
    )
    who: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, owner)
        who = ["setpriv", f"--reuid={owner}", "--clear-groups"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*who, PGBOUNCER, folder / "bouncer.ini"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/"
        )
    try:
        until = time.monotonic() + 10
        while not (folder / ".s.PGSQL.6432").exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.02)
        yield Database(make_conninfo(database.url, host=str(folder), port=6432))
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)
