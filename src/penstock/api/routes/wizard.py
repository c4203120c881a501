"""Two numbers, added by whichever node is free: the plain way in to the task ``add``, and who did what."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, create_model

from penstock.api.doors import key_of
from penstock.api.errors import request_id
from penstock.api.office import Office
from penstock.api.plain import make_plain_router
from penstock.api.records import job_or_record
from penstock.api.routes.jobs import MAX_WAIT_S, IdempotencyKey, JobId
from penstock.api.wire import answer, node_of, receipt_view
from penstock.core.catalog import Catalog
from penstock.core.clock import iso
from penstock.core.job import State
from penstock.core.submission import ErrorView, ProgressView, Submission
from penstock.service.promptly import promptly

ADD = "add"
WAIT_S = 30.0

Status = Literal["pending", "complete", "failed"]
Number = int | float

STATUS: dict[State, Status] = {
    State.SUCCEEDED: "complete",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
}
"""In the words of this API; every other state is pending."""


class Summed(BaseModel):
    """The sum, and the node that worked it out."""

    sum: Number
    handled_by: str


class Numbers(BaseModel):
    """What may be asked where there is no task ``add``: the answer says so."""

    a: Number
    b: Number


class WizardTask(BaseModel):
    """A sum that is being worked out, or has been; ``result`` is null before.

    ``initiated_by``, ``checked_by`` and ``handled_by`` are the nodes that took the task, answered this
    question, and worked it out.
    """

    task_id: str
    status: Status
    result: Any = None
    error: ErrorView | None = None
    progress: ProgressView | None = None
    initiated_by: str
    checked_by: str
    handled_by: str | None = None


class Diagnosis(BaseModel):
    """What a node finds of its broker; durations in milliseconds, the time ISO 8601 in UTC."""

    node: str
    ping: bool
    ping_ms: float
    write_ms: float
    read_ms: float
    wrote: str
    read: str | None
    matches: bool
    broker_time: str


def router(office: Office) -> APIRouter:
    """``/add``, ``/task``, ``/tasks/{id}/status`` and ``/valkey_test``."""
    routes = make_plain_router("wizard")
    desk = office.desk
    asked = _asked(desk.catalog)
    asked_now = create_model("AddNow", __base__=asked, wait=(float, _WAIT))

    @routes.get("/add", response_model=Summed)
    async def add(request: Request, query: Annotated[asked_now, Query()]) -> Response:
        """The sum of two numbers, at once: 504 if no node has worked it out within ``wait`` seconds."""
        params = query.model_dump(exclude_unset=True, exclude={"wait"})
        submission = Submission(task=ADD, params=params)
        wait_s: float = query.wait  # type: ignore[attr-defined]
        job = await promptly(desk, submission, wait_s, request_id(request), key_of(request))
        return answer({"sum": _sum(job.result), "handled_by": node_of(job.worker)})

    @routes.post("/task", status_code=202, response_model=WizardTask)
    async def begin(
        request: Request,
        query: Annotated[asked, Query()],  # type: ignore[valid-type]
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Have two numbers added in the background; how it goes is told under the address in ``Location``."""
        params = query.model_dump(exclude_unset=True)  # type: ignore[attr-defined]
        submission = Submission(task=ADD, params=params, idempotency_key=idempotency_key)
        receipt = await desk.submit(submission, request_id(request), by=key_of(request))
        view = receipt_view(receipt, office.node)
        return answer(_told(view), 202, {"Location": f"/tasks/{view['id']}/status"})

    @routes.get("/tasks/{job_id}/status", response_model=WizardTask)
    async def status(request: Request, job_id: JobId) -> Response:
        """How a task stands, and the three nodes that had to do with it."""
        return answer(_told(await job_or_record(office, job_id, key_of(request))))

    @routes.get("/valkey_test", response_model=Diagnosis)
    async def diagnose() -> Response:
        """Whether the broker answers, takes a document, and gives it back: 503 if it cannot be reached."""
        found = msgspec.to_builtins(await desk.probe())
        return answer(
            {"node": office.node, "ping": True} | found | {"broker_time": iso(found["broker_time"])}
        )

    return routes


_WAIT = Field(default=WAIT_S, ge=0.001, le=MAX_WAIT_S, description="seconds to wait for the sum")


def _asked(catalog: Catalog) -> type[BaseModel]:
    """The task's own parameters, so that the document tells them and their bounds."""
    model: type[BaseModel] = catalog[ADD].params_model if ADD in catalog else Numbers
    return model


def _told(view: dict[str, Any]) -> dict[str, Any]:
    """A job as `WizardTask` describes it."""
    same = ("error", "progress", "initiated_by", "checked_by", "handled_by")
    return {
        "task_id": view["id"],
        "status": STATUS.get(State(view["state"]), "pending"),
        "result": _sum(view["result"]),
    } | {name: view[name] for name in same}


def _sum(result: msgspec.Raw | None) -> Any:
    """The number alone, of a sum; any other result as it is."""
    found = None if result is None else msgspec.json.decode(result)
    return found["sum"] if isinstance(found, dict) and found.keys() == {"sum"} else found
