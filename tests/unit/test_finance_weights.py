"""Least-variance weights against every active set, optimality conditions and closed forms."""

import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import DoNotRetry, Progress
from penstock.tasks.finance import optimal_portfolio, quadratic
from penstock.tasks.finance.quadratic import Bounds, Equality, least_variance
from penstock.tasks.finance.weights import History, annualised, highest_return
from support.refusals import refusal

examined = settings(derandomize=True, deadline=None, max_examples=60)
seeds = st.integers(0, 10**6)
NAMES = [f"S{number}" for number in range(200)]


def past(chance, assets, periods=60):
    """Returns with a common factor, so that assets are correlated."""
    common = chance.normal(0, 0.01, (periods, 1))
    return chance.normal(0.0005, 0.01, (periods, assets)) * chance.uniform(0.3, 3, assets) + common


def mix(returns, **params):
    table = np.asarray(returns)
    return optimal_portfolio(History(assets=NAMES[: table.shape[1]], returns=table.tolist(), **params))


def least_by_enumeration(covariance, bounds, equalities):
    """Every weight at its lower bound, at its upper one, or free: the best of all that fulfil the rest."""
    size, best = len(covariance), math.inf
    rows, values = np.array([e.coefficients for e in equalities]), np.array([e.value for e in equalities])
    for places in itertools.product("lfu", repeat=size):
        free = np.array([place == "f" for place in places])
        weights = np.array([bounds.most if place == "u" else bounds.least for place in places], dtype=float)
        weights[free] = 0
        inside, count = rows[:, free], int(free.sum())
        system = np.block([[covariance[np.ix_(free, free)], inside.T], [inside, np.zeros((len(rows),) * 2)]])
        right = np.concatenate([-(covariance @ weights)[free], values - rows @ weights])
        weights[free] = np.linalg.lstsq(system, right, rcond=None)[0][:count]
        fits = np.allclose(rows @ weights, values, atol=1e-9)
        if fits and np.all(weights >= bounds.least - 1e-9) and np.all(weights <= bounds.most + 1e-9):
            best = min(best, weights @ covariance @ weights)
    return best


@examined
@given(seeds)
def test_no_active_set_is_better(seed):
    chance = np.random.default_rng(seed)
    size = int(chance.integers(1, 6))
    means, covariance = annualised(past(chance, size).tolist(), 252)
    bounds = Bounds(float(chance.choice([0, -0.5, 0.5 / size])), float(chance.choice([1, 1.5 / size])))
    equalities = [Equality(np.ones(size), 1.0)]
    if chance.random() < 0.6:
        low, high = -highest_return(-means, *bounds), highest_return(means, *bounds)
        equalities.append(Equality(means, low + chance.random() * (high - low)))
    weights = least_variance(covariance, bounds, equalities)
    least = least_by_enumeration(covariance, bounds, equalities)
    assert weights @ covariance @ weights == pytest.approx(least, rel=1e-8)
    assert all(each.coefficients @ weights == pytest.approx(each.value, abs=1e-9) for each in equalities)


@examined
@given(seeds)
def test_optimality_conditions_hold_for_many_assets(seed):
    """Along every pair of assets whose weights can be shifted, the risk cannot fall (Karush-Kuhn-Tucker)."""
    chance = np.random.default_rng(seed)
    _, covariance = annualised(past(chance, 40, 250).tolist(), 252)
    bounds = Bounds(0.0, 0.1)
    weights = least_variance(covariance, bounds, [Equality(np.ones(40), 1.0)])
    gradient = covariance @ weights
    can_fall, can_rise = weights > 1e-6, weights < 0.1 - 1e-6
    assert gradient[can_fall].max() <= gradient[can_rise].min() + 1e-6 * np.trace(covariance) / 40


def test_two_assets_have_a_closed_form():
    table = past(np.random.default_rng(1), 2)
    (a, c), (_, b) = np.cov(table.T)
    found = mix(table, min_weight=-10, max_weight=10)
    assert found.weights["S0"] == pytest.approx((b - c) / (a + b - 2 * c), abs=1e-7)


def test_figures_are_annual_and_follow_from_the_weights():
    table = past(np.random.default_rng(2), 4)
    found = mix(table, periods_per_year=12, risk_free_rate=0.01)
    weights = np.array(list(found.weights.values()))
    assert found.expected_return == pytest.approx(12 * table.mean(axis=0) @ weights)
    assert found.risk == pytest.approx(math.sqrt(12 * np.var(table @ weights, ddof=1)))
    assert found.sharpe_ratio == pytest.approx((found.expected_return - 0.01) / found.risk)


def test_target_is_met_and_costs_risk():
    table = past(np.random.default_rng(3), 5)
    free = mix(table)
    means = table.mean(axis=0) * 252
    target = (free.expected_return + max(means)) / 2
    found = mix(table, target_return=target)
    assert found.expected_return == pytest.approx(target, abs=1e-9)
    assert found.risk > free.risk
    assert sum(found.weights.values()) == pytest.approx(1, abs=1e-9)


