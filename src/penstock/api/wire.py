"""How core's values look as JSON, and how errors become answers."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import Response
from pydantic import BaseModel

from penstock.core import sharing
from penstock.core.after import due_at, held
from penstock.core.catalog import AnyTask
from penstock.core.clock import iso
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import Job, JobProgress, Parts, State
from penstock.core.past import Attempt
from penstock.core.sharing import CacheStats
from penstock.core.submission import TaskView
from penstock.ports import Admission, Event, QueueStats, Receipt, Stats, WorkerStats
from penstock.service.places import Place

STATUS = {
    ErrorCode.INVALID_REQUEST: 400,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.TASK_UNKNOWN: 404,
    ErrorCode.JOB_NOT_FOUND: 404,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.VALIDATION_ERROR: 422,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL_ERROR: 500,
    ErrorCode.QUEUE_FULL: 503,
    ErrorCode.BROKER_UNAVAILABLE: 503,
    ErrorCode.HISTORY_UNAVAILABLE: 503,
    ErrorCode.TASK_TIMEOUT: 504,
}


class ErrorBody(BaseModel):
    """``code`` for programs, ``message`` for people; ``details`` depends on the code."""

    code: ErrorCode
    message: str
    details: dict[str, Any]
    request_id: str | None


class ErrorEnvelope(BaseModel):
    """The shape of every error."""

    error: ErrorBody


encode = msgspec.json.Encoder().encode


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response; encoded here because FastAPI's own way costs a copy of every result."""
    return Response(encode(value), status, headers, media_type="application/json")


def envelope(error: PenstockError, request_id: str | None) -> Response:
    """The one shape of every error: ``{error: {code, message, details, request_id}}``."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return answer({"error": error_body(error, request_id)}, STATUS[error.code], headers)


def error_body(error: PenstockError, request_id: str | None) -> dict[str, Any]:
    """What stands in the envelope."""
    return {
        "code": error.code,
        "message": error.message,
        "details": error.details,
        "request_id": request_id,
    }


def node_of(worker: str | None) -> str | None:
    """The node part of a worker's id, which is ``node/number``."""
    return worker.rpartition("/")[0] or worker if worker else None


def job_view(job: Job, node: str, admission: Admission | None = None) -> dict[str, Any]:
    """A job as `JobView` describes it, answered by ``node``."""
    spec = job.spec
    return {
        "id": spec.id,
        "task": spec.task,
        "state": job.state,
        "queue": spec.queue,
        "priority": spec.priority,
        "params": spec.params,
        "result": job.result,
        "error": job.error,
        "progress": _progress(job),
        "parts": job.parts and parts_view(job.parts),
        "attempt": job.attempt,
        "max_attempts": spec.limits.max_attempts,
        "losses": job.losses,
        "crashes": job.crashes,
        "cancel_requested": job.cancel_requested,
        "cached": job.cached,
        "joined": admission is Admission.JOINED,
        "waiters": job.waiters,
        "cache_key": spec.fingerprint if sharing.shares(spec) else None,
        "created_at": iso(job.created_at),
        "due_at": iso(due_at(job)),
        "started_at": job.started_at and iso(job.started_at),
        "finished_at": job.finished_at and iso(job.finished_at),
        "initiated_by": spec.initiated_by,
        "handled_by": node_of(job.worker),
        "checked_by": node,
        "request_id": spec.request_id,
        "parent_id": spec.parent_id,
        "after": spec.after,
        "waits": held(job),
        "part": spec.part,
        "position": None,
        "eta_s": None,
    }


def _progress(job: Job) -> JobProgress | None:
    """What was last said; of a job that has succeeded the end, which it may not have got round to say."""
    return JobProgress(1.0) if job.progress and job.state is State.SUCCEEDED else job.progress


def parts_view(parts: Parts) -> dict[str, Any]:
    """How far the parts have come, as `PartsView` describes it."""
    return {"total": parts.total, "done": parts.done, "failed": parts.failed, "merged": parts.merged}


