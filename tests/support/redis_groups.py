"""Servers that belong together: a primary that Sentinels watch over, and a cluster.

Both are slow to find anything wrong unless told otherwise, so that a test may pause their servers and
meet the same ones afterwards. ``SentinelGroup(…, down_after_ms=2_000)`` is the one for failovers.
"""

import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import redis

from support.ports import HOST, unused_port
from support.redis_server import RedisServer
from support.wait import PATIENCE_S, until

SERVICE = "penstock"
PATIENT_MS = 600_000
SLOTS = 16_384
SHARE = SLOTS // 3 + 1
"""How many slots a server of a cluster has, the last one two fewer."""


class Group(ABC):
    """Some servers; ``with Group(tmp_path) as group`` starts and ends all."""

    servers: list[RedisServer]

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *_: object) -> None:
        self.kill()

    @abstractmethod
    def start(self) -> Self:
        """Start all and wait until they work together."""

    @abstractmethod
    def url(self, namespace: str = "") -> str:
        """The broker URL."""

    def kill(self) -> None:
        """SIGKILL every one."""
        for server in self.servers:
            server.kill()

    @abstractmethod
    def owner(self, key: str) -> RedisServer:
        """The server that takes the writes to this key."""

    @abstractmethod
    def delete(self, pattern: str) -> int:
        """Delete every key that fits; returns how many."""

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Every server is paused inside."""
        with contextlib.ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server.paused())
            yield


class Sentinel(RedisServer):
    """A process that watches one primary and its replicas, and names the primary to whoever asks."""

    def __init__(self, folder: Path, primary: RedisServer, down_after_ms: int, failover_ms: int) -> None:
        super().__init__(folder)
        self._configure(
            {
                "sentinel monitor": f"{SERVICE} {HOST} {primary.port} 2",
                "sentinel down-after-milliseconds": f"{SERVICE} {down_after_ms}",
                "sentinel failover-timeout": f"{SERVICE} {failover_ms}",
            }
        )

    @property
    def _arguments(self) -> list[str]:
        return ["--sentinel"]

    def primary_port(self) -> int:
        """Where it says the primary is."""
        return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def view(self) -> dict[str, Any]:
        """What it knows about the primary and those around it."""
        with self.client() as client:
            return dict(client.sentinel_master(SERVICE))


class SentinelGroup(Group):
    """One primary, two replicas and three sentinels, which replace a primary that does not answer so long."""

    def __init__(self, folder: Path, down_after_ms: int = PATIENT_MS, failover_ms: int = 5_000) -> None:
        first = RedisServer(folder)
        replicas = [RedisServer(folder, replicaof=f"{HOST} {first.port}") for _ in range(2)]
        self.data = [first, *replicas]
        self.sentinels = [Sentinel(folder, first, down_after_ms, failover_ms) for _ in range(3)]
        self.servers = [*self.data, *self.sentinels]

    def url(self, namespace: str = "") -> str:
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0" + (f"?namespace={namespace}" * bool(namespace))

    def start(self) -> Self:
        for server in self.data:
            server.launch()
        self.wait_replicated()  # a sentinel that starts sooner learns of it only ten seconds later
        for sentinel in self.sentinels:
            sentinel.launch()
        for sentinel in self.sentinels:
            sentinel.wait_ready()
        return self.wait_ready()

    def wait_replicated(self, within: float = PATIENCE_S) -> None:
        """Wait until the primary's every write reaches both replicas."""
        for server in self.data:
            server.wait_ready(within)
        until(self._replicated, within, "both replicas follow the primary")

    def _replicated(self) -> bool:
        roles = [_replication(server) for server in self.data]
        following = [role for role in roles if role.get("master_link_status") == "up"]
        return Counter(role["role"] for role in roles) == {"master": 1, "slave": 2} and len(following) == 2

    def wait_copied(self, within: float = PATIENCE_S) -> None:
        """Wait until the replicas have what the primary had taken by now; a failover loses none of it."""
        written = self.primary.info("replication")["master_repl_offset"]
        until(lambda: min(self._offsets(), default=-1) >= written, within, "the replicas have every write")

    def _offsets(self) -> list[int]:
        roles = [_replication(server) for server in self.data]
        return [role["slave_repl_offset"] for role in roles if role["role"] == "slave"]

    def wait_ready(self, within: float = PATIENCE_S) -> Self:
        """Wait until each sentinel knows the primary, both replicas and the other sentinels."""
        until(
            lambda: all(_knows_all(sentinel.view()) for sentinel in self.sentinels), within, "sentinels agree"
        )
        return self

    @property
    def primary(self) -> RedisServer:
        """The server that every sentinel names, waiting until they agree."""
        (port,) = until(self._agreed, what="the sentinels name one primary")
        return next(server for server in self.data if server.port == port)

    def owner(self, key: str) -> RedisServer:  # noqa: ARG002 - the primary has them all
        return self.primary

    def _agreed(self) -> set[int]:
        named = {sentinel.primary_port() for sentinel in self.sentinels}
        return named if len(named) == 1 else set()

    def wait_replaced(self, old: RedisServer, within: float = PATIENCE_S) -> RedisServer:
        """Wait until every sentinel names another primary and that one takes writes; returns it."""
        until(lambda: self._agreed() - {old.port}, within, f"{old} is replaced")
        new = self.primary
        until(lambda: _replication(new)["role"] == "master", within, f"{new} is primary")
        return new

    @contextlib.contextmanager
    def replaced(self) -> Iterator[tuple[RedisServer, RedisServer]]:
        """A failover: inside, the old primary is paused and the other one has taken over.

        Afterwards the old one wakes, and for some seconds still takes itself for the primary.
        """
        old = self.primary
        with old.paused():
            yield old, self.wait_replaced(old)

    def wait_demoted(self, old: RedisServer, within: float = PATIENCE_S) -> None:
        """Wait until a primary that was replaced knows it, and follows the new one."""
        until(lambda: _replication(old)["role"] == "slave", within, f"{old} is a replica")
        self.wait_replicated(within)

    def delete(self, pattern: str) -> int:
        return self.primary.delete(pattern)


