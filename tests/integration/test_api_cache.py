"""The cache and full queues as clients of the API and of the command line meet them."""

import re

import pytest

from penstock import AsyncClient, task
from penstock.cli import show
from penstock.core.errors import PenstockError
from penstock.core.submission import JobView

LOSS = {"task": "credit_loss", "params": {"load": 1_000}}


@task(cache="90s", data_version=lambda: "2026-01")
def priced(n: int = 0, name: str = "") -> int:
    """Something that costs time."""
    return n


async def ask(house, code=202, **fields):
    answer = await house.ask("POST", "/jobs", LOSS | fields)
    assert answer.status_code == code, answer.text
    return answer.json()


async def test_a_cached_answer_is_a_200_with_a_job_of_its_own(house):
    first = await ask(house)
    await house.hands.work()
    second = await ask(house, code=200)
    assert second["id"] != first["id"]
    told = (second["state"], second["result"], second["cached"], second["joined"], second["handled_by"])
    assert told == ("succeeded", 42, True, False, "hands")
    assert second["cache_key"] == first["cache_key"]
    assert re.fullmatch("[0-9a-f]{64}", first["cache_key"])
    assert await house.job(second["id"]) == second
    listed = (await house.ask("GET", "/jobs")).json()["jobs"]
    assert [(job["id"], job["cached"]) for job in listed] == [(second["id"], True), (first["id"], False)]


async def test_an_equal_job_in_flight_is_joined(house):
    first = await ask(house, priority="low")
    second = await ask(house, priority="high")
    assert (second["id"], second["joined"], second["waiters"], second["priority"]) == (
        first["id"],
        True,
        2,
        "high",
    )
    assert not (await house.job(first["id"]))["joined"]
    left = (await house.ask("DELETE", f"/jobs/{first['id']}")).json()
    assert (left["state"], left["waiters"]) == ("queued", 1)
    await ask(house)
    stopped = (await house.ask("DELETE", f"/jobs/{first['id']}?force=true")).json()
    assert stopped["state"] == "cancelled"


async def test_how_to_ask_around_the_cache(house):
    await ask(house)
    await house.hands.work()
    bypassing = await ask(house, cache="bypass")
    assert bypassing["cache_key"] is None
    refreshing = await ask(house, cache="refresh")
    assert (await ask(house, code=200))["cached"], "the old answer is given until there is a new one"
    await house.hands.work(2)
    assert refreshing["cached"] is refreshing["joined"] is False
    wrong = await house.ask("POST", "/jobs", LOSS | {"cache": "maybe"})
    assert (wrong.status_code, wrong.json()["error"]["details"]["fields"][0]["field"]) == (422, "cache")
    typed = await house.ask("POST", "/tasks/credit_loss/jobs?cache=bypass", LOSS["params"])
    assert (typed.status_code, typed.json()["cached"]) == (202, False)


async def test_a_batch_tells_what_became_of_each(house):
    await ask(house)
    await house.hands.work()
    other = {"task": "credit_loss", "params": {"load": 2_000}}
    told = (await house.ask("POST", "/batches", {"jobs": [LOSS, other, other]})).json()["receipts"]
    assert [each["admission"] for each in told] == ["cached", "accepted", "joined"]
    assert [each["job"]["cached"] for each in told] == [True, False, False]


async def test_a_task_acts_each_time_unless_it_says_otherwise(house):
    first = await house.submit()
    assert first != await house.submit()
    assert (await house.job(first))["cache_key"] is None
    shown = (await house.ask("GET", "/tasks/noop")).json()
    assert shown["cache_s"] is None
    assert (await house.ask("GET", "/tasks/credit_loss")).json()["cache_s"] == 43_200


async def test_a_retry_with_other_parameters_runs_whatever_is_known(house):
    await ask(house)
    await house.hands.work()
    job = await ask(house, cache="bypass")
    await house.ask("DELETE", f"/jobs/{job['id']}")
    again = await house.ask("POST", f"/jobs/{job['id']}/retry", {"params": LOSS["params"]})
    assert (again.status_code, again.json()["cached"], again.json()["parent_id"]) == (202, False, job["id"])


async def test_versions_of_task_and_data_are_part_of_the_key(open_house):
    keys = set()
    for version, data in (("1", "a"), ("2", "a"), ("1", "b")):
        other = task(cache=True, version=version, data_version=data, name="priced")(priced.function)
        house = await open_house([other])
        keys.add((await house.ask("POST", "/jobs", {"task": "priced"})).json()["cache_key"])
    assert len(keys) == 3


async def test_text_is_composed_where_answers_are_kept(open_house):
    house = await open_house([priced])
    asked = [{"task": "priced", "params": {"name": name}} for name in ("é", "e\u0301")]
    first, second = [(await house.ask("POST", "/jobs", each)).json() for each in asked]
    assert (second["id"], second["joined"], second["params"]) == (first["id"], True, {"n": 0, "name": "é"})


