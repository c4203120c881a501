"""The broker's clock jumps, forward past every lease and backward, while workers claim, renew and settle.

A jump may make jobs run again; it must not lose one, nor let two attempts of one job settle.
"""

import random
from collections import Counter

import pytest
from kit.backends import BACKENDS
from kit.time import ManualClock
from kit.values import claim, feed, finish, held, spec, worker

from penstock.core.job import State
from penstock.core.lifecycle import Claim, Lost
from penstock.ports import Broker, BrokerOptions, EventKind

pytestmark = pytest.mark.slow

OPTIONS = BrokerOptions(lease_ms=5_000, timeout_s=10.0)
JUMPS_MS = (1, 900, 6_000, 3_600_000, -1, -4_000, -3_600_000)
WORKERS = ("v", "w", "x")


class Crew:
    """Workers that share a broker; ``accepted`` counts the settlements of each job that were accepted."""

    def __init__(self, broker: Broker, dice: random.Random) -> None:
        self.accepted: Counter[str] = Counter()
        self._broker = broker
        self._dice = dice
        self._running: dict[str, list[Claim]] = {name: [] for name in WORKERS}

    async def step(self) -> None:
        """Whatever a worker does next; it may try to settle even what it was told that it has lost."""
        name = self._dice.choice(WORKERS)
        mine = self._running[name]
        match self._dice.randrange(4):
            case 0:
                mine += await claim(self._broker, name, limit=3)
            case 1:
                await self._broker.renew(worker(name), [held(each) for each in mine])
            case 2:
                await self.settle([mine.pop(0) for _ in mine[:2]])
            case 3:
                taken = await self._broker.reclaim(name, 10)
                await self._broker.settle([finish(each, Lost(each.lost_by or "")) for each in taken])

    async def settle(self, ending: list[Claim]) -> None:
        answers = await self._broker.settle([finish(each) for each in ending])
        self.accepted.update(each.spec.id for each, ok in zip(ending, answers, strict=True) if ok)

    async def finish_all(self) -> None:
        """Old tokens first, then whatever is left is claimed and done."""
        for mine in self._running.values():
            await self.settle(mine)
        taken = await self._broker.reclaim("last", 1_000)
        await self._broker.settle([finish(each, Lost(each.lost_by or "")) for each in taken])
        await self.settle(await claim(self._broker, "last"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("store", ["sqlite", "redis"])
async def test_a_clock_that_jumps_loses_and_doubles_nothing(store, seed, tmp_path):
    backend, clock, dice = BACKENDS[store](tmp_path), ManualClock(), random.Random(f"clock {seed}")
    broker = await backend.open(clock, OPTIONS)
    submitted: list[str] = []
    crew = Crew(broker, dice)
    for _ in range(150):
        await crew.step()
        if dice.random() < 0.2:
            specs = [spec(delay_ms=dice.choice((0, 0, 2_000))) for _ in range(dice.randint(1, 4))]
            submitted += [receipt.job.id for receipt in await broker.submit(specs)]
        if dice.random() < 0.1:
            clock.advance(dice.choice(JUMPS_MS))
    clock.advance(10 * 3_600_000)  # past whatever the jumps back have put off
    await crew.finish_all()

    jobs = await broker.get(submitted)
    assert Counter(job.state for job in jobs if job) == {State.SUCCEEDED: len(submitted)}
    assert crew.accepted == Counter(submitted), "each was settled once, under one of its tokens"
    told = Counter(event.job_id for event in await feed(broker) if event.kind is EventKind.SUCCEEDED)
    assert told == Counter(submitted)
    await backend.remove()
