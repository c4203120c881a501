"""The contracts in words: what a broker and an executor promise to those who call them.

Every verb takes a batch, and every verb is atomic: it happens whole or not at all, and its answer
is given only after it is durable. The rules themselves are in ``core.lifecycle``.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from penstock.core.drain import Full
from penstock.core.fairness import ClientTerms
from penstock.core.forecast import Ahead
from penstock.core.job import Job, JobProgress, JobSpec, State, WorkerInfo
from penstock.core.lifecycle import Claim, Settlement
from penstock.core.past import Attempt
from penstock.core.sharing import CacheStats


class Admission(StrEnum):
    """How a submission was answered."""

    ACCEPTED = "accepted"
    CACHED = "cached"
    JOINED = "joined"
    REPEATED = "repeated"
    CONFLICT = "conflict"
    REFUSED = "refused"


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The answer to one submission. ``job`` is as it stands now, None if nothing was stored.

    CONFLICT: the idempotency key was used before with another fingerprint; ``job`` is that one. CACHED: the
    answer was known. JOINED: another submission asks the same; ``job`` is its. REFUSED: see ``full``.
    """

    admission: Admission
    job: Job | None
    full: Full | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A claim that a worker holds, with what its attempt has said since the last renewal."""

    job_id: str
    token: int
    progress: JobProgress | None = None
    lines: tuple[str, ...] = ()


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a renewing worker must do: stop the cancelled attempts, forget the lost ones (by token).

    ``lapsed``: the lease of some worker has lapsed, or the time of some job in parts is up, so that
    `Broker.reclaim` is worth a call.
    """

    cancel: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    lapsed: bool = False


class EventKind(StrEnum):
    """What happened to a job: it entered a state, or said something."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PROGRESS = "progress"
    LOG = "log"
    JOINED = "joined"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the ordered feed. ``id`` is opaque; handing it back resumes after it."""

    id: str
    at: int
    job_id: str
    kind: EventKind
    data: Mapping[str, Any]


class JobQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs to list, newest first. ``before`` is the id of the last job of the previous page.

    ``code`` is that of the job's error. ``ended_after`` and ``ended_before`` (UTC milliseconds) bound the
    time at which it ended; the first is included, the second is not. Parts of jobs are among them only if
    ``parent_id`` names theirs or ``parts`` is set.
    """

    state: State | None = None
    task: str | None = None
    queue: str | None = None
    code: str | None = None
    client: str | None = None
    ended_after: int | None = None
    ended_before: int | None = None
    before: str | None = None
    limit: int = 50
    parent_id: str | None = None
    parts: bool = False


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """One queue's depths. ``oldest_age_ms`` is how long the job at the head of its line has waited.

    ``max_depth`` jobs may be queued or scheduled, None if that is not known; ``drain_per_s`` ended lately.
    """

    name: str
    scheduled: int = 0
    queued: int = 0
    running: int = 0
    oldest_age_ms: int = 0
    paused: bool = False
    max_depth: int | None = None
    drain_per_s: float = 0.0


class ClientWaits(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of a client wait in a queue."""

    queue: str
    client: str
    jobs: int


class WorkerStats(msgspec.Struct, frozen=True, kw_only=True):
    """A worker with what it holds. ``live`` is false once its lease has lapsed."""

    info: WorkerInfo
    running: int
    live: bool
    seen_at: int


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The broker's figures. ``states`` counts the jobs it still keeps, by state.

    ``warnings`` tells an operator how the store is set up so that it may lose what it was given.
    """

    states: Mapping[str, int]
    queues: tuple[QueueStats, ...]
    workers: tuple[WorkerStats, ...]
    warnings: tuple[str, ...] = ()
    cache: CacheStats = CacheStats()

    @property
    def serving(self) -> list[WorkerInfo]:
        """The live workers that take jobs, each from its queues."""
        return [each.info for each in self.workers if each.live and not each.info.draining]


DEPTHS = "depths"
"""The shelf of the queues' own depth limits: a document per queue, a whole number in JSON."""


class BrokerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What every broker is told: how long a lease, an answer, a finished job and an event last.

    ``namespace`` keeps the jobs of several deployments on one server apart. ``max_depth`` is how many jobs
    of a queue may be queued or scheduled, where `DEPTHS` has no other number for it.
    """

    namespace: str = "penstock"
    lease_ms: int = 5_000
    timeout_s: float = 5.0
    keep_jobs_ms: int = 7 * 86_400_000
    keep_events_ms: int = 86_400_000
    max_depth: int = 100_000


class Broker(Protocol):
    """Keeps jobs, leases, results and events.

    Every verb raises BROKER_UNAVAILABLE (`PenstockError`) when the store cannot be reached, does not
    answer in time or was closed; what was refused so does not happen later, and may be repeated.
    """

    async def open(self) -> None:
        """Connect and prepare the store; idempotent across processes."""
        ...

    async def close(self) -> None:
        """Let go of the store. Nothing that was answered depends on it."""
        ...

    async def submit(self, specs: Sequence[JobSpec], *, awaited: bool = False) -> list[Receipt]:
        """Keep the jobs, one receipt each, in order. After ACCEPTED the job survives any crash.

        ``awaited``: `wait` will be called for each right after this; it may then have less to do.

        A job with ``after`` waits for those, which may stand before it in ``specs``; see `core.after`. An id
        that is known is answered like a known idempotency key: REPEATED or CONFLICT. A job that may share
        (`core.sharing`) is then answered from the cache, or by the job in flight that it joins. Any other
        job but a part is REFUSED if its queue is full; then nothing of it is kept.
        """
        ...

    async def claim(self, worker: str, queues: Sequence[str], limit: int, wait_s: float) -> list[Claim]:
        """Up to ``limit`` due jobs, as `fairness.choose` orders them; paused queues give none.

        Jobs without a client go by rank, then id. What a limit keeps back is given out when there is room.
        In one step each attempt is counted, its token issued and the worker's lease extended. With
        nothing due, waits up to ``wait_s`` for a signal, without polling, and may return early empty.
        Cancelled while it waits, it has claimed nothing; cancelled while it claims, it returns the claims.
        """
        ...

    async def renew(self, worker: WorkerInfo, held: Sequence[Held]) -> Orders:
        """Extend the worker's one lease, publish what its attempts said, bring back orders.

        The first call makes the worker known. A report under a token that no longer holds is dropped.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Store each verdict whose token is the job's current one; False for every other."""
        ...

    async def spread(self, parent_id: str, token: int, first: int, specs: Sequence[JobSpec]) -> bool:
        """Queue these parts of a job, numbered from ``first``, at most 1 000; False if the token is void.

        A part whose number is there already is left as it is.
        """
        ...

    async def results(self, parent_id: str, first: int, count: int) -> list[msgspec.Raw | None]:
        """Results of ended parts, from number ``first`` on, at most 1 000; None for one that was left out."""
        ...

    async def cancel(self, job_ids: Sequence[str], *, force: bool = False) -> list[Job | None]:
        """Waiting jobs end at once, running ones are ordered to stop; None for an unknown id.

        One that several wait for only loses one of them, unless by ``force``; an id given twice counts once.
        """
        ...

    async def retry(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Failed and cancelled jobs are queued anew with all attempts; others stay as they are."""
        ...

    async def purge(self, job_ids: Sequence[str]) -> list[bool]:
        """Forget final jobs and all that belongs to them; False for any other, which stays as it is."""
        ...

    async def pause(self, queue: str) -> None:
        """Give out no more jobs of this queue; running ones go on, submissions are kept."""
        ...

    async def resume(self, queue: str) -> None:
        """Give out jobs of this queue again."""
        ...

    async def reclaim(self, worker: str, limit: int) -> list[Claim]:
        """Take jobs of workers whose lease has lapsed, under new tokens, to be settled as `Lost`.

        The old tokens are void from then on. Workers that hold nothing any more are forgotten. Before that,
        jobs in parts whose timeout has passed since their first start fail; see `family.fail_overdue`.
        """
        ...

    async def retire(self, worker: str) -> None:
        """The worker leaves. What it still holds is open to `reclaim` at once."""
        ...

    async def trim(self, limit: int) -> int:
        """Delete up to ``limit`` final jobs and events past their retention; returns how many."""
        ...

    async def get(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Jobs as they stand, None for an unknown id."""
        ...

    async def wait(self, job_id: str, wait_s: float) -> Job | None:
        """The job when it has ended, or as it stands after ``wait_s``; None for an unknown id.

        Waits for a signal, without polling; any number of callers may wait for one job.
        """
        ...

    async def attempts(self, job_ids: Sequence[str]) -> list[list[Attempt]]:
        """The attempts of each job that are over, oldest first; see `core.past`. Empty for an unknown id."""
        ...

    async def find(self, query: JobQuery) -> list[Job]:
        """Jobs that match, newest first."""
        ...

    async def head(self) -> str:
        """The id of the newest event; `events` after it yields only what happens from now on."""
        ...

    async def events(self, after: str, wait_s: float, limit: int = 1000) -> list[Event]:
        """What happened after the event with this id, oldest first; waits like `claim` for more.

        ``after=""`` starts at the oldest event kept. Raises INVALID_REQUEST for an id never given out.
        """
        ...

    async def forget_answers(self, fingerprints: Sequence[str] | None = None) -> int:
        """Give out no answer found or looked for before now: of these, or of all; how many were kept.

        Jobs in flight go on for those who wait; nobody joins them, and what they find is not kept.
        """
        ...

    async def now(self) -> int:
        """The present by the broker's clock, UTC milliseconds."""
        ...

    async def stats(self) -> Stats:
        """Depths, ages, workers, and what the cache spared."""
        ...

    async def limit_client(self, client: str, terms: ClientTerms | None) -> None:
        """Allow a client so many jobs at a time, over all queues, and a share; None forgets what was said.

        Kept on the shelf `fairness.CLIENTS`; from the next claim on, what runs already counts, too.
        """
        ...

    async def ahead(self, job_ids: Sequence[str]) -> list[Ahead | None]:
        """What each job has in front of it in its queue; None for one that does not wait in a queue."""
        ...

    async def clients(self, limit: int) -> list[ClientWaits]:
        """Of each queue the clients with the most waiting jobs, at most so many, those with most first."""
        ...

    async def put(self, shelf: str, name: str, body: bytes | None) -> None:
        """Keep a small document that all nodes share, in place of the one with this name; None removes it."""
        ...

    async def shelf(self, shelf: str) -> dict[str, bytes]:
        """Every document of a shelf, by name."""
        ...

    async def swap(  # noqa: PLR0917 - two documents, what is kept with them, and when
        self,
        shelf: str,
        name: str,
        old: bytes | None,
        new: bytes | None,
        specs: Sequence[JobSpec] = (),
        not_before: int = 0,
    ) -> list[Receipt] | None:
        """Put ``new`` in the place of ``old`` and keep the jobs, all in one step; None for no document.

        The answer is None, and nothing happens, if another document than ``old`` is there, or if it is not
        yet ``not_before`` (UTC milliseconds) by the broker's clock. Nothing happens either if one of the
        receipts is REFUSED.
        """
        ...


class Meter(Protocol):
    """Counts requests where several nodes see them.

    Raises BROKER_UNAVAILABLE like a `Broker`, but does not hold up a request for long before it does.
    """

    async def take(self, name: str, most: int, window_ms: int) -> int:
        """Count one more for ``name`` and return 0, or the ms until one more fits.

        In no span of ``window_ms`` are more than ``most`` counted.
        """
        ...

    async def close(self) -> None:
        """Let go of the store."""
        ...
