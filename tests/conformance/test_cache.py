"""The same work is done once: answers are kept, and equal jobs in flight are one job."""

import asyncio

import msgspec
import pytest
from kit.backends import Backend
from kit.time import ManualClock
from kit.values import BROKEN, DONE, claim, claim_one, feed, finish, get_one, ids, run_one, spec, submit_one

from penstock.core.ids import new_id
from penstock.core.job import Job, JobSpec, Limits, Priority, State
from penstock.core.lifecycle import Failed
from penstock.ports import Admission, Broker, BrokerOptions, EventKind, Receipt

KEEP_MS = 60_000
GONE = Failed(BROKEN.error, permanent=True)


def asking(**changes: object) -> JobSpec:
    """A job that may share its answer; they all ask the same unless ``fingerprint`` says otherwise."""
    return spec(**({"fingerprint": "f" * 64, "cache_ms": KEEP_MS} | changes))


async def ask(broker: Broker, **changes: object) -> Receipt:
    (receipt,) = await broker.submit([asking(**changes)])
    return receipt


async def ask_job(broker: Broker, **changes: object) -> Job:
    job = (await ask(broker, **changes)).job
    assert job is not None
    return job


async def answered(broker: Broker, clock: ManualClock, run_ms: int = 2_500) -> Job:
    """A job that ran so long and left its answer."""
    job = await ask_job(broker)
    taken = await claim_one(broker, "node-a/1")
    clock.advance(run_ms)
    assert await broker.settle([finish(taken)]) == [True]
    return await get_one(broker, job.id)


async def test_a_known_answer_makes_a_job_that_has_ended(
    broker: Broker, other: Broker, clock: ManualClock
) -> None:
    source = await answered(broker, clock)
    before = (await feed(broker))[-1].id
    clock.advance(7)
    mine = asking(queue="elsewhere", client="c", request_id="r", priority=Priority.HIGH, delay_ms=5_000)
    (receipt,) = await other.submit([mine])
    assert receipt.admission is Admission.CACHED
    job = await get_one(broker, mine.id)
    assert job == receipt.job
    assert (job.spec, job.state, job.cached, job.result) == (mine, State.SUCCEEDED, True, DONE.result)
    assert (job.created_at, job.started_at, job.finished_at) == (clock.now,) * 3
    assert (job.attempt, job.token, job.worker, job.waiters) == (0, 0, source.worker, 1)
    assert [(e.job_id, e.kind, dict(e.data)) for e in await feed(broker, before)] == [
        (mine.id, EventKind.SUCCEEDED, {"cached": True})
    ]
    assert not source.cached


async def test_a_hit_costs_no_worker_and_counts_as_a_job(broker: Broker, clock: ManualClock) -> None:
    await answered(broker, clock)
    await ask(broker)
    assert await claim(broker) == []
    stats = await broker.stats()
    assert stats.states[State.SUCCEEDED] == 2
    assert stats.cache == msgspec.structs.replace(
        stats.cache, entries=1, hits=1, misses=1, joined=0, saved_ms=2_500
    )


async def test_whoever_waits_for_a_hit_has_it_at_once(broker: Broker, clock: ManualClock) -> None:
    await answered(broker, clock)
    hit = await ask_job(broker)
    assert await broker.wait(hit.id, 5) == hit
    assert (await broker.attempts([hit.id]))[0][0].outcome == "succeeded"


async def test_an_answer_is_given_until_its_time_is_over(broker: Broker, clock: ManualClock) -> None:
    await answered(broker, clock)
    clock.advance(KEEP_MS - 1)
    assert (await ask(broker)).admission is Admission.CACHED
    clock.advance(1)
    assert (await broker.stats()).cache.entries == 0
    assert (await ask(broker)).admission is Admission.ACCEPTED
    await broker.trim(10)
    assert (await ask(broker)).admission is Admission.JOINED


async def test_only_equal_questions_share_an_answer(broker: Broker, clock: ManualClock) -> None:
    await answered(broker, clock)
    assert (await ask(broker, fingerprint="e" * 64)).admission is Admission.ACCEPTED
    assert (await ask(broker, fingerprint="F" * 64)).admission is Admission.ACCEPTED
    assert (await ask(broker, fingerprint="")).admission is Admission.ACCEPTED


