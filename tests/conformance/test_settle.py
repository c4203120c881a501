"""Settling is exactly-once: the current token, and only that, decides what becomes of a job."""

import asyncio

import msgspec
import pytest
from kit.backends import Backend
from kit.time import ManualClock
from kit.values import (
    BROKEN,
    CRASHED,
    DONE,
    claim,
    claim_one,
    feed,
    finish,
    get_one,
    ids,
    queue_stats,
    run_one,
    spec,
    submit,
    submit_one,
)

from penstock.core.ids import new_id
from penstock.core.job import JobError, Limits, State
from penstock.core.lifecycle import Cancelled, Failed, Lost, Outcome, Released, Succeeded
from penstock.core.verdict import MAX_LOSSES, backoff_ms
from penstock.ports import Broker

OUTCOMES = [DONE, BROKEN, Cancelled(), Released(), Lost("w")]
LEASE_MS = 5_000


async def lose(broker: Broker, clock: ManualClock) -> None:
    """Let the lease of whoever runs a job lapse, and settle that as lost."""
    clock.advance(LEASE_MS + 1)
    await broker.settle([finish(one, Lost(one.lost_by)) for one in await broker.reclaim("r", 100)])


async def test_a_success_is_stored(broker: Broker, other: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker)
    claimed = await claim_one(broker)
    clock.advance(5)
    assert await broker.settle([finish(claimed)]) == [True]
    done = await get_one(other, job.id)
    assert (done.state, done.attempt, done.error, done.token) == (State.SUCCEEDED, 1, None, 0)
    assert (done.result, done.worker, done.started_at) == (DONE.result, "w", clock.now - 5)
    assert done.finished_at == clock.now


@pytest.mark.parametrize(
    "result",
    [b"null", b"0.10", b"1e400", b" [1,  2]\n", '{"ü":"𝄞 \\u0000"}'.encode(), b'"' + b"x" * 3_000_000 + b'"'],
    ids=["null", "number", "huge number", "white space", "unicode", "three megabytes"],
)
async def test_a_result_is_kept_byte_for_byte(broker: Broker, other: Broker, result: bytes) -> None:
    done = await run_one(broker, Succeeded(msgspec.Raw(result)))
    assert bytes(done.result) == result
    assert bytes((await get_one(other, done.id)).result) == result


async def test_a_second_settlement_is_refused(broker: Broker, other: Broker) -> None:
    job = await submit_one(broker)
    claimed = await claim_one(broker)
    assert await broker.settle([finish(claimed)]) == [True]
    done = await get_one(broker, job.id)
    for outcome in OUTCOMES:
        assert await other.settle([finish(claimed, outcome)]) == [False]
    assert await get_one(broker, job.id) == done


async def test_a_settlement_named_twice_in_a_batch_counts_once(broker: Broker) -> None:
    await submit_one(broker)
    claimed = await claim_one(broker)
    assert await broker.settle([finish(claimed, BROKEN), finish(claimed)]) == [True, False]
    assert (await get_one(broker, claimed.spec.id)).state is State.SCHEDULED


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_a_stale_token_is_refused_after_a_reclaim(
    broker: Broker, clock: ManualClock, outcome: Outcome
) -> None:
    await submit_one(broker)
    stale = await claim_one(broker)
    clock.advance(LEASE_MS + 1)
    (current,) = await broker.reclaim("r", 10)
    before = await get_one(broker, stale.spec.id)
    head = await broker.head()
    assert await broker.settle([finish(stale, outcome)]) == [False]
    assert await get_one(broker, stale.spec.id) == before
    assert await feed(broker, head) == []
    assert await broker.settle([finish(current, Lost("w"))]) == [True]


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_a_stale_token_is_refused_while_the_next_attempt_runs(
    broker: Broker, clock: ManualClock, outcome: Outcome
) -> None:
    await submit_one(broker)
    stale = await claim_one(broker)
    await lose(broker, clock)
    current = await claim_one(broker)
    assert await broker.settle([finish(stale, outcome)]) == [False]
    assert await broker.settle([finish(current)]) == [True]


async def test_a_token_of_another_job_is_refused(broker: Broker) -> None:
    await submit(broker, spec(), spec())
    one, two = await claim(broker)
    crossed = msgspec.structs.replace(finish(one), job_id=two.spec.id)
    unknown = msgspec.structs.replace(finish(one), job_id=new_id())
    assert await broker.settle([crossed, unknown]) == [False, False]
    assert {job.state for job in await broker.get(ids([one, two]))} == {State.RUNNING}


