"""``make faults SEED=7 ROUNDS=20``: fault runs one after the other, and the sum of their ledgers."""

import argparse
import asyncio
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from support.faults import fanin
from support.faults.ledger import Ledger
from support.faults.plan import Plan, draw
from support.faults.run import suffer
from support.faults.smalldisk import can_mount, small_disk

STORES = ("sqlite", "redis", "valkey")


def main() -> int:
    """The exit code: 1 if any promise was broken."""
    asked = _arguments()
    if asked.fan_in:
        return _fan_in(asked)
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


def _fan_in(asked: argparse.Namespace) -> int:
    """``--rounds`` deaths at the steps of splitting jobs and merging their parts, by every kind of store."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-fanin-"))
    broken = 0
    for store in [asked.store] if asked.store else STORES[:2]:
        account = asyncio.run(fanin.many(store, asked.seed, asked.rounds, folder, asked.lanes))
        print(f"{store}: {account.runs} jobs, {account.hit.total()} workers died: {dict(account.hit)}")
        print("\n".join(account.anomalies) or "every job ended once, with the right total", flush=True)
        broken += len(account.anomalies)
    if broken:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each next one has the next")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", choices=STORES, help="one kind of broker only; by default they take turns")
    parser.add_argument("--jobs", type=int, default=1_000, help="jobs per round")
    parser.add_argument("--faults", type=int, default=12, help="faults of processes per round")
    parser.add_argument("--fan-in", action="store_true", help="kill workers at the steps of jobs in parts")
    parser.add_argument("--lanes", type=int, default=2, help="deployments side by side, with --fan-in")
    parser.add_argument("--json", type=Path, help="file for the summed ledger")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
