"""No-op jobs that wait already, then two worker processes: jobs/s until the last result is stored."""

from peers.measurement import Column, Figures, Measurement
from peers.plan import Plan
from peers.remote import Samples
from peers.rig import rig

SKIPPED = 0.05
"""Share of the jobs whose time is left out, because the processes start up in it."""
TIMEOUT_S = 90.0


def run(contestant: str, plan: Plan) -> Figures:
    """One round."""
    with rig(contestant, "drain", plan) as built:
        jobs = plan.count(built.driver.about()["drain_rate"])
        built.driver.submit("noop", jobs)
        built.start_workers()
        samples = built.driver.watch(jobs, TIMEOUT_S)
        stored = built.driver.stored()
        if stored != jobs:
            raise RuntimeError(f"{stored} results of {jobs} jobs after {TIMEOUT_S} s")
        return {"rate": rate(samples, jobs)}


def rate(samples: Samples, jobs: int) -> float:
    """Jobs/s from the first look at which enough were done to the first at which all were."""
    began, done = next(sample for sample in samples if sample[1] >= SKIPPED * jobs)
    ended, all_done = samples[-1]
    if all_done == done:
        raise RuntimeError("too few jobs: all were done between two looks")
    return (all_done - done) / (ended - began)


MEASUREMENT = Measurement(
    name="drain",
    title="Drain: no-op jobs, 2 processes, results stored",
    order=1,
    columns=(Column("rate", "jobs/s"),),
    run=run,
    target="10 times the fastest peer",
    log_scale=True,
)
