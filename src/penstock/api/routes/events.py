"""Live events as Server-Sent Events, resumable from any event id."""

from collections.abc import AsyncIterator
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Query, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from penstock.api.doors import confined_to, key_of
from penstock.api.office import Office
from penstock.api.routes.jobs import JobId
from penstock.api.routing import make_router
from penstock.api.wire import encode, event_view, job_view
from penstock.core.errors import PenstockError
from penstock.service.owners import Owners

PING_S = 15

LastEventId = Annotated[str | None, Header(description="resume after this event")]
After = Annotated[str | None, Query(description="resume after this event; beats Last-Event-ID")]


def router(office: Office) -> APIRouter:
    """``/events`` and ``/jobs/{id}/events``."""
    routes = make_router("events")
    desk, node = office.desk, office.node

    @routes.get("/events", response_class=EventSourceResponse)
    async def everything(
        request: Request, after: After = None, last_event_id: LastEventId = None
    ) -> EventSourceResponse:
        """Everything that happens, from now on or after a known event."""
        start = await desk.start(_resumed(after, last_event_id))
        return EventSourceResponse(_stream(office, request, start, None), ping=PING_S)

    @routes.get("/jobs/{job_id}/events", response_class=EventSourceResponse)
    async def of_one_job(
        request: Request, job_id: JobId, after: After = None, last_event_id: LastEventId = None
    ) -> EventSourceResponse:
        """What happens to one job, until it has ended.

        Without a known event to resume after, the first message is ``snapshot``: the job as it stands.
        """
        resumed = _resumed(after, last_event_id)
        start = await desk.start(resumed)
        job = await desk.get(job_id)

        async def messages() -> AsyncIterator[ServerSentEvent]:
            if resumed is None:
                yield ServerSentEvent(encode(job_view(job, node)).decode(), event="snapshot", id=start)
                if job.state.final:
                    return
            async for message in _stream(office, request, start, job_id):
                yield message

        return EventSourceResponse(messages(), ping=PING_S)

    return routes


def _resumed(after: str | None, last_event_id: str | None) -> str | None:
    return last_event_id if after is None else after


async def _stream(
    office: Office, request: Request, after: str, job_id: str | None
) -> AsyncIterator[ServerSentEvent]:
    """The feed, or the part of it that the request's key may see."""
    owners = Owners(office.desk, confined_to(key_of(request)))
    try:
        async for event in office.desk.events(after, job_id):
            if event is None:
                if await request.is_disconnected():
                    return
            elif await owners.may_see(event.job_id):
                yield ServerSentEvent(encode(event_view(event)).decode(), event=event.kind, id=event.id)
    except PenstockError as failed:
        # Too late for a status; the reader comes back with the last id it saw.
        structlog.get_logger("penstock.api").warning("event stream interrupted", error=failed.message)
