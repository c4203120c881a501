"""What a quant has at hand can be submitted as it is, and what cannot is refused by name."""

import json
import sys
from types import ModuleType

import httpx
import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from penstock import Client, task
from penstock.client import gathering, messages
from penstock.client.calls import unservable, wanted
from penstock.client.gathering import Counts
from penstock.client.named import name_of
from penstock.core.errors import ErrorCode, PenstockError


class Rod(BaseModel):
    length: float


def written(params):
    return json.loads(messages.submit("t", params, 0.0, {}).body)["params"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (np.float64(0.25), 0.25),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), [[1.0, 2.0], [3.0, 4.0]]),
        ([np.float32(0.5), (np.int8(1),)], [0.5, [1]]),
        (pd.Series([1, 2]), [1, 2]),
        (pd.DataFrame({"name": ["a"], "units": [0.5]}), {"name": ["a"], "units": [0.5]}),
        (Rod(length=2), {"length": 2.0}),
        ({"inner": np.float64(1.5)}, {"inner": 1.5}),
    ],
)
def test_arrays_tables_and_models_are_parameters(given, sent):
    assert written({"x": given}) == {"x": sent}


def test_a_model_may_be_all_parameters():
    assert written(Rod(length=2)) == {"length": 2.0}


def test_a_number_that_json_does_not_have_is_named_in_an_array_too():
    with pytest.raises(PenstockError, match=r"params.x\[1\]: must be a finite number"):
        written({"x": np.array([1.0, np.nan])})


def nested(depth):
    deep = []
    for _ in range(depth):
        deep = [deep]
    return deep


@pytest.mark.parametrize("given", [{1, 2.5, object()}, object(), nested(5_000)])
def test_what_cannot_be_written_is_a_refusal(given):
    with pytest.raises(PenstockError) as refused:
        written({"x": given})
    assert refused.value.code is ErrorCode.INVALID_REQUEST


@task
def bend(rod: Rod) -> float:
    """A task."""
    return rod.length


def test_a_task_may_be_given_itself():
    sent = [
        messages.submit(bend, Rod(length=2), 0.0, {}),
        messages.submit_many([{"task": bend, "params": {"length": 2.0}}]),
        next(
            gathering.steps(name_of(bend), [Rod(length=2)], {"idempotency_key": "k"}, Counts(), ordered=True)
        ),
        next(gathering.chain_of([{"task": bend, "params": Rod(length=2)}])),
    ]
    bodies = [json.loads(call.body) for call in sent]
    jobs = [body.get("jobs", [body])[0] for body in bodies]
    assert [(job["task"], job["params"]) for job in jobs] == [("bend", {"length": 2.0})] * 4


def test_a_plain_function_is_refused_with_what_to_do():
    with Client() as client, pytest.raises(TypeError, match=r"is a plain function.*write @task above it"):
        client.submit(written)
    with Client() as client, pytest.raises(TypeError, match="3 is neither a @task function nor the name"):
        list(client.map(3, []))


def test_why_a_node_did_not_answer_is_never_nothing():
    assert messages.unreachable("http://a", httpx.ReadTimeout("")).message.endswith("http://a: ReadTimeout")


@pytest.mark.parametrize("file", [None, "<stdin>"])
def test_a_task_of_an_interactive_session_is_told_where_to_go(monkeypatch, file):
    main = ModuleType("__main__")
    main.__spec__, main.__file__ = None, file
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(bend.function, "__module__", "__main__")
    refused = unservable(wanted(bend, (Rod(length=2),), {}).module)
    assert "bend of an interactive session" in refused.message
    assert "keep the task in a .py file" in refused.message


def test_a_refusal_in_a_batch_names_which():
    receipts = {"receipts": [{"error": {"code": "VALIDATION_ERROR", "message": "params.b: Field required"}}]}
    with pytest.raises(PenstockError, match=r"^jobs\[0\]: params.b: Field required$"):
        messages.submit_many([{}]).read(receipts)
    with pytest.raises(PenstockError, match=r"^inputs\[1000\]: params.b"):
        messages.submit_many([{}], "inputs", 1000).read(receipts)


def test_where_the_node_should_be_is_said_if_nobody_said_it():
    assert "penstock up" in messages.unreachable(messages.DEFAULT_URL, OSError("no")).message
    assert "penstock up" not in messages.unreachable("http://elsewhere:8000", OSError("no")).message


def test_an_empty_address_is_none(monkeypatch):
    monkeypatch.setenv("PENSTOCK_URL", "")
    with Client() as client:
        assert client.url == messages.DEFAULT_URL
