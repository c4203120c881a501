"""Waiting jobs tell where they stand and when they may begin; limits hold while workers are killed."""

import signal

import psutil
import pytest
from msgspec.structs import replace

from penstock.core.fairness import ClientTerms
from penstock.core.job import State
from penstock.core.task import task
from penstock.ports import EventKind
from support.crew import Crew
from support.wait import eventually, least

NAP_S = 0.1


@task(max_running=2)
def exclusive(n: int) -> int:
    """A task of which two may run."""
    return n


async def test_a_waiting_job_tells_its_place(house):
    first, second = await house.submit(), await house.submit()
    assert [(await house.job(each))["position"] for each in (first, second)] == [0, 1]
    assert (await house.job(second))["eta_s"] is None
    listed = (await house.ask("GET", "/jobs")).json()["jobs"]
    assert [(each["id"], each["position"]) for each in listed] == [(second, 1), (first, 0)]
    (claimed,) = await house.hands.take()
    assert (await house.job(first))["position"] is None
    await house.hands.end(claimed)
    assert (await house.job(first))["position"] is None
    assert (await house.job(second))["position"] == 0


async def test_who_waited_in_vain_or_asked_again_is_told_the_place(house):
    await house.submit()
    waited = (await house.ask("POST", "/jobs?wait=0.01", {"task": "noop"})).json()
    assert waited["position"] == 1
    assert (await house.ask("POST", "/jobs", {"task": "noop"})).json()["position"] is None
    await house.ask("DELETE", f"/jobs/{waited['id']}")
    again = (await house.ask("POST", f"/jobs/{waited['id']}/retry")).json()
    assert again["position"] == (await house.job(again["id"]))["position"] == 2


async def test_the_forecast_is_that_of_live_workers_and_none_for_a_paused_queue(house):
    ids = [await house.submit() for _ in range(9)]
    house.hands.info = replace(house.hands.info, paces={"noop": 500.0})
    await house.hands.live()
    assert (await house.job(ids[-1]))["eta_s"] == 8 * 0.5 / 4
    await house.ask("POST", "/queues/default/pause")

    async def unknown():
        return (await house.job(ids[-1]))["eta_s"] is None

    await eventually(unknown, what="figures that are fresh again")


async def test_queues_tell_whose_jobs_wait(house):
    for client in ("a", "b", "b"):
        await house.ask("POST", "/jobs", {"task": "noop", "client": client})
    await house.submit()
    (plain,) = (await house.ask("GET", "/queues")).json()["queues"]
    assert "clients" not in plain
    (queue,) = (await house.ask("GET", "/queues?clients=true")).json()["queues"]
    assert queue["clients"] == [{"client": "b", "queued": 2}, {"client": "a", "queued": 1}]


async def test_an_operator_limits_clients(house):
    assert (await house.ask("PUT", "/clients/a", {"max_running": 2, "weight": 3})).status_code == 200
    await house.ask("PUT", "/clients/b", {"weight": 5})
    await house.ask("DELETE", "/clients/b")
    listed = (await house.ask("GET", "/clients")).json()["clients"]
    assert listed == [{"client": "a", "max_running": 2, "weight": 3}]
    refused = await house.ask("PUT", "/clients/a", {"max_running": 0})
    assert refused.status_code == 422
    for _ in range(3):
        await house.ask("POST", "/jobs", {"task": "noop", "client": "a"})
    assert len(await house.hands.take(2)) == 2
    assert await house.broker.claim("w", ["default"], 5, 0) == []


async def test_a_task_s_limit_goes_with_its_jobs(open_house):
    house = await open_house([exclusive])
    for n in range(4):
        await house.submit("exclusive", n=n)
    assert len(await house.broker.claim("w", ["default"], 8, 0)) == 2


@pytest.mark.slow
async def test_the_forecast_of_a_backlog_is_near_the_truth(tmp_path):
    """Within a factor of two, of jobs whose length is known: no figure of the machine's speed is compared."""
    async with Crew(tmp_path, slots=2) as crew:
        await crew.finished(*await crew.submit_many("nap", [{"seconds": NAP_S}] * 4))

        async def told():
            (worker,) = (await crew.desk.stats()).workers
            return "nap" in worker.info.paces

        await eventually(told, what="the worker tells how long the task takes")

        async def factor():
            ids = await crew.submit_many("nap", [{"seconds": NAP_S}] * 40)
            last = await crew.get(ids[-1])
            place = (await crew.desk.places.of([last]))[last.id]
            begun = {event.job_id for event in await crew.events(kind=EventKind.RUNNING)} & set(ids)
            (ended,) = await crew.finished(ids[-1])
            truth_s = (ended.started_at - last.created_at) / 1000
            assert 40 - 1 - len(begun) <= place.position < 40
            return max(truth_s / place.eta_s, place.eta_s / truth_s)

        assert await least(factor, 2) <= 2


@pytest.mark.slow
async def test_a_limit_holds_while_children_and_a_worker_die(tmp_path):
    """Two may run at a time, on eight slots of two workers; some are killed while they run."""
    limit = 2
    async with Crew(tmp_path, "n/1", slots=4) as crew, Crew(tmp_path, "n/2", slots=4):
        await crew.broker.limit_client("c", ClientTerms(max_running=limit))
        ids = await crew.submit_many("nap", [{"seconds": 0.05}] * 30, client="c")
        for killed in range(3):
            await eventually(lambda least=killed: _begun(crew, least), what="some have begun")
            for pid in crew.slot_pids[:2]:
                if pid is not None:
                    psutil.Process(pid).send_signal(signal.SIGKILL)
        jobs = await crew.finished(*ids)
        assert {job.state for job in jobs} <= {State.SUCCEEDED, State.FAILED}
        assert await most_at_a_time(crew) == limit


async def _begun(crew, least):
    return len(await crew.events(kind=EventKind.RUNNING)) > 5 * least


async def most_at_a_time(crew):
    """The highest number of jobs that ran at the same time, as the feed tells."""
    running, most = set(), 0
    for event in await crew.events():
        if event.kind is EventKind.RUNNING:
            running.add(event.job_id)
        else:
            running.discard(event.job_id)  # a nap says nothing, so it has come to an end
        most = max(most, len(running))
    return most