def placed_view(job: Job, node: str, places: Mapping[str, Place]) -> dict[str, Any]:
    """A job with its place, if it has one."""
    return job_view(job, node) | place_view(job, places)


def place_view(job: Job, places: Mapping[str, Place]) -> dict[str, Any]:
    """Where a job stands, as fields of its view; nothing if it has no place."""
    place = places.get(job.id)
    return {} if place is None else {"position": place.position, "eta_s": place.eta_s}


def attempt_view(attempt: Attempt) -> dict[str, Any]:
    """An attempt as `AttemptView` describes it."""
    return {
        "attempt": attempt.attempt,
        "worker": attempt.worker,
        "started_at": attempt.started_at and iso(attempt.started_at),
        "ended_at": attempt.ended_at and iso(attempt.ended_at),
        "outcome": attempt.outcome,
        "code": attempt.code,
        "message": attempt.message,
    }


def receipt_view(receipt: Receipt, node: str) -> dict[str, Any]:
    """The job a submission led to."""
    if receipt.job is None:
        raise PenstockError(ErrorCode.INTERNAL_ERROR, "the broker accepted a job and did not tell which")
    return job_view(receipt.job, node, receipt.admission)


def task_view(task: AnyTask) -> TaskView:
    """A task with its schemas."""
    limits = task.limits
    return TaskView(
        name=task.name,
        version=task.version,
        description=task.description,
        queue=task.queue,
        priority=task.priority,
        max_attempts=limits.max_attempts,
        max_crashes=limits.max_crashes,
        timeout_s=None if limits.timeout_ms is None else limits.timeout_ms / 1000,
        cpu_s=None if limits.cpu_ms is None else limits.cpu_ms / 1000,
        cache_s=task.cache_ms / 1000 if task.cache_ms else None,
        memory_bytes=limits.memory_bytes,
        params_schema=task.params_schema,
        result_schema=task.result_schema,
        example=dict(task.example),
    )


def event_view(event: Event) -> dict[str, Any]:
    """One entry of the feed."""
    return {
        "id": event.id,
        "at": iso(event.at),
        "job_id": event.job_id,
        "kind": event.kind,
        "data": event.data,
    }


def queue_views(stats: Stats) -> list[dict[str, Any]]:
    """Every queue with its depths, and how many live workers take jobs from it."""
    workers = Counter(queue for info in stats.serving for queue in info.queues)
    return [_queue_view(queue) | {"workers": workers[queue.name]} for queue in stats.queues]


def _queue_view(queue: QueueStats) -> dict[str, Any]:
    """A queue's depths; the age in seconds."""
    return {
        "name": queue.name,
        "scheduled": queue.scheduled,
        "queued": queue.queued,
        "running": queue.running,
        "oldest_age_s": queue.oldest_age_ms / 1000,
        "paused": queue.paused,
        "max_depth": queue.max_depth,
        "drain_per_s": round(queue.drain_per_s, 3),
    }


def cache_view(cache: CacheStats) -> dict[str, Any]:
    """What the cache spared; the run time of the answers stands for the CPU time they cost."""
    looked = cache.hits + cache.misses + cache.joined
    return {
        "entries": cache.entries,
        "hits": cache.hits,
        "misses": cache.misses,
        "joined": cache.joined,
        "hit_rate": round(cache.hits / looked, 4) if looked else 0.0,
        "cpu_seconds_saved": cache.saved_ms / 1000,
    }


def worker_view(worker: WorkerStats) -> dict[str, Any]:
    """A worker with its lease."""
    info = worker.info
    return {
        "id": info.id,
        "node": info.node,
        "host": info.host,
        "pid": info.pid,
        "slots": info.slots,
        "busy": info.busy,
        "running": worker.running,
        "queues": info.queues,
        "version": info.version,
        "live": worker.live,
        "draining": info.draining,
        "started_at": iso(info.started_at),
        "seen_at": iso(worker.seen_at),
    }
