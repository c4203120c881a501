"""The program behind `kit.process.OtherProcess`: ``other_process.py MODULE URL``.

Reads one JSON command per line, ``{"do": name, …}``, and answers each with one line of JSON.
"""

import asyncio
import json
import sys
import time
from importlib import import_module
from typing import Any

from penstock.core.clock import system_clock
from penstock.core.ids import new_id
from penstock.core.job import JobSpec
from penstock.ports import Broker, BrokerOptions


def say(answer: Any) -> None:
    """Answer, for sure."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def submit(broker: Broker, count: int = 1, **fields: Any) -> dict[str, Any]:
    """Submit jobs; says when the receipts were there."""
    receipts = await broker.submit([JobSpec(id=new_id(), task="square", **fields) for _ in range(count)])
    return {"ids": [receipt.job.id for receipt in receipts], "at": time.monotonic()}


async def submit_forever(broker: Broker) -> None:
    """Submit small batches without end, and tell each one that was accepted."""
    while True:
        say((await submit(broker, count=3))["ids"])


async def claim(broker: Broker, worker: str, limit: int) -> list[str]:
    """Claim what there is, a few at a time."""
    taken: list[str] = []
    while claims := await broker.claim(worker, ["default"], limit, 0):
        taken += [claimed.spec.id for claimed in claims]
    return taken


COMMANDS = {"submit": submit, "submit_forever": submit_forever, "claim": claim}


async def main(module: str, url: str) -> None:
    """Serve commands until standard input ends."""
    broker: Broker = import_module(module).connect(url, BrokerOptions(), system_clock)
    await broker.open()
    say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        say(await COMMANDS[command.pop("do")](broker, **command))
    await broker.close()


asyncio.run(main(*sys.argv[1:]))
