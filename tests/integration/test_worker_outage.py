"""The broker goes away for longer than its timeout, and comes back."""

import contextlib
import fcntl
import os

import msgspec
import pytest
from structlog.testing import capture_logs

from penstock.core.job import State
from penstock.ports import BrokerOptions, EventKind
from support.crew import Crew
from support.wait import eventually

pytestmark = pytest.mark.slow

OPTIONS = BrokerOptions(timeout_s=0.3, lease_ms=1_000)


@contextlib.contextmanager
def outage(folder):
    """Hold the lock that every writer waits for."""
    lock = os.open(folder / "penstock.db.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


def complaints(written):
    return [entry for entry in written if entry["event"] == "broker unavailable, trying again"]


async def test_an_outcome_survives_an_outage_longer_than_the_lease(tmp_path):
    """The job ends while nobody can be told; it is settled later and not run again."""
    async with Crew(tmp_path, slots=1, options=OPTIONS) as crew:
        out, mark = tmp_path / "out", tmp_path / "mark"
        await crew.run("nap", {"seconds": 0})
        go = tmp_path / "go"
        napping = await crew.submit("nap", {"seconds": 0, "mark": str(mark), "release": str(go)})
        await eventually(mark.exists)
        writing = {"path": str(out), "text": "once"}
        with capture_logs() as written, outage(tmp_path):
            go.touch()
            await eventually(lambda: not crew.supervisor._slots[0].busy)
            await eventually(lambda: len(complaints(written)) > 8, what="the outage outlasts the lease")
            assert (await crew.get(napping)).state is State.RUNNING
        (job,) = await crew.finished(napping)
        assert (job.state, job.attempt, job.losses) == (State.SUCCEEDED, 1, 0)
        assert msgspec.json.decode(job.result) == 0
        assert len(await crew.events(napping, EventKind.SUCCEEDED)) == 1
        written_by = await crew.run("append_line", writing)
        assert written_by.state is State.SUCCEEDED
        assert out.read_text() == "once\n"
        assert not crew.running.done()


async def test_an_idle_worker_takes_jobs_again_after_an_outage(tmp_path):
    async with Crew(tmp_path, slots=2, options=OPTIONS) as crew:
        with capture_logs() as written, outage(tmp_path):
            await eventually(lambda: len(complaints(written)) > 2)
        ids = await crew.submit_many("noop", [{"n": n} for n in range(20)])
        jobs = await crew.finished(*ids)
        assert [msgspec.json.decode(job.result) for job in jobs] == list(range(20))


async def test_a_worker_that_is_stopped_during_an_outage_ends(tmp_path):
    async with Crew(tmp_path, slots=1, options=OPTIONS) as crew:
        await crew.run("noop", {"n": 0})  # one that has not even started would just end
        with capture_logs() as written, outage(tmp_path):
            await eventually(lambda: complaints(written))
            crew.supervisor.stop()
            await eventually(crew.running.done)
        assert [entry for entry in written if entry["event"].startswith("could not sign off")]
