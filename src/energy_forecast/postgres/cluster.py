"""The data folder: create it completely or not at all, check it, and write the settings of this version."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from energy_forecast.errors import ServerError
from energy_forecast.postgres.binaries import Binaries, run_program
from energy_forecast.postgres.paths import Paths
from energy_forecast.postgres.private_files import replace_file, sync
from energy_forecast.postgres.system_user import SystemUser

ROLE = "energy_forecast_admin"
DATABASE = "energy_forecast"
SETTINGS_FILE = "energy_forecast.conf"

SETTINGS = """\
# Written by energy-forecast at every start. For your own settings use ALTER SYSTEM, which takes precedence.

# A copy of this folder that is started by hand must not accept connections by accident: pg_hba.conf admits everyone
# who reaches the socket. The real addresses are on the command line of the server.
listen_addresses = ''
unix_socket_directories = ''

max_connections = 50
# Memory for a laptop. Allocated from the system on demand, not from /dev/shm.
shared_buffers = 256MB
work_mem = 32MB
maintenance_work_mem = 256MB
effective_cache_size = 2GB
# Monthly partitions: a query over years locks hundreds of them, with their indexes.
max_locks_per_transaction = 256

# Ingest writes much WAL at once; with rarer checkpoints each page is written less often. Recovery after a crash reads
# at most this much.
max_wal_size = 2GB
checkpoint_timeout = 15min
wal_level = replica

random_page_cost = 1.1
max_parallel_workers_per_gather = 2
shared_preload_libraries = 'pg_stat_statements'

timezone = 'UTC'
datestyle = 'ISO, YMD'

# One file for each day of the week, overwritten a week later.
logging_collector = on
log_filename = 'postgresql-%a.log'
log_truncate_on_rotation = on
log_rotation_age = 1d
log_rotation_size = 0
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
log_lock_waits = on
"""

# Parallel queries share memory by files in /dev/shm, which has 64 MB in a container and then makes them fail.
# System V memory has no such limit on Linux; on other systems its limit is far lower.
LINUX_SETTINGS = "dynamic_shared_memory_type = sysv\n"

ACCESS = """\
# Written by energy-forecast when it created this folder. The socket folder is open to its owner and root only.
local  all          all                trust
local  replication  all                trust
host   all          all  127.0.0.1/32  scram-sha-256
"""


def major_version(data: Path) -> int | None:
    """Return the major version of PostgreSQL that created a data folder; None if there is no cluster yet.

    Raises:
        ServerError: the folder contains something that is not a complete cluster.
    """
    if not data.exists() or (data.is_dir() and not any(data.iterdir())):
        return None
    elsewhere = "Move it away, or set ENERGY_FORECAST_HOME to another folder."
    try:
        major = int((data / "PG_VERSION").read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise ServerError(f"{data} is not a data folder of PostgreSQL.", hint=elsewhere) from error
    for needed in ("global/pg_control", "postgresql.conf", "pg_wal", "base"):
        if not (data / needed).exists():
            raise ServerError(f"The data folder {data} is not complete: {needed} is missing.", hint=elsewhere)
    return major


def check_version(data: Path, version: str) -> bool:
    """Return whether there is a cluster.

    Raises:
        ServerError: its major version differs from `version`, or it is not complete.
    """
    major = major_version(data)
    if major is not None and major != int(version.split(".", maxsplit=1)[0]):
        raise ServerError(
            f"The data folder {data} was created by PostgreSQL {major}, but this is PostgreSQL {version}.",
            hint="Restore a backup into a new ENERGY_FORECAST_HOME, or use the energy-forecast that created it.",
        )
    return major is not None


def make_cluster(paths: Paths, binaries: Binaries, user: SystemUser, lock: int) -> None:
    """Create the cluster with its role and database in a temporary folder, then rename it.

    Args:
        lock: the descriptor of the lock. The child programs inherit it: if this process is killed, the next start waits
            for them before it cleans up.

    Raises:
        ServerError: the creation failed; nothing is left behind.
    """
    new = paths.unfinished
    try:
        new.mkdir(mode=0o700)
        user.own(new)
        initdb: list[str | Path] = [binaries.tool("initdb"), "-D", new, "-U", ROLE]
        initdb += ["--auth=trust", "--data-checksums", "--encoding=UTF8"]
        initdb += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8"]
        run_program(initdb, user=user, held=(lock,))
        # Single-user mode: the database exists before anyone can connect.
        single: list[str | Path] = [binaries.tool("postgres"), "--single", "-D", new]
        single += ["-c", "exit_on_error=on", "postgres"]
        run_program(single, text=f"CREATE DATABASE {DATABASE}\n", user=user, held=(lock,))
        replace_file(new / "pg_hba.conf", ACCESS, user)
        given = (new / "postgresql.conf").read_text()
        replace_file(new / "postgresql.conf", f"{given}\ninclude_if_exists = '{SETTINGS_FILE}'\n", user)
        write_settings(new, user)
        new.rename(paths.data)
        sync(paths.state)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def write_settings(data: Path, user: SystemUser) -> None:
    """Write the settings of this version into the data folder; they apply from the next start on."""
    replace_file(data / SETTINGS_FILE, SETTINGS + (LINUX_SETTINGS if os.uname().sysname == "Linux" else ""), user)
