"""What the two clients have in common: where their node is, and messages as they send them.

Nothing here does I/O but the look for the node.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import httpx

from penstock.client import messages
from penstock.client.messages import DEFAULT_URL, MAX_WAIT_S, Call
from penstock.client.named import Params, TaskOrName
from penstock.client.patience import all_keyed, keyed
from penstock.core.submission import JobView, Submission
from penstock.whereabouts import Whereabouts
from penstock.whereabouts import read as read_settings

Answer = TypeVar("Answer")

TIMEOUT_S = 30.0
_JSON = {"Content-Type": "application/json"}


class Shell:
    """What `Client` and `AsyncClient` are made from; ``url`` is the address of their node.

    What is not given is looked for where the command line looks. Raises INVALID_REQUEST for settings that
    cannot be understood, NODE_UNREACHABLE for what cannot be an address.
    """

    def __init__(self, url: str | None, timeout_s: float, patience_s: float, api_key: str | None) -> None:
        found = read_settings(Whereabouts, url=url or None, api_key=api_key or None)
        self.url = found.node_url or DEFAULT_URL
        self._address = _address(self.url)
        self._headers = _JSON | ({"Authorization": f"Bearer {found.key}"} if found.key else {})
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


def _address(url: str) -> httpx.URL:
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
