"""The same work is done once, whoever asks and however often, and whatever is restarted; over HTTP only."""

import asyncio
from collections import Counter
from pathlib import Path

import httpx
import pytest

from support.node import Node
from support.wait import eventually, until

pytestmark = pytest.mark.slow

TASKS = Path(__file__).parents[1] / "support" / "shared_work.py"
REQUESTS, CONNECTIONS = 1_000, 50
PATIENCE_S = 60


class Clerk:
    """Asks a node for tallies and counts, in the task's own ledger, how often the function ran."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.ledger = node.folder / "ledger"

    def runs(self) -> Counter[int]:
        return Counter(map(int, self.ledger.read_text().split())) if self.ledger.exists() else Counter()

    def question(self, n: int, seconds: float = 0.0, release: str = "") -> dict[str, object]:
        params = {"n": n, "ledger": str(self.ledger), "seconds": seconds, "release": release}
        return {"task": "tally", "params": params}

    def ask(self, n: int, seconds: float = 0.0, wait: float = 0.0, **fields: object) -> httpx.Response:
        body = self.question(n, seconds) | fields
        return httpx.post(f"{self.node.url}/jobs?wait={wait}", json=body, timeout=PATIENCE_S)

    async def ask_all(self, numbers: list[int], seconds: float, release: str = "") -> list[httpx.Response]:
        """Ask all of these over so many connections at once, each waiting for its answer."""
        waiting = iter(numbers)

        async def connection() -> list[httpx.Response]:
            url = f"{self.node.url}/jobs?wait=60"
            async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
                return [await http.post(url, json=self.question(n, seconds, release)) for n in waiting]

        answers = await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
        return [answer for one in answers for answer in one]

    async def ask_all_before_it_ends(self, numbers: list[int], seconds: float) -> list[httpx.Response]:
        """The same, and the function does not return before every connection waits for it."""
        release = self.node.folder / "release"
        asking = asyncio.create_task(self.ask_all(numbers, seconds, str(release)))
        await eventually(lambda: asyncio.to_thread(self.joined), what="every connection waits")
        release.touch()
        return await asking

    def joined(self) -> bool:
        return bool(
            httpx.get(f"{self.node.url}/stats", timeout=30).json()["cache"]["joined"] >= CONNECTIONS - 1
        )


@pytest.fixture
def clerk(make_node) -> Clerk:
    return Clerk(make_node(tasks=TASKS))


def test_equal_questions_over_many_connections_run_once(clerk):
    answers = asyncio.run(clerk.ask_all_before_it_ends([7] * REQUESTS, seconds=0.2))
    assert Counter((each.status_code, each.json()["result"]) for each in answers) == {(200, 49): REQUESTS}
    assert clerk.runs() == {7: 1}
    told = Counter(
        "joined" if a.json()["joined"] else "cached" if a.json()["cached"] else "ran" for a in answers
    )
    assert told["ran"] == 1
    assert told["joined"] >= CONNECTIONS - 1, told

    ten = [n % 10 + 100 for n in range(REQUESTS)]
    answers = asyncio.run(clerk.ask_all(ten, seconds=0.01))
    assert Counter(each.json()["result"] for each in answers) == Counter(n * n for n in ten)
    assert clerk.runs() == {7: 1} | {n + 100: 1 for n in range(10)}
    stats = httpx.get(f"{clerk.node.url}/stats", timeout=30).json()["cache"]
    assert (stats["entries"], stats["misses"]) == (11, 11)
    assert stats["hits"] + stats["joined"] == 2 * REQUESTS - 11
    assert stats["cpu_seconds_saved"] >= 0.2 * told["cached"]


def test_a_restart_of_everything_keeps_answers_limits_and_waiters(clerk):
    node = clerk.node
    assert clerk.ask(3, wait=30).json()["result"] == 9
    assert httpx.put(f"{node.url}/queues/narrow", json={"max_depth": 1}, timeout=30).status_code == 200
    httpx.post(f"{node.url}/queues/default/pause", timeout=30)
    shared = clerk.ask(4, priority="low").json()
    assert [clerk.ask(4, priority="high").json()["waiters"] for _ in range(2)] == [2, 3]
    assert clerk.ask(5, queue="narrow").status_code == 202

    node.kill()
    node.start()

    hit = clerk.ask(3)
    assert (hit.status_code, hit.json()["result"], hit.json()["cached"]) == (200, 9, True)
    full = clerk.ask(6, queue="narrow")
    assert (full.status_code, full.json()["error"]["details"]["limit"]) == (503, 1)
    assert full.json()["error"]["code"] == "QUEUE_FULL"
    assert 1 <= int(full.headers["retry-after"]) <= 60
    again = clerk.ask(4).json()
    assert (again["id"], again["waiters"], again["priority"]) == (shared["id"], 4, "high")
    for left in (3, 2, 1):
        job = httpx.delete(f"{node.url}/jobs/{shared['id']}", timeout=30).json()
        assert (job["state"], job["waiters"]) == ("queued", left)
    httpx.post(f"{node.url}/queues/default/resume", timeout=30)
    assert clerk.ask(4, wait=30).json()["result"] == 16
    assert clerk.runs() == {3: 1, 4: 1}


def test_the_last_waiter_that_leaves_stops_a_running_job(clerk):
    shared = clerk.ask(8, seconds=300).json()
    clerk.ask(8, seconds=300)
    until(lambda: clerk.runs() == {8: 1}, what="it runs")
    url = f"{clerk.node.url}/jobs/{shared['id']}"
    assert not httpx.delete(url, timeout=30).json()["cancel_requested"]
    assert httpx.delete(url, timeout=30).json()["cancel_requested"]
    ended = httpx.get(f"{url}?wait=30", timeout=PATIENCE_S).json()
    assert (ended["state"], ended["error"]["code"]) == ("cancelled", "CANCELLED")
    assert clerk.ask(8, seconds=0.01, wait=30).json()["result"] == 64
