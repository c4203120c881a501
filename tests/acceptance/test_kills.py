"""Deaths at the worst moment: what was accepted is kept, ends once, and leaves nothing behind."""

import fcntl
import itertools
import json
import os
import queue
import random
import signal
import threading
import time
from collections import Counter

import httpx
import psutil
import pytest

from support.node import alive
from support.wait import until

pytestmark = pytest.mark.slow

TAKEN_OVER_S = 30.0
"""Of jobs that take five minutes, from a worker that held its lease for two seconds."""

PARTS = ("slot", "slot", "zygote", "worker", "api")


def make_nodes(make_node, *roles, **options):
    """Nodes that are started at the same time."""
    nodes = [make_node(role, wait=False, **options) for role in roles]
    for node in nodes:
        node.wait_ready()
    return nodes


def ended(node, job_ids, within=60.0):
    """The jobs, when all have ended."""
    deadline = time.monotonic() + within
    jobs = [node.client.wait(job_id, max(0.0, deadline - time.monotonic())) for job_id in job_ids]
    unfinished = [job.id for job in jobs if not job.final]
    assert not unfinished, f"{len(unfinished)} of {len(jobs)} jobs did not end within {within} s"
    return jobs


def feed(node):
    """Every event from the first one to that of a job which is submitted now."""
    last = node.client.submit("noop", wait_s=60).id
    events = []
    with httpx.stream("GET", f"{node.url}/events", params={"after": ""}, timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line.removeprefix("data: ")))
                if events[-1]["job_id"] == last and events[-1]["kind"] == "succeeded":
                    return events[:-1]
    raise AssertionError("the feed ended early")


def successes(events):
    """How often each job succeeded."""
    return Counter(event["job_id"] for event in events if event["kind"] == "succeeded")


class Submitters:
    """Threads that submit `append_line` jobs, each with a text of its own, whatever becomes of the API.

    They go on as far as they are allowed to. ``accepted`` has the texts by job id of all submissions
    that were answered with 202, ``refused`` those that were not answered or with 503.
    """

    def __init__(self, node, out, threads, seconds=0.0):
        self.accepted = {}
        self.refused = []
        self._node = node
        self._params = {"path": str(out), "seconds": seconds}
        self._texts = (f"line-{number}" for number in itertools.count())
        self._wanted = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._submit) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def allow(self, count):
        for text in itertools.islice(self._texts, count):
            self._wanted.put(text)

    @property
    def answered(self):
        return len(self.accepted) + len(self.refused)

    def _submit(self):
        with httpx.Client(base_url=self._node.url, timeout=60) as client:
            while text := self._wanted.get():
                job = {"task": "append_line", "params": self._params | {"text": text}}
                try:
                    answer = client.post("/jobs", json=job)
                except httpx.TransportError:
                    self.refused.append(text)
                    continue
                if answer.status_code == 202:
                    self.accepted[answer.json()["id"]] = text
                else:
                    assert answer.status_code == 503, answer.text
                    self.refused.append(text)

    def stop(self):
        for _ in self._threads:
            self._wanted.put(None)
        for thread in self._threads:
            thread.join()


def test_sigkill_of_the_api_loses_and_doubles_nothing(make_node, tmp_path):
    """It is killed again and again while four clients submit at the same time."""
    node, out = make_node(lease="30s"), tmp_path / "out"  # the worker lives, however slow the machine
    submitters = Submitters(node, out, threads=4)
    workers = node.pids("worker"), node.pids("slot")
    try:
        for _ in range(3):
            before = submitters.answered
            submitters.allow(150)
            until(lambda goal=before + 60: submitters.answered >= goal, what="60 were answered")
            kill(node, "api")
            submitters.allow(8)  # nobody is there to answer them
            until(lambda goal=before + 158: submitters.answered == goal, what="all were answered")
            until(node.answers, what="the API is back")
    finally:
        submitters.stop()
    assert len(submitters.accepted) >= 180
    assert submitters.refused, "its death was noticed"
    jobs = ended(node, submitters.accepted)
    assert {(job.state, job.attempt) for job in jobs} == {("succeeded", 1)}
    lines = Counter(out.read_text().split())
    assert {text: lines[text] for text in submitters.accepted.values() if lines[text] != 1} == {}
    assert set(lines.values()) == {1}, "nor was what got no answer done twice"
    counted = successes(feed(node))
    assert {counted[job_id] for job_id in submitters.accepted} == {1}
    assert (node.pids("worker"), node.pids("slot")) == workers, "the worker did not notice"


def test_sigkill_of_the_whole_worker_costs_seconds_and_leaves_no_process(make_node, tmp_path):
    api, doomed = make_nodes(make_node, "api", "worker", lease="2s")
    mark = tmp_path / "grandchild"
    spawning = api.client.submit("spawns", {"seconds": 300, "stay": 300, "mark": str(mark)})
    napping = api.client.submit("nap", {"seconds": 300, "mark": str(tmp_path / "nap")})
    until(lambda: mark.exists() and (tmp_path / "nap").exists(), what="both run")
    waiting = [api.client.submit("noop", {"n": n}) for n in range(20)]
    family = [*doomed.pids("zygote"), *doomed.pids("slot"), int(mark.read_text())]
    assert len(family) == 4
    assert all(map(alive, family))
    before = {napping.id: napping.attempt, spawning.id: spawning.attempt}
    (tmp_path / "nap").unlink()
    mark.unlink()
    doomed.signal("worker", signal.SIGKILL)
    until(lambda: not any(map(alive, family)), what="its whole family is gone")
    heir = make_node("worker", lease="2s")
    back_at = time.monotonic()
    until(lambda: mark.exists() and (tmp_path / "nap").exists(), what="both run again")
    assert time.monotonic() - back_at <= TAKEN_OVER_S
    for job_id in before:
        job = api.client.get(job_id)
        assert (job.state, job.attempt, job.handled_by) == ("running", 1, heir.name)
        api.client.cancel(job_id)
    assert {job.state for job in ended(api, before)} == {"cancelled"}
    assert [job.result for job in ended(api, [job.id for job in waiting])] == list(range(20))


