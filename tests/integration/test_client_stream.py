"""`stream` of both clients and of their handles: what happens to a job until it has ended."""

import asyncio
import contextlib

import httpx
import pytest

from penstock import AsyncClient, Client, PenstockError
from penstock.client import messages, patience
from penstock.core.errors import ErrorCode
from support.served import served

PATIENCE_S = 20.0


@pytest.fixture
async def url(house):
    async with served(house.app) as address:
        yield address


async def from_thread(url, job_id, seen):
    def read():
        with Client(url, patience_s=2) as client:
            for event in client.handle(job_id).stream():
                loop.call_soon_threadsafe(seen.put_nowait, event)

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(read)


async def from_task(url, job_id, seen):
    async with AsyncClient(url, patience_s=2) as client:
        async for event in client.handle(job_id).stream():
            seen.put_nowait(event)


@pytest.mark.parametrize("read", [from_thread, from_task])
async def test_progress_comes_as_it_is_made_until_the_end(house, url, read):
    job_id, seen = await house.submit(), asyncio.Queue()
    reading = asyncio.create_task(read(url, job_id, seen))
    async with asyncio.timeout(PATIENCE_S):
        first = await seen.get()
        assert (first.kind, first.job_id, first.data["state"]) == ("snapshot", job_id, "queued")
        (claim,) = await house.hands.take()
        assert (await seen.get()).kind == "running"
        await house.hands.say(claim, 0.5, "half", "a line")
        told = {event.kind: event for event in [await seen.get(), await seen.get()]}
        assert (told["progress"].progress.fraction, told["progress"].progress.message) == (0.5, "half")
        assert told["log"].progress is None
        await house.hands.end(claim)
        assert (await seen.get()).kind == "succeeded"
        await reading


async def test_of_a_job_that_has_ended_only_that(house, url):
    job_id, seen = await house.submit(), asyncio.Queue()
    await house.hands.work()
    await from_task(url, job_id, seen)
    (only,) = [seen.get_nowait() for _ in range(seen.qsize())]
    assert (only.kind, only.final, only.data["result"]) == ("snapshot", True, 42)


async def test_it_goes_on_after_a_known_event(house, url):
    async with AsyncClient(url) as client:
        job = await client.submit("noop")
        first = await anext(client.stream(job))
        await house.hands.work()
        assert [event.kind async for event in client.stream(job.id, after=first.id)] == [
            "running",
            "succeeded",
        ]


@pytest.mark.parametrize("cut_by", ["a clean end", "an error"])
async def test_a_broken_stream_is_resumed_without_gap_or_repetition(house, url, monkeypatch, cut_by):
    """Every response is cut off behind its first event, in one way or the other."""
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    whole, asked = AsyncClient.download, []

    async def download(self, path, query):
        asked.append(query)
        async with contextlib.aclosing(whole(self, path, query)) as pieces:
            yield await anext(pieces)
        if cut_by == "an error":
            raise messages.unreachable(self.url, httpx.ReadError("cut"))

    monkeypatch.setattr(AsyncClient, "download", download)
    async with asyncio.timeout(PATIENCE_S), AsyncClient(url) as client:
        events = client.stream(await client.submit("noop"))
        kinds = [(await anext(events)).kind]
        (claim,) = await house.hands.take()
        kinds.append((await anext(events)).kind)
        await house.hands.say(claim, 0.5, "half")
        kinds.append((await anext(events)).kind)
        await house.hands.end(claim)
        kinds += [event.kind async for event in events]
    assert kinds == ["snapshot", "running", "progress", "succeeded"]
    assert len(asked) == 4
    assert [len(query) for query in asked] == [0, 1, 1, 1]


async def test_refusals_and_silence_are_raised(house, url):
    async with AsyncClient(url) as client:
        with pytest.raises(PenstockError) as caught:
            await anext(client.stream("no-such-job"))
        assert caught.value.code is ErrorCode.JOB_NOT_FOUND
    with Client("http://127.0.0.1:1", patience_s=0) as client, pytest.raises(PenstockError) as caught:
        next(client.stream("some-job"))
    assert caught.value.code is ErrorCode.NODE_UNREACHABLE


async def test_a_job_and_its_handle_say_in_a_line_what_they_are(house):
    async with AsyncClient("http://house", transport=house.transport) as client:
        handle = await client.start("noop")
        assert repr(handle) == f"<job {handle.id} at http://house>"
        assert repr(await client.get(handle.id)) == f"<job {handle.id} noop, queued>"
        (claim,) = await house.hands.take()
        await house.hands.say(claim, 0.5, "half")
        assert str(await client.get(handle.id)) == f"<job {handle.id} noop, running, 50% half>"
        await house.hands.end(claim)
        assert repr(await client.get(handle.id)) == f"<job {handle.id} noop, succeeded>"
