"""The front door: what nginx does with requests, nodes that fail, and its own errors."""

import asyncio
import contextlib
import json
import threading

import pytest

from support.nginx import Nginx
from support.ports import unused_port
from support.rate import until_limited
from support.wait import until

pytestmark = pytest.mark.slow


class Upstream:
    """A node as nginx sees it, which answers every request with ``status`` or hangs up after reading it."""

    def __init__(self, status):
        self.status = status
        self.requests = []
        self.port = unused_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            if self.status:
                body = b'{"error":{"code":"QUEUE_FULL"}}'
                start = (
                    f"HTTP/1.1 {self.status} X\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                writer.write(start.encode() + body)
                await writer.drain()
        writer.close()

    def count(self, method):
        return sum(head.startswith(method) for head in self.requests)


@contextlib.contextmanager
def upstreams(*statuses):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Upstream(status)) for status in statuses]


def test_an_applications_503_is_passed_on_and_takes_no_node_out(tmp_path):
    with upstreams(503, 503) as nodes, Nginx(tmp_path, [node.port for node in nodes]) as door:
        for _ in range(20):
            answer = door.ask("POST", "/jobs", json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "QUEUE_FULL")
        assert sum(node.count("POST") for node in nodes) == 20, "none is tried twice"
        assert all(node.count("POST") for node in nodes), "both go on to be asked"


def test_a_post_that_a_node_has_read_is_not_sent_to_another(tmp_path):
    with upstreams(0, 0) as nodes, Nginx(tmp_path, [node.port for node in nodes]) as door:
        seen = [node.count("POST") for node in nodes]
        assert seen == [0, 0]
        answer = door.ask("POST", "/jobs", json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "NODE_UNREACHABLE")
        assert sum(node.count("POST") for node in nodes) == 1


def test_a_request_that_reached_no_node_is_given_to_the_other(tmp_path):
    with upstreams(200) as (node,), Nginx(tmp_path, [unused_port(), node.port]) as door:
        assert {door.ask("POST", "/jobs", json={}).status_code for _ in range(10)} == {200}
        assert node.count("POST") == 10


def test_a_get_is_tried_at_two_nodes_and_no_more(tmp_path):
    with upstreams(0, 0, 0) as nodes, Nginx(tmp_path, [node.port for node in nodes]) as door:
        before = sum(node.count("GET") for node in nodes)
        door.ask("GET", "/jobs")
        assert sum(node.count("GET") for node in nodes) - before == 2


def test_a_request_id_is_kept_or_made_passed_on_and_logged(tmp_path):
    with upstreams(200) as (node,), Nginx(tmp_path, [node.port]) as door:
        door.ask("GET", "/a", headers={"X-Request-ID": "order-66"})
        door.ask("GET", "/b", headers={"X-Request-ID": "no good id"})
        given, made = node.requests[-2:]
        assert "X-Request-ID: order-66\r\n" in given
        assert "no good id" not in made
        assert "X-Request-ID: " in made
        until(lambda: door.access.count("\n") >= 3)
        first, second = [json.loads(line) for line in door.access.splitlines()[-2:]]
        assert (first["request_id"], first["status"], first["uri"]) == ("order-66", 200, "/a")
        assert f"X-Request-ID: {second['request_id']}\r\n" in made
        assert {"request_s", "connect_s", "response_s", "upstream"} <= first.keys()


def test_its_own_errors_have_the_shape_of_the_apis(tmp_path):
    with Nginx(tmp_path, [unused_port()]) as door:
        answer = door.ask("GET", "/jobs", headers={"X-Request-ID": "mine"})
        assert answer.status_code == 502
        assert answer.headers["content-type"] == "application/json"
        assert (answer.headers["x-request-id"], answer.headers["retry-after"]) == ("mine", "1")
        assert answer.json()["error"] == {
            "code": "NODE_UNREACHABLE",
            "message": "no node answered",
            "details": {},
            "request_id": "mine",
        }
        large = door.ask("POST", "/jobs", content=b"x" * (9 * 2**20))
        assert (large.status_code, large.json()["error"]["code"]) == (413, "TOO_LARGE")
        for status, odd in {
            414: door.ask("GET", "/" + "a" * 9_000),
            400: door.ask("GET", "/", headers={"X-Large": "x" * 40_000}),
            405: door.ask("TRACE", "/"),
        }.items():
            assert odd.status_code == status
            assert (odd.json()["error"]["code"], odd.headers["x-request-id"]) == (
                "INVALID_REQUEST",
                odd.json()["error"]["request_id"],
            )


def test_more_than_the_burst_is_refused_as_rate_limited(tmp_path):
    with upstreams(200) as (node,), Nginx(tmp_path, [node.port], limits=True) as door:
        passed, seconds, limited = until_limited(f"{door.url}/jobs", 200)
        assert 20 <= passed <= 20 + 10 * seconds + 1, "20 at once, and 10 more each second"
        assert limited.json()["error"]["code"] == "RATE_LIMITED"
        assert limited.headers["retry-after"] == "1"