@pytest.mark.parametrize("state", ["queued", "scheduled", "cancelled"])
async def test_token_zero_settles_nothing(broker: Broker, state: str) -> None:
    job = await submit_one(broker, delay_ms=1_000 if state == "scheduled" else 0)
    if state == "cancelled":
        await broker.cancel([job.id])
    before = await get_one(broker, job.id)
    await submit_one(broker, queue="elsewhere")
    (other_claim,) = await claim(broker, queues=("elsewhere",))
    forged = msgspec.structs.replace(finish(other_claim), job_id=job.id, token=0)
    assert await broker.settle([forged]) == [False]
    assert await get_one(broker, job.id) == before


async def test_answers_come_in_the_order_of_the_batch(broker: Broker) -> None:
    await submit(broker, *(spec() for _ in range(4)))
    claims = await claim(broker)
    await broker.settle([finish(claims[1])])
    assert await broker.settle([finish(one) for one in reversed(claims)]) == [True, True, False, True]


async def test_of_many_who_settle_at_once_one_succeeds(backend: Backend, clock: ManualClock) -> None:
    brokers = [await backend.open(clock) for _ in range(4)]
    await submit(brokers[0], *(spec() for _ in range(25)))
    claims = await claim(brokers[0])
    settlements = [
        finish(one, Succeeded(msgspec.Raw(b"%d" % n))) for one in claims for n in range(len(brokers))
    ]
    calls = [brokers[n % len(brokers)].settle([one]) for n, one in enumerate(settlements)]
    answers = [accepted for (accepted,) in await asyncio.gather(*calls)]
    accepted = [one for one, yes in zip(settlements, answers, strict=True) if yes]
    assert [one.job_id for one in accepted] == ids(claims)
    jobs = await brokers[1].get(ids(claims))
    assert [job.result for job in jobs] == [one.result for one in accepted]
    kinds = [event.kind for event in await feed(brokers[2])]
    assert kinds.count("succeeded") == len(claims)


@pytest.mark.parametrize("draw", [0.001, 0.5, 0.999])
async def test_a_failed_attempt_is_due_again_within_the_bounds_of_its_backoff(
    broker: Broker, clock: ManualClock, draw: float
) -> None:
    limits = Limits(max_attempts=4, backoff_ms=1_000, backoff_cap_ms=3_000)
    job = await submit_one(broker, limits=limits)
    for attempt, ceiling in ((1, 1_000), (2, 2_000), (3, 3_000)):
        claimed = await claim_one(broker)
        assert claimed.attempt == attempt
        await broker.settle([finish(claimed, BROKEN, draw)])
        waiting = await get_one(broker, job.id)
        assert (waiting.state, waiting.attempt) == (State.SCHEDULED, attempt)
        assert waiting.due_at == clock.now + backoff_ms(limits, attempt, draw)
        assert clock.now <= waiting.due_at <= clock.now + ceiling
        assert (waiting.error, waiting.finished_at) == (BROKEN.error, None)
        clock.advance(waiting.due_at - clock.now - 1)
        assert await claim(broker) == []
        clock.advance(1)
    assert (await claim_one(broker)).attempt == 4


async def test_a_failed_attempt_without_backoff_is_queued_at_once(broker: Broker) -> None:
    retried = await run_one(broker, BROKEN, limits=Limits(backoff_ms=0))
    assert (retried.state, retried.attempt) == (State.QUEUED, 1)
    assert (await claim_one(broker)).attempt == 2


async def test_a_failed_attempt_goes_behind_those_who_waited_meanwhile(
    broker: Broker, clock: ManualClock
) -> None:
    await submit_one(broker)
    claimed = await claim_one(broker)
    await broker.settle([finish(claimed, BROKEN, 0.5)])
    later = await submit_one(broker)
    clock.advance(1_000)
    assert ids(await claim(broker)) == [later.id, claimed.spec.id]


async def test_the_last_failed_attempt_makes_a_dead_letter(broker: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker, limits=Limits(max_attempts=2))
    for _ in range(2):
        claimed = await claim_one(broker)
        await broker.settle([finish(claimed, BROKEN)])
        clock.advance(10_000)
    dead = await get_one(broker, job.id)
    assert (dead.state, dead.attempt, dead.error) == (State.FAILED, 2, BROKEN.error)
    assert dead.finished_at == clock.now - 10_000
    assert await claim(broker) == []


async def test_a_permanent_failure_is_not_tried_again(broker: Broker) -> None:
    error = JobError("TASK_ERROR", "never", "détail\n\0")
    dead = await run_one(broker, Failed(error, permanent=True))
    assert (dead.state, dead.attempt, dead.error) == (State.FAILED, 1, error)


