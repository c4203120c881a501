"""Where features meet: each of these was found by running the same random verbs on two brokers."""

import pytest
from kit.backends import Backend
from kit.families import end, merge, number_of, part_specs, split
from kit.time import ManualClock
from kit.values import BROKEN, DONE, claim, claim_one, finish, get_one, spec, submit_one, worker

from penstock.core.job import AfterFailure, State
from penstock.core.lifecycle import Cancelled, Failed, Released
from penstock.ports import Admission, Broker, BrokerOptions, JobQuery

LEASE_MS = 5_000
FATAL = Failed(BROKEN.error, permanent=True)


async def withdraw(broker: Broker) -> None:
    while await broker.trim(1_000):
        pass


async def parts_of(broker: Broker, parent_id: str) -> list[str]:
    """The ids of a job's parts, the first part first."""
    found = await broker.find(JobQuery(parent_id=parent_id))
    return [job.id for job in sorted(found, key=lambda job: job.spec.part)]


async def stray(broker: Broker, clock: ManualClock) -> str:
    """A job in a claim of "w" that the worker itself does not know of."""
    await submit_one(broker)
    lost = await claim_one(broker)
    clock.advance(LEASE_MS + 1)
    await broker.renew(worker(), [])
    return lost.spec.id


async def test_a_part_that_is_cancelled_twice_is_counted_once(broker: Broker) -> None:
    parent = await split(broker, 4, skip_failed_parts=True)
    first, second, *_ = await parts_of(broker, parent.id)
    await broker.cancel([first, first])
    await broker.cancel([first, second])
    parts = (await get_one(broker, parent.id)).parts
    assert (parts.failed, parts.done) == (2, 0)


async def test_a_job_that_is_cancelled_together_with_a_part_is_told_as_it_then_stands(broker: Broker) -> None:
    parent = await submit_one(broker, merge_block=2)
    claimed = await claim_one(broker)
    assert await broker.spread(parent.id, claimed.token, 0, part_specs(parent, range(2)))
    part = (await parts_of(broker, parent.id))[0]
    answers = await broker.cancel([parent.id, part])
    assert [job.state for job in answers] == [State.FAILED, State.CANCELLED]
    assert answers == await broker.get([parent.id, part])


async def test_parts_take_back_nothing_that_was_said_since_their_job_was_submitted(broker: Broker) -> None:
    parent = await submit_one(broker, merge_block=1, max_running=5)
    claimed = await claim_one(broker)
    await submit_one(broker, max_running=1)
    await broker.spread(parent.id, claimed.token, 0, part_specs(parent, range(3)))
    assert await claim(broker) == [], "the job itself runs"
    await broker.settle([finish(claimed, Released())])
    assert len(await claim(broker)) == 1


async def test_every_answer_shows_how_far_the_parts_have_come(broker: Broker) -> None:
    parent = await split(broker, 3, idempotency_key="k", cache_ms=60_000, fingerprint="f")
    (part,) = await claim(broker, limit=1)
    await end(broker, part)
    as_it_is = await get_one(broker, parent.id)
    assert as_it_is.parts.done == 1
    assert await broker.retry([parent.id]) == [as_it_is]
    (repeated,) = await broker.submit([parent.spec])
    assert (repeated.admission, repeated.job) == (Admission.REPEATED, as_it_is)
    (joined,) = await broker.submit([spec(cache_ms=60_000, fingerprint="f")])
    assert (joined.admission, joined.job) == (Admission.JOINED, await get_one(broker, parent.id))
    assert joined.job.parts == as_it_is.parts


async def test_a_swap_answers_with_jobs_as_they_stand(broker: Broker) -> None:
    first = await submit_one(broker)
    await broker.settle([finish(await claim_one(broker), FATAL)])
    specs = [
        spec(after=(first.id,)),
        spec(after=(first.id,), after_failure=AfterFailure.RUN),
        spec(after=(first.id,), after_failure=AfterFailure.RUN, delay_ms=1_000),
    ]
    receipts = await broker.swap("s", "a", None, b"1", specs)
    assert [one.job.state for one in receipts] == [State.CANCELLED, State.QUEUED, State.SCHEDULED]
    assert [one.job for one in receipts] == await broker.get([one.id for one in specs])


