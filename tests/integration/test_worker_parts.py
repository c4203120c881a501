"""Jobs in parts on real workers: they spread, are merged in order, and survive whatever dies."""

import asyncio
import os
import signal
from collections import Counter

import msgspec
import pytest

from penstock.core.errors import FailureCode
from penstock.core.job import Priority, State
from penstock.ports import EventKind, JobQuery
from support.crew import DIVISIBLE, Crew
from support.wait import eventually, least

pytestmark = pytest.mark.slow


@pytest.fixture
async def crew(tmp_path):
    async with Crew(tmp_path, tasks=DIVISIBLE) as crew:
        yield crew


def value(job):
    assert job.state is State.SUCCEEDED, job.error
    return msgspec.json.decode(job.result)


async def parts_of(crew, job_id):
    return await crew.desk.find(JobQuery(parent_id=job_id, parts=True, limit=1_000))


async def test_a_job_is_split_spread_and_merged_in_order(crew, tmp_path):
    note = tmp_path / "note"

    async def both_took_some():
        note.unlink(missing_ok=True)
        job = await crew.run("summed", {"count": 30, "note": str(note), "seconds": 0.005})
        assert value(job) == "435 of 30"
        written = [line.split() for line in note.read_text().splitlines()]
        assert Counter(int(n) for n, _ in written) == Counter(range(30))
        assert (job.attempt, job.losses, job.crashes) == (1, 0, 0)
        ends = await crew.events(job.id, EventKind.SUCCEEDED)
        assert len(ends) == 1
        return len({pid for _, pid in written}) == 2

    await eventually(both_took_some, what="both slots took some")


async def test_what_is_too_small_to_be_split_runs_at_once(crew):
    job = await crew.run("summed", {"count": 1})
    assert value(job) == "0 of 1"
    assert job.parts is None or job.parts.total == 0


async def test_progress_tells_what_is_known_so_far(crew):
    job_id = await crew.submit("summed", {"count": 24, "seconds": 0.05})

    async def said():
        job = await crew.get(job_id)
        return job.progress is not None and job.progress.message.startswith("at least") and job.parts.done

    await eventually(said, what="an estimate")
    (job,) = await crew.finished(job_id)
    assert value(job) == "276 of 24"


async def test_an_estimate_that_will_do_ends_it_and_withdraws_the_rest(crew, tmp_path):
    note = tmp_path / "note"
    params = {"count": 1_000, "seconds": 0.02, "enough": 20, "note": str(note)}
    job = await crew.run("summed", params)
    assert value(job) == "28 of 8"
    begun = len(note.read_text().splitlines())
    assert begun < 800
    await eventually(lambda: drained(crew), what="nothing is queued")


async def drained(crew):
    stats = await crew.broker.stats()
    return all(queue.queued == queue.running == 0 for queue in stats.queues)


async def test_a_failed_part_fails_the_job_and_is_named(crew):
    job = await crew.run("summed", {"count": 40, "wrong": 5})
    assert job.state is State.FAILED
    assert job.error.code == FailureCode.PART_FAILED
    assert "part 5" in job.error.message
    assert "as asked: 5" in job.error.message
    await eventually(lambda: drained(crew), what="the other parts are withdrawn")


async def test_a_timeout_bounds_the_whole_job(crew):
    job = await crew.run("summed", {"count": 800, "seconds": 0.05}, timeout_s=1)
    assert (job.state, job.error.code) == (State.FAILED, FailureCode.TIMED_OUT)
    assert job.error.message == f"took longer than 1 s in all; {job.parts.done} of 800 parts were done"
    await eventually(lambda: drained(crew), what="the other parts are withdrawn")


async def test_a_failed_part_may_be_left_out(crew):
    job = await crew.run("tolerant", {"count": 8, "wrong": 3})
    assert value(job) == [0, 1, 2, None, 4, 5, 6, 7]


async def test_cancelling_a_job_cancels_its_parts(crew, tmp_path):
    note = tmp_path / "note"
    job_id = await crew.submit("summed", {"count": 1_000, "seconds": 0.05, "note": str(note)})
    await eventually(note.exists, what="a part has begun")
    await crew.desk.cancel(job_id)
    (job,) = await crew.finished(job_id)
    assert job.state is State.CANCELLED
    await eventually(lambda: drained(crew), what="no part runs or waits")
    assert len(note.read_text().splitlines()) < 800


