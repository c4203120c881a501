"""Accepted is kept, once."""

import asyncio

import msgspec
import pytest
from kit.backends import Backend
from kit.time import ManualClock
from kit.values import DONE, claim, feed, get_one, ids, queue_stats, run_one, spec, submit, submit_one

from penstock.core.ids import new_id
from penstock.core.job import JobSpec, Limits, Priority, State
from penstock.ports import Admission, Broker

NOT_TEXT = "\ud800"
"""Half a character: no store can keep it."""


def everything() -> JobSpec:
    """A job that uses every field, with characters and numbers that are easily spoilt."""
    return JobSpec(
        id=new_id(),
        task="credit_loss",
        version="2026-01",
        params=msgspec.Raw('{"big":123456789012345678901,"name":"Zoë \\u0000 𝄞","x":0.1}'.encode()),
        queue="risk:eu",
        priority=Priority.LOW,
        limits=Limits(max_attempts=2, timeout_ms=60_000, memory_bytes=2**33, threads=2, backoff_ms=7),
        fingerprint="f" * 64,
        idempotency_key="order 17/ü",
        client="desk {7}",
        initiated_by="ada@example.org",
        request_id="r-1",
        parent_id=new_id(),
    )


async def test_an_accepted_job_is_readable_by_another_broker(broker: Broker, other: Broker) -> None:
    wanted = everything()
    (receipt,) = await broker.submit([wanted])
    assert receipt.admission is Admission.ACCEPTED
    assert await get_one(other, wanted.id) == receipt.job


async def test_an_accepted_job_keeps_every_field(broker: Broker, clock: ManualClock) -> None:
    wanted = everything()
    await broker.submit([wanted])
    job = await get_one(broker, wanted.id)
    assert job.spec == wanted
    assert bytes(job.spec.params) == bytes(wanted.params)
    assert (job.state, job.created_at, job.due_at) == (State.QUEUED, clock.now, clock.now)
    assert (job.attempt, job.losses, job.token, job.worker, job.result) == (0, 0, 0, None, None)


async def test_what_was_kept_survives_the_closing_of_every_broker(
    backend: Backend, clock: ManualClock
) -> None:
    first = await backend.open(clock)
    finished = await run_one(first)
    waiting = await submit_one(first, delay_ms=5_000)
    events = await feed(first)
    await backend.close(first)
    second = await backend.open(clock)
    assert await second.get([finished.id, waiting.id]) == [finished, waiting]
    assert await feed(second) == events
    assert (await second.stats()).states[State.SUCCEEDED] == 1


async def test_an_unknown_job_is_none(broker: Broker) -> None:
    job = await submit_one(broker)
    assert await broker.get([new_id(), job.id, "no such id"]) == [None, job, None]


async def test_receipts_come_in_the_order_of_the_batch(broker: Broker) -> None:
    wanted = [spec(priority=Priority.LOW), spec(delay_ms=10), spec(priority=Priority.HIGH)]
    wanted.reverse()
    assert ids(await submit(broker, *wanted)) == [one.id for one in wanted]


async def test_an_empty_batch_is_answered_with_nothing(broker: Broker) -> None:
    assert await broker.submit([]) == []
    assert await broker.settle([]) == []
    assert await broker.get([]) == []
    assert await broker.cancel([]) == []
    assert await broker.retry([]) == []


async def test_a_batch_of_many_thousands_is_kept(broker: Broker, other: Broker) -> None:
    wanted = [spec() for _ in range(5_000)]
    receipts = await broker.submit(wanted)
    assert {receipt.admission for receipt in receipts} == {Admission.ACCEPTED}
    assert [job and job.spec for job in await other.get([one.id for one in wanted])] == wanted
    assert queue_stats(await other.stats()).queued == 5_000


async def test_a_batch_that_cannot_be_stored_leaves_nothing_behind(broker: Broker) -> None:
    good = spec()
    impossible = spec(task=NOT_TEXT)
    with pytest.raises(UnicodeError):
        await broker.submit([good, impossible])
    assert await broker.get([good.id, impossible.id]) == [None, None]
    assert await feed(broker) == []
    assert queue_stats(await broker.stats()).queued == 0
    assert await claim(broker) == []


async def test_a_batch_that_cannot_be_stored_does_not_harm_its_neighbours(broker: Broker) -> None:
    neighbours = [spec() for _ in range(20)]
    calls = [broker.submit([one]) for one in neighbours]
    calls.insert(10, broker.submit([spec(), spec(task=NOT_TEXT)]))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(answer, Exception) for answer in answers].count(True) == 1
    assert all(await broker.get([one.id for one in neighbours]))
    assert queue_stats(await broker.stats()).queued == 20


async def test_submitting_a_known_id_again_repeats_the_first_answer(broker: Broker, other: Broker) -> None:
    first = spec()
    await broker.submit([first])
    fresh = spec()
    repeated, accepted = await other.submit([first, fresh])
    assert (repeated.admission, accepted.admission) == (Admission.REPEATED, Admission.ACCEPTED)
    assert ids(await claim(broker)) == [first.id, fresh.id]


async def test_an_idempotency_key_repeats_the_first_answer(broker: Broker, other: Broker) -> None:
    first = await submit_one(broker, idempotency_key="k", fingerprint="f")
    (receipt,) = await other.submit([spec(idempotency_key="k", fingerprint="f")])
    assert (receipt.admission, receipt.job) == (Admission.REPEATED, first)
    assert ids(await claim(broker)) == [first.id]


