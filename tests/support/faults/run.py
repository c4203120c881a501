"""One fault run from its plan to its ledger."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from penstock.core.errors import PenstockError
from penstock.core.job import State
from support.faults.audit import audit
from support.faults.clients import Clients
from support.faults.deployment import Deployment
from support.faults.inject import Injector
from support.faults.ledger import Ledger
from support.faults.plan import Plan
from support.wait import eventually

SETTLED_S = 150.0
QUIET_S = 90.0


async def suffer(plan: Plan, folder: Path, disk: Path | None = None) -> Ledger:
    """Carry out a plan on a new deployment in this folder, and count.

    What is not as it should be is in the ledger's anomalies: nothing is raised for it, so that runs can be
    summed.
    """
    began = time.monotonic()
    deployment = Deployment(plan, folder, disk)
    async with deployment.up():
        clients, injector = Clients(plan, folder.name, deployment.urls), Injector(deployment)
        async with asyncio.TaskGroup() as together:
            together.create_task(clients.bring())
            injecting = together.create_task(injector.run())
            injecting.add_done_callback(lambda _: clients.hurry())
        wrong = await _settled(deployment, list(clients.sent.jobs.values()))
        wrong += await _quiet(deployment)
        wrong += await deployment.stop()
        ledger = await audit(deployment, clients.sent, injector.suffered)
        ledger.missed = injector.missed
    ledger.anomalies += wrong
    ledger.duration_s = time.monotonic() - began
    return ledger


async def _settled(deployment: Deployment, ids: list[str]) -> list[str]:
    """Wait until every job has ended; the audit tells which did not."""

    async def ended() -> bool:
        try:
            stats = await deployment.broker.stats()
        except PenstockError:
            return False
        return sum(n for state, n in stats.states.items() if State(state).final) >= len(set(ids))

    return await _or_say(ended, SETTLED_S, "not every job ended")


async def _quiet(deployment: Deployment) -> list[str]:
    """Nothing is left in the queue, every lease is current, and the doctor finds nothing."""

    async def quiet() -> bool:
        stats = await deployment.broker.stats()
        empty = all(queue.running == queue.queued == queue.scheduled == 0 for queue in stats.queues)
        live = [worker.live for worker in stats.workers]
        return empty and all(live) and len(live) == deployment.plan.workers

    wrong = await _or_say(quiet, QUIET_S, "the queue is not empty, or a lease is not current")
    if complaint := await asyncio.to_thread(deployment.doctor):
        wrong.append(f"penstock doctor: {complaint}")
    return wrong


async def _or_say(condition: Callable[[], Awaitable[bool]], within: float, what: str) -> list[str]:
    """Nothing if it comes true in time, else what is wrong."""
    with contextlib.suppress(AssertionError):
        await eventually(condition, within)
        return []
    return [what]
