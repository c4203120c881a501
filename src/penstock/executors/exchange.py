"""How the running attempt asks its supervisor for something and waits for the reply."""

import os
import queue
from collections.abc import Callable

from penstock.core.attempt import Reply, Request
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.progress import JobCancelled

Replies = queue.SimpleQueue[Reply | None]
"""What the thread that reads the line hands over; None when the line has ended."""


class LineExchange:
    """`steps.Exchange` for the attempt with this token. ``ask`` sends a request."""

    def __init__(self, token: int, ask: Callable[[Request], None], replies: Replies) -> None:
        self.ask = ask
        self._token = token
        self._replies = replies

    def reply(self) -> Reply:
        """Wait for the next reply; raises `JobCancelled` if the attempt counts no more."""
        while (reply := self._replies.get()) is not None:
            if reply.token != self._token:
                continue  # to an attempt that was interrupted before it came
            if reply.lost:
                raise JobCancelled
            if reply.error:
                raise PenstockError(ErrorCode.INTERNAL_ERROR, reply.error)
            return reply
        os._exit(1)  # the supervisor is gone
