"""``POST /enqueue``: text or JSON becomes a job of `message`; anything else is told and not stored."""

import fcntl
import json

import pytest
from structlog.testing import capture_logs

from penstock.tasks.messages import message
from support.wait import answered, eventually

JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
MIB = 2**20


@pytest.fixture
async def house(open_house):
    return await open_house([message])


async def enqueue(house, body, headers=TEXT):
    return await house.http.post("/enqueue", content=body, headers=headers)


def error(answer):
    found = answer.json()["error"]
    assert found["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, found["code"]


@pytest.mark.parametrize(
    ("body", "headers", "text"),
    [
        (b"hello", TEXT, "hello"),
        (b"hello", {}, "hello"),
        (b"a=b&c", {"Content-Type": "application/x-www-form-urlencoded"}, "a=b&c"),
        (
            b' {"message": "not JSON, as nobody says so"}\n',
            TEXT,
            ' {"message": "not JSON, as nobody says so"}\n',
        ),
        ("Zoë\t€ 🎉\n".encode(), TEXT, "Zoë\t€ 🎉\n"),
        (b'{"message": "hello"}', JSON, "hello"),
        (b'{"message": "hello"}', {"Content-Type": "Application/JSON; charset=utf-8"}, "hello"),
        (rb'{"message": "two\nlines \u20ac"}', JSON, "two\nlines €"),
    ],
)
async def test_a_message_becomes_a_job(house, body, headers, text):
    answer = await enqueue(house, body, headers)
    assert answer.status_code == 200
    told = answer.json()
    assert told == {"enqueued": True, "queue": "messages", "message": text, "id": told["id"]}
    assert answer.headers["location"] == f"/jobs/{told['id']}"
    job = await house.job(told["id"])
    shown = (job["task"], job["state"], job["queue"], job["params"])
    assert shown == ("message", "queued", "messages", {"message": text})
    assert job["request_id"] == answer.headers["x-request-id"]
    assert [claim.spec.id for claim in await house.hands.take(queue="messages")] == [told["id"]]


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (b"", TEXT, "the message is empty"),
        (b"", {}, "the message is empty"),
        (b'{"message": ""}', JSON, "the message is empty"),
        (b"", JSON, "must be JSON"),
        (b"hello", JSON, "must be JSON"),
        (b'"hello"', JSON, "must be JSON"),
        (b"null", JSON, "must be JSON"),
        (b"{}", JSON, "message: Field required"),
        (b'{"message": null}', JSON, "message: Input should be a valid string"),
        (b'{"message": 7}', JSON, "message: Input should be a valid string"),
        (
            b'{"message": "a", "mesage": "b"}',
            JSON,
            "mesage: there is no such field (did you mean 'message'?)",
        ),
        (rb'{"message": "\ud800"}', JSON, "must be JSON"),
        (b"\xff\xfe", TEXT, "no UTF-8: invalid start byte at byte 0"),
        (b"[" * 100_000, JSON, "must be JSON"),
    ],
)
async def test_what_is_no_message_is_refused(house, body, headers, said):
    answer = await enqueue(house, body, headers)
    assert error(answer) == (400, "INVALID_REQUEST")
    assert said in answer.json()["error"]["message"]
    assert await house.stored() == 0


def as_json(text):
    return json.dumps({"message": text}).encode()


async def test_a_mebibyte_is_taken_and_a_byte_more_is_not(house):
    for body, headers in ((b"a" * MIB, TEXT), (as_json("a" * MIB), JSON), (as_json("é" * (MIB // 2)), JSON)):
        assert (await enqueue(house, body, headers)).status_code == 200
    assert await house.stored() == 3
    more = (b"a" * (MIB + 1), TEXT), (as_json("a" * (MIB + 1)), JSON), (as_json("é" * (MIB // 2) + "a"), JSON)
    for body, headers in more:
        answer = await enqueue(house, body, headers)
        assert error(answer) == (413, "TOO_LARGE")
        assert answer.json()["error"]["message"] == "the message is larger than 1 MiB"
        assert answer.json()["error"]["details"] == {"limit_bytes": MIB}
    assert await house.stored() == 3


async def test_an_endless_body_is_cut_off(house):
    sent = 0

    async def endless():
        nonlocal sent
        for _ in range(1_000):
            sent += MIB
            yield b"a" * MIB

    answer = await enqueue(house, endless())
    assert error(answer) == (413, "TOO_LARGE")
    assert sent <= 10 * MIB


async def test_a_broker_that_is_away_is_told_in_time(open_house, tmp_path):
    house = await answered(lambda: open_house([message], broker_timeout="300ms"))
    with (tmp_path / "penstock.db.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a process that is stopped while it writes
        answer = await enqueue(house, b"hello")
        assert error(answer) == (503, "BROKER_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await house.ask("GET", "/healthz")).status_code == 503
    await eventually(lambda: is_ready(house), what="it is ready again")
    assert await house.stored() == 0


async def is_ready(house):
    return (await house.ask("GET", "/healthz")).status_code == 200


async def test_a_repeated_key_is_the_same_message(house):
    first, again, other = [
        (await enqueue(house, body, TEXT | {"Idempotency-Key": "k"})) for body in (b"a", b"a", b"b")
    ]
    assert first.json() == again.json()
    assert error(other) == (409, "CONFLICT")
    assert await house.stored() == 1


async def test_unknown_query_parameters_are_refused(house):
    answer = await house.http.post("/enqueue?mesage=hello", content=b"hello")
    assert error(answer) == (422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("body", "headers"), [(b"secret", TEXT), (b'{"message": "secret"}', JSON), (b"secret", JSON)]
)
async def test_messages_are_not_in_the_log_of_the_api(house, body, headers, monkeypatch):
    monkeypatch.setenv("PENSTOCK_LOG_MESSAGES", "1")
    with capture_logs() as logs:
        await enqueue(house, body, headers)
    assert logs
    assert "secret" not in str(logs)


async def test_the_route_is_described(house):
    document = (await house.ask("GET", "/openapi.json")).json()
    body = document["paths"]["/enqueue"]["post"]["requestBody"]["content"]
    assert set(body) == {"text/plain", "application/json"}
    assert body["application/json"]["schema"]["properties"]["message"]["type"] == "string"
