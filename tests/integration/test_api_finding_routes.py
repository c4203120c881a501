"""A request is led to its route without being held against all others, which is only seen by counting."""

import fastapi.routing
import httpx
import pytest
import pytest_asyncio

from penstock import task

pytestmark = pytest.mark.asyncio(loop_scope="module")


@task
def plain(n: int) -> int:
    return n


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(house_in, tmp_path_factory):
    async with house_in(tmp_path_factory.mktemp("house"), [plain]) as shared:
        yield shared


@pytest.fixture
def compared(monkeypatch):
    """The routes whose pattern a request was held against."""
    seen = []
    matches = fastapi.routing.APIRoute.matches

    def counted(route, scope):
        seen.append(route.path)
        return matches(route, scope)

    monkeypatch.setattr(fastapi.routing.APIRoute, "matches", counted)
    return seen


async def test_a_submission_is_compared_with_nothing_else(house, compared):
    answer = await house.http.post("/jobs", json={"task": "plain", "params": {"n": 1}})
    assert answer.status_code == httpx.codes.ACCEPTED
    assert compared == ["/jobs"]


async def test_a_job_is_compared_with_what_begins_like_it(house, compared):
    job_id = (await house.http.post("/jobs", json={"task": "plain", "params": {"n": 2}})).json()["id"]
    compared.clear()
    assert (await house.http.get(f"/jobs/{job_id}")).json()["id"] == job_id
    assert compared
    assert all(path.startswith("/jobs") for path in compared)


async def test_a_fixed_path_is_never_taken_for_a_name(house):
    paths = [route.path for route in house.app.routes if isinstance(route, fastapi.routing.APIRoute)]
    fixed = [path for path in paths if "{" not in path]
    assert {"/jobs/export", "/jobs"} <= set(fixed)
    assert paths[: len(fixed)] == fixed


async def test_below_a_root_path_everything_is_found(house):
    below = httpx.ASGITransport(house.app, root_path="/penstock")
    async with httpx.AsyncClient(transport=below, base_url="http://node") as http:
        assert (await http.get("/penstock/whoami")).status_code == httpx.codes.OK
        assert (await http.get("/penstock/nothing")).status_code == httpx.codes.NOT_FOUND
