"""A real PostgreSQL for tests: a cluster of our own, on a loopback port of its own, never run as root."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil
import psycopg

from support.ports import HOST, unused_port
from support.programs import missing, postgres_program
from support.wait import PATIENCE_S, until

USER = "app"
LINES = {"listen_addresses": HOST, "fsync": "on", "max_connections": "40", "shared_buffers": "16MB"}


class PostgresServer:
    """``with PostgresServer(folder) as server``; ``server.url("name")`` is a database that is made then.

    The cluster is kept over `gone`, as a crash would leave it.
    """

    def __init__(self, _folder: Path) -> None:
        self.port = unused_port()
        self._initdb, self._postgres = postgres_program("initdb"), postgres_program("postgres")
        self._as_user = _unprivileged()
        # Not in the test's folder: whoever runs the server must be able to go there.
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
        if self._as_user:
            shutil.chown(self.folder, "postgres")
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<PostgreSQL on port {self.port}>"

    def __enter__(self) -> Self:
        try:
            self._run(
                self._initdb,
                "-D",
                self._data,
                "-A",
                "trust",
                "-U",
                USER,
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C",
            )
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [*self._as_user, *command], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> Self:
        """Start it with what it has, and wait until it answers."""
        lines = LINES | {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        told = [word for name, value in lines.items() for word in ("-c", f"{name}={value}")]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user, *_dying_with_us(), self._postgres, "-D", self._data, *told],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self._answers_or_fails, what=f"{self} answers")
        return self

    @property
    def _log_path(self) -> Path:
        return self.folder / "server.log"

    def _answers_or_fails(self) -> bool:
        assert self._process is not None
        ended = self._process.poll() is not None
        assert not ended, f"{self} ended:\n{self._log_path.read_text()[-3000:]}"
        return self.answers()

    def answers(self) -> bool:
        """Whether it can be asked now."""
        with contextlib.suppress(psycopg.OperationalError), self._connect("postgres"):
            return True
        return False

    def _connect(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host=HOST, port=self.port, user=USER, dbname=database, connect_timeout=2, autocommit=True
        )

    def url(self, database: str | None = None) -> str:
        """The URL of an empty database that nobody else uses."""
        name = database or f"t_{secrets.token_hex(6)}"
        with self._connect("postgres") as db:
            db.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql://{USER}@{HOST}:{self.port}/{name}"

    def stop(self) -> None:
        """SIGINT: every session is cut off and it ends, with its data in safety."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As a crash would end it: SIGQUIT, which also ends its own children; harmless when it has ended."""
        self._end(signal.SIGQUIT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(PATIENCE_S)

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """Ended inside as by a crash, and afterwards there again with all it had answered."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP to every process of it: connections stand, nothing is answered."""
        assert self._process is not None
        main = psutil.Process(self._process.pid)
        family = [main, *main.children(recursive=True)]
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.suspend()
        try:
            yield
        finally:
            for each in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.resume()
            until(self.answers, what=f"{self} answers")


def _unprivileged() -> list[str]:
    """The words before a command that make it run as somebody who is not root; none if nobody is root."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        missing("the user postgres", "apt-get install postgresql")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]


def _dying_with_us() -> list[str]:
    """Where Linux can do it, a server does not outlive a test run that is killed."""
    return ["setpriv", "--pdeathsig", "INT", "--"] if shutil.which("setpriv") else []
