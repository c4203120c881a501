"""Stress scenarios: every shock matters, and every figure is its formula."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import Progress
from penstock.tasks.finance import stress_test
from penstock.tasks.finance.stress import Scenario, StressedHoldings, recovery_months, stressed_deviation
from support.refusals import refusal

examined = settings(derandomize=True, deadline=None, max_examples=100)
HELD = {
    "positions": [
        {"symbol": "A", "quantity": 100, "price": 150},
        {"symbol": "B", "quantity": 50, "price": 80},
        {"symbol": "C", "quantity": -20, "price": 100},
    ],
    "volatilities": {"A": 0.25, "B": 0.3},
    "correlations": [[1, 0.5, 0.1], [0.5, 1, -0.2], [0.1, -0.2, 1]],
}


def stress(*scenarios, **params):
    held = StressedHoldings(**HELD | params, scenarios=[{"name": "neutral"}, *scenarios])
    return stress_test(held, Progress())


def test_a_neutral_scenario_changes_nothing():
    (neutral,) = stress().scenarios
    assert (neutral.loss, neutral.recovery_months) == (0, 0)
    assert math.copysign(1, neutral.loss) == 1
    assert neutral.stressed_var == stress().baseline_var


def test_baseline_check_value():
    only = {"positions": HELD["positions"][:1], "correlations": None, "volatilities": {"A": 0.25}}
    assert stress(**only).baseline_var == pytest.approx(1228.735, abs=5e-4)


@pytest.mark.parametrize("shock", ["equity_shock", "volatility_shock", "correlation_shock"])
def test_every_shock_changes_the_risk(shock):
    neutral, up, down = stress({"name": "up", shock: 0.3}, {"name": "down", shock: -0.3}).scenarios
    assert len({neutral.stressed_var, up.stressed_var, down.stressed_var}) == 3


def test_loss_is_that_of_the_prices():
    crash = stress({"name": "crash", "equity_shock": -0.3}).scenarios[1]
    assert crash.loss == pytest.approx(0.3 * 17_000)
    assert crash.loss_percent == pytest.approx(100 * 0.3 * 17_000 / 21_000)
    assert crash.stressed_var == pytest.approx(0.7 * stress().baseline_var)


def test_volatilities_scale_the_risk():
    assert stress({"name": "v", "volatility_shock": 1.5}).scenarios[1].stressed_var == pytest.approx(
        2.5 * stress().baseline_var
    )


matrix_shocks = st.floats(-1, 1)


@examined
@given(matrix_shocks, st.integers(1, 8), st.integers(0, 10**6))
def test_shocked_correlations_are_the_matrix_that_is_documented(shock, size, seed):
    chance = np.random.default_rng(seed)
    matrix = np.corrcoef(chance.standard_normal((size, size + 5))).reshape(size, size)
    positions = [{"symbol": str(n), "quantity": chance.normal() or 1, "price": 10} for n in range(size)]
    held = StressedHoldings(positions=positions, correlations=matrix.tolist(), scenarios=[{"name": "n"}])
    target = np.ones((size, size)) if shock > 0 else np.eye(size)
    shocked = (1 - abs(shock)) * matrix + abs(shock) * target
    assert np.linalg.eigvalsh(shocked).min() >= -1e-12
    assert np.allclose(np.diagonal(shocked), 1)
    variance = held.amounts @ shocked @ held.amounts
    found = stressed_deviation(held, Scenario(name="s", correlation_shock=shock))
    assert found**2 == pytest.approx(variance, rel=1e-9, abs=1e-9 * np.sum(held.amounts**2))


def test_correlations_of_one_make_the_risks_add_up():
    together = stress(
        {"name": "one", "correlation_shock": 1}, positions=HELD["positions"][:2], correlations=None
    )
    amounts = [150 * 100 * 0.25, 80 * 50 * 0.3]
    expected = 1.6448536269514722 * sum(amounts) * math.sqrt(10 / 252)
    assert together.scenarios[1].stressed_var == pytest.approx(expected)


def test_worst_and_average():
    found = stress({"name": "fall", "equity_shock": -0.2}, {"name": "rise", "equity_shock": 0.1})
    assert found.worst == found.scenarios[1]
    assert found.average == pytest.approx((0 + 0.2 - 0.1) * 17_000 / 3)


def test_among_equal_losses_the_riskier_is_worst():
    assert stress({"name": "wild", "volatility_shock": 1}).worst.name == "wild"


@examined
@given(st.floats(0.01, 0.99), st.floats(0.001, 1))
def test_recovery_earns_the_loss_back(share, growth):
    months = recovery_months(1_000, 1_000 * (1 - share), growth)
    assert 1_000 * (1 - share) * (1 + growth) ** (months / 12) == pytest.approx(1_000)


@pytest.mark.parametrize(
    ("before", "after", "growth", "months"),
    [(100, 100, 0.07, 0), (100, 120, -0.5, 0), (100, 50, 0, None), (100, 0, 0.07, None), (100, 50, 1, 12)],
)
def test_recovery_at_its_ends(before, after, growth, months):
    assert recovery_months(before, after, growth) == months


def test_recovery_reaches_the_result():
    crash = stress({"name": "crash", "equity_shock": -0.5}, expected_return=0.1).scenarios[1]
    assert crash.recovery_months == pytest.approx(12 * math.log(2) / math.log(1.1))


def test_the_example_runs_as_a_job():
    kept = stress_test.parse(dict(stress_test.example))
    report = json.loads(stress_test.run(kept, Progress()))
    assert [each["name"] for each in report["scenarios"]] == ["crash", "calm"]


def test_progress_counts_the_scenarios():
    reports = []
    held = StressedHoldings(**HELD, scenarios=[{"name": str(number)} for number in range(4)])
    stress_test(held, Progress(reports.append))
    assert [each.fraction for each in reports] == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("wrong", "field", "problem"),
    [
        ({"scenarios": []}, "scenarios", "at least 1"),
        ({"scenarios": [{"name": "a"}, {"name": "a"}]}, "scenarios", "a name of its own"),
        ({"scenarios": [{"name": "a", "equity_shock": -1.1}]}, "scenarios[0].equity_shock", "-1"),
        ({"scenarios": [{"name": "a", "volatility_shock": -1}]}, "scenarios[0].volatility_shock", "-0.99"),
        ({"scenarios": [{"name": "a", "correlation_shock": 1.1}]}, "scenarios[0].correlation_shock", "1"),
        ({"correlations": [[1, 1, 1]] * 3}, "correlations", "positive definite"),
        ({"volatilities": {"Z": 1}}, "volatilities", "unknown symbol 'Z'"),
        ({"expected_return": -1}, "expected_return", "-0.99"),
    ],
)
def test_what_is_wrong_is_named(wrong, field, problem):
    problems = refusal(stress_test, HELD | {"scenarios": [{"name": "a"}]} | wrong)
    assert list(problems) == [f"params.{field}"]
    assert problem in problems[f"params.{field}"]
