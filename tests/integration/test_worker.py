"""A worker with two slots and everything that can happen to its children. All tests share the worker:
what one of them does must leave it fit for the next.
"""

import os
import signal

import msgspec
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from penstock.core.clock import system_clock
from penstock.core.errors import FailureCode
from penstock.core.job import State
from penstock.ports import BrokerOptions, EventKind
from support.crew import Crew
from support.node import alive
from support.wait import eventually, least

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

OPTIONS = BrokerOptions(lease_ms=60_000)
NOTICED_MS = 30_000
"""Less than a lease, which is what it would take if it were found out in no other way."""

CANCELLED_MS = 2_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crew(tmp_path_factory):
    async with Crew(tmp_path_factory.mktemp("crew"), options=OPTIONS) as working:
        yield working


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def fit(crew):
    """After each test both slots have a child and take jobs."""
    yield
    await eventually(lambda: None not in crew.slot_pids and all(map(alive, crew.slot_pids)), what="slots")
    await both_work(crew)
    assert not crew.running.done()


async def both_work(crew):
    """Each slot runs jobs; of two that come at once, one that gets no CPU may leave both to the other."""
    seen = set()

    async def all_seen():
        seen.update(await results(crew, *await crew.submit_many("pid", [{"seconds": 0.15}] * 2)))
        return seen == set(crew.slot_pids)

    await eventually(all_seen, what="both slots take jobs")


async def results(crew, *job_ids):
    jobs = await crew.finished(*job_ids)
    assert [job.state for job in jobs] == [State.SUCCEEDED] * len(jobs), [job.error for job in jobs]
    return [msgspec.json.decode(job.result) for job in jobs]


async def begun(crew, mark):
    """The process in which the task that was given this mark runs."""
    await eventually(mark.exists, what=f"{mark.name} begins")
    return int(mark.read_text())


# Poison


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hazards(crew):
    """One job of each kind that ends badly, run together with harmless ones."""
    kinds = [
        "segfault",
        "leave",
        "quits",
        "fails",
        "hoard",
        "soft_loop",
        "stubborn_loop",
        "spins",
        "spins_deaf",
    ]
    ids = {kind: await crew.submit(kind) for kind in kinds}
    harmless = await crew.submit_many("noop", [{"n": n} for n in range(50)])
    ended = dict(zip(ids, await crew.finished(*ids.values()), strict=True))
    assert await results(crew, *harmless) == list(range(50))
    return ended


@pytest.mark.parametrize(
    ("kind", "code", "message", "counts"),
    [
        ("segfault", FailureCode.CRASHED, "SIGSEGV (Segmentation fault)", (2, 2)),
        ("leave", FailureCode.CRASHED, "the process exited with status 3 before the task returned", (2, 2)),
        ("quits", FailureCode.TASK_ERROR, "SystemExit: 4", (2, 0)),
        ("fails", FailureCode.TASK_ERROR, "ValueError: as asked", (3, 0)),
        ("soft_loop", FailureCode.TIMED_OUT, "took longer than 0.3 s", (1, 0)),
        ("stubborn_loop", FailureCode.TIMED_OUT, "took longer than 300 ms and did not stop", (1, 1)),
        ("spins", FailureCode.TIMED_OUT, "used more than 200 ms of CPU time", (1, 0)),
        ("spins_deaf", FailureCode.TIMED_OUT, "used more than 200 ms of CPU time and did not stop", (1, 1)),
    ],
)
async def test_poison_fails_after_its_attempts_and_says_why(hazards, kind, code, message, counts):
    job = hazards[kind]
    assert (job.state, (job.attempt, job.crashes)) == (State.FAILED, counts)
    assert (job.error.code, job.error.message) == (code, message)


async def test_waiting_is_no_cpu_time(crew):
    job = await crew.run("rests")
    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


async def test_unbounded_memory_ends_with_readable_sizes(hazards):
    job = hazards["hoard"]
    assert (job.state, job.error.code) == (State.FAILED, FailureCode.OUT_OF_MEMORY)
    assert "iB > limit 286.1 MiB" in job.error.message


async def test_an_exception_brings_its_traceback(hazards):
    assert "hazardous.py" in hazards["fails"].error.detail
    assert hazards["fails"].error.detail.endswith("ValueError: as asked\n")


# Deaths from outside


