"""The embedded server: one daemon for each state folder, shared by all commands that use the folder."""

from __future__ import annotations

import contextlib
import errno
import logging
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

_log = logging.getLogger(__name__)

SOCKET_PORT = 5432
# In seconds. Creating and starting a cluster take about 1 s; recovery after a crash reads up to 2 GB of WAL.
LOCK_TIMEOUT = 120.0
START_TIMEOUT = 300.0
STOP_TIMEOUT = 120.0
# A backend whose server was killed ends after its statement.
ORPHAN_TIMEOUT = 10.0
# A server whose data folder was deleted ends within a minute.
LEFTOVER_TIMEOUT = 75.0
_PAUSE = 0.01


class EmbeddedServer:
    """The PostgreSQL of one state folder.

    It is a daemon: it outlives the process that started it, and the next process adopts it. Creating this object
    changes nothing.

    Args:
        home: the state folder; the files of the server are in its folder `postgres`.
        port: a TCP port of 127.0.0.1 to listen on as well. None for the socket only.
    """

    def __init__(self, home: Path, port: int | None = None) -> None:
        self.home = Path(home).expanduser().absolute()
        self.port = port
        self._paths = Paths(self.home)
        self._liveness_lock = LivenessLock(self._paths.liveness_lock)

    @property
    def url(self) -> str:
        """The libpq URL of the bootstrap superuser by the socket, even if the server does not run."""
        return self.status().url

    def tool(self, name: str) -> Path:
        """Return the absolute path of a client program of the same version, such as `pg_dump`.

        Raises:
            ServerError: the program does not exist.
        """
        return Binaries.from_wheel().tool(name)

    def status(self) -> ServerStatus:
        """Return the status of the server. Nothing is started or changed.

        Raises:
            ServerError: the state folder cannot be read.
        """
        with self._faults():
            found = self._living()
            taken = found and found.ready and takes_connections(self._paths.socket(found.socket_port), cluster.ROLE)
            if found is None or not taken:
                # A killed server does not count, although its pid file says ready
                starting = found is not None and (not found.ready or taken is False)
                return self._status(self.port or SOCKET_PORT, starting=starting)
            record = self._liveness_lock.record()
            return self._status(found.socket_port, found, record.version if record else None)

    def start(self) -> ServerStatus:
        """Adopt the running server, or start it. Create the cluster if it is new.

        Several processes may call this concurrently. After a crash the server recovers.

        Raises:
            ServerError: the server cannot be started.
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
                _log.info("server started", extra={"home": self.home, "version": version})
            return self.status()

    def stop(self) -> bool:
        """Stop the server and wait for its end. Connections are closed and open transactions rolled back.

        Returns:
            False if no server ran.

        Raises:
            ServerError: the server does not end in time.
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
                _log.info("server stopped", extra={"home": self.home})
                return found is not None

    @property
    def archive(self) -> archiving.Archive | None:
        """The WAL archive that the server uses from its last or next start on; None if archiving is not enabled."""
        return archiving.archive_of(self._paths)

    def enable_archiving(self, folder: Path) -> archiving.Archive:
        """Enable WAL archiving into a folder, from the next start on.

        Raises:
            ServerError: the server's user could not write there, or another server archives there.
        """
        with self._faults():
            archive = archiving.make_archive(self._paths, folder, make_system_user())
            archiving.write_archive_setting(self._paths, archive)
            return archive

    def adopt(self, *, moved: bool) -> Identity:
        """Make a copy of a state folder a separate server, from the next start on, and return its identity.

        With `moved`, a server whose identity was lost gets its archive back.

        Args:
            moved: the original no longer exists; its archive and its backups belong to this server.

        Raises:
            ServerError: the folder is not a copy and has its archive, or `moved` is set and the original still exists.
        """
        with self._faults():
            archive = self.archive
            recorded = archive.other_owner(self.home) if archive is not None else None
            found = adopt_identity(self.home, moved=moved, recorded=recorded)
            if archive is not None and archive.owned_by(self.home):
                archiving.refresh_owner(self._paths)
            elif archive is not None:
                archiving.write_archive_setting(self._paths, None)
            return found

    def restart(self) -> ServerStatus:
        """Stop the server if it runs, and start it. Connections are closed."""
        self.stop()
        return self.start()

    def _living(self) -> PidFile | None:
        """Return the pid file of this server while it lives: starting, ready or ending.

        The liveness lock shows that a process lives, the record that the pid file is of the same server, and the
        working folder of the process that the pid was not reused.
        """
        if not self._liveness_lock.held():
            return None
        found, record = PidFile.read(self._paths.data), self._liveness_lock.record()
        if found is None or record is None or found.pid != record.pid:
            return None
        return found if is_postmaster(found.pid, self._paths.data) else None

    def _end_orphans(self, passed: float) -> None:
        """Kill the backends of a killed server if they have not ended within `passed` seconds.

        They are in the middle of a statement whose result no client can receive.
        """
        if passed < ORPHAN_TIMEOUT or self._living() or PidFile.read(self._paths.data) is None:
            return
        for pid in orphans(self._paths.data):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # Steps of start

    def _prepare(self) -> None:
        """Check that the folder is usable, then create it. Nothing changes if it is not."""
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
        """Return the liveness lock for a new server; None if a running server holds it.

        Wait for a server that another client has just launched, for a server that is stopping, and for the backends of
        a killed server, which end after their statement.
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
        """Check that the port is free, before anything is created for it."""
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
            f"The server cannot listen on port {self.port} of 127.0.0.1: it is in use, or this user may not use it.",
            hint="Set ENERGY_FORECAST_PORT to another port, or unset it: the socket needs none.",
        )

    def _clear_crash(self) -> None:
        """Remove the files that a killed server has left.

        This process holds the liveness lock, so no process of that server lives. PostgreSQL checks only whether the pid
        in its files exists, and refuses to start if that is now a zombie or another program.
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
        """Start the server, which inherits the liveness lock."""
        paths = self._paths
        who = [str(user.uid), str(user.gid)] if user.foreign else ["-", "-"]
        # The addresses are on the command line, so that no other setting can change them.
        options: dict[str, object] = {
            # The value is a list, so a path with a space or a quote must be quoted.
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
                # After any failure the liveness lock is free again, and start.log has the reason.
                check=False,
            )

    def _wait_until_ready(self, known: dict[Path, int]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self.status().running:
            if not self._liveness_lock.held():
                raise self._start_error(known)
            if time.monotonic() > deadline:
                raise ServerError(
                    f"The server is not ready after {START_TIMEOUT:.0f} s; it is still starting.",
                    hint=f"Its log is in {self._paths.log}.",
                )
            time.sleep(_PAUSE)

    def _log_sizes(self) -> dict[Path, int]:
        return {path: path.stat().st_size for path in self._paths.log.iterdir()}

    def _start_error(self, known: dict[Path, int]) -> ServerError:
        """Explain an immediate exit, using the log lines written since the files had the sizes `known`."""
        output = self._paths.start_log.read_text(errors="replace")
        for path in sorted(self._paths.log.iterdir()):
            with path.open("rb") as file:
                file.seek(known.get(path, 0))
                output += file.read().decode(errors="replace")
        if "could not create any TCP/IP sockets" in output:
            return self._port_error()
        error = failure("The server did not start", output)
        error.hint = error.hint or f"Its log is in {self._paths.log}."
        return ServerError(error.message, hint=error.hint)

    def _set_password(self) -> None:
        """Set the password of the role to the one in the state folder, which is created if missing."""
        path = self._paths.password
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(24) + "\n")
        # Not tracked: pg_stat_statements would store the statement with the password.
        run_program(
            [self.tool("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", self.url],
            text="SET pg_stat_statements.track = 'none';\n"
            f"ALTER ROLE {cluster.ROLE} PASSWORD '{path.read_text().strip()}';\n",
        )

    def _adopted(self, status: ServerStatus) -> ServerStatus:
        if self.port is not None and status.port != self.port:
            raise ServerError(
                f"The server is already running, and does not listen on port {self.port}.",
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
        """Convert an error of the file system into a ServerError with a remedy."""
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
