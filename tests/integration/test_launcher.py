"""``penstock up`` keeps an API and a worker alive, and leaves nothing behind when it ends."""

import asyncio
import contextlib
import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.brokers.sqlite import connect
from penstock.cli import launcher as launcher_module
from penstock.cli.launcher import Launcher
from penstock.core.clock import system_clock
from penstock.ports import BrokerOptions
from penstock.settings import Settings
from support.node import Node, alive
from support.wait import until

pytestmark = pytest.mark.slow

PARTS = ("api", "worker", "zygote", "slot")


@pytest.fixture
def make_node(tmp_path):
    made = []

    def make(role="up", **options):
        made.append(Node(tmp_path, role, **options))
        return made[-1]

    yield make
    for node in made:
        node.kill()


def everybody(node):
    """The ids of the launcher and all that it started."""
    return [node.process.pid, *(pid for part in PARTS for pid in node.pids(part))]


def all_gone(pids):
    return not any(alive(pid) for pid in pids)


def state_of(node, job_id):
    """A job's state when nobody is there to be asked but the file."""

    async def look():
        broker = connect(node.broker_url, BrokerOptions(), system_clock)
        await broker.open()
        (job,) = await broker.get([job_id])
        await broker.close()
        return job.state

    return asyncio.run(look())


def calls(node, verb):
    """How often a node has asked its broker for something."""
    families = text_string_to_metric_families(httpx.get(f"{node.url}/metrics", timeout=30).text)
    samples = (sample for family in families for sample in family.samples)
    wanted = {"verb": verb, "outcome": "ok"}
    return sum(each.value for each in samples if each.labels == wanted and each.name.endswith("_calls_total"))


def connections(node):
    """How many clients are connected to a node's port."""
    held = psutil.Process(node.pid("api")).net_connections("tcp")
    return sum(each.status == "ESTABLISHED" and each.laddr.port == node.port for each in held)


@contextlib.contextmanager
def ended(node):
    """Whatever happens inside, nobody waits for this node afterwards."""
    try:
        yield
    finally:
        node.kill()


def errors_of(node):
    return [line for line in node.log.splitlines() if line.startswith("error: ")]


def note_of(node):
    return node.folder / "penstock.db.node.json"


def test_interrupt_ends_everything_with_exit_code_0(make_node, tmp_path):
    node = make_node(drain="10m").start()
    assert json.loads(note_of(node).read_text())["url"] == node.url
    pids = everybody(node)
    assert len(pids) == 6, "launcher, API, worker, zygote and two slots"
    mark = tmp_path / "begun"
    job = node.client.submit("nap", {"seconds": 1.0, "mark": str(mark)})
    until(mark.exists, what="it has begun; before that it would be handed back")
    node.process.send_signal(signal.SIGINT)
    assert node.wait() == 0, "after as long as its job takes, not as long as it would wait for others"
    until(lambda: all_gone(pids), what="every process is gone")
    assert not note_of(node).exists()
    assert "Traceback" not in node.log
    assert state_of(node, job.id) == "succeeded"


def test_second_interrupt_cuts_the_drain_short(make_node):
    node = make_node(drain="10m").start()
    job = node.client.submit("nap", {"seconds": 600})
    until(lambda: node.client.get(job.id).state == "running")
    pids = everybody(node)
    node.process.send_signal(signal.SIGINT)
    until(lambda: node.entries("stopping"), what="the worker drains")
    node.process.send_signal(signal.SIGINT)
    assert node.wait() == 0, "the drain would have taken ten minutes"
    until(lambda: all_gone(pids), what="every process is gone")
    assert state_of(node, job.id) == "queued"


def test_killed_api_and_worker_are_started_again(make_node):
    node = make_node().start()
    for part in ("api", "worker"):
        old = node.signal(part)
        until(lambda old=old, part=part: [p for p in node.pids(part) if p != old], what=f"a new {part}")
    until(node.answers, what="the new API answers")
    assert node.client.submit("noop", {"n": 5}, wait_s=30).result == 5
    ended = {entry["role"]: entry["status"] for entry in node.entries("process ended, starting it again")}
    assert ended == {"api": -signal.SIGKILL, "worker": -signal.SIGKILL}
    assert json.loads(note_of(node).read_text())["pid"] == node.pid("api")


