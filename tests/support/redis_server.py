"""Real Redis and Valkey servers for tests: processes of our own, on loopback ports of their own.

Each has its own folder and keeps what it was told over a restart. Nothing here is shared; what tests
share lies in `services`, and servers that belong together in `redis_groups`.
"""

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from support.certificates import Certificates
from support.ports import HOST, unused_port
from support.programs import redis_program, valkey_program
from support.wait import PATIENCE_S, until

PERSISTENT = {"appendonly": "yes", "appendfsync": "everysec", "save": '""'}
EAGER = {"repl-diskless-sync-delay": "0"}  # a replica need not wait five seconds for others to join
ANSWER_S = 5.0
PROMPT_S = 0.5
LOG_TAIL = 3_000


class RedisServer:
    """One server process; ``with RedisServer(tmp_path) as server`` starts and ends it.

    ``program`` is redis-server unless told otherwise. What is left are lines of its configuration:
    ``RedisServer(tmp_path, maxmemory="20mb", maxmemory_policy="noeviction")``.
    """

    scheme = "redis"

    def __init__(
        self, folder: Path, program: str | None = None, *, tls: Certificates | None = None, **lines: str
    ) -> None:
        self.port = unused_port()
        self.folder = folder / f"server-{self.port}"
        self.tls = tls
        self.password: str | None = None
        self._program = program or redis_program()
        self._process: subprocess.Popen[bytes] | None = None
        self.folder.mkdir(parents=True)
        self._configure(PERSISTENT | EAGER | lines)

    def _configure(self, lines: dict[str, str]) -> None:
        listen = {"port": str(self.port)}
        if self.tls:
            listen = {"port": "0", "tls-port": str(self.port), **self.tls.server_lines}
        every = {"bind": HOST, "daemonize": "no", "dir": str(self.folder), **listen, **lines}
        text = "".join(f"{name.replace('_', '-')} {value}\n" for name, value in every.items())
        self._configuration.write_text(text)

    @property
    def _configuration(self) -> Path:
        return self.folder / "server.conf"

    def __repr__(self) -> str:
        return f"<server on port {self.port}>"

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        """Start it, with the data of its last run if there was one, and wait until it answers."""
        self.launch()
        return self.wait_ready()

    def launch(self) -> None:
        """Start it without waiting."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*_dying_with_us(), self._program, str(self._configuration), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def _arguments(self) -> list[str]:
        return []

    def wait_ready(self, within: float = PATIENCE_S) -> Self:
        """Wait until it answers and has loaded its data."""
        until(self._answers_or_fails, within, f"{self} answers")
        return self

    def _answers_or_fails(self) -> bool:
        assert self.process.poll() is None, f"{self} ended:\n{self.log[-LOG_TAIL:]}"
        return self.answers()

    def answers(self) -> bool:
        """Whether it takes commands now."""
        try:
            with self.client(socket_timeout=PROMPT_S) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # the first also says that it is loading
            return False

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process that was started."""
        assert self._process is not None, f"{self} was not started"
        return self._process

    @property
    def log(self) -> str:
        """Everything it wrote."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    @property
    def _log_path(self) -> Path:
        return self.folder / "server.log"

    def url(self, namespace: str = "", user: str = "", password: str = "", database: int = 0) -> str:
        """The broker URL; who may come in is named only if told."""
        who = f"{user}:{password}@" if user or password else ""
        scheme = "rediss" if self.tls else self.scheme
        return f"{scheme}://{who}{HOST}:{self.port}/{database}" + (
            f"?namespace={namespace}" * bool(namespace)
        )

    def client(self, **options: Any) -> "redis.Redis":
        """A connection for the test itself, which never tries again by itself; to be used in ``with``."""
        usual = {"password": self.password, "socket_timeout": ANSWER_S, "decode_responses": True}
        if self.tls:
            usual |= {"ssl": True, "ssl_ca_certs": str(self.tls.authority)}
        return redis.Redis(HOST, self.port, retry=Retry(NoBackoff(), 0), **usual | options)

    def ask(self, *words: str | int) -> Any:
        """The answer to one command."""
        with self.client() as client:
            return client.execute_command(*words)

    def info(self, section: str = "default") -> dict[str, Any]:
        """What INFO says."""
        return dict(self.ask("INFO", section))

    def stop(self) -> None:
        """SIGTERM: it puts its data in safety and ends."""
        self.process.terminate()
        self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """SIGKILL, paused or not; harmless when it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)

    def pause(self) -> None:
        """SIGSTOP: the port stays open, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)
        seen = psutil.Process(self.process.pid)
        until(lambda: seen.status() == psutil.STATUS_STOPPED, what=f"{self} is paused")

    def resume(self) -> None:
        """SIGCONT, and wait until it answers."""
        self.process.send_signal(signal.SIGCONT)
        self.wait_ready()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Paused inside, whatever happens there."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """Killed inside, and afterwards there again with all it had answered.

        While it waits for a slow disk it answers up to two seconds ahead of its file; that is let pass first.
        """
        until(lambda: self.info("persistence")["aof_buffer_length"] == 0, what=f"{self} wrote its file")
        self.kill()
        try:
            yield
        finally:
            self.start()

    def require_password(self, password: str) -> None:
        """Let nobody in without it from now on, also after a restart."""
        with self.client() as client:
            client.config_set("requirepass", password)
            self.password = password
            client.auth(password)
            client.config_rewrite()

    def add_user(self, name: str, password: str, *rules: str) -> None:
        """Make a user who may do what ``rules`` say, such as ``"~{name}*", "+@all"``; kept over a restart."""
        with self.client() as client:
            client.execute_command("ACL", "SETUSER", name, "reset", "on", f">{password}", *rules)
            client.config_rewrite()

    def configure(self, name: str, value: str) -> None:
        """Change a setting while it runs."""
        self.ask("CONFIG", "SET", name, value)

    def delete(self, pattern: str) -> int:
        """Delete every key of database 0 that fits; returns how many."""
        with self.client(decode_responses=False) as client:
            return sum(client.unlink(*keys) for keys in _batches(client, pattern))


class ValkeyServer(RedisServer):
    """The same from Valkey."""

    scheme = "valkey"

    def __init__(self, folder: Path, **lines: str) -> None:
        super().__init__(folder, valkey_program(), **lines)


def _batches(client: "redis.Redis", pattern: str) -> Iterator[list[bytes]]:
    cursor: int | None = None
    while cursor != 0:
        cursor, keys = client.scan(cursor or 0, match=pattern, count=1_000)
        if keys:
            yield keys


def _dying_with_us() -> list[str]:
    """Where Linux can do it, a server does not outlive a test run that is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
