"""Tells whoever waits for a job in this process that it has ended, with the job itself.

Following the feed for that would have every node read what every job does. Here the step that ends a
job puts its id into the mailboxes that asked for it, and rings; what is in the box is fetched in the
same round trip.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Iterable, Iterator, Sequence

import hiredis

from penstock.brokers.redis.digits import id_bytes, id_texts
from penstock.brokers.redis.link import Link
from penstock.brokers.redis.records import read_jobs
from penstock.brokers.redis.waiter import BLOCK_S, Waiter
from penstock.core.begun import heed_cancel
from penstock.core.errors import PenstockError
from penstock.core.job import Job

STAY_S = 30.0
"""How long the reader stays after its last waiter left; the next one then need not start it again."""

AGAIN_S = 0.2

AHEAD_S = 10.0
"""How long a job that was submitted as awaited is expected before anybody has come to wait for it."""


class Mailbox:
    """One per broker; its reader runs while somebody waits."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiter = Waiter(link)
        self._box = secrets.token_hex(8)
        self._expected: dict[str, set[asyncio.Future[Job]]] = {}
        self._ahead: dict[str, tuple[asyncio.Future[Job], asyncio.TimerHandle]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._asked_on = 0

    def expect(self, job_ids: Iterable[str]) -> bytes:
        """What to submit jobs with that `wait` is called for soon, so that they need not be watched."""
        loop = asyncio.get_running_loop()
        self._read_on()
        for job_id in job_ids:
            ended: asyncio.Future[Job] = loop.create_future()
            self._expected.setdefault(job_id, set()).add(ended)
            forget = loop.call_later(AHEAD_S, self.expect_no_more, (job_id,))
            self._ahead[job_id] = ended, forget
        return self._box.encode()

    def expect_no_more(self, job_ids: Iterable[str]) -> None:
        """They were not kept with the mailbox, or nobody has come to wait."""
        for job_id in job_ids:
            if ahead := self._take_ahead(job_id):
                self._drop(job_id, ahead)

    def _take_ahead(self, job_id: str) -> asyncio.Future[Job] | None:
        ended, forget = self._ahead.pop(job_id, (None, None))
        if forget is not None:
            forget.cancel()
        return ended

    async def wait(self, job_id: str, wait_s: float) -> Job | None:
        """See `Broker.wait`."""
        give_up = asyncio.get_running_loop().time() + wait_s
        ahead = self._take_ahead(job_id)
        with self._expecting(job_id, ahead) as ended:
            if ahead is None:
                (job,) = await self._watch([job_id])
                heed_cancel()
                if job is None or job.state.final:
                    return job
            self._read_on()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(give_up):
                    return await ended
        (job,) = read_jobs([job_id], await self._link.call("get", id_bytes(job_id) or b"", 1))
        return job

    async def close(self) -> None:
        """Stop reading; who still waits runs into its own end."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})

    @contextlib.contextmanager
    def _expecting(self, job_id: str, ahead: asyncio.Future[Job] | None) -> Iterator[asyncio.Future[Job]]:
        ended = ahead or asyncio.get_running_loop().create_future()
        self._expected.setdefault(job_id, set()).add(ended)
        try:
            yield ended
        finally:
            self._drop(job_id, ended)

    def _drop(self, job_id: str, ended: asyncio.Future[Job]) -> None:
        waiting = self._expected[job_id]
        waiting.discard(ended)
        if not waiting:
            del self._expected[job_id]

    async def _watch(self, job_ids: Sequence[str]) -> list[Job | None]:
        """The jobs as they stand; of those that go on, the end will be told."""
        ids = [raw for job_id in job_ids if (raw := id_bytes(job_id))]
        if len(ids) < len(job_ids):
            return [None] * len(job_ids)  # only ever asked for one that is none
        return read_jobs(list(job_ids), await self._link.call("watch", self._box, b"".join(ids)))

    def _read_on(self) -> None:
        if self._reader is None or self._reader.done():
            self._asked_on = self._link.dialled
            self._reader = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        stay_until = loop.time() + STAY_S
        while self._expected or loop.time() < stay_until:
            if self._expected:
                stay_until = loop.time() + STAY_S
            try:
                await self._ask_again()
                self._deliver(await self._next(stay_until - loop.time()))
                await asyncio.sleep(0)  # whoever was told goes first; waiting on is in no hurry
            except PenstockError:
                self._asked_on = 0
                await asyncio.sleep(AGAIN_S)
            heed_cancel()

    async def _ask_again(self) -> None:
        """On another connection the server may be another one, and what was in the box is lost."""
        if self._asked_on != self._link.dialled and self._expected:
            jobs = await self._watch(list(self._expected))
            self._asked_on = self._link.dialled
            self._deliver(jobs)

    async def _next(self, stay_s: float) -> list[Job | None]:
        bell = self._link.key(f"mailbell:{self._box}")
        take = self._link.command("take", self._box, patience_s=stay_s + self._link.timeout_s)
        _, answer = await self._waiter.wait(("BLPOP", bell, BLOCK_S), take, timeout_s=stay_s)
        if isinstance(answer, hiredis.ReplyError):
            answer = await self._link.call("take", self._box)
        _, ids, parts = answer
        return read_jobs(id_texts(ids), parts)

    def _deliver(self, jobs: Sequence[Job | None]) -> None:
        for job in jobs:
            if job is not None and job.state.final:
                for ended in self._expected.get(job.id, ()):
                    if not ended.done():
                        ended.set_result(job)