def test_killed_launcher_takes_everything_with_it(make_node):
    node = make_node().start()
    pids = everybody(node)
    node.process.kill()
    node.wait()
    until(lambda: all_gone(pids), what="every process is gone")


def test_interrupt_during_the_start_ends_everything(make_node):
    node = make_node()
    node.launch()
    launcher = psutil.Process(node.process.pid)
    until(launcher.children, what="the launcher has begun to start")
    children = [child.pid for child in launcher.children(recursive=True)]
    node.process.send_signal(signal.SIGINT)
    assert node.wait() == 0
    until(lambda: all_gone(children), what="every process is gone")


async def test_process_that_starts_while_the_others_stop_is_stopped_too(monkeypatch):
    """The signal comes at the worst moment: a process exists, but nobody has been told its number."""
    launcher = Launcher(Settings(port=0))
    create = asyncio.create_subprocess_exec
    started = []

    async def sleeper(*_, **__):
        process = await create("sleep", "60")
        started.append(process)
        launcher._stop()
        for _ in range(20):
            await asyncio.sleep(0)
        return process

    monkeypatch.setattr(launcher_module.asyncio, "create_subprocess_exec", sleeper)
    try:
        async with asyncio.timeout(20):
            assert await launcher.run() == 0
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert len(started) == 2


@pytest.mark.parametrize("what", ["module", "broker", "port"])
def test_what_can_never_work_is_said_once(make_node, what):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = {
            "module": {"tasks": "no_such_module_at_all"},
            "broker": {"broker_url": "amqp://localhost"},
            "port": {"port": taken.getsockname()[1]},
        }[what]
        node = make_node(**options)
        node.launch()
        assert node.wait() == 2
    assert len(errors_of(node)) == 1
    assert "Traceback" not in node.log


BOTH_AT_ONCE = f"""
import os, pathlib, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support.wait import until
pathlib.Path(f"at-{{os.getpid()}}").touch()
until(lambda: len(list(pathlib.Path().glob("at-*"))) == 2)
raise RuntimeError("never works")
"""


def test_a_module_that_fails_in_both_processes_at_once_is_said_once(make_node, tmp_path):
    (tmp_path / "both.py").write_text(BOTH_AT_ONCE)
    node = make_node(tasks=tmp_path / "both.py")
    node.launch()
    assert node.wait() == 2
    (error,) = errors_of(node)
    assert "RuntimeError: never works" in error


def test_broker_that_is_away_is_waited_for(make_node, tmp_path):
    """A path that can be made later: exit code 3 means try again, not give up."""
    blocked = tmp_path / "later"
    blocked.write_text("in the way")
    node = make_node(broker_url=f"sqlite:///{blocked / 'penstock.db'}")
    node.launch()
    until(lambda: len(node.entries("process ended, starting it again", status=3)) >= 2, what="two tries")
    blocked.unlink()
    node.wait_ready()
    assert node.stop() == 0


def test_who_waits_is_answered_at_the_end_and_does_not_hold_it_up(make_node):
    node = make_node("api").start()
    job = node.client.submit("noop")

    def listen():
        with httpx.stream("GET", f"{node.url}/jobs/{job.id}/events", timeout=60) as stream:
            return [line for line in stream.iter_lines() if line.startswith("event: ")]

    def wait():
        return httpx.get(f"{node.url}/jobs/{job.id}?wait=60", timeout=90).json()["state"]

    with ThreadPoolExecutor(2) as readers, ended(node):
        heard, waited = readers.submit(listen), readers.submit(wait)
        until(lambda: calls(node, "get") >= 1, what="the stream has looked at its job")
        until(lambda: connections(node) >= 2, what="both are connected")
        node.client.get(job.id)  # what came before this has begun when it is answered
        assert node.stop() == 0
        assert heard.result(30) == ["event: snapshot"]
        assert waited.result(30) == "queued"
    assert "timeout graceful shutdown exceeded" not in node.log, "nobody had to be cut off"
    assert "Traceback" not in node.log
