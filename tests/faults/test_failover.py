"""Sentinels replace a primary that sleeps; it wakes and still takes itself for the primary."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from penstock.brokers.redis import RedisBroker, connect
from penstock.core.clock import system_clock
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.ids import new_id
from penstock.core.job import JobSpec, State, WorkerInfo
from penstock.core.lifecycle import Claim, Lost, Outcome, Succeeded
from penstock.core.verdict import settlement
from penstock.ports import Admission, BrokerOptions, EventKind, Held
from support.redis_groups import SentinelGroup
from support.redis_server import RedisServer
from support.wait import eventually

pytestmark = pytest.mark.slow

SEED = 2_026
TIMEOUT_S = 2.0
LONGEST_S = 150.0
"""From the first server's start on; a failover whose first vote fails takes ten seconds longer."""

LEASE_MS = 2_000
DONE = Succeeded(msgspec.Raw(b"true"))
NAMESPACE = "failover"


class Ledger:
    """What brokers answered to anybody: the jobs that are accepted, and how often each token was."""

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        self.settled: Counter[int] = Counter()
        self.refused: Counter[str] = Counter()
        self._give_up = time.monotonic() + LONGEST_S

    async def submit(self, broker: RedisBroker, count: int) -> None:
        """Offer new jobs until they are accepted, as a client does that is told to try again."""
        specs = [JobSpec(id=new_id(), task="square") for _ in range(count)]
        while not await self.offer(broker, specs):
            continue

    async def offer(self, broker: RedisBroker, specs: Sequence[JobSpec]) -> bool:
        """Submit once; whether there were receipts."""
        with self._refusals("submit"):
            receipts = await broker.submit(specs)
            assert {each.admission for each in receipts} <= {Admission.ACCEPTED, Admission.REPEATED}
            self.accepted |= {each.job.id for each in receipts}
            return True
        return False

    async def settle(self, broker: RedisBroker, claims: Sequence[Claim], outcome: Outcome = DONE) -> None:
        """Settle until it is answered, as a supervisor does."""
        while not await self.settle_once(broker, claims, outcome):
            continue

    async def settle_once(
        self, broker: RedisBroker, claims: Sequence[Claim], outcome: Outcome = DONE
    ) -> bool:
        """Settle once; whether it was answered."""
        with self._refusals("settle"):
            answers = await broker.settle([settlement(one, outcome, 0.5) for one in claims])
            self.settled.update(one.token for one, ok in zip(claims, answers, strict=True) if ok)
            return True
        return False

    @contextlib.contextmanager
    def _refusals(self, verb: str) -> Iterator[None]:
        try:
            yield
        except PenstockError as failed:
            if failed.code is not ErrorCode.BROKER_UNAVAILABLE or time.monotonic() > self._give_up:
                raise
            self.refused[verb] += 1


class Hand:
    """Works off jobs like a worker without processes: claims, renews, settles, takes over from the dead."""

    def __init__(self, name: str, broker: RedisBroker, ledger: Ledger, dice: random.Random) -> None:
        self.info = WorkerInfo(id=name, node="n", host="h", pid=1, slots=8)
        self.broker = broker
        self.held: list[Claim] = []
        self._ledger = ledger
        self._dice = dice

    async def take(self, limit: int) -> None:
        self.held += await self.broker.claim(self.info.id, ["default"], limit, 0.2)

    async def renew(self) -> None:
        await self.broker.renew(self.info, [Held(job_id=c.spec.id, token=c.token) for c in self.held])

    async def end_some(self) -> None:
        self._dice.shuffle(self.held)
        some = self.held[: self._dice.randint(1, 4)]
        await self._ledger.settle(self.broker, some)
        self.held = self.held[len(some) :]

    async def take_over(self) -> None:
        for one in await self.broker.reclaim(self.info.id, 100):
            await self._ledger.settle(self.broker, [one], Lost(one.lost_by or ""))

    async def work(self, over: asyncio.Event) -> None:
        """A random step after the other, whatever becomes of the broker."""
        while not over.is_set():
            step = self._dice.choice(
                [lambda: self.take(self._dice.randint(1, 6)), self.renew, self.end_some, self.take_over]
            )
            with contextlib.suppress(PenstockError):
                await step()
            await asyncio.sleep(0)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisBroker]:
    broker = connect(url, BrokerOptions(timeout_s=TIMEOUT_S, lease_ms=LEASE_MS), system_clock)
    try:
        await broker.open()
        yield broker
    finally:
        await broker.close()


