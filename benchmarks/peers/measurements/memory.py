"""Bytes of Redis memory that one waiting no-op job takes."""

from peers.measurement import Column, Figures, Measurement
from peers.plan import Plan
from peers.rig import rig


def run(contestant: str, plan: Plan) -> Figures:
    """One round; a few jobs before it, so that connections and scripts are not counted."""
    with rig(contestant, "memory", plan) as built:
        built.driver.submit("noop", 100)
        before = used_memory(built.server.client.info("memory"))
        built.driver.submit("noop", plan.memory_jobs)
        after = used_memory(built.server.client.info("memory"))
        return {"bytes": (after - before) / plan.memory_jobs}


def used_memory(info: object) -> int:
    """What Redis says it has allocated."""
    return int(info["used_memory"]) if isinstance(info, dict) else 0


MEASUREMENT = Measurement(
    name="memory",
    title="Redis memory per waiting job",
    order=8,
    columns=(Column("bytes", "bytes"),),
    run=run,
    target="none; told for planning",
    best=min,
    contestants=("penstock", "handwritten"),
    chart=False,
)
