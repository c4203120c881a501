"""The option price against Black-Scholes, over many seeds, and bit for bit."""

import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import Progress
from penstock.tasks.finance import european_option
from penstock.tasks.finance.draws import CHUNK, chunks, stream
from penstock.tasks.finance.moments import combine, mean
from penstock.tasks.finance.option import Option, black_scholes, draw_payoffs
from support.refusals import refusal

examined = settings(derandomize=True, deadline=None, max_examples=100)
CHECK = {
    "spot_price": 100,
    "strike_price": 105,
    "volatility": 0.25,
    "risk_free_rate": 0.05,
    "time_to_maturity": 1,
}


def price(progress=None, **params):
    return european_option(Option(**CHECK | params), progress or Progress())


@pytest.mark.parametrize(("kind", "value"), [("call", 10.002202), ("put", 9.881292)])
def test_closed_form_check_values(kind, value):
    assert price(option_type=kind).closed_form == pytest.approx(value, abs=5e-7)


@examined
@given(
    st.floats(1, 1_000), st.floats(1, 1_000), st.floats(0.01, 2), st.floats(-0.1, 0.3), st.floats(0.01, 10)
)
def test_put_call_parity(spot, strike, volatility, rate, years):
    option = Option(
        spot_price=spot,
        strike_price=strike,
        volatility=volatility,
        risk_free_rate=rate,
        time_to_maturity=years,
    )
    put = option.model_copy(update={"option_type": "put"})
    forward = spot - strike * math.exp(-rate * years)
    assert black_scholes(option) - black_scholes(put) == pytest.approx(forward, abs=1e-9 * (spot + strike))
    assert black_scholes(option) >= max(0, forward) - 1e-9 * spot


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"option_type": "put"},
        {"strike_price": 60, "time_to_maturity": 0.25},
        {"strike_price": 120, "volatility": 0.4, "time_to_maturity": 2, "risk_free_rate": -0.01},
        {"spot_price": 1e-3, "strike_price": 1e-3, "option_type": "put", "time_to_maturity": 5},
    ],
    ids=["call", "put", "in the money", "out of the money", "small prices"],
)
def test_price_is_within_four_standard_errors_over_many_seeds(params):
    found = [price(seed=seed, simulations=20_000, **params) for seed in range(150)]
    scores = [(each.option_price - each.closed_form) / each.standard_error for each in found]
    assert max(map(abs, scores)) <= 4
    # Standard errors are honest: the scores are standard normal, up to four errors of mean and spread.
    assert abs(np.mean(scores)) <= 4 / math.sqrt(150)
    assert np.std(scores) == pytest.approx(1, abs=4 / math.sqrt(300))


def test_interval_covers_the_price_as_often_as_it_says():
    found = [price(seed=seed, simulations=5_000) for seed in range(400)]
    low = sum(each.closed_form < each.confidence_interval[0] for each in found)
    high = sum(each.closed_form > each.confidence_interval[1] for each in found)
    assert low + high == pytest.approx(20, abs=4 * math.sqrt(400 * 0.05 * 0.95))


def test_same_seed_same_bits():
    once, again, other = (price(seed=seed, simulations=200_000) for seed in (7, 7, 8))
    assert once == again
    assert once.option_price != other.option_price


def test_the_sample_of_version_1_stays_the_same():
    """Another number here (say, from another NumPy) needs another version of the task."""
    assert price(seed=42, simulations=200_000).option_price == pytest.approx(PINNED, rel=1e-12)


PINNED = 10.048097002624667


def test_task_equals_its_chunks_in_any_order():
    option = Option(**CHECK, simulations=3 * CHUNK + 100, seed=5)
    parts = [draw_payoffs(option, chunk) for chunk in chunks(option.simulations)]
    combined = mean(combine(reversed(parts)), scale=option.discount)
    whole = european_option(option, Progress())
    assert (combined.value, combined.error) == (whole.option_price, whole.standard_error)


def test_chunks_draw_what_the_formula_says():
    option = Option(**CHECK, simulations=50_000, option_type="put")
    (chunk,) = chunks(50_000)
    draws = stream(0, chunk).standard_normal(50_000)
    final = 100 * np.exp(0.05 - 0.25**2 / 2 + 0.25 * draws)
    discounted = math.exp(-0.05) * np.maximum(105 - final, 0)
    found = european_option(option, Progress())
    assert found.option_price == pytest.approx(discounted.mean(), rel=1e-12)
    assert found.standard_error == pytest.approx(discounted.std(ddof=1) / math.sqrt(50_000), rel=1e-9)


def test_target_error_stops_and_says_so():
    found = price(simulations=10**9, target_error=0.02)
    assert found.standard_error <= 0.02
    assert found.stopped_early
    assert found.simulations % CHUNK == 0
    assert abs(found.option_price - found.closed_form) <= 4 * 0.02
    assert found == price(simulations=found.simulations).model_copy(update={"stopped_early": True})


def test_a_target_reached_by_the_last_chunk_is_no_early_stop():
    found = price(simulations=CHUNK, target_error=1)
    assert (found.simulations, found.stopped_early) == (CHUNK, False)


def test_memory_is_bounded():
    price(simulations=1_000)
    tracemalloc.start()
    try:
        price(simulations=2_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000  # bytes, where all draws at once would take 16 000 000


@pytest.mark.parametrize("extreme", [{"volatility": 3, "time_to_maturity": 50}, {"strike_price": 1e9}])
def test_extremes_stay_finite(extreme):
    found = json.loads(european_option.run(european_option.parse(CHECK | extreme), Progress()))
    assert None not in found.values()


@pytest.mark.parametrize(
    "wrong",
    [
        {"spot_price": 0},
        {"strike_price": -1},
        {"volatility": 0},
        {"volatility": math.nan},
        {"risk_free_rate": 5},
        {"time_to_maturity": 0},
        {"option_type": "swap"},
        {"simulations": 999},
        {"simulations": 1_000_000_001},
        {"seed": -1},
        {"target_error": 0},
        {"dividend": 0.01},
    ],
)
def test_bad_option_names_the_field(wrong):
    assert list(refusal(european_option, CHECK | wrong)) == [f"params.{field}" for field in wrong]
