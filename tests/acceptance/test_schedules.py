"""A schedule of every second, and workers that are killed: each tick makes exactly one job.

12 seconds of it, or 60 with ``PENSTOCK_TEST_PROFILE=long``.
"""

import os
import secrets
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from support.redis_server import RedisServer
from support.services import shared
from support.wait import until

pytestmark = pytest.mark.slow

SECONDS = {"long": 60}.get(os.environ.get("PENSTOCK_TEST_PROFILE", ""), 12)
LATE = timedelta(seconds=30)


@pytest.fixture(params=["sqlite", "redis"])
def broker(request):
    """The settings of nodes that share a broker of this kind."""
    if request.param == "sqlite":
        yield {}
        return
    server, namespace = shared(RedisServer), f"t-{secrets.token_hex(8)}"
    yield {"broker_url": server.url(namespace), "namespace": namespace}
    server.delete(f"*{{{namespace}}}*")


def moment(text):
    return datetime.fromisoformat(text)


def test_every_tick_makes_one_job_whoever_dies(make_node, broker):
    api = make_node("api", wait=False, **broker)
    crew = [make_node("worker", wait=False, slots=1, **broker) for _ in range(3)]
    for node in (api, *crew):
        node.wait_ready()
    with httpx.Client(base_url=api.url, timeout=60) as http:
        made = http.post("/schedules", json={"name": "s", "cron": "* * * * * *", "task": "noop"}).json()
        created = moment(made["created_at"])

        def reached(seconds):
            last = http.get("/schedules/s").json()["last_tick"]
            return last is not None and moment(last) >= created + timedelta(seconds=seconds)

        def who_made_the_last():
            last = http.get("/schedules/s").json()["last_job"]
            name = http.get(f"/jobs/{last}").json()["initiated_by"]
            return next(node for node in crew if node.name == name)

        for dies, returns in [(SECONDS * 0.2, SECONDS * 0.4), (SECONDS * 0.5, SECONDS * 0.7)]:
            until(lambda at=dies: reached(at), within=SECONDS + 60, what="ticks go on")
            victim = who_made_the_last()
            victim.kill()
            until(lambda at=returns: reached(at), within=SECONDS + 60, what="ticks go on without it")
            victim.launch()
        until(lambda: reached(SECONDS), within=SECONDS + 60, what="ticks go on to the end")
        last = moment(http.post("/schedules/s/pause").json()["last_tick"])
        jobs = http.get("/jobs", params={"limit": 1000}).json()["jobs"]
        ended = [http.get(f"/jobs/{job['id']}", params={"wait": 20}).json() for job in jobs]
    first = created.replace(microsecond=0) + timedelta(seconds=1)
    wanted = [first + timedelta(seconds=n) for n in range(round((last - first).total_seconds()) + 1)]
    assert len(wanted) >= SECONDS - 1
    ticks = Counter(job["request_id"] for job in jobs)
    assert ticks == {f"schedule:s@{tick.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}": 1 for tick in wanted}
    assert {job["state"] for job in ended} == {"succeeded"}
    for job in jobs:
        late = moment(job["created_at"]) - moment(job["request_id"].partition("@")[2])
        assert timedelta(0) <= late < LATE, job["request_id"]
    assert len({job["initiated_by"] for job in jobs}) > 1, "more than one worker made them"
