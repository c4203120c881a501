"""What an operator asks a node: health, identity, queues, workers, figures, metrics."""

import socket

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from penstock import __version__
from penstock.core.errors import broker_unavailable


async def metrics(house):
    """Samples of ``/metrics`` as ``{(name, labels): value}``."""
    answer = await house.ask("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def counted(samples, name, **labels):
    """The sum of the samples that have at least these labels."""
    return sum(
        value for (of, has), value in samples.items() if of == name and has >= frozenset(labels.items())
    )


def out_of_order(house, monkeypatch):
    async def fails(*args, **kwargs):
        raise broker_unavailable("the disk went away")

    for verb in ("submit", "stats", "head"):
        monkeypatch.setattr(type(house.broker), verb, fails)


async def test_whoami(house):
    who = (await house.ask("GET", "/whoami")).json()
    assert who == {"node": "house", "host": socket.gethostname(), "version": __version__}


async def test_live_and_ready(house):
    assert (await house.ask("GET", "/livez")).json() == {"status": "ok"}
    ready = await house.ask("GET", "/healthz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok"})


async def test_probes_and_scrapers_may_ask_as_they_like(house):
    for path in ("/livez", "/healthz"):
        assert (await house.ask("HEAD", path)).status_code == 200
    for path in ("/livez?cache=no", "/healthz?from=balancer", "/metrics?name[]=up"):
        assert (await house.ask("GET", path)).status_code == 200


async def test_not_ready_without_a_broker_but_alive(house, monkeypatch):
    out_of_order(house, monkeypatch)
    ready = await house.ask("GET", "/healthz")
    assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
    assert ready.json() == {"status": "unavailable", "reason": "the disk went away"}
    assert (await house.ask("GET", "/livez")).status_code == 200


async def test_health_is_degraded_without_a_worker(house):
    health = (await house.ask("GET", "/health")).json()
    assert health["status"] == "degraded"
    assert health["workers"] == {"live": 0, "slots": 0, "busy": 0}


async def test_health_with_a_worker(house):
    await house.submit()
    await house.hands.live()
    health = (await house.ask("GET", "/health")).json()
    assert set(health) == {"status", "broker", "workers", "queues", "node", "version", "history"}
    assert (health["status"], health["broker"], health["node"]) == (
        "ok",
        {"status": "ok", "warnings": []},
        "house",
    )
    assert health["workers"] == {"live": 1, "slots": 4, "busy": 0}
    (queue,) = health["queues"]
    assert (queue["name"], queue["queued"]) == ("default", 1)


async def test_health_is_degraded_without_a_broker(house, monkeypatch):
    out_of_order(house, monkeypatch)
    answer = await house.ask("GET", "/health")
    health = answer.json()
    assert (answer.status_code, health["status"]) == (200, "degraded")
    assert health["broker"] == {"status": "unavailable", "reason": "the disk went away"}


async def test_pausing_tells_whether_anybody_knows_the_queue(house):
    async def known(name):
        return (await house.ask("POST", f"/queues/{name}/pause")).json()["known"]

    await house.broker.renew(replace(house.hands.info, queues=("served",)), [])
    await house.submit()
    assert [await known(name) for name in ("default", "served", "no_such")] == [True, True, False]


async def test_paused_queue_gives_nothing_out_and_takes_everything_in(house):
    answer = await house.ask("POST", "/queues/default/pause")
    assert (answer.status_code, answer.json()) == (200, {"name": "default", "paused": True, "known": False})
    job_id = await house.submit()
    assert await house.broker.claim("hands/1", ["default"], 1, 0.05) == []
    (queue,) = (await house.ask("GET", "/queues")).json()["queues"]
    assert (queue["paused"], queue["queued"]) == (True, 1)
    answer = await house.ask("POST", "/queues/default/resume")
    assert answer.json() == {"name": "default", "paused": False}
    await house.hands.work()
    assert (await house.job(job_id))["state"] == "succeeded"


