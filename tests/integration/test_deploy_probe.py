"""The health check of the image, and the dashboard, against real nodes."""

import http.server
import importlib.util
import json
import re
import threading

import httpx
import pytest

from support.deployment import DEPLOY
from support.node import Node
from support.ports import unused_port

pytestmark = pytest.mark.slow


@pytest.fixture
def probe(monkeypatch):
    """deploy/probe.py, which is no module of the package."""
    spec = importlib.util.spec_from_file_location("probe", DEPLOY / "probe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LONGEST_SILENCE_S", 3.0)
    return module


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("node"), worker_metrics_port=unused_port(), history="on", slots=1)
    try:
        yield node.start()
    finally:
        node.kill()


def aim(probe, monkeypatch, node):
    monkeypatch.setattr(probe, "API_PORT", node.port)
    monkeypatch.setattr(probe, "WORKER_PORT", int(node.environment["PENSTOCK_WORKER_METRICS_PORT"]))


def checks(probe, role):
    for check in probe.CHECKS[role]:
        check()


def test_it_knows_what_the_container_was_started_for(probe):
    assert probe.role(["tini", "--", "penstock", "worker", ""]) == "worker"
    assert probe.role(["/sbin/docker-init", "--", "tini", "--", "/opt/penstock/bin/penstock", "api"]) == "api"
    with pytest.raises(LookupError):
        probe.role(["tini", "--", "penstock", "doctor"])


def test_what_answers_is_healthy(probe, monkeypatch, node):
    aim(probe, monkeypatch, node)
    for role in ("api", "worker", "up"):
        checks(probe, role)


def test_what_is_gone_is_not(probe, monkeypatch):
    for name in ("API_PORT", "WORKER_PORT", "PAGE_PORT"):
        monkeypatch.setattr(probe, name, unused_port())
    for role in probe.CHECKS:
        with pytest.raises(OSError, match="refused"):
            checks(probe, role)


class Stuck(http.server.BaseHTTPRequestHandler):
    """Figures that do not move, as a worker's whose event loop hangs; /livez is an error."""

    def do_GET(self):
        self.send_response(200 if self.path == "/metrics" else 500)
        self.end_headers()
        self.wfile.write(b'penstock_broker_calls_total{outcome="ok",verb="renew"} 7.0\n')

    def log_message(self, *_):
        """Nothing."""


def test_a_worker_that_calls_nobody_is_not(probe, monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stuck) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(probe, "WORKER_PORT", server.server_port)
        monkeypatch.setattr(probe, "API_PORT", server.server_port)
        monkeypatch.setattr(probe, "LONGEST_SILENCE_S", 0.3)
        with pytest.raises(TimeoutError):
            checks(probe, "worker")
        with pytest.raises(http.client.HTTPException):
            checks(probe, "api")
        server.shutdown()


def test_the_dashboard_shows_what_there_is(node):
    told = re.findall(r"^# TYPE (\S+) (\w+)", httpx.get(f"{node.url}/metrics", timeout=30).text, re.MULTILINE)
    series = {f"{name}_bucket" if kind == "histogram" else name for name, kind in told}
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "penstock.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(asked) >= 10
    used = {name for expression in asked for name in re.findall(r"penstock_\w+", expression)}
    assert used <= series, used - series
