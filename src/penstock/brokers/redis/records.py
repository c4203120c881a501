"""Jobs as the scripts keep them: a fixed part that is written once, and a record that the scripts rewrite.

The layouts of stamps and records are those of ``lua/common.lua``; only Python reads the fixed part.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from struct import Struct
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from penstock.brokers.redis.digits import id_texts, long, short, short_hash
from penstock.brokers.redis.sharing import waiters
from penstock.core import family, lifecycle
from penstock.core.job import (
    AfterFailure,
    Job,
    JobError,
    JobProgress,
    JobSpec,
    Limits,
    Parts,
    Priority,
    State,
)
from penstock.core.lifecycle import Claim
from penstock.ports import JobQuery

STATES = (
    State.SCHEDULED,
    State.QUEUED,
    State.RUNNING,
    State.SUCCEEDED,
    State.FAILED,
    State.CANCELLED,
)
NUMBERS = {state: number for number, state in enumerate(STATES)}

_STOP = 1
_CACHED = 2
_STAMP = 10
_RECORD = Struct("<BBHBB3sB6s7s6s6sB")
_DIGEST = 8
_TERMS = Struct("<HH")
_MOST = 0xFFFF
_SUFFIX = 1 + 2 * _DIGEST + _TERMS.size
_LONGEST_LINE = 0xFF - _SUFFIX
_CHARGED = Struct("<HBBB")
_FAMILY = Struct("<7sIIIIIIBBB")


class _Fixed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What never changes of a job, apart from its id and queue.

    A queued job should cost as few bytes as can be: text that is a hash or an id is kept as half as many
    (hence the fields of type Any), the priority is its place in the list, and what is missing at the end
    has its default. New fields go there too, so that older and newer releases read one another.
    """

    task: str
    version: str
    params: bytes
    priority: int
    limits: bytes | None
    fingerprint: Any
    initiated_by: str
    delay_ms: int = 0
    request_id: Any = None
    client: str | None = None
    idempotency_key: str | None = None
    parent_id: Any = None
    cache_ms: int = 0
    refresh: bool = False
    max_running: int | None = None
    more_weight: int = 0
    part_from_1: int = 0
    after: tuple[Any, ...] | None = None
    run_after_failure: bool = False
    skip_failed_parts: bool = False
    merge_block: int = 0


class _Task(msgspec.Struct, frozen=True, array_like=True):
    """Only the first field of `_Fixed`; the decoder skips the rest."""

    task: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Fixed).decode
_decode_limits = msgspec.msgpack.Decoder(Limits).decode
_decode_task = msgspec.msgpack.Decoder(_Task).decode
_progress = msgspec.msgpack.Decoder(JobProgress).decode
_error = msgspec.json.Decoder(JobError).decode
_USUAL_LIMITS = Limits()
_PRIORITIES = (Priority.HIGH, Priority.MEDIUM, Priority.LOW)
_PLACES = {priority: place for place, priority in enumerate(_PRIORITIES)}
_BY_HEAD = {lifecycle.rank(priority, 0).to_bytes(3, "little"): priority for priority in _PRIORITIES}
_NOTHING = (None, 0)
_NOTHING_RARE = 0x9C
"""The first byte of a msgpack array of at most twelve fields: those before what `_rare` packs."""

USUAL_QUEUE = "default"
"""The queue that a stamp does not name."""


def pack_spec(spec: JobSpec) -> bytes:
    """The fixed part of a job, in front of it its stamp but for the time at which it is kept."""
    fields: tuple[Any, ...] = (
        spec.task,
        spec.version,
        bytes(spec.params),
        _PLACES[spec.priority],
        _pack_limits(spec.limits),
        short_hash(spec.fingerprint),
        spec.initiated_by,
        spec.delay_ms,
        short(spec.request_id),
        spec.client,
        spec.idempotency_key,
        short(spec.parent_id),
    )
    if _is_rare(spec):
        fields += _rare(spec)
    told = len(fields)
    while fields[told - 1] in _NOTHING:
        told -= 1
    return _stamp(spec) + _encode(fields[:told])


def _is_rare(spec: JobSpec) -> bool:
    """Whether any field of `_rare` is not as usual: looking is a third of what packing them costs."""
    return bool(
        spec.cache_ms
        or spec.merge_block
        or spec.part is not None
        or spec.max_running
        or spec.weight != 1
        or spec.after
        or spec.refresh
        or spec.skip_failed_parts
        or spec.after_failure is not AfterFailure.CANCEL
    )