async def test_a_claim_that_nobody_knows_of_names_no_worker(backend: Backend, clock: ManualClock) -> None:
    broker = await backend.open(clock, BrokerOptions(lease_ms=LEASE_MS))
    job_id = await stray(broker, clock)
    assert (await get_one(broker, job_id)).worker is None
    await broker.cancel([job_id])
    (taken,) = await broker.reclaim("r", 10)
    assert taken.spec.id == job_id
    assert await broker.settle([finish(taken, Cancelled())]) == [True]
    assert (await get_one(broker, job_id)).state is State.CANCELLED


async def test_an_attempt_that_outlived_being_forgotten_names_no_worker(
    backend: Backend, clock: ManualClock
) -> None:
    broker = await backend.open(clock, BrokerOptions(lease_ms=LEASE_MS))
    job = await submit_one(broker)
    late = await claim_one(broker)
    clock.advance(LEASE_MS + 1)
    await broker.renew(worker(), [])
    assert await broker.settle([finish(late, FATAL)]) == [True]
    (attempts,) = await broker.attempts([job.id])
    assert [(one.worker, one.outcome) for one in attempts] == [(None, "failed")]


@pytest.mark.parametrize("verb", ["retry", "purge"])
async def test_a_part_of_a_run_before_is_neither_purged_nor_retried_by_itself(
    broker: Broker, verb: str
) -> None:
    parent = await split(broker, 3)
    old = await claim(broker, limit=1)
    await end(broker, *old, outcome=FATAL)
    assert (await get_one(broker, parent.id)).state is State.FAILED
    await broker.retry([parent.id])
    before = await get_one(broker, old[0].spec.id)
    if verb == "retry":
        assert await broker.retry([before.id]) == [before]
    else:
        assert await broker.purge([before.id]) == [False]
    await withdraw(broker)
    assert await get_one(broker, before.id) is None


async def test_merged_parts_of_a_job_that_is_cancelled_at_once_are_forgotten(broker: Broker) -> None:
    parent = await split(broker, 6)
    await end(broker, *sorted(await claim(broker), key=number_of)[:2])
    assert await merge(broker, await claim_one(broker)) == [0, 1]
    parts = await parts_of(broker, parent.id)
    await broker.cancel([parent.id])
    await withdraw(broker)
    assert await parts_of(broker, parent.id) == parts[2:]


@pytest.mark.parametrize("policy", [AfterFailure.CANCEL, AfterFailure.RUN])
async def test_who_waits_for_a_part_that_is_forgotten_waits_no_longer(
    broker: Broker, policy: AfterFailure
) -> None:
    parent = await split(broker, 4)
    claims = sorted(await claim(broker, limit=2), key=number_of)
    last = (await parts_of(broker, parent.id))[-1]
    follower = await submit_one(broker, queue="later", after=(last,), after_failure=policy)
    await end(broker, *claims)
    (step,) = await claim(broker, limit=1)
    await broker.settle([finish(step, DONE)])
    await withdraw(broker)
    job = await get_one(broker, follower.id)
    if policy is AfterFailure.RUN:
        assert job.state is State.QUEUED
    else:
        assert job.state is State.CANCELLED
        assert job.error.message == f"job {last}, which it waits for, is not known any more"


async def test_a_job_that_was_purged_while_it_waited_may_be_submitted_and_wait_again(broker: Broker) -> None:
    first = await submit_one(broker)
    follower = await submit_one(broker, after=(first.id,))
    await broker.cancel([follower.id])
    assert await broker.purge([follower.id]) == [True]
    (again,) = await broker.submit([follower.spec])
    assert again.admission is Admission.ACCEPTED
    await broker.settle([finish(await claim_one(broker))])
    assert (await claim_one(broker)).spec.id == follower.id


async def test_purging_a_job_whose_parts_are_gone_leaves_nothing_to_withdraw(broker: Broker) -> None:
    await split(broker, 2)
    await end(broker, *await claim(broker))
    step = await claim_one(broker)
    assert await broker.settle([finish(step)]) == [True]
    await withdraw(broker)
    assert await broker.purge([step.spec.id]) == [True]
    assert await broker.trim(1_000) == 0
