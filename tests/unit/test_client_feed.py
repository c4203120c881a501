"""Events are read whole, however the network cuts them."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from penstock.client.feed import Reading

SNAPSHOT = {
    "id": "j",
    "created_at": "2026-01-01T00:00:00.000Z",
    "state": "running",
    "progress": {"fraction": 0.25, "message": "a quarter"},
}


def event(number, kind, data):
    body = {"id": number, "at": "2026-01-01T00:00:01.000Z", "job_id": "j", "kind": kind, "data": data}
    return message(number, kind, body)


def message(number, kind, body):
    return f"id: {number}\r\nevent: {kind}\r\ndata: {json.dumps(body, ensure_ascii=False)}\r\n\r\n"


WHOLE = "".join(
    [
        message("0-1", "snapshot", SNAPSHOT),
        ": ping - 2026-01-01\r\n\r\n",
        event("0-2", "progress", {"fraction": 0.5, "message": "¾ of ½: ok"}),
        event("0-3", "log", {"lines": ["a: b"]}),
        event("0-4", "succeeded", {"attempt": 1}),
    ]
).encode()


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_pieces_of_any_size_give_the_same_events(cuts):
    ends = sorted({0, len(WHOLE), *cuts})
    reading = Reading("j", None)
    found = []
    for start, end in itertools.pairwise(ends):
        found += reading.take(WHOLE[start:end])
    assert [each.kind for each in found] == ["snapshot", "progress", "log", "succeeded"]
    said = [(each.progress.fraction, each.progress.message) for each in found if each.progress]
    assert said == [(0.25, "a quarter"), (0.5, "¾ of ½: ok")]
    assert [each.final for each in found] == [False, False, False, True]
    assert {each.job_id for each in found} == {"j"}
    assert reading.over
    assert reading.query == {"after": "0-4"}


def test_a_new_response_goes_on_behind_what_was_whole():
    reading = Reading("a/b", None)
    assert (reading.path, reading.query) == ("/jobs/a%2Fb/events", {})
    half = len(WHOLE) // 2
    before = list(reading.take(WHOLE[:half]))
    reading.begin()
    assert reading.query == {"after": before[-1].id}
    (ended,) = reading.take(event("0-4", "failed", {}).encode())
    assert ended.final
