"""The ledger counts what became of messages; the verdict follows from it."""

from collections import Counter

import pytest

from penstock.cli.experiments import promises
from penstock.cli.experiments.board import Lines
from penstock.cli.experiments.ledger import Disturbance, Sent, count, spread
from penstock.cli.experiments.plan import Mode, Plan
from penstock.cli.experiments.promises import Promise
from penstock.cli.experiments.runner import found
from penstock.core.errors import PenstockError
from penstock.core.submission import JobView

TEXTS = ("m-0", "m-1", "m-2")


def at(second):
    return f"2026-01-01T00:00:{second:06.3f}Z"


NEW_YEAR = 1_767_225_600.0


def job(name, state="succeeded", **fields):
    usual = {
        "task": "message",
        "queue": "messages",
        "priority": "medium",
        "params": {},
        "attempt": 1,
        "max_attempts": 3,
        "created_at": at(0),
        "due_at": at(0),
        "started_at": at(1),
        "finished_at": at(2),
        "initiated_by": "api",
        "handled_by": "worker-1",
        "checked_by": "api",
    }
    return JobView(id=name, state=state, **usual | fields)


def ledger(lines=("m-0", "m-1", "m-2"), disturbances=(), sent=None, **jobs):
    sent = sent or [Sent(text, 200, 0.01, f"id-{text}") for text in TEXTS]
    views = {f"id-{text}": job(f"id-{text}") for text in TEXTS} | {
        f"id-m-{name[1:]}": view for name, view in jobs.items()
    }
    return count(sent, views, None if lines is None else Counter(lines), disturbances, 2.0)


def test_all_is_well():
    found = ledger()
    assert (found.attempted, found.accepted, found.succeeded) == (3, 3, 3)
    assert (found.lost, found.duplicated, found.failed, found.re_executed) == (0, 0, 0, 0)
    assert found.shares == {"worker-1": 3}
    assert found.messages_per_s == 1.5
    assert all(each.kept for each in promises.of_every_run(found))


@pytest.mark.parametrize(
    ("lines", "jobs", "figures"),
    [
        (["m-0", "m-1"], {}, {"lost": 1}),
        (["m-0", "m-1", "m-1", "m-1", "m-2"], {}, {"duplicated": 2, "lost": 0}),
        (["m-0", "m-1", "m-2", "m-"], {}, {"foreign_lines": 1, "lost": 0}),
        (TEXTS, {"m1": None}, {"lost": 1, "succeeded": 2}),
        (TEXTS, {"m1": job("id-m-1", "running")}, {"lost": 1, "succeeded": 2}),
        (["m-0", "m-2"], {"m1": job("id-m-1", "failed")}, {"failed": 1, "lost": 0}),
        (TEXTS, {"m1": job("id-m-1", losses=1)}, {"re_executed": 1}),
        (TEXTS, {"m1": job("id-m-1", attempt=2)}, {"re_executed": 1}),
        (None, {}, {"lost": 0, "duplicated": 0}),
    ],
)
def test_what_is_amiss_is_counted(lines, jobs, figures):
    found = ledger(lines, **jobs)
    assert {name: getattr(found, name) for name in figures} == figures


def test_a_message_that_got_no_answer_may_be_done():
    sent = [Sent("m-0", 200, 0.01, "id-m-0"), Sent("m-1", 0, 9.0, None), Sent("m-2", 503, 5.0, None)]
    found = ledger(["m-0", "m-1"], sent=sent)
    assert (found.accepted, found.refused, found.lost, found.done_unasked) == (1, 2, 0, 1)
    assert found.statuses == {"200": 1, "503": 1, "none": 1}


def test_recoveries_are_counted_from_the_end_of_each_disturbance():
    broken = [Disturbance("a", NEW_YEAR + 2, NEW_YEAR + 3), Disturbance("b", NEW_YEAR + 9, NEW_YEAR + 10)]
    jobs = {
        "m0": job("id-m-0", started_at=at(3.5)),
        "m1": job("id-m-1", started_at=at(8), losses=1),
        "m2": job("id-m-2", started_at=at(12)),
    }
    first, second = ledger(disturbances=broken, **jobs).recoveries
    assert (first.down_s, first.first_start_s, first.interrupted_s) == (1.0, 0.5, 5.0)
    assert (second.first_start_s, second.interrupted_s) == (2.0, None)
    assert ledger(disturbances=broken, **jobs).worst_recovery_s == 5.0


def test_work_that_does_not_go_on_breaks_a_promise():
    never = ledger(disturbances=[Disturbance("broker away", NEW_YEAR + 20, NEW_YEAR + 21)])
    assert promises.recovered(never) == Promise(
        "jobs were taken again after each disturbance", kept=False, found="not after: broker away"
    )


def test_verdicts():
    good, bad = ledger(), ledger(["m-0", "m-1", "m-1"])
    kept = promises.judge(good, promises.of_every_run(good), Mode.AT_LEAST_ONCE)
    broken = promises.judge(bad, promises.of_every_run(bad), Mode.AT_LEAST_ONCE)
    assert (kept.kept, kept.words) == (True, "kept: 3 accepted, lost 0, duplicated 0, re-executed 0")
    assert not broken.kept
    assert "1 lost" in broken.words
    assert "1 duplicated" in broken.words


def test_at_most_once_must_show_a_loss():
    assert promises.judge(ledger(["m-0", "m-1"]), [], Mode.AT_MOST_ONCE).kept
    nothing = promises.judge(ledger(), [], Mode.AT_MOST_ONCE)
    assert not nothing.kept
    assert nothing.words.startswith("showed nothing")


def test_nothing_accepted_is_no_success():
    nothing = ledger([], sent=[Sent("m-0", 404, 0.01, None)])
    assert not all(each.kept for each in promises.of_every_run(nothing))


def test_percentiles_by_nearest_rank():
    found = spread([float(number) for number in range(1, 101)])
    assert (found.p50, found.p90, found.p99, found.max) == (50.0, 90.0, 99.0, 100.0)
    assert spread([]) is None


def test_lines_are_read_as_they_grow(tmp_path):
    path = tmp_path / "out"
    lines = Lines(path)
    assert lines.read() == Counter()
    path.write_text("t\tm-0\nt\tm-")
    assert lines.read() == Counter(["m-0"])
    with path.open("a") as file:
        file.write("1\nt\tm-0\n")
    assert lines.read() == Counter(["m-0", "m-0", "m-1"])


@pytest.mark.parametrize("given", [{"messages": 0}, {"parallel": 0}, {"delay_ms": -1}, {"outage_s": -0.1}])
def test_a_plan_that_cannot_be_run_is_refused(given):
    with pytest.raises(PenstockError, match=f"too small: {next(iter(given))}"):
        Plan().changed(**given)


def test_a_plan_changes_only_what_is_given():
    assert Plan().changed(messages=7, parallel=None) == Plan(messages=7)


def test_the_usual_figures():
    kill, scale, slam, restart = (
        found()[name].PLAN for name in ("kill-inflight", "scale-workers", "slam-api", "restart-persistence")
    )
    assert (kill.messages, kill.parallel, kill.kill_after, kill.delay_ms) == (200, 50, 10, 500)
    assert (scale.messages, scale.parallel, scale.workers) == (300, 80, 3)
    assert (slam.messages, slam.parallel) == (1000, 100)
    assert restart.messages == 20
