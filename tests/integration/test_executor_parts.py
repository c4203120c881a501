"""A real child splits and merges; the supervisor is played, so that it can be late, refuse, or vanish."""

import asyncio
import time

import msgspec
import pytest
import pytest_asyncio

from penstock.core.attempt import (
    Done,
    Fault,
    MergeDone,
    MergeStep,
    Note,
    PartsPage,
    Ready,
    Reply,
    ResultsWanted,
    Run,
    SplitDone,
    SplitStep,
)
from penstock.core.errors import FailureCode
from penstock.core.lifecycle import Merged, Split
from penstock.executors.child import PROGRESS_INTERVAL_S
from penstock.executors.process import ProcessExecutor
from penstock.worker.outcome import said
from penstock.worker_ports import Exit
from support.crew import DIVISIBLE
from support.wait import eventually, until

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


class Talk:
    """A child and everything that it said."""

    def __init__(self):
        self.said = []
        self.child = None
        self.ended = asyncio.Event()

    def end(self, how):
        self.said.append(how)
        self.ended.set()

    def send(self, task, step=None, token=1, part=False, **params):
        body = msgspec.json.encode(params)
        self.child.send([Run("j", token, 1, task, body, part=part, step=step)])

    async def next(self, *kinds):
        """The next message, which must be one of these."""
        await eventually(lambda: self.said, what=str(kinds))
        message = self.said.pop(0)
        assert isinstance(message, kinds), message
        return message


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def executor():
    running = ProcessExecutor([DIVISIBLE])
    await running.start()
    yield running
    await running.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def talk(executor):
    talk = Talk()
    talk.child = await executor.spawn(talk.said.append, talk.end)
    await talk.next(Ready)
    yield talk
    talk.child.kill()
    await talk.ended.wait()


async def test_a_split_sends_a_page_at_a_time(talk):
    talk.send("tiny", SplitStep(), count=1_100)
    sizes = []
    while isinstance(message := await talk.next(PartsPage, SplitDone), PartsPage):
        assert message.first == sum(sizes)
        sizes.append(len(message.params))
        talk.child.reply(Reply(1))
    assert sizes == [500, 500, 100]
    assert said(message) == Split(1_100)


async def test_no_second_page_comes_before_the_first_is_kept(talk):
    talk.send("tiny", SplitStep(), count=100_000)
    await talk.next(PartsPage)
    talk.child.cancel(1)  # answered while it waits only if it sends nothing more
    talk.child.reply(Reply(1))
    assert (await talk.next(Fault)).code == FailureCode.CANCELLED


async def test_a_part_is_computed_and_told(talk):
    talk.send("summed", part=True, n=4, seconds=0, wrong=-1, note="", size=0)
    assert (await talk.next(Done)).result == b'[4,""]'


async def test_many_short_parts_are_told_of_as_seldom_as_one_long_attempt(talk):
    began = time.monotonic()
    for token in range(1, 41):
        talk.send("talkative", part=True, token=token, n=token)
    told = [await talk.next(Note, Done) for _ in range(41)]
    while sum(isinstance(each, Done) for each in told) < 40:
        told.append(await talk.next(Note, Done))
    notes = sum(isinstance(each, Note) for each in told)
    assert 1 <= notes <= 1 + (time.monotonic() - began) / PROGRESS_INTERVAL_S


async def test_what_makes_one_part_is_done_at_once(talk):
    talk.send("summed", SplitStep(), count=1)
    assert (await talk.next(Done)).result == b'"0 of 1"'


async def test_a_merge_folds_what_is_ready_and_goes_on_later(talk):
    talk.send("summed", MergeStep(None, 0, 9, 10, 4), count=10)
    wanted = await talk.next(ResultsWanted)
    talk.child.reply(
        Reply(1, tuple(b'[%d,""]' % n for n in range(wanted.first, wanted.first + wanted.count)))
    )
    while not isinstance(done := await talk.next(MergeDone, object), MergeDone):
        pass
    outcome = said(done)
    assert isinstance(outcome, Merged)
    assert (bytes(outcome.partial), outcome.upto) == (b"[28,8]", 8)
    assert outcome.progress.message == "at least 28 after 8 of 10 parts"
    talk.send("summed", MergeStep(b"[28,8]", 8, 10, 10, 4), token=2, count=10)
    await talk.next(ResultsWanted)
    talk.child.reply(Reply(2, (b'[8,""]', b'[9,""]')))
    assert (await talk.next(Done)).result == b'"45 of 10"'


async def test_what_lost_its_token_ends_and_the_next_attempt_hears_its_own_reply(talk):
    talk.send("tiny", SplitStep(), count=10)
    await talk.next(PartsPage)
    talk.child.reply(Reply(1, lost=True))
    assert (await talk.next(Fault)).code == FailureCode.CANCELLED
    talk.send("tiny", SplitStep(), token=2, count=10)
    await talk.next(PartsPage)
    talk.child.reply(Reply(1, error="meant for the one before"))
    talk.child.reply(Reply(2))
    assert await talk.next(SplitDone)


@pytest.mark.parametrize("step", [None, MergeStep(None, 0, 2, 2, 2)], ids=["part", "merge"])
async def test_a_version_of_the_task_that_has_no_parts_says_so(talk, step):
    talk.send("nothing", step, part=step is None, n=3)
    fault = await talk.next(Fault)
    assert fault.permanent
    assert "nothing is not done in parts" in fault.message


async def test_a_request_that_failed_fails_the_attempt(talk):
    talk.send("tiny", SplitStep(), count=10)
    await talk.next(PartsPage)
    talk.child.reply(Reply(1, error="there is no room"))
    fault = await talk.next(Fault)
    assert (fault.code, fault.message) == (FailureCode.TASK_ERROR, "there is no room")


async def test_one_that_waits_for_a_reply_can_be_interrupted(talk):
    talk.send("tiny", SplitStep(), count=10)
    await talk.next(PartsPage)
    talk.child.cancel(1)
    await asyncio.to_thread(_until_cancelled, talk)
    assert (await talk.next(Fault)).code == FailureCode.CANCELLED
    talk.send("nothing", token=2, n=3)
    assert (await talk.next(Done)).result == b"3"


def _until_cancelled(talk):
    """The order to cancel goes another way than the signal; repeat that until it was the later one."""
    until(lambda: talk.said or talk.child.terminate())


async def test_a_child_whose_supervisor_hangs_up_does_not_wait_for_a_reply(talk):
    talk.send("tiny", SplitStep(), count=10)
    await talk.next(PartsPage)
    talk.child.close()
    assert (await talk.next(Exit)).status == 1


async def test_a_result_too_large_is_refused(talk, monkeypatch):
    talk.send("summed", part=True, n=4, seconds=0, wrong=-1, note="", size=70 * 2**20)
    fault = await talk.next(Fault)
    assert fault.permanent
    assert "the limit is" in fault.message
