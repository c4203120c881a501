"""Whoever waits for a job is told when no worker takes jobs from its queue."""

import asyncio
import io

import pytest
from rich.console import Console

from penstock import AsyncClient
from penstock.cli import show
from penstock.cli.follow import follow
from penstock.cli.unserved import tell_unserved
from support.wait import eventually


@pytest.fixture
def said(monkeypatch):
    screen = Console(file=io.StringIO(), width=80)
    monkeypatch.setattr(show, "errors", screen)
    return screen.file


async def test_a_queue_without_a_worker_is_told_once(house, said):
    async with AsyncClient("http://house", transport=house.transport) as client:
        jobs = [await client.submit("noop", {"n": n}, queue="night") for n in range(2)]
        await client.submit("noop", queue="day")
        following = asyncio.create_task(follow(client, jobs, quiet=False))
        await eventually(said.getvalue)
        await client.cancel_many(jobs)
        await following
    assert said.getvalue().splitlines() == [
        "no worker takes jobs from queue night now: penstock worker --queues night"
    ]


async def test_a_queue_with_a_worker_is_nothing_to_speak_of(house, said):
    await house.hands.live()
    async with AsyncClient("http://house", transport=house.transport) as client:
        await tell_unserved(client, [await client.submit("noop")])
    assert said.getvalue() == ""
