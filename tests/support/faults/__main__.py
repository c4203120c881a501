"""``make faults SEED=7 ROUNDS=20``: fault runs one after the other, and the sum of their ledgers."""

import argparse
import asyncio
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from support.faults.ledger import Ledger
from support.faults.plan import Plan, draw
from support.faults.run import suffer
from support.faults.smalldisk import can_mount, small_disk

STORES = ("sqlite", "redis", "valkey")


def main() -> int:
    """The exit code: 1 if any promise was broken."""
    asked = _arguments()
    total = Ledger()
    for number in range(asked.rounds):
        store = asked.store or STORES[number % len(STORES)]
        plan = draw(asked.seed + number, store, asked.jobs, asked.faults, narrow=can_mount())
        again = (
            f'SEED={plan.seed} ROUNDS=1 ARGS="--store {store} --jobs {asked.jobs} --faults {asked.faults}"'
        )
        print(f"\nmake faults {again}\n{plan}", flush=True)
        total += _round(plan)
    print(f"\nsum of {asked.rounds} rounds from seed {asked.seed}\n{total.as_table()}")
    if asked.json:
        asked.json.write_text(total.as_json())
    return 0 if total.kept_its_promises else 1


def _round(plan: Plan) -> Ledger:
    """The folder with the logs of its nodes stays if a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-faults-"))
    with small_disk() as disk:
        ledger = _suffered(plan, folder, disk if plan.store == "sqlite" else None)
    print(ledger.as_table(), flush=True)
    if ledger.kept_its_promises:
        shutil.rmtree(folder)
    else:
        print(f"logs: {folder}", flush=True)
    return ledger


def _suffered(plan: Plan, folder: Path, disk: Path | None) -> Ledger:
    try:
        return asyncio.run(suffer(plan, folder, disk))
    except Exception as broken:  # noqa: BLE001 - the rounds to come and their sum are still wanted
        traceback.print_exc()
        return Ledger(runs=1, attempted=len(plan.works), anomalies=[f"the round broke off: {broken!r}"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each next one has the next")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", choices=STORES, help="one kind of broker only; by default they take turns")
    parser.add_argument("--jobs", type=int, default=1_000, help="jobs per round")
    parser.add_argument("--faults", type=int, default=12, help="faults of processes per round")
    parser.add_argument("--json", type=Path, help="file for the summed ledger")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