def test_the_highest_possible_target_takes_the_best_asset():
    table = past(np.random.default_rng(4), 5)
    means = table.mean(axis=0) * 252
    found = mix(table, target_return=float(max(means)))
    assert found.weights[NAMES[int(np.argmax(means))]] == pytest.approx(1, abs=1e-4)


@examined
@given(seeds)
def test_highest_return_is_the_linear_program_s(seed):
    """No corner of the feasible weights returns more: all but one weight are at a bound there."""
    chance = np.random.default_rng(seed)
    size = int(chance.integers(1, 6))
    means, least, most = chance.normal(size=size), float(chance.uniform(-1, 1 / size)), 0.0
    most = float(chance.uniform(1 / size, 2))
    corners = []
    for other in range(size):
        for ends in itertools.product([least, most], repeat=size - 1):
            weights = np.insert(np.array(ends), other, 1 - sum(ends))
            if least - 1e-12 <= weights[other] <= most + 1e-12:
                corners.append(means @ weights)
    assert highest_return(means, least, most) == pytest.approx(max(corners), abs=1e-9)


@pytest.mark.parametrize(("assets", "periods"), [(200, 1_000), (200, 60), (100, 3), (1, 2)])
@pytest.mark.parametrize("bounds", [(0, 1), (-0.1, 0.1), (0, 0.02)])
def test_hard_sizes_are_solved(assets, periods, bounds):
    """Many assets that are almost alike, and more assets than periods, where risk can vanish."""
    table = past(np.random.default_rng(5), assets, periods) * 0.03
    table += np.random.default_rng(6).normal(0, 0.01, (periods, 1))
    least, most = (bounds[0], max(bounds[1], 1 / assets))
    means = table.mean(axis=0) * 252
    low, high = -highest_return(-means, least, most), highest_return(means, least, most)
    for target in (None, high, 0.1 * low + 0.9 * high):
        found = mix(table, min_weight=least, max_weight=most, target_return=target)
        assert sum(found.weights.values()) == pytest.approx(1, abs=1e-7)


def test_the_solver_is_there_without_scipy():
    """Every node imports it at its start, where SciPy would cost 0.2 s."""
    told = "import sys, penstock.tasks.finance; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0


def test_without_risk_there_is_no_sharpe_ratio():
    found = mix([[0.01, 0.02]] * 3)
    assert (found.risk, found.sharpe_ratio) == (0, None)


def test_what_the_solver_cannot_do_is_not_retried(monkeypatch):
    monkeypatch.setattr(quadratic, "_TOLERANCES", (1e-300,))
    monkeypatch.setattr(quadratic, "_ALMOST", 1e-300)
    with pytest.raises(DoNotRetry, match="sum, bounds and target_return"):
        mix(past(np.random.default_rng(7), 5))


def test_the_example_runs_as_a_job():
    kept = optimal_portfolio.parse(dict(optimal_portfolio.example))
    assert json.loads(optimal_portfolio.run(kept, Progress()))["expected_return"] == pytest.approx(0.1)


TWO = {"assets": ["A", "B"], "returns": [[0.01, 0.02], [0.02, -0.01], [0.0, 0.01]]}


@pytest.mark.parametrize(
    ("wrong", "field", "problem"),
    [
        ({"assets": ["A", "A"]}, "assets", "once"),
        ({"returns": [[0.01, 0.02]]}, "returns", "at least 2"),
        ({"returns": [[0.01, 0.02], [0.01]]}, "returns", "row 1 must have 2 columns"),
        ({"returns": [[0.01, 0.02], [0.01, math.nan]]}, "returns[1][1]", "finite"),
        ({"returns": [[0.01, 0.02], [0.01, -2]]}, "returns[1][1]", "-1"),
        ({"min_weight": 0.6}, "min_weight", "infeasible: 2 weights of 0.6 exceed 1"),
        ({"max_weight": 0.4}, "max_weight", "infeasible: 2 weights of 0.4 stay below 1"),
        ({"min_weight": 0.5, "max_weight": 0.49}, "max_weight", "infeasible"),
        ({"target_return": 3}, "target_return", "infeasible: weights within their bounds return from"),
        ({"target_return": -3}, "target_return", "infeasible"),
        ({"periods_per_year": 0}, "periods_per_year", "greater than 0"),
        ({"risk_free_rate": 11}, "risk_free_rate", "10"),
    ],
)
def test_what_is_wrong_is_named(wrong, field, problem):
    problems = refusal(optimal_portfolio, TWO | wrong)
    assert list(problems) == [f"params.{field}"]
    assert problem in problems[f"params.{field}"]


def test_a_table_of_the_largest_size_is_the_limit():
    table = np.zeros((2_501, 100)).tolist()
    params = {"assets": NAMES[:100], "returns": table}
    assert refusal(optimal_portfolio, params) == {"params.returns": "must be at most 250000 numbers in all"}
    assert optimal_portfolio.parse(params | {"returns": table[:2_500]})
