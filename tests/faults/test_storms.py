"""Real deployments under faults drawn from a seed: nothing is lost or done twice, and all goes on in seconds.

``make faults SEED=… ROUNDS=…`` runs more of the same. A failure prints its plan; the seed alone makes it
again.
"""

import pytest

from support.faults.ledger import Ledger
from support.faults.plan import draw
from support.faults.run import suffer
from support.faults.smalldisk import can_mount, small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.mark.parametrize(("store", "seed"), [("sqlite", 1), ("redis", 2), ("valkey", 3)])
async def test_a_storm_loses_and_doubles_nothing(store, seed, tmp_path):
    plan = draw(seed, store, jobs=300, faults=6, narrow=can_mount())
    with small_disk() as disk:
        ledger = await suffer(plan, tmp_path, disk if store == "sqlite" else None)
    show(plan, ledger)
    assert ledger.kept_its_promises, ledger.anomalies
    assert ledger.faults.total() >= 3, "too few of the faults happened to say anything"
    assert ledger.repeated <= ledger.attempted / 4


def show(plan: object, ledger: Ledger) -> None:
    print(plan, ledger.as_table(), ledger.as_json(), sep="\n")  # noqa: T201 - pytest keeps it for a failure