@pytest.mark.parametrize("changes", [{"cache_ms": 0}, {"refresh": True}], ids=["bypass", "refresh"])
async def test_whoever_does_not_look_runs(
    broker: Broker, clock: ManualClock, changes: dict[str, int]
) -> None:
    await answered(broker, clock)
    assert (await ask(broker, **changes)).admission is Admission.ACCEPTED
    assert (await ask(broker, **changes)).admission is Admission.ACCEPTED
    assert (await broker.stats()).cache.misses == 1


async def test_a_job_that_bypasses_leaves_no_answer_and_cannot_be_joined(broker: Broker) -> None:
    await ask(broker, cache_ms=0)
    assert (await ask(broker)).admission is Admission.ACCEPTED
    await broker.settle([finish(one) for one in await claim(broker) if not one.spec.cache_ms])
    assert (await ask(broker)).admission is Admission.JOINED


async def test_a_refresh_replaces_the_answer_whatever_older_jobs_find(
    broker: Broker, clock: ManualClock
) -> None:
    old = await ask_job(broker)
    late = await claim_one(broker)
    fresh = await ask_job(broker, refresh=True)
    assert (await ask_job(broker)).id == fresh.id
    await broker.settle([finish(await claim_one(broker))])
    assert await broker.settle([finish(late)]) == [True]
    assert (await get_one(broker, old.id)).state is State.SUCCEEDED
    await broker.purge([old.id])
    assert (await ask(broker)).admission is Admission.CACHED
    await broker.purge([fresh.id])
    assert (await ask(broker)).admission is Admission.ACCEPTED


async def test_failures_are_not_kept(broker: Broker) -> None:
    await run_one(broker, GONE, fingerprint="f" * 64, cache_ms=KEEP_MS)
    assert (await broker.stats()).cache.entries == 0
    job = await ask_job(broker)
    await broker.cancel([job.id])
    assert (await get_one(broker, job.id)).state is State.CANCELLED
    assert (await ask(broker)).admission is Admission.ACCEPTED


async def test_a_refresh_that_fails_leaves_the_old_answer(broker: Broker, clock: ManualClock) -> None:
    await answered(broker, clock)
    await run_one(broker, GONE, fingerprint="f" * 64, cache_ms=KEEP_MS, refresh=True)
    assert (await ask(broker)).admission is Admission.CACHED


@pytest.mark.parametrize("how", ["purge", "trim"])
async def test_an_answer_goes_with_the_job_that_found_it(
    broker: Broker, clock: ManualClock, how: str
) -> None:
    source = await run_one(broker, fingerprint="f" * 64, cache_ms=10**9)
    clock.advance(600_001)
    if how == "trim":
        await broker.trim(10)
    else:
        await broker.purge([source.id])
    assert await get_one(broker, source.id) is None
    assert (await broker.stats()).cache.entries == 0
    assert (await ask(broker)).admission is Admission.ACCEPTED


async def test_a_hit_outlives_the_job_that_found_the_answer(broker: Broker, clock: ManualClock) -> None:
    source = await answered(broker, clock)
    hit = await ask_job(broker)
    await broker.purge([source.id])
    assert (await get_one(broker, hit.id)).result == DONE.result
    assert await broker.purge([hit.id]) == [True]


async def test_answers_outlive_every_broker(backend: Backend, clock: ManualClock) -> None:
    first = await backend.open(clock)
    await answered(first, clock)
    shared = await ask_job(first, fingerprint="e" * 64)
    await ask(first, fingerprint="e" * 64)
    await backend.close(first)
    second = await backend.open(clock)
    assert (await ask(second)).admission is Admission.CACHED
    assert (await ask_job(second, fingerprint="e" * 64)).waiters == 3
    assert (await get_one(second, shared.id)).waiters == 3


