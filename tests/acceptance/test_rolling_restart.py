"""Every API and every worker is restarted in turn, under load, behind nginx: nobody notices."""

import contextlib
import itertools
import threading
import time
from collections import Counter

import httpx
import pytest

from support.nginx import Nginx
from support.redis_server import RedisServer
from support.wait import until

pytestmark = pytest.mark.slow

NODES = 3
CLIENTS = 6
PAUSE_S = 0.02
"""Between two requests of a client: some hundred requests a second are enough to hit every gap."""


class Clients:
    """Threads that submit and ask without a stop. ``answers`` counts status codes and broken connections."""

    def __init__(self, url):
        self.answers = Counter()
        self.accepted = {}
        self._url = url
        self._over = threading.Event()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._go_on) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self):
        with httpx.Client(base_url=self._url, timeout=30) as http:
            while not self._over.wait(PAUSE_S):
                self._submit(http, next(self._numbers))

    def _submit(self, http, number):
        try:
            answer = http.post("/jobs", json={"task": "nap", "params": {"seconds": 0.001 * (number % 30)}})
            self.answers["POST", answer.status_code] += 1
            if answer.status_code != 202:
                return
            job_id = answer.json()["id"]
            self.accepted[job_id] = 0.001 * (number % 30)
            read = http.get(f"/jobs/{job_id}", params={"wait": 0.2 * (number % 5 == 0)})
            self.answers["GET", read.status_code] += 1
        except httpx.TransportError as broken:
            self.answers[type(broken).__name__, 0] += 1


def names_behind(door):
    """The nodes that answer."""
    return {door.ask("GET", "/whoami").json()["node"] for _ in range(12)}


def test_a_rolling_restart_under_load_loses_nothing_and_answers_no_5xx(make_node, tmp_path):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(RedisServer(tmp_path))
        # Nobody is killed, so that no lease has to lapse, however slow the machine.
        options = {"broker_url": server.url(), "wait": False, "slots": 1, "lease": "30s"}
        apis = [make_node("api", node=f"api{n}", **options) for n in range(NODES)]
        workers = [make_node("worker", node=f"worker{n}", **options) for n in range(NODES)]
        for node in [*apis, *workers]:
            node.wait_ready()
        # What the product waits 30 s for is shortened, so that the test need not.
        door = stack.enter_context(Nginx(tmp_path, [api.port for api in apis], fail_timeout="2s"))
        with Clients(door.url) as clients:
            until(lambda: len(clients.accepted) > 50, what="the load has begun")
            for api, worker in zip(apis, workers, strict=True):
                for node in (api, worker):
                    assert node.stop() == 0
                    node.launch()
                    node.wait_ready()
                until(lambda: len(names_behind(door)) == NODES, what=f"nginx takes {api.name} again")
            until(lambda: len(clients.accepted) > 500, what="enough to say something")
        assert not [kind for kind in clients.answers if kind[1] not in {200, 202}], clients.answers
        began = time.monotonic()
        for job_id, result in clients.accepted.items():
            job = apis[0].client.wait(job_id, max(1.0, 60 + began - time.monotonic()))
            assert (job.state, job.result, job.attempt, job.losses) == ("succeeded", result, 1, 0)
