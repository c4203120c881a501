"""A real node for tests: ``python -m penstock …`` in processes of its own.

`Node` starts it with its own folder, port and environment, waits until it is ready, names its
processes, and ends them by their own ids.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import httpx
import psutil

from penstock import Client
from support.ports import unused_port
from support.wait import until

START_S = 120.0
"""How long a node may take to be ready: four at a time are started by tests, each of several processes."""

Role = Literal["up", "api", "worker"]
Part = Literal["api", "worker", "zygote", "slot"]

HAZARDOUS = Path(__file__).with_name("hazardous.py")
TUNED = Path(__file__).with_name("tuned")
LISTENING = "connected, waiting for jobs"

live: list["Node"] = []
"""Every node that is running now; the log of each is shown when a test fails."""


class Node:
    """``penstock up``, ``penstock api`` or ``penstock worker``, run with the tasks of `hazardous`.

    Nodes of one ``folder`` share its broker. ``settings`` become ``PENSTOCK_…`` variables:
    ``Node(tmp_path, "worker", slots=1, lease="2s")``, and None leaves one out. ``arguments`` are put behind
    the command. ``tuned`` are constants of modules, as ``{"penstock.worker.supervisor.SETTLE_S": 1.0}``.
    """

    def __init__(self, folder: Path, role: Role = "up", *, arguments: tuple[str, ...] = (), **settings: Any):
        self.role = role
        self.folder = folder
        self.port = int(settings.pop("port", 0)) or unused_port()
        self.name = settings.pop("node", f"{role}{self.port}")
        self.url = f"http://127.0.0.1:{self.port}"
        self.broker_url = settings.pop("broker_url", f"sqlite:///{folder / 'penstock.db'}")
        self._log_path = folder / f"{self.name}.log"
        tuned = settings.pop("tuned", {})
        self._command = [sys.executable, "-m", "penstock", role, *arguments]
        chosen = {
            "broker_url": self.broker_url,
            "node": self.name,
            "port": self.port,
            "tasks": HAZARDOUS,
            "slots": 2,
            "history": "off",
            "log_format": "json",
        } | settings
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self.environment = inherited | {
            f"PENSTOCK_{k.upper()}": str(v) for k, v in chosen.items() if v is not None
        }
        if tuned:
            path = filter(None, [str(TUNED), os.environ.get("PYTHONPATH")])
            self.environment |= {"PYTHONPATH": os.pathsep.join(path), "TUNED": json.dumps(tuned)}
        self._process: subprocess.Popen[bytes] | None = None
        self._seen: set[psutil.Process] = set()
        self._client: Client | None = None

    def start(self, within: float = START_S) -> Self:
        """Start it and wait until it takes jobs (``up``, ``api``) and runs them (``up``, ``worker``)."""
        self.launch()
        self.wait_ready(within)
        return self

    def launch(self) -> None:
        """Start it without waiting; a node that has ended may be started again."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._offset = self._log_path.stat().st_size
        live.append(self)

    def wait_ready(self, within: float = START_S) -> None:
        """Fails with the log when it ends instead, or is not ready in time."""

        def ready() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
            serves = self.role == "worker" or self.answers()
            runs = self.role == "api" or LISTENING in self._log_since_launch()
            return serves and runs

        until(ready, within, f"{self.name} is ready")

    def answers(self) -> bool:
        """Whether the API takes jobs now."""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process that was started: the launcher, the API or the worker."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process

    @property
    def client(self) -> Client:
        """A client of this node, for one thread."""
        self._client = self._client or Client(self.url, patience_s=0)
        return self._client

    def parts(self, part: Part) -> list[psutil.Process]:
        """Its living processes of this kind."""
        with contextlib.suppress(psutil.NoSuchProcess):
            found = list(self._find(part))
            self._seen.update(found)
            return found
        return []

    def pids(self, part: Part) -> list[int]:
        """The ids of `parts`."""
        return [process.pid for process in self.parts(part)]

    def pid(self, part: Part) -> int:
        """The id of its only process of this kind, waiting until there is one."""
        (only,) = until(lambda: self.pids(part), what=f"{self.name} has a {part}")
        return only

    def _find(self, part: Part) -> Iterator[psutil.Process]:
        root = psutil.Process(self.process.pid)
        match part:
            case "api" | "worker":
                family = [root] if self.role == part else root.children() if self.role == "up" else []
                yield from (each for each in family if _runs(each, "penstock", part))
            case "zygote":
                for worker in self._find("worker"):
                    yield from (each for each in worker.children() if _alive(each))
            case "slot":
                for zygote in self._find("zygote"):
                    yield from (each for each in zygote.children() if _alive(each))

    def signal(self, part: Part, number: signal.Signals = signal.SIGKILL) -> int:
        """Send it to its only process of this kind; returns the id."""
        pid = self.pid(part)
        os.kill(pid, number)
        return pid

    def stop(self, within: float = 90.0) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.wait(within)

    def wait(self, within: float = 90.0) -> int:
        """The exit code of a node that ends by itself."""
        status = self.process.wait(within)
        if self in live:
            live.remove(self)
        return status

    def kill(self) -> None:
        """SIGKILL to every process of it that is left; harmless when it has ended."""
        for part in ("api", "worker", "zygote", "slot"):
            self.parts(part)
        if self._process is not None:
            self.process.kill()
            self.wait()
        for process in self._seen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()  # never a process that got the number of one that has ended
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def log(self) -> str:
        """Everything it wrote, its children included."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def entries(self, event: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """Log entries with this event and these fields."""
        found = []
        for line in self.log.splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                wanted = {"event": event} | fields if event else fields
                if isinstance(entry, dict) and wanted.items() <= entry.items():
                    found.append(entry)
        return found

    def _log_since_launch(self) -> str:
        return self._log_path.read_bytes()[self._offset :].decode(errors="replace")


def alive(pid: int) -> bool:
    """Whether the process runs: it exists and is more than an entry waiting to be read by its parent."""
    try:
        return _alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _runs(process: psutil.Process, module: str, command: str) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return process.cmdline()[1:4] == ["-m", module, command]
    return False
