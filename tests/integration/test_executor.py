"""Children as their supervisor sees them: what they answer, how they end, what they leave behind."""

import asyncio
import itertools
import os
import signal
import time

import msgspec
import psutil
import pytest
import pytest_asyncio

from penstock.core.attempt import Done, Fault, Line, Note, Ready, Recalled, Run
from penstock.core.errors import ErrorCode, FailureCode, PenstockError
from penstock.executors.process import ProcessExecutor
from penstock.worker_ports import Exit
from support.crew import HAZARDOUS
from support.node import alive
from support.wait import eventually, least

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

NOTICED_S = 2.0
tokens = itertools.count(1)


class Heard:
    """A child with everything that it said, and how it ended."""

    def __init__(self):
        self.said = []
        self.child = None

    @property
    def ends(self):
        return self.of(Exit)

    @property
    def pid(self):
        return self.child.pid

    def send(self, task, timeout_ms=None, threads=1, **params):
        """Have it run a task; the attempt's token."""
        return self.send_many((task, params), timeout_ms=timeout_ms, threads=threads)[0]

    def send_many(self, *attempts, timeout_ms=None, threads=1):
        runs = [
            Run(
                job_id="j",
                token=next(tokens),
                attempt=1,
                task=task,
                params=msgspec.json.encode(params),
                timeout_ms=timeout_ms,
                threads=threads,
            )
            for task, params in attempts
        ]
        self.child.send(runs)
        return [run.token for run in runs]

    def of(self, kind, token=None):
        """Its messages of this kind, of this attempt or of all."""
        found = [message for message in self.said if isinstance(message, kind)]
        return [message for message in found if token is None or message.token == token]

    def lines(self, token):
        return [(line.stream, line.text) for line in self.of(Line, token)]

    async def answer(self, token):
        """The attempt's only answer."""
        await eventually(lambda: self.of(Done | Fault, token) or self.ends, what="an answer")
        (only,) = self.of(Done | Fault, token)
        return only

    async def result(self, token):
        answer = await self.answer(token)
        assert isinstance(answer, Done), answer
        return msgspec.json.decode(answer.result)

    async def ended(self):
        """How the process ended."""
        await eventually(lambda: self.ends, what="an end")
        (only,) = self.ends
        return only


async def spawn(executor):
    heard = Heard()
    heard.child = await executor.spawn(heard.said.append, heard.said.append)
    await eventually(lambda: heard.of(Ready), what="ready")
    return heard


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def executor():
    running = ProcessExecutor([HAZARDOUS])
    await running.start()
    yield running
    await running.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def child(executor):
    heard = await spawn(executor)
    yield heard
    heard.child.kill()
    await heard.ended()


async def test_attempts_are_run_in_order_and_each_answered_once(child):
    sent = child.send_many(*(("noop", {"n": n}) for n in range(500)))
    assert [await child.result(token) for token in sent] == list(range(500))
    assert [answer.token for answer in child.of(Done)] == sent
    assert child.of(Done)[-1].elapsed_us > 0


async def test_a_killed_child_is_noticed_at_once_and_its_neighbour_goes_on(executor, child, tmp_path):
    go = tmp_path / "go"
    unharmed = child.send("nap", seconds=0.0, release=str(go))

    async def noticed_after_s():
        neighbour = await spawn(executor)
        doomed = neighbour.send("nap", seconds=600)
        began = time.monotonic()
        os.kill(neighbour.pid, signal.SIGKILL)
        assert (await neighbour.ended()).status == -signal.SIGKILL
        assert neighbour.of(Done | Fault, doomed) == []
        return time.monotonic() - began

    assert await least(noticed_after_s, NOTICED_S) < NOTICED_S
    go.touch()
    assert await child.result(unharmed) == 0.0


@pytest.mark.parametrize(
    ("task", "status"), [("segfault", -signal.SIGSEGV), ("leave", 3)], ids=["segfault", "os._exit"]
)
async def test_how_a_process_ended_is_told(executor, task, status):
    heard = await spawn(executor)
    heard.send(task)
    how = await heard.ended()
    assert how.status == status
    assert how.max_rss > 2**20


async def test_everything_said_before_the_end_arrives_before_the_end(executor):
    heard = await spawn(executor)
    sent = heard.send_many(*(("noop", {"n": n}) for n in range(300)), ("leave", {}))
    await heard.ended()
    assert isinstance(heard.said[-1], Exit)
    assert [answer.token for answer in heard.of(Done)] == sent[:-1]


