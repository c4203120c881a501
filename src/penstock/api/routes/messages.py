"""The message pipeline's own way in: a text becomes a job of the task ``message``."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from penstock.api.doors import key_of
from penstock.api.errors import TooLargeError, request_id
from penstock.api.office import Office
from penstock.api.routes.jobs import IdempotencyKey
from penstock.api.routing import make_router
from penstock.api.wire import answer
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.problems import refusal
from penstock.core.submission import Submission

MAX_MESSAGE = 2**20
"""Bytes of UTF-8."""


class Message(BaseModel):
    """A message as JSON."""

    model_config = ConfigDict(extra="forbid", strict=True)

    message: str = Field(json_schema_extra={"minLength": 1})  # our own words say so better than pydantic's


class Enqueued(BaseModel):
    """The message was written down as the job ``id`` and will be processed."""

    enqueued: bool
    queue: str
    message: str
    id: str


_BODY = {
    "required": True,
    "content": {
        "text/plain": {"schema": {"type": "string", "minLength": 1}, "example": "hello"},
        "application/json": {"schema": Message.model_json_schema(), "example": {"message": "hello"}},
    },
}


def router(office: Office) -> APIRouter:
    """``/enqueue``."""
    routes = make_router("messages")

    @routes.post("/enqueue", response_model=Enqueued, openapi_extra={"requestBody": _BODY})
    async def enqueue(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
        """Take a message: the whole body as text, or ``{"message": …}`` as JSON. At most 1 MiB."""
        text = _text(await _body(request), request.headers.get("content-type", ""))
        submission = Submission(task="message", params={"message": text}, idempotency_key=idempotency_key)
        receipt = await office.desk.submit(submission, request_id(request), by=key_of(request))
        assert receipt.job is not None  # noqa: S101 - what is not refused has a job
        spec = receipt.job.spec
        told = {"enqueued": True, "queue": spec.queue, "message": text, "id": spec.id}
        return answer(told, headers={"Location": f"/jobs/{spec.id}"})

    return routes


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:
        raise _refused("the body ended early") from None


def _text(body: bytes, content_type: str) -> str:
    """The message of a body, which is JSON only if it says so."""
    kind = content_type.partition(";")[0].strip().lower()
    text = _of_json(body) if kind == "application/json" else _of_text(body)
    if not text:
        raise _refused("the message is empty")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_MESSAGE:
        raise TooLargeError(MAX_MESSAGE, "message")
    return text


def _of_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as failed:
        raise _refused(f"the body is no UTF-8: {failed.reason} at byte {failed.start}") from None


def _of_json(body: bytes) -> str:
    try:
        return Message.model_validate_json(body).message
    except ValidationError as invalid:
        said = refusal(invalid.errors(), "", Message).message.removeprefix(": ")
        raise _refused(f'the body must be JSON like {{"message": "hello"}}: {said}') from None


def _refused(reason: str) -> PenstockError:
    return PenstockError(ErrorCode.INVALID_REQUEST, reason)
