"""Who is charged when a process ends in the middle of many tiny attempts: the one that ran, nobody else."""

import os
import signal
from collections import Counter

import pytest

from penstock.core.errors import FailureCode
from penstock.core.job import State
from support.crew import Crew
from support.wait import eventually

pytestmark = pytest.mark.slow

TINY = [{}] * 150


async def learn(crew, task, params):
    """Let the worker find out how short these are, so that it ships many at a time."""
    pace = crew.supervisor._pace

    async def deep():
        await crew.finished(*await crew.submit_many(task, [params] * 100))
        return pace.depth() > 64

    await eventually(deep, what="a long read-ahead")


async def submit_with_poison(crew, then, **options):
    """A job that does something sudden, among harmless ones of the same task: its id, and theirs."""
    await learn(crew, "sudden", {})
    before = await crew.submit_many("sudden", TINY)
    poison = await crew.submit("sudden", {"then": then}, **options)
    after = await crew.submit_many("sudden", TINY)
    return poison, before, after


async def unharmed(crew, *job_ids):
    jobs = await crew.finished(*job_ids)
    assert {(job.state, job.attempt) for job in jobs} == {(State.SUCCEEDED, 1)}


def runs(crew, job_id):
    """Whether the supervisor takes this job for the one that runs."""
    firsts = [next(iter(slot._given.values()), None) for slot in crew.supervisor._slots]
    return job_id in [holding.claim.spec.id for holding in firsts if holding]


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ("segfault", "SIGSEGV (Segmentation fault)"),
        ("exit", "the process exited with status 3 before the task returned"),
    ],
)
async def test_poison_among_tiny_jobs_is_charged_and_they_are_not(tmp_path, then, message):
    async with Crew(tmp_path, slots=1) as crew:
        poison, before, after = await submit_with_poison(crew, then)
        await unharmed(crew, *before, *after)
        (job,) = await crew.finished(poison)
        assert (job.state, job.attempt) == (State.FAILED, 2)
        assert (job.error.code, job.error.message) == (FailureCode.CRASHED, message)


@pytest.mark.parametrize("then", ["sleep", "hold"])
async def test_a_timeout_among_tiny_jobs_hits_the_one_that_takes_long(tmp_path, then):
    async with Crew(tmp_path, slots=2) as crew:
        poison, before, after = await submit_with_poison(crew, then, timeout_s=0.2, max_attempts=1)
        await unharmed(crew, *before, *after)
        (job,) = await crew.finished(poison)
        assert (job.state, job.attempt) == (State.FAILED, 1)
        assert job.error.code == FailureCode.TIMED_OUT


async def test_a_cancel_among_tiny_jobs_hits_the_one_that_was_meant(tmp_path):
    async with Crew(tmp_path, slots=1) as crew:
        poison, before, after = await submit_with_poison(crew, "hold")
        await unharmed(crew, *before)
        await eventually(lambda: runs(crew, poison))
        await crew.desk.cancel(poison)
        (job,) = await crew.finished(poison)
        assert (job.state, job.attempt) == (State.CANCELLED, 1)
        await unharmed(crew, *after)


async def test_a_kill_from_outside_charges_and_repeats_one_job_at_most(tmp_path):
    out, kills = tmp_path / "out", 0
    out.touch()
    async with Crew(tmp_path, slots=1) as crew:
        await learn(crew, "append_line", {"path": os.devnull, "text": "x"})
        ids = await crew.submit_many(
            "append_line", [{"path": str(out), "text": str(n)} for n in range(3_000)]
        )
        for share in (500, 1_500, 2_500):
            await eventually(lambda share=share: len(out.read_text().split()) > share)
            if pid := crew.slot_pids[0]:
                os.kill(pid, signal.SIGKILL)
                kills += 1
                await eventually(lambda pid=pid: crew.slot_pids[0] not in (None, pid), what="another child")
        jobs = await crew.finished(*ids)
    assert {job.state for job in jobs} == {State.SUCCEEDED}
    assert sum(job.attempt - 1 for job in jobs) <= kills
    written = Counter(map(int, out.read_text().split()))
    assert set(written) == set(range(3_000))
    assert sum(written.values()) - 3_000 <= kills
