"""Clients take turns, limits on running jobs hold, and a job knows how many are in front of it."""

import asyncio

import pytest
from kit.backends import Backend
from kit.time import ManualClock
from kit.values import claim, finish, get_one, ids, queue_stats, spec, submit, submit_one, worker

from penstock.core.fairness import MOST_LINES, ClientTerms, starts_before
from penstock.core.forecast import Ahead
from penstock.core.job import Job, JobSpec, Priority
from penstock.core.lifecycle import AGE_STEP_MS, Claim, Released
from penstock.ports import Broker

FLOOD = 5_000


def many(count: int, **changes: object) -> list[JobSpec]:
    return [spec(**changes) for _ in range(count)]


async def starts(broker: Broker, until: Job, batch: int = 1) -> int:
    """How many jobs were started before this one."""
    count = 0
    while claims := await claim(broker, limit=batch):
        if until.id in ids(claims):
            return count + ids(claims).index(until.id)
        count += len(claims)
        await broker.settle([finish(each) for each in claims])
    pytest.fail("it never began")


async def clients_of(
    broker: Broker, count: int, batch: int = 1, **where: tuple[str, ...]
) -> list[str | None]:
    """The clients of the next jobs, in the order in which they are started."""
    found: list[str | None] = []
    while len(found) < count:
        claims = await claim(broker, limit=batch, **where)
        assert claims
        found += [each.spec.client for each in claims]
    return found


@pytest.mark.parametrize("batch", [1, 7])
async def test_a_flood_of_one_client_delays_another_by_no_more_than_the_bound(
    broker: Broker, clock: ManualClock, batch: int
) -> None:
    await submit(broker, *many(FLOOD, client="A", priority=Priority.LOW))
    clock.advance(1)
    job = await submit_one(broker, client="B", priority=Priority.LOW)
    assert await starts(broker, job, batch) <= starts_before(0, 1, [1])


async def test_a_flood_of_nobody_in_particular_delays_a_client_no_more(broker: Broker) -> None:
    await submit(broker, *many(300))
    job = await submit_one(broker, client="B")
    assert await starts(broker, job) <= starts_before(0, 1, [1])


async def test_clients_share_by_weight(broker: Broker) -> None:
    await submit(
        broker, *many(60, client="A"), *many(60, client="B", weight=3), *many(60, client="C", weight=2)
    )
    turns = await clients_of(broker, 60)
    assert {one: turns.count(one) for one in "ABC"} == {"A": 10, "B": 30, "C": 20}


async def test_an_operator_s_weight_counts_more_than_a_submission_s(broker: Broker, other: Broker) -> None:
    await broker.limit_client("B", ClientTerms(weight=4))
    await submit(other, *many(50, client="A"), *many(50, client="B", weight=2))
    assert (await clients_of(broker, 20)).count("B") == 16
    await broker.limit_client("B", None)
    assert (await clients_of(broker, 30)).count("B") == 20


async def test_who_was_away_has_saved_up_no_turns(broker: Broker) -> None:
    await submit(broker, *many(100, client="A"), *many(20, client="C"))
    assert len(await clients_of(broker, 60)) == 60
    await submit(broker, *many(100, client="B"))
    assert (await clients_of(broker, 20)).count("B") == 10


async def test_a_more_urgent_job_of_a_busy_client_still_goes_first(
    broker: Broker, clock: ManualClock
) -> None:
    await submit(broker, *many(20, client="A"), *many(20, client="B", priority=Priority.LOW))
    assert set(await clients_of(broker, 10)) == {"A"}
    clock.advance(AGE_STEP_MS)
    urgent = await submit_one(broker, client="A", priority=Priority.HIGH)
    (first,) = await claim(broker, limit=1)
    assert first.spec.client == "A"
    assert await starts(broker, urgent) <= starts_before(10, 1, [1])


async def test_turns_that_were_taken_for_urgent_work_are_not_held_against_later_work(broker: Broker) -> None:
    await submit(
        broker, *many(50, client="A", priority=Priority.HIGH), *many(50, client="B", priority=Priority.HIGH)
    )
    await submit(broker, *many(50, client="C", priority=Priority.LOW))
    await clients_of(broker, 100)
    await submit(broker, *many(10, client="A", priority=Priority.LOW))
    assert (await clients_of(broker, 10)).count("A") == 5


