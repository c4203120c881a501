"""Sends messages, a number of them at a time, and notes what was answered to each."""

import asyncio
import time

import httpx

from penstock.cli.experiments.board import Board
from penstock.cli.experiments.ledger import Sent

ANSWER_S = 60.0


class Sender:
    """``POST /enqueue``; with a task of the user's own ``POST /jobs``.

    Every message is sent once: what is not accepted is not tried again, so that each answer counts.
    """

    def __init__(
        self, url: str, prefix: str, parallel: int, board: Board, *, queue: str, task: str | None
    ) -> None:
        self.sent: list[Sent] = []
        self._prefix = prefix
        self._task = task
        self._queue = queue
        self._board = board
        self._parallel = parallel
        self._next = 0
        limits = httpx.Limits(max_connections=parallel, max_keepalive_connections=parallel)
        self._client = httpx.AsyncClient(base_url=url, timeout=ANSWER_S, limits=limits, trust_env=False)

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def send(self, number: int) -> None:
        """Send so many more, and wait for the answers."""
        texts = [f"{self._prefix}-{self._next + each:06d}" for each in range(number)]
        self._next += number
        left = iter(texts)

        async def one_by_one() -> None:
            for text in left:
                await self._send(text)

        await asyncio.gather(*(one_by_one() for _ in range(min(self._parallel, number))))

    async def _send(self, text: str) -> None:
        self._board.attempted += 1
        began = time.monotonic()
        status, job_id = await self._post(text)
        self.sent.append(Sent(text, status, time.monotonic() - began, job_id))
        self._board.accepted += job_id is not None

    async def _post(self, text: str) -> tuple[int, str | None]:
        try:
            if self._task is None:
                answer = await self._client.post("/enqueue", json={"message": text})
            else:
                job = {"task": self._task, "params": {"message": text}, "queue": self._queue}
                answer = await self._client.post("/jobs", json=job)
        except httpx.TransportError:
            return 0, None
        return answer.status_code, answer.json()["id"] if answer.is_success else None
