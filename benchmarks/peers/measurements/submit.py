"""Submitting many jobs from one process by the fastest documented way, no worker running."""

from peers.measurement import Column, Figures, Measurement
from peers.plan import Plan
from peers.rig import rig


def run(contestant: str, plan: Plan) -> Figures:
    """One round; the first thousand warm up connections and caches."""
    with rig(contestant, "submit", plan) as built:
        jobs = plan.count(built.driver.about()["submit_rate"])
        built.driver.submit("noop", 1000)
        return {"rate": jobs / built.driver.submit("noop", jobs)}


MEASUREMENT = Measurement(
    name="submit",
    title="Bulk submit from one process",
    order=3,
    columns=(Column("rate", "jobs/s"),),
    run=run,
    target="0.7 of the hand-written pipeline",
    log_scale=True,
)