async def test_a_killed_child_is_noticed_at_once_and_only_its_job_is_retried(crew, tmp_path):
    params = {"path": str(tmp_path / "out"), "release": str(tmp_path / "go")}
    doomed = await crew.submit("append_line", params | {"text": "x"})
    neighbour = await crew.submit("append_line", params | {"text": "y"})
    victim = await eventually(lambda: slot_of(crew, doomed))
    untouched = await eventually(lambda: slot_of(crew, neighbour))
    killed_at = system_clock()
    os.kill(victim, signal.SIGKILL)
    await eventually(lambda: slot_of(crew, doomed) not in {None, victim}, what="it runs again")
    (tmp_path / "go").touch()
    first, second = await results(crew, doomed, neighbour)
    assert first != victim
    assert second == untouched
    (retried,) = [event for event in await crew.events(doomed) if "error" in event.data]
    assert retried.at - killed_at < NOTICED_MS
    assert retried.kind in {EventKind.SCHEDULED, EventKind.QUEUED}
    assert retried.data["error"]["code"] == FailureCode.CRASHED
    assert retried.data["error"]["message"] == "SIGKILL (Killed)"
    assert (await crew.get(doomed)).attempt == 2
    assert (await crew.get(neighbour)).attempt == 1
    assert sorted((tmp_path / "out").read_text().split()) == ["x", "y"]


def slot_of(crew, job_id):
    """The process that runs this job."""
    for slot in crew.supervisor._slots:
        if [holding.claim.spec.id for holding in slot._given.values()][:1] == [job_id]:
            return slot.pid
    return None


async def test_an_idle_child_that_dies_is_replaced(crew):
    victim = crew.slot_pids[0]
    os.kill(victim, signal.SIGKILL)
    await eventually(lambda: crew.slot_pids[0] not in {None, victim})


async def test_a_killed_zygote_costs_its_attempts_and_no_job(crew, tmp_path):
    go = tmp_path / "go"
    ids = await crew.submit_many("pid", [{"release": str(go)}] * 6)
    await eventually(lambda: all(slot.busy for slot in crew.supervisor._slots))
    before, old = crew.zygote_pid, crew.slot_pids
    os.kill(before, signal.SIGKILL)
    await eventually(lambda: None not in crew.slot_pids and not set(old) & set(crew.slot_pids))
    go.touch()
    assert not set(old) & set(await results(crew, *ids))
    assert crew.zygote_pid != before
    await eventually(lambda: not any(map(alive, [before, *old])))


# Cancelling


async def test_a_waiting_job_is_cancelled_at_once(crew, tmp_path):
    go = str(tmp_path / "go")
    blocking = await crew.submit_many("nap", [{"seconds": 0.0, "release": go}] * 2)
    await eventually(lambda: all(slot.busy for slot in crew.supervisor._slots))
    waiting = await crew.submit("append_line", {"path": str(tmp_path / "never"), "text": "x"}, delay_s=0.0)
    job = await crew.desk.cancel(waiting)
    assert job.state is State.CANCELLED or job.cancel_requested
    (job,) = await crew.finished(waiting)
    assert (job.state, job.error.code) == (State.CANCELLED, FailureCode.CANCELLED)
    (tmp_path / "go").touch()
    await results(crew, *blocking)
    assert not (tmp_path / "never").exists()


async def cancelled_after_ms(crew, job_id):
    """Cancel it; milliseconds until it has ended."""
    asked_at = system_clock()
    await crew.desk.cancel(job_id)
    (job,) = await crew.finished(job_id)
    assert (job.state, job.attempt) == (State.CANCELLED, 1)
    return job.finished_at - asked_at


@pytest.mark.parametrize("task", ["crunch", "deaf"])
async def test_what_never_looks_ends_within_two_seconds(crew, tmp_path, task):
    mark = tmp_path / "mark"

    async def took_ms():
        job_id = await crew.submit(task, {"mark": str(mark)})
        pid = await begun(crew, mark)
        mark.unlink()
        took = await cancelled_after_ms(crew, job_id)
        if task == "deaf":
            await eventually(lambda: not alive(pid))
        return took

    assert await least(took_ms, CANCELLED_MS) < CANCELLED_MS
    following = await results(crew, *await crew.submit_many("pid", [{"seconds": 0.1}] * 2))
    assert set(following) == set(crew.slot_pids)


