"""Sends messages, a number of them at a time, and notes what was answered to each."""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Mapping

import httpx

from penstock.cli.experiments.board import Board
from penstock.cli.experiments.ledger import Sent

ANSWER_S = 60.0


class Sender:
    """``POST /enqueue``; with a task of the user's own ``POST /jobs``.

    Every message is sent once: what is not accepted is not tried again, so that each answer counts.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        parallel: int,
        board: Board,
        *,
        queue: str,
        task: str | None,
        headers: Mapping[str, str],
    ) -> None:
        self.sent: list[Sent] = []
        self._prefix = prefix
        self._task = task
        self._queue = queue
        self._board = board
        self._next = 0
        # One for each, because a pool shared by a hundred senders is the slowest part of the run.
        context = ssl.create_default_context()
        self._clients = [
            httpx.AsyncClient(
                base_url=url, timeout=ANSWER_S, trust_env=False, verify=context, headers=headers
            )
            for _ in range(parallel)
        ]

    @property
    def idle(self) -> bool:
        """Whether everything that was to be sent so far has been answered."""
        return len(self.sent) == self._next

    @property
    def told(self) -> str:
        """How often each status was answered."""
        counts = Counter(str(each.status or "no answer") for each in self.sent)
        return ", ".join(f"{number} x {status}" for status, number in counts.items())

    async def close(self) -> None:
        """Hang up."""
        for client in self._clients:
            await client.aclose()

    async def send(self, number: int) -> None:
        """Send so many more, and wait for the answers."""
        texts = [f"{self._prefix}-{self._next + each:06d}" for each in range(number)]
        self._next += number
        left = iter(texts)

        async def one_by_one(client: httpx.AsyncClient) -> None:
            for text in left:
                await self._send(client, text)

        await asyncio.gather(*map(one_by_one, self._clients))

    async def _send(self, client: httpx.AsyncClient, text: str) -> None:
        self._board.attempted += 1
        began = time.monotonic()
        status, job_id = await self._post(client, text)
        self.sent.append(Sent(text, status, time.monotonic() - began, job_id))
        self._board.accepted += job_id is not None

    async def _post(self, client: httpx.AsyncClient, text: str) -> tuple[int, str | None]:
        try:
            if self._task is None:
                answer = await client.post("/enqueue", json={"message": text})
            else:
                job = {"task": self._task, "params": {"message": text}, "queue": self._queue}
                answer = await client.post("/jobs", json=job)
        except httpx.TransportError:
            return 0, None
        return answer.status_code, _job_id(answer) if answer.is_success else None


def _job_id(answer: httpx.Response) -> str | None:
    """None if whoever answers there is no Penstock."""
    try:
        return str(answer.json()["id"])
    except (ValueError, LookupError, TypeError):
        return None
