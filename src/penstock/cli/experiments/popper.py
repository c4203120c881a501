"""The mistake that leases exist to avoid, for comparison: pop, acknowledge, and only then process.

``python -m penstock.cli.experiments.popper`` stands in for a worker in ``--mode at-most-once``. It is an
honest worker otherwise: it drains on SIGTERM. No part of Penstock works this way.
"""

import argparse
import asyncio
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog
import uvloop
from prometheus_client import CollectorRegistry

from penstock.app.broker import make_broker
from penstock.app.worker import worker_info
from penstock.core.errors import PenstockError
from penstock.core.job import WorkerInfo
from penstock.core.lifecycle import Claim, Succeeded
from penstock.core.verdict import settlement
from penstock.ports import Broker
from penstock.service.upkeep import Upkeep
from penstock.settings import Settings
from penstock.telemetry import logs

WAIT_S = 0.5
RENEW_S = 1.0

_NOTHING = Succeeded(msgspec.Raw(b"null"))


class Popper:
    """As many loops as there are slots; each has at most one message in hand."""

    def __init__(self, broker: Broker, info: WorkerInfo, output: Path, delay_s: float) -> None:
        self.stopping = asyncio.Event()
        self._broker = broker
        self._info = info
        self._output = output
        self._delay_s = delay_s
        self._upkeep = Upkeep(broker, info.id)  # for what was claimed and not even acknowledged
        self._log = structlog.get_logger("penstock.popper")

    async def run(self) -> None:
        """Until ``stopping`` is set, and what is in hand is processed."""
        await self._broker.renew(self._info, [])
        self._log.info("connected, waiting for jobs")
        beside = [asyncio.create_task(work()) for work in (self._renew, self._upkeep.run)]
        await asyncio.gather(*(self._loop() for _ in range(self._info.slots)))
        for each in beside:
            each.cancel()

    async def _loop(self) -> None:
        while not self.stopping.is_set():
            try:
                claims = await self._broker.claim(self._info.id, self._info.queues, 1, WAIT_S)
                for claim in claims:
                    await self._acknowledge_then_process(claim)
            except PenstockError as failed:
                self._log.warning("broker cannot be reached", error=failed.message)

    async def _acknowledge_then_process(self, claim: Claim) -> None:
        if not all(await self._broker.settle([settlement(claim, _NOTHING, 0.0)])):
            return
        message = str(msgspec.json.decode(claim.spec.params)["message"])
        self._log.info("dequeued message", job=claim.spec.id)
        await asyncio.sleep(self._delay_s)
        now = datetime.now(UTC).isoformat()
        with self._output.open("ab") as file:
            file.write(f"{now}\t{message}\n".encode())

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                if (await self._broker.renew(self._info, [])).lapsed:
                    self._upkeep.hurry()
            except PenstockError as failed:
                self._log.warning("broker cannot be reached", error=failed.message)


async def _main(settings: Settings, parent_fd: int) -> None:
    broker = make_broker(settings, CollectorRegistry())
    await broker.open()
    delay_s = float(os.environ["PROCESSING_DELAY_MS"]) / 1000
    popper = Popper(broker, worker_info(settings), Path(os.environ["OUTPUT_PATH"]), delay_s)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, popper.stopping.set)
    loop.add_reader(parent_fd, _orphaned, parent_fd, popper)
    await popper.run()
    await broker.close()


def _orphaned(parent_fd: int, popper: Popper) -> None:
    asyncio.get_running_loop().remove_reader(parent_fd)
    popper.stopping.set()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent-fd", type=int, required=True)
    logs.configure("json", "info")
    uvloop.run(_main(Settings(), parser.parse_args().parent_fd))
