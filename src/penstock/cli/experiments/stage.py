"""What an experiment works on: a broker, an API and workers of its own, or a deployment that runs already."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from typing import Any

import httpx

from penstock.cli.experiments.board import Board, Lines
from penstock.cli.experiments.brokers import Store
from penstock.cli.experiments.ledger import Disturbance
from penstock.cli.experiments.plan import Aim, Mode, Plan
from penstock.cli.experiments.program import Program, failed
from penstock.cli.experiments.sender import Sender
from penstock.core.submission import JobView

QUEUE = "messages"
ASK_S = 30.0
LOOK_S = 0.02
DRAIN = "5s"  # at the end nothing runs; and if we are killed, the workers should not stay for long
PAUSE_S = 0.1
TURN_S = 5.0
"""How long one question for a job waits for its end."""

_FOREIGN = ("PENSTOCK_", "REDIS_", "VALKEY_")
_ALSO_FOREIGN = {"HTTP_ADDR", "QUEUE_NAME", "OUTPUT_PATH", "PROCESSING_DELAY_MS"}


class Stage:
    """Experiments send, wait and break things through it; ``workers`` and ``api`` are of the run's own.

    On a deployment of the user's (``aim.api``) there is nothing to break: only `send` may be used.
    """

    api: Program
    broker: Store

    def __init__(self, plan: Plan, aim: Aim, board: Board, run: str) -> None:
        self.plan = plan
        self.board = board
        self.workers: list[Program] = []
        self.disturbances: list[Disturbance] = []
        self.sender: Sender
        self.lines: Lines | None = None
        self._aim = aim
        self._run = run
        self._tasks: list[asyncio.Task[None]] = []
        self._client: httpx.AsyncClient
        self._jobs: dict[str, JobView | None] = {}

    @contextlib.asynccontextmanager
    async def opened(self, folder: Path, store: Store | None) -> AsyncIterator[None]:
        """Ready inside; afterwards every process that was started has gone."""
        async with contextlib.AsyncExitStack() as stack:
            if store is not None:
                self.broker = store
                stack.push_async_callback(store.end)
                url = await self._start(folder, stack)
            else:
                url = (self._aim.api or "").rstrip("/")
            headers = self._aim.headers
            self._client = httpx.AsyncClient(base_url=url, timeout=ASK_S, trust_env=False, headers=headers)
            stack.push_async_callback(self._client.aclose)
            self.sender = Sender(
                url,
                self._run,
                self.plan.parallel,
                self.board,
                queue=QUEUE,
                task=self._aim.task,
                headers=headers,
            )
            stack.push_async_callback(self.sender.close)
            stack.callback(self._cancel_tasks)
            yield

    async def _start(self, folder: Path, stack: contextlib.AsyncExitStack) -> str:
        reading, writing = os.pipe()
        stack.callback(os.close, writing)
        stack.callback(os.close, reading)
        output = folder / "processed.log"
        self.lines = self.board.lines = Lines(output)
        await self.broker.start()
        shared = _environment(self._aim.module) | self._own_settings(output)
        self.api = Program("api", ["penstock", "api"], shared, folder, ready="serving", parent_fd=reading)
        names = [f"worker-{number + 1}" for number in range(self.plan.workers)]
        words = ["penstock", "worker"]
        if self._aim.mode is Mode.AT_MOST_ONCE:
            words = ["penstock.cli.experiments.popper"]
        self.workers = [
            Program(
                name,
                words,
                shared | {"PENSTOCK_NODE": name},
                folder,
                ready="connected, waiting for jobs",
                parent_fd=reading,
            )
            for name in names
        ]
        for program in (self.api, *self.workers):
            stack.push_async_callback(program.kill)
        (said, *_) = await asyncio.gather(*(each.start() for each in (self.api, *self.workers)))
        self.api.environment["PENSTOCK_PORT"] = said["url"].rpartition(":")[2]  # the same after a restart
        return str(said["url"])

    def _own_settings(self, output: Path) -> dict[str, str]:
        return {
            "PENSTOCK_BROKER_URL": self.broker.url,
            "PENSTOCK_NAMESPACE": self._run,
            "PENSTOCK_NODE": "api",
            "PENSTOCK_HOST": "127.0.0.1",
            "PENSTOCK_PORT": "0",
            "PENSTOCK_SLOTS": str(self.plan.slots),
            "PENSTOCK_QUEUES": f"default,{QUEUE}",
            "PENSTOCK_LOG_FORMAT": "json",
            "PENSTOCK_DRAIN": DRAIN,
            "QUEUE_NAME": QUEUE,
            "OUTPUT_PATH": str(output),
            "PROCESSING_DELAY_MS": str(self.plan.delay_ms),
        }

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def send(self, number: int) -> None:
        """Send so many messages more; returns when all were answered."""
        self.board.say("sending")
        await self.sender.send(number)
        self.board.say("all sent")

    def in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do this meanwhile; await what is returned."""
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def dequeued(self, number: int) -> None:
        """Wait until so many messages have been taken off the queue since the beginning.

        At most once, a message is off the queue when it is acknowledged: only then can it be lost.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.plan.limit_s
        while await self._dequeued() < number:
            if self.sender.idle and self.sender.sent and self.board.accepted < number:
                raise failed(
                    f"only {self.board.accepted} were accepted, of {number} needed: {self.sender.told}"
                )
            if loop.time() > deadline:
                raise failed(f"{number} messages were not dequeued within {self.plan.limit_s:.0f} s")
            await asyncio.sleep(LOOK_S)

    async def _dequeued(self) -> int:
        answer = await self._ask("/stats")
        states: Mapping[str, int] = answer.json()["states"] if answer else {}
        still_there = {"queued", "scheduled"}
        if self._aim.mode is Mode.AT_MOST_ONCE:
            still_there.add("running")
        return sum(number for state, number in states.items() if state not in still_there)

    async def _ask(self, path: str, **params: str) -> httpx.Response | None:
        """The answer, None while there is none: what is asked for may just have been broken."""
        try:
            answer = await self._client.get(path, params=params)
        except httpx.TransportError:
            answer = None
        if answer is None or answer.is_server_error:
            await asyncio.sleep(PAUSE_S)
            return None
        return answer

    @contextlib.asynccontextmanager
    async def disturbed(self, what: str) -> AsyncIterator[None]:
        """Note when something was broken, and when it was whole again."""
        broken_at = time.time()
        yield
        self.disturbances.append(Disturbance(what, broken_at, time.time()))

    async def settled(self) -> dict[str, JobView | None]:
        """Every accepted job as it ended, or as it stands after ``limit_s``; None for one that is unknown."""
        self.board.say("waiting for the end")
        deadline = time.monotonic() + self.plan.limit_s
        wanted = iter([each.job_id for each in self.sender.sent if each.job_id])
        await asyncio.gather(*(self._follow(wanted, deadline) for _ in range(self.plan.parallel)))
        return self._jobs

    async def _follow(self, wanted: Any, deadline: float) -> None:
        for job_id in wanted:
            known = self._jobs.get(job_id)
            if known is None or not known.final:
                self._jobs[job_id] = await self._ended(job_id, deadline)
                self.board.ended += 1

    async def _ended(self, job_id: str, deadline: float) -> JobView | None:
        while True:
            left = max(0.0, deadline - time.monotonic())
            answer = await self._ask(f"/jobs/{job_id}", wait=f"{min(TURN_S, left):.3f}")
            known = answer is not None and answer.is_success
            job = JobView.model_validate_json(answer.content) if answer and known else None
            if not left or (answer is not None and (job is None or job.final)):
                return job

    async def drained(self) -> None:
        """Stop the workers in order, so that nothing is written any more."""
        self.board.say("stopping")
        await asyncio.gather(*(worker.stop() for worker in self.workers))


def _environment(module: str | None) -> dict[str, str]:
    """Ours without what would aim the programs elsewhere; the current folder stays importable."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and name not in _ALSO_FOREIGN
    }
    path = os.pathsep.join(filter(None, (str(Path.cwd()), kept.get("PYTHONPATH"))))
    tasks = str(Path(module).resolve()) if module and module.endswith(".py") else module or ""
    return kept | {"PYTHONPATH": path, "PENSTOCK_TASKS": tasks}
