"""What was recorded, as a file. Listed before ``jobs``, whose ``/jobs/{job_id}`` would take its path."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from penstock.api.doors import confined_to, key_of
from penstock.api.export import FORMATS, Format
from penstock.api.office import Office
from penstock.api.records import archive_of, within
from penstock.api.routing import make_router
from penstock.core.record_query import RecordFilter


class ExportFilter(RecordFilter):
    """Which jobs, and as what."""

    format: Format = Field(default="jsonl", description="csv, jsonl or parquet")


def router(office: Office) -> APIRouter:
    """``/jobs/export``."""
    routes = make_router("jobs")

    @routes.get("/jobs/export", response_class=StreamingResponse)
    async def export(request: Request, wanted: Annotated[ExportFilter, Query()]) -> Response:
        """Every recorded job that matches, sent while it is read."""
        made = FORMATS[wanted.format]
        rows = archive_of(office).every(within(wanted, confined_to(key_of(request))))
        first = await anext(rows)  # what goes wrong here can still be told properly
        headers = {"Content-Disposition": f'attachment; filename="penstock-jobs.{wanted.format}"'}
        return StreamingResponse(made.write(first, rows), headers=headers, media_type=made.media_type)

    return routes
