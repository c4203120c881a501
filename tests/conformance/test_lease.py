"""One lease per worker covers all it runs; what a vanished worker ran is taken over, safely."""

import pytest
from kit.time import ManualClock
from kit.values import (
    BROKEN,
    claim,
    claim_one,
    feed,
    finish,
    get_one,
    held,
    ids,
    spec,
    submit,
    submit_one,
    worker,
)

from penstock.core.job import JobProgress, State
from penstock.core.lifecycle import Lost, Released
from penstock.ports import Broker, EventKind, Orders

LEASE_MS = 5_000
HALF = JobProgress(0.5, "half way, Zoë")


async def test_a_live_lease_is_not_reclaimed(broker: Broker, clock: ManualClock) -> None:
    await submit_one(broker)
    await claim_one(broker)
    clock.advance(LEASE_MS - 1)
    assert await broker.reclaim("r", 10) == []


async def test_a_lapsed_lease_gives_its_jobs_under_new_tokens(
    broker: Broker, other: Broker, clock: ManualClock
) -> None:
    jobs = await submit(broker, *(spec() for _ in range(3)))
    before = await claim(broker, "gone")
    clock.advance(LEASE_MS + 1)
    after = sorted(await other.reclaim("r", 10), key=lambda one: one.spec.id)
    assert [one.spec for one in after] == [job.spec for job in jobs]
    assert {one.lost_by for one in after} == {"gone"}
    assert {(one.attempt, one.losses) for one in after} == {(1, 0)}
    assert min(one.token for one in after) > max(one.token for one in before)
    for job, taken in zip(await broker.get(ids(after)), after, strict=True):
        assert (job.state, job.token, job.attempt) == (State.RUNNING, taken.token, 1)


async def test_reclaimed_jobs_are_not_reclaimed_again_while_the_reclaimer_lives(
    broker: Broker, other: Broker, clock: ManualClock
) -> None:
    await submit(broker, *(spec() for _ in range(4)))
    await claim(broker, "gone")
    clock.advance(LEASE_MS + 1)
    first = await broker.reclaim("r1", 3)
    second = await other.reclaim("r2", 10)
    assert (len(first), len(second)) == (3, 1)
    assert await broker.reclaim("r1", 10) == []
    clock.advance(LEASE_MS + 1)
    assert sorted(ids(await broker.reclaim("r3", 10))) == sorted(ids(first + second))


async def test_reclaiming_changes_no_state_and_tells_no_event(broker: Broker, clock: ManualClock) -> None:
    await submit_one(broker)
    await claim_one(broker)
    head = await broker.head()
    clock.advance(LEASE_MS + 1)
    await broker.reclaim("r", 10)
    assert await feed(broker, head) == []


async def test_a_renewal_extends_the_lease_of_all_jobs(broker: Broker, clock: ManualClock) -> None:
    await submit(broker, *(spec() for _ in range(5)))
    claims = await claim(broker)
    for _ in range(10):
        clock.advance(LEASE_MS - 1)
        assert await broker.renew(worker(), [held(one) for one in claims]) == Orders()
        assert await broker.reclaim("r", 10) == []
    clock.advance(LEASE_MS + 1)
    assert len(await broker.reclaim("r", 10)) == 5


async def test_one_worker_does_not_keep_anothers_lease_alive(broker: Broker, clock: ManualClock) -> None:
    await submit(broker, spec(), spec())
    (gone,) = await claim(broker, "gone", limit=1)
    (kept,) = await claim(broker, "kept", limit=1)
    clock.advance(LEASE_MS - 1)
    await broker.renew(worker("kept"), [held(kept)])
    clock.advance(2)
    assert ids(await broker.reclaim("r", 10)) == [gone.spec.id]


async def test_a_lease_is_kept_to_its_last_millisecond_when_another_lapses(
    broker: Broker, clock: ManualClock
) -> None:
    await submit(broker, spec(), spec())
    (gone,) = await claim(broker, "gone", limit=1)
    clock.advance(1)
    (kept,) = await claim(broker, "kept", limit=1)
    clock.advance(LEASE_MS)
    assert ids(await broker.reclaim("r", 10)) == [gone.spec.id]
    clock.advance(1)
    assert ids(await broker.reclaim("r", 10)) == [kept.spec.id]


async def test_a_paused_worker_that_nobody_replaced_keeps_its_jobs(
    broker: Broker, clock: ManualClock
) -> None:
    await submit_one(broker)
    claimed = await claim_one(broker)
    clock.advance(10 * LEASE_MS)
    assert await broker.renew(worker(), [held(claimed)]) == Orders()
    assert await broker.reclaim("r", 10) == []
    assert await broker.settle([finish(claimed)]) == [True]


async def test_a_paused_worker_that_looks_for_lost_jobs_first_keeps_its_own(
    broker: Broker, clock: ManualClock
) -> None:
    await submit_one(broker)
    claimed = await claim_one(broker)
    clock.advance(10 * LEASE_MS)
    assert await broker.reclaim("w", 10) == []
    assert await broker.settle([finish(claimed)]) == [True]


