"""An idle worker on Redis: it hardly asks, and is there at once when something comes."""

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.brokers.redis import connect
from penstock.core.catalog import load
from penstock.core.clock import system_clock
from penstock.core.job import State
from penstock.core.submission import Submission
from penstock.ports import BrokerOptions
from penstock.service.desk import Desk
from support.node import HAZARDOUS, Node
from support.ports import HOST
from support.redis_server import RedisServer
from support.wait import PATIENCE_S, least, until

pytestmark = pytest.mark.slow

IDLE_S = 10.0
MOST_PER_S = 2.0
PROMPT_S = 15.0
"""A claim waits for thirty seconds by itself."""


class Monitor:
    """Reads along what clients send; not what scripts do inside, which is one round trip all the same."""

    def __init__(self, server: RedisServer) -> None:
        self._socket = socket.create_connection((HOST, server.port), timeout=PATIENCE_S)
        self._socket.sendall(b"MONITOR\r\n")
        assert self._socket.recv(5) == b"+OK\r\n"

    def commands(self, server: RedisServer) -> Counter[str]:
        """How often each command was sent so far."""
        server.ask("ECHO", "this far")
        text = b""
        while b'"this far"\r\n' not in text:
            text += self._socket.recv(65_536)
        self._socket.close()
        lines = [line for line in text.decode(errors="replace").splitlines() if " lua] " not in line]
        ours = {"HELLO", "ECHO", "CLIENT SETINFO"}
        found = [line.partition("] ")[2].replace('"', "").split() for line in lines]
        return Counter(words[0].upper() for words in found if words and words[0].upper() not in ours)


@contextlib.contextmanager
def idle_worker(folder: Path, server: RedisServer) -> Iterator[Node]:
    worker = Node(folder, "worker", broker_url=server.url(), slots=2)
    try:
        yield worker.start()
    finally:
        worker.kill()


async def test_an_idle_worker_costs_two_commands_a_second_and_wakes_for_a_job(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, idle_worker(tmp_path, server):
        broker = connect(server.url(), BrokerOptions(), system_clock)
        desk = Desk(broker, load([str(HAZARDOUS)]), "desk")
        await broker.open()
        until(lambda: server.info("clients")["blocked_clients"], what="its claim waits")

        async def per_s() -> float:
            began, monitor = time.monotonic(), Monitor(server)
            time.sleep(IDLE_S)  # noqa: ASYNC251 - this is the measurement: nothing happens here for so long
            counted = monitor.commands(server)
            assert counted["EVALSHA"] >= IDLE_S / 2, "it does renew its lease"
            return counted.total() / (time.monotonic() - began)

        # The first time it may still be sending scripts that it had not needed before.
        assert await least(per_s, MOST_PER_S) < MOST_PER_S
        began = time.monotonic()
        receipt = await desk.submit(Submission(task="noop", params={"n": 7}), wait_s=PATIENCE_S)
        assert receipt.job.state is State.SUCCEEDED
        assert time.monotonic() - began < PROMPT_S
        await broker.close()
