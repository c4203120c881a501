"""What has begun answers even a cancelled caller, who learns besides that it was cancelled."""

import asyncio

import pytest

from penstock.brokers.redis.gather import IN_FLIGHT, Gather
from penstock.core.begun import answer_of, called_off, heed_cancel
from penstock.service import keyring
from penstock.service.keyring import Keyring


async def cancelled_meanwhile(begun, *, abandon):
    """What a caller of ``answer_of`` gets that is cancelled before the answer comes, and whether it knows."""
    seen = []

    async def caller():
        seen.extend([await answer_of(begun, lambda: abandon), called_off()])
        heed_cancel()

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    begun.set_result("answer")
    await asyncio.wait({task})
    assert task.cancelled()
    return seen


async def test_what_has_begun_answers_a_cancelled_caller_who_then_stops(begun):
    assert await cancelled_meanwhile(begun, abandon=False) == ["answer", True]


async def test_who_is_cancelled_again_and_again_does_not_cancel_what_has_begun(begun):
    caller = asyncio.create_task(answer_of(begun, lambda: False))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not begun.cancelled()
    begun.set_result("answer")
    assert await caller == "answer"


async def test_what_has_not_begun_is_abandoned(begun):
    assert await cancelled_meanwhile(begun, abandon=True) == []


async def test_who_was_not_cancelled_goes_on(begun):
    begun.set_result("answer")
    assert await answer_of(begun, lambda: False) == "answer"
    assert not called_off()
    heed_cancel()


class Answering:
    """A broker whose shelf is being read when the reader is cancelled, who gets the answer all the same."""

    def __init__(self, begun):
        self._begun = begun
        self.asked = asyncio.Event()

    async def shelf(self, _name):
        self.asked.set()
        return await answer_of(self._begun, lambda: False)


async def test_a_keyring_that_is_stopped_as_it_looks_ends(begun, monkeypatch):
    """Else an API that is stopped in that moment would never end."""
    monkeypatch.setattr(keyring, "REFRESH_S", 0.0)
    broker = Answering(begun)
    watching = asyncio.create_task(Keyring(broker).run())
    await broker.asked.wait()
    watching.cancel()
    await asyncio.sleep(0)
    begun.set_result({})
    await asyncio.wait({watching}, timeout=10)
    assert watching.done()


@pytest.fixture
async def begun():
    return asyncio.get_running_loop().create_future()


async def test_a_submission_that_is_refused_and_cancelled_at_once_ends_as_cancelled():
    """Its time was up a moment before, so that it no longer stands in line."""
    full = asyncio.Event()

    async def submit(_jobs):
        await full.wait()
        return 0, {}

    gather = Gather(submit, timeout_s=60)
    flights = [asyncio.create_task(gather.add(["job"])) for _ in range(IN_FLIGHT)]
    await asyncio.sleep(0)
    late = asyncio.create_task(gather.add(["job"]))
    await asyncio.sleep(0)
    gather._give_up(gather._waiting[0])
    late.cancel()
    await asyncio.wait({late})
    assert late.cancelled()
    full.set()
    await asyncio.gather(*flights)