async def test_a_result_after_the_lease_counts_when_nobody_took_over(
    broker: Broker, clock: ManualClock
) -> None:
    await submit_one(broker)
    claimed = await claim_one(broker)
    clock.advance(10 * LEASE_MS)
    assert await broker.settle([finish(claimed)]) == [True]
    assert await broker.reclaim("r", 10) == []


async def test_a_paused_worker_that_was_replaced_is_told_what_it_lost(
    broker: Broker, clock: ManualClock
) -> None:
    await submit(broker, spec(), spec())
    claims = await claim(broker)
    assert await broker.settle([finish(claims[0])]) == [True]
    clock.advance(LEASE_MS + 1)
    (taken,) = await broker.reclaim("r", 10)
    late = await submit_one(broker)
    (fresh,) = await claim(broker)
    orders = await broker.renew(worker(), [held(claims[1]), held(fresh)])
    assert orders == Orders(lost=frozenset({claims[1].token}))
    assert fresh.spec.id == late.id
    assert await broker.renew(worker("r"), [held(taken)]) == Orders()


async def test_a_lost_token_stays_lost_when_the_same_worker_gets_the_job_again(
    broker: Broker, clock: ManualClock
) -> None:
    await submit_one(broker)
    old = await claim_one(broker)
    clock.advance(LEASE_MS + 1)
    (taken,) = await broker.reclaim("r", 10)
    await broker.settle([finish(taken, Lost("w"))])
    new = await claim_one(broker)
    orders = await broker.renew(worker(), [held(old, HALF), held(new)])
    assert orders == Orders(lost=frozenset({old.token}))
    assert (await get_one(broker, new.spec.id)).progress is None


async def test_a_cancelled_job_is_ordered_to_stop_until_it_is_settled(broker: Broker, other: Broker) -> None:
    await submit(broker, spec(), spec())
    stop, go_on = await claim(broker)
    await other.cancel([stop.spec.id])
    for _ in range(2):
        orders = await broker.renew(worker(), [held(stop), held(go_on)])
        assert orders == Orders(cancel=frozenset({stop.token}))
    await broker.settle([finish(stop, BROKEN)])
    assert await broker.renew(worker(), [held(go_on)]) == Orders()


async def test_progress_is_readable_and_told(broker: Broker, other: Broker) -> None:
    job = await submit_one(broker)
    claimed = await claim_one(broker)
    head = await broker.head()
    await broker.renew(worker(), [held(claimed, HALF)])
    assert (await get_one(other, job.id)).progress == HALF
    (event,) = await feed(other, head)
    assert (event.kind, event.job_id) == (EventKind.PROGRESS, job.id)
    assert event.data == {"fraction": 0.5, "message": "half way, Zoë"}


async def test_a_renewal_without_news_keeps_the_last_progress(broker: Broker) -> None:
    job = await submit_one(broker)
    claimed = await claim_one(broker)
    await broker.renew(worker(), [held(claimed, HALF)])
    head = await broker.head()
    await broker.renew(worker(), [held(claimed)])
    assert (await get_one(broker, job.id)).progress == HALF
    assert await feed(broker, head) == []


async def test_a_new_attempt_starts_without_progress(broker: Broker) -> None:
    await submit_one(broker)
    claimed = await claim_one(broker)
    await broker.renew(worker(), [held(claimed, HALF)])
    await broker.settle([finish(claimed, Released())])
    again = await claim_one(broker)
    assert (await get_one(broker, again.spec.id)).progress is None


async def test_logged_lines_are_told_in_order(broker: Broker) -> None:
    await submit_one(broker)
    claimed = await claim_one(broker)
    head = await broker.head()
    await broker.renew(worker(), [held(claimed, lines=("one", "two"))])
    await broker.renew(worker(), [held(claimed, lines=("",))])
    events = await feed(broker, head)
    assert [event.kind for event in events] == [EventKind.LOG, EventKind.LOG]
    assert [list(event.data["lines"]) for event in events] == [["one", "two"], [""]]


@pytest.mark.parametrize("reason", ["settled", "taken over", "never issued", "of another job"])
async def test_a_report_under_a_token_that_does_not_hold_is_dropped(
    broker: Broker, clock: ManualClock, reason: str
) -> None:
    await submit(broker, spec(), spec())
    claimed, neighbour = await claim(broker)
    report = held(claimed, HALF, ("a line",))
    if reason == "settled":
        await broker.settle([finish(claimed)])
    elif reason == "taken over":
        clock.advance(LEASE_MS + 1)
        await broker.reclaim("r", 10)
    elif reason == "never issued":
        report = type(report)(job_id=claimed.spec.id, token=10**9, progress=HALF)
    else:
        report = type(report)(job_id=claimed.spec.id, token=neighbour.token, progress=HALF)
    head = await broker.head()
    await broker.renew(worker(), [report])
    assert (await get_one(broker, claimed.spec.id)).progress is None
    assert await feed(broker, head) == []


