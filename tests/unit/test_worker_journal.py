import itertools
import time

import msgspec
import pytest
from structlog.testing import capture_logs

from penstock.core.job import JobError, JobSpec
from penstock.core.lifecycle import Cancelled, Failed, Released, Succeeded
from penstock.worker.journal import LINES_PER_SECOND, Journal

SPEC = JobSpec(id="j1", task="t", request_id="r1")
DONE = Succeeded(msgspec.Raw(b"1"))


@pytest.fixture
def seconds(monkeypatch):
    """Time that stands still until it is moved: ``next(seconds)``."""
    clock = itertools.count(1000)
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def tick():
        for now[0] in map(float, clock):
            yield now[0]

    moving = tick()
    next(moving)
    return moving


def test_each_attempt_gets_a_line_with_what_it_takes_to_find_it(seconds):
    with capture_logs() as written:
        journal = Journal("w1")
        journal.finished(SPEC, 2, DONE, 12.34)
    assert written == [
        {
            "event": "job succeeded",
            "log_level": "info",
            "worker": "w1",
            "job": "j1",
            "task": "t",
            "attempt": 2,
            "request": "r1",
            "elapsed_ms": 12.3,
        }
    ]


def test_what_a_task_says_carries_job_attempt_and_request(seconds):
    with capture_logs() as written:
        Journal("w1").said(SPEC, 2, "stdout", "hello")
    (line,) = written
    assert (line["event"], line["stream"], line["text"]) == ("job says", "stdout", "hello")
    assert (line["job"], line["attempt"], line["request"]) == ("j1", 2, "r1")


@pytest.mark.parametrize(
    ("outcome", "event"),
    [(DONE, "job succeeded"), (Cancelled(), "job cancelled"), (Released(), "job released")],
)
def test_many_lines_become_a_count(seconds, outcome, event):
    with capture_logs() as written:
        journal = Journal("w1")
        for _ in range(500):
            journal.finished(SPEC, 1, outcome, 1.0)
        assert len(written) == LINES_PER_SECOND
        next(seconds)
        journal.finished(SPEC, 1, outcome, 1.0)
    assert written[-2]["event"] == f"{event} (many)"
    assert written[-2]["count"] == 500 - LINES_PER_SECOND
    assert written[-1]["event"] == event


def test_a_flood_of_prints_becomes_a_count(seconds):
    with capture_logs() as written:
        journal = Journal("w1")
        for _ in range(5_000):
            journal.said(SPEC, 1, "stdout", "again")
        journal.flush()
    assert len(written) == LINES_PER_SECOND + 1
    assert written[-1]["count"] == 5_000 - LINES_PER_SECOND


def test_a_failure_always_gets_its_line(seconds):
    failed = Failed(JobError("TASK_ERROR", "ValueError: no"))
    with capture_logs() as written:
        journal = Journal("w1")
        for _ in range(500):
            journal.finished(SPEC, 1, DONE, 1.0)
        journal.finished(SPEC, 1, failed, 1.0)
    assert written[-1]["event"] == "job failed"
    assert (written[-1]["code"], written[-1]["error"]) == ("TASK_ERROR", "ValueError: no")
