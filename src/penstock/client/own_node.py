"""A node that an executor has to itself: a process with an API and a worker on a temporary store.

It ends with the executor and, as it holds the reading end of a pipe of ours, with this process at the latest.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import httpx

from penstock.core.errors import ErrorCode, PenstockError
from penstock.whereabouts import Whereabouts, read

HOST = "127.0.0.1"
READY_S, STOP_S, LOOK_S = 60.0, 15.0, 0.05
MOST_PORTS, PORT_IS_TAKEN = 3, "cannot listen on"
LOG_TAIL = 2_000
WITHIN = "PENSTOCK_WITHIN_EXECUTOR"
"""Set in such a node, so that a script which is imported there for its tasks starts no further one."""

_OF_OTHERS = (
    "PENSTOCK_API_KEYS",
    "PENSTOCK_DATABASE_URL",
    "PENSTOCK_NODE",
    "PENSTOCK_INSECURE",
    "PENSTOCK_URL",
)


class OwnNode:
    """``modules`` are what its tasks are found in, ``slots`` how many attempts it runs at a time."""

    def __init__(self, modules: Iterable[str], queues: Iterable[str], slots: int | None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="penstock-executor-"))
        self._log = self._folder / "node.log"
        # The store is gone with the executor, so no power cut can matter to it.
        self._own = read(
            Whereabouts, broker_url=f"sqlite:///{self._folder / 'penstock.db'}?synchronous=normal"
        )
        self._modules = list(modules)
        self._chosen = _settings(self._folder, self._own.broker_url, queues, slots)
        self._ports = 0
        self._start()

    def _start(self) -> None:
        self._ports += 1
        port = _free_port()
        self.url = f"http://{HOST}:{port}"
        reading, self._writing = os.pipe()
        command = [sys.executable, "-m", "penstock", "up", "--parent-fd", str(reading), *self._modules]
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603 - this Python, our own words
                    command,
                    env=_environment() | self._chosen | {"PENSTOCK_PORT": str(port)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[reading],
                    start_new_session=True,  # Ctrl-C is for this process, which then stops the node
                )
        finally:
            os.close(reading)

    def wait_until_ready(self) -> None:
        """Return when it answers; raises NODE_UNREACHABLE with the end of its log if it never will."""
        give_up = time.monotonic() + READY_S
        while not self._answers():
            if self._process.poll() is None and time.monotonic() < give_up:
                time.sleep(LOOK_S)
                continue
            log = self._log.read_text(errors="replace")[-LOG_TAIL:]
            if PORT_IS_TAKEN not in log or self._ports == MOST_PORTS:
                message = f"the executor's own node did not start; it says:\n{log}"
                raise PenstockError(ErrorCode.NODE_UNREACHABLE, message)
            os.close(self._writing)
            self._start()

    def _answers(self) -> bool:
        if self._own.announced_url != self.url:
            return False  # whoever answers there is another
        try:
            return httpx.get(f"{self.url}/livez", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End it, and forget its jobs."""
        os.close(self._writing)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _free_port() -> int:
    """One that nobody listens on now; somebody may before the node does."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


def _environment() -> dict[str, str]:
    """This process's own, without what is said of another node; modules are found where they are here."""
    kept = {name: value for name, value in os.environ.items() if name not in _OF_OTHERS}
    return kept | {"PYTHONPATH": os.pathsep.join(each or str(Path.cwd()) for each in sys.path)}


def _settings(folder: Path, broker_url: str, queues: Iterable[str], slots: int | None) -> dict[str, str]:
    chosen = {
        "broker_url": broker_url,
        "host": HOST,
        "node": "executor",
        "queues": ",".join(queues),
        "spool": str(folder / "spool"),
        "history": "off",
        "rate_limit": "off",
        "drain": "100ms",
        "linger": "10ms",
        "within_executor": "1",
    }
    if slots is not None:
        chosen["slots"] = str(slots)
    return {f"PENSTOCK_{name.upper()}": value for name, value in chosen.items()}


def refuse_within() -> None:
    """Raises RuntimeError in a process of such a node."""
    if WITHIN in os.environ:
        raise RuntimeError(
            "this module is being imported by the node of an Executor, for its tasks: start the Executor"
            ' under `if __name__ == "__main__":`, or name a node by url='
        )