async def submit_on(ledger: Ledger, broker: RedisBroker, dice: random.Random, over: asyncio.Event) -> None:
    """Submit all the time, though never far ahead of what is worked off."""

    def wanted() -> bool:
        return over.is_set() or len(ledger.accepted) < 200 + sum(ledger.settled.values())

    while not over.is_set():
        await ledger.submit(broker, dice.randint(1, 5))
        await eventually(wanted, what="more was worked off")


@asynccontextmanager
async def at_work(*works: Callable[[asyncio.Event], Awaitable[None]]) -> AsyncIterator[None]:
    """All of these go on inside, and none is left afterwards."""
    over = asyncio.Event()
    tasks = [asyncio.create_task(work(over)) for work in works]
    try:
        yield
    finally:
        over.set()  # being cancelled would not do: a call that has begun answers all the same
        await asyncio.gather(*tasks)


async def tempt(old: RedisServer, broker: RedisBroker, ledger: Ledger, claims: Sequence[Claim]) -> int:
    """Offer everything to a primary that has been replaced, until it knows; how often it did not."""
    believed = 0
    while old.info("replication")["role"] == "master":
        offered = await ledger.offer(broker, [JobSpec(id=new_id(), task="square")])
        answered = await ledger.settle_once(broker, claims)
        assert not offered
        assert not answered
        believed += 1
    return believed


async def finish_all(hand: Hand, ledger: Ledger) -> None:
    """Work off everything that was accepted."""

    async def done() -> bool:
        with contextlib.suppress(PenstockError):
            await hand.renew()
            await hand.take_over()
            await hand.take(1_000)
            if hand.held:
                await ledger.settle(hand.broker, hand.held)
                hand.held = []
            jobs = await hand.broker.get(sorted(ledger.accepted))
            assert None not in jobs, f"{jobs.count(None)} of {len(jobs)} accepted jobs are lost"
            return all(job.state.final for job in jobs if job)
        return False

    await eventually(done, what="all have ended")


async def test_a_primary_that_wakes_too_late_is_believed_by_nobody(tmp_path: Path) -> None:
    dice, ledger = random.Random(SEED), Ledger()
    with SentinelGroup(tmp_path, down_after_ms=2_000) as group:
        url, old = group.url(NAMESPACE), group.primary
        direct = f"{old.url(NAMESPACE)}&replicas=1"
        async with opened(url) as front, opened(url) as one, opened(url) as two, opened(direct) as left:
            await ledger.submit(front, 100)
            behind = Hand("behind", left, ledger, dice)
            await behind.take(20)
            assert len(behind.held) == 20
            await ledger.settle(left, behind.held[:5])
            assert sum(ledger.settled.values()) == 5, "as long as it is the primary, it is believed"

            hands = [Hand("one", one, ledger, dice), Hand("two", two, ledger, dice)]
            await hands[0].take(10)
            submitting = partial(submit_on, ledger, front, dice)
            async with at_work(submitting, *(hand.work for hand in hands)):
                await eventually(lambda: sum(ledger.settled.values()) > 50, what="all are at it")
                held = [claim for hand in [behind, *hands] for claim in hand.held]
                await asyncio.to_thread(old.pause)
                await asyncio.to_thread(group.wait_replaced, old)
                before = len(ledger.accepted)
                await eventually(lambda: len(ledger.accepted) > before + 20, what="the new one takes jobs")
                assert ledger.refused, "its absence was noticed"
                await asyncio.to_thread(old.resume)
                assert await tempt(old, left, ledger, held) > 0, "it did believe that it was the primary"
            await asyncio.to_thread(group.wait_demoted, old)
            hands[0].held += hands[1].held
            await finish_all(hands[0], ledger)
            await ledger.settle(two, held)

            assert set(ledger.settled.values()) == {1}
            jobs = await two.get(sorted(ledger.accepted))
            assert Counter(job.state for job in jobs) == {State.SUCCEEDED: len(ledger.accepted)}
            told: Counter[str] = Counter()
            after = ""
            while events := await two.events(after, 0):
                told.update(each.job_id for each in events if each.kind is EventKind.SUCCEEDED)
                after = events[-1].id
            assert {told[job_id] for job_id in ledger.accepted} == {1}