def _replication(server: RedisServer) -> dict[str, Any]:
    """What it says of its role; nothing in the moment when a sentinel changes it, which cuts clients off."""
    try:
        return server.info("replication")
    except (redis.ConnectionError, redis.TimeoutError):
        return {"role": "unknown"}


def _knows_all(view: dict[str, Any]) -> bool:
    counted = (view["num-slaves"], view["num-other-sentinels"])
    return counted == (2, 2) and view["flags"] == "master"


class Cluster(Group):
    """Three primaries without replicas, each with a third of the slots."""

    def __init__(self, folder: Path) -> None:
        self.servers = [
            RedisServer(
                folder,
                cluster_enabled="yes",
                cluster_port=str(unused_port()),  # the usual one, 10000 further up, may be lent to somebody
                cluster_node_timeout=str(PATIENT_MS),
            )
            for _ in range(3)
        ]

    def url(self, namespace: str = "") -> str:
        hosts = ",".join(f"{HOST}:{server.port}" for server in self.servers)
        return f"redis+cluster://{hosts}" + (f"?namespace={namespace}" * bool(namespace))

    def start(self) -> Self:
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.wait_ready()
        if not self._joined():
            self._join()
        return self.wait_ready()

    def _joined(self) -> bool:
        return all(_state(server)["cluster_known_nodes"] == "3" for server in self.servers)

    def _join(self) -> None:
        for number, server in enumerate(self.servers):
            first, last = number * SHARE, min((number + 1) * SHARE, SLOTS) - 1
            server.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in self.servers[1:]:
            bus = server.ask("CONFIG", "GET", "cluster-port")["cluster-port"]
            self.servers[0].ask("CLUSTER", "MEET", HOST, server.port, bus)

    def wait_ready(self, within: float = PATIENCE_S) -> Self:
        """Wait until every server finds the cluster complete."""
        until(lambda: all(_complete(server) for server in self.servers), within, "the cluster is complete")
        return self

    def owner(self, key: str) -> RedisServer:
        slot = self.servers[0].ask("CLUSTER", "KEYSLOT", key)
        return self.servers[slot // SHARE]

    def delete(self, pattern: str) -> int:
        return sum(server.delete(pattern) for server in self.servers)


def _state(server: RedisServer) -> dict[str, str]:
    with server.client() as client:
        return dict(client.cluster("INFO"))


def _complete(server: RedisServer) -> bool:
    state = _state(server)
    return (state["cluster_state"], state["cluster_known_nodes"]) == ("ok", "3")
