"""What every worker does for the others: take over from those that vanished."""

import asyncio

import pytest
from structlog.testing import capture_logs

from penstock.brokers.sqlite import connect
from penstock.core.errors import FailureCode, broker_unavailable
from penstock.core.ids import new_id
from penstock.core.job import JobSpec, State
from penstock.core.verdict import MAX_LOSSES
from penstock.ports import BrokerOptions
from penstock.service import upkeep
from penstock.service.upkeep import Upkeep
from support.wait import eventually

LEASE_MS = 5_000


class Clock:
    """Time that is moved by hand."""

    now = 1_700_000_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def broker(tmp_path, clock):
    opened = connect(f"sqlite:///{tmp_path / 'penstock.db'}", BrokerOptions(lease_ms=LEASE_MS), clock)
    await opened.open()
    yield opened
    await opened.close()


async def submitted(broker, count=1):
    specs = [JobSpec(id=new_id(), task="t") for _ in range(count)]
    await broker.submit(specs)
    return [spec.id for spec in specs]


async def test_the_jobs_of_a_vanished_worker_are_queued_again_uncharged(broker, clock):
    ids = await submitted(broker, 3)
    assert len(await broker.claim("gone/1", ["default"], 10, 0)) == 3
    kept = Upkeep(broker, "n/1")
    assert await kept.reclaim() == 0
    clock.now += LEASE_MS + 1
    with capture_logs() as written:
        assert await kept.reclaim() == 3
        assert await kept.reclaim() == 0
    jobs = await broker.get(ids)
    assert [(job.state, job.attempt, job.losses) for job in jobs] == [(State.QUEUED, 0, 1)] * 3
    assert [entry["lost_by"] for entry in written] == ["gone/1"]


async def test_a_job_that_takes_every_worker_with_it_becomes_a_dead_letter(broker, clock):
    (job_id,) = await submitted(broker)
    kept = Upkeep(broker, "n/1")
    for turn in range(MAX_LOSSES + 1):
        assert await broker.claim(f"gone/{turn}", ["default"], 1, 0)
        clock.now += LEASE_MS + 1
        assert await kept.reclaim() == 1
    (job,) = await broker.get([job_id])
    assert (job.state, job.error.code) == (State.FAILED, FailureCode.WORKER_LOST)
    assert f"gone/{MAX_LOSSES}" in job.error.message
    assert await broker.claim("gone/last", ["default"], 1, 0) == []


class Away:
    """A broker that cannot be reached for some calls."""

    def __init__(self, broker, failures):
        self._broker = broker
        self.failures = failures

    async def reclaim(self, worker, limit):
        if self.failures > 0:
            self.failures -= 1
            raise broker_unavailable("gone fishing")
        return await self._broker.reclaim(worker, limit)


async def test_a_broker_that_is_away_is_asked_again(broker, clock, monkeypatch):
    monkeypatch.setattr(upkeep, "LOOK_S", 0.001)
    (job_id,) = await submitted(broker)
    await broker.claim("gone/1", ["default"], 1, 0)
    clock.now += LEASE_MS + 1
    away = Away(broker, 3)
    away.settle = broker.settle
    with capture_logs() as written:
        running = asyncio.create_task(Upkeep(away, "n/1").run())

        async def queued():
            return (await broker.get([job_id]))[0].state is State.QUEUED

        await eventually(queued)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert [entry["event"] for entry in written[:3]] == ["upkeep put off"] * 3
