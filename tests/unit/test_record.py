"""How a job becomes a record, which news moves it on, and what a client may ask for."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from penstock.core.errors import PenstockError
from penstock.core.job import Job, JobError, JobSpec, Priority, State
from penstock.core.record import (
    LONGEST_BODY,
    Asked,
    Told,
    advance,
    asked_for,
    is_news,
    needs_a_look,
    record_of,
    storable,
)
from penstock.core.record_query import JobPage, Mark, Sort, read_mark
from penstock.ports import Event, EventKind
from penstock.service.pages import joins_of, told_by

FINAL = [State.SUCCEEDED, State.FAILED, State.CANCELLED]


def job(**fields):
    spec = {"id": "j", "task": "price", "params": msgspec.Raw(b'{"a":1}'), "client": "ada", "request_id": "r"}
    spec |= fields.pop("spec", {})
    told = {"state": State.QUEUED, "created_at": 10, "due_at": 10} | fields
    return Job(spec=JobSpec(**spec), **told)


def told(state, at, **data):
    return Told("j", at, state, data)


def test_a_record_has_what_the_job_has():
    ended = job(
        spec={"priority": Priority.HIGH, "queue": "long", "parent_id": "p", "initiated_by": "n"},
        state=State.SUCCEEDED,
        attempt=2,
        worker="n/1",
        started_at=20,
        finished_at=30,
        result=msgspec.Raw(b"[1, 2]"),
    )
    record = record_of(ended)
    assert (record.id, record.task, record.state, record.queue) == ("j", "price", State.SUCCEEDED, "long")
    assert (record.params, record.params_bytes) == ('{"a":1}', 7)
    assert (record.result, record.result_bytes) == ("[1, 2]", 6)
    assert (record.created_at, record.started_at, record.finished_at, record.told_at) == (10, 20, 30, 30)
    assert (record.client, record.request_id, record.worker, record.parent_id) == ("ada", "r", "n/1", "p")
    assert record_of(ended, 99).told_at == 99


def test_an_error_is_kept_in_three_columns():
    record = record_of(job(state=State.FAILED, error=JobError("TASK_ERROR", "no\0\ud800", "trace")))
    assert (record.error_code, record.error_detail) == ("TASK_ERROR", "trace")
    assert record.error_message == "no\ufffd\\ud800"


@pytest.mark.parametrize(("size", "kept"), [(LONGEST_BODY, True), (LONGEST_BODY + 1, False)])
def test_of_a_long_body_only_the_size_is_kept(size, kept):
    body = b'"' + b"x" * (size - 2) + b'"'
    record = record_of(job(spec={"params": msgspec.Raw(body)}, result=msgspec.Raw(body)))
    assert (record.params_bytes, record.result_bytes) == (size, size)
    assert (record.params is not None, record.result is not None) == (kept, kept)


def test_who_asked_for_it_is_a_submission():
    asked = Asked(job_id="j", at=10, admission="accepted", client="ada", request_id="r")
    assert asked_for(record_of(job())) == asked


@given(st.text())
def test_every_text_can_be_stored(text):
    kept = storable(text)
    assert "\0" not in kept
    kept.encode()


def test_news_are_newer_or_further():
    assert is_news(10, State.QUEUED, 11, State.QUEUED)
    assert is_news(10, State.QUEUED, 10, State.RUNNING)
    assert not is_news(10, State.RUNNING, 10, State.QUEUED)
    assert not is_news(10, State.FAILED, 10, State.SUCCEEDED)
    assert not is_news(10, State.QUEUED, 9, State.SUCCEEDED)


@pytest.mark.parametrize("state", list(State))
def test_what_has_not_ended_is_always_looked_at(state):
    assert all(needs_a_look(10, known, 5, state) for known in State if not known.final)


def test_what_has_ended_is_looked_at_when_it_may_begin_anew():
    for known in FINAL:
        assert needs_a_look(10, known, 10, State.QUEUED)
        assert needs_a_look(10, known, 10, State.SCHEDULED)
        assert needs_a_look(10, known, 11, State.RUNNING)
        assert not needs_a_look(10, known, 10, State.RUNNING)
        assert not needs_a_look(10, known, 10, State.SUCCEEDED)


def test_events_alone_tell_a_life():
    life = [
        told(State.QUEUED, 1),
        told(State.RUNNING, 2, attempt=1, worker="n/1"),
        told(State.FAILED, 3, attempt=1, error={"code": "TASK_ERROR", "message": "no"}),
    ]
    record = advance(None, life)
    assert (record.state, record.created_at, record.started_at, record.finished_at) == (State.FAILED, 1, 2, 3)
    assert (record.worker, record.attempt, record.error_code) == ("n/1", 1, "TASK_ERROR")
    assert advance(record, life) == record
    again = advance(record, [told(State.QUEUED, 4)])
    assert (again.state, again.finished_at) == (State.QUEUED, None)


@given(st.data())
def test_telling_it_again_from_anywhere_changes_nothing(data):
    steps = data.draw(st.lists(st.tuples(st.sampled_from(list(State)), st.integers(0, 3)), min_size=1))
    at, life = 0, []
    for state, later in steps:
        at += later
        life.append(told(state, at))
    record = advance(None, life)
    start = data.draw(st.integers(0, len(life)))
    stop = data.draw(st.integers(start, len(life)))
    assert advance(record, life[start:stop]) == record


def event(kind, at=1, event_id="1", **data):
    return Event(id=event_id, at=at, job_id="j", kind=kind, data=data)


def test_only_events_that_change_the_state_are_told():
    events = [event(kind) for kind in EventKind]
    assert [each.state for each in told_by(events)] == [State(kind) for kind in State]


def test_a_join_is_a_submission_of_its_own_and_no_state():
    joined = event("joined", 5, "7", client="bob", request_id="r2")
    (asked,) = joins_of([joined, event(EventKind.QUEUED)])
    assert asked == Asked(job_id="j", event="7", at=5, admission="joined", client="bob", request_id="r2")
    assert told_by([joined]) == []
    assert told_by([event("of a newer release")]) == []


@pytest.mark.parametrize("asked", [{}, {"state": "failed", "task": "t", "queue": "q", "before": "i"}])
def test_the_live_list_answers_what_it_can(asked):
    assert not JobPage(**asked).of_history


@pytest.mark.parametrize(
    "asked",
    [
        {"client": "ada"},
        {"created_after": datetime.now(UTC)},
        {"created_before": datetime.now(UTC)},
        {"text": "x"},
        {"sort": "task"},
        {"page": 2},
        {"cursor": "x"},
        {"total": True},
        {"source": "history"},
    ],
)
def test_history_answers_what_only_it_can(asked):
    assert JobPage(**asked).of_history


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"source": "broker", "text": "x"}, "text"),
        ({"source": "history", "before": "i"}, "before"),
        ({"page": 2, "cursor": "x"}, "page"),
    ],
)
def test_what_fits_neither_is_refused_by_name(asked, field):
    with pytest.raises(PenstockError, match=field):
        _ = JobPage(**asked).of_history


@pytest.mark.parametrize("asked", [{"created_after": "2026-01-01T00:00:00"}, {"text": ""}, {"tassk": "x"}])
def test_what_cannot_be_understood_is_refused(asked):
    with pytest.raises(ValidationError):
        JobPage(**asked)


@given(st.integers(0, 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_mark_is_read_as_it_was_written(value, job_id):
    assert read_mark(str(Mark(value, job_id)), Sort.NEWEST) == Mark(value, job_id)
    assert read_mark(str(Mark(job_id, job_id)), Sort.TASK) == Mark(job_id, job_id)


@pytest.mark.parametrize("text", ["", "x", "!!", str(Mark("task", "i")), "WzFd", "e30", "\u20ac"])
def test_a_mark_of_another_list_is_refused(text):
    with pytest.raises(PenstockError, match="cursor"):
        read_mark(text, Sort.NEWEST)


@pytest.mark.parametrize("value", [2**63, -1])
def test_a_mark_that_no_database_could_compare_with_is_none(value: int) -> None:
    with pytest.raises(PenstockError):
        read_mark(str(Mark(value, "id")), Sort.NEWEST)


def test_a_mark_with_a_nul_is_none() -> None:
    for mark in (Mark(1, "a\0"), Mark("a\0", "id")):
        with pytest.raises(PenstockError):
            read_mark(str(mark), Sort.NEWEST if mark.value == 1 else Sort.TASK)


def test_jobs_are_looked_for_as_they_are_kept() -> None:
    asked = JobPage(client="a\0b", text="\0", task="\0", queue="\0").query()
    assert (asked.client, asked.text, asked.task, asked.queue) == ("a\ufffdb", "\ufffd", "\ufffd", "\ufffd")
