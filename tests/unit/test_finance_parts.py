"""Finance simulations in parts give the bits of one in a piece, in any order, and stop at the same chunk."""

import base64
import json
import random
import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from penstock import Progress
from penstock.core.errors import PenstockError
from penstock.core.spans import MOST_SPANS
from penstock.tasks.finance import european_option, portfolio_var, shares
from penstock.tasks.finance.draws import CHUNK
from penstock.tasks.finance.draws import chunks as all_chunks
from penstock.tasks.finance.moments import Moments, exact_sum, shortest
from penstock.tasks.finance.simulation import Plan
from penstock.tasks.finance.tail import BINS, Tail
from support import parted
from support.finance import OPTION

examined = settings(derandomize=True, deadline=None, max_examples=100)
SIMULATIONS = 20 * CHUNK + 100
PORTFOLIO = {
    "positions": [
        {"symbol": "A", "quantity": 100, "price": 150},
        {"symbol": "B", "quantity": 50, "price": 80},
    ],
    "correlations": [[1, 0.4], [0.4, 1]],
}
TASKS = [(european_option, OPTION, 0.02), (portfolio_var, PORTFOLIO, 5.0)]

both = pytest.mark.parametrize(
    ("task", "params", "target"), TASKS, ids=lambda each: getattr(each, "name", "")
)


@pytest.fixture
def many_shares(monkeypatch):
    """A few hundred thousand simulations are cut as hundreds of millions are: two chunks a share."""
    monkeypatch.setattr(shares, "SMALL", CHUNK)
    monkeypatch.setattr(shares, "SHARE", 2 * CHUNK)
    monkeypatch.setattr(shares, "LAST_SHARE", CHUNK)


def plain(task, params):
    """What the plain function says."""
    return task(task.params_model.model_validate(params), Progress())


def manifest(task, params):
    """What the result says of how to go on, as JSON has it."""
    return json.loads(task.write(plain(task, params)))["manifest"]


def as_jobs(task, params, seed=1):
    """How many parts there are, done in any order, and what was folded."""
    return parted.as_jobs(task, params, random.Random(seed).shuffle)


@both
def test_parts_in_any_order_give_the_bits_of_one_piece(many_shares, monkeypatch, task, params, target):
    params = params | {"simulations": SIMULATIONS, "seed": 5}
    count, folding = as_jobs(task, params)
    assert count >= 10
    in_parts = plain(task, params)
    monkeypatch.setattr(shares, "SMALL", 10**9)
    assert folding.result() == in_parts == plain(task, params)
    assert in_parts.simulations == SIMULATIONS
    assert not in_parts.stopped_early


@both
def test_a_target_stops_at_the_same_chunk_however_it_is_cut(many_shares, monkeypatch, task, params, target):
    params = params | {"simulations": 60 * CHUNK, "seed": 5, "target_error": target}
    count, folding = as_jobs(task, params)
    found = folding.result()
    assert found.stopped_early
    assert found.standard_error <= target
    assert folding.reached
    assert 0 < folding.merged < count, "the rest is not even merged"
    monkeypatch.setattr(shares, "SMALL", 10**9)
    assert found == plain(task, params)
    before = plain(task, params | {"simulations": found.simulations - CHUNK, "target_error": None})
    assert before.standard_error > target, "it was the first chunk that will do"


@both
def test_the_estimate_is_told_with_its_error(many_shares, task, params, target):
    _, folding = as_jobs(task, params | {"simulations": SIMULATIONS})
    assert " ± " in folding.said
    assert folding.said.endswith("after 1 310 820 of 1 310 820 simulations")


@both
def test_small_simulations_stay_in_one_piece(task, params, target):
    (part,) = task.fanout.parts(task.params_model.model_validate(params))
    assert part.share.whole
    many = task.fanout.parts(task.params_model.model_validate(params | {"simulations": 10**9}))
    assert 100 < sum(1 for _ in many) <= MOST_SPANS


