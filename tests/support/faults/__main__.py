"""``make faults SEED=7 ROUNDS=20``: fault runs one after the other, and the sum of their ledgers."""

import argparse
import asyncio
import sys
import tempfile
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
        total += _round(draw(asked.seed + number, store, asked.jobs, asked.faults, narrow=can_mount()))
    print(f"\nsum of {asked.rounds} rounds from seed {asked.seed}\n{total.as_table()}")
    if asked.json:
        asked.json.write_text(total.as_json())
    return 0 if total.kept_its_promises else 1


def _round(plan: Plan) -> Ledger:
    print(f"\n{plan}", flush=True)
    with tempfile.TemporaryDirectory(prefix="penstock-faults-") as name, small_disk() as disk:
        ledger = asyncio.run(suffer(plan, Path(name), disk if plan.store == "sqlite" else None))
    print(ledger.as_table(), flush=True)
    return ledger


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
