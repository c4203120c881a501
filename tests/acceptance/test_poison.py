"""A job that kills its process each time is contained: few crashes, a readable reason, no victims."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.redis_server import RedisServer
from support.services import shared
from support.wait import until

pytestmark = pytest.mark.slow

GOOD = 100
MOST_CRASHES = 3


def _three(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return lines if len(lines) >= MOST_CRASHES else []


@pytest.fixture(params=["sqlite", "redis"])
def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'penstock.db'}"
        return
    server, namespace = shared(RedisServer), f"poison-{tmp_path.name}"
    yield server.url(namespace)
    server.delete(f"*{{{namespace}}}*")


def test_poison_is_quarantined_and_harms_nobody(make_node, broker_url):
    node = make_node(broker_url=broker_url)
    wanted = [{"task": "pid", "params": {"seconds": 0.005}} for _ in range(GOOD)]
    wanted.insert(GOOD // 2, {"task": "poison"})
    jobs = [node.client.wait(job.id, 60) for job in node.client.submit_many(wanted)]
    poison = jobs.pop(GOOD // 2)
    assert {job.state for job in jobs} == {"succeeded"}
    assert {(job.attempt, job.crashes) for job in jobs} == {(1, 0)}, "nobody else was charged"
    assert poison.state == "failed"
    assert poison.crashes == poison.attempt == MOST_CRASHES < poison.max_attempts
    assert poison.error.code == "CRASHED"
    assert poison.error.message == "SIGSEGV (Segmentation fault); quarantined after 3 crashes"
    crashes = until(lambda: _three(node.entries("job failed", job=poison.id)), what="the log tells of each")
    assert {line["code"] for line in crashes} == {"CRASHED"}
    assert [(line["error"], line["dead"]) for line in crashes] == [
        ("SIGSEGV (Segmentation fault)", False),
        ("SIGSEGV (Segmentation fault)", False),
        (poison.error.message, True),
    ]
