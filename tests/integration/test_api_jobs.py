"""Jobs over HTTP: submit, look, wait, list, cancel, retry, in batches and with keys."""

import asyncio
import time

import pytest

from penstock.core.job import JobError, State
from penstock.core.lifecycle import Failed
from penstock.core.submission import JobView

BROKEN = Failed(JobError("TASK_ERROR", "it broke", "Traceback …"), permanent=True)

LISTED_IN_THE_DESIGN = {
    *("id", "task", "state", "queue", "priority", "params", "result", "error", "progress", "attempt"),
    *("max_attempts", "cached", "joined", "created_at", "started_at", "finished_at", "initiated_by"),
    *("handled_by", "checked_by", "request_id", "parent_id", "after", "waits", "position", "eta_s"),
}
ADDED = {"waiters", "cache_key", "due_at", "losses", "crashes", "cancel_requested", "parts", "part"}


async def test_submission_is_accepted_and_kept(house):
    answer = await house.ask("POST", "/jobs", {"task": "noop", "params": {"n": 3}})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    (kept,) = await house.broker.get([job["id"]])
    assert (kept.state, bytes(kept.spec.params)) == (State.QUEUED, b'{"n":3}')


async def test_location_leads_to_the_job(house):
    answer = await house.ask("POST", "/jobs", {"task": "noop"})
    assert (await house.ask("GET", answer.headers["location"])).json()["id"] == answer.json()["id"]


async def test_options_of_a_submission_are_kept(house):
    wanted = {
        "queue": "night",
        "priority": "high",
        "delay_s": 60,
        "timeout_s": 2.5,
        "max_attempts": 7,
        "client": "desk",
        "idempotency_key": "k",
    }
    answer = await house.ask("POST", "/jobs", {"task": "noop", "params": {}} | wanted)
    job = answer.json()
    told = {"queue": "night", "priority": "high", "max_attempts": 7, "state": "scheduled"}
    assert told.items() <= job.items()
    (kept,) = await house.broker.get([job["id"]])
    spec = kept.spec
    assert (spec.delay_ms, spec.limits.timeout_ms, spec.client, spec.idempotency_key) == (
        60_000,
        2_500,
        "desk",
        "k",
    )


async def test_defaults_of_parameters_are_filled_in(house):
    assert (await house.job(await house.submit()))["params"] == {"n": 0}


@pytest.mark.parametrize(
    ("task", "params"),
    [("noop", {"n": 5}), ("credit_loss", {"load": 10, "macro": {"unemployment": 6.5}}), ("nap", {})],
)
async def test_typed_submission_takes_the_parameters_alone(house, task, params):
    answer = await house.ask("POST", f"/tasks/{task}/jobs", params)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert job["task"] == task
    assert params.items() <= {name: job["params"].get(name) for name in params}.items() or "macro" in params
    assert answer.headers["location"] == f"/jobs/{job['id']}"


async def test_typed_and_plain_submission_mean_the_same_work(house):
    plain = await house.ask(
        "POST", "/jobs", {"task": "credit_loss", "params": {"load": 10}, "idempotency_key": "same"}
    )
    typed = await house.ask("POST", "/tasks/credit_loss/jobs?idempotency_key=same", {"load": 10.0})
    assert typed.json()["id"] == plain.json()["id"]


async def test_typed_submission_takes_options_in_the_query(house):
    path = "/tasks/noop/jobs?priority=low&queue=slow&max_attempts=2&delay_s=5&wait=0.01"
    job = (await house.ask("POST", path, {})).json()
    wanted = {"priority": "low", "queue": "slow", "max_attempts": 2, "state": "scheduled"}
    assert wanted.items() <= job.items()


@pytest.mark.parametrize("path", ["/jobs?wait=20", "/tasks/noop/jobs?wait=20"])
async def test_submission_may_wait_for_the_answer(house, path):
    body = {"task": "noop", "params": {}} if path.startswith("/jobs") else {}
    asking = asyncio.create_task(house.ask("POST", path, body))
    await house.hands.work()
    answer = await asking
    assert (answer.status_code, answer.json()["state"], answer.json()["result"]) == (200, "succeeded", 42)


async def test_submission_that_waits_in_vain_is_still_accepted(house):
    answer = await house.ask("POST", "/jobs?wait=0.05", {"task": "noop"})
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")


async def test_get_waits_until_the_job_ends_and_no_longer(house):
    job_id = await house.submit()
    began = time.monotonic()
    asking = asyncio.create_task(house.ask("GET", f"/jobs/{job_id}?wait=60"))
    await house.hands.work()
    job = (await asking).json()
    assert (job["state"], job["result"]) == ("succeeded", 42)
    assert time.monotonic() - began < 20


