"""Keys: who must show one, whose jobs it shows, whose jobs it makes, and what is written down about it."""

import asyncio
import json

import msgspec
import pytest
from structlog.testing import capture_logs

from penstock.brokers.sqlite import connect
from penstock.core.clock import system_clock
from penstock.core.job import JobError
from penstock.core.keys import Role, Sees, entry, mint
from penstock.core.lifecycle import Failed
from penstock.ports import BrokerOptions, JobQuery
from penstock.service import keyring
from penstock.service.keyring import Keyring
from penstock.tasks.messages import message
from support.wait import eventually

SOON_S = 20.0
"""Two seconds are promised; a machine that runs other tests may stall for as long again."""

BROKEN = Failed(JobError("TASK_ERROR", "it broke"), permanent=True)


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


class Guests:
    """Four keys, and a request with one of them."""

    def __init__(self):
        made = {
            "ada": mint("ada", Role.SUBMIT),
            "bob": mint("bob", Role.SUBMIT),
            "all": mint("all", Role.SUBMIT, sees=Sees.ALL, weight=3),
            "eye": mint("eye", Role.READ, client="ada", sees=Sees.OWN),
            "root": mint("root", Role.ADMIN),
        }
        self.text = {name: text for name, (text, _) in made.items()}
        self.keys = [key for _, key in made.values()]
        self.house = None

    async def ask(self, name, method, path, body=None):
        return await self.house.http.request(method, path, json=body, headers=bearer(self.text[name]))

    async def submit(self, name, **more):
        answer = await self.ask(name, "POST", "/jobs", {"task": "noop"} | more)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]


@pytest.fixture
def settings():
    """Of the house that the guests come to."""
    return {}


@pytest.fixture
async def guests(open_house, tmp_path, settings):
    found = Guests()
    broker = connect(f"sqlite:///{tmp_path / 'penstock.db'}", BrokerOptions(), system_clock)
    await broker.open()
    for key in found.keys:
        await keyring.store(broker, key)
    await broker.close()
    found.house = await open_house([message], **settings)
    return found


async def test_without_any_key_none_is_asked_for(house):
    assert (await house.ask("POST", "/jobs", {"task": "noop"})).status_code == 202


async def test_a_key_may_come_in_either_header(guests):
    http = guests.house.http
    assert (await http.get("/jobs", headers={"X-API-Key": guests.text["ada"]})).status_code == 200
    assert (await http.get("/jobs", headers=bearer(guests.text["ada"]))).status_code == 200
    assert (await http.get("/jobs", headers={"Authorization": guests.text["ada"]})).status_code == 401
    assert (await http.get("/jobs", headers={"Authorization": "Basic YTpi"})).status_code == 401
    assert (await http.get("/jobs", headers={"X-API-Key": "ü".encode("latin-1")})).status_code == 401
    assert (await http.get(f"/jobs?api_key={guests.text['ada']}")).status_code == 401


@pytest.mark.parametrize("path", ["/jobs", "/tasks/noop/jobs", "/batches", "/enqueue"])
async def test_jobs_are_those_of_the_key_on_every_way_in(guests, path):
    bodies = {
        "/jobs": {"task": "noop"},
        "/batches": {"jobs": [{"task": "noop"}]},
        "/enqueue": {"message": "m"},
    }
    answer = await guests.ask("all", "POST", path, bodies.get(path, {}))
    assert answer.status_code < 300
    (job,) = await guests.house.broker.find(JobQuery(client="all"))
    assert (job.spec.client, job.spec.weight) == ("all", 3)


