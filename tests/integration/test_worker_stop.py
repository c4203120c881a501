"""Stopping: what runs may finish, what has not begun goes back, nothing is charged for it."""

import asyncio
import time
from contextlib import suppress

import pytest

from penstock.core.job import State
from penstock.ports import EventKind
from penstock.worker import slot
from support.crew import Crew
from support.node import alive
from support.wait import PATIENCE_S, eventually

pytestmark = pytest.mark.slow


async def states(crew, job_ids):
    return [(job.state, job.attempt) for job in [await crew.get(job_id) for job_id in job_ids]]


async def stopped(crew):
    """Wait until the worker has left."""
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.shield(crew.running)


async def test_a_drain_lets_run_what_has_begun_and_gives_the_rest_back(tmp_path, monkeypatch):
    monkeypatch.setattr(slot, "STUCK_MS", 1e9)  # by itself nobody gives back what waits behind the first
    async with Crew(tmp_path, slots=1) as crew:
        await eventually(lambda: _known_as_tiny(crew), what="they are shipped many at a time")
        mark, go = tmp_path / "mark", tmp_path / "go"
        first = {"seconds": 0, "mark": str(mark), "release": str(go)}
        running, *behind = await crew.submit_many("nap", [first] + [{"seconds": 0}] * 20)
        await eventually(mark.exists)
        await eventually(lambda: len(crew.supervisor._held) > 1, what="some are claimed and not begun")
        crew.supervisor.stop()
        late = await crew.submit("nap", {"seconds": 0})
        await eventually(lambda: _draining(crew))
        go.touch()
        await stopped(crew)
        assert await states(crew, [running]) == [(State.SUCCEEDED, 1)]
        assert await states(crew, [*behind, late]) == [(State.QUEUED, 0)] * 21
        stats = await crew.broker.stats()
        assert stats.workers == ()
        assert stats.states.get("running", 0) == 0
        async with Crew(tmp_path, "n/2", slots=1) as other:
            jobs = await other.finished(*behind, late)
        assert {(job.state, job.attempt) for job in jobs} == {(State.SUCCEEDED, 1)}


async def test_a_drain_that_takes_too_long_gives_back_what_runs_and_charges_nothing(tmp_path):
    async with Crew(tmp_path, slots=1, drain_s=0.3) as crew:
        mark = tmp_path / "mark"
        job_id = await crew.submit("nap", {"seconds": 600, "mark": str(mark)})
        await eventually(mark.exists)
        began = time.monotonic()
        crew.supervisor.stop()
        await stopped(crew)
        assert time.monotonic() - began >= 0.3
        assert await states(crew, [job_id]) == [(State.QUEUED, 0)]
        assert len(await crew.events(job_id, EventKind.QUEUED)) == 2
        assert not alive(int(mark.read_text()))
        assert (await crew.broker.stats()).workers == ()


async def test_a_second_stop_does_not_wait(tmp_path):
    async with Crew(tmp_path, slots=2, drain_s=600) as crew:
        mark = tmp_path / "mark"
        job_id = await crew.submit("deaf", {"mark": str(mark)})
        await eventually(mark.exists)
        crew.supervisor.stop()
        await eventually(lambda: _draining(crew))
        assert not crew.running.done()
        crew.supervisor.stop()
        await stopped(crew)
        assert await states(crew, [job_id]) == [(State.QUEUED, 0)]


async def _known_as_tiny(crew):
    await crew.finished(*await crew.submit_many("nap", [{"seconds": 0}] * 100))
    return crew.supervisor._pace.depth() > 16


async def _draining(crew):
    return any(worker.info.draining for worker in (await crew.broker.stats()).workers)


async def test_a_job_that_is_cancelled_while_the_worker_drains_is_cancelled(tmp_path):
    async with Crew(tmp_path, slots=1, drain_s=600) as crew:
        mark = tmp_path / "mark"
        job_id = await crew.submit("nap", {"seconds": 600, "mark": str(mark)})
        await eventually(mark.exists)
        crew.supervisor.stop()
        await crew.desk.cancel(job_id)
        await stopped(crew)
        assert await states(crew, [job_id]) == [(State.CANCELLED, 1)]


async def test_a_worker_that_is_stopped_as_the_broker_hears_of_it_leaves(tmp_path, monkeypatch):
    crew = Crew(tmp_path)
    renew = crew.broker.renew

    async def told(*given):
        monkeypatch.undo()
        answer = await renew(*given)
        crew.supervisor.stop()
        with suppress(asyncio.CancelledError):  # like every verb that has begun
            await asyncio.Event().wait()
        return answer

    monkeypatch.setattr(crew.broker, "renew", told)
    async with crew:
        await stopped(crew)
        assert (await crew.broker.stats()).workers == ()


async def test_an_idle_worker_leaves_at_once(tmp_path):
    async with Crew(tmp_path, slots=2, drain_s=600) as crew:
        pids = [*crew.slot_pids, crew.zygote_pid]
        crew.supervisor.stop()
        await stopped(crew)
        await eventually(lambda: not any(map(alive, pids)))
        assert (await crew.broker.stats()).workers == ()
