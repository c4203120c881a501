"""Jobs: submit, look, list, cancel, retry."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Path, Query, Request, Response
from pydantic import (
    BaseModel,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import CoreSchema

from penstock.api.demands import SubmissionOrDemand, as_demanded, refusal_of, with_status
from penstock.api.doors import confined_to, key_of
from penstock.api.errors import request_id
from penstock.api.office import Office
from penstock.api.records import job_or_record, records
from penstock.api.routing import make_router
from penstock.api.wire import (
    STATUS,
    answer,
    attempt_view,
    error_body,
    job_view,
    place_view,
    placed_view,
    receipt_view,
)
from penstock.core.cancelling import CancelChoice, CancelReport
from penstock.core.errors import PenstockError, field_error
from penstock.core.job import Job
from penstock.core.problems import in_words
from penstock.core.record_query import JobPage, RecordView
from penstock.core.submission import AttemptView, ExtendOptions, JobView, RetryOptions, Submission
from penstock.ports import Admission, JobQuery, Receipt

MAX_WAIT_S = 60.0
MAX_BATCH = 10_000

Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="seconds to wait for the job to end")]
JobId = Annotated[str, Path(description="the job's id", max_length=100)]
Force = Annotated[bool, Query(description="stop it even if others wait for it")]
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=200, description="same as idempotency_key in the body")
]


def _or_problem(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """A submission, or what is wrong with it: that is its own receipt's matter, not the batch's."""
    try:
        return validate(value)
    except ValidationError as invalid:
        found = invalid.errors(include_url=False, include_context=False, include_input=False)
        return field_error([(field or "submission", said) for field, said in in_words(found, "", Submission)])


class _OrAnything:
    """For the document: an item that is no submission is taken, and answered by an error in its place."""

    @staticmethod
    def __get_pydantic_json_schema__(inner: CoreSchema, describe: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [describe(inner), {"description": "anything else gets an error as its receipt"}]}


class BatchRequest(BaseModel):
    """Independent submissions, answered one by one and in order; a misshapen one gets an error of its own."""

    jobs: list[Annotated[Submission, WrapValidator(_or_problem), _OrAnything]] = Field(
        min_length=1, max_length=MAX_BATCH
    )


class JobList(BaseModel):
    """``next`` is the ``before`` of the next page, or in history its ``cursor``; null at the end."""

    jobs: list[RecordView | JobView]
    next: str | None
    total: int | None = None


class AttemptList(BaseModel):
    """Oldest first."""

    attempts: list[AttemptView]


def router(office: Office) -> APIRouter:
    """The routes under ``/jobs``, and ``/batches``."""
    routes = make_router("jobs")
    desk, node = office.desk, office.node

    @routes.post("/jobs", status_code=202, response_model=JobView, responses={200: {"model": JobView}})
    async def submit(
        request: Request,
        submission: Annotated[SubmissionOrDemand, Body()],
        wait: Wait = 0.0,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Have a job done.

        202: it is kept and will run. 200: here is an answer that was known before or, with ``wait``,
        the job that has ended meanwhile. A body with ``demand_df`` and no ``task`` is a habitat_allocation's
        parameters, and answered by ``{job_id, status, result, error, cached}``.
        """
        return await accept(office, request, submission, wait, idempotency_key)

    @routes.post("/batches")
    async def submit_many(request: Request, batch: Annotated[BatchRequest, Body()]) -> Response:
        """Have many independent jobs done with one request: one receipt each, in order.

        A receipt is ``{admission, job}`` or ``{error}``; a bad submission does not keep the others out.
        """
        asked = request_id(request)
        answers = await desk.submit_many(batch.jobs, asked, key_of(request))
        return answer({"receipts": [_receipt(each, node, asked) for each in answers]})

    @routes.get("/jobs", response_model=JobList)
    async def find(request: Request, page: Annotated[JobPage, Query()]) -> Response:
        """Jobs that match, newest first, without their results.

        With a filter that only history knows, or ``source=history``, those that were recorded, with results.
        """
        client = confined_to(key_of(request))
        if page.of_history:
            return await records(office, page, client)
        query = JobQuery(
            state=page.state,
            task=page.task,
            queue=page.queue,
            client=client,
            before=page.before,
            limit=page.limit,
            parent_id=page.parent_id,
            parts=page.parts,
        )
        jobs = await desk.find(query)
        more = jobs[-1].id if len(jobs) == page.limit else None
        places = await desk.places.of(jobs)
        return answer({"jobs": [placed_view(job, node, places) for job in jobs], "next": more})

    @routes.get("/jobs/{job_id}", response_model=RecordView | JobView)
    async def get(request: Request, job_id: JobId, wait: Wait = 0.0) -> Response:
        """The job as it stands, or as it is when it has ended within ``wait`` seconds.

        One that the broker has forgotten as history has it.
        """
        return answer(with_status(await job_or_record(office, job_id, key_of(request), wait)))

    @routes.delete("/jobs/{job_id}", response_model=JobView)
    async def cancel(job_id: JobId, force: Force = False) -> Response:
        """Cancel: a waiting job ends at once, a running one within seconds, an ended one stays.

        A job that several wait for goes on for the others; with ``force`` it ends for all of them.
        """
        return answer(job_view(await desk.cancel(job_id, force=force), node))

    @routes.delete("/jobs")
    async def cancel_many(request: Request, choice: Annotated[CancelChoice, Query()]) -> CancelReport:
        """Cancel many jobs: by ids, by filter, or all that have not ended."""
        return await desk.cancelling.cancel(choice, key_of(request))

    @routes.get("/jobs/{job_id}/attempts", response_model=AttemptList)
    async def attempts(job_id: JobId) -> Response:
        """The job's attempts that are over, oldest first, the last 20 of them."""
        return answer({"attempts": list(map(attempt_view, await desk.attempts(job_id)))})

    _again(routes, office)
    return routes


