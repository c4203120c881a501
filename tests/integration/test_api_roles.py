"""Every route says who may use it, and the answer to anybody else is always the same kind of no."""

import itertools

import pytest
import pytest_asyncio

from penstock.api import roles
from penstock.core.keys import Role, Sees, entry, mint

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = {role: mint(role, role, sees=Sees.ALL) for role in Role}
TEXT = {role: text for role, (text, _) in KEYS.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(house_in, tmp_path_factory):
    async with house_in(tmp_path_factory.mktemp("house"), api_keys=entries()) as shared:
        yield shared


def entries():
    return tuple(entry(key) for _, key in KEYS.values())


def routes(house):
    """Method and path of every route, with the names of tasks taken back out."""
    for route in house.app.routes:
        path = route.path
        if path.startswith("/tasks/") and path.endswith("/jobs"):
            path = "/tasks/{name}/jobs"
        for method in (route.methods or {"GET"}) - {"HEAD"}:
            yield method, path


async def test_every_route_has_a_role(house):
    stated = {route for route in routes(house) if not roles.is_open(route[1])}
    assert stated - roles.ROLES.keys() == set(), "say in api/roles.py who may use these"
    assert roles.ROLES.keys() - stated == set(), "api/roles.py names routes that there are none of"


async def test_only_pages_and_probes_are_open(house):
    found = {path for _, path in routes(house) if roles.is_open(path)}
    assert found == {"/", "/assets/{name}", "/docs", "/docs/page.js", "/docs/page.css", "/livez", "/healthz"}


def filled(path):
    return path.replace("{job_id}", "none").replace("{name}", "noop")


PAIRS = list(itertools.product(sorted(roles.ROLES), [None, "wrong", *Role]))


@pytest.mark.parametrize(("route", "held"), PAIRS)
async def test_each_role_may_do_what_it_may(house, route, held):
    method, path = route
    if path == "/events" and isinstance(held, Role):
        return  # it is let in and never ends; see test_api_keys
    headers = {"Content-Type": "text/csv"}  # no body gets past that, so that nothing is changed
    if held is not None:
        headers["Authorization"] = f"Bearer {TEXT.get(held, held)}"
    answer = await house.http.request(method, filled(path), headers=headers)
    if held not in set(Role):
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "UNAUTHENTICATED"
        assert answer.headers["www-authenticate"] == "Bearer"
    elif not held.allows(roles.ROLES[route]):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")
        assert f"with the role {held} may not {method}" in answer.json()["error"]["message"]
    else:
        assert answer.status_code not in {401, 403}


@pytest.mark.parametrize("path", [*sorted(roles.OPEN), "/docs/page.js", "/assets/home.js"])
async def test_open_paths_need_no_key(house, path):
    assert (await house.http.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/nowhere", "/jobs/", "/JOBS", "/jobs/a/b/c", "/queues/a/pause/"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_what_is_no_route_is_for_administrators(house, method, path):
    assert (await house.http.request(method, path)).status_code == 401
    answer = await house.http.request(method, path, headers={"X-API-Key": TEXT[Role.SUBMIT]})
    assert answer.status_code in {403, 404}