def _rare(spec: JobSpec) -> tuple[Any, ...]:
    return (
        spec.cache_ms,
        spec.refresh,
        spec.max_running,
        spec.weight - 1,
        0 if spec.part is None else spec.part + 1,
        [short(other) for other in spec.after] or None,
        spec.after_failure is AfterFailure.RUN,
        spec.skip_failed_parts,
        spec.merge_block,
    )


def digest(name: str) -> bytes:
    """A client or a task as the scripts know it; all zero for none."""
    return hashlib.blake2b(name.encode(), digest_size=_DIGEST).digest() if name else bytes(_DIGEST)


def _stamp(spec: JobSpec) -> bytes:
    if spec.client is None and spec.max_running is None:
        return _plain_stamp(spec.priority, spec.queue)
    line = _line(_shown_queue(spec.queue), spec)
    return _plain_stamp(spec.priority, USUAL_QUEUE)[:3] + bytes((len(line),)) + line


@lru_cache  # a queue's jobs share theirs
def _plain_stamp(priority: Priority, queue: str) -> bytes:
    name = _shown_queue(queue)
    return lifecycle.rank(priority, 0).to_bytes(3, "little") + bytes((len(name),)) + name


def _shown_queue(queue: str) -> bytes:
    return b"" if queue == USUAL_QUEUE else queue.encode()


def _line(queue: bytes, spec: JobSpec) -> bytes:
    """What follows the queue's name in the stamp, see ``lua/common.lua``."""
    if len(queue) > _LONGEST_LINE:
        return queue  # there is no room for whose it is; no edge lets such a name in
    return queue + _suffix(spec.client or "", spec.task, spec.weight, spec.max_running)


@lru_cache  # a client's jobs mostly share theirs
def _suffix(client: str, task: str, weight: int, max_running: int | None) -> bytes:
    mine = digest("" if max_running is None else task)
    if not any(mine) and not client:
        return b""
    return b"\0" + digest(client) + mine + _TERMS.pack(min(weight, _MOST), min(max_running or 0, _MOST))


def _queue(stamped: bytes) -> str:
    if len(stamped) >= _SUFFIX and stamped[-_SUFFIX] == 0:
        stamped = stamped[:-_SUFFIX]
    return stamped.decode() or USUAL_QUEUE


@lru_cache  # a task's jobs mostly share theirs
def _pack_limits(limits: Limits) -> bytes | None:
    """Only what is not as usual, by name."""
    unusual = {name: value for name, value in asdict(limits).items() if value != getattr(_USUAL_LIMITS, name)}
    return _encode(unusual) if unusual else None


@lru_cache
def _read_limits(packed: bytes | None) -> Limits:
    return _USUAL_LIMITS if packed is None else _decode_limits(packed)


def read_spec(job_id: str, stored: bytes) -> JobSpec:
    """The spec from the stamped fixed part."""
    body = _STAMP + stored[9]
    fixed = _decode(stored[body:])
    spec = JobSpec(
        id=job_id,
        task=fixed.task,
        version=fixed.version,
        params=msgspec.Raw(fixed.params),
        queue=_queue(stored[_STAMP:body]),
        priority=_priority(fixed.priority, stored[6:9]),
        limits=_read_limits(fixed.limits),
        fingerprint=fixed.fingerprint if isinstance(fixed.fingerprint, str) else fixed.fingerprint.hex(),
        delay_ms=fixed.delay_ms,
        idempotency_key=fixed.idempotency_key,
        client=fixed.client,
        initiated_by=fixed.initiated_by,
        request_id=long(fixed.request_id),
        parent_id=long(fixed.parent_id),
    )
    return spec if stored[body] <= _NOTHING_RARE else _with_rare(spec, fixed)


def _with_rare(spec: JobSpec, fixed: _Fixed) -> JobSpec:
    """With what `_rare` packs. More than 15 keywords in the call above would make it four times as slow."""
    return replace(
        spec,
        cache_ms=fixed.cache_ms,
        refresh=fixed.refresh,
        max_running=fixed.max_running,
        weight=fixed.more_weight + 1,
        part=fixed.part_from_1 - 1 if fixed.part_from_1 else None,
        after=tuple(long(other) or "" for other in fixed.after or ()),
        after_failure=AfterFailure.RUN if fixed.run_after_failure else AfterFailure.CANCEL,
        skip_failed_parts=fixed.skip_failed_parts,
        merge_block=fixed.merge_block,
    )


def _priority(place: int, head: bytes) -> Priority:
    """The one it was submitted with, or the one it was raised to: that only stands in the stamp."""
    if place >= len(_PRIORITIES):
        return Priority.MEDIUM  # a newer release's counts as the usual one
    return _BY_HEAD.get(head, _PRIORITIES[place])