def test_a_worker_that_slept_through_its_lease_changes_nothing_and_works_on(make_node, tmp_path):
    api, sleeper = make_nodes(make_node, "api", "worker", slots=1, lease="1500ms")
    go, mark = tmp_path / "go", tmp_path / "mark"
    job_id = api.client.submit("waits", {"release": str(go), "mark": str(mark)}).id
    until(mark.exists, what="it runs")
    first = int(mark.read_text())
    mark.unlink()
    stop_outside_a_write(sleeper, tmp_path)
    heir = make_node("worker", slots=1, lease="1500ms")
    until(mark.exists, what="it runs again")
    second = int(mark.read_text())
    go.touch()
    (job,) = ended(api, [job_id])
    until((tmp_path / f"mark.{first}.over").exists, what="the first attempt has ended too, unheard")
    assert (job.result, job.attempt, job.handled_by) == (second, 1, heir.name)
    os.kill(sleeper.pid("worker"), signal.SIGCONT)
    until(lambda: sleeper.entries("outcome refused") or sleeper.entries("job cancelled"), what="it was told")
    assert heir.stop() == 0
    after = api.client.submit("pid", wait_s=60)
    assert after.handled_by == sleeper.name
    assert after.result in sleeper.pids("slot")
    again = api.client.get(job_id)
    assert (again.state, again.result, again.handled_by) == ("succeeded", second, heir.name)
    assert successes(feed(api))[job_id] == 1


def stop_outside_a_write(node, folder):
    """SIGSTOP its worker at a moment when it does not hold the lock that every writer needs."""
    worker = psutil.Process(node.pid("worker"))

    def stopped():
        worker.suspend()
        until(lambda: worker.status() == psutil.STATUS_STOPPED)
        with (folder / "penstock.db.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                worker.resume()
                return False
        return True

    until(stopped)


def test_sigterm_drains_a_worker_and_a_node(make_node, tmp_path):
    node = make_node(slots=1)
    mark = tmp_path / "mark"
    go = tmp_path / "go"
    running = node.client.submit("nap", {"seconds": 0.0, "mark": str(mark), "release": str(go)}).id
    until(mark.exists)
    queued = [node.client.submit("nap", {"seconds": 0.1}).id for _ in range(3)]
    family = [part.pid for kind in ("worker", "api", "zygote", "slot") for part in node.parts(kind)]
    node.process.terminate()
    until(lambda: node.entries("stopping"), what="the worker drains")
    go.touch()
    assert node.wait() == 0
    until(lambda: not any(map(alive, family)), what="everybody is gone")
    after = make_node("api")
    jobs = {job.id: (job.state, job.attempt) for job in after.client.jobs()}
    assert jobs.pop(running) == ("succeeded", 1)
    assert jobs == dict.fromkeys(queued, ("queued", 0))
    assert after.client.stats()["workers"] == []
    assert after.stop() == 0


def test_a_second_sigterm_hurries(make_node, tmp_path):
    api, worker = make_nodes(make_node, "api", "worker", slots=1, drain="10m")
    mark = tmp_path / "mark"
    job_id = api.client.submit("deaf", {"mark": str(mark)}).id
    until(mark.exists)
    worker.process.terminate()
    until(lambda: worker.entries("stopping"))
    assert worker.stop() == 0, "within less than the ten minutes that it has"
    job = api.client.get(job_id)
    assert (job.state, job.attempt) == ("queued", 0)
    until(lambda: not alive(int(mark.read_text())), what="its process is gone")


def test_a_module_that_cannot_be_imported_is_named_in_one_line(make_node):
    worker = make_node("worker", wait=False, arguments=("nosuch",))
    assert worker.wait() == 2
    (line,) = worker.log.splitlines()
    assert "nosuch" in line
    assert "cannot import" in line


def test_random_kills_lose_and_double_no_result(make_node, tmp_path):
    """Children, workers and the API are killed at random while three clients submit 300 jobs."""
    dice = random.Random(20_24)
    (node, other), out = make_nodes(make_node, "up", "worker", lease="2s"), tmp_path / "out"
    submitters = Submitters(node, out, threads=3, seconds=0.02)
    try:
        for turn in range(12):
            before = submitters.answered
            submitters.allow(25)
            goal = before + dice.randint(1, 24)
            until(lambda goal=goal: submitters.answered >= goal)
            parts = [(owner, part) for owner in (node, other) for part in PARTS if owner.parts(part)]
            owner, part = dice.choice(parts)
            kill(owner, part, dice)
            if owner is other and part == "worker":
                other.wait()
                other.launch()
            until(lambda goal=25 * (turn + 1): submitters.answered == goal)
            until(node.answers)
    finally:
        submitters.stop()
    jobs = ended(node, submitters.accepted)
    assert Counter(job.state for job in jobs) == {"succeeded": len(jobs)}, [j.error for j in jobs if j.error]
    lines = Counter(out.read_text().split())
    assert [text for text in submitters.accepted.values() if not lines[text]] == []
    counted = successes(feed(node))
    assert {counted[job_id] for job_id in submitters.accepted} == {1}


def kill(node, part, dice=random):
    """SIGKILL one of its processes of this kind, waiting until there is one and then until it is gone."""
    victim = dice.choice(until(lambda: node.parts(part), what=f"{node.name} has a {part}"))
    victim.kill()
    until(lambda: not alive(victim.pid))
