"""Who may be answered by whom."""

import msgspec
import pytest
from msgspec.structs import replace

from penstock.core import sharing
from penstock.core.ids import new_id
from penstock.core.job import Job, JobSpec, Priority, State
from penstock.core.lifecycle import accept, cancel, revive, start

NOW = 1_700_000_000_000


def asking(**changes) -> JobSpec:
    return JobSpec(**({"id": new_id(), "task": "t", "cache_ms": 1_000} | changes))


def job(state=State.QUEUED, **changes) -> Job:
    return replace(accept(asking(), NOW), state=state, **changes)


@pytest.mark.parametrize(
    ("spec", "looks"),
    [(asking(), True), (asking(refresh=True), False), (asking(cache_ms=0), False)],
)
def test_whoever_may_share_and_does_not_refresh_looks(spec, looks):
    assert sharing.looks(spec) is looks


@pytest.mark.parametrize("state", State)
def test_only_a_job_that_goes_on_is_joined(state):
    assert sharing.may_join(job(state), asking(), NOW) is not state.final
    assert not sharing.may_join(job(state, cancel_requested=True), asking(), NOW)


@pytest.mark.parametrize(
    ("due", "delay", "joins"), [(10, 0, False), (10, 9, False), (10, 10, True), (0, 0, True)]
)
def test_a_job_put_off_is_joined_by_those_that_would_run_no_sooner(due, delay, joins):
    put_off = job(State.SCHEDULED, due_at=NOW + due)
    assert sharing.may_join(put_off, asking(delay_ms=delay), NOW) is joins
    assert sharing.may_join(replace(put_off, started_at=NOW), asking(delay_ms=delay), NOW)


def test_a_joiner_is_counted_and_only_ever_raises():
    low = replace(job(), spec=asking(priority=Priority.LOW))
    high = sharing.join(low, asking(priority=Priority.HIGH))
    assert (high.waiters, high.spec.priority) == (2, Priority.HIGH)
    assert sharing.join(high, asking(priority=Priority.LOW)).spec.priority is Priority.HIGH
    assert replace(high, waiters=1, spec=low.spec) == low


def test_a_cancel_takes_one_waiter_and_the_last_one_stops_the_job():
    shared = sharing.join(job(), asking())
    alone = cancel(shared, NOW)
    assert (alone.state, alone.waiters) == (State.QUEUED, 1)
    assert cancel(alone, NOW).state is State.CANCELLED
    forced = cancel(shared, NOW, force=True)
    assert forced.state is State.CANCELLED
    assert revive(forced, NOW).waiters == 1


def test_a_job_that_is_to_stop_for_all_loses_no_waiters():
    running = sharing.join(start(job(), "w", 1, NOW), asking())
    stopping = cancel(running, NOW, force=True)
    assert stopping.cancel_requested
    assert cancel(stopping, NOW) == stopping


def test_a_hit_is_a_job_of_its_own_with_the_answer_of_another():
    source = job(
        State.SUCCEEDED, worker="n/1", started_at=NOW, finished_at=NOW + 70, result=msgspec.Raw(b"1")
    )
    mine = asking()
    hit = sharing.hit(mine, source, NOW + 99)
    assert (hit.spec, hit.state, hit.cached, hit.result, hit.worker) == (
        mine,
        State.SUCCEEDED,
        True,
        source.result,
        "n/1",
    )
    assert sharing.run_ms(source) == 70
    assert sharing.run_ms(hit) == 0
