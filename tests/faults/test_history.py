"""PostgreSQL goes away under load, then whoever records is killed: nothing missing, nothing doubled.

``PENSTOCK_TEST_PROFILE=long`` stops it for a minute.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from penstock import Client
from penstock.core.errors import PenstockError
from support.node import Node
from support.postgres_server import PostgresServer
from support.redis_server import RedisServer
from support.wait import until

OUTAGE_S = 60.0 if os.environ.get("PENSTOCK_TEST_PROFILE") == "long" else 2.0
CATCH_UP_S = 90.0
BATCH = 10
PAUSE_S = 0.1

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240 + 2 * OUTAGE_S)]


class Load:
    """Submits small batches to the nodes in turn until it is ended; knows which jobs were accepted."""

    def __init__(self, nodes: list[Node]) -> None:
        self.accepted: set[str] = set()
        self._nodes = nodes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        turn = 0
        while not self._over.wait(PAUSE_S):
            node = self._nodes[turn % len(self._nodes)]
            turn += 1
            try:
                with Client(node.url, timeout_s=20) as client:
                    batch = [{"task": "noop", "params": {"n": turn}, "client": node.name}] * BATCH
                    self.accepted |= {job.id for job in client.submit_many(batch)}
            except PenstockError:
                continue  # it was killed: what it accepted without telling is not ours to count

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join(30)


def stands(node: Node) -> dict[str, object]:
    return dict(node.client.stats()["history"])


def recorder_of(apis: list[Node]) -> Node | None:
    """The one that records; while it changes there may seem to be none, or two."""
    recording = [each for each in apis if stands(each)["recording"]]
    return recording[0] if len(recording) == 1 else None


def ended(node: Node) -> int:
    return int(node.client.stats()["states"].get("succeeded", 0))


def rows(url: str, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as db:
        return db.execute(question).fetchall()


def test_a_lost_database_and_a_killed_recorder_cost_no_row(tmp_path: Path) -> None:
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer(tmp_path))
        redis = stack.enter_context(RedisServer(tmp_path))
        url = postgres.url()
        told = {"broker_url": redis.url("h"), "history": "on", "database_url": url}
        apis = [Node(tmp_path, "api", node=f"api-{n}", **told) for n in range(2)]
        worker = Node(tmp_path, "worker", node="worker", **told)
        for node in (*apis, worker):
            stack.callback(node.kill)
            node.launch()
        for node in (*apis, worker):
            node.wait_ready()
        load = Load(apis)
        with load.running():
            until(lambda: rows_recorded(url) >= 5 * BATCH, what="recording has begun")
            before, accepted = ended(apis[0]), len(load.accepted)
            with postgres.gone():
                threading.Event().wait(OUTAGE_S)  # the outage's length, not a pace
                until(lambda: not any(stands(each)["connected"] for each in apis), what="both noticed")
                until(lambda: ended(apis[1]) >= before + 10 * BATCH, what="jobs go on")
                until(lambda: len(load.accepted) > accepted, what="jobs are accepted")
                until(lambda: all(node.answers() for node in apis), what="both APIs are well")
            recorder = until(lambda: recorder_of(apis), what="one of them records")
            recorder.kill()
            (other,) = [each for each in apis if each is not recorder]
            until(lambda: stands(other)["recording"], what="the other node took over")
        until(lambda: stands(other)["lag_events"] == 0 and quiet(other), CATCH_UP_S, "history caught up")
        found = Counter(job_id for (job_id,) in rows(url, "SELECT id FROM penstock_jobs"))
        asked = Counter(job_id for (job_id,) in rows(url, "SELECT job_id FROM penstock_submissions"))
        states = Counter(state for (state,) in rows(url, "SELECT state FROM penstock_jobs"))
        kept = ended(other)
    assert load.accepted <= found.keys(), "missing"
    assert set(found.values()) == set(asked.values()) == {1}, "doubled"
    assert found.keys() == asked.keys()
    assert states == {"succeeded": kept}


def rows_recorded(url: str) -> int:
    try:
        ((count,),) = rows(url, "SELECT count(*) FROM penstock_jobs")
    except psycopg.errors.UndefinedTable:
        return 0
    return int(str(count))


def quiet(node: Node) -> bool:
    """Whether every job has ended."""
    return not any(node.client.stats()["states"].get(state) for state in ("queued", "running", "scheduled"))
