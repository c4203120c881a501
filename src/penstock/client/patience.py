"""When a client repeats a request: after 429 and 503 as soon as the node says, and after a lost answer.

Nothing was done by what was refused. What got no answer may have been done; only what bears that is
repeated: requests that read or set, and submissions, which have idempotency keys of their own.
"""

import random
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from penstock.client.messages import Call
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.submission import Submission

PATIENCE_S = 10.0
FIRST_PAUSE_S, PAUSE_CAP_S = 0.1, 5.0
REFUSALS = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.QUEUE_FULL, ErrorCode.BROKER_UNAVAILABLE})
BEARING = frozenset({"/jobs", "/batches", "/waits"})
"""What may be posted twice."""


class Patience:
    """One request's tries within ``limit_s`` seconds."""

    def __init__(self, limit_s: float) -> None:
        self._give_up = time.monotonic() + limit_s
        self._pause_s = FIRST_PAUSE_S

    def pause_s(self, call: Call[Any], failed: PenstockError) -> float:
        """How long to wait before the next try; raises the error if there is to be none."""
        lost = failed.code is ErrorCode.NODE_UNREACHABLE
        bears = call.method != "POST" or call.path in BEARING
        if failed.code not in REFUSALS and not (lost and bears):
            raise failed
        pause_s = failed.retry_after_s or self._pause_s
        pause_s *= random.uniform(1, 1.25)  # noqa: S311 - jitter
        self._pause_s = min(PAUSE_CAP_S, self._pause_s * 2)
        if time.monotonic() + pause_s >= self._give_up:
            raise failed
        return pause_s


def keyed(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a submission, with an idempotency key unless there is one."""
    given = options.get("idempotency_key") or uuid.uuid4().hex
    return {**options, "idempotency_key": given}


def all_keyed(submissions: Iterable[Submission | Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Many submissions likewise."""
    return [
        keyed(each.model_dump(mode="json", exclude_unset=True) if isinstance(each, Submission) else each)
        for each in submissions
    ]
