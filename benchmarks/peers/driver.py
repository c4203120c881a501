"""The producer's side of a measurement, run in the contestant's environment.

``python -m peers.driver CONTESTANT`` reads one JSON request per line from stdin,
``{"verb": …, "with": {…}}``, and answers each with one line, ``{"answer": …}`` or ``{"error": …}``.
Whatever else is printed goes to stderr.
"""

import asyncio
import dataclasses
import importlib
import json
import os
import random
import sys
import time
import traceback
from importlib.metadata import version
from typing import Any, TextIO

from peers.contract import Contestant

Samples = list[tuple[float, int]]

LOOK_S = 0.004
"""How often the depth is looked at while it is kept; looking costs Redis something, too."""


class Driver:
    """The verbs; times are of the monotonic clock, which all processes of a machine share."""

    def __init__(self, contestant: Contestant) -> None:
        self._contestant = contestant
        self._submitted = 0

    async def about(self) -> dict[str, Any]:
        """What the report tells, with the versions of the packages that are installed."""
        about = self._contestant.about
        return dataclasses.asdict(about) | {"versions": {name: version(name) for name in about.packages}}

    async def workers(self) -> list[dict[str, Any]]:
        """The worker processes to start."""
        return [dataclasses.asdict(process) for process in self._contestant.workers()]

    async def submit(self, task: str, count: int) -> float:
        """Seconds it took to queue ``count`` jobs."""
        numbers = range(self._submitted, self._submitted + count)
        began = time.perf_counter()
        await self._contestant.submit(task, numbers)
        elapsed = time.perf_counter() - began
        self._submitted += count
        return elapsed

    async def answers(self, count: int, pause_s: float = 0.0) -> list[float]:
        """Seconds from submitting to holding the result, one job at a time, with random pauses between.

        The pauses keep polling loops from falling in step with the measurement.
        """
        dice = random.Random(count)  # noqa: S311 - not a secret
        return [await self._answer(dice.uniform(0, pause_s)) for _ in range(count)]

    async def _answer(self, pause_s: float) -> float:
        await asyncio.sleep(pause_s)
        number = self._submitted
        self._submitted += 1
        began = time.perf_counter()
        result = await self._contestant.answer(number)
        elapsed = time.perf_counter() - began
        if result != number:
            raise RuntimeError(f"asked for {number}, got {result!r}")
        return elapsed

    async def stored(self) -> int:
        """Results stored so far."""
        return await self._contestant.stored()

    async def watch(self, until: int, timeout_s: float, every_s: float) -> Samples:
        """``(time, results stored)``, looked at every ``every_s`` until there are enough or time is over."""
        samples: Samples = []
        deadline = time.monotonic() + timeout_s
        while not samples or (samples[-1][1] < until and samples[-1][0] < deadline):
            await asyncio.sleep(every_s if samples else 0)
            samples.append((time.monotonic(), await self._contestant.stored()))
        return samples

    async def feed(self, depth: int, seconds: float, batch: int) -> Samples:
        """Keep about ``depth`` jobs waiting for some seconds; ``(time, results stored)`` all along."""
        samples: Samples = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            samples.append((time.monotonic(), await self._contestant.stored()))
            missing = samples[-1][1] + depth - self._submitted
            if missing >= min(batch, depth):
                await self.submit("noop", missing)
            else:
                await asyncio.sleep(LOOK_S)
        return samples


async def serve(contestant: Contestant, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more."""
    loop = asyncio.get_running_loop()
    driver = Driver(contestant)
    await contestant.open()
    while line := await loop.run_in_executor(None, requests.readline):
        request = json.loads(line)
        try:
            answer = {"answer": await getattr(driver, request["verb"])(**request["with"])}
        except Exception:  # noqa: BLE001 - whatever it was, the other side reports it
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    await contestant.close()


def main() -> None:
    """Serve the contestant named on the command line, on uvloop where that is installed."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contestant: Contestant = importlib.import_module(f"peers.contestants.{sys.argv[1]}").contestant()
    try:
        run = importlib.import_module("uvloop").run
    except ModuleNotFoundError:
        run = asyncio.run
    run(serve(contestant, sys.stdin, answers))


if __name__ == "__main__":
    main()