async def test_get_waits_for_a_failure_and_a_cancellation_too(house):
    failing, unwanted = await house.submit(), await house.submit()
    asking = [asyncio.create_task(house.ask("GET", f"/jobs/{each}?wait=60")) for each in (failing, unwanted)]
    await house.hands.work(1, BROKEN)
    await house.ask("DELETE", f"/jobs/{unwanted}")
    assert [(await each).json()["state"] for each in asking] == ["failed", "cancelled"]


async def test_get_gives_the_state_at_the_deadline(house):
    job_id = await house.submit()
    began = time.monotonic()
    answer = await house.ask("GET", f"/jobs/{job_id}?wait=0.2")
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")
    assert time.monotonic() - began >= 0.2


async def test_get_of_an_ended_job_does_not_wait(house):
    job_id = await house.submit()
    await house.hands.work()
    began = time.monotonic()
    assert (await house.ask("GET", f"/jobs/{job_id}?wait=60")).json()["state"] == "succeeded"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "?wait=60"), ("DELETE", ""), ("POST", "/retry")]
)
async def test_unknown_job_is_not_found_at_once(house, method, path):
    began = time.monotonic()
    answer = await house.ask(method, f"/jobs/no-such-job{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "JOB_NOT_FOUND")
    assert "no-such-job" in answer.json()["error"]["message"]
    assert time.monotonic() - began < 20


async def test_failed_job_tells_why(house):
    job_id = await house.submit()
    await house.hands.work(1, BROKEN)
    job = await house.job(job_id)
    assert (job["state"], job["error"]) == (
        "failed",
        {"code": "TASK_ERROR", "message": "it broke", "detail": "Traceback …"},
    )


async def test_three_identities_and_reading_changes_none(house, open_house):
    other = await open_house(node="other")
    job_id = await house.submit()
    await house.hands.work()
    seen_there = await other.job(job_id)
    seen_here = await house.job(job_id)
    identities = ("initiated_by", "handled_by", "checked_by")
    assert [seen_here[name] for name in identities] == ["house", "hands", "house"]
    assert [seen_there[name] for name in identities] == ["house", "hands", "other"]
    assert {**seen_here, "checked_by": ""} == {**seen_there, "checked_by": ""}


async def test_progress_is_seen(house):
    job_id = await house.submit()
    (claim,) = await house.hands.take()
    await house.hands.say(claim, 0.5, "half way")
    assert (await house.job(job_id))["progress"] == {"fraction": 0.5, "message": "half way"}
    await house.hands.end(claim)
    assert (await house.job(job_id))["progress"] == {"fraction": 1.0, "message": ""}


async def test_view_has_the_fields_that_clients_rely_on(house):
    job = await house.job(await house.submit())
    assert set(job) == set(JobView.model_fields) == LISTED_IN_THE_DESIGN | ADDED
    assert JobView.model_validate(job).model_dump(mode="json") == job


async def test_times_are_iso_8601_in_utc(house):
    job_id = await house.submit()
    await house.hands.work()
    job = await house.job(job_id)
    for name in ("created_at", "due_at", "started_at", "finished_at"):
        assert job[name].endswith("Z"), name
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]


async def test_list_is_newest_first_and_pages_to_the_end(house):
    ids = [await house.submit() for _ in range(7)]
    pages, before = [], ""
    while True:
        page = (await house.ask("GET", f"/jobs?limit=3{before}")).json()
        pages.append([job["id"] for job in page["jobs"]])
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert [job_id for page in pages for job_id in page] == ids[::-1]
    assert [len(page) for page in pages] == [3, 3, 1]


async def test_list_filters(house):
    done = await house.submit()
    await house.hands.work()
    waiting = await house.submit()
    other = await house.submit("nap")
    await house.ask("POST", "/jobs", {"task": "noop", "queue": "night"})

    async def listed(query):
        return [job["id"] for job in (await house.ask("GET", f"/jobs?{query}")).json()["jobs"]]

    assert await listed("state=succeeded") == [done]
    assert await listed("task=nap") == [other]
    assert await listed("state=queued&task=noop&queue=default") == [waiting]
    assert await listed("state=failed") == []
    assert await listed("task=no_such_task") == []


async def test_list_leaves_results_out(house):
    await house.submit()
    await house.hands.work()
    (job,) = (await house.ask("GET", "/jobs")).json()["jobs"]
    assert (job["state"], job["result"]) == ("succeeded", None)


async def test_cancel_of_a_waiting_job_ends_it(house):
    job_id = await house.submit()
    answer = await house.ask("DELETE", f"/jobs/{job_id}")
    assert (answer.status_code, answer.json()["state"], answer.json()["error"]["code"]) == (
        200,
        "cancelled",
        "CANCELLED",
    )


async def test_cancel_of_a_running_job_asks_it_to_stop(house):
    job_id = await house.submit()
    (claim,) = await house.hands.take()
    assert (await house.ask("DELETE", f"/jobs/{job_id}")).json()["state"] == "running"
    orders = await house.broker.renew(house.hands.info, [])
    assert claim.token in orders.cancel


