"""What answers tell a browser: nothing is kept, nothing is run, and only named origins may read."""

import re

import pytest

ORIGIN = "https://app.example"


async def test_answers_are_kept_nowhere_and_run_nothing(house):
    job_id = await house.submit()
    for path in ("/jobs", f"/jobs/{job_id}", "/no/route", "/stats"):
        headers = (await house.http.get(path)).headers
        assert headers.get_list("cache-control") == ["no-store"]
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "strict-transport-security" not in headers


async def test_browsers_are_held_to_tls_where_that_is_set(open_house):
    house = await open_house(hsts=86_400_000)
    assert (await house.http.get("/livez")).headers["strict-transport-security"] == "max-age=86400"


async def test_the_page_of_the_api_needs_nothing_from_elsewhere(house):
    page = await house.http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(linked) >= 3
    for target in linked:
        assert target.startswith("/")
        found = await house.http.get(target)
        assert found.status_code == 200
        assert "://" not in found.text or target == "/openapi.json"


async def test_no_other_origin_is_told_anything_by_default(house):
    answer = await house.http.get("/jobs", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    assert (await house.http.options("/jobs", headers=asked)).status_code == 405


async def test_named_origins_may_call(open_house):
    house = await open_house(cors_origins=(ORIGIN,), rate_limit="10/h", rate_burst=1)
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    for _ in range(3):  # asking first is no request of the client's, and needs no key
        allowed = await house.http.options("/jobs", headers=asked)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert allowed.headers["x-frame-options"] == "DENY"
    statuses = []
    for _ in range(3):
        answer = await house.http.get("/jobs", headers={"Origin": ORIGIN})
        statuses.append(answer.status_code)
        assert answer.headers["access-control-allow-origin"] == ORIGIN, (
            "a page must be able to read a refusal"
        )
        assert "access-control-allow-credentials" not in answer.headers
    assert 429 in statuses
    stranger = await house.http.options("/jobs", headers=asked | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.parametrize("path", ["/docs", "/docs/page.js", "/docs/page.css"])
async def test_pages_have_all_the_other_headers(house, path):
    headers = (await house.http.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
