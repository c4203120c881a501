"""A fault run can be made again from its seed, and its ledger counts what it is shown."""

import json
import random

import pytest

from support.faults.ledger import Ledger
from support.faults.plan import draw

STORES = ("sqlite", "redis", "valkey")


@pytest.mark.parametrize("store", STORES)
def test_a_plan_is_a_function_of_its_seed_alone(store):
    first = draw(7, store)
    random.seed(99)
    assert draw(7, store) == first
    assert draw(8, store) != first


def test_more_faults_and_jobs_do_not_change_the_first_ones():
    few, many = draw(7, "redis", faults=4), draw(7, "redis", jobs=800, faults=8)
    assert [lane[: len(short)] for lane, short in zip(many.lanes, few.lanes, strict=True)] == list(few.lanes)
    assert (few.workers, few.apis, few.slots) == (many.workers, many.apis, many.slots)


def test_every_kind_of_work_and_fault_is_drawn_sooner_or_later():
    plans = [draw(seed, "redis") for seed in range(40)]
    faults = {str(fault) for plan in plans for lane in plan.lanes for fault in lane}
    assert {"kill api", "kill worker", "kill zygote", "kill slot", "stop worker", "kill broker"} <= faults
    assert {"stop broker", "cut worker", "hold api", "mute worker", "deafen worker"} <= faults
    assert {"trap-kill worker after-claim", "trap-kill worker before-renew"} <= faults
    assert {"trap-kill worker before-settle", "trap-kill worker after-settle"} <= faults
    assert {"trap-kill api before-submit", "trap-kill api after-submit"} <= faults
    works = [work for plan in plans for work in plan.works]
    assert {work.task for work in works} == {"quick", "busy", "talking", "failing"}
    assert any(work.delay_s for work in works)
    assert any(work.cancel_after_s is not None for work in works)
    assert any(work.again for work in works)
    assert {plan.workers for plan in plans} == {1, 2, 3}
    assert {plan.apis for plan in plans} == {1, 2}


def test_a_disk_is_filled_only_where_there_is_a_small_one():
    faults = {each.part for seed in range(20) for lane in draw(seed, "sqlite").lanes for each in lane}
    narrow = {each.part for lane in draw(7, "sqlite", narrow=True).lanes for each in lane}
    assert "disk" not in faults
    assert "disk" in narrow


def test_the_works_of_a_plan_are_numbered_without_a_gap():
    works = draw(3, "valkey", jobs=123).works
    assert [work.n for work in works] == list(range(123))


GOOD = {"runs": 1, "attempted": 3, "accepted": 3, "succeeded": 1, "failed": 1, "cancelled": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"accepted": 2},
        {"succeeded": 0},
        {"lost": 1},
        {"duplicated": 1},
        {"anomalies": ["something"]},
        {"worst_recovery_s": 10.1},
    ],
    ids=str,
)
def test_a_ledger_tells_whether_the_promises_were_kept(wrong):
    assert Ledger(**GOOD).kept_its_promises
    assert not Ledger(**GOOD | wrong).kept_its_promises


def test_ledgers_are_summed_and_the_worst_recovery_is_the_worst_of_all():
    one, other = (
        Ledger(**GOOD, worst_recovery_s=2.0, worst="b"),
        Ledger(**GOOD, worst_recovery_s=1.0, worst="a"),
    )
    one.faults["kill api"] += 1
    other.faults["kill api"] += 2
    other.anomalies.append("odd")
    total = Ledger() + one + other
    assert (total.runs, total.attempted, total.worst_recovery_s, total.worst) == (2, 6, 2.0, "b")
    assert total.faults == {"kill api": 3}
    assert total.anomalies == ["odd"]


def test_a_ledger_is_printed_and_written_with_all_its_figures():
    ledger = Ledger(**GOOD, worst_recovery_s=1.5)
    ledger.faults["cut worker"] += 4
    ledger.anomalies.append("odd")
    written = json.loads(ledger.as_json())
    assert (written["accepted"], written["faults"], written["kept_its_promises"]) == (
        3,
        {"cut worker": 4},
        False,
    )
    for line in ("accepted", "worst_recovery_s", "cut worker", "ANOMALY odd"):
        assert line in ledger.as_table()
