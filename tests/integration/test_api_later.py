"""Jobs for later: at a time, or after others; and waiting for many with one request."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from penstock.core.job import JobError
from penstock.core.lifecycle import Failed

BROKEN = Failed(JobError("TASK_ERROR", "it broke"), permanent=True)


async def submitted(house, **options):
    answer = await house.ask("POST", "/jobs", {"task": "noop"} | options)
    assert answer.status_code in {200, 202}, answer.text
    return answer.json()


def problem(answer):
    assert answer.status_code == 422, answer.text
    (only,) = answer.json()["error"]["details"]["fields"]
    return only["field"].removeprefix("body."), only["problem"]


@pytest.mark.parametrize("zone", ["+00:00", "+05:30"])
async def test_run_at_is_an_instant_in_any_zone(house, zone):
    due = datetime.now(UTC) + timedelta(hours=2)
    offset = datetime.fromisoformat(f"2026-01-01T00:00:00{zone}").tzinfo
    job = await submitted(house, run_at=due.astimezone(offset).isoformat())
    assert job["state"] == "scheduled"
    assert abs(datetime.fromisoformat(job["due_at"]) - due) < timedelta(seconds=5)


async def test_run_at_in_the_past_is_now(house):
    assert (await submitted(house, run_at="2020-01-01T00:00:00Z"))["state"] == "queued"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"run_at": "2030-01-01T00:00:00"}, "run_at"),
        ({"run_at": "soon"}, "run_at"),
        ({"run_at": "2200-01-01T00:00:00Z"}, "run_at"),
        ({"run_at": "2020-01-01T00:00:00Z", "delay_s": 1}, "run_at"),
        ({"after": ["nobody"]}, "after[0]"),
        ({"after": ["x"] * 1001}, "after"),
        ({"after_failure": "explode"}, "after_failure"),
    ],
)
async def test_what_cannot_be_is_told_with_its_field(house, options, field):
    answer = await house.ask("POST", "/jobs", {"task": "noop"} | options)
    assert problem(answer)[0].endswith(field)
    assert await house.stored() == 0


async def test_a_job_shows_for_which_it_waits(house):
    first = await submitted(house)
    second = await submitted(house, after=[first["id"]])
    assert (second["state"], second["after"], second["waits"]) == ("scheduled", [first["id"]], True)
    assert second["due_at"] == second["created_at"]
    await house.hands.work()
    second = await house.job(second["id"])
    assert (second["state"], second["waits"]) == ("queued", False)


async def test_a_failure_goes_down_the_chain_and_says_so(house):
    first = await submitted(house)
    second = await submitted(house, after=[first["id"]])
    anyway = await submitted(house, after=[first["id"]], after_failure="run")
    await house.hands.work(1, BROKEN)
    second = await house.job(second["id"])
    assert (second["state"], second["error"]["code"]) == ("cancelled", "CANCELLED")
    assert first["id"] in second["error"]["message"]
    assert (await house.job(anyway["id"]))["state"] == "queued"


async def test_in_a_batch_only_who_waits_for_nobody_known_is_refused(house):
    first = await submitted(house)
    jobs = [{"task": "noop", "after": [first["id"]]}, {"task": "noop", "after": [first["id"], "nobody"]}]
    receipts = (await house.ask("POST", "/batches", {"jobs": jobs})).json()["receipts"]
    assert receipts[0]["job"]["waits"] is True
    assert receipts[1]["error"]["details"]["fields"] == [
        {"field": "after[1]", "problem": "there is no job nobody"}
    ]


async def test_who_waits_for_many_hears_of_the_first_end(house):
    ids = [(await submitted(house))["id"] for _ in range(30)]
    waiting = asyncio.create_task(house.ask("POST", "/waits", {"ids": ids, "wait": 20}))
    claims = await house.hands.take(30)
    await house.hands.end(claims[3])
    answer = (await waiting).json()
    assert [job["id"] for job in answer["jobs"]] == [claims[3].spec.id]
    assert answer["jobs"][0]["result"] == 42
    waiting = asyncio.create_task(house.ask("POST", "/waits", {"ids": ids[4:], "wait": 20}))
    await house.hands.end(claims[29])  # which is not among those that are watched
    assert [job["id"] for job in (await waiting).json()["jobs"]] == [claims[29].spec.id]


async def test_waits_end_with_the_time_and_tell_of_ids_that_are_none(house):
    job = await submitted(house)
    answer = await house.ask("POST", "/waits", {"ids": [job["id"]], "wait": 0.05})
    assert answer.json() == {"jobs": [], "unknown": []}
    answer = await house.ask("POST", "/waits", {"ids": [job["id"], "nobody"], "wait": 20})
    assert answer.json() == {"jobs": [], "unknown": ["nobody"]}