def _again(routes: APIRouter, office: Office) -> None:
    """The routes that make more of a job that has ended."""
    desk = office.desk

    async def waiting(job: Job) -> Response:
        view = placed_view(job, office.node, await desk.places.of([job]))
        return answer(view, 202, {"Location": f"/jobs/{job.id}"})

    @routes.post("/jobs/{job_id}/retry", status_code=202, response_model=JobView)
    async def retry(
        request: Request, job_id: JobId, options: Annotated[RetryOptions | None, Body()] = None
    ) -> Response:
        """Queue a failed or cancelled job anew, with all its attempts.

        With ``params`` the job stays as it is, and a new one with these parameters is submitted.
        """
        if options is None or options.params is None:
            job = await desk.retry(job_id)
        else:
            job = await desk.retry_with(job_id, options.params, request_id(request), key_of(request))
        return await waiting(job)

    @routes.post("/jobs/{job_id}/extend", status_code=202, response_model=JobView)
    async def extend(request: Request, job_id: JobId, options: Annotated[ExtendOptions, Body()]) -> Response:
        """Go on with a finished simulation: a new job with larger parameters that keeps what was drawn.

        Its result is that of a new simulation with these parameters.
        """
        job = await desk.extend(job_id, options.params, request_id(request), key_of(request))
        return await waiting(job)


async def accept(
    office: Office, request: Request, submission: Submission, wait_s: float, key: str | None
) -> Response:
    """Submit, wait if asked to, and answer with the status that tells what happened."""
    if key is not None and submission.idempotency_key is None:
        submission = submission.model_copy(update={"idempotency_key": key})
    try:
        receipt = await office.desk.submit(submission, request_id(request), wait_s, key_of(request))
    except PenstockError as refused:
        raise refusal_of(submission, refused) from refused.__cause__
    view = receipt_view(receipt, office.node)
    if wait_s > 0 and receipt.job is not None:  # others would pay for the look, whether they want it or not
        view |= place_view(receipt.job, await office.desk.places.of([receipt.job]))
    known = receipt.admission is Admission.CACHED or view["state"].final
    return as_demanded(submission, view, 200 if known else 202)


def _receipt(each: Receipt | PenstockError, node: str, request: str | None) -> dict[str, Any]:
    if isinstance(each, PenstockError):
        return {"error": error_body(each, request), "status": STATUS[each.code]}
    return {"admission": each.admission, "job": receipt_view(each, node)}
