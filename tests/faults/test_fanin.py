"""A job in parts whose workers die at each step of splitting and merging ends once, with the right total.

``make faults ARGS="--fan-in" ROUNDS=200`` makes more of these runs.
"""

import pytest

from support.faults.fanin import STEPS, many, runs

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("store", "seed"), [("sqlite", 1), ("redis", 2)])
async def test_death_at_any_step_of_a_fan_in_changes_nothing(store, seed, tmp_path):
    account = await many(store, seed, 5, tmp_path)
    assert not account.anomalies, account.anomalies
    assert account.hit.total() >= 3, "too few workers died to say anything"


def test_the_runs_of_a_seed_are_always_the_same_and_miss_no_step():
    assert runs(5, 40) == runs(5, 40) != runs(6, 40)
    assert {run.step for run in runs(5, len(STEPS))} == set(STEPS)
