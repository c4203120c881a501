"""Hit at every named step of a worker's and an API's work, one after the other under a steady load."""

from collections import Counter
from dataclasses import replace

import pytest

from support.faults.plan import STEPS, Fault, Parcel, Plan, Store, Work, draw
from support.faults.run import suffer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

EVERY_S = 0.1
"""With jobs of 0.14 s on two slots there is always one that runs, so that no renewal is about nothing."""

LASTS_S = 180.0
"""Longer than it can take; when all steps are through, it is enough."""

LEASE_MS = 1_500
DEATHS = tuple(Fault(0.1, "trap-kill", part, step=step) for part in ("api", "worker") for step in STEPS[part])
SLEEPS = tuple(
    Fault(0.1, "trap-stop", "worker", where=n, for_s=3.0, step=step)
    for n, step in enumerate((*STEPS["worker"], "before-settle"))
)
"""Each outlasts the lease, so that a worker wakes up with jobs and outcomes that another has taken over.

Now and then one falls asleep while it writes to a SQLite file, and nobody can; so one step comes twice.
"""


def steady(store: Store, workers: int, faults: tuple[Fault, ...]) -> Plan:
    """One API, a job every tenth of a second, every third cancelled, and these faults one after the other."""
    works = [
        Work(n, "busy", {"n": n, "seconds": 0.14}, cancel_after_s=0.05 if n % 3 == 0 else None)
        for n in range(int(LASTS_S / EVERY_S))
    ]
    parcels = tuple(Parcel(work.n * EVERY_S, (work,)) for work in works)
    shape = draw(0, store)
    return replace(
        shape,
        workers=workers,
        apis=1,
        slots=2,
        lease_ms=LEASE_MS,
        lanes=(faults,),
        parcels=parcels,
        endless=True,
    )


@pytest.mark.parametrize("store", ["sqlite", "redis"])
async def test_death_at_every_step_loses_and_doubles_nothing(store, tmp_path):
    ledger = await suffer(steady(store, 1, DEATHS), tmp_path)
    print(ledger.as_table())  # noqa: T201 - pytest keeps it for a failure
    assert ledger.kept_its_promises, ledger.anomalies
    assert ledger.faults == Counter(map(str, DEATHS)), "every trap was stepped into"
    assert ledger.unanswered, "the deaths of the API were noticed"


@pytest.mark.parametrize("store", ["sqlite", "redis"])
async def test_a_worker_that_sleeps_at_any_step_past_its_lease_changes_nothing(store, tmp_path):
    ledger = await suffer(steady(store, 2, SLEEPS), tmp_path)
    print(ledger.as_table())  # noqa: T201
    assert ledger.kept_its_promises, ledger.anomalies
    missed = Counter(map(str, SLEEPS)) - ledger.faults
    assert missed.total() <= 1, "a worker that sleeps may miss the next trap, no more"
    assert "outcome refused" in "".join(log.read_text() for log in tmp_path.glob("worker-*.log"))
