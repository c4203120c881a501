"""What a job has in front of it, and how long that takes."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.fairness import stride
from penstock.core.forecast import Ahead, LineAhead, ahead, eta_s, learnt
from penstock.worker.runtimes import MOST_TASKS, WINDOW, RunTimes


def line(client="", before=0, beside=0, weight=1, tasks=("t",)):
    return LineAhead(client=client, stride=stride(weight), before=before, beside=beside, tasks=tasks)


def test_all_older_jobs_of_the_same_client_are_in_front():
    assert ahead("", stride(1), [line(beside=3), line(before=2)]) == Ahead(position=5, tasks={"t": 5.0})
    assert ahead("", stride(1), []) == Ahead(position=0, tasks={})


def test_another_client_has_no_more_in_front_than_its_share_and_what_is_more_urgent():
    lines = [line("A", beside=1), line("B", before=10, beside=500), line("C", beside=500, weight=3)]
    assert ahead("A", stride(1), lines).position == 1 + (10 + 2) + 6
    assert ahead("A", stride(1), [line("A"), line("B", beside=1), line("B", beside=5)]).position == 1


def test_samples_stand_for_their_lines():
    found = ahead("", stride(1), [line(beside=6, tasks=("a", "a", "b")), line(beside=0, tasks=())])
    assert found.tasks == pytest.approx({"a": 4.0, "b": 2.0})


counts = st.dictionaries(st.sampled_from("abc"), st.integers(0, 200), min_size=1)


@given(
    jobs=st.lists(st.sampled_from([10.0, 10.0, 50.0]), min_size=1, max_size=300),
    slots=st.integers(1, 8),
)
def test_a_forecast_is_near_what_happens_when_nothing_else_comes(jobs, slots):
    """Each slot takes the next job as soon as it is free; a forecast is off by at most a job or so."""
    tasks = {f"t{ms}": jobs.count(ms) * 1.0 for ms in set(jobs)}
    free = [0.0] * slots
    for ms in jobs:
        heapq.heapreplace(free, free[0] + ms)
    expected = eta_s(Ahead(position=len(jobs), tasks=tasks), 0, slots, {f"t{ms}": ms for ms in set(jobs)})
    assert abs(expected * 1000 - min(free)) <= max(jobs)


@given(tasks=counts, more=st.integers(0, 50), slots=st.integers(1, 9))
def test_more_work_is_never_sooner_and_more_slots_are_never_later(tasks, more, slots):
    paces = dict.fromkeys("abc", 20.0)
    now = eta_s(Ahead(position=sum(tasks.values()), tasks=tasks), 0, slots, paces)
    fuller = {name: jobs + more for name, jobs in tasks.items()}
    assert now <= eta_s(Ahead(position=sum(fuller.values()), tasks=fuller), 0, slots, paces)
    assert now >= eta_s(Ahead(position=sum(tasks.values()), tasks=tasks), 0, slots + 1, paces)


def test_nothing_is_forecast_without_slots_or_knowledge():
    waits = Ahead(position=3, tasks={"a": 3.0})
    assert eta_s(waits, 0, 0, {"a": 5.0}) is None
    assert eta_s(waits, 0, 1, {}) is None
    assert eta_s(Ahead(position=4, tasks={"a": 2.0, "new": 2.0}), 0, 1, {"a": 1000.0}) == 4.0


def test_the_next_one_waits_for_half_a_run_only_where_every_slot_is_busy():
    nothing = Ahead(position=0, tasks={})
    assert eta_s(nothing, 1, 2, {"a": 1000.0}) == 0.0
    assert eta_s(nothing, 2, 2, {"a": 1000.0}) == 0.5


def test_workers_opinions_are_averaged():
    assert learnt([{"a": 1.0, "b": 5.0}, {"a": 3.0}, {}]) == {"a": 2.0, "b": 5.0}


def test_run_times_are_medians_of_the_last_attempts():
    times = RunTimes()
    for ms in [900.0] * WINDOW + [5.0] * (WINDOW - 1) + [7.0]:
        times.learn("a", ms)
    assert times.usual() == {"a": 5.0}
    times.learn("b", 1.23456)
    assert times.usual() == {"a": 5.0, "b": 1.235}


def test_only_so_many_tasks_are_told():
    times = RunTimes()
    times.learn("often", 1.0)
    for n in range(2 * MOST_TASKS):
        times.learn(f"t{n}", 1.0)
        times.learn("often", 1.0)
        times.usual()
    assert len(times.usual()) == MOST_TASKS
    assert "often" in times.usual()
