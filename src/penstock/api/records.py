"""Jobs as history has them: how they look as JSON, and the answers that come from there."""

from typing import Any, TypeVar

import msgspec
from fastapi import Response

from penstock.api.doors import confined_to
from penstock.api.office import Office
from penstock.api.wire import answer, node_of, placed_view
from penstock.core.clock import iso
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.keys import Key
from penstock.core.record import Record
from penstock.core.record_query import JobPage, RecordFilter, RecordView
from penstock.service.archive import Archive, switched_off

Filter = TypeVar("Filter", bound=RecordFilter)


def archive_of(office: Office) -> Archive:
    """The node's history. Raises INVALID_REQUEST where it is switched off."""
    if office.archive is None:
        raise switched_off()
    return office.archive


_DEFAULTS = {
    name: field.get_default() for name, field in RecordView.model_fields.items() if not field.is_required()
}
"""What there is to say of a job that history knows nothing about, such as who waits for it."""


def record_view(record: Record, node: str) -> dict[str, Any]:
    """A recorded job as `RecordView` describes it, answered by ``node``."""
    return _DEFAULTS | {
        "id": record.id,
        "task": record.task,
        "state": record.state,
        "queue": record.queue,
        "priority": record.priority,
        "params": raw(record.params),
        "params_bytes": record.params_bytes,
        "result": raw(record.result),
        "result_bytes": record.result_bytes,
        "error": error_of(record),
        "attempt": record.attempt,
        "max_attempts": record.max_attempts,
        "losses": record.losses,
        "crashes": record.crashes,
        "cached": record.cached,
        "created_at": iso(record.created_at),
        "due_at": iso(record.due_at),
        "started_at": record.started_at and iso(record.started_at),
        "finished_at": record.finished_at and iso(record.finished_at),
        "initiated_by": record.initiated_by,
        "handled_by": node_of(record.worker),
        "checked_by": node,
        "client": record.client,
        "request_id": record.request_id,
        "parent_id": record.parent_id,
        "part": record.part,
    }


def raw(text: str | None) -> msgspec.Raw | None:
    """Kept JSON as part of an answer."""
    return None if text is None else msgspec.Raw(text.encode())


def error_of(record: Record) -> dict[str, str] | None:
    """The error as `ErrorView` describes it."""
    if record.error_code is None:
        return None
    message, detail = record.error_message or "", record.error_detail or ""
    return {"code": record.error_code, "message": message, "detail": detail}


def within(page: Filter, client: str | None) -> Filter:
    """The same filter for one who sees only the jobs of this client; None: who sees all."""
    return page if client is None else page.model_copy(update={"client": client})


async def records(office: Office, page: JobPage, client: str | None) -> Response:
    """A page of history, as far as one sees it who is confined to this client."""
    page = within(page, client)
    found, after, total = await archive_of(office).page(page)
    return answer({"jobs": [record_view(each, office.node) for each in found], "next": after, "total": total})


async def job_or_record(office: Office, job_id: str, key: Key | None, wait_s: float = 0.0) -> dict[str, Any]:
    """The job, or what history knows of one that the broker has forgotten, as far as ``key`` may see it.

    Raises JOB_NOT_FOUND.
    """
    try:
        job = await office.desk.get(job_id, wait_s, key)
    except PenstockError as refused:
        return await _remembered(office, job_id, confined_to(key), refused)
    return placed_view(job, office.node, await office.desk.places.of([job]))


async def _remembered(
    office: Office, job_id: str, client: str | None, refused: PenstockError
) -> dict[str, Any]:
    archive = office.archive
    if refused.code is not ErrorCode.JOB_NOT_FOUND or archive is None or archive.standing.connected is False:
        raise refused
    try:
        record = await archive.get(job_id)
    except PenstockError:
        raise refused from None
    if record is None or client not in {None, record.client}:
        raise refused
    return record_view(record, office.node)
