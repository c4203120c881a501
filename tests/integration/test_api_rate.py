"""A client that asks too often is told when to come back; the others do not notice."""

import pytest

from penstock.core.keys import Role, mint
from penstock.service import keyring

SLOW = {"rate_limit": "10/h", "rate_burst": 5}


async def test_past_the_limit_it_is_429_with_when_to_come_back(open_house):
    house = await open_house(**SLOW)
    assert [(await house.http.get("/jobs")).status_code for _ in range(5)] == [200] * 5
    answer = await house.http.get("/jobs")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (429, "RATE_LIMITED")
    assert error["details"] == {"limit": 5, "window_s": 1_800}
    assert error["request_id"] == answer.headers["x-request-id"]
    assert 1_700 < int(answer.headers["retry-after"]) <= 1_800
    assert answer.headers["ratelimit-limit"] == "5"
    assert answer.headers["ratelimit-remaining"] == "0"
    assert answer.headers["ratelimit-reset"] == answer.headers["retry-after"]
    assert (await house.http.post("/jobs", json={"task": "noop"})).status_code == 429
    assert await house.stored() == 0


async def test_probes_and_metrics_are_never_refused(open_house):
    house = await open_house(**SLOW)
    for path in ("/livez", "/healthz", "/metrics"):
        assert [(await house.http.get(path)).status_code for _ in range(7)] == [200] * 7


@pytest.mark.parametrize(
    ("settings", "limited"),
    [
        ({}, False),
        ({"host": "0.0.0.0", "insecure": True}, True),
        ({"host": "0.0.0.0", "insecure": True, "rate_limit": "off"}, False),
        ({"rate_limit": "10/s"}, True),
    ],
)
async def test_it_is_on_where_others_can_come(open_house, settings, limited):
    house = await open_house(**settings)
    statuses = {(await house.http.get("/whoami")).status_code for _ in range(60)}
    assert (429 in statuses) == limited


async def test_each_key_has_its_own_rate_and_strangers_share_theirs_by_address(open_house, house):
    text = {}
    for name in ("ada", "bob"):
        text[name], key = mint(name, Role.READ)
        await keyring.store(house.broker, key)
    limited = await open_house(**SLOW)

    async def statuses(headers, count=6):
        return [(await limited.http.get("/jobs", headers=headers)).status_code for _ in range(count)]

    assert await statuses({"X-API-Key": text["ada"]}) == [200] * 5 + [429]
    assert await statuses({"X-API-Key": text["bob"]}) == [200] * 5 + [429]
    assert await statuses({"X-API-Key": "guess"}) == [401] * 5 + [429]
    assert await statuses({"X-API-Key": "another"}, 1) == [429]


async def test_the_address_is_what_a_trusted_proxy_says(open_house):
    house = await open_house(**SLOW, trusted_proxies=("127.0.0.1",))

    async def statuses(forwarded, count):
        headers = {"X-Forwarded-For": forwarded}
        return [(await house.http.get("/jobs", headers=headers)).status_code for _ in range(count)]

    assert await statuses("198.51.100.1", 6) == [200] * 5 + [429]
    assert await statuses("6.6.6.6, 198.51.100.1", 1) == [429]
    assert await statuses("198.51.100.2", 1) == [200]


async def test_nobody_else_is_believed(open_house):
    house = await open_house(**SLOW)
    found = [
        (await house.http.get("/jobs", headers={"X-Forwarded-For": f"198.51.100.{n}"})).status_code
        for n in range(6)
    ]
    assert found == [200] * 5 + [429]
