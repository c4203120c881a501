"""What is past its retention goes, a bounded piece at a time; nothing else ever does."""

import pytest
from kit.time import ManualClock
from kit.values import (
    BROKEN,
    DONE,
    claim,
    claim_one,
    feed,
    get_one,
    ids,
    queue_stats,
    run_one,
    spec,
    submit,
    submit_one,
)

from penstock.core.job import State
from penstock.core.lifecycle import Cancelled, Failed, Outcome
from penstock.ports import Broker, JobQuery

KEEP_JOBS_MS = 600_000
KEEP_EVENTS_MS = 300_000
EVERYTHING = 1_000_000


@pytest.mark.parametrize("outcome", [DONE, Failed(BROKEN.error, permanent=True), Cancelled()])
async def test_a_final_job_goes_when_its_retention_is_over(
    broker: Broker, other: Broker, clock: ManualClock, outcome: Outcome
) -> None:
    job = await run_one(broker, outcome)
    clock.advance(KEEP_JOBS_MS)
    await broker.trim(EVERYTHING)
    assert await get_one(other, job.id) == job
    clock.advance(1)
    assert await broker.trim(EVERYTHING) >= 1
    assert await get_one(other, job.id) is None
    assert await other.find(JobQuery()) == []
    assert sum((await other.stats()).states.values()) == 0


async def test_waiting_and_running_jobs_are_never_trimmed(broker: Broker, clock: ManualClock) -> None:
    await submit_one(broker)
    await claim_one(broker)
    await submit(broker, spec(), spec(delay_ms=10**11))
    await run_one(broker, BROKEN, queue="retries")
    before = await broker.find(JobQuery())
    clock.advance(100 * KEEP_JOBS_MS)
    await broker.trim(EVERYTHING)
    assert await broker.find(JobQuery()) == before
    assert len(before) == 4


async def test_a_retried_job_is_kept(broker: Broker, clock: ManualClock) -> None:
    job = await run_one(broker, Failed(BROKEN.error, permanent=True))
    await broker.retry([job.id])
    clock.advance(100 * KEEP_JOBS_MS)
    await broker.trim(EVERYTHING)
    assert ids(await claim(broker)) == [job.id]


async def test_retention_counts_from_the_end_of_the_job(broker: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker)
    clock.advance(KEEP_JOBS_MS)
    await broker.cancel([job.id])
    clock.advance(KEEP_JOBS_MS)
    await broker.trim(EVERYTHING)
    assert await get_one(broker, job.id) is not None


async def test_a_trim_is_bounded_and_says_how_much_it_did(broker: Broker, clock: ManualClock) -> None:
    jobs = await submit(broker, *(spec() for _ in range(10)))
    await broker.cancel(ids(jobs))
    clock.advance(KEEP_JOBS_MS + 1)
    trimmed = []
    while count := await broker.trim(7):
        trimmed.append(count)
        left = [job for job in await broker.get(ids(jobs)) if job]
        assert len(left) + len(await feed(broker)) == 30 - sum(trimmed)
    assert sum(trimmed) == 30
    assert max(trimmed) <= 7
    assert await broker.trim(7) == 0


async def test_a_trim_of_nothing_is_nothing(broker: Broker) -> None:
    assert await broker.trim(100) == 0
    await run_one(broker)
    assert await broker.trim(100) == 0
    assert await broker.trim(0) == 0


async def test_events_go_when_their_retention_is_over(broker: Broker, clock: ManualClock) -> None:
    await run_one(broker)
    clock.advance(KEEP_EVENTS_MS)
    young = await submit_one(broker)
    assert await broker.trim(EVERYTHING) == 0
    clock.advance(1)
    assert await broker.trim(EVERYTHING) == 3
    assert [event.job_id for event in await feed(broker)] == [young.id]


async def test_following_goes_on_after_a_trim(broker: Broker, other: Broker, clock: ManualClock) -> None:
    await submit_one(broker)
    early = (await feed(broker))[0].id
    await submit_one(broker)
    head = await other.head()
    clock.advance(KEEP_EVENTS_MS + 1)
    await broker.trim(EVERYTHING)
    assert await feed(broker) == []
    assert await broker.head() == head
    job = await submit_one(broker)
    for resumed in ("", early, head):
        assert [event.job_id for event in await feed(other, resumed)] == [job.id]


async def test_a_trimmed_job_frees_its_idempotency_key(broker: Broker, clock: ManualClock) -> None:
    await run_one(broker, idempotency_key="k", fingerprint="f")
    clock.advance(KEEP_JOBS_MS + 1)
    await broker.trim(EVERYTHING)
    (receipt,) = await broker.submit([spec(idempotency_key="k", fingerprint="another")])
    assert receipt.admission == "accepted"


async def test_figures_stay_right_through_a_trim(broker: Broker, clock: ManualClock) -> None:
    await run_one(broker)
    await run_one(broker, Cancelled())
    clock.advance(KEEP_JOBS_MS + 1)
    await submit_one(broker)
    await broker.trim(1)
    assert sum((await broker.stats()).states.values()) == 2
    await broker.trim(EVERYTHING)
    stats = await broker.stats()
    assert {state: count for state, count in stats.states.items() if count} == {State.QUEUED: 1}
    assert queue_stats(stats).queued == 1
