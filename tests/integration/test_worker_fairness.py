"""Reading ahead makes tiny jobs cheap; it must never make them wait behind a long one."""

import asyncio

import pytest

from penstock.core.job import State
from penstock.ports import EventKind
from support.crew import Crew
from support.wait import eventually, least

pytestmark = pytest.mark.slow

TINY = 200


async def learn(crew, task, params):
    """Let the worker find out how short these are, and earn a long read-ahead."""
    pace = crew.supervisor._pace

    async def deep():
        await crew.finished(*await crew.submit_many(task, [params] * 100))
        return pace.depth() > 16

    await eventually(deep, what="a long read-ahead")


async def all_but_the_slow_one_end(crew, slow, tiny, release):
    """Every tiny job ends while the slow one runs, for which that is released only then."""
    jobs = await crew.finished(*tiny)
    assert {(job.state, job.attempt) for job in jobs} == {(State.SUCCEEDED, 1)}
    running = await crew.get(slow)
    assert (running.state, running.attempt) == (State.RUNNING, 1)
    release.touch()
    await crew.finished(slow)


@pytest.mark.parametrize("task", ["noop", "nap"], ids=["of other tasks", "of the same task"])
async def test_a_slow_job_holds_no_tiny_one_hostage(tmp_path, task):
    """Also when the slow job is of a task that was always quick so far."""
    params = {"seconds": 0.0} if task == "nap" else {}
    async with Crew(tmp_path, slots=2) as crew:
        await learn(crew, task, params)
        before = await crew.submit_many(task, [params] * (TINY // 2))
        slow = await crew.submit("nap", {"seconds": 0.0, "release": str(tmp_path / "go")})
        after = await crew.submit_many(task, [params] * (TINY // 2))
        await all_but_the_slow_one_end(crew, slow, [*before, *after], tmp_path / "go")


async def test_a_slow_job_holds_no_tiny_one_hostage_from_another_worker(tmp_path):
    """Each worker has one slot: what was read ahead behind the slow job must change the worker."""
    async with Crew(tmp_path, "n/1", slots=1) as crew, Crew(tmp_path, "n/2", slots=1) as other:
        await asyncio.gather(learn(crew, "nap", {"seconds": 0.0}), learn(other, "nap", {"seconds": 0.0}))
        kinds = [{"seconds": 0.0}] * TINY
        kinds[TINY // 2] = {"seconds": 0.0, "release": str(tmp_path / "go")}
        ids = await crew.submit_many("nap", kinds)
        slow = ids.pop(TINY // 2)
        await all_but_the_slow_one_end(crew, slow, ids, tmp_path / "go")


async def test_tiny_jobs_are_claimed_and_settled_in_batches(tmp_path):
    async with Crew(tmp_path, slots=2) as crew:
        await learn(crew, "noop", {})
        broker, calls = crew.supervisor._broker, {"claim": 0, "settle": 0}
        for verb in calls:
            setattr(broker, verb, _counted(getattr(broker, verb), verb, calls))

        async def asked():
            calls.update(claim=0, settle=0)
            await crew.finished(*await crew.submit_many("noop", [{"n": n} for n in range(1_000)]))
            return max(calls.values())

        assert await least(asked, 200) < 200


def _counted(verb, name, calls):
    async def counted(*args):
        calls[name] += 1
        return await verb(*args)

    return counted


async def test_long_jobs_are_claimed_one_per_slot(tmp_path):
    async with Crew(tmp_path, slots=2) as crew:
        await crew.finished(*await crew.submit_many("nap", [{"seconds": 0.1}] * 4))
        ids = await crew.submit_many("nap", [{"seconds": 0.15}] * 8)
        jobs = await crew.finished(*ids)
        assert {job.attempt for job in jobs} == {1}
        begun = {event.job_id: event.at for event in await crew.events(None, EventKind.RUNNING)}
        starts = sorted(begun[job_id] for job_id in ids)
        # Two slots, so every pair begins about when the pair before it ended.
        assert all(starts[n + 2] - starts[n] > 100 for n in range(6))
        # Nobody was given back: each was begun once.
        assert len(await crew.events(None, EventKind.RUNNING)) == 12
