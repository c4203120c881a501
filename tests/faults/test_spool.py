"""The broker is away when a job ends, and then the worker dies too: what was computed counts all the same."""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from penstock.app.broker import make_broker
from penstock.core.catalog import load
from penstock.core.job import Job, State
from penstock.core.submission import Submission
from penstock.ports import Broker, EventKind
from penstock.service.desk import Desk
from penstock.settings import Settings
from support.node import HAZARDOUS, Node
from support.redis_server import RedisServer
from support.wait import eventually

pytestmark = pytest.mark.slow

PATIENCE = "penstock.worker.supervisor.SETTLE_S"
"""How long a stopping worker waits for a broker that is away."""


class Store(Protocol):
    """A broker's store that can be away."""

    url: str

    def away(self) -> AbstractContextManager[None]:
        """Inside it the store does not answer."""


class File:
    """The embedded broker; away while somebody holds the lock that every writer waits for."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'penstock.db'}"
        self._lock = folder / "penstock.db.lock"

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        lock = os.open(self._lock, os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(lock)


class Server:
    """Redis; away while it is paused or dead."""

    def __init__(self, server: RedisServer, how: str) -> None:
        self.url = server.url()
        self.away = server.gone if how == "killed" else server.paused


@pytest.fixture(params=["file", "redis paused", "redis killed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "file":
        yield File(tmp_path)
    else:
        with RedisServer(tmp_path) as server:
            yield Server(server, request.param.removeprefix("redis "))


class Scene:
    """A desk on the store, and workers with one slot that hold short leases."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.out = folder / "out"
        self.release = folder / "release"
        self.broker: Broker = make_broker(Settings(broker_url=store.url), CollectorRegistry())
        self.desk = Desk(self.broker, load([str(HAZARDOUS)]), "desk")
        self.nodes: list[Node] = []

    def worker(self, name: str, spool: str = "spool", **more: Any) -> Node:
        """One that has not been started."""
        usual = {"slots": 1, "lease": "1s", "broker_timeout": "1s", "spool": self.folder / spool} | more
        self.nodes.append(Node(self.folder, "worker", node=name, broker_url=self.store.url, **usual))
        return self.nodes[-1]

    async def begun(self) -> str:
        """The id of a job that runs now, and until it is released."""
        params = {"path": str(self.out), "text": "ran", "release": str(self.release)}
        receipt = await self.desk.submit(Submission(task="append_line", params=params))
        job_id = receipt.job.id
        await eventually(lambda: self.is_in(job_id, State.RUNNING))
        return job_id

    async def is_in(self, job_id: str, state: State) -> bool:
        """Whether the job is in this state now."""
        return (await self.desk.get(job_id)).state is state

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """The store does not answer inside, and what runs now ends there."""
        with self.store.away():
            self.release.touch()
            yield

    @property
    def spooled(self) -> list[Path]:
        """The files with outcomes."""
        return list(self.folder.glob("spool/*.spool"))

    @property
    def on_disk(self) -> bool:
        """Whether an outcome is in one of them, which is there a moment before."""
        return any(path.stat().st_size for path in self.spooled)

    @property
    def runs(self) -> int:
        """How often the job has run to its end."""
        return self.out.read_text().count("ran\n") if self.out.exists() else 0

    async def ended(self, job_id: str) -> Job:
        """The job when it has ended, which it does once."""
        await eventually(lambda: self.is_in(job_id, State.SUCCEEDED))
        after, successes = "", 0
        while page := await self.broker.events(after, 0):
            successes += sum(each.job_id == job_id and each.kind is EventKind.SUCCEEDED for each in page)
            after = page[-1].id
        assert successes == 1
        return await self.desk.get(job_id)


@pytest.fixture
async def scene(tmp_path, store):
    made = Scene(tmp_path, store)
    await made.broker.open()
    yield made
    for node in made.nodes:
        node.kill()
        print(node.name, node.log[-5_000:], sep="\n")  # noqa: T201 - pytest keeps it for a failure
    await made.broker.close()


async def test_nothing_is_spooled_while_the_broker_answers(scene):
    scene.worker("one").start()
    job_id = await scene.begun()
    scene.release.touch()
    job = await scene.ended(job_id)
    assert job.worker.startswith("one/")
    assert not (scene.folder / "spool").exists()


