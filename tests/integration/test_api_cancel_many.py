"""Many jobs are cancelled with one request: by ids, by what they have in common, or all of them."""

import asyncio

import pytest

from penstock import AsyncClient, Client, JobFailed
from penstock.client import choosing
from penstock.core.cancelling import CancelReport
from penstock.core.job import JobError
from penstock.core.keys import Role, Sees, entry, mint
from penstock.core.lifecycle import Failed
from support.served import served

BROKEN = Failed(JobError("TASK_ERROR", "it broke"), permanent=True)


async def cancelled(house, query):
    answer = await house.ask("DELETE", f"/jobs?{query}")
    assert answer.status_code == 200, answer.text
    return CancelReport.model_validate(answer.json())


async def submit(house, **body):
    answer = await house.ask("POST", "/jobs", {"task": "noop"} | body)
    return answer.json()["id"]


async def states(house):
    jobs = (await house.ask("GET", "/jobs?limit=1000")).json()["jobs"]
    return {job["id"]: job["state"] for job in jobs}


async def test_a_filter_stops_what_matches_and_nothing_else(house):
    long = [await submit(house, queue="long"), await submit(house, queue="long", delay_s=100)]
    other = await submit(house)
    report = await cancelled(house, "queue=long")
    assert (report.count, sorted(report.ids), report.skipped, report.next) == (2, long, [], None)
    assert await states(house) == dict.fromkeys(long, "cancelled") | {other: "queued"}
    assert (await cancelled(house, "queue=long")).count == 0


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("task=nap", {"nap"}),
        ("client=ada", {"ada"}),
        ("state=scheduled", {"late"}),
        ("state=running", {"run"}),
    ],
)
async def test_each_filter(house, query, meant):
    ids = {"run": await submit(house, priority="high")}
    await house.hands.take()
    ids["nap"] = await submit(house, task="nap", params={"seconds": 1})
    ids["ada"] = await submit(house, client="ada")
    ids["late"] = await submit(house, delay_s=100)
    assert set((await cancelled(house, query)).ids) == {ids[name] for name in meant}


async def test_all_stops_what_runs_too_and_leaves_what_has_ended(house):
    done, running, waiting = [await submit(house) for _ in range(3)]
    await house.hands.work()
    await house.hands.take()
    assert (await cancelled(house, "all=true")).ids == [waiting, running]
    assert (await house.job(running))["cancel_requested"] is True
    assert (await states(house))[done] == "succeeded"


async def test_ids_that_cannot_be_stopped_are_told(house):
    done, waiting = [await submit(house) for _ in range(2)]
    await house.hands.work()
    report = await cancelled(house, f"ids={done}&ids={waiting}&ids=nobody")
    assert (report.ids, report.skipped) == ([waiting], [done, "nobody"])


@pytest.mark.parametrize("query", ["", "all=false", "ids=x&queue=long", "queue=long&all=true", "force=true"])
async def test_an_unclear_choice_stops_nothing(house, query):
    job_id = await submit(house, queue="long")
    answer = await house.ask("DELETE", f"/jobs?{query}")
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["fields"][0]["field"] == "ids"
    assert await states(house) == {job_id: "queued"}


@pytest.mark.parametrize("name", ["task", "queue", "client", "state"])
async def test_an_empty_filter_is_refused(house, name):
    answer = await house.ask("DELETE", f"/jobs?{name}=")
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["fields"][0]["field"] == name


async def test_a_job_that_others_wait_for_goes_on_unless_by_force(house):
    load = {"task": "credit_loss", "params": {"load": 1000}}
    shared = await submit(house, **load)
    assert await submit(house, **load) == shared
    for _ in range(3):  # whoever repeats it does not make one after the other leave
        report = await cancelled(house, "task=credit_loss")
        assert (report.ids, report.skipped) == ([], [shared])
    assert await states(house) == {shared: "queued"}
    assert (await cancelled(house, "task=credit_loss&force=true")).ids == [shared]


async def test_pages_go_on_until_nothing_is_left(house):
    ids = [await submit(house) for _ in range(5)]
    first = await cancelled(house, "all=true&limit=2")
    assert (first.ids, first.next) == ([ids[4], ids[3]], ids[3])
    async with AsyncClient("http://house", transport=house.transport) as client:
        rest = await client.cancel_many(task="noop", limit=2)
    assert (rest.count, rest.ids) == (3, ids[2::-1])


async def test_who_is_no_administrator_stops_its_own_jobs_alone(open_house):
    roles = {"ada": Role.SUBMIT, "bob": Role.SUBMIT, "ops": Role.ADMIN}
    made = {name: mint(name, role, sees=Sees.ALL) for name, role in roles.items()}
    house = await open_house(api_keys=tuple(entry(key) for _, key in made.values()))

    async def ask(name, method, path, body=None):
        return await house.ask(method, path, body, **{"X-API-Key": made[name][0]})

    theirs, own = [
        (await ask(name, "POST", "/jobs", {"task": "noop"})).json()["id"] for name in ("bob", "ada")
    ]
    by_id = (await ask("ada", "DELETE", f"/jobs?ids={theirs}")).json()
    assert (by_id["count"], by_id["skipped"]) == (0, [theirs])
    assert (await ask("ada", "DELETE", "/jobs?client=bob")).status_code == 403
    assert (await ask("ada", "DELETE", "/jobs?all=true")).json()["ids"] == [own]
    assert (await ask("ops", "DELETE", "/jobs?all=true")).json()["ids"] == [theirs]


async def test_jobs_are_named_in_as_many_requests_as_it_takes(house, monkeypatch):
    monkeypatch.setattr(choosing, "PIECE", 2)
    ids = [await submit(house) for _ in range(5)]
    async with AsyncClient("http://house", transport=house.transport) as client:
        assert (await client.cancel_many([])).count == 0
        assert (await client.cancel_many([client.handle(ids[0]), *ids[1:]])).ids == ids


async def test_equal_inputs_of_a_set_are_left_as_often_as_they_are_waited_for(house):
    async with AsyncClient("http://house", transport=house.transport) as client:
        same = [{"load": 1000}, {"load": 2000}, {"load": 2000}, {"load": 2000}]
        found = client.map("credit_loss", same, cancel_rest=True)
        reading = asyncio.create_task(anext(found))
        await house.hands.work()
        await reading
        await found.aclose()
    assert sorted((await states(house)).values()) == ["cancelled", "succeeded"]


@pytest.mark.parametrize(("cancel_rest", "rest"), [(False, "queued"), (True, "cancelled")])
async def test_what_a_failure_leaves_of_a_set_is_cancelled_on_request(house, cancel_rest, rest):
    async with AsyncClient("http://house", transport=house.transport) as client:
        found = client.map("noop", [{"n": n} for n in range(3)], cancel_rest=cancel_rest)
        reading = asyncio.create_task(anext(found))
        await house.hands.work(outcome=BROKEN)
        with pytest.raises(JobFailed):
            await reading
    assert sorted((await states(house)).values()) == sorted(["failed", rest, rest])


async def test_a_closed_iterator_of_the_synchronous_client_cancels_too(house):
    def read(url):
        with Client(url) as client:
            found = client.map("noop", [{"n": 0}, {"n": 1}, {"n": 2}], cancel_rest=True, progress=False)
            next(found)
            found.close()

    async with served(house.app) as url:
        reading = asyncio.create_task(asyncio.to_thread(read, url))
        await house.hands.work()
        await reading
    assert sorted((await states(house)).values()) == ["cancelled", "cancelled", "succeeded"]