async def test_answers_are_forgotten_on_request(house):
    keys = [(await ask(house, params={"load": load}))["cache_key"] for load in (1_000, 2_000, 3_000)]
    await house.hands.work(3)
    assert (await house.ask("DELETE", f"/cache/{keys[0]}")).json() == {"removed": 1}
    assert (await house.ask("DELETE", f"/cache/{keys[0]}")).json() == {"removed": 0}
    await ask(house)
    assert (await house.ask("POST", "/cache/clear-all")).json() == {"removed": 2}
    await ask(house, params={"load": 2_000})
    assert (await house.ask("DELETE", "/cache/abc")).status_code == 422


async def test_what_the_cache_spared_is_told(house):
    await ask(house)
    await ask(house)
    await house.hands.work()
    for _ in range(2):
        await ask(house, code=200)
    told = (await house.ask("GET", "/stats")).json()["cache"]
    assert told == (await house.ask("GET", "/cache")).json()
    saved = told.pop("cpu_seconds_saved")
    assert told == {"entries": 1, "hits": 2, "misses": 1, "joined": 1, "hit_rate": 0.5}
    assert 0 <= saved < 60
    scraped = (await house.ask("GET", "/metrics")).text
    assert 'penstock_cache_lookups_total{found="answer"} 2.0' in scraped
    assert 'penstock_cache_lookups_total{found="job"} 1.0' in scraped
    assert "penstock_cache_entries 1.0" in scraped
    assert "penstock_cache_saved_seconds_total" in scraped


async def test_a_full_queue_is_a_503_that_says_when_to_come_back(open_house):
    house = await open_house(max_depth=2)
    for _ in range(2):
        await house.submit()
    refused = await house.ask("POST", "/jobs", {"task": "noop"}, idempotency_key="mine")
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (503, "QUEUE_FULL")
    assert error["details"] == {"queue": "default", "depth": 2, "limit": 2}
    assert refused.headers["retry-after"] == "5", "nothing has ended yet"
    assert await house.stored() == 2
    batch = (await house.ask("POST", "/batches", {"jobs": [{"task": "noop"}]})).json()["receipts"]
    assert (batch[0]["status"], batch[0]["error"]["code"]) == (503, "QUEUE_FULL")
    await house.hands.work()
    retried = await house.ask("POST", "/jobs", {"task": "noop"}, idempotency_key="mine")
    assert retried.status_code == 202
    again = await house.ask("POST", "/jobs", {"task": "noop"})
    assert (again.status_code, 1 <= int(again.headers["retry-after"]) <= 60) == (503, True)


async def test_a_queue_is_given_a_limit_of_its_own(house):
    told = await house.ask("PUT", "/queues/night", {"max_depth": 0})
    assert told.json() == {"name": "night", "max_depth": 0}
    assert (await house.ask("POST", "/jobs", {"task": "noop", "queue": "night"})).status_code == 503
    await house.submit()
    queues = {each["name"]: each for each in (await house.ask("GET", "/queues")).json()["queues"]}
    assert {name: each["max_depth"] for name, each in queues.items()} == {"night": 0, "default": 100_000}
    assert queues["default"]["drain_per_s"] == 0
    assert (await house.ask("PUT", "/queues/night", {"max_depth": None})).status_code == 200
    assert (await house.ask("POST", "/jobs", {"task": "noop", "queue": "night"})).status_code == 202
    for wrong in ({}, {"max_depth": -1}, {"max_depth": "many"}, {"max_depth": 1, "depth": 2}):
        assert (await house.ask("PUT", "/queues/night", wrong)).status_code == 422
    assert 'penstock_queue_max_depth{queue="night"} 100000.0' in (await house.ask("GET", "/metrics")).text


async def test_the_client_tells_how_a_job_was_answered(house):
    async with AsyncClient("http://house", transport=house.transport) as client:
        first = await client.submit("credit_loss", {"load": 1_000})
        joined = await client.submit("credit_loss", {"load": 1_000})
        assert (first.joined, joined.joined, joined.waiters) == (False, True, 2)
        assert (await client.cancel(first.id)).state == "queued"
        await house.hands.work()
        cached = await client.submit("credit_loss", {"load": 1_000})
        assert (cached.cached, cached.final, cached.result) == (True, True, 42)
        fresh = await client.submit("credit_loss", {"load": 1_000}, cache="bypass")
        assert (fresh.cached, fresh.final) == (False, False)
        assert (await client.cancel(fresh.id, force=True)).state == "cancelled"
        await house.ask("PUT", "/queues/default", {"max_depth": 0})
        with pytest.raises(PenstockError, match="is full") as refused:
            await client.submit("noop")
        assert refused.value.code == "QUEUE_FULL"
        assert 1 <= refused.value.retry_after_s <= 60


async def test_the_command_line_shows_how_a_job_was_answered(house, capsys):
    for _ in range(2):
        show.job_line(JobView.model_validate(await ask(house)))
    await house.hands.work()
    cached = JobView.model_validate(await ask(house, code=200))
    show.job_line(cached)
    show.job_details(cached)
    printed = capsys.readouterr().out.splitlines()
    lines = [line for line in printed if "request" not in line]
    assert [("cached" in line, "joined" in line) for line in lines[:3]] == [
        (False, False),
        (False, True),
        (True, False),
    ]
    assert any(line.split()[:2] == ["cache", "key"] and cached.cache_key in line for line in lines)
