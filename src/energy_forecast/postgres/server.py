"""The embedded server: one daemon for one state folder, shared by all commands that use that folder."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from energy_forecast.errors import ServerError
from energy_forecast.postgres import archiving, cluster, daemonize
from energy_forecast.postgres.binaries import Binaries, environment, failure, run_program
from energy_forecast.postgres.identity import Identity, adopt_identity, original_of, take_identity
from energy_forecast.postgres.liveness_lock import LivenessLock, exclusive
from energy_forecast.postgres.paths import Paths
from energy_forecast.postgres.private_files import private
from energy_forecast.postgres.status import PidFile, ServerStatus, is_postmaster, orphans, takes_connections
from energy_forecast.postgres.system_user import SystemUser, check_reach, find_system_user, make_home, make_system_user

SOCKET_PORT = 5432
# In seconds. Making a cluster and starting it take about one; recovery after a crash reads up to 2 GB of WAL.
LOCK_TIMEOUT = 120.0
START_TIMEOUT = 300.0
STOP_TIMEOUT = 120.0
# A backend whose server was killed notices at the end of its statement.
ORPHAN_TIMEOUT = 10.0
# A server whose data folder was deleted notices it within a minute.
LEFTOVER_TIMEOUT = 75.0
_PAUSE = 0.01


class EmbeddedServer:
    """The PostgreSQL of one state folder.

    It is a daemon: it outlives the process that started it, and the next one adopts it. Making this object
    touches nothing.

    Args:
        home: the state folder; the server's own things lie in `postgres` in it.
        port: a TCP port of 127.0.0.1 to listen on as well. None: the socket only.
    """

    def __init__(self, home: Path, port: int | None = None) -> None:
        self.home = Path(home).expanduser().absolute()
        self.port = port
        self._paths = Paths(self.home)
        self._liveness_lock = LivenessLock(self._paths.liveness_lock)

    @property
    def url(self) -> str:
        """The libpq URL of the bootstrap superuser, by the socket, whether the server runs or not."""
        return self.status().url

    def tool(self, name: str) -> Path:
        """The absolute path of a client program of the server's version, such as `pg_dump`.

        Raises:
            ServerError: there is no such program.
        """
        return Binaries.from_wheel().tool(name)

    def status(self) -> ServerStatus:
        """How the server is now. Starts and changes nothing.

        Raises:
            ServerError: the state folder cannot be read.
        """
        with self._faults():
            found = self._living()
            taken = found and found.ready and takes_connections(self._paths.socket(found.socket_port), cluster.ROLE)
            if found is None or not taken:
                # One that was killed is none, though its pid file says ready
                starting = found is not None and (not found.ready or taken is False)
                return self._status(self.port or SOCKET_PORT, starting=starting)
            record = self._liveness_lock.record()
            return self._status(found.socket_port, found, record.version if record else None)

    def start(self) -> ServerStatus:
        """Have the server running: adopt the one that runs, or make the cluster if it is new, and start it.

        Safe to call from several processes at once; after a crash it recovers.

        Raises:
            ServerError: it cannot be started here; the message says why and what to do.
        """
        with self._faults():
            if (status := self.status()).running:
                return self._adopted(status)
            binaries = Binaries.from_wheel()
            self._prepare()
            with exclusive(self._paths.lock, LOCK_TIMEOUT) as lock:
                user = make_system_user()
                liveness_lock = self._take_liveness_lock()
                if liveness_lock is None:
                    return self._adopted(self.status())
                try:
                    binaries = binaries.copy_into(self._paths.binaries)
                    version = binaries.version
                    shutil.rmtree(self._paths.unfinished, ignore_errors=True)
                    self._check_port()
                    if not cluster.check_version(self._paths.data, version):
                        self._paths.password.unlink(missing_ok=True)
                        cluster.make_cluster(self._paths, binaries, user, lock)
                    self._clear_crash()
                    self._own_folders(user)
                    if original_of(self.home) is None:
                        take_identity(self.home)
                        archiving.refresh_owner(self._paths)
                    cluster.write_settings(self._paths.data, user)
                    known = self._log_sizes()
                    self._launch(binaries, version, user, liveness_lock)
                finally:
                    os.close(liveness_lock)
                self._wait_until_ready(known)
                if self.port is not None:
                    self._set_password()
            return self.status()

    def stop(self) -> bool:
        """Stop the server and wait for its end. Connections are cut and open transactions rolled back.

        Returns:
            False where none ran.

        Raises:
            ServerError: it does not end in time.
        """
        with self._faults():
            if not self._liveness_lock.held():
                return False
            with exclusive(self._paths.lock, LOCK_TIMEOUT):
                if found := self._living():
                    os.kill(found.pid, signal.SIGINT)
                began = time.monotonic()
                while (free := self._liveness_lock.take(timeout=0.1)) is None:
                    passed = time.monotonic() - began
                    self._end_orphans(passed)
                    if passed > STOP_TIMEOUT:
                        raise ServerError(
                            f"The server still has processes {passed:.0f} s after the signal to stop.",
                            hint=f"Its log is in {self._paths.log}.",
                        )
                os.close(free)
                return found is not None

    @property
    def archive(self) -> archiving.Archive | None:
        """Where the server archives its WAL from its last or next start on; None where that is not enabled."""
        return archiving.archive_of(self._paths)

    def enable_archiving(self, folder: Path) -> archiving.Archive:
        """Have the server archive its WAL into a folder, from its next start on.

        Raises:
            ServerError: the server's user could not write there, or another server archives there.
        """
        with self._faults():
            archive = archiving.make_archive(self._paths, folder, make_system_user())
            archiving.write_archive_setting(self._paths, archive)
            return archive

    def disable_archiving(self) -> None:
        """Have the server archive no more, from its next start on. What was archived stays."""
        with self._faults():
            archiving.write_archive_setting(self._paths, None)

    def adopt(self, *, moved: bool) -> Identity:
        """Make a copy of a state folder a server of its own, from its next start on, and return its identity.

        Args:
            moved: the original is gone; its archive and its backups belong to this server from now on.

        Raises:
            ServerError: the folder is not a copy, or its original is still there.
        """
        with self._faults():
            archive = self.archive
            found = adopt_identity(self.home, moved=moved)
            if archive is not None and archive.owned_by(self.home):
                archiving.refresh_owner(self._paths)
            elif archive is not None:
                archiving.write_archive_setting(self._paths, None)
            return found

    def restart(self) -> ServerStatus:
        """Stop the server if it runs, and start it. Connections are cut."""
        self.stop()
        return self.start()

    def _living(self) -> PidFile | None:
        """The pid file of our server while it lives, be it starting, ready or ending.

        The liveness_lock says that something of it lives, the record that the pid file is of the same server, and the
        process itself that it is not a stranger by now.
        """
        if not self._liveness_lock.held():
            return None
        found, record = PidFile.read(self._paths.data), self._liveness_lock.record()
        if found is None or record is None or found.pid != record.pid:
            return None
        return found if is_postmaster(found.pid, self._paths.data) else None

    def _end_orphans(self, passed: float) -> None:
        """End the backends of a killed server, when in `passed` seconds they have not noticed themselves.

        They are in the middle of a statement, whose outcome nobody can be told any more.
        """
        if passed < ORPHAN_TIMEOUT or self._living() or PidFile.read(self._paths.data) is None:
            return
        for pid in orphans(self._paths.data):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # What start is made of.

    def _prepare(self) -> None:
        """Check that this folder will do, then make it. Nothing is made or changed when it will not."""
        paths, user = self._paths, find_system_user()
        paths.check_socket_path(self.port or SOCKET_PORT)
        if self.home.exists() and not self.home.is_dir():
            raise ServerError(
                f"The state folder {self.home} is not a folder.",
                hint="Set ENERGY_FORECAST_HOME to another path.",
            )
        if os.geteuid() == 0:
            check_reach(self.home, user)
        if paths.state.exists() and paths.state.stat().st_uid != os.geteuid():
            raise ServerError(
                f"The server's folder {paths.state} belongs to another user.",
                hint="Run this as that user, or set ENERGY_FORECAST_HOME to another folder.",
            )
        make_home(self.home, user)
        paths.state.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            paths.state.chmod(0o711)

    def _take_liveness_lock(self) -> int | None:
        """The liveness_lock, for a new server; None when one runs that has it.

        One that another client has just launched gets the time to start, one that is ending the time to end,
        and the backends of a killed one the time to finish their statement and notice.
        """
        began = time.monotonic()
        while (descriptor := self._liveness_lock.take(timeout=0.1)) is None:
            if self.status().running:
                return None
            passed = time.monotonic() - began
            self._end_orphans(passed)
            if passed > (START_TIMEOUT if self._living() else LEFTOVER_TIMEOUT):
                raise ServerError(
                    f"An earlier server in {self._paths.state} still has processes after {passed:.0f} s.",
                    hint=f"Wait for them or end them, then try again. Their log is in {self._paths.log}.",
                )
        return descriptor

    def _check_port(self) -> None:
        """Raise where the port is taken, before anything is made for it."""
        if self.port is None:
            return
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise self._port_error() from error

    def _port_error(self) -> ServerError:
        return ServerError(
            f"The server cannot listen on port {self.port} of 127.0.0.1: it is in use, or not for this user.",
            hint="Set ENERGY_FORECAST_PORT to another port, or unset it: the socket needs none.",
        )

    def _clear_crash(self) -> None:
        """Remove what a killed server has left.

        The liveness_lock is ours, so nothing of that server lives. PostgreSQL looks only whether the pid in its
        files exists, and refuses when that is by now a zombie or some other program's.
        """
        record, pid_file = self._liveness_lock.record(), self._paths.data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            pid = int(pid_file.read_text().split()[0])
            if (record is None or pid != record.pid) and is_postmaster(pid, self._paths.data):
                raise ServerError(
                    f"A PostgreSQL that was not started by energy-forecast runs on {self._paths.data}: pid {pid}.",
                    hint="Stop it the way it was started.",
                )
        pid_file.unlink(missing_ok=True)
        shutil.rmtree(self._paths.socket_folder, ignore_errors=True)

    def _own_folders(self, user: SystemUser) -> None:
        for folder in (self._paths.socket_folder, self._paths.log, self._paths.data):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
            user.own(folder)

    def _launch(self, binaries: Binaries, version: str, user: SystemUser, liveness_lock: int) -> None:
        """Set the server going. It keeps the liveness_lock."""
        paths = self._paths
        who = [str(user.uid), str(user.gid)] if user.foreign else ["-", "-"]
        # Where it is found stands on the command line, so that no other setting can move it.
        options: dict[str, object] = {
            # A list, so a path with a space or a quote in it has to be quoted.
            "unix_socket_directories": '"{}"'.format(str(paths.socket_folder).replace('"', '""')),
            "listen_addresses": "" if self.port is None else "127.0.0.1",
            "port": self.port or SOCKET_PORT,
            "log_directory": paths.log,
        } | archiving.server_options(paths)
        command: list[str | Path] = [
            sys.executable,
            "-I",
            "-S",
            daemonize.__file__,
            paths.liveness_lock,
            version,
            *who,
        ]
        command += [binaries.tool("postgres"), "-D", paths.data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with open(paths.start_log, "w", opener=private) as log:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment(),
                pass_fds=(liveness_lock,),
                start_new_session=True,
                # Whatever goes wrong in there, the liveness_lock is free again and start.log says why.
                check=False,
            )

    def _wait_until_ready(self, known: dict[Path, int]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self.status().running:
            if not self._liveness_lock.held():
                raise self._start_error(known)
            if time.monotonic() > deadline:
                raise ServerError(
                    f"The server is not ready after {START_TIMEOUT:.0f} s; it goes on starting.",
                    hint=f"Its log is in {self._paths.log}.",
                )
            time.sleep(_PAUSE)

    def _log_sizes(self) -> dict[Path, int]:
        return {path: path.stat().st_size for path in self._paths.log.iterdir()}

    def _start_error(self, known: dict[Path, int]) -> ServerError:
        """Why the server ended at once, from what its logs have got since they had the sizes `known`."""
        said = self._paths.start_log.read_text(errors="replace")
        for path in sorted(self._paths.log.iterdir()):
            with path.open("rb") as file:
                file.seek(known.get(path, 0))
                said += file.read().decode(errors="replace")
        if "could not create any TCP/IP sockets" in said:
            return self._port_error()
        error = failure("The server did not start", said)
        error.hint = error.hint or f"Its log is in {self._paths.log}."
        return ServerError(error.message, hint=error.hint)

    def _set_password(self) -> None:
        """Give the role the password that is kept in the state folder, made when there is none."""
        path = self._paths.password
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(24) + "\n")
        # Not tracked: pg_stat_statements would keep the statement, with the password in it.
        run_program(
            [self.tool("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", self.url],
            text="SET pg_stat_statements.track = 'none';\n"
            f"ALTER ROLE {cluster.ROLE} PASSWORD '{path.read_text().strip()}';\n",
        )

    def _adopted(self, status: ServerStatus) -> ServerStatus:
        if self.port is not None and status.port != self.port:
            raise ServerError(
                f"The server runs already, and does not listen on port {self.port}.",
                hint="Run `energy-forecast db down` first, or unset ENERGY_FORECAST_PORT.",
            )
        return status

    def _status(
        self,
        socket_port: int,
        pid_file: PidFile | None = None,
        version: str | None = None,
        *,
        starting: bool = False,
    ) -> ServerStatus:
        folder = quote(os.fsencode(self._paths.socket_folder), safe="")
        tcp = pid_file is not None and pid_file.tcp
        return ServerStatus(
            running=pid_file is not None,
            starting=starting,
            pid=pid_file.pid if pid_file else None,
            version=version,
            url=f"postgresql://{cluster.ROLE}@/{cluster.DATABASE}?host={folder}&port={socket_port}",
            home=self.home,
            data=self._paths.data,
            log=self._paths.log,
            port=socket_port if tcp else None,
            password_file=self._paths.password if tcp else None,
            since=pid_file.since if pid_file else None,
        )

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn an error of the file system into one of ours that says what to do."""
        try:
            yield
        except OSError as error:
            where = error.filename or self._paths.state
            elsewhere = "Set ENERGY_FORECAST_HOME to another folder."
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                message, hint = f"The disk of {self.home} is full.", f"Free some space. {elsewhere}"
            elif error.errno == errno.EROFS:
                message, hint = f"The state folder {self.home} is on a read-only file system.", elsewhere
            elif error.errno in (errno.EACCES, errno.EPERM):
                message, hint = f"There is no permission for {where}.", elsewhere
            else:
                message, hint = f"{where}: {error.strerror or error}.", elsewhere
            raise ServerError(message, hint=hint) from error
