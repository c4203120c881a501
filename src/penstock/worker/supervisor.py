"""The supervisor: claims jobs, gives them to slots, renews its lease, settles outcomes. Never runs user code.

Four loops share `_held`, every claim from its arrival to its accepted settlement: `_claiming` fills
it, `_renewing` speaks for it, `_settling` empties it, `_patrolling` looks after what runs. Each
survives a lost broker: it tries again until the broker is back.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import TypeVar

import structlog
from msgspec.structs import replace

from penstock.core.attempt import Request
from penstock.core.begun import called_off
from penstock.core.errors import PenstockError
from penstock.core.job import JobProgress, WorkerInfo
from penstock.core.lifecycle import Cancelled, Claim, Outcome, Released, Settlement, Succeeded
from penstock.core.verdict import settlement
from penstock.ports import Broker, Orders
from penstock.worker.children import Children
from penstock.worker.errands import Errands
from penstock.worker.holding import Holding
from penstock.worker.journal import Journal
from penstock.worker.pace import Pace
from penstock.worker.persist import persist
from penstock.worker.policy import WorkerPolicy
from penstock.worker.runtimes import RunTimes
from penstock.worker.safe import Safe
from penstock.worker.slot import Slot
from penstock.worker_ports import Executor, Spool

REPORT_S = 0.25
"""What tasks say is published at most this often; otherwise the lease is renewed every second."""

PATROL_S = 0.05
CLAIM_WAIT_S = 30.0
SETTLE_S = 10.0

Answer = TypeVar("Answer")


class Supervisor:
    """One worker. `run` returns when it has drained after `stop`.

    ``on_lapse`` is called whenever a renewal tells that some worker's lease has lapsed, ``on_outage``
    whenever the broker cannot be reached. ``spool`` keeps outcomes meanwhile.
    """

    def __init__(
        self,
        broker: Broker,
        executor: Executor,
        info: WorkerInfo,
        policy: WorkerPolicy,
        *,
        on_lapse: Callable[[], None] = lambda: None,
        on_outage: Callable[[], None] = lambda: None,
        spool: Spool | None = None,
    ) -> None:
        self._broker = broker
        self._info = info
        self._policy = policy
        self._on_lapse = on_lapse
        self._on_outage = on_outage
        self._log = structlog.get_logger("penstock.worker").bind(worker=info.id)
        self._journal = Journal(info.id)
        self._pace = Pace()
        self._run_times = RunTimes()
        self._slots = [Slot(n, executor, self, self._pace, policy.slot) for n in range(policy.slots)]
        self._held: dict[int, Holding] = {}
        self._local: deque[Holding] = deque()
        self._outbox: list[Settlement] = []
        self._posted: list[Settlement] = []
        self._safe = Safe(spool, lambda: self._posted + self._outbox)
        self._room = asyncio.Event()
        self._work = asyncio.Event()
        self._mail = asyncio.Event()
        self._said = asyncio.Event()
        self._speaking = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._errands = Errands(broker, self._persist)
        self._children = Children(executor, self._slots, self._stopping, self._use_room, self._log)

    def stop(self) -> None:
        """Drain: take nothing new, let running jobs finish. Called again: let nothing finish."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()
        self._info = replace(self._info, draining=True)

    async def run(self) -> None:
        """Start the slots, work until `stop`, drain, and leave."""
        try:
            if not await self._started():
                return
            async with asyncio.TaskGroup() as loops:
                claiming = loops.create_task(self._claiming())
                others = [
                    loops.create_task(work())
                    for work in (self._renewing, self._settling, self._patrolling, self._safe.run)
                ]
                await self._stopping.wait()
                claiming.cancel()
                await asyncio.wait({claiming})  # what it was just given is released below
                await self._drain()
                self._errands.stop()
                for loop in others:
                    loop.cancel()
        finally:
            await self._children.stop()
        await self._safe.close()
        await self._leave()
        self._journal.flush()
        self._log.info("stopped")

    async def _started(self) -> bool:
        """Whether the slots are up and the broker knows of this worker; False if it is to stop first."""
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            # A broker that was just being told of this worker knows it now, and has to hear that it leaves.
            return not starting.cancelled() and starting.exception() is None
        await starting
        return True

    async def _start(self) -> None:
        await self._children.start()
        await self._persist(self._renew)
        self._log.info(
            "connected, waiting for jobs", slots=len(self._slots), queues=list(self._policy.queues)
        )

    # The four loops

    async def _claiming(self) -> None:
        while not called_off():
            self._room.clear()
            wanted = self._appetite()
            if wanted <= 0:
                await self._room.wait()
                continue
            claims = await self._persist(lambda wanted=wanted: self._claim(wanted))  # type: ignore[misc]
            self._receive(claims)

    async def _claim(self, wanted: int) -> list[Claim]:
        return await self._broker.claim(self._info.id, self._policy.queues, wanted, CLAIM_WAIT_S)

    async def _renewing(self) -> None:
        while not called_off():
            await self._pause()
            self._said.clear()
            await self._persist(self._renew)

    async def _pause(self) -> None:
        """Until the next renewal: sooner if something was said, never later than the lease allows."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._policy.renew_s):
                await self._said.wait()
        await asyncio.sleep(max(0.0, began + min(REPORT_S, self._policy.renew_s) - loop.time()))

    async def _settling(self) -> None:
        while not called_off():
            await self._mail.wait()
            self._mail.clear()
            with self._safe.watching():
                # What an attempt said last can only be published while its token holds.
                if any(self._held[settled.token].talking for settled in self._outbox):
                    await self._persist(self._renew)
                await self._persist(self._settle)

    async def _patrolling(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._held:
                await asyncio.sleep(PATROL_S)
                now = time.monotonic()
                for slot in self._slots:
                    slot.patrol(now)
                self._release_stale(now)

    # What the loops do

    def _appetite(self) -> int:
        """How many jobs to claim now: half of what the slots may have at hand, once one is down to half.

        So a round trip brings many jobs, and while it lasts there is the other half to work on.
        """
        depth = self._pace.depth()
        wanted = [slot.appetite(depth) for slot in self._slots]
        if 2 * max(wanted, default=0) < depth:
            return 0
        half = len(self._slots) * max(1, depth // 2)
        return min(half, sum(wanted)) - len(self._local)

    def _receive(self, claims: list[Claim]) -> None:
        now = time.monotonic()
        for claim in claims:
            holding = Holding(claim, now)
            self._held[claim.token] = holding
            self._local.append(holding)
        self._distribute()
        if claims:
            self._work.set()
            self._pace.judge(kept_up=not self._local)

    def _distribute(self) -> None:
        """Give each waiting attempt to the least loaded slot; what that has no room for, none has."""
        if not self._local or self._stopping.is_set():
            return
        ready = [slot for slot in self._slots if slot.ready]
        while self._local and ready:
            slot = min(ready, key=_load)
            if not slot.fits():
                break
            slot.take(self._local.popleft())
        for slot in ready:
            slot.ship()

    def _use_room(self) -> None:
        """A slot has got a child: give it what waits here, and claim more."""
        self._distribute()
        self._room.set()

    def _release_stale(self, now: float) -> None:
        """Hand back what no slot will take soon: another worker may be idle."""
        stale = [holding for holding in self._local if now - holding.since > 2 * PATROL_S]
        for holding in stale:
            self._local.remove(holding)
            self._conclude(holding, Released())

    async def _renew(self) -> None:
        async with self._speaking:  # two reports at a time would publish the same lines twice
            reports = [holding.report() for holding in self._held.values()]
            busy = sum(slot.busy for slot in self._slots)
            info = replace(self._info, busy=busy, paces=self._run_times.usual())
            orders = await self._broker.renew(info, reports)
            for report in reports:
                if report.token in self._held:
                    self._held[report.token].reported(report)
        self._obey(orders)

    def _obey(self, orders: Orders) -> None:
        if orders.lapsed:
            self._on_lapse()
        for token in orders.cancel | orders.lost:
            holding = self._held.get(token)
            if holding is None or holding.cancelled:
                continue
            holding.cancelled = True
            holding.unwanted = token in orders.lost
            if holding in self._local:
                self._local.remove(holding)
                self._conclude(holding, Cancelled())
            for slot in self._slots:
                slot.stop_attempt(token)

    async def _settle(self) -> None:
        self._posted, self._outbox = self._outbox, []
        try:
            accepted = await self._broker.settle(self._posted)
        except BaseException:
            self._outbox, self._posted = self._posted + self._outbox, []
            raise
        batch, self._posted = self._posted, []
        for settled, ok in zip(batch, accepted, strict=True):
            holding = self._held.pop(settled.token)
            if not ok:
                self._log.warning("outcome refused", job=settled.job_id, attempt=holding.claim.attempt)
        self._room.set()

    def _conclude(self, holding: Holding, outcome: Outcome, elapsed_ms: float = 0.0) -> None:
        """Put an outcome into the post; one that nobody wants any more is dropped."""
        claim = holding.claim
        settled = settlement(claim, outcome, random.random())  # noqa: S311 - jitter
        self._journal.finished(claim.spec, claim.attempt, outcome, elapsed_ms, settled.verdict)
        if holding.unwanted:
            self._held.pop(holding.token, None)
            return
        self._outbox.append(settled)
        self._mail.set()

    # What the slots tell (`slot.Reports`)

    def finished(self, holding: Holding, outcome: Outcome, elapsed_ms: float) -> None:
        """Settle it and make use of the room."""
        if isinstance(outcome, Succeeded):
            self._run_times.learn(holding.claim.spec.task, elapsed_ms)
        self._conclude(holding, outcome, elapsed_ms)
        self._distribute()
        self._room.set()

    def returned(self, holdings: list[Holding]) -> None:
        """Another slot may take these; when stopping, another worker; a cancelled one nobody."""
        now = time.monotonic()
        for holding in reversed(holdings):
            holding.since = now
            if holding.cancelled:
                self._conclude(holding, Cancelled())
            else:
                self._local.appendleft(holding)
        if self._stopping.is_set():
            self._release_local()
        self._distribute()

    def noted(self, holding: Holding, progress: JobProgress) -> None:
        """Publish it with the next renewal."""
        holding.note(progress)
        self._said.set()

    def logged(self, holding: Holding, stream: str, text: str) -> None:
        """Log it here, and publish it with the next renewal."""
        self._journal.said(holding.claim.spec, holding.claim.attempt, stream, text)
        holding.add_line(text)
        self._said.set()

    def asked(self, slot: Slot, holding: Holding, request: Request) -> None:
        """Ask the broker."""
        self._errands.run(slot.reply, holding.claim.spec, request)

    def child_ended(self, slot: Slot, *, idle: bool) -> None:
        """Give the slot another child."""
        self._children.replace(slot, idle=idle)

    # Stopping

    async def _drain(self) -> None:
        self._log.info(
            "stopping", running=sum(slot.busy for slot in self._slots), grace_s=self._policy.drain_s
        )
        self._release_local()
        for slot in self._slots:
            slot.recall()
        await self._until(lambda: not any(slot.busy for slot in self._slots), self._policy.drain_s)
        for slot in self._slots:
            slot.release_all()
        await self._until(lambda: not self._held, SETTLE_S, patient=True)

    def _release_local(self) -> None:
        while self._local:
            self._conclude(self._local.popleft(), Released())

    async def _until(self, reached: Callable[[], bool], limit_s: float, *, patient: bool = False) -> None:
        """Wait for a condition that a finished or settled attempt may bring about."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while not reached() and loop.time() < deadline and (patient or not self._hurry.is_set()):
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATROL_S):
                    await self._room.wait()

    async def _leave(self) -> None:
        try:
            await self._broker.retire(self._info.id)
        except PenstockError as failed:
            self._log.warning("could not sign off; the lease will lapse", error=failed.message)

    async def _persist(self, action: Callable[[], Awaitable[Answer]]) -> Answer:
        """Repeat while the broker is away, with growing, jittered pauses."""
        return await persist(action, self._on_outage, self._log)


_load = attrgetter("load_ms")
