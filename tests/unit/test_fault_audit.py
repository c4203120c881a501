"""The audit of a fault run finds what it is there to find: each loss and double of the kinds there are."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from penstock.core.errors import FailureCode
from penstock.core.job import Job, JobError, JobSpec, State
from penstock.ports import Event, EventKind
from support.faults.audit import count_doubles, what_is_wrong
from support.faults.clients import Sent
from support.faults.inject import Suffered
from support.faults.ledger import Ledger
from support.faults.plan import Fault, Work, draw
from support.faults.recovery import Execution, Outages, hit, recover

QUICK = Work(4, "quick", {"n": 4})
FAILING = Work(4, "failing", {"n": 4})
CANCELLED = Work(4, "quick", {"n": 4}, cancel_after_s=0.1)


def job(state: State, result: bytes | None = None, **changes: Any) -> Job:
    raw = None if result is None else msgspec.Raw(result)
    return Job(spec=JobSpec(id="j", task="quick"), state=state, created_at=0, due_at=0, result=raw, **changes)


def event(at: float, kind: EventKind, job_id: str = "j", data: Mapping[str, Any] | None = None) -> Event:
    return Event(id=str(at), at=int(at * 1000), job_id=job_id, kind=kind, data=data or {})


def running(at: float, node: str, job_id: str = "j") -> Event:
    return event(at, EventKind.RUNNING, job_id, {"worker": f"{node}/1-a", "attempt": 1})


@pytest.mark.parametrize(
    ("work", "found", "begun"),
    [
        (QUICK, None, 1),
        (QUICK, job(State.QUEUED), 1),
        (QUICK, job(State.RUNNING), 1),
        (QUICK, job(State.SUCCEEDED, b"5"), 1),
        (QUICK, job(State.SUCCEEDED), 1),
        (QUICK, job(State.SUCCEEDED, b"4"), 0),
        (QUICK, job(State.CANCELLED), 1),
        (QUICK, job(State.FAILED, error=JobError(FailureCode.WORKER_LOST, "lost")), 6),
        (FAILING, job(State.SUCCEEDED, b"4"), 1),
    ],
)
def test_a_loss_is_found(work, found, begun):
    assert what_is_wrong(work, found, begun)


@pytest.mark.parametrize(
    ("work", "found", "begun"),
    [
        (QUICK, job(State.SUCCEEDED, b"4"), 1),
        (QUICK, job(State.SUCCEEDED, b"4"), 3),
        (CANCELLED, job(State.SUCCEEDED, b"4"), 1),
        (CANCELLED, job(State.CANCELLED), 0),
        (FAILING, job(State.FAILED), 2),
    ],
)
def test_what_ended_as_it_should_is_not_called_a_loss(work, found, begun):
    assert what_is_wrong(work, found, begun) == ""


@pytest.mark.parametrize(
    ("events", "doubles"),
    [
        ([event(1, EventKind.QUEUED), event(2, EventKind.SUCCEEDED)], 0),
        ([event(1, EventKind.SUCCEEDED), event(2, EventKind.SUCCEEDED)], 1),
        ([event(1, EventKind.CANCELLED), event(2, EventKind.SUCCEEDED)], 1),
        ([event(1, EventKind.QUEUED), event(1, EventKind.QUEUED, "unknown")], 1),
    ],
)
def test_a_double_is_found(events, doubles):
    ledger = Ledger()
    count_doubles(ledger, events, Sent(jobs={4: "j"}))
    assert (ledger.duplicated, len(ledger.anomalies)) == (doubles, doubles)


KILL = Suffered(Fault(0, "kill", "worker"), began=10.0, ended=12.0, node="w")


def outages(*suffered: Suffered, workers: int = 1) -> Outages:
    return Outages(list(suffered), replace(draw(1, "redis"), workers=workers, apis=1))


def test_recovery_lasts_until_a_job_that_ran_there_runs_again():
    events = [running(9, "w"), event(14, EventKind.QUEUED), running(15, "x"), event(19, EventKind.SUCCEEDED)]
    assert hit(KILL, events, [], {}) == [("j", 15.0)]


def test_jobs_that_ran_elsewhere_or_at_another_time_were_not_hit():
    elsewhere = [running(9, "x"), event(15, EventKind.SUCCEEDED)]
    before = [running(5, "w", "k"), event(9, EventKind.SUCCEEDED, "k")]
    after = [running(11, "w", "l"), event(15, EventKind.SUCCEEDED, "l")]
    assert hit(KILL, elsewhere + before + after, [], {}) == []


def test_a_slot_hits_only_what_it_ran():
    slot = Suffered(Fault(0, "kill", "slot"), began=10.0, ended=10.0, node="w", pid=7)
    events = [running(9, "w", name) for name in "jk"]
    events += [event(13, EventKind.SUCCEEDED, name) for name in "jk"]
    executions = [Execution(1, 7, 9.5), Execution(2, 8, 9.5)]
    assert hit(slot, events, executions, {"j": 1, "k": 2}) == [("j", 13.0)]


def test_the_worst_recovery_is_kept_with_its_reason():
    ledger = Ledger()
    recover(ledger, KILL, [("j", 15.0), ("k", 13.0)], Sent(), outages(KILL))
    assert (ledger.recovered, ledger.worst_recovery_s) == (2, 3.0)
    assert ledger.worst.startswith("j after kill worker")


def test_requests_that_waited_when_an_api_came_back_count_too():
    ledger = Ledger()
    api = Suffered(Fault(0, "kill", "api"), began=10.0, ended=12.0, node="a")
    recover(ledger, api, [], Sent(requests=[(11.0, 12.5), (9.0, 11.0), (12.1, 19.0)]), outages(api))
    assert (ledger.recovered, ledger.worst_recovery_s) == (1, 0.5)


def test_time_without_a_worker_or_the_broker_is_not_recovery():
    again = Suffered(Fault(0, "kill", "worker"), began=13.0, ended=16.0, node="worker-0")
    broker = Suffered(Fault(0, "kill", "broker"), began=17.0, ended=18.5)
    slot = Suffered(Fault(0, "kill", "slot"), began=18.5, ended=18.8, node="worker-0", pid=7)
    assert outages(again, broker, slot).usable_s("worker", 12.0, 19.0) == pytest.approx(2.5)
    assert outages(again, broker, slot).usable_s("api", 12.0, 19.0) == pytest.approx(5.5)
    assert outages(again, workers=2).usable_s("worker", 12.0, 19.0) == pytest.approx(7.0)
