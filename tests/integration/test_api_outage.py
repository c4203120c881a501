"""The broker is there but does not answer: refused in time, nothing stored, and well again afterwards."""

import contextlib
import fcntl
import sqlite3
import time

import pytest

from penstock.core.drain import Full
from penstock.ports import Admission, Receipt
from support.wait import answered, eventually

TIMEOUT_S = 0.3


@contextlib.contextmanager
def lock_held(path):
    """As another process would: a lock belongs to the open file, not to the process."""
    with path.with_name(f"{path.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def transaction_open(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


OUTAGES = [lock_held, transaction_open]


@pytest.fixture
async def patient(open_house):
    """A node for what must succeed on a busy machine too."""
    return await open_house(node="patient")


@pytest.fixture
async def house(open_house, patient):
    """Another one on the same file, which gives its broker up soon."""
    return await answered(lambda: open_house(broker_timeout=f"{TIMEOUT_S}s"))


async def takes_jobs(house):
    return (await house.ask("POST", "/jobs", {"task": "noop"})).status_code == 202


@pytest.fixture
def path(tmp_path):
    return tmp_path / "penstock.db"


def assert_unavailable(answer, began):
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "BROKER_UNAVAILABLE")
    assert int(answer.headers["retry-after"]) >= 1
    assert error["request_id"] == answer.headers["x-request-id"]
    assert TIMEOUT_S * 0.9 <= time.monotonic() - began < TIMEOUT_S + 10


WAYS = {
    "/jobs": {"task": "noop"},
    "/jobs?wait=30": {"task": "noop"},
    "/tasks/noop/jobs": {},
    "/batches": {"jobs": [{"task": "noop"}] * 3},
}


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("way", WAYS)
async def test_submission_is_refused_and_nothing_is_stored(house, patient, path, outage, way):
    with outage(path):
        began = time.monotonic()
        answer = await house.ask("POST", way, WAYS[way])
        assert_unavailable(answer, began)
    assert await patient.stored() == 0
    await eventually(lambda: takes_jobs(house), what="it takes jobs again")
    assert await patient.stored() == 1, "only what was accepted"


@pytest.mark.parametrize("outage", OUTAGES)
async def test_cancel_and_retry_and_pause_are_refused(house, patient, path, outage):
    job_id = await patient.submit()
    with outage(path):
        for method, route in (
            ("DELETE", f"/jobs/{job_id}"),
            ("POST", "/queues/default/pause"),
        ):
            began = time.monotonic()
            assert_unavailable(await house.ask(method, route), began)
    assert (await patient.job(job_id))["state"] == "queued"
    assert not (await patient.ask("GET", "/queues")).json()["queues"][0]["paused"]


@pytest.mark.parametrize("outage", OUTAGES)
async def test_reading_goes_on(house, patient, path, outage):
    job_id = await patient.submit()
    with outage(path):
        assert (await house.job(job_id))["state"] == "queued"
        assert len((await house.ask("GET", "/jobs")).json()["jobs"]) == 1
        assert (await house.ask("GET", f"/jobs/{job_id}?wait=0.05")).json()["state"] == "queued"


@pytest.mark.parametrize("outage", OUTAGES)
async def test_node_is_not_ready_but_alive(house, path, outage):
    with outage(path):
        ready = await house.ask("GET", "/healthz")
        assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
        assert (await house.ask("GET", "/health")).json()["status"] == "degraded"
        assert (await house.ask("GET", "/livez")).status_code == 200
    await eventually(lambda: is_ready(house), what="it is ready again")


async def is_ready(house):
    return (await house.ask("GET", "/healthz")).status_code == 200


@pytest.mark.parametrize("way", ["/jobs", "/tasks/noop/jobs"])
async def test_full_queue_is_told_with_a_time_to_come_back(house, monkeypatch, way):
    async def full(_, specs, **__):
        why = Full(depth=7, limit=5)
        return [Receipt(admission=Admission.REFUSED, job=None, full=why) for _ in specs]

    monkeypatch.setattr(type(house.broker), "submit", full)
    told = {"queue": "default", "depth": 7, "limit": 5}
    answer = await house.ask("POST", way, {"task": "noop"} if way == "/jobs" else {})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["details"]) == (503, "QUEUE_FULL", told)
    assert int(answer.headers["retry-after"]) >= 1
