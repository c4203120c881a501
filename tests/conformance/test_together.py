"""What the parts of admission, sharing, waiting and splitting mean for one another."""

from kit.families import end, merge, split
from kit.time import ManualClock
from kit.values import BROKEN, claim, claim_one, finish, get_one, ids, spec, submit, submit_one

from penstock.core.fairness import ClientTerms
from penstock.core.job import Priority, State
from penstock.core.lifecycle import Split
from penstock.ports import DEPTHS, Admission, Broker


async def test_a_job_in_parts_takes_up_no_room_of_its_client_while_it_waits_for_them(broker: Broker) -> None:
    await broker.limit_client("c", ClientTerms(max_running=1))
    parent = await split(broker, 4, client="c")
    for part in await claim(broker, limit=10):  # parts of nobody in particular
        await end(broker, part)
    await merge(broker, await claim_one(broker))
    assert (await get_one(broker, parent.id)).state is State.SUCCEEDED
    await submit(broker, spec(client="c"), spec(client="c"))
    assert len(await claim(broker, limit=10)) == 1


async def test_parts_count_for_the_client_of_their_job(broker: Broker) -> None:
    await broker.limit_client("c", ClientTerms(max_running=1))
    parent = await submit_one(broker, client="c", merge_block=2)
    claimed = await claim_one(broker)
    parts = [spec(parent_id=parent.id, part=number, client="c") for number in range(2)]
    assert await broker.spread(parent.id, claimed.token, 0, parts)
    assert await claim(broker, limit=10) == []
    assert await broker.settle([finish(claimed, Split(2))]) == [True]
    for _ in range(2):
        (part,) = await claim(broker, limit=10)
        await end(broker, part)
    await merge(broker, await claim_one(broker))
    assert (await get_one(broker, parent.id)).state is State.SUCCEEDED


async def test_a_cancelled_job_in_parts_frees_its_clients_room(broker: Broker) -> None:
    await broker.limit_client("c", ClientTerms(max_running=1))
    parent = await split(broker, 2, client="c")
    await broker.cancel([parent.id])
    await submit(broker, spec(client="c"), spec(client="c"))
    given = [one for one in await claim(broker, limit=10) if one.spec.part is None]
    assert len(given) == 1


async def test_a_job_in_parts_has_run_since_it_was_split(broker: Broker, clock: ManualClock) -> None:
    begun = clock.now
    parent = await split(broker, 2)
    clock.advance(1_000)
    for part in await claim(broker):
        await end(broker, part)
    clock.advance(1_000)
    await merge(broker, await claim_one(broker))
    done = await get_one(broker, parent.id)
    assert (done.started_at, done.finished_at) == (begun, clock.now)


async def test_who_waits_for_a_job_in_parts_hears_of_a_part_that_fails_it(broker: Broker) -> None:
    parent = await split(broker, 2)
    follower = await submit_one(broker, after=(parent.id,))
    part, _ = await claim(broker)
    await end(broker, part, outcome=BROKEN)
    assert (await get_one(broker, parent.id)).state is State.FAILED
    assert (await get_one(broker, follower.id)).state is State.CANCELLED


async def test_who_waits_for_a_job_in_parts_runs_when_it_is_merged(broker: Broker) -> None:
    parent = await split(broker, 2)
    follower = await submit_one(broker, after=(parent.id,))
    for part in await claim(broker):
        await end(broker, part)
    await merge(broker, await claim_one(broker))
    assert ids(await claim(broker)) == [follower.id]


async def test_a_job_that_is_raised_by_a_joiner_leads_its_clients_line(broker: Broker) -> None:
    first = await submit_one(broker, client="c", priority=Priority.LOW)
    raised = await submit_one(broker, client="c", priority=Priority.LOW, cache_ms=1_000, fingerprint="g")
    await submit_one(broker, client="d")
    ask = spec(client="d", priority=Priority.HIGH, cache_ms=1_000, fingerprint="g")
    assert [one.admission for one in await broker.submit([ask])] == [Admission.JOINED]
    given = [ids(await claim(broker, limit=1)) for _ in range(3)]
    assert given[0] == [raised.id]
    assert given[2] == [first.id]


async def test_a_full_queue_counts_the_jobs_of_every_client(broker: Broker) -> None:
    await broker.put(DEPTHS, "default", b"2")
    receipts = await broker.submit([spec(client=client) for client in ("c", "d", None, "e")])
    assert [one.admission for one in receipts] == [Admission.ACCEPTED] * 2 + [Admission.REFUSED] * 2
    await claim(broker, limit=1)
    (receipt,) = await broker.submit([spec(client="e")])
    assert receipt.admission is Admission.ACCEPTED


async def test_a_job_that_waits_for_others_is_never_shared(broker: Broker) -> None:
    ahead = await submit_one(broker)
    held = await submit_one(broker, after=(ahead.id,), cache_ms=1_000, fingerprint="g")
    receipts = await broker.submit([spec(cache_ms=1_000, fingerprint="g")])
    assert receipts[0].admission is Admission.ACCEPTED
    assert receipts[0].job is not None
    assert receipts[0].job.id != held.id


async def test_jobs_of_a_client_that_are_released_come_up(broker: Broker) -> None:
    ahead = await submit_one(broker, client="c")
    follower = await submit_one(broker, client="d", after=(ahead.id,))
    claimed = await claim_one(broker)
    assert await claim(broker) == []
    assert await broker.settle([finish(claimed)]) == [True]
    assert ids(await claim(broker)) == [follower.id]
