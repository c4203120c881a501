"""What the finance queue asks of its front door: in the files that are shipped, and before a real node."""

import json
import re
from pathlib import Path

import pytest

from support.nginx import Nginx
from support.ports import unused_port
from support.wait import until

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "deploy" / "nginx"


def directives(name):
    """The lines of a file, without comments."""
    text = re.sub(r"#.*", "", (FOLDER / name).read_text())
    return {line.strip() for line in text.splitlines() if line.strip()}


def test_the_shipped_files_say_what_is_asked():
    conf = directives("nginx.conf")
    assert {"least_conn;", "keepalive 32;", 'proxy_set_header Connection "";'} <= conf
    assert {"proxy_next_upstream error timeout;", "proxy_next_upstream_tries 2;", "gzip on;"} <= conf
    assert not any("non_idempotent" in line or "http_503" in line for line in conf)
    nodes = directives("upstream.conf")
    assert len(nodes) == 3
    assert all(line.endswith("max_fails=3 fail_timeout=30s;") for line in nodes)
    rate = directives("http.d/rate.conf")
    assert rate == {
        "limit_req_zone $binary_remote_addr zone=clients:10m rate=10r/s;",
        "limit_req zone=clients burst=20 nodelay;",
        "limit_req_status 429;",
    }


def entries(door):
    """The access log, each line with its time and id."""
    return [json.loads(line) for line in door.access.splitlines()]


def test_a_dead_node_is_tried_three_times_then_left_alone(make_node, tmp_path):
    node, dead = make_node("api"), unused_port()
    with Nginx(tmp_path, [dead, node.port]) as door:
        answers = [door.ask("GET", "/tasks", headers={"Accept-Encoding": "gzip"}) for _ in range(12)]
        assert {answer.status_code for answer in answers} == {200}, "nobody notices"
        assert answers[0].headers["content-encoding"] == "gzip"
        assert answers[0].json()[0]["name"]
        until(lambda: len(entries(door)) >= 13, what="all are in the log")
        tried = [entry for entry in entries(door) if f":{dead}" in entry["upstream"]]
        assert len(tried) == 3, "and each time the other node was tried"
        assert all(entry["status"] == 200 and f":{node.port}" in entry["upstream"] for entry in tried)
        last = entries(door)[-1]
        assert last["request_id"] == answers[-1].headers["x-request-id"]
        assert min(float(last[name]) for name in ("request_s", "connect_s", "response_s")) >= 0
