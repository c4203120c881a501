"""System B from outside, as an older deployment has it: its own variables, a node per role, what goes wrong.

What kills and restarts do to messages is told in `test_messages` and `test_experiments`.
"""

import os
import re
import subprocess
import sys

import httpx
import pytest

from support.node import Node
from support.ports import unused_port
from support.redis_server import RedisServer
from support.wait import until

pytestmark = pytest.mark.slow

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z\t(.*)")
EXPERIMENTS = ("kill-inflight", "scale-workers", "slam-api", "restart-persistence", "clean")


@pytest.fixture
def prepare(tmp_path):
    """Makes nodes that the test starts itself, when their environment is as it wants it."""
    made = []

    def make(role, **options):
        made.append(Node(tmp_path, role, **options))
        return made[-1]

    yield make
    for node in made:
        node.kill()


def test_an_older_deployments_variables_are_enough(prepare, tmp_path, monkeypatch):
    path, port = tmp_path / "out" / "lines.log", unused_port()
    with RedisServer(tmp_path) as server:
        for name, value in {
            "REDIS_ADDR": f"127.0.0.1:{server.port}",
            "HTTP_ADDR": f"127.0.0.1:{port}",
            "QUEUE_NAME": "letters",
            "OUTPUT_PATH": str(path),
            "PROCESSING_DELAY_MS": "30",
        }.items():
            monkeypatch.setenv(name, value)
        options = {"broker_url": None, "broker_timeout": "1s", "log_messages": 1}
        api = prepare("api", **options | {"port": port})
        del api.environment["PENSTOCK_PORT"]
        worker = prepare("worker", **options)
        for node in (api, worker):
            node.launch()
        for node in (api, worker):
            node.wait_ready()
        told = [httpx.post(f"{api.url}/enqueue", content=f"letter {n}", timeout=30).json() for n in range(5)]
        told.append(httpx.post(f"{api.url}/enqueue", json={"message": "letter 5"}, timeout=30).json())
        assert {each["queue"] for each in told} == {"letters"}
        assert all(each["enqueued"] is True and each["id"] for each in told)
        until(lambda: path.exists() and path.read_text().count("\n") == 6, what="a line for each")
        lines = [LINE.fullmatch(line)[1] for line in path.read_text().splitlines()]
        assert sorted(lines) == sorted(each["message"] for each in told)
        for what in ("dequeued message: letter 3", "processed message: letter 3"):
            until(lambda what=what: said(worker, what) == 1, what=what)
        _what_is_refused(api)
        with server.paused():
            away = httpx.post(f"{api.url}/enqueue", content="nobody takes it", timeout=30)
            assert (away.status_code, away.json()["error"]["code"]) == (503, "BROKER_UNAVAILABLE")
            assert httpx.get(f"{api.url}/healthz", timeout=30).status_code == 503
        until(lambda: httpx.get(f"{api.url}/healthz", timeout=30).status_code == 200, what="it is back")


def said(worker, what):
    return sum(entry["text"].endswith(what) for entry in worker.entries("job says"))


def _what_is_refused(api):
    for content, status in ((b"", 400), (b"a" * (2**20 + 1), 413)):
        assert httpx.post(f"{api.url}/enqueue", content=content, timeout=30).status_code == status
    assert httpx.post(f"{api.url}/enqueue", json={"message": ""}, timeout=30).status_code == 400


def test_the_experiments_are_told_by_help(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "penstock", "experiment", "help"],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert [name for name in EXPERIMENTS if name not in ran.stdout] == []
