import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.worker.pace import MAX_AHEAD, WORTH_MS, Pace

durations = st.floats(0, 1e7)
history = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), durations), min_size=1)


def learnt(*elapsed_ms, claims=0, task="tiny"):
    pace = Pace()
    for one in elapsed_ms:
        pace.learn(task, one)
    for _ in range(claims):
        pace.judge(kept_up=True)
    return pace


def test_nothing_is_read_ahead_before_anything_is_known():
    assert Pace().depth() == 1
    assert Pace().expected_ms("never seen") == WORTH_MS


@given(history, st.lists(st.booleans()))
def test_depth_stays_within_its_bounds_and_the_last_waits_no_longer_than_a_worth(seen, claims):
    pace = Pace()
    for task, elapsed_ms in seen:
        pace.learn(task, elapsed_ms)
    for kept_up in claims:
        pace.judge(kept_up=kept_up)
    depth = pace.depth()
    assert 1 <= depth <= MAX_AHEAD
    assert (depth - 1) * max(pace._overall, WORTH_MS / MAX_AHEAD) <= WORTH_MS * (1 + 1e-9)


@given(history)
def test_an_expectation_lies_between_the_shortest_and_the_longest_seen(seen):
    pace = Pace()
    for task, elapsed_ms in seen:
        pace.learn(task, elapsed_ms)
    for task in {task for task, _ in seen}:
        own = [max(elapsed_ms, WORTH_MS / MAX_AHEAD) for name, elapsed_ms in seen if name == task]
        assert min(own) * (1 - 1e-9) <= pace.expected_ms(task) <= max(own) * (1 + 1e-9)


@given(st.integers(0, 30))
def test_a_long_read_ahead_is_earned_by_doubling(claims):
    assert learnt(0.001, claims=claims).depth() == min(MAX_AHEAD, 2**claims)


@given(st.integers(0, 30), st.integers(0, 30))
def test_slots_that_did_not_keep_up_start_over(before, after):
    pace = learnt(0.001, claims=before)
    pace.judge(kept_up=False)
    assert pace.depth() == 1
    for _ in range(after):
        pace.judge(kept_up=True)
    assert pace.depth() == min(MAX_AHEAD, 2**after)


@given(st.integers(1, 500), st.floats(2 * WORTH_MS, 1e7))
def test_one_long_job_ends_reading_ahead_at_once(tiny, long_ms):
    pace = learnt(*[0.1] * tiny, claims=20)
    assert pace.depth() > 1
    pace.learn("tiny", long_ms)
    assert pace.depth() == 1


def test_speed_is_believed_slowly():
    pace = learnt(1000, *[0.01] * 20, claims=20)
    assert pace.depth() == 1
    for _ in range(100):
        pace.learn("tiny", 0.01)
    assert pace.depth() > 100


@pytest.mark.parametrize(
    ("elapsed_ms", "depth"), [(0.1, 201), (1, 21), (5, 5), (15, 2), (19, 2), (21, 1), (500, 1)]
)
def test_one_more_is_read_ahead_than_what_a_job_may_have_to_wait_for(elapsed_ms, depth):
    pace = learnt(*[elapsed_ms] * 10, claims=20)
    assert pace.depth() == pytest.approx(depth, abs=1 if depth > 2 else 0)
