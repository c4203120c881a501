"""Bad input gets a clear error that names the field, and is never stored."""

import json
from typing import Any

import pytest
import pytest_asyncio

from penstock import task

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/json"}
HUGE = "1" + "0" * 5_000


@task
def anything(payload: Any = None, *, rate: float = 0.0) -> Any:
    return payload


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(house_in, tmp_path_factory):
    """One for all, as nothing of what is sent here is to leave a trace."""
    async with house_in(tmp_path_factory.mktemp("house"), [anything]) as shared:
        yield shared


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def nothing_stored(house):
    before = await house.stored()
    yield
    assert await house.stored() == before


def deep(levels):
    return "[" * levels + "]" * levels


def error_of(answer):
    """What stands in the envelope, after a look at its shape."""
    body = answer.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"code", "message", "details", "request_id"}
    assert error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    return error


def job(**fields):
    return json.dumps({"task": "credit_loss", "params": {"load": 10}} | fields)


def loss(**params):
    return json.dumps({"task": "credit_loss", "params": {"load": 10} | params})


INVALID = (422, "VALIDATION_ERROR")
REFUSED = (400, "INVALID_REQUEST")
UNKNOWN = (404, "TASK_UNKNOWN")

SUBMISSIONS = [
    # what the body says, the status and code it gets, the field that is named
    (job(task="no_such_task"), UNKNOWN, None),
    (job(task=""), UNKNOWN, None),
    (job(task=7), INVALID, "task"),
    (job(task="x" * 101), INVALID, "task"),
    ('{"params": {}}', INVALID, "task"),
    (job(params=[]), INVALID, "params"),
    (job(params=None), INVALID, "params"),
    (job(surprise=1), INVALID, "surprise"),
    (job(priority="urgent"), INVALID, "priority"),
    (job(queue="no spaces"), INVALID, "queue"),
    (job(queue=""), INVALID, "queue"),
    (job(idempotency_key=""), INVALID, "idempotency_key"),
    (job(idempotency_key="k" * 201), INVALID, "idempotency_key"),
    (job(delay_s=-1), INVALID, "delay_s"),
    (job(delay_s=1e300), INVALID, "delay_s"),
    (job(delay_s=float("nan")), INVALID, "delay_s"),
    (job(timeout_s=0), INVALID, "timeout_s"),
    (job(timeout_s=float("inf")), INVALID, "timeout_s"),
    (job(max_attempts=0), INVALID, "max_attempts"),
    (job(max_attempts=101), INVALID, "max_attempts"),
    (job(after=["\ud800"]), INVALID, "after[0]"),
    (job(after=["x" * 101]), INVALID, "after[0]"),
    (loss(load=-1), INVALID, "params.load"),
    (loss(load=0), INVALID, "params.load"),
    (loss(load=10**30), INVALID, "params.load"),
    (loss(load=1.5), INVALID, "params.load"),
    (loss(load="many"), INVALID, "params.load"),
    (loss(load=None), INVALID, "params.load"),
    (loss(surprise=1), INVALID, "params.surprise"),
    (loss(lgd=float("nan")), INVALID, "params.lgd"),
    (loss(lgd=float("inf")), INVALID, "params.lgd"),
    (loss(lgd=float("-inf")), INVALID, "params.lgd"),
    ('{"task": "credit_loss", "params": {"load": 10, "lgd": 1e999}}', INVALID, "params.lgd"),
    (loss(macro={"unemployment": "high"}), INVALID, "params.macro.unemployment"),
    (loss(macro={"surprise": 1}), INVALID, "params.macro.surprise"),
    ('{"task": "credit_loss", "params": {}}', INVALID, "params.load"),
    ('{"task": "anything", "params": {"payload": [1, {"a": NaN}]}}', INVALID, "params.payload[1].a"),
    ('{"task": "credit_loss", "params": {"load": ' + HUGE + "}}", REFUSED, None),
    ('{"task": "credit_loss", "params": {"load": ' + deep(60) + "}}", INVALID, "params.load"),
    ('{"task": "credit_loss", "params": ' + deep(64) + "}", REFUSED, None),
    ('{"task": "credit_loss", "params": ' + deep(100_000) + "}", REFUSED, None),
    ('{"task": "credit_loss", "params": ' + '{"a":' * 100_000 + "1" + "}" * 100_001, REFUSED, None),
    (deep(100_000), REFUSED, None),
    ("[" * 100_000, REFUSED, None),
    ("", REFUSED, None),
    ("[]", REFUSED, None),
    ("null", REFUSED, None),
    ('"credit_loss"', REFUSED, None),
    ("17", REFUSED, None),
    ("NaN", REFUSED, None),
    ("{", REFUSED, None),
    ("{'task': 'credit_loss'}", REFUSED, None),
    ('{"task": "credit_loss",}', REFUSED, None),
    ('{"task": "credit_loss"} trailing', REFUSED, None),
    (b'{"task": "\xff\xfe"}', REFUSED, None),
    (b"\x00\x01\x02", REFUSED, None),
]


