"""The disk fills up: submissions are refused with a clear 503, and with space again all is well again."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from penstock.core.errors import PenstockError
from support.faults.inject import filled
from support.faults.smalldisk import small_disk
from support.node import Node
from support.programs import redis_program
from support.redis_server import RedisServer
from support.wait import PATIENCE_S, eventually, until

pytestmark = pytest.mark.slow

BALLAST = "x" * 20_000


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk("8m") as folder:
        if folder is None:
            pytest.skip("only root can mount a small disk")
        yield folder


@contextlib.contextmanager
def running(*nodes: Node) -> Iterator[None]:
    """Nodes that run inside; their logs are shown by a test that fails."""
    try:
        for node in nodes:
            node.start()
        yield
    finally:
        for node in nodes:
            node.kill()
            print(node.name, node.log[-5_000:], sep="\n")  # noqa: T201 - pytest keeps it for a failure


async def submitted(http: httpx.AsyncClient, n: int) -> httpx.Response:
    job = {"task": "append_line", "params": {"path": "/dev/null", "text": f"{n} {BALLAST}"}}
    return await http.post("/jobs", json=job)


async def accepted(http: httpx.AsyncClient, n: int) -> str:
    """The id of a job that found room; a busy machine may be slower than the node waits for its broker."""

    async def taken() -> httpx.Response | None:
        answer = await submitted(http, n)
        return answer if answer.status_code == 202 else None

    return str((await eventually(taken, what="a job is accepted")).json()["id"])


async def refused(http: httpx.AsyncClient) -> httpx.Response:
    """The first refusal for want of room; what came before may have found some in a page or a buffer."""
    answers: list[httpx.Response] = []

    async def is_refused() -> bool:
        answers.append(await submitted(http, len(answers)))
        told = answers[-1].text
        return answers[-1].status_code != 202 and ("full" in told or "MISCONF" in told)

    await eventually(is_refused, what="a submission is refused as there is no room")
    return answers[-1]


async def is_unwell(http: httpx.AsyncClient) -> bool:
    """Whether /healthz is red; the last room for a small write goes to the jobs that are tried here."""
    await submitted(http, 0)
    return (await http.get("/healthz")).status_code == 503


async def survives(api: Node, worker: Node, disk: Path) -> None:
    """The story, whatever the broker."""
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as http:
        kept = [await accepted(http, n) for n in range(5)]
        with filled(disk):
            answer = await refused(http)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (503, "BROKER_UNAVAILABLE")
            assert int(answer.headers["retry-after"]) >= 1
            assert (await http.get("/livez")).status_code == 200
            await eventually(lambda: is_unwell(http), what="the node says that it takes no jobs")
        after = [await accepted(http, n) for n in range(5)]
        for job_id in kept + after:
            await eventually(lambda job_id=job_id: succeeded(http, job_id), what=f"{job_id} succeeded")
    assert api.process.poll() is None
    assert worker.process.poll() is None


async def succeeded(http: httpx.AsyncClient, job_id: str) -> bool:
    state = (await http.get(f"/jobs/{job_id}", params={"wait": 20})).json()["state"]
    assert state not in {"failed", "cancelled"}
    return state == "succeeded"


async def test_a_full_disk_under_sqlite(disk, tmp_path):
    url = f"sqlite:///{disk / 'penstock.db'}"
    api, worker = (Node(tmp_path, role, broker_url=url, broker_timeout="1s") for role in ("api", "worker"))
    with running(api, worker):
        await survives(api, worker, disk)


async def test_a_full_disk_under_the_append_only_file_of_redis(disk, tmp_path):
    """With ``everysec`` Redis refuses to write; with ``always`` it would end."""
    with RedisServer(disk, redis_program()) as server:
        options = {"broker_url": server.url(), "broker_timeout": "1s"}
        api, worker = (Node(tmp_path, role, **options) for role in ("api", "worker"))
        with running(api, worker):
            await survives(api, worker, disk)


def test_a_job_that_ran_into_the_full_disk_is_settled_afterwards(disk, tmp_path):
    """Its outcome waits in the worker, which goes on renewing as soon as it can."""
    url = f"sqlite:///{disk / 'penstock.db'}"
    node = Node(tmp_path, broker_url=url, broker_timeout="1s", slots=1)
    release, mark = tmp_path / "release", tmp_path / "mark"
    with running(node):
        job_id = node.client.submit("waits", {"release": str(release), "mark": str(mark)}).id
        until(mark.exists, what="it runs")
        with filled(disk):
            release.touch()
            until(lambda: node.entries("broker unavailable, trying again"), what="the worker noticed")
        job = until(lambda: ended(node, job_id), PATIENCE_S, "it has ended")
        assert (job.state, job.result in node.pids("slot")) == ("succeeded", True)


def ended(node: Node, job_id: str):
    try:
        job = node.client.get(job_id)
    except PenstockError:
        return None
    return job if job.final else None
