"""A document changes hands and jobs are kept in one step, for one of any number of callers."""

import asyncio

from kit.values import claim, feed, get_one, queue_stats, spec

from penstock.ports import Admission, BrokerOptions


async def test_a_document_is_made_changed_and_removed_only_from_what_it_was(broker, other):
    assert await broker.swap("s", "a", None, b"1") == []
    assert await other.swap("s", "a", None, b"2") is None
    assert await other.swap("s", "a", b"2", b"3") is None
    assert await other.shelf("s") == {"a": b"1"}
    assert await other.swap("s", "a", b"1", b"3") == []
    assert await broker.swap("s", "a", b"1", None) is None
    assert await broker.swap("s", "a", b"3", None) == []
    assert await broker.shelf("s") == {}


async def test_jobs_are_kept_with_the_document_or_not_at_all(broker):
    kept, refused = spec(), spec()
    (receipt,) = await broker.swap("s", "a", None, b"1", [kept])
    assert (receipt.admission, receipt.job.id) == (Admission.ACCEPTED, kept.id)
    assert await broker.swap("s", "a", b"0", b"2", [refused]) is None
    assert await get_one(broker, refused.id) is None
    assert [one.spec for one in await claim(broker)] == [kept]


async def test_of_many_callers_one_succeeds(broker, other):
    specs = [spec() for _ in range(20)]
    calls = [(broker, other)[n % 2].swap("s", "a", None, b"%d" % n, [one]) for n, one in enumerate(specs)]
    answers = await asyncio.gather(*calls)
    (winner,) = [n for n, answer in enumerate(answers) if answer is not None]
    assert await broker.shelf("s") == {"a": b"%d" % winner}
    assert [one.spec for one in await claim(broker)] == [specs[winner]]


async def test_it_is_not_done_too_early_by_the_brokers_clock(broker, clock):
    assert await broker.swap("s", "a", None, b"1", [spec()], clock.now + 1) is None
    assert await broker.shelf("s") == {}
    clock.advance(1)
    assert len(await broker.swap("s", "a", None, b"1", [spec()], clock.now)) == 1


async def test_where_one_job_does_not_fit_nothing_happens(backend, clock):
    broker = await backend.open(clock, BrokerOptions(max_depth=3))
    kept, *more = [spec(), spec(), spec(delay_ms=1_000), spec()]
    await broker.swap("s", "a", None, b"1", [kept])
    told = await feed(broker)
    receipts = await broker.swap("s", "a", b"1", b"2", more)
    assert receipts[-1].admission is Admission.REFUSED
    assert (receipts[-1].full.depth, receipts[-1].full.limit) == (3, 3)
    assert await feed(broker) == told
    assert await broker.shelf("s") == {"a": b"1"}
    assert await broker.get([one.id for one in more]) == [None] * 3
    assert queue_stats(await broker.stats()).queued == 1
    await claim(broker)
    assert len(await broker.swap("s", "a", b"1", b"2", more[:2])) == 2
    assert await broker.shelf("s") == {"a": b"2"}
    assert len(await claim(broker)) == 1
