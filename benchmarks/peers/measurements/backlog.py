"""What a job costs when very many wait, against a thousand: submitted and run while the depth is kept.

CPU time of Redis and of the workers per job is what counts; the rate also suffers when a short queue
runs dry between two looks of the producer.
"""

import psutil

from peers.crew import Crew, cpu_seconds
from peers.measurement import Column, Figures, Measurement
from peers.plan import Plan
from peers.remote import Samples
from peers.rig import Rig, rig

SHALLOW = 1_000
BATCH = 500
WARM_UP_S = 2.0


def run(contestant: str, plan: Plan) -> Figures:
    """One round: both depths, each on a Redis of its own."""
    deep, deep_rate = cost(contestant, plan.backlog, plan)
    shallow, shallow_rate = cost(contestant, SHALLOW, plan)
    return {
        "ratio": deep / shallow,
        "deep": deep * 1e6,
        "shallow": shallow * 1e6,
        "deep_rate": deep_rate,
        "shallow_rate": shallow_rate,
    }


def cost(contestant: str, depth: int, plan: Plan) -> tuple[float, float]:
    """CPU seconds per job, and jobs/s, at this depth."""
    with rig(contestant, "backlog", plan) as built:
        preload(built, depth)
        crew = built.start_workers()
        built.driver.watch(1, 30.0)
        built.driver.feed(depth, WARM_UP_S, BATCH)
        before = used(built, crew)
        samples = built.driver.feed(depth, plan.seconds, BATCH)
        jobs, seconds = span(samples)
        return (used(built, crew) - before) / jobs, jobs / seconds


def preload(built: Rig, depth: int) -> None:
    """Submit in portions that each fit into one request's patience."""
    for start in range(0, depth, 100_000):
        built.driver.submit("noop", min(100_000, depth - start))


def used(built: Rig, crew: Crew) -> float:
    """CPU seconds of Redis and the workers so far."""
    return cpu_seconds(psutil.Process(built.server.pid)) + crew.cpu_seconds()


def span(samples: Samples) -> tuple[int, float]:
    """Jobs done and seconds passed between the first and the last look."""
    (began, first), (ended, last) = samples[0], samples[-1]
    if last == first:
        raise RuntimeError("no job was done")
    return last - first, ended - began


MEASUREMENT = Measurement(
    name="backlog",
    title="Cost per job with a long backlog against 1 000 waiting jobs",
    order=7,
    columns=(
        Column("ratio", "cost, long / short", 2),
        Column("deep", "long: CPU µs per job"),
        Column("shallow", "short: CPU µs per job"),
        Column("deep_rate", "long: jobs/s"),
        Column("shallow_rate", "short: jobs/s"),
    ),
    run=run,
    target="1.2 times the cost",
    best=min,
    contestants=("penstock",),
    chart=False,
)