TINY = [("sudden", {})] * 300
"""Enough for the child to know the task as tiny, and to answer many of them together."""


@pytest.mark.parametrize(("then", "status"), [("segfault", -signal.SIGSEGV), ("exit", 3)])
async def test_answers_that_were_not_sent_yet_survive_the_process(executor, then, status):
    """What comes next is known as tiny, so nothing is sent before it is begun."""
    heard = await spawn(executor)
    sent = heard.send_many(*TINY, ("sudden", {"then": then}), *TINY)
    assert (await heard.ended()).status == status
    assert isinstance(heard.said[-1], Exit)
    assert [answer.token for answer in heard.of(Done | Fault)] == sent[: len(TINY)]


@pytest.mark.parametrize("then", ["sleep", "hold"])
async def test_answers_come_promptly_though_what_was_known_as_tiny_takes_long(executor, then):
    heard = await spawn(executor)
    *sent, slow = heard.send_many(*TINY, ("sudden", {"then": then}))
    await eventually(lambda: len(heard.of(Done)) == len(sent), what="every answer")
    assert [answer.token for answer in heard.of(Done)] == sent
    heard.child.kill()
    await heard.ended()
    assert heard.of(Done | Fault, slow) == []
    assert [answer.token for answer in heard.of(Done)] == sent


async def test_many_tiny_attempts_are_answered_in_few_messages(child, monkeypatch):
    frames = []
    feed = child.child._frames.feed
    monkeypatch.setattr(child.child._frames, "feed", lambda data: frames.extend(got := feed(data)) or got)
    sent = child.send_many(*TINY * 10)
    assert isinstance(await child.answer(sent[-1]), Done)
    assert sum(map(len, frames)) >= len(sent) - 10
    assert len(frames) < len(sent) / 3


async def test_sys_exit_and_any_exception_leave_the_child_alive(child):
    answer = await child.answer(child.send("quits", status=4))
    assert (answer.code, answer.message) == (FailureCode.TASK_ERROR, "SystemExit: 4")
    answer = await child.answer(child.send("fails", message="oh no"))
    assert (answer.code, answer.message) == (FailureCode.TASK_ERROR, "ValueError: oh no")
    assert "hazardous.py" in answer.detail
    assert "penstock/executors" not in answer.detail
    answer = await child.answer(child.send("no_such_task"))
    assert answer.code == FailureCode.TASK_UNKNOWN
    assert "there is no task 'no_such_task'" in answer.message
    assert await child.result(child.send("pid")) == child.pid


async def test_parameters_that_do_not_fit_are_a_permanent_fault(child):
    answer = await child.answer(child.send("noop", n="many"))
    assert answer.permanent
    assert "parameters do not fit" in answer.message


async def test_a_recall_gives_back_all_but_the_one_that_runs(child, tmp_path):
    running, *waiting = child.send_many(
        ("nap", {"seconds": 0.0, "mark": str(tmp_path / "mark"), "release": str(tmp_path / "go")}),
        *[("noop", {})] * 50,
    )
    await eventually((tmp_path / "mark").exists)
    child.child.recall()
    await eventually(lambda: child.of(Recalled))
    assert child.of(Recalled) == [Recalled(tuple(waiting))]
    (tmp_path / "go").touch()
    assert await child.result(running) == 0.0
    await child.result(child.send("noop"))
    assert not {answer.token for answer in child.of(Done)} & set(waiting)


async def test_a_cancelled_attempt_that_waits_is_answered_when_its_turn_comes(child):
    running, cancelled, after = child.send_many(
        ("nap", {"seconds": 1.0}), ("nap", {"seconds": 600}), ("noop", {})
    )
    child.child.cancel(cancelled)
    assert (await child.answer(cancelled)).code == FailureCode.CANCELLED
    assert await child.result(running) == 1.0
    assert await child.result(after) == 0


async def test_a_loop_that_looks_at_its_progress_stops_when_it_is_asked(child):
    token = child.send("steps", count=10_000, seconds=0.01)
    await eventually(lambda: child.of(Note, token))
    child.child.cancel(token)
    assert (await child.answer(token)).code == FailureCode.CANCELLED
    assert await child.result(child.send("pid")) == child.pid


