"""The optimiser's own body at ``POST /jobs``, told apart from a submission, and its five fields."""

import pytest

from penstock.core.catalog import load

DEMAND = {
    "demand_df": {"habitat_name": ["Ditches"], "units_required": [0.5]},
    "target_lpa": "Bristol",
    "target_nca": "Cotswolds",
}


@pytest.fixture
async def house(open_house):
    return await open_house([load(())["habitat_allocation"]])


async def test_a_demand_goes_from_queued_over_started_to_finished(house):
    made = await house.ask("POST", "/jobs", DEMAND)
    told = made.json()
    assert made.status_code == 202
    assert told == {
        "job_id": told["job_id"],
        "status": "queued",
        "result": None,
        "error": None,
        "cached": False,
    }
    assert made.headers["location"] == f"/jobs/{told['job_id']}"
    (claim,) = await house.hands.take()
    job = await house.job(told["job_id"])
    assert (job["job_id"], job["status"], job["state"]) == (job["id"], "started", "running")
    assert job["task"] == "habitat_allocation"
    await house.hands.end(claim)
    assert (await house.job(told["job_id"]))["status"] == "finished"
    again = await house.ask("POST", "/jobs", DEMAND)
    assert again.status_code == 200
    assert again.json() | {"job_id": ""} == {
        "job_id": "",
        "status": "finished",
        "result": 42,
        "error": None,
        "cached": True,
    }


async def test_a_failed_and_a_cancelled_one_are_failed(house):
    made = (await house.ask("POST", "/jobs", DEMAND)).json()
    await house.ask("DELETE", f"/jobs/{made['job_id']}")
    job = await house.job(made["job_id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "CANCELLED")


async def test_a_query_an_idempotency_key_and_a_charset_do_not_change_the_answers_shape(house):
    first = await house.ask("POST", "/jobs", DEMAND, idempotency_key="k")
    second = await house.ask("POST", "/jobs?wait=0.01", DEMAND, idempotency_key="k")
    third = await house.http.post(
        "/jobs",
        content='{"demand_df":{"habitat_name":["Ditches"],"units_required":[0.5]},"target_lpa":"Bristol",'
        '"target_nca":"Cotswolds"}',
        headers={"Content-Type": "application/json; charset=utf-8"},
    )
    ids = {each.json()["job_id"] for each in (first, second, third)}
    assert len(ids) == 1  # the third shares the job in flight


async def test_a_submission_with_task_is_answered_as_ever(house):
    made = await house.ask("POST", "/jobs", {"task": "habitat_allocation", "params": DEMAND})
    assert "status" not in made.json()
    assert made.json()["id"]
    other = await house.ask("GET", f"/jobs/{await house.submit('noop')}")
    assert "status" not in other.json()


@pytest.mark.parametrize("body", [{"demand_df": None}, DEMAND | {"colour": 1}])
async def test_a_demand_that_is_none_is_refused(house, body):
    refused = await house.ask("POST", "/jobs", body)
    assert refused.status_code == 422
    named = [each["field"] for each in refused.json()["error"]["details"]["fields"]]
    assert named
    assert not any(each.startswith("params") for each in named)
    assert await house.stored() == 0


async def test_a_body_with_both_is_a_misshapen_submission(house):
    refused = await house.ask("POST", "/jobs", DEMAND | {"task": "habitat_allocation"})
    named = [each["field"] for each in refused.json()["error"]["details"]["fields"]]
    assert (refused.status_code, sorted(named)) == (422, sorted(DEMAND))


async def test_the_document_has_the_parameters_at_the_tasks_own_route(house):
    document = (await house.ask("GET", "/openapi.json")).json()
    schemas = document["components"]["schemas"]
    assert schemas["SubmissionOrDemand"] == schemas["Submission"]
    body = document["paths"]["/tasks/habitat_allocation/jobs"]["post"]["requestBody"]
    named = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert "demand_df" in schemas[named]["required"]
    assert "demand_df" in document["paths"]["/jobs"]["post"]["description"]