async def test_a_loop_that_looks_is_cancelled_and_its_child_lives_on(crew):
    before = crew.slot_pids
    job_id = await crew.submit("steps", {"count": 100_000, "seconds": 0.01})
    await eventually(lambda: slot_of(crew, job_id))
    await cancelled_after_ms(crew, job_id)
    assert crew.slot_pids == before


# What attempts say


async def test_printed_and_logged_lines_reach_the_log_and_the_feed(crew):
    with capture_logs() as written:
        job_id = await crew.submit("talks", {"lines": 2})
        await crew.finished(job_id)
        await eventually_said(crew, job_id, "on stderr")
    lines = [entry for entry in written if entry["event"] == "job says"]
    assert [(line["stream"], line["text"]) for line in lines] == [
        ("stdout", "printed 0"),
        ("stdout", "printed 1"),
        ("warning", "WARNING:model:logged"),
        ("stderr", "on stderr"),
    ]
    assert {(line["job"], line["attempt"], line["request"]) for line in lines} == {(job_id, 1, "request-1")}


async def eventually_said(crew, job_id, text):
    """The lines of the feed, once this one is among them."""
    await eventually(lambda: _has_said(crew, job_id, text), what=f"{text!r} is in the feed")
    return await said(crew, job_id)


async def _has_said(crew, job_id, text):
    return text in await said(crew, job_id)


async def said(crew, job_id):
    return [line for event in await crew.events(job_id, EventKind.LOG) for line in event.data["lines"]]


async def test_lines_of_a_running_job_are_in_the_feed_while_it_runs(crew, tmp_path):
    job_id = await crew.submit("says_and_waits", {"text": "half way", "release": str(tmp_path / "go")})
    assert await eventually_said(crew, job_id, "half way") == ["half way"]
    assert (await crew.get(job_id)).state is State.RUNNING
    (tmp_path / "go").touch()
    await results(crew, job_id)


async def test_a_flood_of_prints_stops_nobody(crew):
    flooding = await crew.submit("shouts", {"lines": 100_000})
    harmless = await crew.submit_many("noop", [{"n": n} for n in range(200)])
    assert await results(crew, *harmless) == list(range(200))
    assert await results(crew, flooding) == [100_000]
    assert (await crew.get(flooding)).attempt == 1
    assert len(await said(crew, flooding)) < 5_000
    await eventually(lambda: lives(crew), what="it goes on renewing")


async def lives(crew):
    (worker,) = (await crew.broker.stats()).workers
    return worker.live


async def test_progress_arrives_while_it_runs_and_not_too_often(crew):
    job_id = await crew.submit("steps", {"count": 100_000, "seconds": 0.02})
    reported = await eventually(lambda: _with_progress(crew, job_id))
    assert (reported.state, reported.progress.message[:5]) == (State.RUNNING, "step ")
    await eventually(lambda: _reported(crew, job_id, 5), what="it goes on telling")
    await crew.desk.cancel(job_id)
    (ended,) = await crew.finished(job_id)
    reports = await crew.events(job_id, EventKind.PROGRESS)
    fractions = [report.data["fraction"] for report in reports]
    # Four a second, and one at each end.
    assert len(fractions) <= (ended.finished_at - ended.started_at) / 250 + 2
    assert fractions == sorted(fractions)


async def _reported(crew, job_id, times):
    return len(await crew.events(job_id, EventKind.PROGRESS)) >= times


async def _with_progress(crew, job_id):
    job = await crew.get(job_id)
    return job if job.progress else None


# Numbers


async def test_blas_is_pinned_unless_the_task_asks_for_threads(crew):
    one, two = await results(crew, await crew.submit("blas"), await crew.submit("blas_of_two"))
    assert {library["num_threads"] for library in one} == {1}
    assert {library["num_threads"] for library in two} == {2}


async def test_the_same_job_gives_the_same_numbers_on_one_slot_and_on_two(crew, tmp_path):
    params = {"load": 20_000, "repeats": 5, "seed": 11, "macro": {"unemployment": 6.5}}
    together = await results(crew, *await crew.submit_many("credit_loss", [params] * 4))
    async with Crew(tmp_path, slots=1) as single:
        alone = await results(single, await single.submit("credit_loss", params))
    for losses in [*together, *alone]:
        losses.pop("elapsed_s")
    assert all(losses == alone[0] for losses in together)
    assert alone[0]["expected_credit_loss"] > 0
