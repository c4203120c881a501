"""The quick way in for plain JSON bodies leads where FastAPI's own way leads, and never past a check."""

import json
from typing import Annotated, Any

import fastapi.routing
import httpx
import pytest
import pytest_asyncio
from fastapi import BackgroundTasks, Body, Cookie, Depends, FastAPI, Header, Query, Request, Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, field_validator

from penstock import task
from penstock.api.routing import make_router

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUICK = [("Content-Type", "application/json")]
ORDINARY = [("Content-Type", "application/json; charset=utf-8")]
SUBMISSION = b'{"task": "typed", "params": {"n": 1}}'
OWN = {"x-request-id", "x-response-time", "location"}


class Typed(BaseModel):
    n: int
    shares: list[float] = []
    word: str = Field(default="", max_length=3, alias="text")

    @field_validator("n")
    @classmethod
    def _fails(cls, value: int) -> int:
        return value + 0 // (value - 7)


@task
def typed(params: Typed) -> None: ...


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(house_in, tmp_path_factory):
    async with house_in(tmp_path_factory.mktemp("house"), [typed]) as shared:
        yield shared


@pytest.fixture
def searches(monkeypatch):
    """How often FastAPI looked for the parameters of a route, one entry each time."""
    seen = []
    search = fastapi.routing.solve_dependencies

    async def counted(**kwargs: Any) -> Any:
        seen.append(kwargs["dependant"].path)
        return await search(**kwargs)

    monkeypatch.setattr(fastapi.routing, "solve_dependencies", counted)
    return seen


def without_ids(told: Any) -> Any:
    """What is new in each answer to the same question is left out."""
    if isinstance(told, dict):
        new = {"id", "request_id", "created_at", "due_at"}
        return {name: without_ids(value) for name, value in told.items() if name not in new}
    return [without_ids(each) for each in told] if isinstance(told, list) else told


def seen_of(answer: httpx.Response) -> Any:
    headers = {name: value for name, value in answer.headers.items() if name not in OWN}
    headers.pop("content-length")  # a message that quotes how long it took to fail would differ
    return answer.status_code, headers, "location" in answer.headers, without_ids(answer.json())


PATHS = st.sampled_from(["/jobs", "/batches", "/tasks/typed/jobs", "/tasks/noop/jobs", "/tasks/none/jobs"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["typed", "noop", "high", "1", "\ud800", 7, 1.0, 10**400])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PARAMS = st.dictionaries(st.sampled_from(["n", "shares", "text", "word", "x"]), ANYTHING, max_size=3)
SUBMISSIONS = st.fixed_dictionaries(
    {"task": st.sampled_from(["typed", "noop", "none"]) | ANYTHING, "params": PARAMS | ANYTHING},
    optional={
        "priority": ANYTHING,
        "queue": ANYTHING,
        "delay_s": ANYTHING,
        "client": ANYTHING,
        "x": ANYTHING,
    },
)
DOCUMENTS = (
    SUBMISSIONS | PARAMS | ANYTHING | st.fixed_dictionaries({"jobs": st.lists(SUBMISSIONS, max_size=3)})
)
BODIES = DOCUMENTS.map(json.dumps).map(str.encode) | st.binary(max_size=30)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=PATHS, body=BODIES)
async def test_both_ways_lead_to_the_same_answer(house, path, body):
    quick, ordinary = [
        await house.http.post(path, content=body, headers=headers) for headers in (QUICK, ORDINARY)
    ]
    assert seen_of(quick) == seen_of(ordinary)


GOOD = [
    ("/jobs", SUBMISSION),
    ("/batches", b'{"jobs": [' + SUBMISSION + b"]}"),
    ("/tasks/typed/jobs", b'{"n": "2", "shares": [1, 2.5], "text": "abc"}'),
]


@pytest.mark.parametrize(("path", "body"), GOOD)
async def test_a_good_body_is_not_searched_for_anything_else(house, searches, path, body):
    quick = await house.http.post(path, content=body, headers=QUICK)
    assert searches == []
    ordinary = await house.http.post(path, content=body, headers=ORDINARY)
    assert searches
    assert seen_of(quick) == seen_of(ordinary)
    assert quick.status_code < 300


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/jobs?wait=0", QUICK),
        ("/jobs?wiat=0", QUICK),
        ("/jobs", [*QUICK, ("Idempotency-Key", "mine")]),
        ("/jobs", [*QUICK, ("Content-Type", "text/plain")]),
        ("/jobs", [("Content-Type", "text/plain"), *QUICK]),
        ("/jobs", [("Content-Type", "text/plain")]),
        ("/jobs", []),
    ],
)
async def test_whoever_says_more_or_less_goes_the_ordinary_way(house, searches, path, headers):
    await house.http.post(path, content=SUBMISSION, headers=headers)
    assert searches