async def test_an_error_is_gone_when_the_next_attempt_starts(broker: Broker, clock: ManualClock) -> None:
    retried = await run_one(broker, BROKEN)
    clock.advance(1_000)
    await claim_one(broker)
    running = await get_one(broker, retried.id)
    assert (running.state, running.error) == (State.RUNNING, None)


async def test_a_released_attempt_is_not_charged_and_keeps_its_place(
    broker: Broker, clock: ManualClock
) -> None:
    first = await submit_one(broker, limits=Limits(max_attempts=1))
    for _ in range(3):
        claimed = await claim_one(broker)
        assert claimed.attempt == 1
        clock.advance(1_000)
        assert await broker.settle([finish(claimed, Released())]) == [True]
    job = await get_one(broker, first.id)
    assert (job.state, job.attempt, job.losses, job.due_at) == (State.QUEUED, 0, 0, first.due_at)
    later = await submit_one(broker)
    assert ids(await claim(broker)) == [first.id, later.id]


async def test_a_lost_attempt_is_not_charged_until_too_many_workers_vanished(
    broker: Broker, clock: ManualClock
) -> None:
    job = await submit_one(broker, limits=Limits(max_attempts=1))
    for losses in range(1, MAX_LOSSES + 1):
        assert (await claim_one(broker, "doomed")).losses == losses - 1
        await lose(broker, clock)
        queued = await get_one(broker, job.id)
        assert (queued.state, queued.attempt, queued.losses) == (State.QUEUED, 0, losses)
        assert queued.due_at == job.due_at
    await claim_one(broker, "doomed")
    await lose(broker, clock)
    dead = await get_one(broker, job.id)
    assert (dead.state, dead.losses, dead.error.code) == (State.FAILED, MAX_LOSSES + 1, "WORKER_LOST")
    assert "doomed" in dead.error.message
    assert await claim(broker) == []


async def test_crashes_are_counted_apart_and_quarantine_a_job_with_attempts_left(
    broker: Broker, clock: ManualClock
) -> None:
    job = await submit_one(broker, limits=Limits(max_attempts=50, max_crashes=2, backoff_ms=0))
    for outcome, crashes in ((BROKEN, 0), (CRASHED, 1), (Released(), 1), (BROKEN, 1)):
        claimed = await claim_one(broker, "doomed")
        await broker.settle([finish(claimed, outcome)])
        assert (await get_one(broker, job.id)).crashes == crashes
    await claim_one(broker, "doomed")
    await lose(broker, clock)
    last = await claim_one(broker)
    assert (last.attempt, last.losses, last.crashes) == (4, 1, 1)
    await broker.settle([finish(last, CRASHED)])
    dead = await get_one(broker, job.id)
    assert (dead.state, dead.attempt, dead.crashes, dead.losses) == (State.FAILED, 4, 2, 1)
    assert dead.error.message == "SIGSEGV; quarantined after 2 crashes"
    (revived,) = await broker.retry([job.id])
    assert (revived.attempt, revived.crashes) == (0, 0)
    assert (await claim_one(broker)).crashes == 0


async def test_losses_are_remembered_across_failed_attempts(broker: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker)
    await claim_one(broker)
    await lose(broker, clock)
    await broker.settle([finish(await claim_one(broker), BROKEN)])
    waiting = await get_one(broker, job.id)
    assert (waiting.attempt, waiting.losses) == (1, 1)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (BROKEN, State.CANCELLED),
        (Released(), State.CANCELLED),
        (Lost("w"), State.CANCELLED),
        (Cancelled(), State.CANCELLED),
        (DONE, State.SUCCEEDED),
        (Failed(BROKEN.error, permanent=True), State.FAILED),
    ],
)
async def test_core_decides_what_becomes_of_a_job_cancelled_while_it_ran(
    broker: Broker, other: Broker, clock: ManualClock, outcome: Outcome, state: State
) -> None:
    job = await submit_one(broker)
    claimed = await claim_one(broker)
    await other.cancel([job.id])
    assert await broker.settle([finish(claimed, outcome)]) == [True]
    ended = await get_one(broker, job.id)
    assert (ended.state, ended.finished_at) == (state, clock.now)
    assert (ended.error is not None and ended.error.code == "CANCELLED") == (state is State.CANCELLED)
    assert (ended.result is not None) == (state is State.SUCCEEDED)
    assert await claim(broker) == []


async def test_settling_many_jobs_leaves_the_rest_alone(broker: Broker) -> None:
    await submit(broker, *(spec() for _ in range(1_000)))
    claims = await claim(broker)
    assert all(await broker.settle([finish(one) for one in claims[::2]]))
    stats = await broker.stats()
    assert queue_stats(stats).running == 500
    assert stats.states[State.SUCCEEDED] == 500
