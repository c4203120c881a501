"""Core's values as the scripts' arguments: lists of one size as one string, the rest one argument each."""

import hashlib
from collections.abc import Sequence
from struct import Struct

import msgspec

from penstock.brokers.redis.digits import id_bytes
from penstock.brokers.redis.records import NUMBERS, digest, pack_spec
from penstock.brokers.redis.sharing import NOTHING_ASKED, pack_asked
from penstock.core.fairness import ClientTerms
from penstock.core.job import AfterFailure, JobSpec, State, WorkerInfo
from penstock.core.lifecycle import Settlement, Verdict, cancelled_error
from penstock.core.units import readable_duration
from penstock.ports import Held

Argument = bytes | str | int
PackedJob = tuple[bytes, bytes, int, bytes, bytes, bytes, bool, bytes]
"""Id, fixed part, delay in ms, digest of the idempotency key or nothing, what it shares and tells, or nothing
(see `pack_asked`), whether it is kept even in a full queue, the mailbox to tell of its end, or nothing."""

AFTER = 2**48
"""Added to the delay of a job that waits for others."""

NO_ID = bytes(16)
"""Stands for what cannot be an id, or for no key; nothing has it."""

_HEAD = Struct("<16sQBHBBBQBHBBBQ")
_TAIL = Struct("<HB")
_STEP = Struct("<III")
_NO_MERGE = 2**32 - 1
_json = msgspec.json.Encoder().encode
_msgpack = msgspec.msgpack.Encoder().encode


def pack_ids(job_ids: Sequence[str]) -> bytes:
    """Ids one after the other."""
    return b"".join([id_bytes(job_id) or NO_ID for job_id in job_ids])


def pack_job(spec: JobSpec, mailbox: bytes = b"") -> PackedJob:
    """A job to submit. Raises UnicodeError for text that is none."""
    raw = id_bytes(spec.id)
    if raw is None:
        raise ValueError(f"{spec.id!r} is no job id")
    key = b"" if spec.idempotency_key is None else _digest(spec.client or "", spec.idempotency_key)
    asked, exempt = pack_asked(spec), spec.part is not None
    if spec.after:
        return raw, pack_spec(spec) + _pack_after(spec), spec.delay_ms + AFTER, key, *asked, exempt, mailbox
    return raw, pack_spec(spec), spec.delay_ms, key, *asked, exempt, mailbox


def _pack_after(spec: JobSpec) -> bytes:
    """What the scripts, which cannot read a fixed part, must know of it; see TAIL in ``lua/after.lua``."""
    return pack_ids(spec.after) + _TAIL.pack(len(spec.after), spec.after_failure is AfterFailure.RUN)


def pack_jobs(jobs: Sequence[PackedJob], max_depth: int) -> list[Argument]:
    """The arguments of ``submit.lua``."""
    ids, fixed, delays, keys, asked, told, exempt, boxes = zip(*jobs, strict=True) if jobs else ((),) * 8
    late = b"".join([delay.to_bytes(8, "little") for delay in delays]) if any(delays) else b""
    named = b"".join([key or NO_ID for key in keys]) if any(keys) else b""
    always = bytes(_DIGITS[one] for one in exempt) if any(exempt) else b""
    waiting = max(boxes) + bytes(_DIGITS[box != b""] for box in boxes) if any(boxes) else b""
    if not any(asked):
        return [b"".join(ids), late, named, max_depth, always, waiting, b"", *fixed]
    shares = b"".join([one or NOTHING_ASKED for one in asked])
    return [b"".join(ids), late, named, max_depth, always, waiting, shares, *fixed, *told]


_DIGITS = b"01"


def _digest(client: str, key: str) -> bytes:
    """Short whatever the two are, and never alike for two different pairs."""
    return hashlib.blake2b(_msgpack((client, key)), digest_size=16).digest()


