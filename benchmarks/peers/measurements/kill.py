"""SIGKILL of all worker processes in the middle of 200 jobs of 20 ms, and a new worker at once."""

import time
from dataclasses import dataclass

from peers.measurement import Column, Figures, Measurement
from peers.plan import Plan
from peers.rig import Rig, rig

KILL_AT = 0.3
"""Share of the jobs that is done when the worker dies."""
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Comeback:
    """What a new worker made of the jobs: moments from its start, and results that are there."""

    first_s: float
    last_s: float
    stored: int


def run(contestant: str, plan: Plan) -> Figures:
    """One round."""
    with rig(contestant, "kill", plan) as built:
        crew = built.warm_workers()
        before = built.driver.stored()
        built.driver.submit("note", plan.jobs)
        built.driver.watch(before + round(KILL_AT * plan.jobs), TIMEOUT_S)
        crew.kill()
        comeback = come_back(built, before, plan)
        time.sleep(1)  # a job that is run twice may be running for the second time only now
        return ledger_of(built, plan, comeback)


def come_back(built: Rig, before: int, plan: Plan) -> Comeback:
    """Start a new worker; look until all is done or the wait is over."""
    left = built.driver.stored()
    crew = built.start_workers()
    all_done = before + plan.jobs
    samples = built.driver.watch(left + 1, plan.kill_wait_s)
    first_s = samples[-1][0] - crew.started_at
    samples += built.driver.watch(all_done, max(0.0, plan.kill_wait_s - first_s))
    return Comeback(first_s, samples[-1][0] - crew.started_at, samples[-1][1] - before)


def ledger_of(built: Rig, plan: Plan, comeback: Comeback) -> Figures:
    """Jobs without a result, jobs that ran to their end twice, and the time it took."""
    ran = built.ledger()
    missing = plan.jobs - min(comeback.stored, len(set(ran)))
    seconds = plan.kill_wait_s if missing else comeback.last_s
    return {
        "missing": missing,
        "twice": len(ran) - len(set(ran)),
        "seconds": seconds,
        "first": comeback.first_s,
    }


MEASUREMENT = Measurement(
    name="kill",
    title="SIGKILL of the whole worker mid-run, new worker at once",
    order=5,
    columns=(
        Column("missing", "without a result"),
        Column("twice", "ran to the end twice"),
        Column("seconds", "new worker's start to all done, s", 1, bound="kill_wait_s"),
        Column("first", "new worker's start to its first result, s", 1),
    ),
    run=run,
    target="0 lost, 0 doubled, all done within 6 s",
    best=min,
    chart=False,
)
