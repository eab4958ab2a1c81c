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
from energy_forecast.postgres import archiving, cluster, launch
from energy_forecast.postgres.account import Account, check_reach, find_account, make_account, make_home
from energy_forecast.postgres.identity import Identity, adopt_identity, original_of, take_identity
from energy_forecast.postgres.layout import Layout
from energy_forecast.postgres.lifeline import Lifeline, exclusive
from energy_forecast.postgres.private_files import private
from energy_forecast.postgres.programs import Programs, environment, failure, run_program
from energy_forecast.postgres.status import PidFile, ServerStatus, is_postmaster, orphans, takes_connections

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
        self._layout = Layout(self.home)
        self._lifeline = Lifeline(self._layout.lifeline)

    @property
    def url(self) -> str:
        """The libpq URL of the bootstrap superuser, by the socket, whether the server runs or not."""
        return self.status().url

    def tool(self, name: str) -> Path:
        """The absolute path of a client program of the server's version, such as `pg_dump`.

        Raises:
            ServerError: there is no such program.
        """
        return Programs.of_the_wheel().tool(name)

    def status(self) -> ServerStatus:
        """How the server is now. Starts and changes nothing.

        Raises:
            ServerError: the state folder cannot be read.
        """
        with self._faults():
            found = self._living()
            taken = found and found.ready and takes_connections(self._layout.socket(found.socket_port), cluster.ROLE)
            if found is None or not taken:
                # One that was killed is none, though its pid file says ready
                starting = found is not None and (not found.ready or taken is False)
                return self._status(self.port or SOCKET_PORT, starting=starting)
            record = self._lifeline.record()
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
            programs = Programs.of_the_wheel()
            self._prepare()
            with exclusive(self._layout.lock, LOCK_TIMEOUT) as lock:
                account = make_account()
                lifeline = self._taken_lifeline()
                if lifeline is None:
                    return self._adopted(self.status())
                try:
                    programs = programs.copied_below(self._layout.programs)
                    version = programs.version
                    shutil.rmtree(self._layout.unfinished, ignore_errors=True)
                    self._check_port()
                    if not cluster.check_version(self._layout.data, version):
                        self._layout.password.unlink(missing_ok=True)
                        cluster.make_cluster(self._layout, programs, account, lock)
                    self._clear_crash()
                    self._own_folders(account)
                    if original_of(self.home) is None:
                        take_identity(self.home)
                        archiving.renew_owner(self._layout)
                    cluster.write_settings(self._layout.data, account)
                    known = self._log_sizes()
                    self._launch(programs, version, account, lifeline)
                finally:
                    os.close(lifeline)
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
            if not self._lifeline.held():
                return False
            with exclusive(self._layout.lock, LOCK_TIMEOUT):
                if found := self._living():
                    os.kill(found.pid, signal.SIGINT)
                began = time.monotonic()
                while (free := self._lifeline.take(timeout=0.1)) is None:
                    passed = time.monotonic() - began
                    self._end_orphans(passed)
                    if passed > STOP_TIMEOUT:
                        raise ServerError(
                            f"The server still has processes {passed:.0f} s after the signal to stop.",
                            hint=f"Its log is in {self._layout.log}.",
                        )
                os.close(free)
                return found is not None

    @property
    def archive(self) -> archiving.Archive | None:
        """Where the server archives its WAL from its last or next start on; None where that is not enabled."""
        return archiving.archive_of(self._layout)

    def enable_archiving(self, folder: Path) -> archiving.Archive:
        """Have the server archive its WAL into a folder, from its next start on.

        Raises:
            ServerError: the server's account could not write there, or another server archives there.
        """
        with self._faults():
            archive = archiving.make_archive(self._layout, folder, make_account())
            archiving.note_archive(self._layout, archive)
            return archive

    def disable_archiving(self) -> None:
        """Have the server archive no more, from its next start on. What was archived stays."""
        with self._faults():
            archiving.note_archive(self._layout, None)

    def adopt(self, *, moved: bool) -> Identity:
        """Make a copy of a state folder a server of its own, from its next start on, and return its identity.

        With `moved`, a server whose identity was lost gets its archive back.

        Args:
            moved: the original is gone; its archive and its backups belong to this server from now on.

        Raises:
            ServerError: the folder is not a copy and has its archive, or its original is still there.
        """
        with self._faults():
            archive = self.archive
            noted = archive.other_owner(self.home) if archive is not None else None
            found = adopt_identity(self.home, moved=moved, noted=noted)
            if archive is not None and archive.owned_by(self.home):
                archiving.renew_owner(self._layout)
            elif archive is not None:
                archiving.note_archive(self._layout, None)
            return found

    def restart(self) -> ServerStatus:
        """Stop the server if it runs, and start it. Connections are cut."""
        self.stop()
        return self.start()

    def _living(self) -> PidFile | None:
        """The pid file of our server while it lives, be it starting, ready or ending.

        The lifeline says that something of it lives, the record that the pid file is of the same server, and the
        process itself that it is not a stranger by now.
        """
        if not self._lifeline.held():
            return None
        found, record = PidFile.read(self._layout.data), self._lifeline.record()
        if found is None or record is None or found.pid != record.pid:
            return None
        return found if is_postmaster(found.pid, self._layout.data) else None

    def _end_orphans(self, passed: float) -> None:
        """End the backends of a killed server, when in `passed` seconds they have not noticed themselves.

        They are in the middle of a statement, whose outcome nobody can be told any more.
        """
        if passed < ORPHAN_TIMEOUT or self._living() or PidFile.read(self._layout.data) is None:
            return
        for pid in orphans(self._layout.data):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # What start is made of.

    def _prepare(self) -> None:
        """Check that this folder will do, then make it. Nothing is made or changed when it will not."""
        layout, account = self._layout, find_account()
        layout.check_socket_path(self.port or SOCKET_PORT)
        if self.home.exists() and not self.home.is_dir():
            raise ServerError(
                f"The state folder {self.home} is not a folder.",
                hint="Set ENERGY_FORECAST_HOME to another path.",
            )
        if os.geteuid() == 0:
            check_reach(self.home, account)
        if layout.state.exists() and layout.state.stat().st_uid != os.geteuid():
            raise ServerError(
                f"The server's folder {layout.state} belongs to another user.",
                hint="Run this as that user, or set ENERGY_FORECAST_HOME to another folder.",
            )
        make_home(self.home, account)
        layout.state.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            layout.state.chmod(0o711)

    def _taken_lifeline(self) -> int | None:
        """The lifeline, for a new server; None when one runs that has it.

        One that another client has just launched gets the time to start, one that is ending the time to end,
        and the backends of a killed one the time to finish their statement and notice.
        """
        began = time.monotonic()
        while (descriptor := self._lifeline.take(timeout=0.1)) is None:
            if self.status().running:
                return None
            passed = time.monotonic() - began
            self._end_orphans(passed)
            if passed > (START_TIMEOUT if self._living() else LEFTOVER_TIMEOUT):
                raise ServerError(
                    f"An earlier server in {self._layout.state} still has processes after {passed:.0f} s.",
                    hint=f"Wait for them or end them, then try again. Their log is in {self._layout.log}.",
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

        The lifeline is ours, so nothing of that server lives. PostgreSQL looks only whether the pid in its
        files exists, and refuses when that is by now a zombie or some other program's.
        """
        record, pid_file = self._lifeline.record(), self._layout.data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            pid = int(pid_file.read_text().split()[0])
            if (record is None or pid != record.pid) and is_postmaster(pid, self._layout.data):
                raise ServerError(
                    f"A PostgreSQL that was not started by energy-forecast runs on {self._layout.data}: pid {pid}.",
                    hint="Stop it the way it was started.",
                )
        pid_file.unlink(missing_ok=True)
        shutil.rmtree(self._layout.socket_folder, ignore_errors=True)

    def _own_folders(self, account: Account) -> None:
        for folder in (self._layout.socket_folder, self._layout.log, self._layout.data):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
            account.own(folder)

    def _launch(self, programs: Programs, version: str, account: Account, lifeline: int) -> None:
        """Set the server going. It keeps the lifeline."""
        layout = self._layout
        who = [str(account.uid), str(account.gid)] if account.foreign else ["-", "-"]
        # Where it is found stands on the command line, so that no other setting can move it.
        options: dict[str, object] = {
            # A list, so a path with a space or a quote in it has to be quoted.
            "unix_socket_directories": '"{}"'.format(str(layout.socket_folder).replace('"', '""')),
            "listen_addresses": "" if self.port is None else "127.0.0.1",
            "port": self.port or SOCKET_PORT,
            "log_directory": layout.log,
        } | archiving.server_options(layout)
        command: list[str | Path] = [
            sys.executable,
            "-I",
            "-S",
            launch.__file__,
            layout.lifeline,
            version,
            *who,
        ]
        command += [programs.tool("postgres"), "-D", layout.data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with open(layout.start_log, "w", opener=private) as log:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment(),
                pass_fds=(lifeline,),
                start_new_session=True,
                # Whatever goes wrong in there, the lifeline is free again and start.log says why.
                check=False,
            )

    def _wait_until_ready(self, known: dict[Path, int]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self.status().running:
            if not self._lifeline.held():
                raise self._start_error(known)
            if time.monotonic() > deadline:
                raise ServerError(
                    f"The server is not ready after {START_TIMEOUT:.0f} s; it goes on starting.",
                    hint=f"Its log is in {self._layout.log}.",
                )
            time.sleep(_PAUSE)

    def _log_sizes(self) -> dict[Path, int]:
        return {path: path.stat().st_size for path in self._layout.log.iterdir()}

    def _start_error(self, known: dict[Path, int]) -> ServerError:
        """Why the server ended at once, from what its logs have got since they had the sizes `known`."""
        said = self._layout.start_log.read_text(errors="replace")
        for path in sorted(self._layout.log.iterdir()):
            with path.open("rb") as file:
                file.seek(known.get(path, 0))
                said += file.read().decode(errors="replace")
        if "could not create any TCP/IP sockets" in said:
            return self._port_error()
        error = failure("The server did not start", said)
        error.hint = error.hint or f"Its log is in {self._layout.log}."
        return ServerError(error.message, hint=error.hint)

    def _set_password(self) -> None:
        """Give the role the password that is kept in the state folder, made when there is none."""
        path = self._layout.password
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
        folder = quote(os.fsencode(self._layout.socket_folder), safe="")
        tcp = pid_file is not None and pid_file.tcp
        return ServerStatus(
            running=pid_file is not None,
            starting=starting,
            pid=pid_file.pid if pid_file else None,
            version=version,
            url=f"postgresql://{cluster.ROLE}@/{cluster.DATABASE}?host={folder}&port={socket_port}",
            home=self.home,
            data=self._layout.data,
            log=self._layout.log,
            port=socket_port if tcp else None,
            password_file=self._layout.password if tcp else None,
            since=pid_file.since if pid_file else None,
        )

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn an error of the file system into one of ours that says what to do."""
        try:
            yield
        except OSError as error:
            where = error.filename or self._layout.state
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
