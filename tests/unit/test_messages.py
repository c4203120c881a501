"""Every request of the client as a value, and how its answers are read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client import messages
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.submission import Submission

JOB = {
    "id": "j",
    "task": "noop",
    "state": "queued",
    "queue": "default",
    "priority": "medium",
    "params": {},
    "attempt": 0,
    "max_attempts": 4,
    "created_at": "2026-01-01T00:00:00.000Z",
    "due_at": "2026-01-01T00:00:00.000Z",
    "initiated_by": "a",
    "checked_by": "b",
}


def sent(call):
    return (call.method, call.path, dict(call.query), None if call.body is None else json.loads(call.body))


@pytest.mark.parametrize(
    ("call", "request_line"),
    [
        (messages.get("j"), ("GET", "/jobs/j", {}, None)),
        (messages.get("j", 2.5), ("GET", "/jobs/j", {"wait": 2.5}, None)),
        (messages.cancel("j"), ("DELETE", "/jobs/j", {}, None)),
        (messages.retry("j"), ("POST", "/jobs/j/retry", {}, None)),
        (messages.find(state="failed", queue=None), ("GET", "/jobs", {"state": "failed"}, None)),
        (messages.tasks(), ("GET", "/tasks", {}, None)),
        (messages.task("noop"), ("GET", "/tasks/noop", {}, None)),
        (messages.report("/stats"), ("GET", "/stats", {}, None)),
        (messages.switch_queue("q", paused=True), ("POST", "/queues/q/pause", {}, None)),
        (messages.switch_queue("q", paused=False), ("POST", "/queues/q/resume", {}, None)),
        (
            messages.submit("noop", {"n": 1}, 3.0, {"priority": "high", "queue": None}),
            ("POST", "/jobs", {"wait": 3.0}, {"task": "noop", "params": {"n": 1}, "priority": "high"}),
        ),
        (
            messages.submit_many([{"task": "a"}, Submission(task="b", max_attempts=2)]),
            ("POST", "/batches", {}, {"jobs": [{"task": "a"}, {"task": "b", "max_attempts": 2}]}),
        ),
    ],
)
def test_requests(call, request_line):
    assert sent(call) == request_line


def test_time_the_server_may_take_goes_with_the_request():
    assert messages.get("j", 30).wait_s == 30
    assert messages.submit("noop", {}, 30, {}).wait_s == 30
    assert messages.cancel("j").wait_s == 0


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_ids_stay_one_part_of_the_path(job_id):
    path = messages.retry(job_id).path
    assert path.startswith("/jobs/")
    assert path.endswith("/retry")
    assert path.count("/") == 3
    assert path.isascii()
    assert not set(path) & set("?# ")


def answer(value, status=200, **options):
    return messages.read(messages.get("j"), status, json.dumps(value).encode(), **options)


def test_answers_become_models():
    assert answer(JOB).state == "queued"
    found = messages.read(messages.find(), 200, json.dumps({"jobs": [JOB, JOB], "next": None}).encode())
    assert [job.id for job in found] == ["j", "j"]


def test_field_of_a_newer_node_is_no_obstacle():
    assert answer(JOB | {"shard": 7}).id == "j"


def test_errors_become_errors():
    body = {"code": "CONFLICT", "message": "no", "details": {"state": "queued"}, "request_id": "r"}
    with pytest.raises(PenstockError) as raised:
        answer({"error": body}, 409, retry_after="3")
    error = raised.value
    assert (error.code, error.message, error.details, error.retry_after_s) == (
        ErrorCode.CONFLICT,
        "no",
        {"state": "queued"},
        3.0,
    )


@pytest.mark.parametrize("retry_after", [None, "", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "-1"])
def test_time_to_come_back_that_is_no_number_is_ignored(retry_after):
    with pytest.raises(PenstockError) as raised:
        answer({"error": {"code": "QUEUE_FULL", "message": "full"}}, 503, retry_after=retry_after)
    assert (raised.value.code, raised.value.retry_after_s) == (ErrorCode.QUEUE_FULL, None)


def test_refusal_in_a_batch_is_raised():
    receipts = [{"admission": "accepted", "job": JOB}, {"error": {"code": "TASK_UNKNOWN", "message": "no"}}]
    with pytest.raises(PenstockError) as raised:
        messages.read(messages.submit_many([]), 200, json.dumps({"receipts": receipts}).encode())
    assert raised.value.code is ErrorCode.TASK_UNKNOWN


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "jobs", "code"]), inner),
)


@given(
    st.binary() | JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([200, 202, 301, 400, 404, 422, 500, 502, 503]),
)
def test_whatever_answers_becomes_an_error_of_ours(body, status):
    with pytest.raises(PenstockError) as raised:
        messages.read(messages.get("j"), status, body)
    assert raised.value.code is ErrorCode.NODE_UNREACHABLE
    assert "GET /jobs/j" in raised.value.message
    assert str(status) in raised.value.message