async def test_clients_take_turns_over_all_queues_of_a_worker(broker: Broker) -> None:
    await submit(broker, *many(50, client="A", queue="a"))
    await submit(broker, *many(10, client="B", queue="b"))
    turns = await clients_of(broker, 20, queues=("a", "b"))
    assert turns.count("B") == 10


async def test_more_clients_than_a_claim_looks_at_are_all_served(broker: Broker) -> None:
    jobs = await submit(broker, *(spec(client=f"c{n}") for n in range(MOST_LINES + 20)))
    found: list[str] = []
    while claims := await claim(broker):
        found += ids(claims)
    assert sorted(found) == sorted(job.id for job in jobs)


async def test_only_so_many_jobs_of_a_task_run(broker: Broker, other: Broker) -> None:
    await submit(broker, *many(5, client="A", max_running=2), *many(5, queue="q", max_running=2))
    everywhere = ("default", "q")
    begun = await claim(broker, queues=everywhere)
    assert len(begun) == 2
    assert await claim(other, queues=everywhere) == []
    await broker.settle([finish(begun[0])])
    assert len(await claim(other, queues=everywhere)) == 1
    await broker.settle([finish(begun[1], Released())])
    assert len(await claim(other, queues=everywhere)) == 1


async def test_the_latest_submission_says_how_many_of_a_task_may_run(broker: Broker) -> None:
    await submit(broker, *many(6, max_running=1))
    assert len(await claim(broker)) == 1
    await submit_one(broker, max_running=3)
    assert len(await claim(broker)) == 2


async def test_what_is_kept_back_keeps_nobody_else_back(broker: Broker) -> None:
    await submit(broker, *many(5, max_running=1, client="A"))
    await claim(broker)
    others = await submit(broker, spec(client="A", task="other"), spec(), spec(client="B"))
    assert sorted(ids(await claim(broker))) == sorted(job.id for job in others)


async def test_many_lines_that_are_kept_back_hide_no_other(broker: Broker) -> None:
    await submit(broker, *(spec(client=f"c{n}", max_running=1) for n in range(2 * MOST_LINES)))
    await claim(broker)
    free = await submit_one(broker, client="B")
    assert ids(await claim(broker)) == [free.id]


async def test_an_operator_limits_what_a_client_runs_whenever_it_began(broker: Broker, other: Broker) -> None:
    await submit(broker, *many(8, client="A"))
    begun = await claim(broker, limit=3)
    await broker.limit_client("A", ClientTerms(max_running=2))
    assert await claim(other) == []
    await broker.settle([finish(each) for each in begun[:2]])
    assert len(await claim(other)) == 1
    await broker.limit_client("A", ClientTerms(max_running=4))
    assert len(await claim(other)) == 2


async def test_limits_hold_after_the_broker_was_opened_again(backend: Backend, clock: ManualClock) -> None:
    broker = await backend.open(clock)
    await submit(broker, *many(5, client="A"), *many(5, max_running=2, task="cube"))
    await broker.limit_client("A", ClientTerms(max_running=1))
    assert len(await claim(broker)) == 3
    await backend.close(broker)
    assert await claim(await backend.open(clock)) == []


async def test_the_jobs_of_a_lost_worker_count_until_they_are_settled(
    broker: Broker, clock: ManualClock
) -> None:
    await submit(broker, *many(5, max_running=2))
    await claim(broker, "gone", limit=2)
    clock.advance(60_000)
    taken = await broker.reclaim("r", 10)
    assert len(taken) == 2
    assert await claim(broker) == []
    await broker.settle([finish(each, Released()) for each in taken])
    assert len(await claim(broker)) == 2


async def heard(waiting: "asyncio.Future[list[Claim]]") -> int:
    """How many jobs a waiting claim got; cancelling it would be no proof, as it then looks once more."""
    done, _ = await asyncio.wait([waiting], timeout=10)
    return len(await waiting) if done else 0


async def test_a_waiting_worker_hears_that_there_is_room(broker: Broker, other: Broker) -> None:
    await submit(broker, *many(2, max_running=1))
    (first,) = await claim(broker)
    waiting = asyncio.ensure_future(other.claim("v", ("default",), 1, 20))
    await asyncio.wait([waiting], timeout=0.1)
    assert not waiting.done()
    await broker.settle([finish(first)])
    assert await heard(waiting) == 1