def pack_renewal(worker: WorkerInfo, held: Sequence[Held], lease_ms: int) -> list[Argument]:
    """The arguments of ``renew.lua``."""
    tokens = b"".join([report.token.to_bytes(8, "little") for report in held])
    about: list[Argument] = [worker.id, _json(worker), lease_ms, tokens, len(worker.queues), *worker.queues]
    return about + [part for report in held if report.progress or report.lines for part in _said(report)]


def _said(report: Held) -> tuple[Argument, ...]:
    progress, event = b"", b""
    if report.progress is not None:
        progress = _msgpack(report.progress)
        event = _json({"fraction": report.progress.fraction, "message": report.progress.message})
    lines = _json({"lines": report.lines}) if report.lines else b""
    return report.token, id_bytes(report.job_id) or NO_ID, progress, event, lines


def pack_settlements(settlements: Sequence[Settlement]) -> list[Argument]:
    """The arguments of ``settle.lua``."""
    heads = b"".join([_head(each) for each in settlements])
    results: list[Argument] = [_result(each) for each in settlements]
    troubles = [part for n, each in enumerate(settlements, 1) for part in _trouble(n, each)]
    return [heads, *results, *troubles]


def _result(settled: Settlement) -> bytes:
    if settled.verdict.state is State.RUNNING:
        return _step(settled)
    return b"" if settled.result is None else bytes(settled.result)


def _step(settled: Settlement) -> bytes:
    """What a split or a merge step came to, as ``lua/family.lua`` reads it."""
    if settled.upto is None:
        return _STEP.pack(_NO_MERGE, 0, 0)
    progress = event = b""
    if settled.progress is not None:
        progress = _msgpack(settled.progress)
        event = _json({"fraction": settled.progress.fraction, "message": settled.progress.message})
    partial = bytes(settled.partial or b"null")
    return _STEP.pack(settled.upto, len(progress), len(event)) + progress + event + partial


def pack_parts(parent: JobSpec, token: int, first: int, specs: Sequence[JobSpec]) -> list[Argument]:
    """The arguments of ``spread.lua``."""
    timeout_ms = parent.limits.timeout_ms or 0
    about = (pack_ids([parent.id]), token, first, parent.merge_block, int(parent.skip_failed_parts))
    return [
        *about,
        timeout_ms,
        readable_duration(timeout_ms),
        pack_ids([spec.id for spec in specs]),
        *map(pack_spec, specs),
    ]


def _head(settled: Settlement) -> bytes:
    verdict, stopped = settled.verdict, settled.if_cancelled
    return _HEAD.pack(
        id_bytes(settled.job_id) or NO_ID,
        settled.token,
        NUMBERS[verdict.state],
        verdict.attempt,
        verdict.losses,
        verdict.crashes,
        verdict.handbacks,
        verdict.delay_ms,
        NUMBERS[stopped.state],
        stopped.attempt,
        stopped.losses,
        stopped.crashes,
        stopped.handbacks,
        stopped.delay_ms,
    )


def _trouble(position: int, settled: Settlement) -> tuple[Argument, ...]:
    if settled.ending is None and settled.verdict.state is not State.RUNNING:
        return ()
    ending = b"" if settled.ending is None else _msgpack(settled.ending)
    return position, *_reason(settled.verdict), *_reason(settled.if_cancelled), ending


def _reason(verdict: Verdict) -> tuple[bytes, bytes]:
    """The error, and what the feed tells of it."""
    if verdict.error is None:
        return b"", _json({"attempt": verdict.attempt}) if verdict.state is State.QUEUED else b""
    return _json(verdict.error), _json({"attempt": verdict.attempt, "error": verdict.error})


def pack_cancel(job_ids: Sequence[str], *, force: bool = False) -> list[Argument]:
    """The arguments of ``cancel.lua``."""
    error = cancelled_error()
    return [pack_ids(job_ids), _json(error), _json({"error": error}), int(force)]


def pack_terms(client: str, terms: ClientTerms | None) -> list[Argument]:
    """The arguments of ``limit_client.lua``."""
    given = terms or ClientTerms()
    said: list[Argument] = ["" if value is None else value for value in (given.max_running, given.weight)]
    return [client, digest(client), *said, b"" if terms is None else _json(terms)]
