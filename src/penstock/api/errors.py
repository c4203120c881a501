"""Whatever goes wrong in a route leaves as the one envelope."""

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from penstock.api.wire import answer, envelope, error_body
from penstock.core.errors import ErrorCode, PenstockError, field_error
from penstock.core.problems import in_words
from penstock.core.units import readable_size

_ABOUT_ALL = frozenset({"value_error", "assertion_error"})
"""Problems of fields that do not fit together; only a body that is a task's parameters can have them."""


class TooLargeError(HTTPException):
    """A body past the limit. FastAPI lets only an `HTTPException` through while it reads a body."""

    def __init__(self, limit: int, what: str = "request body") -> None:
        super().__init__(413)
        message = f"the {what} is larger than {readable_size(limit)}"
        self.refused = PenstockError(ErrorCode.TOO_LARGE, message, {"limit_bytes": limit})


def install(app: FastAPI) -> None:
    """Add the handlers; what they do not know is left to `unexpected`."""
    app.add_exception_handler(PenstockError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(TooLargeError, _too_large)
    app.add_exception_handler(HTTPException, _http)


def unexpected(error: Exception, path: str, request: str) -> Response:
    """A defect of ours: logged in full, told without a word about the inside."""
    structlog.get_logger("penstock.api").error("unexpected error", request=request, path=path, exc_info=error)
    message = "something went wrong here; the log has the details under this request id"
    return envelope(PenstockError(ErrorCode.INTERNAL_ERROR, message), request)


def request_id(request: Request) -> str | None:
    """The id that `Guard` kept or made."""
    kept: str | None = request.scope.get("state", {}).get("request_id")
    return kept


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, PenstockError)  # noqa: S101 - what it is registered for
    return envelope(error, request_id(request))


async def _too_large(request: Request, error: Exception) -> Response:
    assert isinstance(error, TooLargeError)  # noqa: S101 - what it is registered for
    return envelope(error.refused, request_id(request))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    found = inside(error.errors())
    if any(each["type"] == "json_invalid" for each in found):
        message = f"the body is not valid JSON: {_json_reason(found)}"
        refused = PenstockError(ErrorCode.INVALID_REQUEST, message)
    elif found and not found[0]["loc"] and found[0]["type"] not in _ABOUT_ALL:
        message = "the body must be a JSON object, sent as Content-Type: application/json"
        refused = PenstockError(ErrorCode.INVALID_REQUEST, message)
    else:
        model = _body_model(request)
        refused = field_error([(field or "params", said) for field, said in in_words(found, model=model)])
    return envelope(refused, request_id(request))


def _json_reason(found: Any) -> str:
    return str(found[0].get("ctx", {}).get("error", found[0]["msg"]))


def _body_model(request: Request) -> Any:
    """What the route wants its body to be."""
    body = getattr(request.scope.get("route"), "body_field", None)
    return body and body.field_info.annotation


def inside(found: Sequence[Any]) -> list[dict[str, Any]]:
    """The findings, without the part of the request that each was in."""
    return [{**each, "loc": each["loc"][1:]} for each in found]


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    code = ErrorCode.NOT_FOUND if error.status_code == 404 else ErrorCode.INVALID_REQUEST
    refused = PenstockError(code, f"{request.method} {request.url.path}: {error.detail}")
    headers = dict(error.headers or {})
    return answer({"error": error_body(refused, request_id(request))}, error.status_code, headers)
