"""No-op jobs that wait already, then two worker processes: jobs/s until the last result is stored."""

import psutil

from peers.crew import Crew, cpu_seconds
from peers.measurement import Column, Figures, Measurement
from peers.plan import Plan
from peers.rig import Rig, rig

SKIPPED = 0.05
"""Share of the jobs whose time is left out, because the processes start up in it."""
TIMEOUT_S = 90.0


def run(contestant: str, plan: Plan) -> Figures:
    """One round."""
    with rig(contestant, "drain", plan) as built:
        jobs = plan.count(built.driver.about()["drain_rate"])
        built.driver.submit("noop", jobs)
        crew = built.start_workers()
        began, first = built.driver.watch(round(SKIPPED * jobs), TIMEOUT_S)[-1]
        before = spent(built, crew)
        ended, last = built.driver.watch(jobs, TIMEOUT_S)[-1]
        workers, redis = (after - early for after, early in zip(spent(built, crew), before, strict=True))
        if last != jobs:
            raise RuntimeError(f"{last} results of {jobs} jobs after {TIMEOUT_S} s")
        if last == first:
            raise RuntimeError("too few jobs: all were done between two looks")
        done = last - first
        return {
            "rate": done / (ended - began),
            "workers": 1e6 * workers / done,
            "redis": 1e6 * redis / done,
        }


def spent(built: Rig, crew: Crew) -> tuple[float, float]:
    """CPU seconds of the workers and of Redis so far."""
    return crew.cpu_seconds(), cpu_seconds(psutil.Process(built.server.pid))


MEASUREMENT = Measurement(
    name="drain",
    title="Drain: no-op jobs, 2 processes, results stored",
    order=1,
    columns=(
        Column("rate", "jobs/s"),
        Column("workers", "workers' CPU µs per job"),
        Column("redis", "Redis' CPU µs per job"),
    ),
    run=run,
    target="10 times the fastest peer",
    log_scale=True,
)