def may_match(stored: bytes, record: bytes | None, query: JobQuery) -> bool:
    """Whether a job can be what is looked for, seen without reading all of it: most are not."""
    body = _STAMP + stored[9]
    if record is not None and record[0] >= len(STATES):
        return False
    state = State.QUEUED if record is None else STATES[record[0]]
    return (
        query.state in {None, state}
        and query.queue in {None, _queue(stored[_STAMP:body])}
        and (query.task is None or query.task == _decode_task(memoryview(stored)[body:]).task)
        and (query.client is None or query.client == _decode(memoryview(stored)[body:]).client)
    )


def read_jobs(job_ids: list[str], answer: list[Any]) -> list[Job | None]:
    """Jobs from the answer of a script's ``read``; None where there is no fixed part."""
    _, specs, records, errors, progress, results, shares, families = answer
    parts = (specs, records, errors, progress, results or repeat(None), shares or repeat(None))
    rows = zip(job_ids, *parts, strict=False)
    jobs = [None if row[1] is None else _read_job(*row) for row in rows]
    if not families:
        return jobs
    return [job and shown(job, packed) for job, packed in zip(jobs, families, strict=True)]


def shown(job: Job, packed: bytes | None) -> Job:
    """The job with how far its parts have come."""
    return job if packed is None else family.shown(job, _parts(packed)[0])


def _parts(packed: bytes) -> tuple[Parts, int]:
    """How far the parts have come, and how many have ended from the first on; see ``lua/family.lua``."""
    _, total, done, failed, merged, ready, _, known, *_ = _FAMILY.unpack(packed)
    return Parts(total, done, failed, merged, known=bool(known)), ready


def read_claims(  # noqa: PLR0917 - the answer of a script, in its order
    first: int,
    ids: bytes,
    specs: list[bytes],
    charged: bytes,
    losers: Sequence[bytes] = (),
    begun: Sequence[int] = (),
    split: Sequence[Any] = (),
) -> list[Claim]:
    """Claims whose tokens count up from ``first``; ``charged`` as in ``lua/claim.lua``."""
    claims = [
        Claim(
            spec=read_spec(job_id, stored),
            token=first + n,
            attempt=attempt,
            losses=losses,
            crashes=crashes,
            handbacks=handbacks,
            lost_by=(losers[n].decode() or "unknown") if losers else None,
            begun_at=begun[n] if begun else None,
        )
        for n, (job_id, stored, (attempt, losses, crashes, handbacks)) in enumerate(
            zip(id_texts(ids), specs, _CHARGED.iter_unpack(charged), strict=True)
        )
    ]
    for at in range(0, len(split), 3):
        position, packed, partial = split[at : at + 3]
        claims[position - 1] = _with_parts(claims[position - 1], packed, partial)
    return claims


def _with_parts(claim: Claim, packed: bytes, partial: bytes) -> Claim:
    parts, ready = _parts(packed)
    return replace(claim, parts=parts, ready=ready, partial=msgspec.Raw(partial) if partial else None)


def _read_job(  # noqa: PLR0917 - the columns of a row
    job_id: str,
    stored: bytes,
    record: bytes | None,
    error: bytes | None,
    progress: bytes | None,
    result: bytes | None,
    share: bytes | None,
) -> Job | None:
    if record is not None and record[0] >= len(STATES):
        return None  # a newer release's affair
    spec = read_spec(job_id, stored)
    created_at = number(stored[:6])
    if record is None:
        return Job(
            spec=spec,
            state=State.QUEUED,
            created_at=created_at,
            due_at=created_at,
            waiters=waiters(share),
        )
    state, flags, attempt, losses, crashes, _, handbacks, *moments, length = _RECORD.unpack_from(record)
    due, token, started, finished = moments
    return Job(
        spec=spec,
        state=STATES[state],
        created_at=created_at,
        due_at=number(due),
        attempt=attempt,
        losses=losses,
        crashes=crashes,
        handbacks=handbacks,
        token=number(token),
        worker=record[_RECORD.size + length :].decode() or None,
        cancel_requested=bool(flags & _STOP),
        started_at=number(started) or None,
        finished_at=number(finished) or None,
        progress=None if progress is None else _progress(progress),
        error=None if error is None else _error(error),
        result=None if result is None else msgspec.Raw(result),
        waiters=waiters(share),
        cached=bool(flags & _CACHED),
    )


def number(raw: bytes) -> int:
    """A number as the scripts keep it."""
    return int.from_bytes(raw, "little")
