"""Jobs of 50 ms CPU time on two slots: which share of the two CPUs' time becomes work."""

import time

from peers.jobs import BURN_S
from peers.measurement import Column, Figures, Measurement
from peers.plan import Plan
from peers.rig import rig

SLOTS = 2
TIMEOUT_S = 90.0


def run(contestant: str, plan: Plan) -> Figures:
    """One round, from before the first submit until the last result is stored."""
    with rig(contestant, "cpu", plan) as built:
        built.warm_workers()
        before = built.driver.stored()
        began = time.monotonic()
        built.driver.submit("burn", plan.jobs)
        ended, stored = built.driver.watch(before + plan.jobs, TIMEOUT_S)[-1]
        if stored < before + plan.jobs:
            raise RuntimeError(f"{stored - before} results of {plan.jobs} jobs after {TIMEOUT_S} s")
        return {"share": plan.jobs * BURN_S / SLOTS / (ended - began)}


MEASUREMENT = Measurement(
    name="cpu",
    title="Jobs of 50 ms CPU on 2 slots",
    order=4,
    columns=(Column("share", "share of ideal", 3),),
    run=run,
    target="0.97, and not below the hand-written loop",
)
