"""System A from outside: a producer, Redis, and workers that share one large simulation and many small."""

import itertools
import os
import re
import signal
import subprocess
import sys
from collections import Counter

import pytest

from penstock import Progress
from penstock.tasks.credit import credit_loss
from penstock.tasks.credit.portfolio import Portfolio
from support.redis_server import RedisServer
from support.wait import until

pytestmark = pytest.mark.slow

LARGE = {"load": 120_000_000, "seed": 7}


@pytest.fixture
def redis(tmp_path):
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def nodes(make_node, redis, monkeypatch):
    """An API and three workers that know their Redis by the names of older deployments alone."""
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", str(redis.port))
    options = {"broker_url": None, "slots": 1, "lease": "2s", "wait": False}
    made = [make_node(role, **options) for role in ("api", "worker", "worker", "worker")]
    for node in made:
        node.wait_ready()
    return made


def penstock(folder, api, *words):
    """What a command at the producer says, line by line."""
    told = os.environ | {"PENSTOCK_URL": api.url}
    command = [sys.executable, "-m", "penstock", *words]
    ran = subprocess.run(
        command, env=told, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def figures(result):
    return {name: value for name, value in result.items() if name != "elapsed_s"}


def test_producer_redis_and_three_workers(nodes, redis, tmp_path):
    api, *workers = nodes
    assert redis.ask("DBSIZE") > 0, "it is this Redis that they use"
    for worker in workers:
        assert len(worker.entries("connected, waiting for jobs")) == 1
    pushed = penstock(tmp_path, api, "submit", "credit_loss", "--load", "100000", "--count", "3")
    pushed += penstock(tmp_path, api, "submit", "credit_loss", "--load", "100000", "--count", "2")
    ids = [re.search(r"[0-9a-f-]{36}", line)[0] for line in pushed]
    assert len(set(ids)) == 5, "one line per job, and what is submitted again queues up"
    assert {api.client.wait(job_id, 30).state for job_id in ids} == {"succeeded"}
    _everybody_takes_some(api, workers)
    _the_total_does_not_depend_on_who_draws(api, workers)
    for worker in workers:
        worker.process.send_signal(signal.SIGINT)
        assert worker.wait() == 0
        assert len(worker.entries("stopped")) == 1, "a clean stop line"


def _everybody_takes_some(api, workers):
    busy, seeds = Counter(), itertools.count()

    def all_are_busy():
        jobs = [
            api.client.submit("credit_loss", {"load": 15_000_000, "seed": next(seeds)}) for _ in range(10)
        ]
        busy.update(api.client.wait(job.id, 60).handled_by for job in jobs)
        return busy.keys() == {worker.name for worker in workers}

    until(all_are_busy, what="every worker took some")


def _the_total_does_not_depend_on_who_draws(api, workers):
    """Drawn by three; by three of which one is killed half way; in order by this process."""
    expected = credit_loss(Portfolio(**LARGE), Progress()).model_dump(mode="json")
    calm = api.client.submit("credit_loss", LARGE, wait_s=60)
    job_id = api.client.submit("credit_loss", LARGE, cache="bypass").id
    until(lambda: _parts_done(api, job_id) >= 2, what="some parts are done")
    workers[0].kill()
    stormy = api.client.wait(job_id, 60)
    for job in (calm, stormy):
        assert job.state == "succeeded", job.error
        assert figures(job.result) == figures(expected)
    assert calm.result["loans"] == calm.result["simulated"] == LARGE["load"], "no remainder is lost"
    rate, pd = calm.result["default_rate"], calm.result["pd"]
    assert abs(rate - pd) <= 4 * (pd * (1 - pd) / LARGE["load"]) ** 0.5
    workers[0].launch()
    workers[0].wait_ready()


def _parts_done(api, job_id):
    parts = api.client.get(job_id).parts
    return 0 if parts is None else parts.done


CHECKS = [
    (
        {"task": "credit_loss", "params": {"load": 1, "hazard_rate": 0.05, "horizon_years": 1}},
        {"pd": 0.048770575},
    ),
    (
        {
            "task": "credit_loss",
            "params": {
                "load": 1,
                "macro": {"unemployment": 6.5, "interest_rate": 5.25, "house_price_index": 95},
            },
        },
        {"hazard_rate": 0.07987793, "pd": 0.07677096},
    ),
    *(
        (
            {
                "task": "lifetime_ecl",
                "params": {
                    "amount": 10_000,
                    "annual_rate": 0.06,
                    "term_months": 12,
                    "annual_pd": 0.05,
                    "lgd": 0.45,
                    "eir": 0.06,
                    "ead": ead,
                },
            },
            {"payment": 860.6643, "ecl": ecl},
        )
        for ead, ecl in (("closing", 102.9633), ("opening", 121.1125))
    ),
]


def test_check_values_over_http(node):
    for asked, expected in CHECKS:
        job = node.client.submit(asked["task"], asked["params"], wait_s=30)
        found = {name: job.result[name] for name in expected}
        assert found == pytest.approx(expected, abs=5e-5, rel=1e-7), asked
