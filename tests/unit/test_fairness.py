"""Who is next: bands, shares, limits, and the bound that is stated for a waiting job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.fairness import (
    PLAIN,
    Line,
    Rooms,
    Waiting,
    band,
    choose,
    line_of,
    starts_before,
    stride,
)
from penstock.core.job import JobSpec, Priority
from penstock.core.lifecycle import AGE_STEP_MS, rank

NOW = 10_000_000
WEIGHTS = {"A": 1, "B": 2, "C": 3, "D": 7}
unlimited = Rooms(lambda _kind, _name: None)


def strides(client):
    return stride(WEIGHTS.get(client, 1))


def queue(client, count, at, priority=Priority.LOW):
    """So many jobs of a client, which came one after the other from then on."""
    return Line(client, ""), [Waiting(rank(priority, at + n), f"{client}{n:05}") for n in range(count)]


def order(lines, limit, now, tags, rooms=unlimited):
    """The jobs that are given out, which leave their lines."""
    picks = choose(
        [(line, iter(list(jobs))) for line, jobs in lines],
        limit,
        now,
        tags=tags,
        strides=strides,
        rooms=rooms,
    )
    found = [(lines[pick.line][0].client, pick.job) for pick in picks]
    for client, job in found:
        next(jobs for line, jobs in lines if line.client == client and job in jobs).remove(job)
    return found


def test_the_band_is_the_number_of_steps_that_a_job_has_yet_to_age():
    for priority, steps in ((Priority.HIGH, 0), (Priority.MEDIUM, 1), (Priority.LOW, 2)):
        place = rank(priority, NOW)
        assert [band(place, NOW + n * AGE_STEP_MS) for n in range(4)] == [max(0, steps - n) for n in range(4)]
    assert band(NOW + 1, NOW) == 1


def test_a_job_without_client_or_limit_has_no_line_of_its_own():
    assert line_of(JobSpec(id="1", task="t")) == PLAIN
    assert line_of(JobSpec(id="1", task="t", client="")) == PLAIN
    assert line_of(JobSpec(id="1", task="t", client="c")) == Line("c", "")
    assert line_of(JobSpec(id="1", task="t", client="c", max_running=1)) == Line("c", "t")


def test_one_client_alone_is_served_by_rank_and_is_not_charged():
    tags = {}
    lines = [queue("A", 3, NOW - 5), (Line("A", "t"), [Waiting(rank(Priority.LOW, NOW - 4), "A00000t")])]
    assert [job.id for _, job in order(lines, 9, NOW, tags)] == ["A00000", "A00000t", "A00001", "A00002"]
    assert tags == {}


loads = st.fixed_dictionaries({client: st.integers(0, 60) for client in WEIGHTS})


@given(
    loads=loads,
    served=st.tuples(loads, loads),
    own=st.sampled_from("ABCD"),
    ahead=st.integers(0, 8),
    batch=st.integers(1, 9),
)
def test_an_aged_job_waits_for_no_more_starts_than_the_bound_says(loads, served, own, ahead, batch):
    """Whatever was served before, and whatever fresh work of high priority keeps coming."""
    tags = {}
    history, urgent = served
    order([queue(client, count, NOW - 1000) for client, count in history.items()], 50, NOW, tags)
    order([queue(client, count, NOW, Priority.HIGH) for client, count in urgent.items()], 50, NOW, tags)
    now = NOW + 2 * AGE_STEP_MS
    lines = [queue(client, count, NOW - 500) for client, count in loads.items() if client != own]
    lines.append(queue(own, ahead + 1, NOW - 100))
    # A flood of newer, more urgent jobs of everybody.
    lines += [
        (Line(client, ""), [Waiting(now, f"{client}fresh{n}") for n in range(200)]) for client in WEIGHTS
    ]
    target = lines[len(WEIGHTS) - 1][1][-1]
    started = []
    while target.id not in started:
        started += [job.id for _, job in order(lines, batch, now, tags)]
    others = [weight for client, weight in WEIGHTS.items() if client != own]
    assert started.index(target.id) <= starts_before(ahead, WEIGHTS[own], others)


@given(batch=st.integers(1, 9))
def test_while_all_have_work_their_shares_differ_by_little_more_than_a_turn(batch):
    tags, started = {}, []
    lines = [queue(client, 400, NOW) for client in WEIGHTS]
    while len(started) < 260:
        started += [client for client, _ in order(lines, batch, NOW, tags)]
    for client, weight in WEIGHTS.items():
        assert abs(started.count(client) - len(started) * weight / sum(WEIGHTS.values())) <= weight + 1


def test_a_less_urgent_band_waits_however_little_its_client_was_served():
    lines = [queue("A", 20, NOW - 99, Priority.MEDIUM), queue("B", 20, NOW - 99)]
    assert {client for client, _ in order(lines, 20, NOW, {})} == {"A"}


def test_rooms_are_shared_by_the_lines_of_a_client_and_of_a_task():
    left = {("client", "A"): 2, ("task", "t"): 1}
    rooms = Rooms(lambda kind, name: left.get((kind, name)))
    lines = [
        (Line(client, task), [Waiting(n, f"{client}{task}{n}") for n in range(5)])
        for client, task in (("A", ""), ("A", "t"), ("B", "t"), ("B", ""))
    ]
    picks = list(
        choose([(line, iter(jobs)) for line, jobs in lines], 50, NOW, tags={}, strides=strides, rooms=rooms)
    )
    taken = [lines[pick.line][0] for pick in picks]
    assert sum(line.client == "A" for line in taken) == 2
    assert sum(line.task == "t" for line in taken) == 1
    assert taken.count(Line("B", "")) == 5


@pytest.mark.parametrize(("weight", "expected"), [(1, 5040), (2, 2520), (10, 504), (0, 5040), (10**9, 1)])
def test_a_heavier_client_moves_on_by_less(weight, expected):
    assert stride(weight) == expected
