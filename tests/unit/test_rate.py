"""A rate in words is a number of requests in a window of whole seconds, and never more than it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import PenstockError
from penstock.core.rate import Rate, rate_of


@pytest.mark.parametrize(
    ("text", "burst", "expected"),
    [
        ("10/s", 20, Rate(20, 2)),
        ("10/s", 1, Rate(10, 1)),
        ("10/s", 25, Rate(30, 3)),
        ("600/m", 20, Rate(20, 2)),
        ("60/h", 20, Rate(20, 1_200)),
        ("1/h", 1, Rate(1, 3_600)),
    ],
)
def test_rate_in_words(text, burst, expected):
    assert rate_of(text, burst) == expected


@given(st.integers(1, 100_000), st.sampled_from([("s", 1), ("m", 60), ("h", 3_600)]), st.integers(1, 10_000))
def test_the_rate_is_kept_and_the_burst_has_room(count, unit, burst):
    name, seconds = unit
    rate = rate_of(f"{count}/{name}", burst)
    assert rate.most * seconds <= rate.window_s * count
    assert rate.most >= burst - 1  # a burst that is no whole number of seconds' worth may lose a fraction
    assert rate.window_s >= 1


@pytest.mark.parametrize("text", ["", "10", "0/s", "-1/s", "10/d", "ten/s", "1.5/s", "10/s "])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(PenstockError, match="no rate"):
        rate_of(text, 20)
