"""Who may come in, told from outside: keys that outlive everything, a rate that nodes share, silent logs."""

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from penstock import Client, PenstockError
from support.node import HAZARDOUS
from support.redis_server import RedisServer
from support.wait import until

pytestmark = pytest.mark.slow

PAYLOAD = "payload-of-9f2c-nobody-else"


def penstock(folder, url, *arguments, **environment):
    """A command on the broker itself."""
    told = os.environ | {"PENSTOCK_BROKER_URL": url, "PENSTOCK_TASKS": str(HAZARDOUS)} | environment
    command = [sys.executable, "-m", "penstock", *arguments]
    return subprocess.run(
        command, env=told, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def made(folder, url, name, role):
    return penstock(folder, url, "keys", "create", name, "--role", role).stdout.strip()


@pytest.fixture
def redis(tmp_path):
    with RedisServer(tmp_path) as server:
        yield server


def test_two_nodes_together_let_no_more_through_than_one(make_node, redis):
    limits = {
        "broker_url": redis.url("doors"),
        "rate_limit": "1/m",
        "rate_burst": 20,
        "trusted_proxies": "127.0.0.1",
        "wait": False,
    }
    # On a busy machine these two must not take their Redis for dead and count alone, as the third will.
    patient = {"penstock.brokers.redis.metering.PATIENCE_S": 30.0}
    nodes = [make_node("api", tuned=patient, **limits) for _ in range(2)]
    third = make_node("api", **limits)
    for node in (*nodes, third):
        node.wait_ready()

    def ask(n):
        return httpx.get(f"{nodes[n % 2].url}/jobs", timeout=30)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(60)))
    assert Counter(answer.status_code for answer in answers) == {200: 20, 429: 40}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert 0 < int(refused.headers["retry-after"]) <= 1_200
    with redis.gone():
        status = until(lambda: _quickly(third), what="a node that counts alone answers")
        assert status == 200


def _quickly(node):
    try:
        answer = httpx.get(f"{node.url}/whoami", headers={"X-Forwarded-For": "198.51.100.1"}, timeout=5)
    except httpx.TimeoutException:
        return None
    return answer.status_code if answer.elapsed.total_seconds() < 2 else None


def test_keys_outlive_a_restart_of_everything(make_node, redis, tmp_path):
    url = redis.url("doors")
    text = made(tmp_path, url, "app", "submit")
    assert text.startswith("pk_")
    node = make_node("api", broker_url=url)
    with Client(node.url, api_key=text) as client:
        job = client.submit("noop")
    assert httpx.get(f"{node.url}/jobs", timeout=30).status_code == 401
    node.stop()
    with redis.gone():
        pass
    again = make_node("api", broker_url=url)
    assert httpx.get(f"{again.url}/jobs", timeout=30).status_code == 401
    with Client(again.url, api_key=text) as client:
        assert client.get(job.id).id == job.id
    stranger = Client(again.url)
    with stranger, pytest.raises(PenstockError, match="an API key is needed"):
        stranger.jobs()
    told = penstock(tmp_path, url, "jobs", "--url", again.url, "--json", PENSTOCK_API_KEY=text)
    assert (told.returncode, job.id in told.stdout) == (0, True)


def test_a_public_address_needs_a_key_first(make_node, tmp_path):
    node = make_node("up", wait=False, host="0.0.0.0")
    assert node.wait() == 2
    assert "penstock keys create" in node.log
    url = f"sqlite:///{tmp_path / 'penstock.db'}"
    text = made(tmp_path, url, "root", "admin")
    opened = make_node("api", host="0.0.0.0")
    assert httpx.get(f"{opened.url}/jobs", timeout=30).status_code == 401
    assert httpx.get(f"{opened.url}/jobs", headers={"X-API-Key": text}, timeout=30).status_code == 200


def test_no_key_and_no_payload_is_ever_logged(make_node, tmp_path):
    url = f"sqlite:///{tmp_path / 'penstock.db'}"
    text = made(tmp_path, url, "root", "admin")
    node = make_node("up", log_level="debug")
    wrong = text[:-4] + "beef"
    bodies = [
        {"task": "noop", "params": {"text": PAYLOAD}},
        {"task": "noop", "params": {}, PAYLOAD: 1},
        {"task": PAYLOAD},
        {"task": "credit_loss", "params": {"load": PAYLOAD}},
        {"task": "lifetime_ecl", "params": {"amount": [PAYLOAD]}},
    ]
    with httpx.Client(base_url=node.url, timeout=30) as http:
        for headers in ({"X-API-Key": text}, {"Authorization": f"Bearer {text}"}, {"X-API-Key": wrong}):
            for body in bodies:
                http.post("/jobs?wait=5", json=body, headers=headers)
                http.post("/batches", json={"jobs": [body]}, headers=headers)
            http.post("/jobs", content='{"' + PAYLOAD, headers=headers | {"Content-Type": "application/json"})
            http.get(f"/jobs?task={PAYLOAD}&api_key={text}", headers=headers)
            http.post("/queues/q/pause", headers=headers)
    assert node.entries("audit", who="root")
    assert len(node.entries("request")) > 20
    for secret in (text, text.split("_", 2)[2], wrong, PAYLOAD):
        assert secret not in node.log
