"""What a fault run makes suffer: a broker's server, API nodes, workers, and who restarts them."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry

from penstock.app.broker import make_broker
from penstock.ports import Broker
from penstock.settings import Settings
from support.faults.cable import Cable
from support.faults.plan import Plan
from support.node import Node
from support.redis_server import RedisServer, ValkeyServer

HERE = Path(__file__).parent
SERVERS = {"redis": RedisServer, "valkey": ValkeyServer}
BROKER_TIMEOUT = "2s"
END_S = 45.0


class Deployment:
    """Nodes by role, the ``server`` if the broker has one, and a cable from each node to it.

    ``disk`` is the folder of a SQLite file; ``witness`` is where attempts sign.
    """

    def __init__(self, plan: Plan, folder: Path, disk: Path | None = None) -> None:
        self.plan = plan
        self.folder = folder
        self.disk = disk or folder
        self.witness = folder / "witness"
        self.run = folder.name
        self.server: RedisServer | None = None
        self.cables: dict[str, Cable] = {}
        self.nodes: dict[str, list[Node]] = {"api": [], "worker": []}
        self.witness.touch()

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Everything runs inside, and nothing is left afterwards, whatever happens."""
        async with contextlib.AsyncExitStack() as stack:
            if self.plan.store in SERVERS:
                # With "always" an answer means that it is on the disk.
                server = SERVERS[self.plan.store](self.folder, appendfsync="always")
                self.server = await asyncio.to_thread(stack.enter_context, server)
            stack.callback(self._kill)
            for role, count in (("api", self.plan.apis), ("worker", self.plan.workers)):
                for number in range(count):
                    await self._add(stack, role, f"{role}-{number}")
            self.broker: Broker = make_broker(self._settings(), CollectorRegistry())
            await self.broker.open()
            stack.push_async_callback(self.broker.close)
            yield

    async def _add(self, stack: contextlib.AsyncExitStack, role: str, name: str) -> None:
        url = self._url()
        if self.server is not None:
            cable = self.cables[name] = await stack.enter_async_context(Cable(self.server.port))
            url = url.replace(f":{self.server.port}/", f":{cable.port}/")
        node = Node(
            self.folder,
            role,
            node=name,
            broker_url=url,
            tasks=HERE / "tasks.py",
            slots=self.plan.slots,
            lease=f"{self.plan.lease_ms}ms",
            broker_timeout=BROKER_TIMEOUT,
            fault_point=self.trap(name),
            fault_witness=self.witness,
        )
        path = os.pathsep.join([str(HERE / "site"), *map(os.path.abspath, _python_path())])
        node.environment["PYTHONPATH"] = path
        self.nodes[role].append(node)
        node.launch()
        await asyncio.to_thread(node.wait_ready)

    def trap(self, name: str) -> Path:
        """The file that names the step at which this node is to be hit."""
        return self.folder / f"{name}.trap"

    def _url(self) -> str:
        return self.server.url() if self.server else f"sqlite:///{self.disk / 'penstock.db'}"

    def _settings(self) -> Settings:
        return Settings(broker_url=self._url(), lease=self.plan.lease_ms)

    @property
    def every_node(self) -> Iterator[Node]:
        """APIs first."""
        return (node for nodes in self.nodes.values() for node in nodes)

    @property
    def urls(self) -> list[str]:
        """Where clients ask."""
        return [node.url for node in self.nodes["api"]]

    async def restart(self, node: Node) -> None:
        """What a service manager does for a node that has ended, until it is ready."""
        while True:
            await asyncio.to_thread(node.wait)
            node.launch()
            try:
                await asyncio.to_thread(node.wait_ready)
            except AssertionError:
                if node.process.poll() is None:
                    raise
            else:
                return

    async def stop(self) -> list[str]:
        """SIGTERM to every node; tells what did not end well or was left behind."""
        ended = [
            (node, await asyncio.to_thread(node.stop, END_S)) for node in reversed(list(self.every_node))
        ]
        wrong = [f"{node.name} ended with {status}" for node, status in ended if status]
        return wrong + [f"orphan: {process}" for process in self.processes()]

    def processes(self) -> list[psutil.Process]:
        """Whatever runs for this deployment, its server not counted: our mark is in its environment."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error, OSError):
            mark = process.environ().get("PENSTOCK_FAULT_WITNESS")
            return mark == str(self.witness) and process.status() != psutil.STATUS_ZOMBIE
        return False

    def doctor(self) -> str:
        """What ``penstock doctor`` complains about; nothing if it is green."""
        asked = subprocess.run(
            [sys.executable, "-m", "penstock", "doctor", "--json", "--url", self.urls[0]],
            env=self.nodes["api"][0].environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout + asked.stderr if asked.returncode else ""

    def _kill(self) -> None:
        for node in self.every_node:
            node.kill()
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _python_path() -> list[str]:
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
