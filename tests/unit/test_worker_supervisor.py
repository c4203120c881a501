"""What the supervisor decides between its slots and the broker, without either of them at work."""

import asyncio

import pytest
from msgspec.structs import replace

from penstock.core.errors import broker_unavailable
from penstock.core.job import JobSpec, State, WorkerInfo
from penstock.core.lifecycle import Claim, Released
from penstock.ports import Orders
from penstock.service import upkeep
from penstock.service.upkeep import Upkeep
from penstock.worker.policy import SlotPolicy, WorkerPolicy
from penstock.worker.supervisor import Supervisor

INFO = WorkerInfo(id="n/1", node="n", host="h", pid=1, slots=1)
POLICY = WorkerPolicy(slots=1, queues=("default",), drain_s=1, slot=SlotPolicy(memory_bytes=2**30))


@pytest.fixture
async def supervisor():
    """Its one slot has no child, so what it is given stays with the supervisor."""
    return Supervisor(broker=None, executor=None, info=INFO, policy=POLICY)


class Unmoved:
    """A broker whose begun verb answers even when it is cancelled, as every `Broker` may."""

    def __init__(self):
        self.calls = 0
        self.under_way = asyncio.Event()
        self.cancelled = False

    async def renew(self, *_arguments):
        await self._verb()
        return Orders()

    async def reclaim(self, *_arguments):
        await self._verb()
        return []

    async def retire(self, *_arguments):
        return None

    async def _verb(self):
        self.calls += 1
        if self.calls > 1:  # the first one lets the worker start
            self.under_way.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True


class Nothing:
    """An executor that is never asked for a child."""

    async def start(self):
        return None

    async def stop(self):
        return None


def claims(*tokens):
    return [Claim(spec=JobSpec(id=f"j{token}", task="t"), token=token, attempt=1) for token in tokens]


def posted(supervisor):
    """What will be settled: state and attempts by token."""
    return {one.token: (one.verdict.state, one.verdict.attempt) for one in supervisor._outbox}


class Filled:
    """A slot that has so many attempts."""

    def __init__(self, given):
        self.given = given

    def appetite(self, depth):
        return max(0, depth - self.given)


@pytest.mark.parametrize(
    ("depth", "given", "wanted"),
    [
        (1, (0, 0), 2),
        (1, (1, 0), 1),
        (1, (1, 1), 0),
        (2, (2, 1), 1),
        (500, (0, 0), 500),
        (500, (250, 250), 500),
        (500, (250, 400), 350),
        (500, (251, 251), 0),
        (500, (500, 0), 500),
    ],
)
async def test_half_of_what_slots_may_have_is_claimed_when_one_is_down_to_half(
    supervisor, monkeypatch, depth, given, wanted
):
    monkeypatch.setattr(supervisor, "_slots", [Filled(count) for count in given])
    monkeypatch.setattr(supervisor._pace, "depth", lambda: depth)
    assert supervisor._appetite() == wanted


async def test_a_cancelled_claim_that_no_slot_has_ends_at_once(supervisor):
    supervisor._receive(claims(1, 2))
    supervisor._obey(Orders(cancel=frozenset({1})))
    assert posted(supervisor) == {1: (State.CANCELLED, 1)}
    assert [holding.token for holding in supervisor._local] == [2]


async def test_a_lost_claim_is_forgotten_without_a_word(supervisor):
    supervisor._receive(claims(1, 2))
    supervisor._obey(Orders(lost=frozenset({1})))
    assert posted(supervisor) == {}
    assert list(supervisor._held) == [2]


async def test_a_cancelled_attempt_that_comes_back_unbegun_is_not_run_after_all(supervisor):
    """The cancel reached the child behind which it waited; another slot would know nothing of it."""
    supervisor._receive(claims(1, 2))
    first, second = supervisor._local
    supervisor._local.clear()
    supervisor._obey(Orders(cancel=frozenset({1})))
    supervisor.returned([first, second])
    assert posted(supervisor) == {1: (State.CANCELLED, 1)}
    assert [holding.token for holding in supervisor._local] == [2]


async def test_what_comes_back_is_next_in_line_in_its_old_order(supervisor):
    supervisor._receive(claims(1, 2, 3))
    first, second, _ = supervisor._local
    supervisor._local.remove(first)
    supervisor._local.remove(second)
    supervisor.returned([first, second])
    assert [holding.token for holding in supervisor._local] == [1, 2, 3]


async def test_what_comes_back_while_stopping_is_given_back_uncharged(supervisor):
    supervisor._receive(claims(1, 2))
    waiting = list(supervisor._local)
    supervisor._local.clear()
    supervisor.stop()
    supervisor.returned(waiting)
    assert posted(supervisor) == {1: (State.QUEUED, 0), 2: (State.QUEUED, 0)}


async def test_a_drain_calls_back_at_once_what_waits_in_children(supervisor, monkeypatch):
    recalled = []
    monkeypatch.setattr(supervisor._slots[0], "recall", lambda: recalled.append("now"))
    supervisor.stop()
    await supervisor._drain()
    assert recalled == ["now"]


async def test_what_no_slot_takes_is_soon_given_back_uncharged(supervisor):
    supervisor._receive(claims(1))
    since = supervisor._local[0].since
    supervisor._release_stale(since + 0.05)
    assert posted(supervisor) == {}
    supervisor._release_stale(since + 1)
    assert posted(supervisor) == {1: (State.QUEUED, 0)}


async def test_the_outcome_of_a_lost_attempt_is_kept_to_itself(supervisor):
    supervisor._receive(claims(1))
    (holding,) = supervisor._local
    supervisor._local.clear()
    supervisor._obey(Orders(lost=frozenset({1})))
    supervisor.finished(holding, Released(), 1.0)
    assert posted(supervisor) == {}
    assert supervisor._held == {}


async def test_a_worker_leaves_even_if_its_cancelled_call_is_answered():
    broker = Unmoved()
    supervisor = Supervisor(broker, Nothing(), INFO, replace(POLICY, slots=0, renew_s=0.0))
    running = asyncio.create_task(supervisor.run())
    await broker.under_way.wait()
    supervisor.stop()
    await asyncio.wait({running}, timeout=10)
    assert running.done()
    assert broker.cancelled


async def test_upkeep_ends_even_if_its_cancelled_call_is_answered(monkeypatch):
    monkeypatch.setattr(upkeep, "LOOK_S", 0.0)
    broker = Unmoved()
    running = asyncio.create_task(Upkeep(broker, "n/1").run())
    await broker.under_way.wait()
    running.cancel()
    await asyncio.wait({running}, timeout=10)
    assert running.done()
    assert broker.cancelled


async def test_a_cancel_that_an_unreachable_broker_swallowed_still_counts(supervisor):
    """Otherwise a worker that is stopped while its broker is away would try to claim for ever."""
    under_way = asyncio.Event()

    async def verb():
        again = under_way.is_set()
        under_way.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if again:
                raise  # so that a failing test can end
            raise broker_unavailable("away") from None

    persisting = asyncio.create_task(supervisor._persist(verb))
    await under_way.wait()
    persisting.cancel()
    await asyncio.wait({persisting}, timeout=5)
    assert persisting.cancelled()
