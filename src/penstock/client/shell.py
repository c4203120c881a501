"""What the two clients have in common: where their node is, and messages as they send them. No I/O."""

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import httpx

from penstock.client import messages
from penstock.client.messages import DEFAULT_URL, MAX_WAIT_S, Call
from penstock.client.named import Params, TaskOrName
from penstock.client.patience import all_keyed, keyed
from penstock.core.submission import JobView, Submission

Answer = TypeVar("Answer")

TIMEOUT_S = 30.0
_JSON = {"Content-Type": "application/json"}


class Shell:
    """What `Client` and `AsyncClient` are made from; ``url`` is the address of their node."""

    def __init__(self, url: str | None, timeout_s: float, patience_s: float) -> None:
        self.url = url or os.environ.get("PENSTOCK_URL") or DEFAULT_URL
        self._timeout_s = timeout_s
        self._patience_s = patience_s

    def _submit(
        self, task: TaskOrName, params: Params | None, wait_s: float, options: Mapping[str, Any]
    ) -> Call[JobView]:
        return messages.submit(task, params or {}, wait_s, keyed(options) if self._patience_s else options)

    def _submit_many(self, submissions: Iterable[Submission | Mapping[str, Any]]) -> Call[list[JobView]]:
        return messages.submit_many(all_keyed(submissions) if self._patience_s else submissions)

    def _options(self, call: Call[Any]) -> dict[str, Any]:
        """What httpx is to send besides the method and the path, and how long it may take."""
        return {"params": call.query, "content": call.body, "timeout": self._timeout_s + call.wait_s}


def read(call: Call[Answer], response: httpx.Response) -> Answer:
    """What the node answered; raises what it refused."""
    return messages.read(call, response.status_code, response.content, response.headers.get("Retry-After"))


def headers(api_key: str | None) -> dict[str, str]:
    """Of every request; the key is by default PENSTOCK_API_KEY."""
    key = api_key or os.environ.get("PENSTOCK_API_KEY")
    return _JSON | {"Authorization": f"Bearer {key}"} if key else _JSON


def address(url: str) -> httpx.URL:
    """The node's address; raises NODE_UNREACHABLE for what cannot be one."""
    try:
        return httpx.URL(url if "://" in url else f"http://{url}")
    except httpx.InvalidURL as failed:
        raise messages.unreachable(url, failed) from None


class Turns:
    """Long polls, one after another, for ``timeout_s`` seconds or, with None, for ever."""

    def __init__(self, timeout_s: float | None) -> None:
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s

    @property
    def next_s(self) -> float:
        """How long the next request may wait."""
        if self._deadline is None:
            return MAX_WAIT_S
        return min(MAX_WAIT_S, max(0.0, self._deadline - time.monotonic()))

    @property
    def over(self) -> bool:
        """Whether there is to be none."""
        return self._deadline is not None and time.monotonic() >= self._deadline
