"""Live events: a job's story from the first look to its end, resumed without loss or doubling."""

import asyncio

import pytest

from penstock.brokers.sqlite import connect
from penstock.core.clock import system_clock
from penstock.core.job import JobError
from penstock.core.lifecycle import Failed
from penstock.ports import BrokerOptions
from penstock.service import desk

OF_A_GOOD_JOB = ["queued", "running", "progress", "log", "succeeded"]


async def story(house, job_id):
    """Run one job through everything that is told of a good one."""
    (claim,) = await house.hands.take()
    assert claim.spec.id == job_id
    await house.hands.say(claim, 0.5, "half way", "a line")
    await house.hands.end(claim)


def kinds(events):
    return [event["event"] for event in events]


async def test_snapshot_then_live_until_the_end(house):
    job_id = await house.submit(n=3)
    async with house.stream(f"/jobs/{job_id}/events") as stream:
        assert stream.status == 200
        first = await stream.next()
        assert (first["event"], first["data"]["id"], first["data"]["state"]) == ("snapshot", job_id, "queued")
        assert first["data"] == await house.job(job_id) | {"position": None, "eta_s": None}
        await story(house, job_id)
        rest = await stream.rest()
    assert kinds(rest) == OF_A_GOOD_JOB[1:]
    running, progress, log, _ = [event["data"] for event in rest]
    assert running["data"] == {"attempt": 1, "worker": "hands/1"}
    assert progress["data"] == {"fraction": 0.5, "message": "half way"}
    assert log["data"] == {"lines": ["a line"]}
    assert {event["data"]["job_id"] for event in rest} == {job_id}
    assert [event["id"] for event in rest] == [event["data"]["id"] for event in rest]


async def test_failure_tells_the_error(house):
    job_id = await house.submit()
    async with house.stream(f"/jobs/{job_id}/events") as stream:
        await house.hands.work(1, Failed(JobError("TASK_ERROR", "it broke"), permanent=True))
        *_, last = await stream.rest()
    assert (last["event"], last["data"]["data"]["error"]["message"]) == ("failed", "it broke")


async def test_cancellation_ends_the_stream(house):
    job_id = await house.submit()
    async with house.stream(f"/jobs/{job_id}/events") as stream:
        await house.ask("DELETE", f"/jobs/{job_id}")
        assert kinds(await stream.rest()) == ["snapshot", "cancelled"]


async def test_ended_job_is_told_at_once(house):
    job_id = await house.submit()
    await house.hands.work()
    async with house.stream(f"/jobs/{job_id}/events") as stream:
        (snapshot,) = await stream.rest()
    assert (snapshot["data"]["state"], snapshot["data"]["result"]) == ("succeeded", 42)


@pytest.mark.parametrize("way", ["query", "header"])
async def test_resuming_anywhere_loses_and_doubles_nothing(house, way):
    start = await house.broker.head()
    job_id = await house.submit()
    await house.submit()  # somebody else's
    await story(house, job_id)

    async def after(event_id):
        query, headers = (f"?after={event_id}", {}) if way == "query" else ("", {"Last-Event-ID": event_id})
        async with house.stream(f"/jobs/{job_id}/events{query}", headers) as stream:
            return await stream.rest()

    whole = await after(start)
    assert kinds(whole) == OF_A_GOOD_JOB
    for number, event in enumerate(whole):
        assert await after(event["id"]) == whole[number + 1 :]


async def test_reader_that_comes_back_goes_on_live(house):
    job_id = await house.submit()
    async with house.stream(f"/jobs/{job_id}/events") as stream:
        last_seen = (await stream.next())["id"]
    (claim,) = await house.hands.take()
    await house.hands.say(claim, 0.1, "while nobody looked")
    async with house.stream(f"/jobs/{job_id}/events", {"Last-Event-ID": last_seen}) as stream:
        assert kinds(await stream.take(2)) == ["running", "progress"]
        await house.hands.end(claim)
        assert kinds(await stream.rest()) == ["succeeded"]


async def test_query_beats_the_header(house):
    job_id = await house.submit()
    await house.hands.work()
    path = f"/jobs/{job_id}/events?after="
    async with house.stream(path, {"Last-Event-ID": await house.broker.head()}) as stream:
        assert kinds(await stream.rest()) == ["queued", "running", "succeeded"]


async def test_reader_who_has_seen_the_end_is_not_kept_waiting(house):
    job_id = await house.submit()
    await house.hands.work()
    last = await house.broker.head()
    async with house.stream(f"/jobs/{job_id}/events?after={last}") as stream:
        assert await stream.rest() == []


async def test_end_that_the_feed_has_forgotten_keeps_nobody_waiting(house):
    job_id = await house.submit()
    await house.hands.work()
    options = BrokerOptions(keep_events_ms=1)
    forgetful = connect(house.url, options, lambda: system_clock() + 60_000)
    await forgetful.open()
    await forgetful.trim(1_000)
    await forgetful.close()
    assert await house.broker.events("", 0) == []
    async with house.stream(f"/jobs/{job_id}/events?after=0") as stream:
        assert await stream.rest() == []


async def test_everything_is_told_in_order_from_now_on(house):
    before = await house.submit()
    async with house.stream("/events") as stream:
        after = await house.submit()
        await house.hands.work(2)
        told = await stream.take(5)
    assert {(event["event"], event["data"]["job_id"]) for event in told} == {
        ("queued", after),
        *((kind, job_id) for kind in ("running", "succeeded") for job_id in (before, after)),
    }
    numbers = [int(event["id"]) for event in told]
    assert numbers == sorted(set(numbers))


async def test_everything_can_be_resumed(house):
    start = await house.broker.head()
    for _ in range(3):
        await house.submit()
        await house.hands.work()
    async with house.stream(f"/events?after={start}") as stream:
        whole = await stream.take(9)
    for number, event in enumerate(whole[:-1]):
        async with house.stream("/events", {"Last-Event-ID": event["id"]}) as stream:
            assert await stream.take(8 - number) == whole[number + 1 :]


async def test_many_readers_hear_the_same(house):
    job_ids = [await house.submit() for _ in range(3)]
    streams = [house.stream(f"/jobs/{job_id}/events") for job_id in job_ids * 5]
    for stream in streams:
        await stream.__aenter__()
    await house.hands.work(3)
    heard = await asyncio.gather(*(stream.rest() for stream in streams))
    for stream in streams:
        await stream.__aexit__()
    assert all(kinds(events) == ["snapshot", "running", "succeeded"] for events in heard)


async def test_quiet_stream_stays_open(house, monkeypatch):
    monkeypatch.setattr(desk, "STREAM_WAIT_S", 0.02)
    job_id = await house.submit()
    async with house.stream(f"/jobs/{job_id}/events") as stream:
        await stream.next()
        waiting = asyncio.create_task(stream.next())
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
        await house.hands.work()
        assert (await waiting)["event"] == "running"


async def test_reader_who_leaves_is_let_go(house, monkeypatch):
    monkeypatch.setattr(desk, "STREAM_WAIT_S", 0.02)
    async with house.stream("/events") as stream:
        assert stream.status == 200
    # Leaving waits until the application has finished with the request.
