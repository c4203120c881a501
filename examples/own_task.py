"""Your own task: a Monte Carlo price, served by `penstock up examples/own_task.py`."""

import numpy as np

from penstock import Progress, task


@task(timeout="10m", example={"strike": 105, "volatility": 0.25})
def asian_call(strike: float, volatility: float, progress: Progress, batches: int = 200) -> dict[str, float]:
    """Call on the average of a year's daily closes: strike and price in % of today's, at a rate of 5 %."""
    rng, payoffs = np.random.default_rng(seed=0), []
    drift, scale = (0.05 - volatility**2 / 2) / 252, volatility / 252**0.5
    for _ in progress.track(range(batches), batches, "drawing 10 000 paths at a time"):
        closes = 100 * np.exp(rng.normal(drift, scale, (10_000, 252)).cumsum(axis=1))
        payoffs.append(np.exp(-0.05) * np.maximum(closes.mean(axis=1) - strike, 0))
    values = np.concatenate(payoffs)
    return {"price": float(values.mean()), "standard_error": float(values.std() / values.size**0.5)}