async def test_a_waiting_worker_hears_that_an_operator_allows_more(broker: Broker, other: Broker) -> None:
    await broker.limit_client("A", ClientTerms(max_running=1))
    await submit(broker, *many(2, client="A"))
    await claim(broker)
    waiting = asyncio.ensure_future(other.claim("v", ("default",), 1, 20))
    await asyncio.wait([waiting], timeout=0.1)
    await broker.limit_client("A", ClientTerms(max_running=2))
    assert await heard(waiting) == 1


async def test_a_cancelled_or_retried_job_leaves_and_enters_its_line(broker: Broker) -> None:
    first, second = await submit(broker, *many(2, client="A"))
    await submit(broker, *many(4, client="B"))
    await broker.cancel([first.id])
    assert set(await clients_of(broker, 2)) == {"A", "B"}
    await broker.retry([first.id])
    assert set(await clients_of(broker, 2)) == {"A", "B"}
    assert queue_stats(await broker.stats()).queued == 2
    assert (await get_one(broker, second.id)).spec.client == "A"


async def ahead_of(broker: Broker, job: Job) -> Ahead | None:
    (found,) = await broker.ahead([job.id])
    return found


async def test_a_job_knows_how_many_are_in_front_of_it(broker: Broker, clock: ManualClock) -> None:
    jobs = await submit(broker, *many(5))
    assert [found.position for found in await broker.ahead([job.id for job in jobs])] == [0, 1, 2, 3, 4]
    urgent = await submit_one(broker, priority=Priority.HIGH, task="cube" * 10)
    assert (await ahead_of(broker, urgent)).position == 0
    assert await ahead_of(broker, jobs[1]) == Ahead(position=2, tasks={"square": 1.0, "cube" * 10: 1.0})


async def test_of_other_clients_only_their_share_is_in_front(broker: Broker) -> None:
    await submit(broker, *many(100, client="A"))
    await broker.limit_client("C", ClientTerms(weight=2))
    await submit(broker, *many(100, client="C"))
    first, second = await submit(broker, *many(2, client="B"))
    assert (await ahead_of(broker, first)).position == 1 + 2
    assert (await ahead_of(broker, second)).position == 1 + 2 + 4


async def test_who_does_not_wait_has_no_place(broker: Broker) -> None:
    late = await submit_one(broker, delay_ms=1_000)
    running = await submit_one(broker)
    (claimed,) = await claim(broker)
    unknown = "00000000-0000-7000-8000-000000000000"
    assert await broker.ahead([late.id, running.id, unknown]) == [None, None, None]
    await broker.settle([finish(claimed)])
    assert await broker.ahead([running.id]) == [None]


async def test_the_clients_with_the_most_waiting_jobs_are_told(broker: Broker) -> None:
    await submit(
        broker, *many(3, client="few"), *many(2, client="many", max_running=1), *many(4, client="many")
    )
    await submit(broker, *many(2, client="Zoë", queue="q"), *many(7))
    assert [(each.queue, each.client, each.jobs) for each in await broker.clients(20)] == [
        ("default", "many", 6),
        ("default", "few", 3),
        ("q", "Zoë", 2),
    ]
    assert [each.client for each in await broker.clients(1)] == ["many", "Zoë"]


async def test_a_worker_does_not_look_again_and_again_at_what_is_kept_back(
    broker: Broker, other: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while it waits nor because the one that holds the place renews its lease."""
    await submit(broker, *many(3, max_running=1))
    assert len(await claim(broker)) == 1
    assert await claim(broker) == []
    looks = 0
    name = "_claim_when_rung" if hasattr(other, "_claim_when_rung") else "_write"
    look = getattr(other, name)

    async def counted(*args: object, **options: object) -> object:
        nonlocal looks
        looks += 1
        return await look(*args, **options)

    monkeypatch.setattr(other, name, counted)
    waiting = asyncio.ensure_future(other.claim("v", ("default",), 1, 0.5))
    for _ in range(20):
        await broker.renew(worker(), [])
        await asyncio.wait([waiting], timeout=0.01)
    assert await waiting == []
    assert looks <= 3