async def test_equal_jobs_in_flight_are_one(broker: Broker, other: Broker) -> None:
    first = await ask_job(broker)
    waiting = await ask(other, client="c", request_id="r")
    assert (waiting.admission, waiting.job.id, waiting.job.waiters) == (Admission.JOINED, first.id, 2)
    (taken,) = await claim(broker)
    running = await ask(other)
    assert (running.admission, running.job.state, running.job.waiters) == (
        Admission.JOINED,
        State.RUNNING,
        3,
    )
    told = [e for e in await feed(broker) if e.kind is EventKind.JOINED]
    assert [(e.job_id, dict(e.data)) for e in told] == [
        (first.id, {"client": "c", "request_id": "r"}),
        (first.id, {"client": None, "request_id": None}),
    ]
    await broker.settle([finish(taken)])
    assert (await ask(broker)).admission is Admission.CACHED
    assert (await broker.stats()).cache.joined == 2


async def test_a_job_that_waits_for_its_next_attempt_is_joined_one_put_off_is_not(broker: Broker) -> None:
    put_off = await ask_job(broker, delay_ms=60_000)
    sooner = await ask_job(broker, limits=Limits(backoff_ms=100_000, max_attempts=2))
    assert sooner.id != put_off.id
    await broker.settle([finish(await claim_one(broker), BROKEN)])
    assert (await get_one(broker, sooner.id)).state is State.SCHEDULED
    assert (await ask_job(broker)).id == sooner.id
    later = await ask_job(broker, fingerprint="e" * 64, delay_ms=1_000)
    assert (await ask_job(broker, fingerprint="e" * 64, delay_ms=1_000)).id == later.id


async def test_a_shared_job_stops_when_the_last_waiter_leaves(broker: Broker, other: Broker) -> None:
    job = await ask_job(broker)
    for _ in range(2):
        await ask(other)
    (left,) = await broker.cancel([job.id, job.id][:1])
    assert (left.state, left.waiters, left.cancel_requested) == (State.QUEUED, 2, False)
    (taken,) = await claim(other)
    (left,) = await other.cancel([job.id])
    assert (left.state, left.waiters, left.cancel_requested) == (State.RUNNING, 1, False)
    (left,) = await broker.cancel([job.id])
    assert left.cancel_requested
    assert (await ask_job(broker)).id != job.id
    assert taken.spec.id == job.id


async def test_an_id_given_twice_leaves_once(broker: Broker) -> None:
    job = await ask_job(broker)
    await ask(broker)
    await broker.cancel([job.id, job.id])
    assert (await get_one(broker, job.id)).waiters == 1


async def test_a_shared_job_can_be_stopped_for_all(broker: Broker) -> None:
    job = await ask_job(broker)
    await ask(broker)
    (stopped,) = await broker.cancel([job.id], force=True)
    assert (stopped.state, stopped.waiters) == (State.CANCELLED, 2)
    (revived,) = await broker.retry([job.id])
    assert (revived.state, revived.waiters) == (State.QUEUED, 1)
    assert (await ask_job(broker)).id == job.id


async def test_a_retried_job_does_not_push_out_the_one_in_flight(broker: Broker) -> None:
    first = await ask_job(broker)
    await broker.cancel([first.id])
    second = await ask_job(broker)
    await broker.retry([first.id])
    assert (await ask_job(broker)).id == second.id


async def test_a_more_urgent_joiner_raises_the_job(broker: Broker, other: Broker, clock: ManualClock) -> None:
    low = await ask_job(broker, priority=Priority.LOW, params=msgspec.Raw(b'{"x":1}'))
    ahead = await submit_one(broker, priority=Priority.MEDIUM)
    raised = await ask_job(other, priority=Priority.HIGH)
    assert (raised.id, raised.spec.priority) == (low.id, Priority.HIGH)
    assert (await ask_job(other, priority=Priority.LOW)).spec.priority is Priority.HIGH
    assert (await get_one(broker, low.id)).spec.params == low.spec.params
    claims = await claim(broker)
    assert ids(claims) == [low.id, ahead.id]
    assert claims[0].spec.priority is Priority.HIGH
    await broker.settle([finish(claims[0], BROKEN, 0.0)])
    behind = await submit_one(broker, priority=Priority.MEDIUM)
    assert ids(await claim(broker)) == [low.id, behind.id]


async def test_a_running_job_that_is_raised_keeps_it_for_its_next_attempt(broker: Broker) -> None:
    low = await ask_job(broker, priority=Priority.LOW, limits=Limits(backoff_ms=0, max_attempts=2))
    taken = await claim_one(broker)
    await ask(broker, priority=Priority.HIGH)
    other = await submit_one(broker)
    await broker.settle([finish(taken, BROKEN)])
    assert ids(await claim(broker)) == [low.id, other.id]


