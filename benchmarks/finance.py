"""Measures the finance simulations beside plain NumPy: ``python benchmarks/finance.py``.

The reference holds every draw at once. Both sides run in this process, in turn; printed is the median time of
each and their ratio.
"""

import math
import statistics
import time
from collections.abc import Callable

import numpy as np

from penstock import Progress
from penstock.tasks.finance import european_option, portfolio_var
from penstock.tasks.finance.option import Option
from penstock.tasks.finance.value_at_risk import SimulatedHoldings

ROUNDS = 5
SIMULATIONS = 2_000_000

OPTION = Option(
    spot_price=100,
    strike_price=105,
    volatility=0.25,
    risk_free_rate=0.05,
    time_to_maturity=1,
    simulations=SIMULATIONS,
)
HELD = SimulatedHoldings.model_validate(
    {
        "positions": [{"symbol": f"S{number}", "quantity": 10, "price": 100} for number in range(10)],
        "correlations": (0.5 * np.eye(10) + 0.5).tolist(),
        "simulations": SIMULATIONS,
    }
)


def main() -> None:
    """Print a Markdown table."""
    print(f"| {SIMULATIONS} simulations | task, s | plain NumPy, s | task / NumPy |\n|---|---|---|---|")
    for name, task, plain in (
        ("european_option", lambda: european_option(OPTION, Progress()), plain_option),
        ("portfolio_var, 10 positions", lambda: portfolio_var(HELD, Progress()), plain_var),
    ):
        rounds = [(timed(task), timed(plain)) for _ in range(ROUNDS)]
        ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
        print(f"| {name} | {ours:.3f} | {theirs:.3f} | {ours / theirs:.2f} |")


def timed(run: Callable[[], object]) -> float:
    """Seconds of wall-clock time."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def plain_option() -> float:
    """As in a textbook: one array per step."""
    draws = np.random.default_rng(0).standard_normal(SIMULATIONS)
    final = 100 * np.exp(0.05 - 0.25**2 / 2 + 0.25 * draws)
    payoffs = np.maximum(final - 105, 0)
    return float(math.exp(-0.05) * payoffs.mean() + payoffs.std(ddof=1))


def plain_var() -> float:
    """As in a textbook: a matrix of correlated draws, then the quantile."""
    factor = np.linalg.cholesky(HELD.matrix)
    draws = np.random.default_rng(0).standard_normal((SIMULATIONS, len(factor)))
    profits = draws @ factor.T @ HELD.amounts
    quantile = np.quantile(profits, 1 - HELD.confidence)
    return float(-profits[profits <= quantile].mean())


if __name__ == "__main__":
    main()
