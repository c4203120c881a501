"""From submitting one job to holding its result, workers idle, one job at a time."""

from peers.measurement import Column, Figures, Measurement
from peers.plan import Plan
from peers.rig import rig

PAUSE_S = 0.010


def run(contestant: str, plan: Plan) -> Figures:
    """One round."""
    with rig(contestant, "latency", plan) as built:
        built.warm_workers()
        waits = sorted(built.driver.answers(plan.answers, PAUSE_S))
        return {"p50": 1000 * percentile(waits, 50), "p99": 1000 * percentile(waits, 99)}


def percentile(ordered: list[float], per_cent: int) -> float:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, round(len(ordered) * per_cent / 100))]


MEASUREMENT = Measurement(
    name="latency",
    title="Submit to result in the caller's hands, idle",
    order=2,
    columns=(Column("p50", "p50, ms", 2), Column("p99", "p99, ms", 2)),
    run=run,
    target="p50 not above the hand-written loop",
    best=min,
    log_scale=True,
)