async def test_equal_jobs_of_one_batch_are_one(broker: Broker) -> None:
    batch = [asking(priority=Priority.LOW) for _ in range(5)] + [asking(priority=Priority.HIGH)]
    receipts = await broker.submit(batch)
    assert [one.admission for one in receipts] == [Admission.ACCEPTED, *[Admission.JOINED] * 5]
    job = await get_one(broker, batch[0].id)
    assert (job.waiters, job.spec.priority) == (6, Priority.HIGH)
    assert [one.job for one in receipts[1:]] == [job] * 5
    assert ids(await claim(broker)) == [job.id]


async def test_a_submission_that_is_sent_again_waits_once(broker: Broker, clock: ManualClock) -> None:
    first = await ask_job(broker)
    joiner = asking()
    for _ in range(3):
        (receipt,) = await broker.submit([joiner])
        assert (receipt.admission, receipt.job.id, receipt.job.waiters) == (Admission.JOINED, first.id, 2)
    await broker.settle([finish(await claim_one(broker))])
    hit = asking()
    assert [(await broker.submit([hit]))[0].admission for _ in range(2)] == [
        Admission.CACHED,
        Admission.REPEATED,
    ]


async def test_an_idempotency_key_that_joined_stands_for_the_shared_job(broker: Broker) -> None:
    job = await ask_job(broker, idempotency_key="a", client="x")
    for key in ("b", "c"):
        assert (await ask(broker, idempotency_key=key, client="x")).admission is Admission.JOINED
    await broker.settle([finish(await claim_one(broker))])
    for key in ("a", "b", "c"):
        again = await ask(broker, idempotency_key=key, client="x")
        assert (again.admission, again.job.id) == (Admission.REPEATED, job.id)
        other = await ask(broker, idempotency_key=key, client="x", fingerprint="e" * 64)
        assert (other.admission, other.job.id) == (Admission.CONFLICT, job.id)
    hit = await ask_job(broker, idempotency_key="d", client="x")
    assert (await ask(broker, idempotency_key="d", client="x")).job.id == hit.id
    await broker.purge([job.id])
    for key in ("a", "b", "c"):
        assert (await ask(broker, idempotency_key=key, client="x")).admission is not Admission.REPEATED


async def test_answers_can_be_forgotten(broker: Broker, other: Broker, clock: ManualClock) -> None:
    await answered(broker, clock)
    await run_one(broker, fingerprint="odd", cache_ms=KEEP_MS)
    assert (await broker.stats()).cache.entries == 2
    assert await other.forget_answers(["odd", "e" * 64, "odd"]) == 1
    assert (await ask(broker)).admission is Admission.CACHED
    assert await other.forget_answers() == 1
    assert await other.forget_answers() == 0
    assert (await ask(broker)).admission is Admission.ACCEPTED


@pytest.mark.parametrize("which", [None, ["f" * 64]])
async def test_what_was_looked_for_before_a_removal_is_given_to_those_who_waited_only(
    broker: Broker, which: list[str] | None
) -> None:
    old = await ask_job(broker)
    await ask(broker)
    taken = await claim_one(broker)
    await broker.forget_answers(which)
    assert (await ask_job(broker)).id != old.id
    await broker.settle([finish(taken)])
    assert (await get_one(broker, old.id)).result == DONE.result
    assert (await ask(broker)).admission is Admission.JOINED


async def test_concurrent_equal_submissions_make_one_job(backend: Backend, clock: ManualClock) -> None:
    brokers = [await backend.open(clock, BrokerOptions()) for _ in range(4)]
    asked = [asking(fingerprint=f"{n % 10}" * 64, client=f"c{n}", id=new_id()) for n in range(200)]
    receipts = await asyncio.gather(*(brokers[n % 4].submit([one]) for n, one in enumerate(asked)))
    assert len({one.job.id for (one,) in receipts}) == 10
    assert [one.admission for (one,) in receipts].count(Admission.ACCEPTED) == 10
    taken = await claim(brokers[0])
    assert len(taken) == 10
    assert [job.waiters for job in await brokers[1].get(ids(taken))] == [20] * 10
