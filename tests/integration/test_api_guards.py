"""What stands before every route: request ids, headers, the body limit, and the last net for defects."""

import json
import re

import pytest
from structlog.testing import capture_logs

LIMIT = 4_096
JSON = {"Content-Type": "application/json"}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def test_request_id_is_kept_and_stored_on_the_job(house):
    answer = await house.ask("POST", "/jobs", {"task": "noop"}, x_request_id="order-66_b.1")
    assert answer.headers["x-request-id"] == "order-66_b.1"
    assert (await house.job(answer.json()["id"]))["request_id"] == "order-66_b.1"


@pytest.mark.parametrize("path", ["/jobs", "/tasks/noop/jobs", "/batches"])
async def test_request_id_is_stored_on_every_way_in(house, path):
    body = {
        "/jobs": {"task": "noop"},
        "/tasks/noop/jobs": {},
        "/batches": {"jobs": [{"task": "noop"}, {"task": "noop"}]},
    }[path]
    await house.ask("POST", path, body, x_request_id="way-in")
    jobs = (await house.ask("GET", "/jobs")).json()["jobs"]
    assert {job["request_id"] for job in jobs} == {"way-in"}


async def test_of_two_request_ids_the_first_is_kept(house):
    headers = [("X-Request-ID", "first"), ("X-Request-ID", "second")]
    assert (await house.http.get("/livez", headers=headers)).headers["x-request-id"] == "first"


async def test_request_id_is_made_where_there_is_none(house):
    answers = [await house.ask("POST", "/jobs", {"task": "noop"}) for _ in range(2)]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert all(UUID.fullmatch(request_id) for request_id in ids)
    assert ids[0] != ids[1]
    assert answers[0].json()["request_id"] == ids[0]


@pytest.mark.parametrize("bad", ["", "two words", "x" * 129, "a\tb", 'quote"', "ümlaut", "<script>", "a;b"])
async def test_bad_request_id_is_replaced(house, bad):
    answer = await house.http.get("/livez", headers={"X-Request-ID": bad.encode("latin-1")})
    assert UUID.fullmatch(answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/livez", 200), ("GET", "/no/route", 404), ("POST", "/jobs", 400), ("PUT", "/jobs", 405)],
)
async def test_every_answer_has_the_headers(house, method, path, status):
    answer = await house.ask(method, path)
    assert answer.status_code == status
    assert re.fullmatch(r"\d+\.\dms", answer.headers["x-response-time"])
    assert answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_defect_leaves_as_an_envelope_without_the_inside(house, monkeypatch):
    async def broken(*args, **kwargs):
        raise ZeroDivisionError("secret of the house")

    monkeypatch.setattr(type(house.broker), "stats", broken)
    with capture_logs() as logs:
        answer = await house.ask("GET", "/stats", x_request_id="my-request")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["request_id"]) == (500, "INTERNAL_ERROR", "my-request")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == "my-request"
    assert answer.headers["x-frame-options"] == "DENY"
    (entry,) = [entry for entry in logs if entry["event"] == "unexpected error"]
    assert (entry["request"], entry["path"]) == ("my-request", "/stats")
    assert isinstance(entry["exc_info"], ZeroDivisionError)
    assert any(entry["event"] == "request" and entry["status"] == 500 for entry in logs)


async def test_requests_are_logged_with_their_ids(house):
    with capture_logs() as logs:
        await house.ask("GET", "/whoami", x_request_id="seen")
    (entry,) = logs
    told = {"event": "request", "method": "GET", "path": "/whoami", "status": 200, "request": "seen"}
    assert told.items() <= entry.items()


def body_of(size):
    return json.dumps({"task": "noop", "params": {"n": 1}, "client": ""}).encode().ljust(size)


async def pieces(body):
    for at in range(0, len(body), 100):
        yield body[at : at + 100]


@pytest.mark.parametrize("path", ["/jobs", "/tasks/noop/jobs", "/batches"])
@pytest.mark.parametrize("announced", [True, False])
async def test_body_past_the_limit_is_refused(open_house, announced, path):
    house = await open_house(max_body=LIMIT)
    body = body_of(LIMIT + 1)
    answer = await house.http.post(path, content=body if announced else pieces(body), headers=JSON)
    assert ("content-length" in answer.request.headers) == announced
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["details"]) == (413, "TOO_LARGE", {"limit_bytes": LIMIT})
    assert "4 KiB" in error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert await house.stored() == 0


@pytest.mark.parametrize("announced", [True, False])
async def test_body_at_the_limit_is_taken(open_house, announced):
    house = await open_house(max_body=LIMIT)
    body = body_of(LIMIT)
    answer = await house.http.post("/jobs", content=body if announced else pieces(body), headers=JSON)
    assert answer.status_code == 202


async def test_refused_body_is_not_read_to_its_end(open_house):
    house = await open_house(max_body=LIMIT)
    read = 0

    async def endless():
        nonlocal read
        while read < 100 * LIMIT:
            read += 100
            yield b" " * 100

    answer = await house.http.post("/jobs", content=endless(), headers=JSON)
    assert answer.status_code == 413
    assert read <= LIMIT + 200


@pytest.mark.parametrize("length", ["-1", "many", "²"])
async def test_senseless_length_does_no_harm(house, length):
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", length.encode("latin-1")),
    ]
    answer = await house.http.post("/jobs", content=body_of(100), headers=headers)
    assert answer.status_code < 500