async def test_a_repeated_answer_shows_the_job_as_it_stands_now(broker: Broker) -> None:
    first = await run_one(broker, idempotency_key="k", fingerprint="f")
    (receipt,) = await broker.submit([spec(idempotency_key="k", fingerprint="f")])
    assert (receipt.admission, receipt.job) == (Admission.REPEATED, first)
    assert receipt.job.result == DONE.result


async def test_an_idempotency_key_with_another_fingerprint_is_a_conflict(broker: Broker) -> None:
    first = await submit_one(broker, idempotency_key="k", fingerprint="f")
    second = spec(idempotency_key="k", fingerprint="g")
    (receipt,) = await broker.submit([second])
    assert (receipt.admission, receipt.job) == (Admission.CONFLICT, first)
    assert await get_one(broker, second.id) is None


async def test_an_idempotency_key_belongs_to_its_client(broker: Broker) -> None:
    clients = [None, "a", "b", "a:b"]
    wanted = [spec(idempotency_key="k", fingerprint=str(client), client=client) for client in clients]
    receipts = await broker.submit(wanted)
    assert [receipt.admission for receipt in receipts] == [Admission.ACCEPTED] * 4
    again = [spec(idempotency_key="k", fingerprint=str(client), client=client) for client in clients]
    receipts = await broker.submit(again)
    assert [receipt.admission for receipt in receipts] == [Admission.REPEATED] * 4
    assert ids([receipt.job for receipt in receipts]) == [one.id for one in wanted]


async def test_client_and_key_are_never_mistaken_for_one_another(broker: Broker) -> None:
    pairs = [("a", "b:c"), ("a:b", "c"), ("a:b:c", ""), ("", "a:b:c"), (None, "a"), ("a", "a")]
    receipts = await broker.submit([spec(client=client, idempotency_key=key) for client, key in pairs])
    assert [receipt.admission for receipt in receipts] == [Admission.ACCEPTED] * len(pairs)


async def test_a_key_used_twice_in_one_batch_makes_one_job(broker: Broker) -> None:
    batch = [spec(idempotency_key="k", fingerprint="f") for _ in range(3)]
    receipts = await broker.submit(batch)
    expected = [Admission.ACCEPTED, Admission.REPEATED, Admission.REPEATED]
    assert [receipt.admission for receipt in receipts] == expected
    assert {receipt.job.id for receipt in receipts} == {batch[0].id}
    assert queue_stats(await broker.stats()).queued == 1


async def test_jobs_without_a_key_are_never_taken_for_the_same(broker: Broker) -> None:
    receipts = await broker.submit([spec(fingerprint="f", client="a") for _ in range(3)])
    assert [receipt.admission for receipt in receipts] == [Admission.ACCEPTED] * 3


async def test_concurrent_submissions_with_one_key_make_one_job(backend: Backend, clock: ManualClock) -> None:
    brokers = [await backend.open(clock) for _ in range(4)]
    calls = [
        brokers[n % 4].submit([spec(idempotency_key=f"k{n // 10}", fingerprint="f")]) for n in range(100)
    ]
    receipts = [receipt for (receipt,) in await asyncio.gather(*calls)]
    admissions = [receipt.admission for receipt in receipts]
    assert admissions.count(Admission.ACCEPTED) == 10
    assert admissions.count(Admission.REPEATED) == 90
    assert len({receipt.job.id for receipt in receipts}) == 10
    assert queue_stats(await brokers[0].stats()).queued == 10


async def test_concurrent_submissions_from_several_brokers_are_all_kept_once(
    backend: Backend, clock: ManualClock
) -> None:
    brokers = [await backend.open(clock) for _ in range(4)]
    batches = [[spec() for _ in range(1 + n % 5)] for n in range(400)]
    answers = await asyncio.gather(*(brokers[n % 4].submit(batch) for n, batch in enumerate(batches)))
    for batch, receipts in zip(batches, answers, strict=True):
        assert [(receipt.admission, receipt.job.id) for receipt in receipts] == [
            (Admission.ACCEPTED, one.id) for one in batch
        ]
    submitted = sorted(one.id for batch in batches for one in batch)
    assert sorted(ids(await claim(brokers[0], limit=10_000))) == submitted
    queued = [event.job_id for event in await feed(brokers[1]) if event.kind == "queued"]
    assert sorted(queued) == submitted


async def test_a_delayed_job_is_scheduled_and_not_given_out_before_it_is_due(
    broker: Broker, clock: ManualClock
) -> None:
    job = await submit_one(broker, delay_ms=1_000)
    assert (job.state, job.due_at) == (State.SCHEDULED, clock.now + 1_000)
    assert queue_stats(await broker.stats()).scheduled == 1
    clock.advance(999)
    assert await claim(broker) == []
    assert (await get_one(broker, job.id)).state is State.SCHEDULED
    clock.advance(1)
    assert ids(await claim(broker)) == [job.id]


async def test_a_delay_of_a_year_is_kept(broker: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker, delay_ms=365 * 86_400_000)
    clock.advance(364 * 86_400_000)
    assert await claim(broker) == []
    clock.advance(86_400_000)
    assert ids(await claim(broker)) == [job.id]
