"""Redis dies and comes back ten times under load: what was accepted is done once, and work goes on."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from penstock.brokers.redis import RedisBroker, connect
from penstock.core.catalog import load
from penstock.core.clock import system_clock
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import State
from penstock.core.submission import Submission
from penstock.ports import BrokerOptions, EventKind
from penstock.service.desk import Desk
from support.node import HAZARDOUS, Node
from support.redis_server import RedisServer
from support.wait import eventually

pytestmark = pytest.mark.slow

OUTAGES = 10
SUBMITTERS = 3
API_TIMEOUT_S = 1.0
MARGIN_S = 20.0
BRISK = BrokerOptions(timeout_s=1.0)


@contextlib.contextmanager
def running(*nodes: Node) -> Iterator[None]:
    """Nodes that are started together; their logs are shown by a test that fails."""
    try:
        for node in nodes:
            node.launch()
        for node in nodes:
            node.wait_ready()
        yield
    finally:
        for node in nodes:
            node.kill()
            print(node.name, node.log[-5_000:], sep="\n")  # noqa: T201 - pytest keeps it for a failure


class Load:
    """Clients that each submit a few jobs, wait until these have ended, and go on."""

    def __init__(self, desk: Desk) -> None:
        self.over = asyncio.Event()
        self.accepted: dict[str, int] = {}
        self.ended = 0
        self.refused = 0
        self._desk = desk
        self._numbers = iter(range(10**9))

    @contextlib.asynccontextmanager
    async def going_on(self, clients: int) -> AsyncIterator[None]:
        """So many clients are at it inside, and none is left afterwards."""
        tasks = [asyncio.create_task(self._submit_on()) for _ in range(clients)]
        try:
            yield
        finally:
            self.over.set()  # being cancelled would not do: a call that has begun answers all the same
            await asyncio.gather(*tasks)

    async def _submit_on(self) -> None:
        while not self.over.is_set():
            numbers = [next(self._numbers) for _ in range(5)]
            wanted = [Submission(task="noop", params={"n": n}) for n in numbers]
            try:
                receipts = await self._desk.submit_many(wanted)
            except PenstockError as failed:
                await self._refused(failed)
                continue
            ids = [receipt.job.id for receipt in receipts]
            self.accepted.update(zip(ids, numbers, strict=True))
            for job_id in ids:
                await self._end(job_id)

    async def _end(self, job_id: str) -> None:
        while not self.over.is_set():
            try:
                job = await self._desk.get(job_id, 5.0)
            except PenstockError as failed:
                await self._refused(failed)
                continue
            if job.state.final:
                self.ended += 1
                return

    async def _refused(self, failed: PenstockError) -> None:
        if failed.code is not ErrorCode.BROKER_UNAVAILABLE:
            raise failed
        self.refused += 1
        await eventually(self._may_go_on, what="Redis is back, or no more is wanted")

    async def _may_go_on(self) -> bool:
        with contextlib.suppress(PenstockError):
            await self._desk.stats()
            return True
        return self.over.is_set()


async def assert_refused_in_time(api: Node) -> None:
    """What the API says while Redis is away."""
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as http:
        for ask in (http.get("/healthz"), http.post("/jobs", json={"task": "noop"})):
            began = time.monotonic()
            answer = await ask
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) >= 1
            assert time.monotonic() - began < API_TIMEOUT_S + MARGIN_S
        assert (await http.get("/livez")).status_code == 200


async def suffer(server: RedisServer, api: Node, load_: Load, number: int) -> None:
    """One outage: some are over at once, some outlast what a call may take, in some the API is asked."""
    before, refused = load_.ended, load_.refused
    await eventually(lambda: load_.ended >= before + 30, within=60, what=f"work goes on before {number}")
    server.kill()
    if number % 3 == 1:
        await eventually(lambda: load_.refused > refused, what="somebody was refused")
    elif number % 3 == 2:
        await assert_refused_in_time(api)
    await asyncio.to_thread(server.start)


async def idle(broker: RedisBroker) -> bool:
    (queue,) = (await broker.stats()).queues
    return queue.running == queue.queued == queue.scheduled == 0


async def results(broker: RedisBroker, job_ids: list[str]) -> dict[str, object]:
    jobs = await broker.get(job_ids)
    assert {job.state for job in jobs} == {State.SUCCEEDED}
    return {job.id: msgspec.json.decode(job.result) for job in jobs}


async def successes(broker: RedisBroker) -> Counter[str]:
    told: Counter[str] = Counter()
    after = ""
    while events := await broker.events(after, 0):
        told.update(each.job_id for each in events if each.kind is EventKind.SUCCEEDED)
        after = events[-1].id
    return told


async def test_ten_outages_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    # With "always" an answer means that it is on the disk; that is what "accepted" is held to here.
    with RedisServer(tmp_path, appendfsync="always") as server:
        api = Node(tmp_path, "api", broker_url=server.url(), broker_timeout=f"{API_TIMEOUT_S}s")
        worker = Node(tmp_path, "worker", broker_url=server.url(), slots=2, lease="2s")
        with running(api, worker):
            broker = connect(server.url(), BRISK, system_clock)
            desk = Desk(broker, load([str(HAZARDOUS)]), "desk")
            await broker.open()
            load_ = Load(desk)
            async with load_.going_on(SUBMITTERS):
                for number in range(OUTAGES):
                    await suffer(server, api, load_, number)
                after = load_.ended
                await eventually(lambda: load_.ended >= after + 30, what="the worker takes jobs afterwards")
            assert load_.refused, "the outages were noticed"
            # A job whose receipt was lost may be there too; it is none that a client counts on, but it ends.
            await eventually(lambda: idle(broker), what="nothing is left running")
            assert await results(broker, list(load_.accepted)) == load_.accepted
            told = await successes(broker)
            assert {told[job_id] for job_id in load_.accepted} == {1}

            await broker.close()
            assert worker.stop() == 0
