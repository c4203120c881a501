"""Every error a user can meet has a code from here; edges translate codes, they never invent them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class ErrorCode(StrEnum):
    """Why a request was not carried out."""

    INVALID_REQUEST = "INVALID_REQUEST"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    TASK_UNKNOWN = "TASK_UNKNOWN"
    JOB_NOT_FOUND = "JOB_NOT_FOUND"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    TOO_LARGE = "TOO_LARGE"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    RATE_LIMITED = "RATE_LIMITED"
    QUEUE_FULL = "QUEUE_FULL"
    BROKER_UNAVAILABLE = "BROKER_UNAVAILABLE"
    HISTORY_UNAVAILABLE = "HISTORY_UNAVAILABLE"
    TASK_TIMEOUT = "TASK_TIMEOUT"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    NODE_UNREACHABLE = "NODE_UNREACHABLE"
    """Said by clients only: nobody answered."""


class FailureCode(StrEnum):
    """Why an attempt at a job did not succeed."""

    TASK_ERROR = "TASK_ERROR"
    TIMED_OUT = "TIMED_OUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    CRASHED = "CRASHED"
    WORKER_LOST = "WORKER_LOST"
    CANCELLED = "CANCELLED"
    TASK_UNKNOWN = "TASK_UNKNOWN"
    """No worker of the queue knows the task."""
    PART_FAILED = "PART_FAILED"
    """A part of the job failed for good."""


class PenstockError(Exception):
    """A refusal with a code, a sentence for people and details for programs.

    ``retry_after_s`` is set when the same request may succeed after that many seconds.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        details: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.retry_after_s = retry_after_s


def field_error(problems: list[tuple[str, str]]) -> PenstockError:
    """A VALIDATION_ERROR for ``(field, problem)`` pairs; the message names every field.

    A client may have made up the name of a field, of what is no Unicode and cannot be told as it is.
    """
    told = [(_unicode(field), _unicode(problem)) for field, problem in problems]
    message = "; ".join(f"{field}: {problem}" for field, problem in told)
    fields = [{"field": field, "problem": problem} for field, problem in told]
    return PenstockError(ErrorCode.VALIDATION_ERROR, message, {"fields": fields})


def _unicode(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def broker_unavailable(message: str, retry_after_s: float = 1.0) -> PenstockError:
    """The broker cannot be reached or did not answer in time; nothing is known to be stored."""
    return PenstockError(ErrorCode.BROKER_UNAVAILABLE, message, retry_after_s=retry_after_s)


def history_unavailable(message: str, retry_after_s: float = 5.0) -> PenstockError:
    """The database of history cannot be had; jobs are not touched by that."""
    return PenstockError(ErrorCode.HISTORY_UNAVAILABLE, message, retry_after_s=retry_after_s)