@pytest.mark.parametrize(("body", "expected", "field"), SUBMISSIONS, ids=range(len(SUBMISSIONS)))
async def test_bad_submission(house, body, expected, field):
    answer = await house.http.post("/jobs", content=body, headers=JSON)
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == expected
    if field is not None:
        assert field in [each["field"] for each in error["details"]["fields"]]
        assert field in error["message"]


TYPED = [
    ("{}", INVALID, "load"),
    ('{"load": -5}', INVALID, "load"),
    ('{"load": 10, "surprise": 1}', INVALID, "surprise"),
    ('{"load": NaN}', INVALID, "load"),
    ('{"load": 10, "lgd": Infinity}', INVALID, "lgd"),
    ('{"load": 10, "macro": {"unemployment": 99}}', INVALID, "macro.unemployment"),
    ('{"load": 10, "target_error": 0.1, "repeats": 2}', INVALID, "params"),
    ("[]", REFUSED, None),
    ("", REFUSED, None),
    ("{", REFUSED, None),
    (deep(100_000), REFUSED, None),
]


@pytest.mark.parametrize(("body", "expected", "field"), TYPED, ids=range(len(TYPED)))
async def test_bad_typed_submission(house, body, expected, field):
    answer = await house.http.post("/tasks/credit_loss/jobs", content=body, headers=JSON)
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == expected
    if field is not None:
        assert field in [each["field"] for each in error["details"]["fields"]]


async def test_every_bad_field_is_named_at_once(house):
    answer = await house.http.post("/jobs", content=loss(load=-1, lgd=2, seed="x"), headers=JSON)
    named = {each["field"] for each in error_of(answer)["details"]["fields"]}
    assert named == {"params.load", "params.lgd", "params.seed"}


BATCHES = ["", "[]", "{}", '{"jobs": []}', '{"jobs": 1}', '{"jobs": [1], "more": 1', deep(100_000)]


@pytest.mark.parametrize("body", BATCHES, ids=range(len(BATCHES)))
async def test_bad_batch(house, body):
    answer = await house.http.post("/batches", content=body, headers=JSON)
    error_of(answer)
    assert answer.status_code in (400, 422)


async def test_batch_has_a_greatest_length(house):
    body = json.dumps({"jobs": [{"task": "noop"}] * 10_001})
    answer = await house.http.post("/batches", content=body, headers=JSON)
    assert (answer.status_code, error_of(answer)["details"]["fields"][0]["field"]) == (422, "jobs")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", None])
async def test_body_must_say_that_it_is_json(house, kind):
    """A page of another site could send these without asking; JSON it could not."""
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await house.http.post("/jobs", content=job(), headers=headers)
    assert (answer.status_code, error_of(answer)["code"]) == REFUSED
    assert "application/json" in error_of(answer)["message"]


