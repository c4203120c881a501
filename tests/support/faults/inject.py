"""Carries out the faults of a plan, each lane in its own time, and notes when each began and was repaired."""

import asyncio
import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from support.faults.deployment import Deployment
from support.faults.plan import Fault
from support.node import Node, Part
from support.wait import PATIENCE_S, eventually

TRAP_S = 3.0
"""So long a storm waits for somebody to step into a trap; where work is endless, somebody will."""

SLOT_S = 5.0
FILLER = b"\0" * 65_536


@dataclass
class Suffered:
    """A fault that happened, in seconds of the wall clock; ``pid`` is the slot that it hit, if it was one."""

    fault: Fault
    began: float
    ended: float
    node: str = ""
    pid: int = 0

    def __str__(self) -> str:
        return f"{self.fault} ({self.node or 'all'}, {self.began:.2f} to {self.ended:.2f})"


class Injector:
    """``suffered`` is what happened, ``missed`` what could not: a trap that nobody stepped into in time."""

    def __init__(self, deployment: Deployment) -> None:
        self.suffered: list[Suffered] = []
        self.missed = 0
        self._deployment = deployment

    async def run(self) -> None:
        """All lanes at once."""
        await asyncio.gather(*(self._lane(lane) for lane in self._deployment.plan.lanes))

    async def _lane(self, lane: tuple[Fault, ...]) -> None:
        for fault in lane:
            await asyncio.sleep(fault.gap_s)  # the storm's own pace; nothing is waited for
            happened = await self._inflict(fault)
            if happened is None:
                self.missed += 1
            else:
                self.suffered.append(happened)

    async def _inflict(self, fault: Fault) -> Suffered | None:
        match fault.kind, fault.part:
            case _, "broker":
                return await self._hit_server(fault)
            case _, "disk":
                return await self._fill(fault)
            case (("cut" | "hold" | "mute" | "deafen"), _):
                return await self._hit_cable(fault)
            case (("trap-kill" | "trap-stop"), _):
                return await self._trap(fault)
            case _, ("zygote" | "slot"):
                return await self._hit_inner(fault)
            case _:
                return await self._hit_node(fault)

    def _node(self, fault: Fault, role: str | None = None) -> Node:
        nodes = self._deployment.nodes[role or fault.part]
        return nodes[fault.where % len(nodes)]

    async def _hit_node(self, fault: Fault) -> Suffered:
        node, began = self._node(fault), time.time()
        if fault.kind == "kill":
            node.process.kill()
        else:
            node.process.send_signal(signal.SIGSTOP)
        return await self._repair(fault, node, began)

    async def _repair(self, fault: Fault, node: Node, began: float) -> Suffered:
        """What was stopped goes on, what was killed is started again, ``for_s`` later."""
        await asyncio.sleep(fault.for_s)
        if fault.kind.endswith("kill"):
            await self._deployment.restart(node)
        else:
            node.process.send_signal(signal.SIGCONT)
        return Suffered(fault, began, time.time(), node.name)

    async def _hit_inner(self, fault: Fault) -> Suffered | None:
        """A zygote or slot; if it is killed, repairing it is the supervisor's own business."""
        node = self._node(fault, "worker")
        part: Part = "zygote" if fault.part == "zygote" else "slot"
        with contextlib.suppress(AssertionError, psutil.NoSuchProcess):
            found = await eventually(lambda: node.parts(part), SLOT_S)
            victim = found[fault.where // 3 % len(found)]
            began = time.time()
            if fault.kind == "kill":
                victim.kill()
            else:
                victim.suspend()
                await asyncio.sleep(fault.for_s)
                with contextlib.suppress(psutil.NoSuchProcess):
                    victim.resume()
            return Suffered(fault, began, time.time(), node.name, victim.pid if part == "slot" else 0)
        return None

    async def _trap(self, fault: Fault) -> Suffered | None:
        node = self._node(fault)
        trap = self._deployment.trap(node.name)
        action = fault.kind.removeprefix("trap-")
        fresh = trap.with_suffix(".new")
        fresh.write_text(f"{fault.step} {action}")
        fresh.rename(trap)
        with contextlib.suppress(AssertionError):
            within = PATIENCE_S if self._deployment.plan.endless else TRAP_S
            await eventually(lambda: not trap.exists(), within)
        try:
            trap.unlink()
        except FileNotFoundError:
            began = time.time()
            await self._until_it_shows(node, action)
            return await self._repair(fault, node, began)
        return None

    @staticmethod
    async def _until_it_shows(node: Node, action: str) -> None:
        """The signal is sent after the trap is sprung; a SIGCONT before it would be in vain."""
        process = psutil.Process(node.process.pid)
        wanted = {psutil.STATUS_ZOMBIE} | ({psutil.STATUS_STOPPED} if action == "stop" else set())
        with contextlib.suppress(psutil.NoSuchProcess):
            await eventually(lambda: process.status() in wanted, what=f"{node.name} is hit")

    async def _hit_server(self, fault: Fault) -> Suffered:
        server, began = self._deployment.server, time.time()
        assert server is not None
        (server.kill if fault.kind == "kill" else server.pause)()
        await asyncio.sleep(fault.for_s)
        await asyncio.to_thread(server.start if fault.kind == "kill" else server.resume)
        return Suffered(fault, began, time.time())

    async def _hit_cable(self, fault: Fault) -> Suffered:
        node, began = self._node(fault), time.time()
        cable = self._deployment.cables[node.name]
        getattr(cable, fault.kind)()
        await asyncio.sleep(fault.for_s)
        cable.mend()
        return Suffered(fault, began, time.time(), node.name)

    async def _fill(self, fault: Fault) -> Suffered:
        began = time.time()
        with filled(self._deployment.disk):
            await asyncio.sleep(fault.for_s)
        return Suffered(fault, began, time.time())


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not a byte is left on this small disk inside."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (len(FILLER), 4_096, 1):
                _write_on(file.fileno(), size)
        yield
    finally:
        filler.unlink(missing_ok=True)


def _write_on(file: int, size: int) -> None:
    while True:
        try:
            os.write(file, FILLER[:size])
        except OSError as failed:
            if failed.errno != errno.ENOSPC:
                raise
            return
