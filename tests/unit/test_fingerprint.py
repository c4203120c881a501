"""Equal questions have one form and one fingerprint; different ones never share it."""

import hashlib
import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.fingerprint import canonical, fingerprint

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def shuffled(value: Any, dice: random.Random) -> Any:
    """The same value with its keys in another order, and whole numbers written the other way."""
    if isinstance(value, dict):
        items = [(key, shuffled(item, dice)) for key, item in value.items()]
        dice.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        return tuple(shuffled(item, dice) for item in value)
    if type(value) is int and abs(value) < 2**53 and dice.random() < 0.5:
        return float(value)
    return value


def same_kind(one: Any, two: Any) -> bool:
    """Whether JSON would call these equal: 1 is 1.0 but not true."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same_kind(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same_kind, one, two))
    return one == two and isinstance(one, bool) == isinstance(two, bool)


@given(values, st.randoms(use_true_random=False))
def test_the_order_of_keys_and_the_way_a_number_is_written_do_not_matter(
    value: Any, dice: random.Random
) -> None:
    assert canonical(shuffled(value, dice)) == canonical(value)


@given(values)
def test_the_canonical_form_is_json_of_an_equal_value(value: Any) -> None:
    assert same_kind(json.loads(canonical(value)), value)


@given(values)
def test_the_canonical_form_is_its_own_canonical_form(value: Any) -> None:
    assert canonical(json.loads(canonical(value))) == canonical(value)


@given(values, values)
def test_values_share_a_form_exactly_when_they_are_equal(one: Any, two: Any) -> None:
    assert (canonical(one) == canonical(two)) == same_kind(one, two)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["1", "1.0", "1e0", "10e-1"], b"1"),
        (["0", "-0", "0.0", "-0.0", "0e5"], b"0"),
        (["100000000000000000000", "1e20", "1.0e20"], b"100000000000000000000"),
        (["9223372036854775808", "9223372036854775808.0"], b"9223372036854775808"),
        (["0.1", "1e-1", "0.10"], b"0.1"),
        (["-2.5", "-25e-1"], b"-2.5"),
        (['{"b":[1.0,{"y":2,"x":3.0}],"a":null}', '{"a":null,"b":[1,{"x":3,"y":2.0}]}'],
         b'{"a":null,"b":[1,{"x":3,"y":2}]}'),
    ],
)  # fmt: skip
def test_one_number_has_one_form(written: list[str], expected: bytes) -> None:
    assert {canonical(json.loads(text)) for text in written} == {expected}


@given(st.integers(2**53, 10**30) | st.integers(-(10**30), -(2**53)))
def test_a_huge_integer_keeps_every_digit(number: int) -> None:
    assert canonical(number) == b"%d" % number


@given(st.floats(min_value=2**53, allow_infinity=False))
def test_a_huge_float_equals_the_integer_that_it_is(number: float) -> None:
    assert canonical(number) == canonical(int(number))
    assert json.loads(canonical(number)) == number


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (1, True),
        (0, False),
        (0, None),
        ("1", 1),
        ([1, 2], [2, 1]),
        ([], {}),
        ({}, {"a": None}),
        ("é", "e\u0301"),
        (0.1, 0.1 + 2**-55),
        (2**63, 2**63 + 1),
        (10**23, 1e23),
    ],
)
def test_different_values_have_different_forms(one: Any, two: Any) -> None:
    assert canonical(one) != canonical(two)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_refused_with_its_path(number: float) -> None:
    value = {"name": "x", "weights": [0.5, 1, number], "deep": [{"y": {"z": number}}]}
    with pytest.raises(PenstockError) as refused:
        canonical(value)
    assert refused.value.code is ErrorCode.VALIDATION_ERROR
    assert [field["field"] for field in refused.value.details["fields"]] == [
        "params.weights[2]",
        "params.deep[0].y.z",
    ]
    assert "params.weights[2]" in refused.value.message


def test_a_refused_value_is_named_from_where_it_was_found() -> None:
    with pytest.raises(PenstockError, match=r"^result: must be a finite number$"):
        canonical(math.nan, "result")


parts = st.tuples(st.text(max_size=6), st.text(max_size=6), st.binary(max_size=6), st.text(max_size=6))


@given(parts, parts)
def test_every_part_counts_for_the_fingerprint(one: Any, two: Any) -> None:
    assert (fingerprint(*one) == fingerprint(*two)) == (one == two)


@given(st.text(min_size=1, max_size=6), st.text(min_size=1, max_size=6))
def test_parts_do_not_run_into_one_another(one: str, two: str) -> None:
    assert fingerprint(one + two, "", b"") != fingerprint(one, two, b"")
    assert fingerprint(one, two, b"") != fingerprint(one, "", two.encode())
    assert fingerprint(one, two, b"") != fingerprint(one, "", b"", two)


@given(parts)
def test_the_fingerprint_is_a_hash_of_all_parts_each_with_its_length_in_front(given: Any) -> None:
    name, version, params, data_version = given
    whole = b""
    for part in (name.encode(), version.encode(), data_version.encode(), params):
        whole += len(part).to_bytes(8, "big") + part
    assert fingerprint(*given) == hashlib.sha256(whole).hexdigest()


def test_the_fingerprint_is_the_same_in_every_release() -> None:
    """A cache that outlives an upgrade depends on it."""
    known = fingerprint("credit_loss", "1", canonical({"rate": 0.5, "loans": [1, 2.0]}), "2026-01-31")
    assert known == "31f17890989b5eb11373cd7f625b43e852b4c29edcac269cc97b63a910fe5aac"
