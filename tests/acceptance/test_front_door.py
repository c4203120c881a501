"""The front door over real sockets: nothing is lost, nothing doubled, nothing bad stored; idling is free."""

import asyncio
import collections
import json
import socket
import time

import httpx
import psutil
import pytest

from support.wait import until

pytestmark = pytest.mark.slow

JOBS = 10_000
CONNECTIONS = 50
JSON = {"Content-Type": "application/json"}
SUBMISSION = (
    b"POST /tasks/noop/jobs HTTP/1.1\r\nHost: x\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


async def submit_all(port):
    """The ids of as many jobs, submitted by as many connections at once, each job on its own.

    Written by hand: a client as people use it takes longer over a job than the node.
    """
    numbers = iter(range(JOBS))
    accepted = []

    async def one_connection():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for n in numbers:
            body = b'{"n": %d}' % n
            writer.write(SUBMISSION % len(body) + body)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 202 "), head
            length = int(head.partition(b"content-length: ")[2].split()[0])
            accepted.append(json.loads(await reader.readexactly(length))["id"])
        writer.close()

    await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
    return accepted


def listed(client):
    """Every job of the node, page by page."""
    jobs, before = [], None
    while True:
        page = client.jobs(limit=1_000, before=before)
        jobs += page
        if len(page) < 1_000:
            return jobs
        before = page[-1].id


def told(url, last_job):
    """Every event of the feed, from the oldest to the end of this job."""
    with httpx.stream("GET", f"{url}/events?after=0", timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                yield event["job_id"], event["kind"]
                if (event["job_id"], event["kind"]) == (last_job, "succeeded"):
                    return


def test_ten_thousand_jobs_by_fifty_connections(make_node):
    node = make_node()
    accepted = asyncio.run(submit_all(node.port))
    assert len(set(accepted)) == JOBS

    def succeeded():
        return node.client.stats()["states"].get("succeeded", 0) >= JOBS

    until(succeeded, within=120, what="all have succeeded")
    jobs = listed(node.client)
    assert sorted(job.id for job in jobs) == sorted(accepted), "none lost, none doubled"
    assert {job.state for job in jobs} == {"succeeded"}
    assert sorted(job.params["n"] for job in jobs) == list(range(JOBS))
    for job in jobs[::500]:
        assert node.client.get(job.id).result == job.params["n"]

    last = node.client.submit("noop", wait_s=30)
    ends = collections.Counter(job_id for job_id, kind in told(node.url, last.id) if kind == "succeeded")
    assert ends == dict.fromkeys([*accepted, last.id], 1), "each has ended exactly once"


def cpu_seconds(pids):
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def test_idle_node_uses_no_cpu(make_node):
    node = make_node()
    node.client.submit("noop", wait_s=30)
    pids = [
        node.process.pid,
        *(pid for part in ("api", "worker", "zygote", "slot") for pid in node.pids(part)),
    ]
    assert len(pids) == 6

    def share(seconds=5.0):
        began, used = time.monotonic(), cpu_seconds(pids)
        until(lambda: time.monotonic() - began >= seconds)
        return (cpu_seconds(pids) - used) / (time.monotonic() - began)

    # The first window may still see the end of the start, or a neighbour of these tests.
    until(lambda: share() < 0.01, within=60, what="a window with less than 1 % of a CPU")


BAD = [
    # method, path, body, the status and code it gets, the field that is named
    ("POST", "/jobs", b'{"task": "no_such_task"}', (404, "TASK_UNKNOWN"), None),
    ("POST", "/jobs", b'{"task": "noop", "params": {"n": "x"}}', (422, "VALIDATION_ERROR"), "params.n"),
    ("POST", "/jobs", b'{"task": "noop", "params": {"m": 1}}', (422, "VALIDATION_ERROR"), "params.m"),
    ("POST", "/jobs", b'{"task": "noop", "surprise": 1}', (422, "VALIDATION_ERROR"), "surprise"),
    ("POST", "/jobs", b'{"task": "noop", "priority": "urgent"}', (422, "VALIDATION_ERROR"), "priority"),
    ("POST", "/jobs", b'{"task": "noop", "delay_s": NaN}', (422, "VALIDATION_ERROR"), "delay_s"),
    ("POST", "/tasks/credit_loss/jobs", b'{"load": -1}', (422, "VALIDATION_ERROR"), "load"),
    ("POST", "/tasks/credit_loss/jobs", b'{"load": 1, "lgd": Infinity}', (422, "VALIDATION_ERROR"), "lgd"),
    ("POST", "/tasks/credit_loss/jobs", b"{}", (422, "VALIDATION_ERROR"), "load"),
    ("POST", "/jobs", b"", (400, "INVALID_REQUEST"), None),
    ("POST", "/jobs", b"{", (400, "INVALID_REQUEST"), None),
    ("POST", "/jobs", b"[]", (400, "INVALID_REQUEST"), None),
    ("POST", "/jobs", b"\xff\xfe", (400, "INVALID_REQUEST"), None),
    ("POST", "/jobs", b"[" * 100_000 + b"]" * 100_000, (400, "INVALID_REQUEST"), None),
    ("POST", "/jobs", b'{"a":' * 100_000, (400, "INVALID_REQUEST"), None),
    ("POST", "/jobs", b" " * (8 * 2**20 + 1), (413, "TOO_LARGE"), None),
    ("POST", "/batches", b'{"jobs": 7}', (422, "VALIDATION_ERROR"), "jobs"),
    ("GET", "/jobs?stat=failed", None, (422, "VALIDATION_ERROR"), "stat"),
    ("GET", "/jobs/no-such-job?wait=1", None, (404, "JOB_NOT_FOUND"), None),
    ("GET", "/events?after=yesterday", None, (400, "INVALID_REQUEST"), None),
    ("PUT", "/jobs", b"{}", (405, "INVALID_REQUEST"), None),
    ("GET", "/no/such/route", None, (404, "NOT_FOUND"), None),
]


def test_bad_input_over_the_wire(node):
    before = len(listed(node.client))
    with httpx.Client(base_url=node.url, headers=JSON, timeout=60) as client:
        for method, path, body, expected, field in BAD:
            answer = client.request(method, path, content=body)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == expected, (path, (body or b"")[:80])
            assert error["request_id"] == answer.headers["x-request-id"]
            if field is not None:
                assert field in [each["field"] for each in error["details"]["fields"]]
        endless = client.post("/jobs", content=(b" " * 2**16 for _ in range(200)))
        assert (endless.status_code, endless.json()["error"]["code"]) == (413, "TOO_LARGE")
    assert len(listed(node.client)) == before


RAW = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"HELLO\r\n\r\n",
    b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
    b"POST /jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /jobs HTTP/1.1\r\nHost: x\r\nX-Request-ID: \x00\x01\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
]


def test_what_is_no_http_does_no_harm(node):
    address = ("127.0.0.1", node.port)
    before = len(listed(node.client))
    for request in RAW:
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(60)
            answer = b""
            while part := connection.recv(65_536):
                answer += part
            assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 2")), request[:60]
    assert node.client.submit("noop", {"n": 1}, wait_s=30).result == 1
    assert len(listed(node.client)) == before + 1
    assert "Traceback" not in node.log
