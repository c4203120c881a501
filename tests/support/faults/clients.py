"""Clients as they should be: each submission has an idempotency key and is repeated until it is answered."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from support.faults.plan import CLIENTS, Parcel, Plan, Work

TIMEOUT_S = 3.0
AGAIN_S = 0.05
TRY_LATER = {429, 503}


@dataclass
class Sent:
    """What clients know: which numbers they offered, which job each became, how long a request took.

    ``requests`` are those that were answered, from the first try on.
    """

    offered: set[int] = field(default_factory=set)
    jobs: dict[int, str] = field(default_factory=dict)
    requests: list[tuple[float, float]] = field(default_factory=list)
    unanswered: int = 0
    anomalies: list[str] = field(default_factory=list)


class Clients:
    """Bring the work of a plan to nodes at these addresses, in the plan's own time."""

    def __init__(self, plan: Plan, run: str, urls: Sequence[str]) -> None:
        self.sent = Sent()
        self._hurry = asyncio.Event()
        self._plan = plan
        self._run = run
        self._urls = urls
        self._dice = random.Random(plan.seed)
        self._cancels: set[asyncio.Task[None]] = set()

    def hurry(self) -> None:
        """The faults are over: what is left is submitted at once, or not at all if it is endless."""
        self._hurry.set()

    async def bring(self) -> None:
        """Until everything is accepted, and cancelled what was to be."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as self._http:
            parcels = iter(self._plan.parcels)
            began = time.monotonic()
            await asyncio.gather(*(self._work_off(parcels, began) for _ in range(CLIENTS)))
            await asyncio.gather(*self._cancels)

    async def _work_off(self, parcels: Any, began: float) -> None:
        for parcel in parcels:
            # Not a pause that waits for something to happen: it is the load itself.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(began + parcel.at_s - time.monotonic()):
                    await self._hurry.wait()
            if self._plan.endless and self._hurry.is_set():
                return
            await self._deliver(parcel)
            if any(work.again for work in parcel.works):
                await self._deliver(parcel)

    async def _deliver(self, parcel: Parcel) -> None:
        waiting = list(parcel.works)
        self.sent.offered |= {work.n for work in waiting}
        while waiting:
            bodies = [work.submission(self._run) for work in waiting]
            if len(bodies) == 1:
                receipts = [{"job": await self._ask("POST", "/jobs", bodies[0])}]
            else:
                receipts = (await self._ask("POST", "/batches", {"jobs": bodies}))["receipts"]
            answered = list(zip(waiting, receipts, strict=True))
            for work, receipt in answered:
                if "job" in receipt:
                    self._accepted(work, receipt["job"]["id"])
            waiting = [work for work, receipt in answered if "job" not in receipt]

    def _accepted(self, work: Work, job_id: str) -> None:
        known = self.sent.jobs.setdefault(work.n, job_id)
        if known != job_id:
            self.sent.anomalies.append(f"the key of {work.n} was answered with {known} and {job_id}")
        elif work.cancel_after_s is not None:
            cancel = asyncio.create_task(self._cancel(job_id, work.cancel_after_s))
            self._cancels.add(cancel)

    async def _cancel(self, job_id: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self._ask("DELETE", f"/jobs/{job_id}")

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        began = time.time()
        while True:
            try:
                answer = await self._http.request(method, self._dice.choice(self._urls) + path, json=body)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code not in TRY_LATER:
                break
            self.sent.unanswered += 1
            await asyncio.sleep(self._dice.uniform(0, 2 * AGAIN_S))
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        self.sent.requests.append((began, time.time()))
        return answer.json()