@examined
@given(st.integers(1_000, 10**9), st.integers(1, 250))
def test_shares_cover_every_chunk_once(simulations, numbers):
    cut = list(shares.shares(Plan(simulations, None), numbers))
    assert len(cut) <= MOST_SPANS
    assert [each.first for each in cut] == [0, *(each.end for each in cut[:-1])]
    assert cut[-1].end == -(-simulations // CHUNK)
    first_and_last = [*cut[0].chunks()][:1] + [*cut[-1].chunks()][-1:]
    every = list(all_chunks(simulations)) if simulations < 10**7 else None
    assert every is None or [chunk for share in cut for chunk in share.chunks()] == every
    assert first_and_last[-1].draws == simulations - (cut[-1].end - 1) * CHUNK


@examined
@given(st.lists(st.integers(0, 2**40), max_size=50), st.integers(0, 10**9))
def test_a_tail_comes_through_json_unchanged(some, draws):
    counts = np.zeros(BINS, np.int64)
    counts[: len(some)] = some
    kept = TypeAdapter(Tail)
    found = kept.validate_json(kept.dump_json(Tail(draws, counts)))
    assert found.draws == draws
    assert np.array_equal(found.counts, counts)


@examined
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=6))
def test_moments_come_through_json_bit_for_bit(values):
    kept = TypeAdapter(Moments)
    given_ = Moments(7, tuple(values), tuple(values[::-1]))
    assert kept.validate_json(kept.dump_json(given_)) == given_


def test_what_a_part_is_told_and_tells_is_small():
    many = [{"symbol": str(number), "quantity": 1, "price": 10} for number in range(250)]
    params = {"positions": many, "correlations": np.eye(250).tolist(), "simulations": 10**7}
    part = next(portfolio_var.fanout.parts(portfolio_var.read(portfolio_var.parse(params))))
    assert len(portfolio_var.fanout.write_part(part)) < 10_000, "bytes, not the whole matrix"
    share = shares.Share(simulations=CHUNK, target_error=None, first=0, end=1)
    part = part.model_copy(update={"share": share})
    told = portfolio_var.run_part(portfolio_var.fanout.write_part(part), Progress())
    assert len(told) < 30_000, "bytes"
    assert msgspec.json.decode(told)


# Extending


@both
@pytest.mark.parametrize(
    "simulations",
    [
        (5_000, 20_000),  # not one chunk was drawn to its end
        (2 * CHUNK + 500, 2 * CHUNK + 400),  # the short one is drawn anew, even if shorter
        (CHUNK, 4 * CHUNK + 7),
        (3 * CHUNK, 3 * CHUNK),
        (3 * CHUNK + 7, SIMULATIONS),
        (8 * CHUNK, SIMULATIONS),
    ],
)
def test_an_extended_simulation_has_the_bits_of_a_larger_one(many_shares, task, params, target, simulations):
    first, more = simulations
    before = manifest(task, params | {"simulations": first, "seed": 5})
    assert before["chunks"] == first // CHUNK
    larger = params | {"simulations": more, "seed": 5}
    expected = plain(task, larger)
    assert as_jobs(task, larger | {"extend": before})[1].result() == expected
    assert plain(task, larger | {"extend": before}) == expected


@both
def test_in_one_piece_it_is_the_same(task, params, target):
    before = manifest(task, params | {"simulations": 3 * CHUNK + 9})
    larger = params | {"simulations": 5 * CHUNK}
    assert plain(task, larger | {"extend": before}) == plain(task, larger)


@both
def test_what_was_drawn_before_is_not_drawn_again(many_shares, task, params, target):
    before = manifest(task, params | {"simulations": 6 * CHUNK + 9})
    larger = params | {"simulations": 12 * CHUNK, "extend": before}
    parts = list(task.fanout.parts(task.params_model.model_validate(larger)))
    numbers = [chunk.number for part in parts for chunk in part.share.chunks()]
    assert numbers == list(range(6, 12))
    assert max(len(task.fanout.write_part(part)) for part in parts) < 1_000, "bytes, not the manifest"