async def test_cancel_of_an_ended_job_changes_nothing(house):
    job_id = await house.submit()
    await house.hands.work()
    before = await house.job(job_id)
    assert (await house.ask("DELETE", f"/jobs/{job_id}")).json() == before


@pytest.mark.parametrize("how", ["failed", "cancelled"])
async def test_retry_queues_an_unlucky_job_anew(house, how):
    job_id = await house.submit()
    await (house.hands.work(1, BROKEN) if how == "failed" else house.ask("DELETE", f"/jobs/{job_id}"))
    answer = await house.ask("POST", f"/jobs/{job_id}/retry")
    job = answer.json()
    assert (answer.status_code, job["state"], job["attempt"], job["error"]) == (202, "queued", 0, None)
    await house.hands.work()
    assert (await house.job(job_id))["state"] == "succeeded"


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
async def test_retry_of_any_other_job_is_a_conflict(house, state):
    job_id = await house.submit()
    if state != "queued":
        (claim,) = await house.hands.take()
        if state == "succeeded":
            await house.hands.end(claim)
    answer = await house.ask("POST", f"/jobs/{job_id}/retry")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["details"]) == (409, "CONFLICT", {"state": state})
    assert state in error["message"]
    assert (await house.job(job_id))["state"] == state


async def test_batch_is_answered_in_order_and_a_bad_job_keeps_no_other_out(house):
    jobs = [
        {"task": "noop", "params": {"n": 0}},
        {"task": "no_such_task"},
        {"task": "noop", "params": {"n": "x"}},
        {"task": "noop", "params": {"n": 3}, "queue": "night"},
    ]
    answer = await house.ask("POST", "/batches", {"jobs": jobs}, x_request_id="batch-1")
    first, unknown, wrong, last = answer.json()["receipts"]
    assert answer.status_code == 200
    assert (first["admission"], first["job"]["params"]) == ("accepted", {"n": 0})
    assert (last["admission"], last["job"]["params"], last["job"]["queue"]) == ("accepted", {"n": 3}, "night")
    assert (unknown["status"], unknown["error"]["code"]) == (404, "TASK_UNKNOWN")
    assert (wrong["status"], wrong["error"]["details"]["fields"][0]["field"]) == (422, "params.n")
    assert {each["error"]["request_id"] for each in (unknown, wrong)} == {"batch-1"}
    assert await house.stored() == 2


async def test_misshapen_submission_of_a_batch_gets_its_own_receipt(house):
    bad = [{"task": "noop", "priority": "urgent"}, 17, {}, {"task": "noop", "params": {}, "surprise": 1}]
    answer = await house.ask("POST", "/batches", {"jobs": [{"task": "noop"}, *bad, {"task": "noop"}]})
    first, *refused, last = answer.json()["receipts"]
    assert (answer.status_code, first["admission"], last["admission"]) == (200, "accepted", "accepted")
    assert [(each["status"], each["error"]["code"]) for each in refused] == [(422, "VALIDATION_ERROR")] * 4
    named = [each["error"]["details"]["fields"][0]["field"] for each in refused]
    assert named == ["priority", "submission", "task", "surprise"]
    assert refused[0]["error"]["request_id"] == answer.headers["x-request-id"]
    assert await house.stored() == 2


@pytest.mark.parametrize("where", ["header", "field"])
async def test_same_key_gives_the_same_job(house, where):
    async def submitted(n):
        body = {"task": "noop", "params": {"n": n}}
        if where == "field":
            return await house.ask("POST", "/jobs", body | {"idempotency_key": "once"})
        return await house.ask("POST", "/jobs", body, idempotency_key="once")

    first, second, other = [await submitted(n) for n in (1, 1, 2)]
    assert first.json()["id"] == second.json()["id"]
    assert second.status_code == 202
    error = other.json()["error"]
    assert (other.status_code, error["code"], error["details"]["job_id"]) == (
        409,
        "CONFLICT",
        first.json()["id"],
    )
    assert await house.stored() == 1


async def test_key_repeats_the_answer_of_a_job_that_ended(house):
    body = {"task": "noop", "idempotency_key": "once"}
    first = (await house.ask("POST", "/jobs", body)).json()
    await house.hands.work()
    again = await house.ask("POST", "/jobs", body)
    assert (again.status_code, again.json()["id"], again.json()["result"]) == (200, first["id"], 42)


async def test_keys_of_different_clients_do_not_meet(house):
    ids = {
        (await house.ask("POST", "/jobs", {"task": "noop", "idempotency_key": "k", "client": who})).json()[
            "id"
        ]
        for who in ("a", "b")
    }
    assert len(ids) == 2


async def test_key_in_the_header_of_a_typed_submission(house):
    ids = {
        (await house.ask("POST", "/tasks/noop/jobs", {}, idempotency_key="k")).json()["id"] for _ in range(2)
    }
    assert len(ids) == 1
