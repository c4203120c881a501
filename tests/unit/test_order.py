"""Every test is in the order once, the long ones at the beginning of each process's share."""

import pytest

from support.order import dealt

LONG = [["a1", "a2"], ["b1"], ["c1"]]
SHORT = [f"s{n}" for n in range(9)]


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 20])
def test_no_test_is_lost_or_doubled(processes):
    found = dealt(LONG, SHORT, processes)
    assert sorted(found) == sorted([*["a1", "a2", "b1", "c1"], *SHORT])


def test_each_process_begins_with_long_ones_and_files_stay_together():
    assert dealt(LONG, SHORT, 2) == [
        *["a1", "a2", "c1", "s0", "s1", "s2"],
        *["b1", "s3", "s4", "s5", "s6", "s7", "s8"],
    ]


def test_one_process_runs_the_long_ones_first():
    assert dealt(LONG, SHORT, 1) == ["a1", "a2", "b1", "c1", *SHORT]


def test_where_all_are_long_they_are_shared_out():
    assert dealt(LONG, [], 2) == ["a1", "a2", "c1", "b1"]