async def test_parts_keep_to_the_limit_of_their_task(crew, tmp_path):
    note = tmp_path / "note"
    assert value(await crew.run("in_turn", {"count": 20, "note": str(note)})) == 190
    told = [line.split() for line in note.read_text().splitlines()]
    assert [word for word, _ in told] == ["begin", "end"] * 20


async def test_parts_take_after_their_job_and_are_not_listed_with_the_others(crew):
    job_id = await crew.submit("summed", {"count": 50, "seconds": 0.02}, priority="high", client="me")
    parts = await eventually(lambda: parts_of(crew, job_id), what="parts")
    part = parts[0].spec
    assert (part.parent_id, part.priority, part.client) == (job_id, Priority.HIGH, "me")
    assert part.request_id == "request-1"
    assert [job.id for job in await crew.desk.find(JobQuery())] == [job_id]
    await crew.desk.cancel(job_id)


async def test_killed_children_change_neither_order_nor_total(crew, tmp_path):
    note = tmp_path / "note"
    job_id = await crew.submit("summed", {"count": 60, "seconds": 0.02, "note": str(note)})
    await eventually(note.exists, what="a part has begun")
    for kill in range(4):
        before = len(note.read_text().splitlines())
        os.kill(await eventually(lambda: next(filter(None, crew.slot_pids), None)), signal.SIGKILL)
        if kill < 3:
            more = before + 2
            await eventually(lambda more=more: len(note.read_text().splitlines()) >= more, what="it goes on")
    (job,) = await crew.finished(job_id)
    assert value(job) == "1770 of 60"


async def test_a_job_is_finished_by_whoever_is_there(tmp_path):
    """The worker that split it leaves; the next one computes and merges."""
    async with Crew(tmp_path, "n/1", slots=1, drain_s=0.0, tasks=DIVISIBLE) as first:
        job_id = await first.submit("summed", {"count": 40, "seconds": 0.01})
        await eventually(lambda: parts_of(first, job_id), what="parts")
    async with Crew(tmp_path, "n/2", slots=2, tasks=DIVISIBLE) as second:
        (job,) = await second.finished(job_id)
        assert value(job) == "780 of 40"


@pytest.mark.parametrize("slots", [1, 2, 5])
async def test_credit_loss_is_the_same_on_any_number_of_slots(tmp_path, slots):
    wanted = {"load": 24_000_000, "chunk": 250_000, "seed": 3}
    async with Crew(tmp_path, slots=slots, tasks=DIVISIBLE) as crew:
        job_id = await crew.submit("credit_loss", wanted)
        if slots == 5:
            await eventually(lambda: parts_of(crew, job_id), what="parts")
            os.kill(next(filter(None, crew.slot_pids)), signal.SIGKILL)
        (job,) = await crew.finished(job_id)
    result = value(job)
    assert result["defaults"] == DEFAULTS
    assert result["manifest"]["parts"] == 96


DEFAULTS = 1_170_716


async def test_an_extension_draws_the_rest_only(crew):
    small = {"load": 24_000_000, "chunk": 1_000_000, "seed": 3}
    first = await crew.run("credit_loss", small)
    more = await crew.desk.extend(first.id, {"load": 48_000_000})
    (extended,) = await crew.finished(more.id)
    whole = await crew.run("credit_loss", small | {"load": 48_000_000})
    assert {**value(extended), "elapsed_s": 0} == {**value(whole), "elapsed_s": 0}
    assert extended.parts is None or extended.parts.total < whole.parts.total


async def test_other_jobs_go_on_beside_many_parts(crew):
    job_id = await crew.submit("tiny", {"count": 6_000})
    await eventually(lambda: parts_of(crew, job_id), what="parts")
    beside = await crew.submit_many("nothing", [{"n": n} for n in range(20)], priority="high")
    await crew.finished(*beside)
    assert (await crew.get(job_id)).state is State.RUNNING
    (job,) = await crew.finished(job_id)
    assert value(job) == sum(range(6_000))


async def test_asyncio_is_left_alone_while_a_split_takes_its_time(crew):
    loop = asyncio.get_running_loop()

    async def took_s():
        job_id = await crew.submit("slow_split", {"count": 120, "seconds": 0.01})
        began = loop.time()
        assert value(await crew.run("nothing")) == 0
        took = loop.time() - began
        (job,) = await crew.finished(job_id)
        assert value(job) == sum(range(120))
        return took

    assert await least(took_s, 1.0) < 1.0, "the split takes longer"
