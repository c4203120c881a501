"""The task ``add``: exact sums, and a cost that is CPU time and can be cancelled."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import JobCancelled, Progress
from penstock.tasks.arithmetic import EXACT, Operands, add
from support.refusals import refusal

whole = st.integers(-EXACT, EXACT)


@settings(derandomize=True, deadline=None)
@given(whole, whole)
def test_whole_numbers_are_added_exactly(a, b):
    kept = add.parse({"a": a, "b": b})
    assert json.loads(add.run(kept, Progress())) == {"sum": a + b}


def test_fractions_are_added_as_floats():
    assert json.loads(add.run(add.parse({"a": 0.5, "b": 2}), Progress())) == {"sum": 2.5}


def test_whole_numbers_stay_whole():
    assert add.run(add.parse({"a": 2, "b": 3}), Progress()) == b'{"sum":5}'


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"b": 1}, "params.a"),
        ({"a": 1, "b": 2, "operation": "multiply"}, "params.operation"),
        ({"a": 1, "b": 2, "cost_s": -1}, "params.cost_s"),
        ({"a": 1, "b": 2, "c": 3}, "params.c"),
    ],
)
def test_what_is_wrong_is_named(params, field):
    assert list(refusal(add, params)) == [field]


def test_what_is_no_number_or_too_large_is_named():
    for value in ("two", None, 2 * EXACT, float("inf")):
        assert all(field.startswith("params.a") for field in refusal(add, {"a": value, "b": 1}))


def test_cost_is_cpu_time_and_reported():
    reports = []
    began = time.thread_time()
    add(Operands(a=1, b=2, cost_s=0.1), Progress(reports.append))
    assert time.thread_time() - began >= 0.1
    assert len(reports) >= 4
    assert [each.fraction for each in reports] == sorted(each.fraction for each in reports)


def test_cancel_ends_the_cost():
    reports = []
    with pytest.raises(JobCancelled):
        add(Operands(a=1, b=2, cost_s=3_600), Progress(reports.append, lambda: len(reports) == 2))