async def test_an_outcome_is_spooled_while_the_broker_is_away_and_settled_when_it_is_back(scene):
    scene.worker("one").start()
    job_id = await scene.begun()
    with scene.away():
        await eventually(lambda: scene.on_disk, what="the outcome is on disk")
        assert scene.runs == 1
    job = await scene.ended(job_id)
    assert (job.attempt, job.losses, scene.runs) == (1, 0, 1)
    await eventually(lambda: not scene.spooled, what="the spool is empty again")


async def test_a_worker_killed_while_its_outcome_is_spooled_is_spoken_for_by_the_next(scene):
    first = scene.worker("one").start()
    job_id = await scene.begun()
    with scene.away():
        await eventually(lambda: scene.on_disk, what="the outcome is on disk")
        first.kill()
    second = scene.worker("two").start()
    job = await scene.ended(job_id)
    assert (job.attempt, job.losses, scene.runs) == (1, 0, 1)
    assert job.worker.startswith("one/")
    await eventually(lambda: not scene.spooled, what="the spool is empty again")
    (told,) = await eventually(lambda: second.entries("outcomes of a dead worker settled"))
    assert told["accepted"] == 1


async def test_an_outcome_that_comes_after_the_job_was_taken_over_is_refused(scene):
    first = scene.worker("one").start()
    job_id = await scene.begun()
    with scene.away():
        await eventually(lambda: scene.on_disk, what="the outcome is on disk")
        first.kill()
    other = scene.worker("elsewhere", spool="other").start()
    job = await scene.ended(job_id)
    assert job.worker.startswith("elsewhere/")
    assert (job.losses, scene.runs) == (1, 2)
    other.signal("worker", signal.SIGKILL)
    late = scene.worker("two").start()
    await eventually(lambda: not scene.spooled)
    (told,) = await eventually(lambda: late.entries("outcomes of a dead worker settled"))
    assert told["refused"] == 1
    again = await scene.ended(job_id)
    assert msgspec.json.decode(again.result) == msgspec.json.decode(job.result)


async def test_a_worker_that_is_stopped_while_the_broker_is_away_leaves_its_outcomes(scene):
    first = scene.worker("one", tuned={PATIENCE: 1.0}).start()
    job_id = await scene.begun()
    with scene.away():
        await eventually(lambda: scene.on_disk, what="the outcome is on disk")
        assert await asyncio.to_thread(first.stop) == 0
        assert scene.spooled
    scene.worker("two").start()
    job = await scene.ended(job_id)
    assert (job.attempt, job.losses, scene.runs) == (1, 0, 1)


async def test_a_disk_that_cannot_be_written_costs_the_spool_and_not_the_worker(scene):
    (scene.folder / "spool").write_text("a file where a folder should be")
    worker = scene.worker("one").start()
    job_id = await scene.begun()
    complaint = "the spool's disk failed; outcomes wait in memory only"
    with scene.away():
        await eventually(lambda: worker.entries(complaint), what="it says so")
    job = await scene.ended(job_id)
    assert (job.attempt, job.losses, scene.runs) == (1, 0, 1)
    assert len(worker.entries(complaint)) == 1
    assert worker.stop() == 0


def outlasted(worker: Node) -> bool:
    """Whether its broker has been away for longer than its lease."""
    failed = worker.entries("broker unavailable, trying again")
    moments = [datetime.fromisoformat(entry["timestamp"]) for entry in failed]
    return bool(moments) and moments[-1] - moments[0] > timedelta(seconds=3.5)


async def test_workers_that_come_back_from_an_outage_do_not_take_each_others_jobs(scene):
    """Every lease has lapsed meanwhile, but nobody is dead."""
    # Before and after it, a busy machine must not hold one up for longer than its lease.
    workers = [scene.worker(name, lease="3s") for name in ("one", "two")]
    for worker in workers:
        worker.start()
    job_ids = [await scene.begun(), await scene.begun()]
    with scene.away():
        await eventually(lambda: len(scene.spooled) == 2, what="both outcomes are on disk")
        await eventually(lambda: all(map(outlasted, workers)), what="the outage outlasts the lease")
    for job_id in job_ids:
        job = await scene.ended(job_id)
        assert (job.attempt, job.losses) == (1, 0)
    assert scene.runs == 2
