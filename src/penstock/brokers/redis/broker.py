"""The `Broker` contract on Redis or Valkey: a verb is one script and one round trip, whatever the batch."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import hiredis
import msgspec

from penstock.brokers.redis import listing
from penstock.brokers.redis.ahead import read_ahead, read_clients
from penstock.brokers.redis.digits import id_bytes
from penstock.brokers.redis.figures import read_stats
from penstock.brokers.redis.gather import Gather, Known
from penstock.brokers.redis.link import Link
from penstock.brokers.redis.mailbox import Mailbox
from penstock.brokers.redis.memory import read_attempts
from penstock.brokers.redis.packing import (
    PackedJob,
    pack_cancel,
    pack_ids,
    pack_job,
    pack_jobs,
    pack_parts,
    pack_renewal,
    pack_settlements,
    pack_terms,
)
from penstock.brokers.redis.reader import Reader
from penstock.brokers.redis.receipts import read_answers
from penstock.brokers.redis.records import read_claims, read_jobs
from penstock.brokers.redis.sharing import print_of
from penstock.brokers.redis.url import Target, parse
from penstock.brokers.redis.waiter import BLOCK_S, Waiter
from penstock.core import family, lifecycle
from penstock.core.begun import heed_cancel
from penstock.core.clock import Clock, system_clock
from penstock.core.errors import ErrorCode, PenstockError, broker_unavailable
from penstock.core.fairness import ClientTerms
from penstock.core.forecast import Ahead
from penstock.core.job import Job, JobSpec, WorkerInfo
from penstock.core.lifecycle import Claim, Settlement
from penstock.core.past import Attempt
from penstock.ports import (
    Admission,
    BrokerOptions,
    ClientWaits,
    Event,
    Held,
    JobQuery,
    Orders,
    Receipt,
    Stats,
)

SCHEMA_VERSION = 1


def connect(url: str, options: BrokerOptions, clock: Clock) -> "RedisBroker":
    """A broker for the URLs of `url.parse`; connects to nothing yet.

    The present is the server's, unless another ``clock`` than the machine's own is given.
    """
    return RedisBroker(parse(url, options.namespace), options, None if clock is system_clock else clock)


class RedisBroker:
    """Jobs on a server that any number of nodes share."""

    def __init__(self, target: Target, options: BrokerOptions, clock: Clock | None) -> None:
        self._options = options
        self._link = Link(target, options.timeout_s, clock)
        self._claims = Waiter(self._link)
        self._exhausted: dict[tuple[str | int, ...], float] = {}  # queues -> when something is due in them
        self._reader = Reader(self._link)
        self._mailbox = Mailbox(self._link)
        self._gather = Gather(self._submit, options.timeout_s)

    async def open(self) -> None:
        """Reach the server, and see that its data are of a kind that this version knows."""
        _, found = await self._link.call("open", SCHEMA_VERSION, confirmed=False)
        if found > SCHEMA_VERSION:
            message = (
                f"the broker has schema {found}, made by a newer Penstock; this one knows {SCHEMA_VERSION}"
            )
            raise PenstockError(ErrorCode.INVALID_REQUEST, message)

    async def close(self) -> None:
        """Hang up; whoever waits is told that the broker is closed."""
        await self._link.close()
        await self._mailbox.close()

    async def submit(self, specs: Sequence[JobSpec], *, awaited: bool = False) -> list[Receipt]:
        """See `Broker.submit`."""
        if awaited and not any(spec.after for spec in specs):  # such a job may end with the submission
            return await self._keep_awaited(specs)
        return await self._keep(specs)

    async def _keep(self, specs: Sequence[JobSpec], mailbox: bytes = b"") -> list[Receipt]:
        now, known = await self._gather.add([pack_job(spec, mailbox) for spec in specs])
        if not known:
            return [Receipt(admission=_ACCEPTED, job=lifecycle.accept(spec, now)) for spec in specs]
        return [_receipt(spec, now, known.get(n)) for n, spec in enumerate(specs)]

    async def _keep_awaited(self, specs: Sequence[JobSpec]) -> list[Receipt]:
        """The script also puts the mailbox down as waiting, for those that it keeps."""
        elsewhere = {spec.id for spec in specs}
        mailbox = self._mailbox.expect(elsewhere)
        try:
            receipts = await self._keep(specs, mailbox)
            elsewhere -= {each.job.id for each in receipts if each.job and each.admission is _ACCEPTED}
        finally:
            self._mailbox.expect_no_more(elsewhere)
        return receipts

    async def _submit(self, jobs: list[PackedJob]) -> tuple[int, Known]:
        packed = pack_jobs(jobs, self._options.max_depth)
        answer, lost = await self._link.call_telling("submit", *packed, confirmed=True)
        now, known = _read_submitted(answer)
        if lost:  # a job that is known by its own id was taken by the call whose answer got lost
            known = {n: _first_answer(receipt, jobs[n - 1][0]) for n, receipt in known.items()}
        return now, known

    async def claim(self, worker: str, queues: Sequence[str], limit: int, wait_s: float) -> list[Claim]:
        """See `Broker.claim`."""
        if limit < 1:
            return []
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait_s
        wanted: tuple[str | int, ...] = (worker, limit, self._options.lease_ms, _jitter(), *queues)
        due_at = self._exhausted.pop(wanted[4:], 0.0)
        if wait_s > 0 and loop.time() < due_at:
            heed_cancel()
            answer = await self._claim_when_rung(wanted, min(give_up, due_at) - loop.time())
        else:
            answer = await self._link.call("claim", *wanted)
        while True:
            _, due_in, *given = answer
            due_at = loop.time() + due_in / 1000
            if given[1] or loop.time() >= give_up:
                # Who got less than asked for has emptied the bells. What comes now rings, so the next claim
                # can begin by waiting for that, and is spared to ask in vain.
                if len(given[1]) < limit * _ID_SIZE:
                    self._exhausted[wanted[4:]] = due_at
                return read_claims(*given)
            heed_cancel()
            answer = await self._claim_when_rung(wanted, min(give_up, due_at) - loop.time())

    async def _claim_when_rung(self, wanted: tuple[str | int, ...], timeout_s: float) -> list[Any]:
        """Claim the moment a bell of the queues rings, or after so long."""
        bells = [self._link.key(f"bell:{queue}") for queue in wanted[4:]]
        patience_s = timeout_s + self._options.timeout_s
        claim = self._link.command("claim", *wanted, patience_s=patience_s)
        rung, answer = await self._claims.wait(("BLPOP", *bells, BLOCK_S), claim, timeout_s=timeout_s)
        refused = isinstance(answer, hiredis.ReplyError)
        if isinstance(rung, hiredis.ReplyError) and (refused or not answer[3]):
            raise broker_unavailable(f"the broker refused: {rung}")  # who cannot wait must not ask in a loop
        # A script that the server does not know yet is brought to it in the usual way.
        return list(await self._link.call("claim", *wanted) if refused else answer)

    async def renew(self, worker: WorkerInfo, held: Sequence[Held]) -> Orders:
        """See `Broker.renew`."""
        renewal = pack_renewal(worker, held, self._options.lease_ms)
        _, cancel, lost, lapsed = await self._link.call("renew", *renewal)
        return Orders(cancel=frozenset(cancel), lost=frozenset(lost), lapsed=lapsed > 0)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """See `Broker.settle`."""
        if not settlements:
            return []
        _, accepted = await self._link.call("settle", *pack_settlements(settlements), confirmed=True)
        return [each == _YES for each in accepted]

    async def spread(self, parent_id: str, token: int, first: int, specs: Sequence[JobSpec]) -> bool:
        """See `Broker.spread`."""
        (parent,) = await self.get([parent_id])
        if parent is None:
            return False
        wanted = pack_parts(parent.spec, token, first, specs)
        _, holds, before = await self._link.call("spread", *wanted, confirmed=True)
        if first > before and holds:
            message = f"part {first}: only {before} parts of the job are there"
            raise PenstockError(ErrorCode.INVALID_REQUEST, message)
        return bool(holds)

    async def results(self, parent_id: str, first: int, count: int) -> list[msgspec.Raw | None]:
        """See `Broker.results`."""
        count = min(count, family.PAGE)
        if count < 1:
            return []
        _, found = await self._link.call("results", pack_ids([parent_id]), first, count)
        bodies = [None if body is None else msgspec.Raw(body) for body in found]
        return bodies + [None] * (count - len(bodies))

    async def cancel(self, job_ids: Sequence[str], *, force: bool = False) -> list[Job | None]:
        """See `Broker.cancel`."""
        answer = await self._link.call("cancel", *pack_cancel(job_ids, force=force), confirmed=True)
        return read_jobs(list(job_ids), answer)

    async def retry(self, job_ids: Sequence[str]) -> list[Job | None]:
        """See `Broker.retry`."""
        answer = await self._link.call("retry", pack_ids(job_ids), confirmed=True)
        return read_jobs(list(job_ids), answer)

    async def purge(self, job_ids: Sequence[str]) -> list[bool]:
        """See `Broker.purge`."""
        _, gone = await self._link.call("purge", pack_ids(job_ids), confirmed=True)
        return [each == _YES for each in gone]

    async def pause(self, queue: str) -> None:
        """See `Broker.pause`."""
        await self._link.call("pause", queue, confirmed=True)

    async def resume(self, queue: str) -> None:
        """See `Broker.resume`."""
        await self._link.call("resume", queue, confirmed=True)

    async def reclaim(self, worker: str, limit: int) -> list[Claim]:
        """See `Broker.reclaim`."""
        _, *given = await self._link.call("reclaim", worker, limit, self._options.lease_ms, _jitter())
        return read_claims(*given)

    async def retire(self, worker: str) -> None:
        """See `Broker.retire`."""
        await self._link.call("retire", worker)

    async def trim(self, limit: int) -> int:
        """See `Broker.trim`."""
        _, gone = await self._link.call(
            "trim", limit, self._options.keep_jobs_ms, self._options.keep_events_ms
        )
        return int(gone)

    async def get(self, job_ids: Sequence[str]) -> list[Job | None]:
        """See `Broker.get`."""
        if not job_ids:
            return []
        return read_jobs(list(job_ids), await self._link.call("get", pack_ids(job_ids), 1))

    async def wait(self, job_id: str, wait_s: float) -> Job | None:
        """See `Broker.wait`."""
        return await self._mailbox.wait(job_id, wait_s)

    async def attempts(self, job_ids: Sequence[str]) -> list[list[Attempt]]:
        """See `Broker.attempts`."""
        _, parts, kept = await self._link.call("attempts", pack_ids(job_ids))
        jobs = read_jobs(list(job_ids), parts)
        return [read_attempts(job, of_job) for job, of_job in zip(jobs, kept, strict=True)]

    async def find(self, query: JobQuery) -> list[Job]:
        """See `Broker.find`."""
        return await listing.find(self._link, query)

    async def head(self) -> str:
        """See `Broker.head`."""
        return await self._reader.head()

    async def events(self, after: str, wait_s: float, limit: int = 1000) -> list[Event]:
        """See `Broker.events`."""
        return await self._reader.events(after, wait_s, limit)

    async def forget_answers(self, fingerprints: Sequence[str] | None = None) -> int:
        """See `Broker.forget_answers`."""
        prints = () if fingerprints is None else (b"".join(map(print_of, dict.fromkeys(fingerprints))),)
        _, counted = await self._link.call("forget", *prints, confirmed=True)
        return int(counted)

    async def now(self) -> int:
        """See `Broker.now`."""
        return await self._link.now()

    async def stats(self) -> Stats:
        """See `Broker.stats`."""
        return read_stats(await self._link.call("stats"), self._link.warnings, self._options.max_depth)

    async def limit_client(self, client: str, terms: ClientTerms | None) -> None:
        """See `Broker.limit_client`."""
        await self._link.call("limit_client", *pack_terms(client, terms), confirmed=True)

    async def ahead(self, job_ids: Sequence[str]) -> list[Ahead | None]:
        """See `Broker.ahead`."""
        _, found = await self._link.call("ahead", pack_ids(job_ids))
        return [read_ahead(each) for each in found]

    async def clients(self, limit: int) -> list[ClientWaits]:
        """See `Broker.clients`."""
        _, found = await self._link.call("clients", limit)
        return read_clients(found)

    async def put(self, shelf: str, name: str, body: bytes | None) -> None:
        """See `Broker.put`."""
        await self._link.call("put", shelf, name, *(() if body is None else (body,)), confirmed=True)

    async def shelf(self, shelf: str) -> dict[str, bytes]:
        """See `Broker.shelf`."""
        _, kept = await self._link.call("shelf", shelf)
        return {kept[at].decode(): kept[at + 1] for at in range(0, len(kept), 2)}

    async def swap(  # noqa: PLR0917 - see `Broker.swap`
        self,
        shelf: str,
        name: str,
        old: bytes | None,
        new: bytes | None,
        specs: Sequence[JobSpec] = (),
        not_before: int = 0,
    ) -> list[Receipt] | None:
        """See `Broker.swap`."""
        jobs = pack_jobs([pack_job(spec) for spec in specs], self._options.max_depth)
        documents = (old or b"", new or b"")
        answer = await self._link.call("swap", shelf, name, not_before, *documents, *jobs, confirmed=True)
        if len(answer) == 1:
            return None
        now, known = _read_submitted(answer)
        return [_receipt(spec, now, known.get(n)) for n, spec in enumerate(specs, 1)]


_YES = ord("1")
_ID_SIZE = 16
_ACCEPTED = Admission.ACCEPTED


def _read_submitted(answer: list[Any]) -> tuple[int, Known]:
    _, now, positions, *others = answer
    if not positions:
        return now, {}
    return now, dict(zip(positions, read_answers(now, *others), strict=True))


def _receipt(spec: JobSpec, now: int, known: Receipt | None) -> Receipt:
    if known is None or (known.job is None and known.admission is _ACCEPTED):  # or of a swap that was refused
        return Receipt(admission=_ACCEPTED, job=lifecycle.accept(spec, now))
    if known.admission is not Admission.REPEATED or known.job is None:
        return known
    same = known.job.spec.fingerprint == spec.fingerprint
    return known if same else Receipt(admission=Admission.CONFLICT, job=known.job)


def _first_answer(receipt: Receipt, raw_id: bytes) -> Receipt:
    """What was answered before, if this is the same job again."""
    job = receipt.job
    if receipt.admission is not Admission.REPEATED or job is None or id_bytes(job.id) != raw_id:
        return receipt
    return Receipt(admission=Admission.CACHED if job.cached else _ACCEPTED, job=job)


def _jitter() -> int:
    return random.randrange(1024)  # noqa: S311 - keeps tokens of two primaries apart, guards nothing
