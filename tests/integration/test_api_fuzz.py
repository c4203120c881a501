"""Whatever body is sent, the node answers: with a job or with an error of the sender's."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock import task

JSON = {"Content-Type": "application/json"}


@task
def anything(payload: Any = None, *, rate: float = 0.0) -> Any:
    return payload


@pytest.fixture
async def house(open_house):
    return await open_house([anything])


async def test_huge_integers_are_kept_exactly(house):
    body = '{"task": "anything", "params": {"payload": [9007199254740993, 123456789012345678901234567890]}}'
    answer = await house.http.post("/jobs", content=body, headers=JSON)
    assert answer.status_code == 202
    kept = (await house.http.get(answer.headers["location"])).json()
    assert kept["params"]["payload"] == [9007199254740993, 123456789012345678901234567890]


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec="utf-8"))
    | st.sampled_from(["\ud800", "noop", "credit_loss", "high", "x" * 300, 10**400]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMED = st.sampled_from(
    ["task", "params", "priority", "queue", "delay_s", "timeout_s", "max_attempts", "client", "load", "lgd"]
)
SHAPED = (
    ANYTHING
    | st.dictionaries(NAMED, ANYTHING, max_size=5)
    | st.builds(
        lambda more: {"task": "anything"} | more,
        st.fixed_dictionaries(
            {"params": st.dictionaries(st.sampled_from(["payload", "rate"]), ANYTHING)},
            optional={"priority": ANYTHING, "queue": ANYTHING, "delay_s": ANYTHING, "max_attempts": ANYTHING},
        ),
    )
)
BODIES = st.one_of(
    SHAPED.map(json.dumps).map(str.encode),
    st.lists(SHAPED, max_size=3).map(lambda jobs: json.dumps({"jobs": jobs}).encode()),
    st.binary(max_size=200),
)
PATHS = st.sampled_from(["/jobs", "/tasks/credit_loss/jobs", "/tasks/anything/jobs", "/batches"])


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=BODIES, path=PATHS)
async def test_no_body_makes_the_node_fail(house, body, path):
    before = await house.stored()
    answer = await house.http.post(path, content=body, headers=JSON)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"code", "message", "details", "request_id"}
        assert await house.stored() == before
