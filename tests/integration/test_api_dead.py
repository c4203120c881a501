"""Dead letters over HTTP: looked at, retried and purged, by id and by filter."""

from datetime import UTC, datetime, timedelta

import pytest

from penstock.core.dead import DeadList, DeadReport
from penstock.core.job import JobError
from penstock.core.lifecycle import Failed, Released

BROKEN = Failed(JobError("TASK_ERROR", "it broke", "Traceback …"), permanent=True)
CRASHED = Failed(JobError("CRASHED", "SIGSEGV"), permanent=True, crashed=True)


async def dead_job(house, outcome=BROKEN, **body):
    """The id of a job that has just failed for good."""
    answer = await house.ask("POST", "/jobs", {"task": "noop"} | body)
    await house.hands.end((await house.hands.take(queue=body.get("queue", "default")))[0], outcome)
    return answer.json()["id"]


async def listed(house, query=""):
    answer = await house.ask("GET", f"/dead{query}")
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["dead"]]


async def done(house, method, path, body=None):
    answer = await house.ask(method, path, body)
    assert answer.status_code == 200, answer.text
    return DeadReport.model_validate(answer.json())


async def test_a_dead_letter_shows_error_traceback_and_attempts(house):
    job_id = await house.submit()
    await house.hands.work(outcome=Released())
    await house.hands.work(outcome=CRASHED)
    await house.submit()
    answer = (await house.ask("GET", "/dead")).json()
    (dead,) = DeadList.model_validate(answer).dead
    assert (dead.id, dead.state, dead.crashes) == (job_id, "failed", 1)
    assert (dead.error.code, dead.error.message) == ("CRASHED", "SIGSEGV")
    assert [(one.attempt, one.outcome, one.code) for one in dead.attempts] == [
        (1, "released", None),
        (1, "failed", "CRASHED"),
    ]
    assert {one.worker for one in dead.attempts} == {"hands/1"}
    assert dead.attempts[-1].ended_at == dead.finished_at
    assert answer["next"] is None
    attempts = (await house.ask("GET", f"/jobs/{job_id}/attempts")).json()["attempts"]
    assert attempts == answer["dead"][0]["attempts"]


async def test_attempts_of_a_success_and_of_nobody(house):
    job_id = await house.submit()
    assert (await house.ask("GET", f"/jobs/{job_id}/attempts")).json() == {"attempts": []}
    await house.hands.work()
    (attempt,) = (await house.ask("GET", f"/jobs/{job_id}/attempts")).json()["attempts"]
    job = await house.job(job_id)
    assert (attempt["outcome"], attempt["worker"]) == ("succeeded", "hands/1")
    assert (attempt["started_at"], attempt["ended_at"]) == (job["started_at"], job["finished_at"])
    assert (await house.ask("GET", "/jobs/nobody/attempts")).status_code == 404


async def test_dead_letters_are_filtered_and_come_in_pages(house):
    first = await dead_job(house)
    second = await dead_job(house, CRASHED, queue="night")
    third = await dead_job(house, task="nap")
    assert await listed(house) == [third, second, first]
    assert await listed(house, "?code=CRASHED") == await listed(house, "?queue=night") == [second]
    assert await listed(house, "?task=nap") == [third]
    hour = timedelta(hours=1)
    soon, ago = (each.isoformat().replace("+", "%2B") for each in (now() + hour, now() - hour))
    assert await listed(house, f"?ended_after={soon}") == await listed(house, f"?ended_before={ago}") == []
    assert await listed(house, f"?ended_after={ago}&ended_before={soon}&task=noop") == [second, first]
    page = (await house.ask("GET", "/dead?limit=2")).json()
    assert [job["id"] for job in page["dead"]] == [third, second]
    assert await listed(house, f"?limit=2&before={page['next']}") == [first]


def now():
    return datetime.now(UTC)


async def test_retry_by_ids_says_what_was_no_dead_letter(house):
    dead, other = await dead_job(house), await dead_job(house)
    alive = await house.submit()
    report = await done(house, "POST", "/dead/retry", {"ids": [dead, alive, "nobody"]})
    assert (report.count, report.ids, report.skipped) == (1, [dead], [alive, "nobody"])
    job = await house.job(dead)
    assert (job["state"], job["attempt"], job["error"]) == ("queued", 0, None)
    assert await listed(house) == [other]


