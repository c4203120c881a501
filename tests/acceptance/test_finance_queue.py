"""System C from outside: nginx, three APIs, Redis, three workers of four slots; load, chaos, limits."""

import itertools
import random
import re
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from support.nginx import Nginx
from support.redis_server import RedisServer
from support.wait import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SETTINGS = Path(__file__).parents[2] / "deploy" / "finance.env"
JOB_S = 0.6
"""A tenth of the 6 s of a real one: twelve slots are to sustain twenty a second instead of two."""

LOAD = {"seconds": 6.0, "per_second": 1.5 / JOB_S * 4}
VAR = {
    "task_type": "calculate_var",
    "positions": [{"symbol": "AAA", "quantity": 100, "price": 150}],
    "volatilities": [0.25],
    "num_simulations": 50_000,
}


def deployed():
    """The settings that this deployment comes with, but for the rate: nginx counts, not every node."""
    lines = [line for line in SETTINGS.read_text().splitlines() if line and not line.startswith("#")]
    named = dict(line.split("=", 1) for line in lines)
    return {name.removeprefix("PENSTOCK_").lower(): value for name, value in named.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("finance")


@pytest.fixture
def redis(tmp_path):
    with RedisServer(tmp_path, maxmemory="256mb", maxmemory_policy="noeviction") as server:
        yield server


@pytest.fixture
def deployment(make_node, redis, tmp_path):
    """The door, the nodes behind it, and their Redis."""
    options = deployed() | {
        "broker_url": redis.url("finance"),
        "rate_limit": "off",
        "lease": "2s",
        "wait": False,
    }
    nodes = [make_node(role, **options) for role in ("api", "worker") for _ in range(3)]
    for node in nodes:
        node.wait_ready()
    with Nginx(tmp_path, [node.port for node in nodes[:3]], fail_timeout="1s") as door:
        yield door, nodes, redis


def submit(door, data, **more):
    return door.ask("POST", "/api/v1/tasks", json={"data": data} | more)


def ended(door, path, within=30.0):
    """The task when it has ended."""

    def told():
        answer = door.ask("GET", path).json()
        return answer if answer["status"] in {"SUCCESS", "FAILURE"} else None

    return until(told, within, what=path)


def test_load_and_chaos_behind_the_front_door(deployment):
    door, nodes, redis = deployment
    _a_task_from_end_to_end(door, nodes)
    calm = Load(door, seed=1).run()
    calm.check(door)
    assert calm.lag_s < 3, "twelve slots keep up"
    stormy = Load(door, seed=2, chaos=lambda dice: _strike(dice, nodes, redis)).run()
    stormy.check(door)
    assert max(stormy.recoveries) < 10, stormy.recoveries


def _a_task_from_end_to_end(door, nodes):
    answer = door.ask(
        "POST",
        "/api/v1/tasks",
        json={"data": VAR, "priority": "high"},
        headers={"X-Request-ID": "desk-7.order-1"},
    )
    assert answer.status_code == 201, answer.text
    assert answer.headers["x-request-id"] == "desk-7.order-1"
    assert answer.headers["x-response-time"].endswith("ms")
    told = ended(door, answer.headers["location"])
    assert (told["status"], told["priority"], told["request_id"]) == ("SUCCESS", "high", "desk-7.order-1")
    assert told["result"]["var_amount"] == pytest.approx(1228.735, rel=0.05)
    logged = [
        entry for node in nodes[3:] for entry in node.entries("job succeeded", request="desk-7.order-1")
    ]
    assert len(logged) == 1, "a worker's log has the id of the request"
    until(lambda: "desk-7.order-1" in door.access, what="so has that of nginx")
    assert door.ask("GET", "/api/v1/tasks/nobody").status_code == 404
    assert door.ask("GET", "/api/v1/health").json()["workers"]["slots"] == 12


def _strike(dice, nodes, redis):
    """Kill one of the seven processes outright and start it again; seconds until all are well again."""
    began = time.monotonic()
    victim = dice.choice([*nodes, redis])
    if victim is redis:
        redis.kill()
        redis.start()
    else:
        victim.kill()
        victim.launch()
        victim.wait_ready()
    return time.monotonic() - began


class Load:
    """Jobs at a steady pace, each submitted by name of its own so that a repetition is none.

    ``accepted`` has a path for each that was answered with 201; what was not answered is asked again.
    """

    def __init__(self, door, seed, chaos=None):
        self.accepted = {}
        self.refused = Counter()
        self.recoveries = [0.0]
        self.lag_s = 0.0
        self._door = door
        self._seed = seed
        self._dice = random.Random(seed)
        self._chaos = chaos
        self._count = int(LOAD["seconds"] * LOAD["per_second"])
        self._numbers = iter(range(self._count))
        self._began = time.monotonic()

    def run(self):
        threads = [threading.Thread(target=self._submit) for _ in range(6)]
        for thread in threads:
            thread.start()
        if self._chaos is not None:
            for share in (0.2, 0.6):
                until(lambda share=share: len(self.accepted) >= share * self._count, what="some are in")
                self.recoveries.append(self._chaos(self._dice))
        for thread in threads:
            thread.join()
        return self

    def _submit(self):
        with httpx.Client(base_url=self._door.url, timeout=30) as http:
            for number in self._numbers:
                due = self._began + number / LOAD["per_second"]
                threading.Event().wait(max(0.0, due - time.monotonic()))  # the pace of the load itself
                self._insist(http, number)

    def _insist(self, http, number):
        body = {"data": {"task_type": "nap", "seconds": JOB_S}, "max_attempts": 4}
        key = {"Idempotency-Key": f"load-{self._seed}-{number}"}
        for attempt in itertools.count():
            answer = http.post("/api/v1/tasks", json=body, headers=key)
            if answer.status_code == 201:
                self.accepted[number] = answer.headers["location"]
                return
            self.refused[answer.status_code] += 1
            assert answer.status_code in {502, 503}, answer.text
            assert attempt < 200, answer.text
            threading.Event().wait(0.1)  # a client's pause, shorter than Retry-After says

    def check(self, door):
        """All accepted, all done."""
        assert len(self.accepted) == self._count
        last = time.monotonic()
        statuses = Counter(ended(door, path)["status"] for path in self.accepted.values())
        self.lag_s = time.monotonic() - last
        assert statuses.total() == self._count, "none is lost"
        assert statuses["SUCCESS"] > 0.99 * self._count, statuses


def test_overload_is_refused_and_told(make_node, tmp_path):
    """The deployment's own limits: 500 waiting tasks, 10 requests a second with 20 at once."""
    api = make_node("api", **deployed() | {"rate_limit": "off"})
    with httpx.Client(base_url=api.url) as http:
        full = {"jobs": [{"task": "nap", "params": {}}] * 501}
        receipts = http.post("/batches", json=full).json()["receipts"]
        assert Counter(receipt.get("status", 202) for receipt in receipts) == {202: 500, 503: 1}
        answer = http.post("/api/v1/tasks", json={"data": VAR})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "QUEUE_FULL")
        assert int(answer.headers["retry-after"]) >= 1
    assert api.stop() == 0
    strict = make_node("api", **deployed())
    with httpx.Client(base_url=strict.url) as http:
        answers = [http.get("/api/v1/tasks/nobody") for _ in range(40)]
        counted = Counter(answer.status_code for answer in answers)
    assert counted.keys() == {404, 429}
    assert 20 <= counted[404] < 40
    limited = next(answer for answer in answers if answer.status_code == 429)
    assert limited.json()["error"]["code"] == "RATE_LIMITED"
    assert int(limited.headers["retry-after"]) >= 1
