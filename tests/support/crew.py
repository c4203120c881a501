"""A whole worker inside a test's own process: real supervisor, real children, real broker."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from penstock.brokers.sqlite import connect
from penstock.core.catalog import load
from penstock.core.clock import system_clock
from penstock.core.job import Job, WorkerInfo
from penstock.core.submission import Submission
from penstock.executors.process import ProcessExecutor
from penstock.ports import BrokerOptions, Event, EventKind
from penstock.service.desk import Desk
from penstock.service.upkeep import Upkeep
from penstock.worker.policy import SlotPolicy, WorkerPolicy
from penstock.worker.supervisor import Supervisor
from penstock.worker_ports import Spool
from support.wait import PATIENCE_S, answered, eventually

HAZARDOUS = str(Path(__file__).with_name("hazardous.py"))
DIVISIBLE = str(Path(__file__).with_name("divisible.py"))
MIB = 2**20


class Crew:
    """``async with Crew(tmp_path, slots=1) as crew``: a worker with the `hazardous` ``tasks``, or others.

    Crews of one folder share a broker. What is left of ``policy`` goes into `WorkerPolicy`; the
    durations of `BrokerOptions` and the limits of `SlotPolicy` have arguments of their own.
    """

    def __init__(
        self,
        folder: Path,
        name: str = "n/1",
        *,
        slots: int = 2,
        drain_s: float = 10.0,
        slot: SlotPolicy | None = None,
        options: BrokerOptions | None = None,
        spool: Spool | None = None,
        tasks: str = HAZARDOUS,
    ) -> None:
        url = f"sqlite:///{folder / 'penstock.db'}?synchronous=normal"
        self.broker = connect(url, options or BrokerOptions(), system_clock)
        self._front = connect(url, BrokerOptions(), system_clock)
        self.desk = Desk(self._front, load([tasks]), "desk")
        self.executor = ProcessExecutor([tasks])
        self.info = WorkerInfo(id=name, node="n", host="h", pid=1, slots=slots)
        self.policy = WorkerPolicy(
            slots=slots,
            queues=("default",),
            drain_s=drain_s,
            slot=slot or SlotPolicy(memory_bytes=2_000 * MIB),
        )
        self._keeping = Upkeep(self.broker, self.info.id)
        self.supervisor = Supervisor(
            self.broker,
            self.executor,
            self.info,
            self.policy,
            on_lapse=self._keeping.hurry,
            on_outage=self._keeping.hold_off,
            spool=spool,
        )

    async def __aenter__(self) -> Self:
        await self._front.open()
        await answered(self.broker.open)
        self._upkeep = asyncio.create_task(self._keeping.run())
        self.running = asyncio.create_task(self.supervisor.run())
        await eventually(lambda: self.running.done() or None not in self.slot_pids, what="slots are up")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.supervisor.stop()
        self.supervisor.stop()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.running
        finally:
            self._upkeep.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._upkeep
            await self.broker.close()
            await self._front.close()

    @property
    def slot_pids(self) -> list[int | None]:
        """The id of each slot's child."""
        return [slot.pid for slot in self.supervisor._slots]

    @property
    def zygote_pid(self) -> int:
        """The id of the process that children are forked from."""
        return self.executor._zygote.pid

    async def submit(self, task: str, params: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Submit one job; its id."""
        (job_id,) = await self.submit_many(task, [params or {}], **options)
        return job_id

    async def submit_many(self, task: str, params: list[Mapping[str, Any]], **options: Any) -> list[str]:
        """Submit one job for each of the parameters in one step; their ids."""
        wanted = [Submission(task=task, params=dict(each), **options) for each in params]
        return [receipt.job.id for receipt in await self.desk.submit_many(wanted, "request-1")]

    async def get(self, job_id: str) -> Job:
        """The job as it stands."""
        return await self.desk.get(job_id)

    async def finished(self, *job_ids: str, within: float = PATIENCE_S) -> list[Job]:
        """The jobs when all have ended."""
        jobs = await asyncio.gather(*(self.desk.get(job_id, within) for job_id in job_ids))
        unfinished = [job for job in jobs if not job.state.final]
        assert not unfinished, f"still {unfinished[0].state}: {unfinished[0].spec.task}"
        return jobs

    async def run(self, task: str, params: Mapping[str, Any] | None = None, **options: Any) -> Job:
        """Submit one job and wait until it has ended."""
        (job,) = await self.finished(await self.submit(task, params, **options))
        return job

    async def events(self, job_id: str | None = None, kind: EventKind | None = None) -> list[Event]:
        """What has happened so far, to this job or to all."""
        found: list[Event] = []
        while page := await self.broker.events(found[-1].id if found else "", 0):
            found += page
        return [
            event
            for event in found
            if job_id in {None, event.job_id} and (kind is None or event.kind == kind)
        ]