async def test_retry_by_filter_is_bounded_and_goes_on(house):
    jobs = [await dead_job(house) for _ in range(3)]
    other = await dead_job(house, CRASHED)
    choice = {"code": "TASK_ERROR", "limit": 2}
    report = await done(house, "POST", "/dead/retry", choice)
    assert (report.count, report.ids) == (2, jobs[:0:-1])
    report = await done(house, "POST", "/dead/retry", choice | {"before": report.next})
    assert (report.count, report.ids, report.next) == (1, jobs[:1], None)
    assert await listed(house) == [other]


async def test_purge_by_ids_by_filter_and_all(house):
    jobs = [await dead_job(house) for _ in range(5)]
    night = await dead_job(house, queue="night")
    alive = await house.submit()
    report = await done(house, "DELETE", f"/dead?ids={jobs[0]}&ids={jobs[1]}&ids={alive}")
    assert (report.count, report.skipped) == (2, [alive])
    assert (await done(house, "DELETE", "/dead?queue=night")).ids == [night]
    assert (await house.ask("GET", f"/jobs/{jobs[0]}")).status_code == 404
    report = await done(house, "DELETE", "/dead?all=true&limit=2")
    assert report.count == 2
    assert (await done(house, "DELETE", f"/dead?all=true&before={report.next}")).count == 1
    assert await listed(house) == []
    assert (await house.job(alive))["state"] == "queued"
    assert await house.stored() == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/dead/retry", {}),
        ("POST", "/dead/retry", {"ids": ["a"], "all": True}),
        ("POST", "/dead/retry", {"ids": ["a"], "task": "noop"}),
        ("POST", "/dead/retry", {"all": True, "code": "CRASHED"}),
        ("POST", "/dead/retry", {"code": "NO_SUCH"}),
        ("POST", "/dead/retry", {"all": True, "limit": 1_001}),
        ("POST", "/dead/retry", {"ids": ["a"] * 1_001}),
        ("POST", "/dead/retry", {"every": True}),
        ("DELETE", "/dead", None),
        ("DELETE", "/dead?limit=10", None),
        ("DELETE", "/dead?ended_before=yesterday", None),
        ("DELETE", "/dead?ended_before=2026-01-01T00:00:00", None),
        ("DELETE", "/dead?state=failed", None),
        ("GET", "/dead?code=NO_SUCH", None),
        ("GET", "/dead?colour=red", None),
    ],
)
async def test_an_unclear_choice_is_refused_and_changes_nothing(house, method, path, body):
    job_id = await dead_job(house)
    answer = await house.ask(method, path, body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["details"]["fields"]
    assert await listed(house) == [job_id]


async def test_a_retry_with_other_parameters_is_a_new_job(house):
    dead = await dead_job(house, queue="night", priority="high", params={"n": 1}, client="c")
    answer = await house.ask("POST", f"/jobs/{dead}/retry", {"params": {"n": 2}}, x_request_id="again-1")
    assert answer.status_code == 202
    job = answer.json()
    assert (job["parent_id"], job["params"], job["state"]) == (dead, {"n": 2}, "queued")
    assert (job["task"], job["queue"], job["priority"]) == ("noop", "night", "high")
    assert (job["request_id"], answer.headers["location"]) == ("again-1", f"/jobs/{job['id']}")
    assert (await house.job(job["id"]))["parent_id"] == dead
    assert await listed(house) == [dead], "the dead one stays"


async def test_a_retry_with_bad_parameters_is_refused_like_a_submission(house):
    dead = await dead_job(house)
    before = await house.stored()
    answer = await house.ask("POST", f"/jobs/{dead}/retry", {"params": {"n": "many"}})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["fields"][0]["field"] == "params.n"
    assert (await house.ask("POST", f"/jobs/{dead}/retry", {"parameters": {}})).status_code == 422
    assert await house.stored() == before
    alive = await house.submit()
    assert (await house.ask("POST", f"/jobs/{alive}/retry", {"params": {}})).status_code == 409
    assert (await house.ask("POST", "/jobs/nobody/retry", {"params": {}})).status_code == 404
    assert (await house.ask("POST", f"/jobs/{dead}/retry", {})).json()["id"] == dead
