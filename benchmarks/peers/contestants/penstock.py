"""Penstock as it comes: nothing is tuned. Runs in the project's own environment."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from peers.contract import About, Process, batches
from penstock.app.broker import make_broker
from penstock.core.catalog import load
from penstock.core.errors import PenstockError
from penstock.core.submission import Submission
from penstock.service.desk import Desk
from penstock.settings import Settings

TASKS = str(Path(__file__).parents[2] / "tasks.py")
BATCHES_IN_FLIGHT = 2


class Penstock:
    """The use cases of a node, called in this process as its API calls them."""

    about = About(
        packages=("penstock", "redis", "hiredis"),
        settings="defaults but for the limit of waiting jobs; --slots 2",
        drain_rate=40_000,
        submit_rate=80_000,
    )

    def workers(self) -> Sequence[Process]:
        """One worker with two slots."""
        return [Process(["-m", "penstock", "worker", "--slots", "2", TASKS])]

    async def open(self) -> None:
        """The broker of PENSTOCK_BROKER_URL."""
        self._broker = make_broker(Settings(), CollectorRegistry())
        await self._broker.open()
        self._desk = Desk(self._broker, load([TASKS]), "bench")

    async def submit(self, task: str, numbers: Sequence[int]) -> None:
        """Batches of a thousand, the next one prepared while one is on its way."""
        waiting = batches(numbers)
        await asyncio.gather(*(self._send(task, waiting) for _ in range(BATCHES_IN_FLIGHT)))

    async def _send(self, task: str, waiting: Iterator[Sequence[int]]) -> None:
        for batch in waiting:
            submissions = [Submission(task=task, params={"n": n}) for n in batch]
            for answer in await self._desk.submit_many(submissions):
                if isinstance(answer, PenstockError):
                    raise answer

    async def answer(self, number: int) -> int:
        """As ``POST /jobs?wait=`` does."""
        receipt = await self._desk.submit(Submission(task="noop", params={"n": number}), wait_s=30)
        if receipt.job is None or receipt.job.result is None:
            raise TimeoutError
        return int(bytes(receipt.job.result))

    async def stored(self) -> int:
        """Jobs that succeeded."""
        return (await self._broker.stats()).states.get("succeeded", 0)

    async def close(self) -> None:
        """Hang up."""
        await self._broker.close()


def contestant() -> Penstock:
    """For the driver."""
    return Penstock()