@both
def test_one_that_stopped_early_goes_on_to_a_smaller_error(many_shares, task, params, target):
    params = params | {"simulations": 200 * CHUNK, "seed": 5}
    before = manifest(task, params | {"target_error": target})
    closer = params | {"target_error": target / 2}
    found = as_jobs(task, closer | {"extend": before})[1].result()
    assert found.stopped_early
    assert found == plain(task, closer)
    assert found.simulations > before["chunks"] * CHUNK


@both
def test_what_is_exact_enough_already_draws_nothing(many_shares, task, params, target):
    params = params | {"simulations": 60 * CHUNK, "target_error": target}
    before = manifest(task, params)
    assert not list(task.fanout.parts(task.params_model.model_validate(params | {"extend": before})))
    assert plain(task, params | {"extend": before}) == plain(task, params)


def test_the_losses_that_were_kept_answer_for_another_confidence():
    params = PORTFOLIO | {"simulations": 4 * CHUNK}
    before = manifest(portfolio_var, params)
    other = params | {"confidence": 0.99}
    assert plain(portfolio_var, other | {"extend": before}) == plain(portfolio_var, other)


@both
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"seed": 1}, "extend: seed is not that of"),
        ({"simulations": CHUNK}, "simulations: must be at least the 131072 that"),
        ({"version": "0"}, "extend: version is not that of"),
    ],
    ids=str,
)
def test_only_a_larger_one_of_the_same_draws_is_an_extension(task, params, target, other, said):
    before = manifest(task, params | {"simulations": 2 * CHUNK})
    larger = params | {"simulations": 3 * CHUNK, "extend": before}
    task.parse(larger)
    if "version" in other:
        other = {"extend": before | other}
    with pytest.raises(PenstockError, match=said):
        task.parse(larger | other)


@pytest.mark.parametrize(
    ("task", "params", "other"),
    [
        (european_option, OPTION, {"volatility": 0.3}),
        (portfolio_var, PORTFOLIO, {"volatilities": {"A": 0.5}}),
    ],
    ids=["option", "portfolio"],
)
def test_of_other_parameters_it_is_another_simulation(task, params, other):
    before = manifest(task, params)
    with pytest.raises(PenstockError, match="one of the parameters is not that of"):
        task.parse(params | other | {"extend": before})


def packed(values):
    return base64.b64encode(zlib.compress(np.array(values, "<i8").tobytes())).decode()


@pytest.mark.parametrize(
    "counts",
    [
        "not base64!",
        base64.b64encode(b"not packed").decode(),
        packed([1, 2, 3]),
        packed([0] * (BINS + 1)),
        packed([-1] + [0] * (BINS - 1)),
        packed([CHUNK + 1] + [0] * (BINS - 1)),
        packed([CHUNK, 1] + [0] * (BINS - 2)),
        packed([2**62] * 4 + [0] * (BINS - 4)),
        base64.b64encode(zlib.compress(bytes(10**7))).decode(),
    ],
    ids=["text", "bytes", "few", "many", "negative", "one", "sum", "overflow", "bomb"],
)
def test_a_made_up_tail_is_refused(counts):
    before = manifest(portfolio_var, PORTFOLIO | {"simulations": CHUNK})
    with pytest.raises(PenstockError, match="extend"):
        portfolio_var.parse(PORTFOLIO | {"extend": before | {"counts": counts}})


@pytest.mark.parametrize(
    "sums",
    [
        {"total": [1e308] * 3},
        {"squares": [1e291]},
        {"total": [-1.0]},
        {"squares": [1.0, -2.0]},
        {"total": [1.0] * 101},
    ],
    ids=["infinite", "large", "negative", "squares", "many"],
)
def test_made_up_sums_are_refused(sums):
    before = manifest(european_option, OPTION | {"simulations": CHUNK})
    with pytest.raises(PenstockError, match="extend"):
        european_option.parse(OPTION | {"extend": before | sums})


@examined
@given(st.lists(st.floats(-1e200, 1e200), max_size=8), st.randoms())
def test_a_sum_has_one_form_whatever_the_order(values, shuffler):
    one = shortest(exact_sum((), values))
    shuffler.shuffle(values)
    other = shortest(exact_sum((), values))
    assert one == other
    assert not shortest(exact_sum(one, [-each for each in values])), "it is still the sum"
