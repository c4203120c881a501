"""What all simulations share: chunks, exact sums, progress, stopping at a target."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import JobCancelled, Progress
from penstock.tasks.finance.draws import CHUNK, Chunk, blocks, chunks, stream
from penstock.tasks.finance.moments import Moments, combine, exact_sum, mean
from penstock.tasks.finance.normal import cumulative, normal_risk, quantile
from penstock.tasks.finance.simulation import Method, Plan, simulate

examined = settings(derandomize=True, deadline=None, max_examples=100)
numbers = st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=40)


@examined
@given(st.integers(1, 10**7))
def test_chunks_cover_every_simulation_once(simulations):
    cut = list(chunks(simulations))
    assert [each.number for each in cut] == list(range(len(cut)))
    assert sum(each.draws for each in cut) == simulations
    assert all(sum(blocks(each)) == each.draws <= CHUNK for each in (cut[0], cut[-1]))


def test_seeds_and_chunks_have_streams_of_their_own():
    keys = [(0, 0), (0, 1), (1, 0), (1, 1), (2**53 - 1, 0)]
    first = {stream(seed, Chunk(number, 1)).standard_normal() for seed, number in keys}
    assert len(first) == len(keys)


@examined
@given(numbers)
def test_sums_are_exact(values):
    partials = exact_sum((), values)
    assert sum(map(Fraction, partials)) == sum(map(Fraction, values))
    assert math.fsum(partials) == math.fsum(values)


@examined
@given(st.lists(numbers, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_parts_combine_to_the_same_bits_in_any_order_and_grouping(parts, chance):
    moments = [Moments(len(part), exact_sum((), part), exact_sum((), part[::-1])) for part in parts]
    straight = combine(moments)
    chance.shuffle(moments)
    cut = chance.randint(0, len(moments))
    grouped = combine([combine(moments[:cut]), combine(moments[cut:])])
    assert grouped.draws == straight.draws
    assert math.fsum(grouped.total) == math.fsum(straight.total)
    assert math.fsum(grouped.squares) == math.fsum(straight.squares)


def test_mean_and_standard_error_are_those_of_the_sample():
    values = random.Random(4).choices(range(100), k=1_000)
    found = mean(Moments(1_000, (math.fsum(values),), (math.fsum(v * v for v in values),)), scale=2.0)
    assert found.value == pytest.approx(2 * np.mean(values))
    assert found.error == pytest.approx(2 * np.std(values, ddof=1) / math.sqrt(1_000))


def test_equal_values_have_no_error():
    assert mean(Moments(3, (0.3,), (0.03,))).error == pytest.approx(0, abs=1e-9)


# Running


def flip(seed):
    """A chunk of coin tosses."""

    def draw(chunk):
        heads = float(stream(seed, chunk).integers(0, 2, chunk.draws).sum())
        return Moments(chunk.draws, (heads,), (heads,))

    return draw


def toss(simulations, target=None, progress=None, draw=None):
    """What came of them all together."""
    method = Method(draw or flip(3), combine, mean)
    plan = Plan(simulations, target)
    return combine(simulate(plan, chunks(simulations), Moments(), method, progress or Progress()))


def test_all_simulations_are_run_without_a_target():
    whole = toss(3 * CHUNK + 1)
    assert whole.draws == 3 * CHUNK + 1
    assert abs(mean(whole).value - 0.5) <= 4 * mean(whole).error


def test_it_stops_at_the_first_chunk_that_reaches_the_target():
    target = 0.5 / math.sqrt(4.5 * CHUNK)
    whole = toss(10**9, target)
    assert whole.draws == 5 * CHUNK
    assert mean(whole).error <= target
    assert mean(toss(4 * CHUNK)).error > target


def test_an_error_of_zero_stops_nothing():
    nothing = Moments(CHUNK, (0.0,), (0.0,))
    assert toss(3 * CHUNK, 1.0, draw=lambda _chunk: nothing).draws == 3 * CHUNK


def test_progress_tells_the_estimate_and_its_error():
    reports = []
    toss(4 * CHUNK, progress=Progress(reports.append))
    assert [each.fraction for each in reports] == [0.25, 0.5, 0.75, 1.0]
    assert reports[1].message.endswith(" ± 0.0014 after 131 072 of 262 144 simulations")
    assert float(reports[1].message.split()[0]) == pytest.approx(0.5, abs=0.01)


def test_progress_towards_a_target_rises_to_the_end():
    reports = []
    toss(10**9, 0.5 / math.sqrt(4.5 * CHUNK), Progress(reports.append))
    fractions = [each.fraction for each in reports]
    assert fractions == sorted(fractions)
    assert fractions[0] == pytest.approx(1 / 4.5, rel=0.01)
    assert fractions[-1] == 1


def test_a_cancelled_simulation_ends_after_the_chunk_under_way():
    reports = []
    with pytest.raises(JobCancelled):
        toss(10**9, progress=Progress(reports.append, lambda: len(reports) == 2))
    assert len(reports) == 2


# The normal distribution


def test_normal_distribution_inverts():
    for probability in (1e-12, 0.05, 0.5, 0.975):
        assert cumulative(quantile(probability)) == pytest.approx(probability, rel=1e-12)


def test_normal_risk_check_values():
    risk = normal_risk(100 * 150 * 0.25 * math.sqrt(10 / 252), 0.95)
    assert risk.var == pytest.approx(1228.735, abs=5e-4)
    assert risk.shortfall == pytest.approx(1540.883, abs=5e-4)