async def test_a_claim_whose_answer_never_arrived_is_reclaimable_after_a_lease(
    broker: Broker, clock: ManualClock
) -> None:
    await submit(broker, spec(), spec())
    stray, known = await claim(broker)
    for _ in range(3):
        await broker.renew(worker(), [held(known)])
        assert await broker.reclaim("r", 10) == []
        clock.advance(LEASE_MS // 2)
    await broker.renew(worker(), [held(known)])
    (taken,) = await broker.reclaim("r", 10)
    assert (taken.spec.id, taken.attempt) == (stray.spec.id, 1)
    assert await broker.settle([finish(taken, Lost("w")), finish(stray), finish(known)]) == [
        True,
        False,
        True,
    ]


async def test_a_claim_on_its_way_is_not_taken_for_a_stray(broker: Broker, clock: ManualClock) -> None:
    await broker.renew(worker(), [])
    await submit_one(broker)
    claimed = await claim_one(broker)
    clock.advance(LEASE_MS)
    await broker.renew(worker(), [])
    assert await broker.reclaim("r", 10) == []
    assert await broker.renew(worker(), [held(claimed)]) == Orders()


async def test_a_retired_worker_leaves_its_jobs_at_once(broker: Broker, other: Broker) -> None:
    await submit(broker, spec(), spec())
    claims = await claim(broker, "leaver")
    await broker.renew(worker("leaver"), [held(one) for one in claims])
    await broker.retire("leaver")
    taken = await other.reclaim("r", 10)
    assert sorted(ids(taken)) == sorted(ids(claims))
    assert {one.lost_by for one in taken} == {"leaver"}
    assert await broker.settle([finish(one) for one in claims]) == [False, False]


async def test_a_retired_worker_that_left_nothing_leaves_no_trace(broker: Broker) -> None:
    await broker.renew(worker("leaver"), [])
    await broker.retire("leaver")
    await broker.retire("never known")
    assert await broker.reclaim("r", 10) == []
    assert (await broker.stats()).workers == ()


async def test_workers_are_listed_with_what_they_hold(
    broker: Broker, other: Broker, clock: ManualClock
) -> None:
    busy = worker("busy", node="n1", host="h1", pid=42, slots=3, queues=("a", "b"), draining=True)
    await broker.renew(busy, [])
    await submit(broker, spec(), spec())
    claims = await claim(broker, "busy")
    clock.advance(10)
    await broker.renew(worker("idle"), [])
    await broker.renew(busy, [held(one) for one in claims])
    first, second = sorted((await other.stats()).workers, key=lambda one: one.info.id)
    assert (first.info, first.running, first.live, first.seen_at) == (busy, 2, True, clock.now)
    assert (second.info, second.running, second.live) == (worker("idle"), 0, True)


async def test_the_latest_word_of_a_worker_is_the_one_listed(broker: Broker) -> None:
    await broker.renew(worker(busy=1), [])
    await broker.renew(worker(busy=2, draining=True), [])
    await claim(broker)
    assert [one.info for one in (await broker.stats()).workers] == [worker(busy=2, draining=True)]


async def test_a_worker_is_live_until_its_lease_lapses_and_then_forgotten(
    broker: Broker, clock: ManualClock
) -> None:
    await broker.renew(worker("gone"), [])
    await submit_one(broker)
    await claim_one(broker, "gone")
    clock.advance(LEASE_MS)
    assert [one.live for one in (await broker.stats()).workers] == [True]
    clock.advance(1)
    assert [(one.live, one.running) for one in (await broker.stats()).workers] == [(False, 1)]
    await broker.renew(worker("r"), [])
    await broker.reclaim("r", 10)
    assert [(one.info.id, one.running) for one in (await broker.stats()).workers] == [("r", 1)]


async def test_a_vanished_worker_that_held_nothing_is_forgotten(broker: Broker, clock: ManualClock) -> None:
    await broker.renew(worker("gone"), [])
    clock.advance(LEASE_MS + 1)
    assert await broker.reclaim("r", 10) == []
    assert "gone" not in [one.info.id for one in (await broker.stats()).workers]


async def test_a_vanished_worker_is_not_forgotten_while_it_holds_jobs(
    broker: Broker, clock: ManualClock
) -> None:
    await broker.renew(worker("gone"), [])
    await submit(broker, spec(), spec())
    await claim(broker, "gone")
    clock.advance(LEASE_MS + 1)
    assert len(await broker.reclaim("r", 1)) == 1
    assert [one.running for one in (await broker.stats()).workers if one.info.id == "gone"] == [1]
    assert len(await broker.reclaim("r", 1)) == 1
    assert len(await broker.reclaim("r", 1)) == 0
    assert "gone" not in [one.info.id for one in (await broker.stats()).workers]
