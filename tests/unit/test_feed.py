"""Many waiters, one reader: nobody is forgotten, and nobody reads when nobody waits."""

import asyncio
import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.brokers.sqlite import feed as feed_module
from penstock.brokers.sqlite.feed import Feed
from penstock.core.errors import PenstockError, broker_unavailable
from penstock.ports import Event, EventKind
from support.wait import eventually

PATIENCE_S = 10.0


class Source:
    """The two verbs that a feed reads from, with as many turns of the event loop as a test wants."""

    def __init__(self, turns=0):
        self.told = []
        self.ended = set()
        self.turns = turns
        self.readers = 0
        self.most_readers = 0
        self.reads = 0
        self.outage = False
        self._news = asyncio.Event()

    def tell(self, job_id, kind=EventKind.SUCCEEDED):
        if kind in {EventKind.SUCCEEDED, EventKind.FAILED, EventKind.CANCELLED}:
            self.ended.add(job_id)
        self.told.append(Event(id=str(len(self.told) + 1), at=0, job_id=job_id, kind=kind, data={}))
        self._news.set()
        self._news = asyncio.Event()

    async def head(self):
        await self._pass()
        return str(len(self.told))

    async def events(self, after, wait_s, limit=1000):
        self.readers += 1
        self.reads += 1
        self.most_readers = max(self.most_readers, self.readers)
        try:
            await self._pass()
            if self.outage:
                raise broker_unavailable("away")
            if len(self.told) <= int(after):
                news = self._news
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), wait_s)
            found = self.told[int(after) :][:limit]
            await self._pass()
            return found
        finally:
            self.readers -= 1

    async def _pass(self):
        for _ in range(self.turns):
            await asyncio.sleep(0)


async def wait_for(feed, source, job_id, turns=0):
    """What the desk does: listen, look, and only then wait."""
    for _ in range(turns):
        await asyncio.sleep(0)
    async with feed.waiting(job_id) as ended:
        if job_id not in source.ended:
            async with asyncio.timeout(PATIENCE_S):
                await ended.wait()
    assert job_id in source.ended


async def listening(feed, count):
    await eventually(lambda: sum(map(len, feed._waiters.values())) >= count and feed._reader is not None)


@pytest.fixture
async def source():
    return Source()


@pytest.fixture
async def feed(source):
    opened = Feed(source)
    yield opened
    await opened.close()


async def test_many_waiters_share_one_reader(feed, source):
    waiting = [asyncio.create_task(wait_for(feed, source, f"job{n % 50}")) for n in range(500)]
    await listening(feed, 500)
    for n in range(50):
        source.tell(f"job{n}")
    await asyncio.gather(*waiting)
    assert source.most_readers == 1
    assert not feed._waiters


@pytest.mark.parametrize("kind", ["succeeded", "failed", "cancelled"])
async def test_every_kind_of_end_wakes(feed, source, kind):
    waiting = asyncio.create_task(wait_for(feed, source, "a"))
    await listening(feed, 1)
    source.tell("a", EventKind(kind))
    await waiting


async def test_only_an_end_wakes_and_only_its_waiters(feed, source):
    waiting = [asyncio.create_task(wait_for(feed, source, name)) for name in "ab"]
    await listening(feed, 2)
    for kind in ("queued", "running", "progress", "log", "scheduled"):
        source.tell("a", EventKind(kind))
    source.tell("b")
    await waiting[1]
    assert not waiting[0].done()
    source.tell("a")
    await waiting[0]


async def test_what_ended_before_is_not_waited_for(feed, source):
    source.tell("a")
    await wait_for(feed, source, "a")


async def test_reader_stops_when_nobody_waits(feed, source, monkeypatch):
    monkeypatch.setattr(feed_module, "IDLE_S", 0.02)
    waiting = asyncio.create_task(wait_for(feed, source, "a"))
    await listening(feed, 1)
    source.tell("a")
    await waiting
    async with asyncio.timeout(PATIENCE_S):
        await feed._reader
    reads = source.reads
    assert source.readers == 0
    again = asyncio.create_task(wait_for(feed, source, "b"))
    await listening(feed, 1)
    source.tell("b")
    await again
    assert source.reads > reads


async def test_reader_stays_while_somebody_waits(feed, source, monkeypatch):
    monkeypatch.setattr(feed_module, "IDLE_S", 0.005)
    waiting = asyncio.create_task(wait_for(feed, source, "a"))
    await listening(feed, 1)
    await eventually(lambda: source.reads >= 10)
    assert not feed._reader.done()
    source.tell("a")
    await waiting


async def test_outage_loses_nothing(feed, source, monkeypatch):
    monkeypatch.setattr(feed_module, "IDLE_S", 0.005)
    waiting = asyncio.create_task(wait_for(feed, source, "a"))
    await listening(feed, 1)
    source.outage = True
    reads = source.reads
    source.tell("x", EventKind.QUEUED)
    await eventually(lambda: source.reads >= reads + 3)
    source.tell("a")
    source.outage = False
    await waiting


async def test_waiter_who_cannot_be_served_is_told_and_forgotten(feed, source, monkeypatch):
    async def away():
        raise broker_unavailable("away")

    monkeypatch.setattr(source, "head", away)
    with pytest.raises(PenstockError):
        await wait_for(feed, source, "a")
    assert not feed._waiters


async def test_waiter_who_gives_up_is_forgotten(feed, source):
    waiting = asyncio.create_task(wait_for(feed, source, "a"))
    await listening(feed, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not feed._waiters


async def test_closing_ends_a_reader_that_has_just_heard_something(feed, source):
    async with feed.waiting("a"):
        await eventually(lambda: source.readers)
        source.tell("b", EventKind.RUNNING)
        began = time.monotonic()
        await feed.close()
        assert time.monotonic() - began < feed_module.IDLE_S / 2


async def test_closing_ends_the_reader(feed, source):
    async with feed.waiting("a"):
        await feed.close()
        assert feed._reader.done()
    assert source.readers == 0


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    turns=st.integers(0, 3),
    waiters=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), min_size=1, max_size=8),
    endings=st.lists(st.integers(0, 12), min_size=5, max_size=5),
    noise=st.integers(0, 5),
)
def test_no_wake_up_is_lost_however_they_interleave(turns, waiters, endings, noise):
    async def story():
        source = Source(turns)
        feed = Feed(source)

        async def end(job_id, after):
            for number in range(after):
                if number < noise:
                    source.tell("another", EventKind.RUNNING)
                await asyncio.sleep(0)
            source.tell(job_id)

        try:
            await asyncio.gather(
                *(wait_for(feed, source, f"job{which}", turns) for which, turns in waiters),
                *(end(f"job{which}", after) for which, after in enumerate(endings)),
            )
            assert not feed._waiters
            assert source.most_readers <= 1
        finally:
            await feed.close()

    asyncio.run(story())
