"""A job as an inert, frozen value. Verbs live on the broker; rules live in ``lifecycle``.

The values that there are many of can be no part of a cycle, so the collector of those need not follow them.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec


class State(StrEnum):
    """Where a job is in its life."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.SCHEDULED: frozenset({State.QUEUED, State.CANCELLED}),
        State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
        State.RUNNING: frozenset(
            {State.QUEUED, State.SCHEDULED, State.SUCCEEDED, State.FAILED, State.CANCELLED},
        ),
        State.SUCCEEDED: frozenset(),
        State.FAILED: frozenset({State.QUEUED}),
        State.CANCELLED: frozenset({State.QUEUED}),
    },
)
"""Every step a job's state may take; anything else seen in a broker is a defect."""


class Priority(StrEnum):
    """How urgent a job is among those of its queue."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class AfterFailure(StrEnum):
    """What becomes of a job when one that it waits for did not succeed."""

    CANCEL = "cancel"
    RUN = "run"


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one job may use. Durations in milliseconds, memory in bytes.

    ``max_crashes`` of its attempts may end the process they run in; see `Job.crashes`.
    """

    max_attempts: int = 4
    max_crashes: int = 3
    timeout_ms: int | None = None
    cpu_ms: int | None = None
    grace_ms: int = 2_000
    memory_bytes: int | None = None
    threads: int = 1
    backoff_ms: int = 1_000
    backoff_cap_ms: int = 600_000


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The part of a job that never changes after it was submitted.

    ``params`` is canonical JSON of the validated parameters. ``delay_ms`` counts from the moment
    the broker accepts the job, by the broker's clock. ``priority`` may be raised later, see `Broker.submit`.

    - ``cache_ms``: how long its answer may be given to others that ask the same; 0: it is neither looked
      for, nor kept, nor shared. ``refresh``: it is kept and shared, but none is looked for.
    - ``max_running``: how many jobs of this task may run at a time; None for any number.
    - ``weight``: its client's share of the workers, against those of the other clients.
    - ``part``: its number, from 0, among the parts of ``parent_id``; None for a job that is no part.
    - ``after``: the jobs that must have ended before it may run.
    - ``merge_block``: how many of its parts' results are merged at a time; 0 for a job that has no parts.
      ``skip_failed_parts``: one that fails for good is left out, instead of failing the job.
    """

    id: str
    task: str
    version: str = "1"
    params: msgspec.Raw = msgspec.Raw(b"{}")
    queue: str = "default"
    priority: Priority = Priority.MEDIUM
    limits: Limits = Limits()
    fingerprint: str = ""
    delay_ms: int = 0
    idempotency_key: str | None = None
    client: str | None = None
    initiated_by: str = ""
    request_id: str | None = None
    parent_id: str | None = None
    cache_ms: int = 0
    refresh: bool = False
    max_running: int | None = None
    weight: int = 1
    part: int | None = None
    after: tuple[str, ...] = ()
    after_failure: AfterFailure = AfterFailure.CANCEL
    skip_failed_parts: bool = False
    merge_block: int = 0


class JobError(msgspec.Struct, frozen=True):
    """Why the last attempt did not succeed; ``detail`` is a traceback or what is known of a crash."""

    code: str
    message: str
    detail: str = ""


class JobProgress(msgspec.Struct, frozen=True):
    """How far a running job has come: a fraction from 0 to 1 and a sentence for people."""

    fraction: float = 0.0
    message: str = ""


class Parts(msgspec.Struct, frozen=True):
    """How far the parts of a job have come. ``known``: it has been split, so that ``total`` is final.

    ``done`` of them have succeeded, ``failed`` have failed for good, ``merged`` are in the partial result.
    """

    total: int
    done: int = 0
    failed: int = 0
    merged: int = 0
    known: bool = True


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Everything the broker knows of one job at one moment. Times are UTC milliseconds.

    ``attempt`` counts the attempts that were used up; ``losses`` counts attempts that ended because
    a worker vanished, which are not charged to the job; ``crashes`` counts attempts with which a child
    process ended: by itself, by a signal, or killed by its supervisor; ``handbacks`` counts workers that
    did not know the task. ``token`` is the right to settle the current attempt, 0 while there is none.
    ``waiters`` counts the submissions that share the job and have not left it; ``cached`` means that it
    never ran, as its answer was known; see ``core.sharing``.
    """

    spec: JobSpec
    state: State
    created_at: int
    due_at: int
    attempt: int = 0
    losses: int = 0
    crashes: int = 0
    handbacks: int = 0
    token: int = 0
    worker: str | None = None
    cancel_requested: bool = False
    started_at: int | None = None
    finished_at: int | None = None
    progress: JobProgress | None = None
    error: JobError | None = None
    result: msgspec.Raw | None = None
    waiters: int = 1
    cached: bool = False
    parts: Parts | None = None

    @property
    def id(self) -> str:
        """The id given by the server when the job was submitted."""
        return self.spec.id


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker tells of itself each time it renews its lease.

    ``paces``: how long the tasks it ran last usually take, in milliseconds.
    """

    id: str
    node: str
    host: str
    pid: int
    slots: int
    busy: int = 0
    queues: tuple[str, ...] = ("default",)
    started_at: int = 0
    version: str = ""
    draining: bool = False
    paces: Mapping[str, float] = {}
