"""The message pipeline from outside: HTTP in, one line of a file out for each message, whoever is killed."""

import asyncio
import collections
import fcntl
import os
import signal
import time

import httpx
import psutil
import pytest

from penstock.tasks.messages.line import read
from support.node import Node
from support.redis_server import RedisServer
from support.wait import until

pytestmark = pytest.mark.slow

MIB = 2**20
CONNECTIONS = 20


@pytest.fixture(params=["sqlite", "redis"])
def broker(request, tmp_path):
    """Settings that name a broker of the test's own."""
    if request.param == "sqlite":
        yield {}
    else:
        with RedisServer(tmp_path) as server:
            yield {"broker_url": server.url()}


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The output, as the environment of every node of the test names it."""
    path = tmp_path / "data" / "processed.log"
    monkeypatch.setenv("OUTPUT_PATH", str(path))
    for name in ("HTTP_ADDR", "QUEUE_NAME", "PROCESSING_DELAY_MS"):
        monkeypatch.delenv(name, raising=False)
    return path


def enqueue(node, message):
    answer = httpx.post(f"{node.url}/enqueue", content=message, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def enqueue_all(node, messages):
    """Each on its own, over a few connections at once; their ids."""

    async def run():
        waiting, ids = iter(messages), []

        async def one_connection():
            async with httpx.AsyncClient(base_url=node.url, timeout=60, verify=False) as client:
                for text in waiting:
                    answer = await client.post("/enqueue", json={"message": text})
                    assert answer.status_code == 200, answer.text
                    ids.append(answer.json()["id"])

        await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
        return ids

    return asyncio.run(run())


def ended(node, ids, within=120.0):
    """The jobs when all have ended."""
    deadline = time.monotonic() + within
    jobs = [node.client.wait(job_id, max(0.0, deadline - time.monotonic())) for job_id in ids]
    assert {job.state for job in jobs} == {"succeeded"}
    return jobs


def lines(path):
    """The message of every line."""
    return [read(line)[1] for line in path.read_text().splitlines()] if path.exists() else []


def assert_each_once(path, messages):
    counted, expected = collections.Counter(lines(path)), collections.Counter(messages)
    assert not expected - counted, "lost"
    assert not counted - expected, "doubled"


def said(node, what):
    """How often its worker said so."""
    return sum(what in entry["text"] for entry in node.entries("job says"))


def test_the_whole_story(make_node, path, broker):
    node = make_node(**broker)
    told = httpx.post(f"{node.url}/enqueue", content="hello", timeout=30).json()
    assert told == {"enqueued": True, "queue": "messages", "message": "hello", "id": told["id"]}
    (job,) = ended(node, [told["id"]])
    assert (job.task, job.queue, job.params) == ("message", "messages", {"message": "hello"})
    assert path.read_text() == f"{job.result['line']}\n"
    assert job.result["line"] == f"{job.result['written_at']}\thello"
    as_json = httpx.post(f"{node.url}/enqueue", json={"message": "two\nlines\tand a tab"}, timeout=30).json()
    ended(node, [as_json["id"]])
    assert path.read_text().splitlines()[1].endswith(r"two\nlines\tand a tab")
    for body, status in ((b"", 400), (b"a" * (MIB + 1), 413)):
        assert httpx.post(f"{node.url}/enqueue", content=body, timeout=30).status_code == status
    assert httpx.get(f"{node.url}/healthz", timeout=30).json() == {"status": "ok"}
    many = [f"message {n}" for n in range(300)]
    ended(node, enqueue_all(node, many))
    assert_each_once(path, ["hello", "two\nlines\tand a tab", *many])
    assert (
        said(node, "dequeued message: 5 characters, job ")
        == said(node, "processed message: 5 characters")
        == 1
    )
    assert "hello" not in node.log


def test_sigkill_of_the_worker_loses_and_doubles_nothing(make_node, path, broker, monkeypatch):
    """The experiment kill-inflight: killed after ten lines, with what it had begun under way."""
    monkeypatch.setenv("PROCESSING_DELAY_MS", "500")
    api = make_node("api", **broker)
    messages = [f"message {n}" for n in range(100)]
    ids = enqueue_all(api, messages)
    worker = make_node("worker", slots=4, lease="1500ms", wait=False, **broker)
    until(lambda: len(lines(path)) >= 10, what="ten are done")
    worker.kill()
    assert len(lines(path)) < 100, "it was in the middle of it"
    monkeypatch.setenv("PROCESSING_DELAY_MS", "20")
    make_node("worker", node="heir", slots=4, lease="1500ms", **broker)
    ended(api, ids)
    assert_each_once(path, messages)


def test_sigkill_between_the_line_and_its_settlement(make_node, path, broker, monkeypatch):
    """Its supervisor is stopped, so that the slot appends the line and nobody ever hears of it."""
    api, worker = make_node("api", **broker), make_node("worker", slots=1, lease="1500ms", **broker)
    ended(api, [enqueue(api, "the first")])
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the line cannot be written yet
        job_id = enqueue(api, "only once")
        until(lambda: said(worker, "dequeued message") == 2, what="it was dequeued")
        supervisor = psutil.Process(worker.pid("worker"))
        supervisor.suspend()
        until(lambda: supervisor.status() == psutil.STATUS_STOPPED)
    until(lambda: lines(path) == ["the first", "only once"], what="the line is there")
    before = path.read_text()
    worker.kill()
    assert not api.client.get(job_id).final, "nobody settled it"
    heir = make_node("worker", node="heir", slots=1, lease="1500ms", **broker)
    (job,) = ended(api, [job_id])
    assert job.handled_by == heir.name
    assert job.result["line"] == before.splitlines()[-1], "the answer is the line of the first attempt"
    until(lambda: said(heir, "(written by an earlier attempt)"), what="it noticed")
    ended(api, [enqueue(api, "another")])
    assert_each_once(path, ["the first", "only once", "another"])


def test_slots_killed_at_random_while_messages_come(make_node, path, broker):
    node = make_node(**broker)
    messages, ids = [f"message {n}" for n in range(400)], []
    for n in range(0, 400, 50):
        ids += enqueue_all(node, messages[n : n + 50])
        for pid in node.pids("slot")[:1]:
            os.kill(pid, signal.SIGKILL)
    ended(node, ids)
    assert_each_once(path, messages)


def test_several_workers_share_the_messages_and_the_file(make_node, path, broker, monkeypatch):
    monkeypatch.setenv("PROCESSING_DELAY_MS", "20")
    api = make_node("api", **broker)
    workers = [make_node("worker", node=f"worker-{n}", slots=2, **broker) for n in range(3)]
    messages, busy = [], set()

    def all_are_busy():
        more = [f"message {n}" for n in range(len(messages), len(messages) + 120)]
        messages.extend(more)
        busy.update(job.handled_by for job in ended(api, enqueue_all(api, more)))
        return busy == {worker.name for worker in workers}

    until(all_are_busy, what="every one took some")
    assert_each_once(path, messages)


def test_a_restart_of_everything_loses_nothing(make_node, path, broker, monkeypatch):
    monkeypatch.setenv("PROCESSING_DELAY_MS", "200")
    node = make_node(**broker)
    messages = [f"message {n}" for n in range(20)]
    ids = enqueue_all(node, messages)
    node.kill()
    again = make_node(node="again", **broker)
    ended(again, ids)
    assert_each_once(path, messages)


@pytest.fixture
def old_node(tmp_path, monkeypatch):
    """A node that is told its address and queue by the names of the older program alone."""
    node = Node(tmp_path, queues="default")
    monkeypatch.setenv("QUEUE_NAME", "mail")
    monkeypatch.setenv("HTTP_ADDR", f":{node.port}")
    node.environment |= {name: os.environ[name] for name in ("QUEUE_NAME", "HTTP_ADDR")}
    del node.environment["PENSTOCK_PORT"]
    yield node.start()
    node.kill()


def test_names_of_the_older_program(path, old_node):
    told = httpx.post(f"{old_node.url}/enqueue", content="hello", timeout=30).json()
    assert told["queue"] == "mail"
    ended(old_node, [told["id"]])
    assert lines(path) == ["hello"]
    sockets = psutil.Process(old_node.pid("api")).net_connections("tcp")
    assert {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_an_address_for_everybody_is_refused_in_the_older_name_too(make_node, monkeypatch):
    monkeypatch.setenv("HTTP_ADDR", "0.0.0.0:8080")
    api = make_node("api", wait=False)
    assert api.wait() == 2
    assert "0.0.0.0 can be reached from other machines" in api.log


def test_the_text_is_logged_by_the_worker_alone_and_only_on_demand(make_node, path):
    api, worker = make_node("api", log_messages=1), make_node("worker", log_messages=1)
    ended(api, [enqueue(api, "hello you")])
    until(lambda: said(worker, "processed message: hello you"), what="it was said")
    assert said(worker, "dequeued message: hello you") == 1
    assert "hello you" not in api.log


def test_a_broker_that_is_away(make_node, path, tmp_path):
    with RedisServer(tmp_path) as server:
        node = make_node(broker_url=server.url(), broker_timeout="500ms")
        server.kill()
        answer = httpx.post(f"{node.url}/enqueue", content="hello", timeout=30)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "BROKER_UNAVAILABLE")
        assert answer.elapsed.total_seconds() < 20, "nothing is waited for much longer than half a second"
        assert httpx.get(f"{node.url}/healthz", timeout=30).status_code == 503
        server.start()
        until(node.answers, what="it is well again")
        ended(node, [enqueue(node, "hello")])
        assert lines(path) == ["hello"]


def test_a_place_that_cannot_be_written_is_told_and_mended(make_node, path, tmp_path):
    (tmp_path / "data").write_text("in the way")
    node = make_node()
    job_id = enqueue(node, "hello")
    job = until(lambda: (found := node.client.get(job_id)).error and found, what="an attempt failed")
    assert f"cannot write to {path}" in job.error.message
    assert "OUTPUT_PATH" in job.error.message
    (tmp_path / "data").unlink()
    ended(node, [job_id])
    assert lines(path) == ["hello"]
