"""Kills a worker at a named step of splitting a job and merging its parts, and asks what became of the job.

One deployment of two workers suffers many runs, one after the other: a job is submitted, whoever comes to the
step first dies there, and is started again while the other one goes on.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from penstock.core.catalog import load
from penstock.core.job import State
from penstock.core.submission import Submission
from penstock.ports import EventKind
from penstock.service.desk import Desk
from support.faults.deployment import HERE, Deployment
from support.faults.plan import Plan, Store, draw
from support.node import Node
from support.wait import eventually

STEPS = (
    "after-claim-split",
    "before-spread",
    "after-spread",
    "before-settle-split",
    "after-settle-split",
    "after-claim-part",
    "before-settle-part",
    "after-settle-part",
    "after-claim-merge",
    "before-results",
    "after-results",
    "before-settle-merge",
    "after-settle-merge",
)
LEASE_MS = 1_000
ENDS_S = 60.0


@dataclass(frozen=True)
class Run:
    """A job of ``count`` parts, and the step at which a worker dies after it was passed ``passes`` times."""

    number: int
    count: int
    step: str
    passes: int


@dataclass
class Account:
    """What became of the jobs: how often each step was hit, and whatever is not as it should be."""

    runs: int = 0
    hit: Counter[str] = field(default_factory=Counter)
    anomalies: list[str] = field(default_factory=list)


def runs(seed: int, count: int) -> list[Run]:
    """The runs of a seed; every step comes once before one comes twice."""
    dice = random.Random(f"{seed} fan-in")
    steps: list[str] = []
    while len(steps) < count:
        steps += dice.sample(STEPS, len(STEPS))
    return [_run(dice, number, step) for number, step in enumerate(steps[:count])]


def _run(dice: random.Random, number: int, step: str) -> Run:
    count = dice.randint(2, 24)
    often = {"part": count // 4, "merge": 3, "results": 3}  # settled in batches and by two workers
    most = often.get(step.rpartition("-")[2], 0)
    return Run(number, count, step, dice.randint(0, most))


def plan(store: Store) -> Plan:
    """Two workers of one slot and no API."""
    shape = draw(0, store, jobs=0, faults=0)
    return replace(shape, workers=2, apis=0, slots=1, lease_ms=LEASE_MS, lanes=(), parcels=())


async def suffer(store: Store, planned: Iterable[Run], folder: Path) -> Account:
    """Carry the runs out."""
    account = Account()
    deployment = Deployment(plan(store), folder)
    async with deployment.up():
        desk = Desk(deployment.broker, load([str(HERE / "tasks.py")]), "faults")
        for run in planned:
            account.runs += 1
            account.anomalies += [
                f"{run}: {wrong}" for wrong in await _suffer(deployment, desk, run, account)
            ]
        account.anomalies += await _left(deployment)
        account.anomalies += await deployment.stop()
    return account


async def _suffer(deployment: Deployment, desk: Desk, run: Run, account: Account) -> list[str]:
    for node in deployment.nodes["worker"]:
        _set(deployment.trap(node.name), run)
    receipt = await desk.submit(Submission(task="spread", params={"n": run.number, "count": run.count}))
    over = asyncio.Event()
    nursing = asyncio.create_task(_nurse(deployment, run, account, over))
    job = await desk.get(receipt.job.id, ENDS_S)
    over.set()
    await nursing
    return await _judge(deployment, run, job)


async def _nurse(deployment: Deployment, run: Run, account: Account, over: asyncio.Event) -> None:
    """Once a worker has died there, the other one is spared, and the dead one is started again."""
    traps = [deployment.trap(node.name) for node in deployment.nodes["worker"]]
    await eventually(lambda: over.is_set() or not all(trap.exists() for trap in traps), 2 * ENDS_S)
    for node in deployment.nodes["worker"]:
        if not _spare(deployment, node):
            account.hit[run.step] += 1
            await deployment.restart(node)
            _disarm(deployment, node)


def _set(trap: Path, run: Run) -> None:
    fresh = trap.with_suffix(".new")
    fresh.write_text(f"{run.step} kill {run.passes}")
    fresh.rename(trap)


def _spare(deployment: Deployment, node: Node) -> bool:
    """Take the trap away; False if this worker has stepped into it."""
    trap = deployment.trap(node.name)
    trap.unlink(missing_ok=True)
    return not trap.with_suffix(".sprung").exists()


def _disarm(deployment: Deployment, node: Node) -> None:
    deployment.trap(node.name).with_suffix(".sprung").unlink()


async def _judge(deployment: Deployment, run: Run, job) -> list[str]:
    wrong = []
    numbers = range(run.count)
    right = [sum(numbers), run.count, sum((turn + 1) * turn for turn in numbers)]
    if job.state is not State.SUCCEEDED or msgspec.json.decode(job.result) != right:
        wrong.append(f"it is {job.state} with {job.result!r} and {job.error}")
    ends = [event for event in await _events(deployment) if event.job_id == job.id]
    if [event.kind for event in ends] != [EventKind.SUCCEEDED]:
        wrong.append(f"it ended as {ends}")
    witnessed = Counter(int(line.split()[0]) for line in deployment.witness.read_text().splitlines())
    missing = [number for number in numbers if not witnessed[1_000_000 * run.number + number]]
    return wrong + ([f"parts never ran: {missing}"] if missing else [])


async def _events(deployment: Deployment):
    found = []
    while page := await deployment.broker.events(found[-1].id if found else "", 0.0):
        found += page
    return [event for event in found if event.kind in {"succeeded", "failed", "cancelled"}]


async def _left(deployment: Deployment) -> list[str]:
    async def empty() -> bool:
        stats = await deployment.broker.stats()
        return all(queue.running == queue.queued == queue.scheduled == 0 for queue in stats.queues)

    with contextlib.suppress(AssertionError):
        await eventually(empty)
        return []
    return [f"something is left: {await deployment.broker.stats()}"]


async def many(store: Store, seed: int, count: int, folder: Path, lanes: int = 1) -> Account:
    """So many runs, spread over deployments side by side."""
    planned = runs(seed, count)
    accounts = []
    async with asyncio.TaskGroup() as together:
        for lane in range(lanes):
            own = folder / f"{store}-{lane}"
            own.mkdir(parents=True)
            accounts.append(together.create_task(suffer(store, planned[lane::lanes], own)))
    total = Account()
    for each in accounts:
        account = each.result()
        total.runs += account.runs
        total.hit += account.hit
        total.anomalies += account.anomalies
    return total