REQUESTS = [
    ("GET", "/nothing/here", (404, "NOT_FOUND"), None),
    ("PUT", "/jobs", (405, "INVALID_REQUEST"), None),
    ("PATCH", "/jobs/some-id", (405, "INVALID_REQUEST"), None),
    ("DELETE", "/tasks", (405, "INVALID_REQUEST"), None),
    ("GET", "/tasks/no_such_task", (404, "TASK_UNKNOWN"), None),
    ("POST", "/tasks/no_such_task/jobs", (404, "TASK_UNKNOWN"), None),
    ("GET", "/jobs?limit=0", (422, "VALIDATION_ERROR"), "limit"),
    ("GET", "/jobs?limit=1001", (422, "VALIDATION_ERROR"), "limit"),
    ("GET", "/jobs?limit=some", (422, "VALIDATION_ERROR"), "limit"),
    ("GET", "/jobs?limit=" + "9" * 400, (422, "VALIDATION_ERROR"), "limit"),
    ("GET", "/jobs?state=lost", (422, "VALIDATION_ERROR"), "state"),
    ("GET", "/jobs?stat=failed", (422, "VALIDATION_ERROR"), "stat"),
    ("GET", "/jobs/some-id?wait=-1", (422, "VALIDATION_ERROR"), "wait"),
    ("GET", "/jobs/some-id?wait=61", (422, "VALIDATION_ERROR"), "wait"),
    ("GET", "/jobs/some-id?wait=nan", (422, "VALIDATION_ERROR"), "wait"),
    ("GET", "/jobs/some-id?wait=inf", (422, "VALIDATION_ERROR"), "wait"),
    ("GET", "/jobs/some-id?wiat=5", (422, "VALIDATION_ERROR"), "wiat"),
    ("GET", "/jobs/" + "x" * 101, (422, "VALIDATION_ERROR"), "job_id"),
    ("DELETE", "/jobs/some-id?now=1", (422, "VALIDATION_ERROR"), "now"),
    ("DELETE", "/jobs/some-id?force=perhaps", (422, "VALIDATION_ERROR"), "force"),
    ("GET", "/jobs/%00", (404, "JOB_NOT_FOUND"), None),
    ("GET", "/jobs/%F0%9F%A6%86", (404, "JOB_NOT_FOUND"), None),
    ("GET", "/events?after=yesterday", (400, "INVALID_REQUEST"), None),
    ("GET", "/events?after=999999999999999999", (400, "INVALID_REQUEST"), None),
    ("GET", "/jobs/some-id/events?after=yesterday", (400, "INVALID_REQUEST"), None),
    ("GET", "/jobs/some-id/events", (404, "JOB_NOT_FOUND"), None),
    ("GET", "/stats?of=me", (422, "VALIDATION_ERROR"), "of"),
    ("POST", "/queues/no%20spaces/pause", (422, "VALIDATION_ERROR"), "name"),
    ("POST", "/queues/" + "q" * 101 + "/resume", (422, "VALIDATION_ERROR"), "name"),
]


@pytest.mark.parametrize(("method", "path", "expected", "field"), REQUESTS)
async def test_bad_request(house, method, path, expected, field):
    answer = await house.ask(method, path)
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == expected
    if field is not None:
        assert [each["field"] for each in error["details"]["fields"]] == [field]


@pytest.mark.parametrize(
    "query",
    ["priority=urgent", "prioritty=high", "max_attempts=0", "wait=61", "delay_s=nan", "idempotency-key=k"],
)
async def test_bad_option_of_a_typed_submission(house, query):
    answer = await house.ask("POST", f"/tasks/noop/jobs?{query}", {})
    assert answer.status_code == 422
    assert error_of(answer)["details"]["fields"][0]["field"] == query.partition("=")[0]


async def test_wrong_method_tells_the_right_ones(house):
    answer = await house.ask("PUT", "/livez")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("levels", [63, 300, 900, 100_000])
@pytest.mark.parametrize("path", ["/jobs", "/jobs?wait=0", "/tasks/anything/jobs", "/batches", "/dead/retry"])
async def test_what_is_nested_too_deeply_is_refused_on_every_way_in(house, path, levels):
    bodies = {"/tasks/anything/jobs": '{"payload": [%s]}', "/batches": '{"jobs": [%s]}'}
    body = bodies.get(path, '{"task": "anything", "params": {"payload": %s}}') % deep(levels)
    answer = await house.http.post(path, content=body, headers=JSON)
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (400, "INVALID_REQUEST")
    assert error["details"] == {"max_depth": 64}
    assert "64 levels" in error["message"]


async def test_text_that_is_no_unicode_is_refused(house):
    for body in (
        '{"task": "anything", "params": {"payload": "\\ud800"}}',
        '{"task": "anything", "params": {"\\ud800": 1}}',
        '{"task": "\\ud800"}',
        '{"\\ud800": 1}',
    ):
        answer = await house.http.post("/jobs", content=body, headers=JSON)
        error_of(answer)
        assert answer.status_code in (400, 404, 422), body


async def test_names_that_are_no_unicode_are_told_as_far_as_they_can_be(house):
    body = r'{"jobs": [{"task": "noop", "\ud800": 1}]}'
    answer = await house.http.post("/batches", content=body, headers=JSON)
    assert answer.status_code == 200
    (receipt,) = answer.json()["receipts"]
    assert receipt["error"]["code"] == "VALIDATION_ERROR"
    answer = await house.http.post("/dead/retry", content=r'{"ids": ["\ud800"]}', headers=JSON)
    assert (answer.status_code, error_of(answer)["code"]) == INVALID