async def test_numpy_calls_stop_at_sigterm(child, tmp_path):
    token = child.send("crunch", mark=str(tmp_path / "mark"))
    await eventually((tmp_path / "mark").exists)
    child.child.cancel(token)
    # The signal must not overtake the message that gives it its meaning, so it is sent again.
    await eventually(lambda: child.child.terminate() or child.of(Done | Fault, token))
    assert (await child.answer(token)).code == FailureCode.CANCELLED
    assert await child.result(child.send("pid")) == child.pid


async def test_a_soft_timeout_is_raised_in_the_task(child):
    began = time.monotonic()
    answer = await child.answer(child.send("soft_loop", timeout_ms=100))
    assert (answer.code, answer.message) == (FailureCode.TIMED_OUT, "took longer than 0.1 s")
    assert time.monotonic() - began >= 0.1
    assert "hazardous.py" in answer.detail
    assert await child.result(child.send("pid")) == child.pid


@pytest.mark.parametrize("others", [0, 2], ids=["alone", "with threads"])
async def test_a_signal_never_cuts_a_message_in_half(child, others):
    """Soft timeouts fall into a flood of progress and prints; every one must find the stream whole."""
    for turn in range(40):
        token = child.send("chatters", timeout_ms=3 + turn, seconds=20, others=others)
        answer = await child.answer(token)
        assert answer.code == FailureCode.TIMED_OUT, answer
        child.said.clear()
    assert await child.result(child.send("pid")) == child.pid
    assert child.ends == []


async def test_sigterm_between_attempts_or_from_elsewhere_stops_nothing(child):
    """A service manager signals every process of a service that it stops."""
    sent = child.send_many(*[("noop", {})] * 5_000)
    while len(child.of(Done)) < len(sent) and not child.ends:
        child.child.terminate()
        await asyncio.sleep(0)
    assert child.ends == []
    assert [answer.token for answer in child.of(Done)] == sent


async def test_cancels_that_cross_the_end_of_an_attempt_leave_the_child_alive(child, tmp_path):
    """Signals fall into the task, into the making of its answer, which takes a while, and behind it."""
    for turn in range(30):
        mark = tmp_path / f"mark{turn}"
        token = child.send("deep", mark=str(mark))
        await eventually(mark.exists)
        child.child.cancel(token)
        while not child.of(Done | Fault, token) and not child.ends:
            child.child.terminate()
            await asyncio.sleep(0)
        assert child.ends == []
        assert child.of(Fault, token)[0].code == FailureCode.CANCELLED
    assert await child.result(child.send("pid")) == child.pid


async def test_what_a_task_prints_and_logs_comes_line_by_line(child):
    token = child.send("talks", lines=2)
    await child.answer(token)
    assert child.lines(token) == [
        ("stdout", "printed 0"),
        ("stdout", "printed 1"),
        ("warning", "WARNING:model:logged"),
        ("stderr", "on stderr"),
    ]


async def test_progress_is_throttled_and_its_end_is_not(child):
    token = child.send("steps", count=100, seconds=0.005)
    assert await child.result(token) == 100
    notes = child.of(Note, token)
    assert notes[0].progress.message == "step 0 of 100"
    assert notes[-1].progress.fraction == 1.0
    # One in a tenth of a second, and one at each end.
    assert 3 <= len(notes) <= child.of(Done, token)[0].elapsed_us / 100_000 + 2


async def test_blas_has_one_thread_unless_the_task_asks_for_more(child):
    (one,) = {library["num_threads"] for library in await child.result(child.send("blas"))}
    assert one == 1
    (two,) = {library["num_threads"] for library in await child.result(child.send("blas_of_two", threads=2))}
    assert two == 2
    (again,) = {library["num_threads"] for library in await child.result(child.send("blas"))}
    assert again == 1
    environment = psutil.Process(child.pid).environ()
    assert (environment["OMP_NUM_THREADS"], environment["OPENBLAS_NUM_THREADS"]) == ("1", "1")


@pytest.mark.parametrize("end", ["kill", "close"])
async def test_what_a_task_started_ends_with_its_child(executor, end):
    heard = await spawn(executor)
    left = await heard.result(heard.send("spawns"))
    assert alive(left)
    getattr(heard.child, end)()
    await heard.ended()
    await eventually(lambda: not alive(left))