async def test_only_an_administrator_submits_for_others(guests):
    refused = await guests.ask("ada", "POST", "/jobs", {"task": "noop", "client": "bob"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "FORBIDDEN")
    await guests.submit("ada", client="ada")
    answer = await guests.ask("ada", "POST", "/batches", {"jobs": [{"task": "noop", "client": "bob"}]})
    assert answer.json()["receipts"][0]["status"] == 403
    assert await guests.house.stored() == 1
    job_id = await guests.submit("root", client="bob")
    assert (await guests.ask("bob", "GET", f"/jobs/{job_id}")).status_code == 200


OF_A_JOB = [
    ("GET", "/jobs/{}"),
    ("GET", "/jobs/{}?wait=0.01"),
    ("GET", "/jobs/{}?wait=20"),
    ("GET", "/tasks/{}/status"),
    ("GET", "/api/v1/tasks/{}"),
    ("GET", "/jobs/{}/attempts"),
    ("GET", "/jobs/{}/events"),
    ("POST", "/jobs/{}/retry"),
    ("DELETE", "/jobs/{}"),
]


@pytest.mark.parametrize(("method", "path"), OF_A_JOB)
async def test_jobs_of_others_do_not_exist(guests, method, path):
    job_id = await guests.submit("ada")
    before = await guests.house.broker.get([job_id])
    answer = await guests.ask("bob", method, path.format(job_id))
    unknown = await guests.ask("bob", method, path.format("none"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "JOB_NOT_FOUND")
    assert (
        answer.text.replace(job_id, "none").partition("request_id")[0]
        == unknown.text.partition("request_id")[0]
    )
    assert await guests.house.broker.get([job_id]) == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT"])
@pytest.mark.parametrize(
    "path", ["/jobs/{}?wait=99", "/jobs/{}/", "/jobs/{}/nothing", "/tasks/{}/status?x=1"]
)
async def test_jobs_of_others_do_not_exist_for_who_asks_wrongly(guests, method, path):
    job_id = await guests.submit("ada")
    of_another, of_none = [
        await guests.ask("bob", method, path.format(each)) for each in (job_id, "0" * len(job_id))
    ]
    assert of_another.status_code == of_none.status_code


async def test_who_sees_all_changes_only_his_own(guests):
    theirs, own = await guests.submit("ada"), await guests.submit("all")
    assert (await guests.ask("all", "GET", f"/jobs/{theirs}")).status_code == 200
    assert (await guests.ask("all", "DELETE", f"/jobs/{theirs}")).status_code == 403
    assert (await guests.ask("all", "POST", f"/jobs/{theirs}/retry")).status_code == 403
    assert (await guests.ask("all", "DELETE", f"/jobs/{own}")).status_code == 200
    assert (await guests.ask("eye", "GET", f"/jobs/{theirs}")).status_code == 200
    assert (await guests.ask("eye", "GET", f"/jobs/{own}")).status_code == 404
    assert (await guests.ask("root", "DELETE", f"/jobs/{theirs}")).status_code == 200


async def test_lists_show_only_own_jobs(guests):
    ids = {name: await guests.submit(name) for name in ("ada", "bob", "all")}
    listed = {
        name: [job["id"] for job in (await guests.ask(name, "GET", "/jobs")).json()["jobs"]]
        for name in guests.text
    }
    everything = sorted(ids.values(), reverse=True)
    assert listed == {
        **{name: [ids["ada"]] for name in ("ada", "eye")},
        "bob": [ids["bob"]],
        "all": everything,
        "root": everything,
    }


async def test_to_wait_for_a_job_of_others_is_like_waiting_for_none(guests):
    theirs = await guests.submit("ada")
    async with asyncio.timeout(20):  # and not the minute that is asked for
        answer = await guests.ask("bob", "POST", "/waits", {"ids": [theirs], "wait": 60})
    assert answer.json() == {"jobs": [], "unknown": [theirs]}


async def test_whose_jobs_wait_is_told_to_who_may_see_them(guests):
    for name in ("ada", "bob"):
        await guests.submit(name)
    told = {}
    for name in ("ada", "all"):
        (queue,) = (await guests.ask(name, "GET", "/queues?clients=true")).json()["queues"]
        told[name] = {each["client"] for each in queue["clients"]}
    assert told == {"ada": {"ada"}, "all": {"ada", "bob"}}


@pytest.mark.parametrize("settings", [{"history": True}])
async def test_of_forgotten_jobs_history_shows_only_own_ones(guests):
    mine, theirs = await guests.submit("ada"), await guests.submit("bob")
    await guests.house.hands.work(2)

    async def recorded():
        found = (await guests.ask("root", "GET", "/jobs?source=history&state=succeeded")).json()["jobs"]
        return len(found) == 2

    await eventually(recorded)
    await guests.house.broker.purge([mine, theirs])
    for path in ("/jobs/{}", "/tasks/{}/status", "/api/v1/tasks/{}"):
        assert (await guests.ask("ada", "GET", path.format(mine))).status_code == 200
        assert (await guests.ask("ada", "GET", path.format(theirs))).status_code == 404
    assert (await guests.ask("root", "GET", f"/jobs/{theirs}")).json()["source"] == "history"
    assert (await guests.ask("ada", "DELETE", f"/jobs/{mine}")).status_code == 404
    assert (await guests.ask("ada", "GET", f"/jobs/{theirs}/attempts")).status_code == 404


async def test_dead_letters_show_only_own_jobs(guests):
    for name in ("ada", "bob"):
        await guests.submit(name)
    await guests.house.hands.work(2, BROKEN)
    listed = {name: len((await guests.ask(name, "GET", "/dead")).json()["dead"]) for name in ("ada", "root")}
    assert listed == {"ada": 1, "root": 2}


async def test_the_feed_shows_only_own_jobs(guests):
    await guests.submit("bob")
    async with guests.house.stream("/events", bearer(guests.text["ada"])) as stream:
        assert stream.status == 200
        theirs, mine = await guests.submit("bob"), await guests.submit("ada")
        await guests.house.hands.work(3)
        events = await stream.take(3)
    assert {event["data"]["job_id"] for event in events} == {mine}
    assert theirs != mine


async def test_a_stream_tells_nothing_more_once_its_key_is_revoked(guests):
    async with guests.house.stream("/events", bearer(guests.text["eye"])) as stream:
        await guests.submit("ada")
        assert await stream.next() is not None
        await keyring.revoke(guests.house.broker, "eye")

        async def refused():
            return (await guests.ask("eye", "GET", "/jobs")).status_code == 401

        await eventually(refused)
        await guests.submit("ada")
        assert await stream.next() is None


async def test_who_listens_without_a_key_hears_nothing_more_once_there_is_one(house):
    async with house.stream("/events") as stream:
        await house.submit()
        assert await stream.next() is not None
        await keyring.store(house.broker, (made := mint("ada", Role.SUBMIT))[1])

        async def closed():
            return (await house.http.get("/jobs")).status_code == 401

        await eventually(closed)
        await house.http.post("/jobs", json={"task": "noop"}, headers=bearer(made[0]))
        assert await stream.next() is None


WAITS = [
    ("GET", "/jobs/{id}?wait=60", None),
    ("POST", "/waits", {"ids": ["{id}"], "wait": 60}),
    ("POST", "/jobs?wait=60", {"task": "noop"}),
    ("GET", "/jobs/{id}?w%61it=60", None),
]


def staying(house):
    """The node's requests that may stay long."""
    (entrance,) = [each.kwargs["entrance"] for each in house.app.user_middleware if "entrance" in each.kwargs]
    return entrance.keyring._guests


async def ended_soon(awaitable):
    """What it gives, within what is promised after a key was revoked."""
    async with asyncio.timeout(SOON_S):
        return await awaitable


@pytest.mark.parametrize(("method", "path", "body"), WAITS, ids=["job", "waits", "submission", "encoded"])
async def test_a_request_that_waits_ends_when_its_key_is_revoked(guests, method, path, body):
    job_id = await guests.submit("ada")
    body = body and json.loads(json.dumps(body).replace("{id}", job_id))
    waiting = asyncio.create_task(guests.ask("ada", method, path.format(id=job_id), body))
    await eventually(lambda: staying(guests.house), what="the request waits")
    await keyring.revoke(guests.house.broker, "ada")
    answer = await ended_soon(waiting)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHENTICATED")
    assert not staying(guests.house)


async def test_a_silent_stream_ends_when_its_key_is_revoked_and_others_go_on(guests):
    job_id = await guests.submit("ada")
    mine, theirs = bearer(guests.text["ada"]), bearer(guests.text["root"])
    async with (
        guests.house.stream(f"/jobs/{job_id}/events", mine) as cut,
        guests.house.stream(f"/jobs/{job_id}/events", theirs) as other,
    ):
        for each in (cut, other):
            assert (await each.next())["event"] == "snapshot"
        await keyring.revoke(guests.house.broker, "ada")
        assert await ended_soon(cut.next()) is None
        await guests.house.hands.work()
        assert (await other.next())["event"] == "running"


async def test_a_retry_with_other_parameters_stays_with_its_client(guests):
    job_id = await guests.submit("ada")
    await guests.house.hands.work(1, BROKEN)
    answer = await guests.ask("ada", "POST", f"/jobs/{job_id}/retry", {"params": {}})
    assert (await guests.ask("ada", "GET", f"/jobs/{answer.json()['id']}")).status_code == 200


async def test_equal_work_is_shared_only_among_those_who_may_see_it(guests):
    fingerprints = {}
    for name in ("ada", "bob", "all", "root"):
        (job,) = await guests.house.broker.get([await guests.submit(name)])
        fingerprints[name] = job.spec.fingerprint
    assert fingerprints["all"] == fingerprints["root"]
    assert len(set(fingerprints.values())) == 3
    (again,) = await guests.house.broker.get([await guests.submit("ada")])
    assert again.spec.fingerprint == fingerprints["ada"]


async def test_a_key_made_or_revoked_elsewhere_counts_within_two_seconds(house):
    text, key = mint("late", Role.READ)
    with capture_logs() as logs:
        await keyring.store(house.broker, key)
        began = asyncio.get_running_loop().time()

        async def refused():
            return (await house.http.get("/jobs")).status_code == 401

        await eventually(refused)
        assert (await house.http.get("/jobs", headers=bearer(text))).status_code == 200
        assert asyncio.get_running_loop().time() - began < SOON_S
        await keyring.revoke(house.broker, key.id)
        began = asyncio.get_running_loop().time()

        async def open_again():
            return (await house.http.get("/jobs")).status_code == 200

        await eventually(open_again)
        assert asyncio.get_running_loop().time() - began < SOON_S
    told = [(each["action"], each["target"]) for each in logs if each["event"] == "audit"]
    assert told == [("key created", "late"), ("key revoked", "late")]


async def test_a_public_node_without_keys_stays_closed(open_house):
    house = await open_house(host="0.0.0.0", rate_limit="off")
    assert (await house.http.get("/jobs")).status_code == 401
    assert (await house.http.get("/healthz")).status_code == 200
    trusting = await open_house(host="0.0.0.0", insecure=True, rate_limit="off")
    assert (await trusting.http.get("/jobs")).status_code == 200


async def test_the_last_copy_goes_on_while_the_broker_is_away(house, monkeypatch):
    monkeypatch.setattr(keyring, "REFRESH_S", 0.01)
    text, key = mint("ada", Role.READ)
    await keyring.store(house.broker, key)
    ring = Keyring(house.broker)
    await ring.load()
    await house.broker.close()
    with capture_logs() as logs:
        watching = asyncio.create_task(ring.run())
        await eventually(lambda: sum(each["event"] == "keys not refreshed" for each in logs) >= 3)
        watching.cancel()
    assert ring.find(text) == key


async def test_two_keys_of_one_name_are_refused_and_unknown_ones_cannot_be_revoked(house):
    await keyring.store(house.broker, mint("ada", Role.READ)[1])
    with pytest.raises(Exception, match="revoke it first"):
        await keyring.store(house.broker, mint("ada", Role.ADMIN)[1])
    with pytest.raises(Exception, match="no key 'eve'"):
        await keyring.revoke(house.broker, "eve")


async def test_keys_of_one_name_that_were_made_at_the_same_instant_are_revoked_together(house):
    for _ in range(2):
        key = mint("ada", Role.READ)[1]
        await house.broker.put(keyring.SHELF, key.id, msgspec.json.encode(key))
    await keyring.revoke(house.broker, "ada")
    assert await keyring.stored(house.broker) == []


async def test_what_cannot_be_read_on_the_shelf_is_no_key_and_hides_no_other(house):
    _, key = mint("ada", Role.READ)
    await keyring.store(house.broker, key)
    await house.broker.put(keyring.SHELF, "odd", b'{"name": "odd", "role": "emperor"}')
    assert await keyring.stored(house.broker) == [key]


async def test_what_needs_no_key_may_say_wait(guests):
    answer = await guests.house.http.get("/healthz?wait=1")
    assert answer.status_code == 200


async def test_administration_is_audited(guests):
    with capture_logs() as logs:
        await guests.ask("root", "POST", "/queues/slow/pause")
        await guests.ask("root", "GET", "/jobs")
        await guests.submit("root")
        await guests.ask("root", "POST", "/dead/retry", {})
        await guests.ask("root", "DELETE", "/clients/events?ids=wait=")
        await guests.ask("root", "DELETE", "/jobs?queue=slow")
        await guests.ask("ada", "DELETE", "/jobs?queue=slow")
        await guests.ask("ada", "POST", "/queues/slow/resume")
    told = [each for each in logs if each["event"] == "audit"]
    assert [(each["who"], each["action"], each["target"], each["status"]) for each in told] == [
        ("root", "POST /queues/{name}/pause", "/queues/slow/pause", 200),
        ("root", "POST /dead/retry", "/dead/retry", 422),
        ("root", "DELETE /clients/{client}", "/clients/events", told[-2]["status"]),
        ("root", "DELETE /jobs", "/jobs", 200),
    ]
    assert told[0]["request"]
    assert told[0]["address"] == "127.0.0.1"
    requests = [each for each in logs if each["event"] == "request"]
    assert [each.get("key") for each in requests] == ["root"] * 6 + ["ada", None]


async def test_configured_keys_count_beside_those_on_the_shelf(open_house):
    text, key = mint("env", Role.SUBMIT)
    house = await open_house(api_keys=(entry(key),))
    assert (await house.http.get("/jobs")).status_code == 401
    assert (await house.http.post("/jobs", json={"task": "noop"}, headers=bearer(text))).status_code == 202
