"""How fast a queue empties, and what a client is told to wait."""

import pytest

from penstock.core import drain

NOW = 1_700_000_004_000
"""Four seconds into a slot."""


def test_the_slots_that_count_end_with_this_one():
    slots = drain.slots_at(NOW)
    assert (len(slots), slots[-1] * drain.SLOT_MS) == (drain.SLOTS, NOW - 4_000)


@pytest.mark.parametrize(
    ("ended", "rate"),
    [
        ([0, 0, 0, 0, 0, 0], 0),
        ([0, 0, 0, 0, 0, 8], 2),
        ([0, 0, 0, 0, 14, 14], 2),
        ([54, 0, 0, 0, 0, 0], 1),
    ],
)
def test_the_rate_is_over_the_time_since_the_first_slot_with_any(ended, rate):
    assert drain.per_second(ended, NOW) == rate


def test_a_slot_that_has_just_begun_does_not_make_a_rate_without_bounds():
    assert drain.per_second([0, 0, 0, 0, 0, 5], NOW - 4_000) == 5


@pytest.mark.parametrize(
    ("depth", "limit", "rate", "seconds"),
    [
        (10, 10, 0.0, 5),
        (10, 10, 100.0, 1),
        (10, 10, 0.5, 2),
        (14, 10, 1.0, 5),
        (10, 10, 0.3, 4),
        (10, 10, 0.001, 60),
    ],
)
def test_the_wait_is_until_one_more_has_room(depth, limit, rate, seconds):
    assert drain.retry_after_s(depth, limit, rate) == seconds
