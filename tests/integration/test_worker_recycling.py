"""Children are replaced now and then; nobody who waits for a job may notice."""

import os

import msgspec
import psutil
import pytest

from penstock.core.job import State
from penstock.worker.policy import SlotPolicy
from support.crew import MIB, Crew
from support.node import alive
from support.wait import eventually, least

pytestmark = pytest.mark.slow


async def results(crew, *job_ids):
    jobs = await crew.finished(*job_ids)
    assert {(job.state, job.attempt) for job in jobs} == {(State.SUCCEEDED, 1)}
    return [msgspec.json.decode(job.result) for job in jobs]


def policy(**changes):
    return SlotPolicy(**({"memory_bytes": 2_000 * MIB} | changes))


async def test_a_child_is_replaced_after_so_many_attempts_and_the_slot_is_never_without(tmp_path):
    async with Crew(tmp_path, slots=1, slot=policy(recycle_after=4)) as crew:
        pids, gaps = [], 0

        async def four_left():
            nonlocal gaps
            ids = await crew.submit_many("pid", [{"seconds": 0.03}] * 8)
            while not (await crew.get(ids[-1])).state.final:
                gaps += crew.slot_pids == [None]
            pids.extend(await results(crew, *ids))
            return len(set(pids)) > 4

        await eventually(four_left, what="four children were replaced")
        turns = [pids.count(pid) for pid in dict.fromkeys(pids)]
        assert gaps == 0
        assert all(turn >= 4 for turn in turns[:-1]), "a few more while the next one is made"
        await eventually(lambda: not any(alive(pid) for pid in set(pids) - set(crew.slot_pids)))
        await eventually(lambda: len(psutil.Process(crew.zygote_pid).children()) == 1)


async def test_recycling_costs_no_time(tmp_path):
    """Compared with a worker that does not recycle: a machine that is slow is so for both."""
    folders = [tmp_path / name for name in ("recycling", "lasting")]
    for folder in folders:
        folder.mkdir()
    async with (
        Crew(folders[0], slots=1, slot=policy(recycle_after=2)) as recycling,
        Crew(folders[1], slots=1) as lasting,
    ):

        async def times_as_long():
            took_ms, children = await a_batch(recycling)
            usual_ms, _ = await a_batch(lasting)
            assert children >= 3
            return took_ms / usual_ms

        assert await least(times_as_long, 2) < 2, "nobody pauses for it"


async def a_batch(crew):
    """Milliseconds that twenty short jobs take, and by how many children they are done."""
    ids = await crew.submit_many("pid", [{"seconds": 0.05}] * 20)
    pids = await results(crew, *ids)
    jobs = await crew.finished(*ids)
    return jobs[-1].finished_at - jobs[0].started_at, len(set(pids))


async def test_tiny_attempts_do_not_wear_a_child_out_one_by_one(tmp_path):
    async with Crew(tmp_path, slots=1, slot=policy(recycle_after=20)) as crew:
        pids = await results(crew, *await crew.submit_many("pid", [{}] * 300))
        assert len(set(pids)) <= 2


async def test_a_child_that_keeps_too_much_memory_is_replaced(tmp_path):
    resting = psutil.Process(os.getpid()).memory_info().rss
    limit = resting + 150 * MIB
    async with Crew(tmp_path, slots=1, slot=policy(recycle_bytes=limit)) as crew:
        first, small = await results(crew, *await crew.submit_many("grow", [{"mebibytes": 1}] * 2))
        assert first == small
        (big,) = await results(crew, await crew.submit("grow", {"mebibytes": limit // MIB}))
        await eventually(lambda: crew.slot_pids not in ([None], [big]))
        (after,) = await results(crew, await crew.submit("pid"))
        assert after != big
        await eventually(lambda: not alive(big))