@pytest.mark.parametrize("headers", [QUICK, ORDINARY])
async def test_a_key_in_the_header_is_heard(house, headers):
    key = ("Idempotency-Key", f"key {headers}")
    ids = [
        (await house.http.post("/jobs", content=SUBMISSION, headers=[*headers, key])).json()["id"]
        for _ in range(2)
    ]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("kind", [QUICK, ORDINARY])
@pytest.mark.parametrize("before", [[], [{"type": "http.request", "body": b'{"task":', "more_body": True}]])
async def test_whoever_hangs_up_is_no_defect(house, kind, before):
    received, sent = list(before), []

    async def receive():
        return received.pop(0) if received else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in kind]
    scope = {"type": "http", "method": "POST", "path": "/jobs", "query_string": b"", "headers": headers}
    await house.app(scope, receive, send)
    assert sent[0]["status"] == 400


class One(BaseModel):
    x: int


def refuse() -> None:
    raise ZeroDivisionError


async def sees_refusal(request: Request, one: One, no: Annotated[None, Depends(refuse)]) -> Response: ...
async def sees_query(request: Request, one: One, q: str = Query("from FastAPI")) -> Response:
    return Response(q)


async def needs_query(request: Request, one: One, q: str) -> Response: ...
async def sees_cookie(request: Request, one: One, c: Annotated[str, Cookie()] = "none") -> Response:
    return Response(c)


async def sees_header(request: Request, one: One, h: Annotated[str, Header()] = "none") -> Response:
    return Response(h)


async def embeds(request: Request, one: Annotated[One, Body(embed=True)]) -> Response: ...
async def two(request: Request, one: One, other: One) -> Response: ...
async def several(request: Request, ones: list[One]) -> Response: ...
async def scalar(request: Request, x: Annotated[int, Body(embed=True)]) -> Response: ...
async def later(request: Request, one: One, tasks: BackgroundTasks) -> Response:
    return Response(str(tasks.tasks))


async def bare(one: One) -> Response:
    return Response(str(one.x))


async def named(asked: Request, one: One) -> Response:
    return Response(asked.method)


async def plain_value(request: Request, one: One) -> dict[str, int]:
    return {"x": one.x}


def in_a_thread(request: Request, one: One) -> Response:
    return Response(str(one.x))


async def quick(request: Request, one: One, q: Annotated[int, Query()] = 3) -> Response:
    return Response(str(one.x + q))


async def whatever(request: Request, root: RootModel[Any]) -> Response:
    return Response(repr(root))


async def asked(endpoint: Any, body: bytes = b'{"x": 1}', **headers: str) -> httpx.Response:
    router = make_router("test")
    router.post("/it")(endpoint)
    transport = httpx.ASGITransport(FastAPI(routes=router.routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://it") as http:
        return await http.post("/it", content=body, headers=dict(QUICK) | headers)


async def test_a_route_that_needs_a_body_alone_is_quick(searches):
    assert (await asked(quick)).text == "4"
    assert searches == []


@pytest.mark.parametrize("body", [b"null", b"5", b"[]", b"{}", b'"x"'])
async def test_a_body_that_is_no_object_is_understood_alike(body):
    quick, ordinary = [await asked(whatever, body, **dict(kind)) for kind in (QUICK, ORDINARY)]
    assert (quick.status_code, quick.text) == (ordinary.status_code, ordinary.text)


@pytest.mark.parametrize(
    ("endpoint", "headers", "status", "text"),
    [
        (needs_query, {}, 422, None),
        (sees_query, {}, 200, "from FastAPI"),
        (sees_cookie, {"Cookie": "c=given"}, 200, "given"),
        (sees_header, {"H": "given"}, 200, "given"),
        (embeds, {}, 422, None),
        (two, {}, 422, None),
        (several, {}, 422, None),
        (scalar, {}, 200, None),
        (later, {}, 200, "[]"),
        (bare, {}, 200, "1"),
        (named, {}, 200, "POST"),
        (plain_value, {}, 200, '{"x":1}'),
        (in_a_thread, {}, 200, "1"),
    ],
)
async def test_a_route_that_needs_more_is_not(searches, endpoint, headers, status, text):
    answer = await asked(endpoint, **headers)
    assert answer.status_code == status
    assert text is None or answer.text == text
    assert searches


@pytest.mark.parametrize("where", ["endpoint", "route", "router"])
async def test_no_check_is_skipped(where):
    router = make_router("test")
    if where == "router":
        router.dependencies.append(Depends(refuse))
    extra = {"dependencies": [Depends(refuse)]} if where == "route" else {}
    router.post("/it", **extra)(sees_refusal if where == "endpoint" else quick)
    transport = httpx.ASGITransport(FastAPI(routes=router.routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://it") as http:
        with pytest.raises(ZeroDivisionError):
            await http.post("/it", content=b'{"x": 1}', headers=QUICK)
