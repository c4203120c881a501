"""The depth of a body is seen from its text alone, and is what a parser finds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.api.depth import MAX_DEPTH, check_depth
from penstock.core.errors import PenstockError

TEXTS = st.text(st.sampled_from('[]{}"\\ a\n'), max_size=30)
VALUES = st.recursive(TEXTS | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))


def refused(body):
    try:
        check_depth(body)
    except PenstockError:
        return True
    return False


def wrapped(value, levels):
    for level in range(levels):
        value = [value] if level % 2 else {"[": value}
    return value


def depth(value):
    if not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, inner), default=0)


@given(st.lists(VALUES, max_size=4), st.integers(MAX_DEPTH - 4, MAX_DEPTH + 2))
def test_it_is_the_depth_that_a_parser_finds(values, levels):
    value = wrapped(values, levels)
    assert refused(json.dumps(value).encode()) == (depth(value) > MAX_DEPTH)


def test_many_brackets_are_not_deep():
    assert not refused(json.dumps([[], {}] * 10_000).encode())
    assert not refused(json.dumps({"text": "[" * 10_000 + "\\" + '"' + "{" * 10_000}).encode())


@pytest.mark.parametrize("body", [b"[" * 8_000_000, b"[{" * 4_000_000, b"[" * 4_000_000 + b"]" * 4_000_000])
def test_the_deepest_body_is_refused(body):
    assert refused(body)


@given(st.binary(max_size=300).map(lambda tail: b"[" * 70 + tail))
def test_no_bytes_make_it_fail(body):
    assert refused(body) in {True, False}
