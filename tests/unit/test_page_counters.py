"""A page without a node computes by itself: the same task, told step by step, and nothing waits for it."""

import threading

import pytest

from penstock.cli.page import counters
from penstock.cli.page.counters import OwnCounter
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import State
from penstock.tasks.habitat.reference import packaged
from penstock.tasks.habitat.task import Request, allocate
from support.wait import until

DEMAND = {
    "demand_df": {"habitat_name": ["Lowland meadow"], "units_required": [0.8]},
    "target_lpa": "Winchester",
    "target_nca": "South Downs",
}


@pytest.fixture
def counter(monkeypatch):
    monkeypatch.delenv("PENSTOCK_REFERENCE_URL", raising=False)
    made = OwnCounter()
    yield made
    made._threads.shutdown()


def ended(counter, job_id):
    return until(lambda: (found := counter.look(job_id)).state.final and found, what="it has ended")


def test_its_answer_is_the_tasks(counter):
    standing = ended(counter, counter.submit(DEMAND))
    assert standing.state is State.SUCCEEDED
    assert standing.result == allocate(Request(**DEMAND), packaged()).model_dump(mode="json")


def test_a_job_is_queued_then_started_with_its_progress(counter, monkeypatch):
    told = []
    tell = counter._set
    monkeypatch.setattr(counter, "_set", lambda job, standing: (told.append(standing), tell(job, standing)))
    ended(counter, counter.submit(DEMAND))
    states = [standing.state for standing in told]
    assert states[:2] == [State.QUEUED, State.RUNNING]
    assert [each.fraction for each in told if each.state is State.RUNNING] == [0.0, 0.1, 0.3, 0.5, 0.7, 0.9]
    assert states[-1] is State.SUCCEEDED


def test_whoever_asks_does_not_wait_for_the_computation(counter):
    held = threading.Event()
    for _ in range(counters.THREADS):
        counter._threads.submit(held.wait, 20)
    job_id = counter.submit(DEMAND)
    assert counter.look(job_id).state is State.QUEUED
    held.set()
    assert ended(counter, job_id).state is State.SUCCEEDED


def test_a_demand_that_nobody_meets_is_told(counter):
    impossible = DEMAND | {"demand_df": {"habitat_name": ["Moon dust"], "units_required": [1]}}
    standing = ended(counter, counter.submit(impossible))
    assert (standing.state, standing.error) == (
        State.FAILED,
        "no legal option for: Moon dust (1 units, unknown habitat)",
    )


def test_what_is_no_demand_is_refused_at_once(counter):
    with pytest.raises(PenstockError, match="demand_df") as refused:
        counter.submit(DEMAND | {"demand_df": {"habitat_name": [], "units_required": []}})
    assert refused.value.code is ErrorCode.VALIDATION_ERROR


def test_old_jobs_are_forgotten(counter, monkeypatch):
    monkeypatch.setattr(counters, "MOST_KEPT", 2)
    first, *_ = [counter.submit(DEMAND) for _ in range(3)]
    assert (counter.look(first).state, counter.look(first).result) == (State.FAILED, None)
