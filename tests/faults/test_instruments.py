"""The suite's own instruments do what they say: a storm that does not blow would prove nothing."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from support.faults.cable import HOST, Cable
from support.faults.deployment import HERE, Deployment
from support.faults.inject import filled
from support.faults.plan import draw
from support.faults.smalldisk import small_disk
from support.wait import PATIENCE_S, eventually, until

pytestmark = pytest.mark.slow

SILENCE_S = 0.2
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that answers what it hears; ``heard`` is all of it."""

    def __init__(self) -> None:
        self.heard = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            self.heard += data
            writer.write(data)
        writer.close()


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Cable, Echo, Line]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, HOST, 0)
    async with server, Cable(server.sockets[0].getsockname()[1]) as cable:
        reader, writer = await asyncio.open_connection(HOST, cable.port)
        yield cable, echo, (reader, writer)
        writer.close()


async def answer(line: Line, within: float = PATIENCE_S) -> bytes | None:
    """What arrives in time; nothing is None, the end is empty."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            return await line[0].read(100)
    return None


async def test_a_cable_passes_everything_on():
    async with connected() as (_, _, line):
        line[1].write(b"hello")
        assert await answer(line) == b"hello"


@pytest.mark.parametrize(("kind", "arrives"), [("hold", b""), ("mute", b"hello"), ("deafen", b"")])
async def test_what_is_held_up_arrives_when_the_cable_is_mended(kind, arrives):
    async with connected() as (cable, echo, line):
        getattr(cable, kind)()
        line[1].write(b"hello")
        assert await answer(line, SILENCE_S) is None
        await eventually(lambda: echo.heard == arrives)
        cable.mend()
        assert await answer(line) == b"hello"


async def test_a_cable_that_is_cut_breaks_every_connection_until_it_is_mended():
    async with connected() as (cable, _, line):
        line[1].write(b"hello")
        assert await answer(line) == b"hello"
        cable.cut()
        assert await lost(line)
        assert await lost(await asyncio.open_connection(HOST, cable.port))
        cable.mend()
        again = await asyncio.open_connection(HOST, cable.port)
        again[1].write(b"again")
        assert await answer(again) == b"again"
        again[1].close()


async def lost(line: Line) -> bool:
    try:
        return await answer(line) == b""
    except ConnectionError:
        return True
    finally:
        line[1].close()


def test_a_process_that_is_left_behind_is_found(tmp_path):
    deployment = Deployment(draw(1, "sqlite"), tmp_path)
    environment = os.environ | {"PENSTOCK_FAULT_WITNESS": str(deployment.witness)}
    assert deployment.processes() == []
    with subprocess.Popen(["sleep", "60"], env=environment) as left:
        until(lambda: [process.pid for process in deployment.processes()] == [left.pid])
        left.kill()
    assert deployment.processes() == []


SPRUNG = """
import asyncio
from types import SimpleNamespace
from penstock.app import broker

class Broker:
    async def claim(self, given=()): return given
    async def settle(self, settlements): return settlements

broker.make_broker = Broker
import sitecustomize
from pathlib import Path
sitecustomize.install(Path("trap"))
node = broker.make_broker()
asyncio.run(node.claim())       # nothing was given out
asyncio.run(node.settle([]))    # nothing was settled
print("alive", flush=True)
job = SimpleNamespace(token=1, spec=SimpleNamespace(part=None, merge_block=0), parts=None)
asyncio.run(node.{verb}([job]))
print("survived", flush=True)
"""


@pytest.mark.parametrize(
    ("trap", "verb", "survives"),
    [("after-claim", "claim", False), ("before-settle", "settle", False), ("after-settle", "claim", True)],
)
def test_a_trap_kills_at_its_step_and_only_when_there_is_something_to_lose(trap, verb, survives, tmp_path):
    (tmp_path / "trap").write_text(f"{trap} kill")
    path = os.pathsep.join([str(HERE / "site"), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-c", SPRUNG.format(verb=verb)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split() == (["alive", "survived"] if survives else ["alive"]), ran.stderr
    assert (ran.returncode == 0, (tmp_path / "trap").exists()) == (survives, survives)


def test_a_disk_that_is_filled_has_no_byte_left_and_then_has_room_again():
    with small_disk("1m") as disk:
        if disk is None:
            pytest.skip("only root can mount a small disk")
        with filled(disk), pytest.raises(OSError, match="No space"):
            (disk / "more").write_bytes(b"x")
        (disk / "more").write_bytes(b"x" * 1_000)
