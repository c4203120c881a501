"""A whole is cut completely, evenly for any number of slots, and without looking at how many there are."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.spans import TAPER, spans


@given(st.integers(0, 2_000), st.integers(1, 90), st.integers(1, 90))
def test_everything_is_in_one_span_and_they_only_get_shorter(total, most, least):
    cut = list(spans(total, most, least))
    assert [number for first, end in cut for number in range(first, end)] == list(range(total))
    lengths = [end - first for first, end in cut]
    assert lengths == sorted(lengths, reverse=True)
    assert all(least <= length <= max(most, least) for length in lengths[:-1])


@pytest.mark.parametrize("slots", range(1, TAPER + 1))
@pytest.mark.parametrize("total", [200, 201, 333, 1_000])
def test_slots_end_together(slots, total):
    busy = [0] * slots
    for first, end in spans(total, most=12, least=2):
        heapq.heappush(busy, heapq.heappop(busy) + end - first)
    assert max(busy) <= total / slots + 3, "the last to end is hardly later than if it were cut at will"
