"""A simulation in parts gives the numbers of one in a piece; it can stop early, and go on later."""

import json
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import PenstockError
from penstock.core.progress import Progress
from penstock.tasks.credit import credit_loss, shares
from penstock.tasks.credit.draws import chunks, count_defaults, merge
from penstock.tasks.credit.portfolio import Portfolio, probability
from penstock.tasks.credit.shares import Simulation
from penstock.tasks.credit.shares import shares as cut
from support import parted


@pytest.fixture
def many_shares(monkeypatch):
    """A few thousand loans are cut as hundreds of millions are."""
    monkeypatch.setattr(shares, "SMALL", 10_000)
    monkeypatch.setattr(shares, "SHARE", 12_000)
    monkeypatch.setattr(shares, "SHARE_TO_TARGET", 4_000)
    monkeypatch.setattr(shares, "LAST_SHARE", 2_000)


def simulate(**params):
    return credit_loss(Portfolio(**params), Progress())


def figures(losses):
    """Everything but the time it took."""
    return losses.model_dump(exclude={"elapsed_s"})


def as_jobs(order=list.reverse, **params):
    """The result as workers make it, done in this order."""
    return parted.as_jobs(credit_loss, params, order)[1].result()


@given(
    load=st.integers(1, 50),
    chunk=st.integers(1, 9),
    repeats=st.integers(1, 6),
    begun=st.integers(0, 6),
    skip=st.integers(0, 50),
)
def test_shares_cover_every_chunk_that_is_left_once(load, chunk, repeats, begun, skip):
    begun, skip = min(begun, repeats), min(skip, load // chunk)
    simulation = Simulation(seed=0, pd=0.5, load=load, chunk=chunk, repeats=repeats, begun=begun, skip=skip)
    drawn = [each for share in cut(simulation) for each in share.chunks()]
    left = [c for c in chunks(load, chunk, repeats) if c.repeat >= begun or c.number >= skip]
    assert drawn == left
    assert simulation.left == len(left)


def test_small_simulations_stay_in_one_piece_and_large_ones_do_not():
    def count(load, repeats=1):
        return sum(1 for _ in cut(Simulation(seed=0, pd=0.1, load=load, chunk=10**6, repeats=repeats)))

    assert count(10**6) == 1
    assert count(19_000_000) == 1
    assert 20 < count(200_000_000) < 30
    assert count(10**9, 10_000) <= 10_000 + 100


def test_shares_reach_from_one_repeat_into_the_next(many_shares):
    assert any(
        len(list(share.by_repeat())) > 1
        for share in cut(Simulation(seed=0, pd=0.1, load=6_500, chunk=1_000, repeats=4))
    )


@pytest.mark.parametrize("params", [{"load": 123_456}, {"load": 7_500, "repeats": 30}], ids=str)
def test_parts_in_any_order_give_the_numbers_of_one_piece(many_shares, params):
    params |= {"chunk": 1_000, "seed": 5}
    whole = merge(
        (
            count_defaults(5, c, probability(Portfolio(**params)))
            for c in chunks(params["load"], 1_000, params.get("repeats", 1))
        ),
        params["load"],
        params.get("repeats", 1),
    )
    shuffled = as_jobs(random.Random(1).shuffle, **params)
    assert figures(shuffled) == figures(simulate(**params))
    assert shuffled.distribution == [count * 250_000 * 0.45 for count in whole]
    assert not shuffled.stopped_early


def test_it_stops_at_the_same_block_wherever_it_runs(many_shares):
    params = {"load": 10**6, "chunk": 1_000, "target_error": 0.0007}
    early = as_jobs(**params)
    assert figures(early) == figures(simulate(**params))
    assert early.stopped_early
    assert early.simulated < 200_000
    assert early.standard_error <= 0.0007
    assert early.expected_credit_loss == pytest.approx(early.default_rate * 10**6 * 250_000 * 0.45)
    assert simulate(**params | {"target_error": 1e-6}).stopped_early is False


def test_a_simulation_that_saw_no_default_does_not_take_itself_for_exact(many_shares):
    losses = simulate(load=100_000, chunk=1_000, hazard_rate=1e-9, target_error=1e-7)
    assert losses.defaults == 0
    assert losses.simulated == 100_000


@pytest.mark.parametrize(
    ("first", "more"),
    [
        ({"load": 40_000}, {"load": 90_000}),
        ({"load": 41_234}, {"load": 90_001}),  # the short last chunk is drawn anew, and longer
        ({"load": 700}, {"load": 90_001}),
        ({"load": 5_500, "repeats": 9}, {"load": 8_250, "repeats": 9}),
        ({"load": 5_500, "repeats": 9}, {"load": 5_500, "repeats": 12}),
        ({"load": 5_500, "repeats": 9}, {"load": 9_000, "repeats": 13}),
        ({"load": 6_000, "repeats": 3}, {"load": 6_000, "repeats": 3}),
    ],
    ids=str,
)
def test_an_extended_simulation_equals_a_larger_one(many_shares, first, more):
    shape = {"chunk": 1_000, "seed": 11}
    before = simulate(**first, **shape)
    kept = json.loads(before.model_dump_json())["manifest"]
    extended = as_jobs(**more, **shape, extend=kept)
    assert figures(extended) == figures(simulate(**more, **shape))


def test_what_was_drawn_before_is_not_drawn_again(many_shares):
    before = simulate(load=80_000, chunk=1_000)
    (first, *_) = credit_loss.fanout.parts(Portfolio(load=100_000, chunk=1_000, extend=before.manifest))
    assert next(first.chunks()).number == 80
    assert before.manifest.parts == before.manifest.whole == 80


def test_one_that_stopped_early_can_go_on(many_shares):
    early = simulate(load=10**6, chunk=1_000, target_error=0.001)
    on = simulate(load=10**6, chunk=1_000, extend=early.manifest)
    assert figures(on) == figures(simulate(load=10**6, chunk=1_000))


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"chunk": 2_000}, "chunk"),
        ({"hazard_rate": 0.06}, "probability of default"),
        ({"macro": {"unemployment": 6}}, "probability of default"),
        ({"load": 4_000}, "load must be at least the 5000 loans"),
        ({"repeats": 1}, "repeats must be at least the 2"),
    ],
    ids=str,
)
def test_only_a_larger_one_of_the_same_draws_is_an_extension(other, named):
    before = simulate(load=5_000, chunk=1_000, repeats=2)
    params = {"load": 9_000, "chunk": 1_000, "repeats": 2, "extend": before.manifest.model_dump()}
    credit_loss.parse(params)
    with pytest.raises(PenstockError, match=f"extend: {named}"):
        credit_loss.parse(params | other)


def test_a_target_is_for_one_repeat():
    with pytest.raises(PenstockError, match="target_error"):
        credit_loss.parse({"load": 10, "repeats": 2, "target_error": 0.1})


FIRST_RESULT = """
import sys
from penstock.core.progress import Progress
from penstock.tasks.credit import credit_loss
from penstock.tasks.credit.portfolio import Portfolio
before = set(sys.modules)
credit_loss(Portfolio(load=1_000), Progress())
print(*(set(sys.modules) - before))
"""


def test_a_first_result_imports_nothing():
    """What is not imported before a child is forked is imported in each of them, while a job waits."""
    said = subprocess.run([sys.executable, "-c", FIRST_RESULT], check=True, capture_output=True, text=True)
    assert not said.stdout.split()
