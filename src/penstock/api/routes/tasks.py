"""Tasks: what can be asked for, and a typed submission for each."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BaseModel, Field

from penstock.api.office import Office
from penstock.api.routes.jobs import MAX_WAIT_S, IdempotencyKey, accept
from penstock.api.routing import make_router
from penstock.api.wire import task_view
from penstock.core.catalog import AnyTask
from penstock.core.submission import JobView, Submission, SubmitOptions, TaskView


class QueryOptions(SubmitOptions):
    """What else may be said in the query, as the body is the parameters alone."""

    wait: float = Field(default=0.0, ge=0, le=MAX_WAIT_S, description="seconds to wait for the job to end")


NO_OPTIONS = QueryOptions()


def router(office: Office) -> APIRouter:
    """The routes under ``/tasks``."""
    routes = make_router("tasks")
    catalog = office.desk.catalog

    @routes.get("/tasks")
    async def tasks() -> list[TaskView]:
        """Every task with its JSON Schemas."""
        return [task_view(task) for task in catalog.values()]

    @routes.get("/tasks/{name}")
    async def one(name: str) -> TaskView:
        """One task with its JSON Schemas."""
        return task_view(catalog.find(name))

    for task in catalog.values():
        routes.post(
            f"/tasks/{task.name}/jobs",
            status_code=202,
            summary=f"Submit {task.name}",
            description=task.description,
            operation_id=f"submit_{task.name}",
            response_model=JobView,
            responses={200: {"model": JobView}},
        )(_typed_submit(office, task))

    @routes.post("/tasks/{name}/jobs", include_in_schema=False)
    async def unknown(name: str) -> None:
        """Any other name: 404 with the names there are."""
        catalog.find(name)

    return routes


def _typed_submit(office: Office, task: AnyTask) -> Callable[..., Awaitable[Response]]:
    """A route whose body is the task's own parameter model, so that OpenAPI describes it."""
    params_model: type[BaseModel] = task.params_model
    examples: list[Any] = [dict(task.example)] if task.example else []

    async def submit(
        request: Request,
        params: Annotated[params_model, Body(examples=examples)],  # type: ignore[valid-type]
        options: Annotated[QueryOptions, Query()] = NO_OPTIONS,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        given = params.model_dump(exclude_unset=True, by_alias=True, round_trip=True)  # type: ignore[attr-defined]
        chosen = options.model_dump(exclude_unset=True, exclude={"wait"})
        submission = Submission(task=task.name, params=given, **chosen)
        return await accept(office, request, submission, options.wait, idempotency_key)

    return submit
