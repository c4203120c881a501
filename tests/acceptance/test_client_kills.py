"""A client submits on while its node is killed and answers get lost: each job is there once."""

import asyncio
import itertools

import pytest

from penstock import Client
from support.proxy import Proxy
from support.wait import eventually

pytestmark = pytest.mark.slow

JOBS, THREADS, KILLS = 200, 4, 2
LONGEST_S = 180.0


class Submitter:
    """Submits numbers one after the other, at least ``JOBS`` of them and on until it is ``enough``."""

    def __init__(self, url):
        self._url = url
        self._numbers = itertools.count()
        self.ids = {}
        self.enough = False

    def run(self):
        with Client(self._url, patience_s=LONGEST_S) as client:
            while (number := next(self._numbers)) < JOBS or not self.enough:
                self.ids[number] = client.submit("noop", {"n": number}).id

    async def has_got(self, more):
        known = len(self.ids)
        await eventually(lambda: len(self.ids) > known + more)


async def test_killed_while_submitting_no_job_is_doubled_or_lost(make_node):
    node = make_node("api")
    async with Proxy(node.port) as proxy, asyncio.timeout(LONGEST_S):
        submitter = Submitter(f"http://127.0.0.1:{proxy.port}")
        submitting = [asyncio.create_task(asyncio.to_thread(submitter.run)) for _ in range(THREADS)]
        for _ in range(KILLS):
            await submitter.has_got(10)
            proxy.lose_answer(b"POST /jobs")
            await submitter.has_got(10)
            await asyncio.to_thread(killed_and_started, node)
        submitter.enough = True
        await asyncio.gather(*submitting)
    assert proxy.lost == KILLS
    assert len(submitter.ids) >= JOBS
    stored = [(job.id, job.params["n"]) for job in await asyncio.to_thread(stored_jobs, node)]
    assert sorted(stored) == sorted((job_id, n) for n, job_id in submitter.ids.items())


def killed_and_started(node):
    node.kill()
    node.launch()


def stored_jobs(node):
    pages, before = [], None
    while page := node.client.jobs(limit=1000, before=before):
        pages += page
        before = page[-1].id
    return pages
