"""A path with a slash too many leads to the one without, on the node that was asked and nowhere else."""

import httpx
import pytest

ELSEWHERE = {"Host": "elsewhere.example"}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("/docs/", "/docs"),
        ("/jobs//", "/jobs"),
        ("/jobs/?limit=3&state=failed", "/jobs?limit=3&state=failed"),
        ("/jobs/%5C%0D%0Aa%3Fb/", "/jobs/%5C%0D%0Aa%3Fb"),
    ],
)
async def test_a_redirect_names_no_host(house, asked, told):
    answer = await house.http.get(asked, headers=ELSEWHERE, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, told)


async def test_following_it_arrives(house):
    answer = await house.http.get("/docs/", follow_redirects=True)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


async def test_a_submission_keeps_its_method_and_body(house):
    body = {"task": "noop", "params": {}}
    answer = await house.http.post("/jobs/", json=body, headers=ELSEWHERE, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/jobs")


async def test_below_a_root_path_it_stays_there(house):
    below = httpx.ASGITransport(house.app, root_path="/penstock")
    async with httpx.AsyncClient(transport=below, base_url="http://node") as http:
        assert (await http.get("/penstock/docs/")).headers["location"] == "/penstock/docs"


@pytest.mark.parametrize("path", ["/nothing/", "//", "//elsewhere.example/", "//elsewhere.example/docs/"])
async def test_what_is_nowhere_is_not_found(house, path):
    answer = await house.http.get(httpx.URL("http://house").copy_with(raw_path=path.encode()))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "NOT_FOUND"
