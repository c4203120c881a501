"""An API that is told to stop says so, serves on for a moment, and breaks no connection in use."""

import signal
import socket

import httpx
import pytest

from support.wait import until

pytestmark = pytest.mark.slow

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def connection(node):
    return socket.create_connection(("127.0.0.1", node.port), timeout=60)


def asked(line, request):
    """The answer to one request."""
    line.sendall(request)
    return answered(line)


def answered(line):
    """Status and headers of the next answer, its body read."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += line.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    headers = dict(each.lower().split(": ", 1) for each in rest)
    while len(body) < int(headers["content-length"]):
        body += line.recv(65_536)
    return int(first.split()[1]), headers


def test_a_stopping_api_turns_red_serves_on_and_closes_what_it_has_answered(make_node):
    api = make_node("api", linger="10m")
    with connection(api) as line:
        status, headers = asked(line, HEALTH)
        assert (status, headers.get("connection")) == (200, None)
        api.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{api.url}/healthz", timeout=30).status_code == 503, what="/healthz is red")
        job = httpx.post(f"{api.url}/jobs", json={"task": "noop"}, timeout=30)
        assert (job.status_code, job.headers["connection"]) == (202, "close")
        status, headers = asked(line, HEALTH)
        assert (status, headers["connection"]) == (503, "close")
        assert line.recv(1) == b""
    assert api.stop() == 0


def test_an_idle_connection_may_be_used_once_more_after_the_door_is_shut(make_node):
    api = make_node("api", linger="4s")
    with connection(api) as line:
        assert asked(line, HEALTH)[0] == 200
        api.process.send_signal(signal.SIGTERM)
        until(lambda: refused(api), what="nobody new is let in")
        assert asked(line, HEALTH)[0] == 503
    assert api.wait() == 0


def refused(node):
    try:
        connection(node).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_second_signal_ends_it_at_once(make_node):
    api = make_node("api", linger="10m")
    api.process.send_signal(signal.SIGTERM)
    until(lambda: httpx.get(f"{api.url}/healthz", timeout=30).status_code == 503, what="/healthz is red")
    assert api.stop() == 0
