"""Waiting for many jobs with one request."""

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from penstock.api.doors import key_of
from penstock.api.office import Office
from penstock.api.routes.jobs import MAX_WAIT_S
from penstock.api.routing import make_router
from penstock.api.wire import answer, job_view
from penstock.core.submission import JobView

MOST = 1_000


class WaitRequest(BaseModel):
    """The jobs, first those that are expected to end first, and how long to wait for one of them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    ids: list[Annotated[str, Field(max_length=100)]] = Field(min_length=1, max_length=MOST)
    wait: float = Field(default=0.0, ge=0, le=MAX_WAIT_S, strict=True, description="seconds")


class WaitAnswer(BaseModel):
    """Those that have ended; ``unknown`` are ids of jobs that do not exist, or no longer."""

    jobs: list[JobView]
    unknown: list[str]


def router(office: Office) -> APIRouter:
    """``/waits``."""
    routes = make_router("jobs")

    @routes.post("/waits", response_model=WaitAnswer)
    async def wait(request: Request, asked: Annotated[WaitRequest, Body()]) -> Response:
        """Those of the jobs that have ended, as soon as there are any or the time is up."""
        jobs = await office.desk.wait_any(asked.ids, asked.wait, key_of(request))
        ended = [job_view(job, office.node) for job in jobs if job is not None and job.state.final]
        unknown = [job_id for job_id, job in zip(asked.ids, jobs, strict=True) if job is None]
        return answer({"jobs": ended, "unknown": unknown})

    return routes