async def test_queues_tell_their_depths(house):
    await house.submit()
    await house.submit()
    await house.hands.take()
    await house.ask("POST", "/jobs", {"task": "noop", "delay_s": 60})
    await house.ask("POST", "/jobs", {"task": "noop", "queue": "night"})
    default, night = (await house.ask("GET", "/queues")).json()["queues"]
    assert {"name": "default", "scheduled": 1, "queued": 1, "running": 1, "paused": False}.items() <= (
        default.items()
    )
    assert default["oldest_age_s"] >= 0
    assert (night["name"], night["queued"]) == ("night", 1)


async def test_workers_tell_their_leases(house):
    assert (await house.ask("GET", "/workers")).json() == {"workers": []}
    await house.hands.live()
    await house.submit()
    await house.hands.take()
    (worker,) = (await house.ask("GET", "/workers")).json()["workers"]
    assert {
        "id": "hands/1",
        "node": "hands",
        "slots": 4,
        "running": 1,
        "queues": ["default"],
        "live": True,
        "draining": False,
    }.items() <= worker.items()


async def test_stats_are_all_of_it_in_one_answer(house):
    await house.hands.live()
    await house.submit()
    await house.hands.work()
    await house.submit()
    stats = (await house.ask("GET", "/stats")).json()
    states = {state: count for state, count in stats["states"].items() if count}
    assert states == {"succeeded": 1, "queued": 1}
    (queue,) = stats["queues"]
    assert {"name": "default", "queued": 1, "running": 0}.items() <= queue.items()
    assert [worker["id"] for worker in stats["workers"]] == ["hands/1"]


async def test_every_verb_is_counted_and_timed(house):
    job_id = await house.submit()
    await house.ask("GET", f"/jobs/{job_id}")
    await house.ask("GET", "/jobs")
    await house.ask("GET", "/stats")
    await house.ask("DELETE", f"/jobs/{job_id}")
    await house.ask("POST", f"/jobs/{job_id}/retry")
    await house.ask("POST", "/queues/default/pause")
    await house.ask("POST", "/queues/default/resume")
    async with house.stream("/events?after=0"):
        samples = await metrics(house)
    verbs = ("submit", "get", "find", "stats", "cancel", "retry", "pause", "resume", "events", "open")
    for verb in verbs:
        calls = counted(samples, "penstock_broker_calls_total", verb=verb, outcome="ok")
        assert calls == counted(samples, "penstock_broker_seconds_count", verb=verb) >= 1, verb
    assert counted(samples, "penstock_broker_calls_total", verb="submit") == 1


async def test_failed_verbs_are_counted_by_their_code(house, monkeypatch):
    out_of_order(house, monkeypatch)
    assert (await house.ask("POST", "/jobs", {"task": "noop"})).status_code == 503
    monkeypatch.undo()
    samples = await metrics(house)
    failed = counted(samples, "penstock_broker_calls_total", verb="submit", outcome="BROKER_UNAVAILABLE")
    assert failed == 1


async def test_requests_are_counted_by_route_not_by_path(house):
    for _ in range(3):
        await house.ask("GET", "/jobs/one-of-many")
    await house.ask("GET", "/no/such/route")
    await house.submit()
    samples = await metrics(house)
    requests = "penstock_http_requests_total"
    assert counted(samples, requests, method="GET", route="/jobs/{job_id}", status="404") == 3
    assert counted(samples, requests, method="POST", route="/jobs", status="202") == 1
    assert counted(samples, requests, status="404", route="none") == 1
    assert counted(samples, "penstock_http_seconds_count", route="/jobs/{job_id}") == 3
    assert not [has for of, has in samples if of == requests and "one-of-many" in str(has)]


async def test_gauges_show_the_whole_system(house):
    await house.hands.live()
    await house.submit()
    await house.submit()
    await house.hands.take()
    samples = await metrics(house)
    assert counted(samples, "penstock_broker_up") == 1
    assert counted(samples, "penstock_jobs", queue="default", state="queued") == 1
    assert counted(samples, "penstock_jobs", queue="default", state="running") == 1
    assert counted(samples, "penstock_workers") == 1
    assert counted(samples, "penstock_slots", use="all") == 4
    assert ("penstock_queue_age_seconds", frozenset({("queue", "default")})) in samples


async def test_metrics_answer_without_a_broker(house, monkeypatch):
    out_of_order(house, monkeypatch)
    assert counted(await metrics(house), "penstock_broker_up") == 0