@pytest.mark.parametrize("escape", [False, True])
async def test_a_process_left_behind_does_not_hide_the_end(executor, escape):
    """It holds the line open, so the line's end cannot be waited for."""
    heard = await spawn(executor)
    left = await heard.result(heard.send("forks", escape=escape))
    try:
        if escape:
            await eventually(lambda: os.getsid(left) == left, what="it is out of reach")
        began = time.monotonic()
        os.kill(heard.pid, signal.SIGKILL)
        assert (await heard.ended()).status == -signal.SIGKILL
        assert time.monotonic() - began < 100, "it holds the line open for ten minutes"
        if not escape:
            await eventually(lambda: not alive(left))
    finally:
        if alive(left):
            os.kill(left, signal.SIGKILL)


async def test_a_closed_child_finishes_what_it_has_and_leaves(executor):
    heard = await spawn(executor)
    sent = heard.send_many(("nap", {"seconds": 0.1}), ("noop", {"n": 7}))
    heard.child.close()
    assert [await heard.result(token) for token in sent] == [0.1, 7]
    assert (await heard.ended()).status == 0
    assert heard.child.rss() == 0


async def test_memory_is_seen_and_gone_with_the_child(child):
    before = child.child.rss()
    await child.result(child.send("grow", mebibytes=50))
    assert child.child.rss() - before > 45 * 2**20


async def test_a_killed_zygote_takes_its_children_along_and_the_next_child_gets_a_new_one():
    executor = ProcessExecutor([HAZARDOUS])
    await executor.start()
    first, second = await spawn(executor), await spawn(executor)
    left = await first.result(first.send("spawns"))
    zygote = executor._zygote.pid
    os.kill(zygote, signal.SIGKILL)
    assert (await first.ended()).status is None
    assert (await second.ended()).status is None
    await eventually(lambda: not any(map(alive, [first.pid, second.pid, left])))
    heard, other = await asyncio.gather(spawn(executor), spawn(executor))
    assert await heard.result(heard.send("noop", n=3)) == 3
    assert await other.result(other.send("noop", n=4)) == 4
    assert executor._zygote.pid != zygote
    assert not psutil.pid_exists(zygote), "it was reaped"
    await executor.stop()
    await eventually(lambda: not any(map(alive, [heard.pid, other.pid, executor._zygote.pid])))


async def test_a_child_does_not_outlive_its_zygote_even_if_nobody_is_left_to_kill_it():
    """As when the system, short of memory, ends a worker and its zygote in one go."""
    executor = ProcessExecutor([HAZARDOUS])
    await executor.start()
    heard = await spawn(executor)
    heard.send("nap", seconds=600)
    asyncio.get_running_loop().remove_reader(executor._office)
    os.kill(executor._zygote.pid, signal.SIGKILL)
    await eventually(lambda: not alive(heard.pid))
    await executor.stop()


async def test_a_supervisor_that_dies_with_messages_unread_leaves_nothing_behind():
    """The zygote then reads an error instead of the end of the line, and must clear up all the same."""
    executor = ProcessExecutor([HAZARDOUS])
    await executor.start()
    heard, other = await spawn(executor), await spawn(executor)
    left = await heard.result(heard.send("spawns"))
    zygote = executor._zygote
    asyncio.get_running_loop().remove_reader(executor._office)
    os.kill(other.pid, signal.SIGKILL)
    await eventually(lambda: not psutil.pid_exists(other.pid), what="the zygote tells of a death")
    executor._office.close()
    await eventually(lambda: not any(map(alive, [zygote.pid, heard.pid, left])))
    assert zygote.wait() == 0
    for each in (heard, other):
        each.child._line.abort()


async def test_the_zygote_ignores_sigterm_for_its_worker_must_drain(executor):
    zygote = executor._zygote.pid
    os.kill(zygote, signal.SIGTERM)
    heard = await spawn(executor)
    assert await heard.result(heard.send("noop", n=3)) == 3
    assert executor._zygote.pid == zygote
    heard.child.kill()
    await heard.ended()


async def test_a_module_that_cannot_be_imported_is_named():
    executor = ProcessExecutor(["nosuch_module"])
    with pytest.raises(PenstockError, match="'nosuch_module'") as raised:
        await executor.start()
    assert raised.value.code is ErrorCode.INVALID_REQUEST
    await executor.stop()
